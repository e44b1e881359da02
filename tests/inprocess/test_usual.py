"""The bill that all calls of a day share is the bill that each of them would have got by itself."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.ids import RequestIds
from proxy.core.model import Admitted, Ask, Bill, Denied, Priority, RuleSet
from proxy.core.outcome import Outcome
from proxy.core.windows import window_at
from proxy.inprocess import question as questions
from proxy.inprocess.call import Call
from proxy.inprocess.question import Question, Terms
from proxy.rules_file import load_text

MIDNIGHT_MS = 1_764_082_800_000  # 2025-11-26 00:00 in Seoul
DAY_MS = 86_400_000
RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx:
  USD: [{{rate: 1390, since: 2025-01-01}}, {{rate: 1400, since: 2025-11-26}}, {{rate: 1410, since: 2025-11-27}}]
budgets:
  - {{name: monthly, limit: 15000, period: month}}
  - {{name: dollars, limit: 100, currency: USD, period: day}}
apis:
  - name: map
    upstream: https://map.example.com
    prices: [{price}]
"""
PRICES = st.one_of(
    st.sampled_from(
        [
            *("{free: true}", "{per_request: 2, charge_on: [404]}", "{per_request: 2, charge_on: [2xx, 404]}"),
            *("{per_request: 2, currency: USD}", "{per_request: 2, estimate: learned}", "{per_second: 3}"),
            *(
                "{per_minute: 3}",
                "{per_kb: {up: 1, down: 2}}",
                "{per_unit: {price: 3, count: response.n, max_count: 9}}",
            ),
            *("{per_unit: {price: 3, count: '2'}}", "{per_unit: {price: 3, count: '0'}}", "{per_request: 2, vat: 10%}"),
            *("{per_request: 2, free_tier: {requests: 3, per: month}}", "{per_connection: 4}"),
        ]
    ),
    st.decimals(0, 10**6, places=4).map(lambda price: f"{{per_request: {price}}}"),
)
AMOUNTS = st.sampled_from([None, 0, 12.5, "0.02 USD", 7])
RESULTS = st.sampled_from(
    [
        None,
        "text",
        {"n": 3},
        [1],
        5,
        b"{}",
        SimpleNamespace(),
        *(SimpleNamespace(status_code=s) for s in (200, 404, 500)),
    ]
)


@dataclass
class Recorder:
    """Stands where the host is: keeps what a call's end states."""

    stated: list[tuple[Bill, int | None, bool, object]] = field(default_factory=list)

    def settle(self, _: Admitted, __: object, bill: Bill, status: int | None, *, learn: bool, outcome: Outcome) -> None:
        self.stated.append((bill, status, learn, (outcome.verdict, outcome.pause_until_ms)))

    gate: Any = None


@functools.cache
def rules_of(price: str) -> RuleSet:
    loaded = load_text(RULES.format(price=price))
    assert loaded.rules is not None, loaded.mistakes
    return loaded.rules


def asked_at(rules: RuleSet, terms: Terms, now_ms: int) -> Question | None:
    known = questions.subject(rules, terms, None)
    assert not isinstance(known, Denied)
    choice = questions.choose(known, terms, (), {})
    if isinstance(choice, Denied) or questions.looks_into_arguments(known, terms):
        return None
    return questions.question_of_the_day(choice, terms, now_ms) if questions.lasts_a_day(choice, terms) else None


def ended(asked: Question, terms: Terms, now_ms: int, result: object) -> tuple[Bill, int | None, bool, object]:
    rules, rule = asked.subject.rules, asked.rule
    ask = Ask(
        id=RequestIds(1).new(now_ms),
        at_ms=now_ms,
        api="map",
        rule=rule.id,
        caller="anonymous",
        method="CALL",
        path="jobs.find",
        priority=Priority.OPTIONAL,
        budgets=rules.budgets,
        estimate=asked.estimate,
        currency=rules.currency,
        timezone=rules.timezone,
        free=asked.estimate.basis == "free",
    )
    windows = tuple(window_at(b.period, b.timezone, now_ms) for b in rules.budgets)
    host = Recorder()
    ticket = Admitted(ask, now_ms, windows, dict(asked.estimate.cost.atoms), None, None)
    Call(host, terms, asked, ticket, None).end(result)  # type: ignore[arg-type]
    (stated,) = host.stated
    return stated


@settings(deadline=None, max_examples=150)
@given(
    price=PRICES,
    result=RESULTS,
    cost=AMOUNTS,
    estimate=AMOUNTS,
    asked_ms=st.integers(0, DAY_MS - 1),
    later_ms=st.integers(-DAY_MS, DAY_MS),
)
def test_the_days_bill_is_that_of_the_call(
    price: str, result: object, cost: Any, estimate: Any, asked_ms: int, later_ms: int
) -> None:
    rules, terms = rules_of(price), Terms("map", name="jobs.find", cost=cost, estimate=estimate)
    asked = asked_at(rules, terms, MIDNIGHT_MS + asked_ms)
    if asked is None:
        return
    admitted_ms = MIDNIGHT_MS + asked_ms + later_ms
    looked_at = msgspec.structs.replace(asked, usual=None)
    assert ended(asked, terms, admitted_ms, result) == ended(looked_at, terms, admitted_ms, result)


def test_a_price_by_the_request_is_known_for_the_day_and_one_by_the_second_is_not() -> None:
    for price, known in (("{per_request: 2}", True), ("{per_second: 2}", False), ("{per_request: 2, vat: 10%}", None)):
        asked = asked_at(rules_of(price), Terms("map", name="jobs.find"), MIDNIGHT_MS)
        assert (None if asked is None else asked.usual is not None) is known
