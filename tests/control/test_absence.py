"""Redis goes away and comes back: who is told meanwhile, and what stands in the history afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.control.absence import Absence, tell, words
from proxy.control.emergency import STORM_MS, Away, Measures, StoreFacts
from proxy.control.incident_words import title
from proxy.control.jobs import Context, Leadership
from proxy.control.responder import Responder
from proxy.control.watch import Watcher
from proxy.core.emergency_model import Grade
from proxy.core.windows import iso
from proxy.rules_file import load_text
from proxy.state import incidents
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.leader import Election
from proxy.state.store import Store
from tests.control.conftest import RULES, Lead
from tests.control.receivers import webhook
from tests.state.calls import SEOUL, Clock
from tests.state.conftest import Server, a_server

NOON = Clock()()


async def test_an_absence_is_remembered_for_a_while_and_told_once_by_the_one_who_led() -> None:
    told: list[int] = []

    async def note(since_ms: int) -> None:
        told.append(since_ms)

    one = Absence(note)
    one.answered(NOON)
    assert one.last(NOON) is None
    for seconds in (0, 2, 9, 10, 12, 30):
        one.missed(NOON + 1000 * seconds, led=seconds == 0)  # the lease ends meanwhile
        await asyncio.sleep(0)
        assert told == ([NOON] if seconds >= 10 else [])
    assert one.last(NOON + 30_000) is None  # it is not over
    one.answered(NOON + 31_000)
    assert one.last(NOON + 31_000) == Away(NOON, NOON + 31_000)
    assert one.last(NOON + 31_000 + STORM_MS) is None
    one.missed(NOON + 40_000, led=False)
    one.missed(NOON + 80_000, led=True)  # led by nobody when it began: another process tells
    await asyncio.sleep(0)
    assert told == [NOON]


async def test_one_that_is_back_soon_is_not_told() -> None:
    async def never(_: int) -> None:
        raise AssertionError

    one = Absence(never)
    one.missed(NOON, led=True)
    one.answered(NOON + 3000)
    one.missed(NOON + 9000, led=True)
    one.missed(NOON + 12_000, led=True)
    await asyncio.sleep(0)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_what_is_told_names_the_moment_and_what_to_do(language: str) -> None:
    message, (told,) = words(language, iso(NOON, SEOUL))
    assert "12:00" in message.body
    assert "spendgate doctor" in message.body
    assert "{" not in message.title + message.body
    assert told.facts["since"] == iso(NOON, SEOUL)


async def test_the_incident_has_the_time_at_which_the_absence_began(lead: Lead) -> None:
    responder = Responder(lead.context(), new_id=lambda: "i1")
    away = Away(lead.clock() - 90_000, lead.clock() - 1000)
    tells = await responder.step(Measures(store=StoreFacts(refused=3, away=away)), {}, lead.clock())
    (found,) = await incidents.history(lead.client, lead.keys, 9)
    assert (found.cause, found.grade) == ("store:away", Grade.HIGH)
    assert found.opened_at == iso(lead.clock() - 90_000, lead.rules.timezone)
    assert title(found, "en") == "Redis was away for 89 s: 3 calls refused"
    assert [one.severity.value for one in tells.alerts] == ["critical"]
    again = replace(away, ended_ms=away.ended_ms)
    await responder.step(Measures(store=StoreFacts(refused=3, away=again)), {}, lead.clock() + 30_000)
    assert len(await incidents.history(lead.client, lead.keys, 9)) == 1


@asynccontextmanager
async def leading(server: Server, clock: Clock, absence: Absence) -> AsyncIterator[tuple[Leadership, Context]]:
    """A process that leads as the control process does, with a clock of the test's; jobs are run by the test."""
    client, store, keys = Client(server.url), Store(server.url), Keys()
    lead = Lead(server, client, store, keys, clock)
    assert await store.start()

    def heard(answered: bool, led: bool) -> None:
        if answered:
            absence.answered(clock())
        else:
            absence.missed(clock(), led=led)

    election = Election(client, keys, "one", "here")
    leadership = Leadership(election, [], lambda fence: lead.context(fence), heard=heard)
    task = asyncio.create_task(leadership.run())
    try:
        yield leadership, replace(lead.context(), away=absence.last)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        absence.close()
        await client.close()
        await store.close()


async def until(condition: object, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - another task's attribute
            await asyncio.sleep(0.01)


async def test_redis_dies_the_channels_hear_of_it_and_the_history_does_afterwards(tmp_path: Path) -> None:
    clock = Clock()
    with a_server("valkey", tmp_path) as server:
        async with webhook() as hook:
            loaded = load_text(
                f"{RULES}alerts: [{{name: hook, webhook: '{hook.url}', secret_env: HOOK}}]\n",
                "rules.yaml",
                {"HOOK": "whsec_c2VjcmV0"},
            )
            assert loaded.rules is not None
            rules = loaded.rules
            absence = Absence(lambda since_ms: tell(rules, since_ms, clock))
            async with leading(server, clock, absence) as (leadership, context):
                await until(lambda: leadership.fence is not None)
                server.kill()
                began_ms = clock()
                await until(lambda: absence._since_ms is not None)
                clock.pass_s(70)
                await asyncio.wait_for(hook.got.wait(), 60)
                (alert,) = hook.alerts
                assert (alert["kind"], alert["severity"]) == ("incident", "critical")
                assert alert["facts"]["since"] == iso(began_ms, rules.timezone)
                server.start()
                await until(lambda: absence.last(clock()) is not None and leadership.fence is not None)
                assert leadership.fence is not None
                led = replace(context, fence=leadership.fence)
                await Watcher(led).step(clock())
                (found,) = await incidents.history(context.client, context.keys, 9)
                assert (found.cause, found.opened_at, found.grade) == (
                    "store:away",
                    iso(began_ms, rules.timezone),
                    Grade.HIGH,
                )
