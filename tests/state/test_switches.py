"""What is done by hand: atomically with its audit entry, obeyed by the next admission, undone by its number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import structs

from proxy.core.admin_model import Admin
from proxy.core.model import Admitted, Denied, Reason, RuleSet
from proxy.rules_file import load_text
from proxy.state import audit, switches
from proxy.state.audit import Refused, Who
from proxy.state.client import Client, Stale
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.leader import Election
from proxy.state.ledger import Ledger
from proxy.state.switches import Desk
from tests.state.calls import Clock, ask, bill, won
from tests.state.conftest import Server

TEXT = """version: 1
timezone: Asia/Seoul
budgets: [{name: monthly, limit: 1000}]
apis:
  - {name: openai, upstream: "https://api.openai.com", prices: [{name: chat, per_request: 1}]}
"""
HOUR = 3_600_000


@pytest.fixture
def rules() -> RuleSet:
    rules = load_text(TEXT).rules
    assert rules is not None
    return rules


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as one:
        yield one


@pytest.fixture
def desk(client: Client, keys: Keys, rules: RuleSet, clock: Clock) -> Desk:
    return Desk(client, keys, rules, Who("anna", "cli"), clock())


def later(desk: Desk, ms: int, who: str = "anna") -> Desk:
    return replace(desk, now_ms=desk.now_ms + ms, who=Who(who, "cli"))


async def admit(gate: Gate, desk: Desk, amount: int = 10, call_id: str = "c1") -> Admitted | Denied:
    return await gate.admit(ask(amount, *desk.rules.budgets, call_id=call_id, at_ms=desk.now_ms))


def reason(answer: Admitted | Denied) -> Reason | None:
    return answer.reason if isinstance(answer, Denied) else None


async def test_stop_is_obeyed_by_the_next_call_and_undone_by_its_number(gate: Gate, desk: Desk) -> None:
    assert reason(await admit(gate, desk)) is None
    entry = await switches.stop(desk, "invoice does not add up")
    assert (entry.number, entry.by, entry.action, entry.until) == (1, "anna", "stop", "")
    assert reason(await admit(gate, desk, call_id="c2")) is Reason.SERVICE_STOPPED
    undone = await switches.undo(desk, 1, "it does")
    assert (undone.number, undone.undoes) == (2, "1")
    assert reason(await admit(gate, desk, call_id="c3")) is None
    assert await switches.active(desk.client, desk.keys, desk.now_ms) == []


@pytest.mark.parametrize("target", ["api:openai", "rule:openai/chat", "caller:anonymous"])
async def test_what_is_blocked_is_refused_until_then(gate: Gate, desk: Desk, clock: Clock, target: str) -> None:
    await switches.block(desk, target, "loop", desk.now_ms + HOUR)
    plain = ask(1, *desk.rules.budgets, at_ms=desk.now_ms)
    asked = structs.replace(plain, api="openai", rule="openai/chat", caller="anonymous")
    assert reason(await gate.admit(asked)) is Reason.SERVICE_STOPPED
    clock.now_ms += HOUR
    assert reason(await gate.admit(asked)) is None, "it ended by itself"


async def test_an_increase_moves_the_limit_and_the_thresholds_and_is_taken_back(gate: Gate, desk: Desk) -> None:
    first = await admit(gate, desk, 960)
    assert isinstance(first, Admitted)
    await gate.settle(first, bill(960), 200)
    assert reason(await admit(gate, desk, call_id="c2")) is Reason.BUDGET_RESTRICTED
    entry = await switches.increase(desk, "monthly", won(500), "campaign")
    assert (entry.before, entry.after) == ("1000 KRW", "1500 KRW")
    level = (await Ledger(desk.client, desk.keys).levels(desk.rules.budgets, desk.now_ms))[0]
    assert (level["limit"], level["increase"], level["state"]) == ("1500", "500", "ok")
    second = await admit(gate, desk, 400, call_id="c3")
    assert isinstance(second, Admitted)
    await gate.void(second.ask)
    await switches.undo(desk, entry.number, "over")
    fields = await desk.client.ask("HGETALL", desk.keys.budget("monthly", "2026-11"))
    assert "increase" not in fields
    assert "increase_text" not in fields
    assert reason(await admit(gate, desk, call_id="c4")) is Reason.BUDGET_RESTRICTED


async def test_a_lift_passes_the_restrict_line_and_a_bypass_everything(gate: Gate, desk: Desk, clock: Clock) -> None:
    first = await admit(gate, desk, 960)
    assert isinstance(first, Admitted)
    await gate.settle(first, bill(960), 200)
    await switches.lift(desk, "budget:monthly", "demo", desk.now_ms + HOUR)
    assert reason(await admit(gate, desk, 10, "c2")) is None
    assert reason(await admit(gate, desk, 100, "c3")) is Reason.BUDGET_INSUFFICIENT, "the limit itself still holds"
    await switches.bypass(desk, "outage", desk.now_ms + HOUR)
    assert reason(await admit(gate, desk, 100, "c4")) is None
    clock.now_ms += HOUR
    assert reason(await admit(gate, desk, 10, "c5")) is Reason.BUDGET_RESTRICTED, "both have ended by themselves"


async def test_what_cannot_be_done_says_why(desk: Desk) -> None:
    end = desk.now_ms + HOUR
    for doing, word in (
        (switches.stop(desk, "  "), "no_reason"),
        (switches.stop(desk, "x", desk.now_ms), "past"),
        (switches.block(desk, "api:nope", "x"), "no_target"),
        (switches.block(desk, "budget:monthly", "x"), "bad_target"),
        (switches.lift(desk, "all", "x", None), "needs_until"),
        (switches.bypass(desk, "x", None), "needs_until"),
        (switches.bypass(desk, "x", end + switches.BYPASS_MOST_MS), "too_long"),
        (switches.increase(desk, "nope", 1, "x"), "no_target"),
        (switches.increase(desk, "monthly", 0, "x"), "not_more"),
        (switches.increase(desk, "monthly", 2**53, "x"), "too_much"),
        (switches.undo(desk, 1, "x"), "no_entry"),
        (switches.approve(desk, 1, "x"), "nothing_asked"),
    ):
        with pytest.raises(Refused) as caught:
            await doing
        assert caught.value.reason == word
    assert await audit.head(desk.client, desk.keys) == (0, ""), "nothing was written"


async def test_undoing_twice_or_after_a_later_change_is_refused(desk: Desk) -> None:
    await switches.stop(desk, "first", desk.now_ms + HOUR)
    await switches.stop(desk, "longer", desk.now_ms + 2 * HOUR)
    with pytest.raises(Refused, match="changed_since"):
        await switches.undo(desk, 1, "x")
    await switches.undo(desk, 2, "x")  # the first one holds again
    assert [one.entry for one in await switches.active(desk.client, desk.keys, desk.now_ms)] == [1]
    with pytest.raises(Refused, match="undone_already"):
        await switches.undo(desk, 2, "x")
    with pytest.raises(Refused, match="not_undoable"):
        await switches.undo(desk, 3, "x")
    await switches.undo(desk, 1, "x")
    assert await switches.active(desk.client, desk.keys, desk.now_ms) == []


async def test_a_large_increase_needs_a_second_person(desk: Desk) -> None:
    careful = replace(desk, rules=replace(desk.rules, admin=Admin(second_approver_bp=2000)))
    small = await switches.increase(careful, "monthly", won(199), "small")
    assert small.action == "increase"
    asked = await switches.increase(careful, "monthly", won(200), "large")
    assert asked.action == "increase.asked"
    level = (await Ledger(desk.client, desk.keys).levels(desk.rules.budgets, desk.now_ms))[0]
    assert level["increase"] == "199"
    assert [one.number for one in await switches.waiting(desk.client, desk.keys, desk.now_ms, "Asia/Seoul")] == [2]
    with pytest.raises(Refused, match="same_person"):
        await switches.approve(careful, 2, "I say so")
    with pytest.raises(Refused, match="too_late"):
        await switches.approve(later(careful, 25 * HOUR, "bert"), 2, "fine")
    bert = later(careful, HOUR, "bert")
    done = await switches.approve(bert, 2, "fine")
    assert (done.action, done.undoes, done.after) == ("increase", "2", "1399 KRW")
    with pytest.raises(Refused, match="answered_already"):
        await switches.approve(bert, 2, "again")
    assert await switches.waiting(desk.client, desk.keys, desk.now_ms, "Asia/Seoul") == []


async def test_a_leader_of_the_past_changes_nothing(desk: Desk) -> None:
    await Election(desk.client, desk.keys, "one", "h:1").ask()
    old = replace(desk, who=Who("spendgate", "automatic"), fence="1")
    await switches.stop(old, "automatic")
    await Election(desk.client, desk.keys, "one", "h:1").resign()
    await Election(desk.client, desk.keys, "two", "h:2").ask()
    with pytest.raises(Stale):
        await switches.block(old, "api:openai", "too late")
    assert [one.field for one in await switches.active(desk.client, desk.keys, desk.now_ms)] == ["stop"]


async def test_many_at_once_make_one_whole_chain(desk: Desk) -> None:
    await asyncio.gather(*(switches.increase(desk, "monthly", 1, f"n{n}") for n in range(12)))
    found = await audit.verify(desk.client, desk.keys)
    assert (found.sound, found.entries) == (True, 12)
    fields = await desk.client.ask("HGETALL", desk.keys.budget("monthly", "2026-11"))
    assert (fields["increase"], fields["increase_text"]) == ("12", "0.000012 KRW")
    assert {entry.reason for entry in await audit.last(desk.client, desk.keys, 50)} == {f"n{n}" for n in range(12)}


async def _chain(desk: Desk) -> list[audit.Entry]:
    return [await switches.stop(desk, f"n{n}", desk.now_ms + (n + 1) * HOUR) for n in range(5)]


async def test_a_sound_chain_is_told_with_its_head(desk: Desk) -> None:
    assert (await audit.verify(desk.client, desk.keys)).sound, "an empty trail is whole"
    entries = await _chain(desk)
    found = await audit.verify(desk.client, desk.keys, entries[2].hash)
    assert (found.sound, found.entries, found.head) == (True, 5, entries[-1].hash)
    assert (await audit.verify(desk.client, desk.keys, "0" * 64)).what == "head"
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]


async def test_what_was_done_to_the_trail_shows(desk: Desk) -> None:
    async def tampered(number: int, changes: dict[str, str]) -> audit.Verdict:
        await desk.client.ask("FLUSHALL")
        entries = await _chain(desk)
        await desk.client.ask("DEL", desk.keys.audit)
        for entry in entries:
            fields = entry.fields()
            if entry.number == number:
                if not changes:
                    continue
                fields |= changes
                if changes.get("hash") == "forged":
                    fields["hash"] = audit.chain_hash(replace(entry, reason=fields["reason"]))
            flat = [text for pair in fields.items() for text in pair]
            await desk.client.ask("XADD", desk.keys.audit, f"{entry.number}-0", *flat)
        return await audit.verify(desk.client, desk.keys)

    for number, changes, broken_at, what in (
        (3, {"reason": "harmless"}, 3, "changed"),
        (3, {"reason": "harmless", "hash": "forged"}, 4, "changed"),
        (5, {"reason": "harmless", "hash": "forged"}, 5, "changed"),
        (2, {}, 2, "missing"),
        (5, {}, 5, "cut"),
        (1, {"number": "one"}, 1, "unreadable"),
    ):
        found = await tampered(number, changes)
        assert (found.broken_at, found.what) == (broken_at, what)
