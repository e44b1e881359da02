"""Incidents on a real server: opened once, told once, acted upon once, over by themselves; the clock is the test's."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace

import httpx
import pytest
from aiohttp import web

from proxy.control.emergency import Failures, Measures, StoreFacts
from proxy.control.responder import Responder, Tells
from proxy.control.watch import Watcher
from proxy.core.emergency_model import Action, Grade, Incident
from proxy.core.model import Admitted, Denied, Reason
from proxy.core.outcome import Outcome, Verdict
from proxy.data.handler import Page
from proxy.data.server import Listener
from proxy.data.upstream import Pool
from proxy.state import audit, incidents, services, switches
from proxy.state.audit import Refused, Who
from proxy.state.cache import Answers
from proxy.state.client import Client, Stale
from proxy.state.gate import Gate
from proxy.state.outbox import Outbox
from proxy.state.switches import Desk
from tests.control.conftest import RULES, Lead
from tests.harness import upstream
from tests.state.calls import ask, bill

STORM = Measures(failures=[Failures("openai", 100, 60)])
CALM = Measures()
MORE = """
callers: [{name: batch, key_env: KEY}, {name: web, key_env: KEY2}]
services: [{name: reports, priority: optional, apis: openai}]
"""


def use(lead: Lead, emergency: str) -> None:
    lead.use(f"{RULES}{MORE}emergency: {emergency}\n", KEY="b" * 20, KEY2="w" * 20)


def responder(lead: Lead, fence: int | None = None) -> Responder:
    numbers = itertools.count(1)
    return Responder(lead.context(fence), new_id=lambda: f"i{fence or lead.fence}-{next(numbers)}")


def person(lead: Lead, name: str = "anna") -> Desk:
    return Desk(lead.client, lead.keys, lead.rules, Who(name, "cli"), lead.clock())


async def all_of(lead: Lead) -> list[Incident]:
    return list(reversed(await incidents.history(lead.client, lead.keys, 100)))


async def trail(lead: Lead) -> list[tuple[str, str]]:
    assert (await audit.verify(lead.client, lead.keys)).sound
    return [(one.action, one.target) for one in reversed(await audit.last(lead.client, lead.keys, 100))]


async def pass_min(lead: Lead, one: Responder, minutes: float, measures: Measures) -> Tells:
    """Look every half minute."""
    tells = Tells((), ())
    for _ in range(round(minutes * 2)):
        lead.clock.pass_s(30)
        tells = await one.step(measures, {}, lead.clock())
    return tells


async def test_two_leaders_that_race_open_one_incident_and_act_once(lead: Lead) -> None:
    use(lead, "{automatic: {high: block_api}}")
    others = [Client(lead.server.url) for _ in range(2)]
    racers = [
        Responder(replace(lead.context(), client=client), new_id=lambda number=number: f"racer-{number}")  # type: ignore[misc]
        for number, client in enumerate(others)
    ]
    await asyncio.gather(*(one.step(STORM, {}, lead.clock()) for one in racers))
    (found,) = await all_of(lead)
    assert (found.cause, found.grade, found.target) == ("errors:openai", Grade.HIGH, "api:openai")
    for one in racers:
        await one.step(STORM, {}, lead.clock())
    assert await trail(lead) == [("incident.open", f"incident:{found.id}"), ("block", "api:openai")]
    ((taken,),) = [one.actions for one in await all_of(lead)]
    assert (taken.entry, taken.automatic, taken.until_ms) == (2, True, lead.clock() + 3_600_000)
    for client in others:
        await client.close()


async def test_a_leader_of_the_past_opens_nothing_and_the_next_one_goes_on(lead: Lead) -> None:
    use(lead, "{}")
    first = responder(lead)
    await first.step(STORM, {}, lead.clock())
    await lead.elect(2)
    with pytest.raises(Stale):
        await first.step(
            Measures(failures=[Failures("openai", 100, 20)], store=StoreFacts(refused=3)), {}, lead.clock()
        )
    second = responder(lead)
    await second.step(STORM, {}, lead.clock())
    assert [one.id for one in await all_of(lead)] == ["i1-1"]
    await pass_min(lead, second, 16, CALM)
    assert [bool(one.resolved_at) for one in await all_of(lead)] == [True]


async def test_the_level_rises_at_once_falls_slowly_and_the_history_keeps_the_worst(lead: Lead) -> None:
    use(lead, "{resolve_after: 2m}")
    one = responder(lead)
    await one.step(Measures(failures=[Failures("openai", 100, 30)]), {}, lead.clock())
    await one.step(STORM, {}, lead.clock())
    await pass_min(lead, one, 4, Measures(failures=[Failures("openai", 100, 30)]))
    assert [one.grade for one in await all_of(lead)] == [Grade.HIGH]
    await pass_min(lead, one, 2, Measures(failures=[Failures("openai", 100, 30)]))
    (found,) = await all_of(lead)
    assert (found.grade, found.peak, found.facts["failed"]) == (Grade.MEDIUM, Grade.HIGH, "30")
    await pass_min(lead, one, 1.5, CALM)
    await pass_min(lead, one, 0.5, STORM)  # back again, and as bad as before
    await pass_min(lead, one, 2.5, CALM)
    (found,) = await all_of(lead)
    assert (found.resolved_at, found.resolved_by) == (person(lead).iso(lead.clock()), "spendgate")
    assert [action for action, _ in await trail(lead)] == [
        *("incident.open", "incident.level", "incident.level", "incident.level", "incident.resolve"),
    ]
    await one.step(STORM, {}, lead.clock())
    assert [one.id for one in await all_of(lead)] == ["i1-1", "i1-2"]


async def test_people_acknowledge_resolve_and_are_left_in_peace(lead: Lead) -> None:
    use(lead, "{}")
    one = responder(lead)
    await one.step(STORM, {}, lead.clock())
    seen = await incidents.acknowledge(person(lead), "i1-1", "looking at it", "seen")
    assert (seen.acknowledged_by, seen.remarks[0].text) == ("anna", "looking at it")
    again = await incidents.acknowledge(person(lead, "boris"), "i1-1", "", "seen")
    assert (again.acknowledged_by, len(again.remarks)) == ("anna", 1)
    done = await incidents.resolve(person(lead, "boris"), "i1-1", "their status page says so")
    assert (done.resolved_by, [remark.by for remark in done.remarks]) == ("boris", ["anna", "boris"])
    with pytest.raises(Refused, match="incident_over"):
        await incidents.resolve(person(lead), "i1-1", "twice")
    with pytest.raises(Refused, match="no_incident"):
        await incidents.resolve(person(lead), "nothing", "?")
    await pass_min(lead, one, 59, STORM)
    assert len(await all_of(lead)) == 1, "it goes on, which was known"
    await pass_min(lead, one, 2, STORM)
    assert len(await all_of(lead)) == 2, "and still after an hour"


async def test_what_became_worse_after_it_was_resolved_is_news(lead: Lead) -> None:
    use(lead, "{}")
    one = responder(lead)
    await one.step(Measures(failures=[Failures("openai", 100, 30)]), {}, lead.clock())
    await incidents.resolve(person(lead), "i1-1", "known")
    await one.step(STORM, {}, lead.clock())
    assert [one.grade for one in await all_of(lead)] == [Grade.MEDIUM, Grade.HIGH]


async def test_a_block_of_a_person_is_never_made_shorter(lead: Lead) -> None:
    use(lead, "{automatic: {high: block_api}}")
    await switches.block(person(lead), "api:openai", "theirs")
    await responder(lead).step(STORM, {}, lead.clock())
    assert [action for action, _ in await trail(lead)] == ["block", "incident.open"]
    (found,) = await all_of(lead)
    with pytest.raises(Refused, match="held_already"):
        await incidents.take(person(lead), found, Action.BLOCK_API, ["api:openai"], "why", lead.clock() + 1)


async def test_what_a_person_undid_is_not_done_again_before_it_would_have_ended(lead: Lead) -> None:
    use(lead, "{automatic: {high: block_api}, lasts: 10m}")
    one = responder(lead)
    await one.step(STORM, {}, lead.clock())
    await switches.undo(person(lead), 2, "we need it")
    await pass_min(lead, one, 9.5, STORM)
    assert await switches.active(lead.client, lead.keys, lead.clock()) == []
    await pass_min(lead, one, 0.5, STORM)
    assert [one.field for one in await switches.active(lead.client, lead.keys, lead.clock())] == ["api:openai"]


async def test_optional_services_are_stopped_until_the_time_is_over(lead: Lead) -> None:
    use(lead, "{automatic: {critical: stop_services}}")
    opened = Incident("i9", "burn:monthly", incidents.Sort.BURN, "budget:monthly", Grade.HIGH, Grade.HIGH, {}, "now")
    assert await incidents.begin(person(lead), opened, "why")
    until_ms = lead.clock() + 600_000
    after, entries = await incidents.take(
        person(lead), opened, Action.STOP_SERVICES, ["service:reports"], "why", until_ms
    )
    assert [(one.action, one.target, bool(one.until)) for one in entries] == [
        ("service.hand.stop", "service:reports", True)
    ]
    assert (await incidents.find(lead.client, lead.keys, ["i9"]))["i9"] == after
    assert (await services.read(lead.client, lead.keys, until_ms - 1))[1] == {"reports": "stop"}
    assert (await services.read(lead.client, lead.keys, until_ms))[1] == {}


async def test_everything_about_incidents_has_a_lifetime(lead: Lead) -> None:
    use(lead, "{automatic: {high: block_api}}")
    await responder(lead).step(STORM, {}, lead.clock())
    await incidents.resolve(person(lead), "i1-1", "done")
    names = await lead.client.scan(f"{lead.keys.prefix}incident")
    assert names == [lead.keys.incident("i1-1"), lead.keys.incidents, lead.keys.incidents_open]
    assert all(life > 0 for life in await lead.client.ask_all([("TTL", name) for name in names]))


# --- with the watch -----------------------------------------------------------------------------------------------


async def told(lead: Lead) -> list[tuple[str, str, str]]:
    found = reversed(await Outbox(lead.client, lead.keys).history(100))
    return [(one.kind.value, one.severity.value, one.state) for one in found]


async def calls(
    lead: Lead, gate: Gate, count: int, *, caller: str, failed: bool = False, won: str = "20"
) -> list[bool]:
    """Calls through the real admission; which were admitted."""
    passed = []
    for _ in range(count):
        answer = await gate.admit(ask(won, lead.budget, caller=caller, at_ms=lead.clock()))
        passed.append(isinstance(answer, Admitted))
        if isinstance(answer, Admitted):
            outcome = Outcome(Verdict.FAILURE if failed else Verdict.SUCCESS)
            await gate.settle(answer, bill(won), 500 if failed else 200, outcome=outcome)
        elif isinstance(answer, Denied):
            assert answer.reason is Reason.SERVICE_STOPPED
    await gate.tidy()
    return passed


def looks(lead: Lead) -> tuple[Watcher, Gate]:
    gate = Gate(lead.store, lead.keys, clock=lead.clock, pinned=True)
    return Watcher(lead.context(), responder=responder(lead)), gate


async def look(lead: Lead, watcher: Watcher, seconds: float) -> None:
    lead.clock.pass_s(seconds)
    await watcher.step(lead.clock())


async def test_a_storm_is_told_once_and_its_end_too(lead: Lead) -> None:
    use(lead, "{resolve_after: 1m}")
    watcher, gate = looks(lead)
    await calls(lead, gate, 3, caller="web", won="0")
    await look(lead, watcher, 30)
    await calls(lead, gate, 25, caller="web", failed=True, won="0")
    for _ in range(3):
        await look(lead, watcher, 30)
    assert await told(lead) == [("incident", "critical", "open")]
    for _ in range(16):
        await look(lead, watcher, 30)
    assert await told(lead) == [("incident", "critical", "resolved")]


async def test_an_incident_whose_cause_was_told_is_not_told_again_unless_it_becomes_worse(lead: Lead) -> None:
    use(lead, "{detect: burn}")
    watcher, gate = looks(lead)
    await look(lead, watcher, 30)
    await calls(lead, gate, 7, caller="web", won="20")
    await look(lead, watcher, 30)
    (found,) = await all_of(lead)
    assert (found.cause, found.told) == ("burn:monthly", "warning")
    assert await told(lead) == [("burn", "warning", "open")]
    assert found.alert == (await Outbox(lead.client, lead.keys).history(1))[0].id
    await calls(lead, gate, 40, caller="web", won="20")
    await look(lead, watcher, 30)
    assert await told(lead) == [("burn", "warning", "open"), ("incident", "critical", "open")]


async def test_a_runaway_caller_is_blocked_obeys_at_once_and_is_free_when_the_time_is_over(lead: Lead) -> None:
    use(lead, "{automatic: {high: block_caller}, lasts: 30m, resolve_after: 5m}")
    watcher, gate = looks(lead)
    await calls(lead, gate, 3, caller="web")
    await look(lead, watcher, 30)
    assert all(await calls(lead, gate, 10, caller="batch", won="30"))
    await look(lead, watcher, 3)
    (block,) = await switches.active(lead.client, lead.keys, lead.clock())
    assert (block.field, block.until_ms) == ("caller:batch", lead.clock() + 1_800_000)
    assert await calls(lead, gate, 1, caller="batch") == [False]
    assert await calls(lead, gate, 1, caller="web") == [True], "nobody else is touched"
    for _ in range(10):
        await look(lead, watcher, 179)
    assert await calls(lead, gate, 1, caller="batch") == [False]
    assert [one.resolved_at for one in await all_of(lead) if one.cause == "runaway:batch"] == [""], "the block hides it"
    lead.clock.pass_s(11)
    assert await calls(lead, gate, 1, caller="batch") == [True], "nobody did anything for that"
    await look(lead, watcher, 3)
    (runaway,) = [one for one in await all_of(lead) if one.cause == "runaway:batch"]
    assert runaway.resolved_by == "spendgate"
    assert (
        json.loads(await lead.client.ask("HGET", lead.keys.incident(runaway.id), "actions"))[0]["entry"] == block.entry
    )
    assert ("incident", "critical", "resolved") in await told(lead)
    assert (await audit.verify(lead.client, lead.keys)).sound


async def test_calls_that_the_store_was_away_for_are_an_incident_when_it_is_back(lead: Lead) -> None:
    use(lead, "{}")
    watcher, gate = looks(lead)
    await look(lead, watcher, 30)
    for _ in range(3):
        gate.count_denied(Reason.STORE_UNAVAILABLE, "openai", lead.rules.timezone)
    await gate.tidy()
    await look(lead, watcher, 30)
    (found,) = await all_of(lead)
    assert (found.cause, found.facts["refused"], found.grade) == ("store:away", "3", Grade.MEDIUM)


# --- end to end ---------------------------------------------------------------------------------------------------


async def test_a_runaway_caller_end_to_end_through_a_real_proxy(lead: Lead) -> None:
    """The leader sees it, blocks it alone, the next proxied call is refused, and an hour later calls pass again."""

    async def paid(_: web.Request) -> web.StreamResponse:
        return web.json_response({})

    async with upstream(paid) as api:
        lead.use(
            "version: 1\nbudgets: [{name: monthly, limit: 15000}]\n"
            "callers: [{name: batch, key_env: KEY}, {name: web, key_env: KEY2}]\n"
            f"apis: [{{name: api, upstream: {api.url}, prices: [{{per_request: 50}}]}}]\n"
            "emergency: {automatic: {high: block_caller}}\n",
            KEY="b" * 20,
            KEY2="w" * 20,
        )
        gate = Gate(lead.store, lead.keys, clock=lead.clock, pinned=True, timezone=lead.rules.timezone)
        pool = Pool()
        page = Page(lead.rules, gate, pool, Answers(lead.store, lead.keys))
        listener = Listener(page.handle, on_bad_request=page.on_bad_request)
        await listener.start()
        ((host, port),) = listener.addresses
        watcher = Watcher(lead.context())
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:

            async def said(key: str) -> tuple[int, str | None]:
                answer = await client.get("/api/x", headers={"Authorization": f"Bearer {key * 20}"})
                return answer.status_code, answer.headers.get("X-Spendgate-Reason")

            assert await said("w") == (200, None)
            await look(lead, watcher, 30)
            for _ in range(8):
                assert await said("b") == (200, None)
            await look(lead, watcher, 3)
            assert await said("b") == (503, "service_stopped")
            assert await said("w") == (200, None)
            (incident,) = [one for one in await all_of(lead) if one.cause == "runaway:batch"]
            (taken,) = incident.actions
            lead.clock.now_ms = taken.until_ms - 1
            assert await said("b") == (503, "service_stopped")
            lead.clock.now_ms = taken.until_ms
            assert await said("b") == (200, None), "it has ended by itself"
            assert ("incident", "critical", "open") in await told(lead)
        await listener.drain(1.0)
        await gate.drain(1.0)
        await pool.close()
