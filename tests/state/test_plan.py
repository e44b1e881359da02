"""What a plan keeps of the calls before changes nothing in what the scripts are given for the next one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core.guards import NO_GUARDS
from proxy.core.model import Admitted, Bill, Cost, Estimate, Extra, State
from proxy.core.outcome import Outcome, Verdict
from proxy.state.keys import Keys
from proxy.state.plan import Plan
from tests.state.calls import NOON, SEOUL, cost, daily_usd, monthly
from tests.state.calls import ask as new_ask

BUDGETS = (monthly(), daily_usd())
COSTS = [
    cost(2),
    cost(2),
    cost("0.5", fx_rate=Decimal(1390), fx_date="2026-01-01"),
    Cost(Decimal(3), "KRW", {"KRW": 9}),
]
ESTIMATES = [Estimate(one, "exact", "m" if n % 2 else None, {"input_tokens": n}) for n, one in enumerate(COSTS[:3])]
BILLS = [
    *(Bill(one, State.SETTLED, {"output_tokens": n}) for n, one in enumerate(COSTS)),
    Bill(COSTS[0], State.ESTIMATED, {}, 3000, "cut\0", Extra(saved_atoms=5), "abcdef"),
]
CALL = st.tuples(
    st.sampled_from(ESTIMATES),
    st.sampled_from(BILLS),
    st.sampled_from([200, 404, None]),
    st.sampled_from([None, 0]),
    st.booleans(),
    st.sampled_from([{"KRW": 1, "USD": 2}, {"KRW": 1, "USD": 3}]),
    st.integers(0, 3_600_000),
    st.sampled_from(["openai", "openai", "map"]),
)


def a_plan() -> Plan:
    return Plan(Keys("main"), BUDGETS, SEOUL, None, NOON, ("openai", "openai/models", "anonymous"), NO_GUARDS)


@settings(max_examples=200, deadline=None)
@given(CALL, st.lists(st.tuples(st.integers(0, 7), CALL), max_size=15), st.booleans())
def test_the_scripts_are_given_the_same_by_a_used_plan_as_by_a_new_one(
    first: tuple[Any, ...], changes: list[tuple[int, tuple[Any, ...]]], copied: bool
) -> None:
    used, calls = a_plan(), [first]
    for which, other in changes:  # in one thing, or (7, mostly the same) in its API
        calls.append((*calls[-1][:which], other[which], *calls[-1][which + 1 :]))
    for number, (estimate, bill, status, position, bypassed, reserved, later_ms, api) in enumerate(calls):
        # Equal values that are other objects are another call's.
        estimate, bill = (replace(estimate), replace(bill)) if copied and number % 2 else (estimate, bill)
        ask = replace(new_ask(2, *BUDGETS, api=api), estimate=estimate)
        admitted = Admitted(ask, NOON + later_ms, (), reserved, position, None, bypassed=bypassed)
        given_of = (bill, status, 0, NOON + later_ms + 5, False, Outcome(Verdict.SUCCESS, 5), 0)
        assert used.admit_parts(ask, 0, NOON, 30_000).data == a_plan().admit_parts(ask, 0, NOON, 30_000).data
        assert used.settle_parts(ask, admitted, *given_of).data == a_plan().settle_parts(ask, admitted, *given_of).data
