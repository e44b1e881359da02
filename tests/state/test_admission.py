"""May this call be made? The table of answers, budget by budget, and what a reservation leaves behind."""

from __future__ import annotations

import pytest

from proxy.core.model import Admitted, Denied, Reason
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import Clock, ask, at, bill, daily_usd, dollars, free_tier, monthly, won


async def spend(gate: Gate, spent: int, reserved: int, *budgets: object) -> None:
    """Bring every budget to so much spent and reserved, essential calls passing every line below 100 %."""
    if spent:
        first = await gate.admit(ask(spent, *budgets, essential=True))  # type: ignore[arg-type]
        assert isinstance(first, Admitted)
        await gate.settle(first, bill(spent), 200)
    if reserved:
        assert isinstance(await gate.admit(ask(reserved, *budgets, essential=True)), Admitted)  # type: ignore[arg-type]


# Limit 1000 won, restrict at 950, stop at 1000.
@pytest.mark.parametrize(
    ("spent", "reserved", "estimate", "essential", "expected"),
    [
        (0, 0, 1000, False, "admitted"),
        (0, 0, 1001, False, "402 budget_insufficient"),
        (0, 0, 1001, True, "503 budget_stopped"),
        (949, 0, 51, False, "admitted"),
        (949, 0, 52, False, "402 budget_insufficient"),
        (950, 0, 1, False, "402 budget_restricted"),
        (950, 0, 50, True, "admitted"),
        (950, 0, 51, True, "503 budget_stopped"),
        (1000, 0, 0, False, "503 budget_stopped"),
        (1000, 0, 0, True, "503 budget_stopped"),
        # The same lines, only held by calls in flight.
        (500, 450, 1, False, "402 budget_busy"),
        (500, 449, 51, False, "admitted"),
        (500, 449, 52, False, "402 budget_busy"),
        (500, 450, 50, True, "admitted"),
        (500, 450, 51, True, "503 budget_busy"),
        (500, 500, 0, False, "503 budget_busy"),
        (500, 500, 0, True, "503 budget_busy"),
        # What is gone beats what is held.
        (500, 450, 501, False, "402 budget_insufficient"),
        (500, 450, 501, True, "503 budget_stopped"),
        (950, 50, 1, False, "402 budget_restricted"),
    ],
)
async def test_one_budget_answers_by_what_is_spent_and_held(
    gate: Gate, spent: int, reserved: int, estimate: int, essential: bool, expected: str
) -> None:
    budget = monthly(1000)
    await spend(gate, spent, reserved, budget)
    answer = await gate.admit(ask(estimate, budget, essential=essential))
    if isinstance(answer, Admitted):
        assert expected == "admitted"
        assert answer.tightest is not None
        assert answer.tightest.reserved_atoms == won(reserved + estimate)
        return
    assert f"{answer.status} {answer.reason}" == expected
    assert answer.level is not None
    assert (answer.level.spent_atoms, answer.level.reserved_atoms) == (won(spent), won(reserved))
    assert answer.level.limit_atoms == won(1000)
    assert answer.estimate_atoms == won(estimate)
    busy = answer.reason is Reason.BUDGET_BUSY
    assert answer.should_retry is busy
    seconds_to_december = (at("2026-12-01T00:00:00+09:00") - at("2026-11-23T12:00:00+09:00")) // 1000
    assert answer.retry_after_s == (1 if busy else seconds_to_december)


# Of two budgets: what each would answer alone (limit, spent, held) and what both answer together to a call of 100.
ROOMY, STOPPED, RESTRICTED, INSUFFICIENT, BUSY = (9000, 0, 0), (100, 100, 0), (1000, 950, 0), (99, 0, 0), (1000, 0, 940)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (ROOMY, INSUFFICIENT, ("second", "402 budget_insufficient")),
        (STOPPED, RESTRICTED, ("first", "503 budget_stopped")),
        (RESTRICTED, STOPPED, ("second", "503 budget_stopped")),
        (INSUFFICIENT, RESTRICTED, ("second", "402 budget_restricted")),
        (BUSY, INSUFFICIENT, ("second", "402 budget_insufficient")),
        (BUSY, ROOMY, ("first", "402 budget_busy")),
        (INSUFFICIENT, INSUFFICIENT, ("first", "402 budget_insufficient")),
    ],
)
async def test_the_hardest_refusal_of_a_chain_is_told(
    gate: Gate, first: tuple[int, int, int], second: tuple[int, int, int], expected: tuple[str, str]
) -> None:
    chain = []
    for name, (limit, spent, held) in (("first", first), ("second", second)):
        budget = monthly(limit, name=name)
        await spend(gate, spent, held, budget)
        chain.append(budget)
    answer = await gate.admit(ask(100, *chain))
    assert isinstance(answer, Denied)
    assert answer.level is not None
    assert (answer.level.budget, f"{answer.status} {answer.reason}") == expected


async def test_a_refusal_reserves_nothing_anywhere(gate: Gate, store: Store, keys: Keys) -> None:
    roomy, tight = monthly(1000), monthly(10, name="tight")
    assert isinstance(await gate.admit(ask(11, roomy, tight)), Denied)
    assert await store.call("KEYS", "*") == []


async def test_budgets_of_two_currencies_reserve_each_in_its_own(gate: Gate, store: Store, keys: Keys) -> None:
    admitted = await gate.admit(ask("1390", monthly(), daily_usd()))
    assert isinstance(admitted, Admitted)
    assert admitted.reserved == {"KRW": won(1390), "USD": dollars(1)}
    assert [w.label for w in admitted.windows] == ["2026-11", "2026-11-23"]
    told = await store.call("HMGET", keys.budget("daily-usd", "2026-11-23"), "reserved", "unit", "limit_text")
    assert told == [b"1000000000", b"0.000000001", b"10 USD"]
    # 9 dollars are left of 10; of 15000 won 13610 are left: the dollars run out first.
    assert admitted.tightest is not None
    assert admitted.tightest.budget == "daily-usd"


async def test_a_limit_changed_in_the_rules_holds_for_the_next_call(gate: Gate, store: Store, keys: Keys) -> None:
    await spend(gate, 800, 0, monthly(1000))
    assert isinstance(await gate.admit(ask(300, monthly(1000))), Denied)
    assert isinstance(await gate.admit(ask(300, monthly(2000))), Admitted)
    assert await store.call("HGET", keys.budget("monthly", "2026-11"), "limit_text") == b"2000 KRW"
    lowered = await gate.admit(ask(1, monthly(500)))
    assert isinstance(lowered, Denied)
    assert lowered.reason is Reason.BUDGET_STOPPED


async def test_a_period_that_ends_gives_a_new_budget_and_keeps_the_old(
    gate: Gate, clock: Clock, keys: Keys, store: Store
) -> None:
    budget = monthly(1000)
    clock.now_ms = at("2026-11-30T23:59:59+09:00")
    late = await gate.admit(ask(900, budget, at_ms=clock()))
    assert isinstance(late, Admitted)
    clock.pass_s(2)
    fresh = await gate.admit(ask(900, budget, at_ms=clock()))
    assert isinstance(fresh, Admitted)
    assert fresh.windows[0].label == "2026-12"
    # The November call ends in December: its money counts where it was admitted.
    await gate.settle(late, bill(850), 200)
    assert await store.call("HGET", keys.budget("monthly", "2026-11"), "spent_text") == b"850 KRW"
    assert await store.call("HGET", keys.budget("monthly", "2026-12"), "spent_text") == b"0 KRW"
    assert await store.call("XLEN", keys.ledger("2026-11")) == 1


async def test_a_proxy_with_a_wrong_clock_is_told_the_time_by_redis(store: Store, keys: Keys) -> None:
    gate = Gate(store, keys, clock=lambda: at("2020-01-01T00:00:00+09:00"))
    admitted = await gate.admit(ask(1, monthly(), at_ms=at("2020-01-01T00:00:00+09:00")))
    seconds, _ = await store.call("TIME")
    assert isinstance(admitted, Admitted)
    assert abs(admitted.now_ms - int(seconds) * 1000) < 2000
    assert admitted.windows[0].start_ms <= admitted.now_ms < admitted.windows[0].end_ms
    assert abs(gate.now_ms() - int(seconds) * 1000) < 2000


async def test_a_free_call_passes_an_exhausted_budget_and_enters_the_ledger(
    gate: Gate, store: Store, keys: Keys
) -> None:
    budget = monthly(1000)
    await spend(gate, 1000, 0, budget)
    free = await gate.admit(ask(0, budget, free=True))
    assert isinstance(free, Admitted)
    before = await store.call("XLEN", keys.ledger("2026-11"))
    assert (await gate.settle(free, bill(0), 200)).done
    assert not (await gate.settle(free, bill(0), 200)).done
    assert await store.call("XLEN", keys.ledger("2026-11")) == before + 1


async def test_free_calls_of_a_tier_are_given_out_once_each(gate: Gate, store: Store, keys: Keys, clock: Clock) -> None:
    budget, quota = monthly(1000), free_tier(2, 30)
    calls = [await gate.admit(ask(30, budget, quota=quota)) for _ in range(3)]
    assert all(isinstance(call, Admitted) for call in calls)
    admitted = [call for call in calls if isinstance(call, Admitted)]
    assert [call.position for call in admitted] == [0, 1000, 2000]
    assert [call.reserved["KRW"] for call in admitted] == [0, 0, won(30)]
    # One is not charged by the API: its unit goes back, and the next call takes it.
    await gate.settle(admitted[1], bill(0, units=0), 500)
    again = await gate.admit(ask(30, budget, quota=quota))
    assert isinstance(again, Admitted)
    assert again.position == 2000
    await gate.void(again.ask)
    assert await store.call("HGET", keys.quota("kakao-map/search", "2026-11"), "used") == b"2000"
    clock.now_ms = at("2026-12-01T00:00:00+09:00")
    december = await gate.admit(ask(30, budget, quota=quota, at_ms=clock()))
    assert isinstance(december, Admitted)
    assert december.position == 0


async def test_a_reservation_grows_in_all_budgets_or_in_none(gate: Gate, store: Store, keys: Keys) -> None:
    won_budget, dollar_budget = monthly(1000), daily_usd("0.5")
    admitted = await gate.admit(ask(139, won_budget, dollar_budget))
    assert isinstance(admitted, Admitted)
    grown = await gate.extend(admitted, {"KRW": won(278), "USD": dollars("0.2")})
    assert isinstance(grown, Admitted)
    assert grown.reserved == {"KRW": won(278), "USD": dollars("0.2")}
    refused = await gate.extend(grown, {"KRW": won(900), "USD": dollars("0.6")})
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.BUDGET_INSUFFICIENT
    assert refused.level is not None
    assert refused.level.budget == "daily-usd"
    smaller = await gate.extend(grown, {"KRW": 1})
    assert isinstance(smaller, Admitted)
    assert smaller.reserved == grown.reserved
    assert await store.call("HGET", keys.budget("monthly", "2026-11"), "reserved") == b"278000000"
    other = await gate.admit(ask(139, won_budget, dollar_budget))
    assert isinstance(other, Admitted)
    busy = await gate.extend(grown, {"KRW": won(417), "USD": dollars("0.45")})
    assert isinstance(busy, Denied)
    assert busy.reason is Reason.BUDGET_BUSY
    await gate.settle(grown, bill(417), 200)
    assert await store.call("HMGET", keys.budget("daily-usd", "2026-11-23"), "spent_text", "reserved") == [
        b"0.3 USD",
        b"100000000",
    ]


async def test_a_reservation_that_is_gone_cannot_grow(gate: Gate) -> None:
    admitted = await gate.admit(ask(10, monthly()))
    assert isinstance(admitted, Admitted)
    await gate.void(admitted.ask)
    refused = await gate.extend(admitted, {"KRW": won(20)})
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.STORE_UNAVAILABLE


async def test_an_estimate_without_a_budgets_currency_is_our_own_mistake(gate: Gate) -> None:
    with pytest.raises(KeyError):
        await gate.admit(ask(10, monthly(currency="JPY")))


async def test_large_amounts_keep_every_digit(gate: Gate, store: Store, keys: Keys) -> None:
    budget = monthly("9007199254.740992")  # 2^53 atoms
    admitted = await gate.admit(ask("9007199254.740991", budget))
    assert isinstance(admitted, Admitted)
    name = keys.budget("monthly", "2026-11")
    assert await store.call("HMGET", name, "reserved", "limit_text") == [
        b"9007199254740991",
        b"9007199254.740992 KRW",
    ]
    await gate.settle(admitted, bill("9007199254.740990"), 200)
    assert await store.call("HMGET", name, "spent", "spent_text", "reserved") == [
        b"9007199254740990",
        b"9007199254.74099 KRW",
        b"0",
    ]


async def test_a_call_inside_its_free_tier_passes_when_the_money_is_gone(gate: Gate) -> None:
    budget = monthly(1000)
    await spend(gate, 1000, 0, budget)
    first = await gate.admit(ask(0, budget, quota=free_tier(1, 5)))
    assert isinstance(first, Admitted)
    assert first.reserved == {"KRW": 0}
    second = await gate.admit(ask(0, budget, quota=free_tier(1, 5)))
    assert isinstance(second, Denied)
    assert second.reason is Reason.BUDGET_STOPPED
