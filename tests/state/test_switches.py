"""What people switch is obeyed by the very next call: bypass, stops, lifts, and a limit that was raised."""

from __future__ import annotations

import pytest

from proxy.core.model import Admitted, Denied, Reason
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import NOON, Clock, ask, bill, free_tier, monthly, won

FOR_EVER = 2**53 - 1


async def switch(store: Store, field: str, until_ms: int = FOR_EVER) -> None:
    await store.call("HSET", Keys().switches, field, f"{until_ms} 1764158400000-0")


async def entry_note(store: Store, keys: Keys) -> str:
    ((_, fields),) = await store.call("XREVRANGE", keys.ledger("2026-11"), "+", "-", "COUNT", 1)
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    note: bytes = values[b"note"]
    return note.decode()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("stop", "service_stopped"),
        ("api:openai", "service_stopped.api"),
        ("rule:openai/chat", "service_stopped.rule"),
        ("caller:batch", "service_stopped.caller"),
    ],
)
async def test_a_stopped_call_is_refused_until_the_switch_is_undone(
    gate: Gate, store: Store, field: str, text: str
) -> None:
    await switch(store, field)
    refused = await gate.admit(ask(1, monthly(), essential=True))
    assert isinstance(refused, Denied)
    assert (refused.reason, refused.status, refused.detail["text"]) == (Reason.SERVICE_STOPPED, 503, text)
    assert (refused.retry_after_s, refused.should_retry, refused.until_ms) == (None, False, None)
    await store.call("HDEL", Keys().switches, field)
    assert isinstance(await gate.admit(ask(1, monthly())), Admitted)


async def test_a_switch_with_an_end_tells_it_and_ends_by_itself(gate: Gate, store: Store, clock: Clock) -> None:
    await switch(store, "api:openai", NOON + 60_000)
    refused = await gate.admit(ask(1, monthly()))
    assert isinstance(refused, Denied)
    assert (refused.retry_after_s, refused.until_ms) == (60, NOON + 60_000)
    assert refused.detail == {"text": "service_stopped.api.until", "name": "openai"}
    clock.pass_s(60)
    assert isinstance(await gate.admit(ask(1, monthly(), at_ms=clock())), Admitted)


async def test_what_costs_nothing_passes_a_stop_of_all_but_not_one_of_its_api(gate: Gate, store: Store) -> None:
    free, in_free_tier = ask(0, free=True), ask(0, monthly(), quota=free_tier(1, 40))
    await switch(store, "stop")
    assert isinstance(await gate.admit(free), Admitted)
    assert isinstance(await gate.admit(in_free_tier), Admitted)
    assert isinstance(await gate.admit(ask(0, monthly(), quota=free_tier(1, 40))), Denied)  # the second one costs
    await switch(store, "api:openai")
    assert isinstance(await gate.admit(free), Denied)
    await switch(store, "lift:api:openai")
    assert isinstance(await gate.admit(free), Admitted)


async def test_bypassed_calls_pass_everything_and_the_ledger_says_so(gate: Gate, store: Store, keys: Keys) -> None:
    for field in ("bypass", "stop", "api:openai", "caller:batch"):
        await switch(store, field)
    admitted = await gate.admit(ask(900, monthly(100)))
    assert isinstance(admitted, Admitted)
    assert admitted.bypassed
    grown = await gate.extend(admitted, {"KRW": won(1200)})
    assert isinstance(grown, Admitted)
    await store.call("DEL", keys.switches)  # the stream goes on after the emergency is over
    assert isinstance(await gate.extend(grown, {"KRW": won(1300)}), Admitted)
    settled = await gate.settle(grown, bill(1250, note="usage_missing"), 200)
    assert settled.tightest is not None
    assert settled.tightest.spent_atoms == won(1250)
    assert await entry_note(store, keys) == "usage_missing bypass"
    day = await store.call("HGETALL", keys.day("2026-11-23"))
    notes = {name for name in day[::2] if name.startswith(b"note|")}
    assert notes == {b"note|openai|usage_missing", b"note|openai|bypass"}
    assert isinstance(await gate.admit(ask(1, monthly(100))), Denied)


async def test_a_bypassed_call_whose_proxy_died_is_noted_as_such(store: Store, keys: Keys, clock: Clock) -> None:
    await switch(store, "bypass")
    dead = Gate(store, keys, clock=clock, pinned=True, lease_s=-1)
    assert isinstance(await dead.admit(ask(900, monthly(100))), Admitted)
    assert await dead.reclaim() == 1
    assert await entry_note(store, keys) == "unconfirmed bypass"


async def test_a_lifted_budget_lets_everybody_pass_its_restrict_line_but_not_its_limit(
    gate: Gate, store: Store
) -> None:
    budget = monthly(1000)
    first = await gate.admit(ask(960, budget))
    assert isinstance(first, Admitted)
    await gate.settle(first, bill(960), 200)
    refused = await gate.admit(ask(10, budget))
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.BUDGET_RESTRICTED
    await switch(store, "lift:budget:another")
    assert isinstance(await gate.admit(ask(10, budget)), Denied)
    await switch(store, "lift:budget:monthly")
    assert isinstance(await gate.admit(ask(10, budget)), Admitted)
    too_much = await gate.admit(ask(31, budget))
    assert isinstance(too_much, Denied)
    assert too_much.reason is Reason.BUDGET_BUSY  # it is above the limit only with what is held


async def test_a_raised_limit_counts_for_calls_streams_thresholds_and_levels(
    gate: Gate, store: Store, keys: Keys
) -> None:
    budget = monthly(100)
    first = await gate.admit(ask(90, budget))
    assert isinstance(first, Admitted)
    assert isinstance(await gate.admit(ask(90, budget)), Denied)
    await store.call("HSET", keys.budget("monthly", "2026-11"), "increase", won(900), "increase_text", "900 KRW")
    second = await gate.admit(ask(90, budget))
    assert isinstance(second, Admitted)
    assert second.tightest is not None
    assert second.tightest.limit_atoms == won(1000)
    assert isinstance(await gate.extend(second, {"KRW": won(500)}), Admitted)
    refused = await gate.extend(second, {"KRW": won(911)})
    assert isinstance(refused, Denied)
    assert refused.level is not None
    assert refused.level.limit_atoms == won(1000)
    settled = await gate.settle(second, bill(700), 200)
    assert settled.crossed == (("monthly", 7000),)
    ((_, crossing),) = await store.call("XRANGE", keys.thresholds, "-", "+")
    assert b"1000 KRW" in crossing


async def test_thresholds_of_the_largest_limits_are_exact(gate: Gate, store: Store, keys: Keys) -> None:
    # 95 % of 2^53 - 3 atoms, rounded up: a product in doubles would be off by a few atoms.
    limit = 2**53 - 3
    line = -(-limit * 9500 // 10_000)
    budget = monthly(limit_atoms=limit)
    assert isinstance(await gate.admit(ask(0, budget)), Admitted)
    for spent, passes in ((line - 1, True), (line, False)):
        await store.call("HSET", keys.budget("monthly", "2026-11"), "spent", spent)
        assert isinstance(await gate.admit(ask(0, budget)), Admitted) is passes
