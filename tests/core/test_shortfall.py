"""With how little a stream may begin, and what it owes where it is cut short."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core import price, shortfall
from proxy.core.model import (
    Budget,
    Estimate,
    EstimateMode,
    FreeTier,
    Level,
    OnExhausted,
    Outbound,
    Period,
    PeriodUnit,
    Price,
    Rule,
    State,
    TokenPrices,
    Usage,
)
from tests.core.exchanges import AT_MS, rule, rule_set
from tests.core.shapes import js

RULES = rule_set("KRW")
WON = 10**6  # atoms
MONTH = Period(PeriodUnit.MONTH)
ONE_A_TOKEN = Price(currency="KRW", tokens=TokenPrices(input=D(0), output=D(1_000_000)))


def truncating(price_of_it: Price = ONE_A_TOKEN, **changes: Any) -> Rule:
    return rule(price_of_it, estimate=EstimateMode.LEARNED, on_exhausted=OnExhausted.TRUNCATE, **changes)


def chat(path: str = "/v1/chat/completions", **fields: Any) -> Outbound:
    body = js({"model": "m", "messages": [{"role": "user", "content": "Say hi"}], **fields})
    return Outbound("POST", "https", "api.example.com", 443, path, "", (), body, len(body))


def level(limit: int, spent: int, reserved: int, currency: str = "KRW", unit: int = WON) -> Level:
    return Level("b", "2026-11", currency, limit * unit, spent * unit, reserved * unit, AT_MS)


def learned(chosen: Rule, call: Outbound, won: int) -> Estimate:
    return price.estimate(RULES, chosen, call, AT_MS, won * WON)


def amounts(chosen: Rule, call: Outbound, estimate: Estimate, seen: Level | None) -> list[D]:
    found = shortfall.lesser(RULES, chosen, call, estimate, seen, AT_MS)
    assert not any(one.bounded for one in found)  # a stream that begins with less must be watched
    return [D(one.cost.atoms["KRW"]) / WON for one in found]


@pytest.mark.parametrize(
    ("seen", "asked"),
    [
        (level(1000, 500, 0), [500, 150]),  # all that is left, else a quarter
        (level(1000, 500, 300), [200, 150]),  # of what is not held by others
        (level(1000, 500, 400), [150]),  # too little is free now: the answer to a quarter tells whether waiting helps
        (level(1000, 990, 0), [150]),
        (level(1000, 1100, 0), [150]),  # overspent already
        (None, [150]),
    ],
)
def test_a_stream_begins_with_what_is_left_or_with_a_quarter(seen: Level | None, asked: list[int]) -> None:
    chosen, call = truncating(), chat(stream=True)
    assert amounts(chosen, call, learned(chosen, call, 600), seen) == asked


def test_a_budget_in_another_currency_counts_by_its_share_of_the_estimate() -> None:
    rules = rule_set("KRW", budgets=(Budget("b", 10**10, "USD", MONTH, "Asia/Seoul"),))
    chosen, call = truncating(), chat(stream=True)
    estimate = price.estimate(rules, chosen, call, AT_MS, 1390 * WON)
    assert estimate.cost.atoms["USD"] == 10**9
    half = level(10, 0, 0, "USD", 5 * 10**7)
    first, _ = shortfall.lesser(rules, chosen, call, estimate, half, AT_MS)
    assert (first.cost.atoms["KRW"], first.cost.atoms["USD"]) == (695 * WON, 5 * 10**8)


def test_the_least_pays_for_the_input_and_some_words() -> None:
    chosen = truncating(Price(currency="KRW", tokens=TokenPrices(input=D(1_000_000), output=D(1_000_000))))
    call = chat(stream=True)
    estimate = learned(chosen, call, 300)
    expected = estimate.usage["input_tokens"] + shortfall.WORTH_TOKENS
    assert amounts(chosen, call, estimate, None) == [max(expected, 75)]
    assert amounts(chosen, call, learned(chosen, call, expected), None) == []  # nothing less is worth it


def test_before_anything_was_learned_a_stream_may_begin_with_less_than_its_worst_case() -> None:
    """Else a budget smaller than the worst case would never let the calls through that teach what they cost."""
    chosen, call = truncating(), chat(stream=True, max_tokens=1000)
    worst = price.estimate(RULES, chosen, call, AT_MS)
    assert worst.bounded
    assert amounts(chosen, call, worst, level(500, 100, 0)) == [400, 16]


@pytest.mark.parametrize(
    ("chosen", "call"),
    [
        (truncating(), chat()),
        (truncating(), chat(stream=False)),
        (truncating(), chat(stream="true")),
        (rule(ONE_A_TOKEN, estimate=EstimateMode.LEARNED), chat(stream=True)),
        (rule(ONE_A_TOKEN, on_exhausted=OnExhausted.TRUNCATE), chat(stream=True)),
        (truncating(Price(currency="KRW", per_request=D(10))), chat(stream=True)),
        (truncating(Price(currency="KRW", free=True)), chat(stream=True)),
        (
            truncating(Price(currency="KRW", per_request=D(10), free_tier=FreeTier(D(1), "requests", MONTH))),
            chat(stream=True),
        ),
    ],
    ids=["no_stream", "says_no", "not_a_boolean", "finishes", "strict", "exact", "free", "free_tier"],
)
def test_nothing_less_than_the_estimate_makes_sense(chosen: Rule, call: Outbound) -> None:
    estimate = learned(chosen, call, 600)
    assert amounts(chosen, call, estimate, level(1000, 500, 0)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict",
        "/model/anthropic.claude-sonnet-4-20250514-v1:0/converse-stream",
        "/model/anthropic.claude-sonnet-4-20250514-v1:0/invoke-with-response-stream",
    ],
)
def test_some_endpoints_always_stream(path: str) -> None:
    assert shortfall.asks_for_stream(chat(path))
    assert not shortfall.asks_for_stream(chat(path.replace("stream", "x").replace("Stream", "X")))


def cut(seen: int, reserved: int, unseen: int) -> tuple[D, State, str | None]:
    chosen, call = truncating(), chat(stream=True)
    usage = Usage(status=200, complete=False, streamed=True, sent=True, tokens_seen=seen)
    estimate = learned(chosen, call, 600)
    bill = shortfall.truncated(RULES, chosen, call, estimate, usage, reserved * WON, unseen, None, AT_MS)
    assert D(bill.usage["output_tokens"]) * WON == bill.cost.atoms["KRW"]
    return D(bill.cost.atoms["KRW"]) / WON, bill.state, bill.note


@pytest.mark.parametrize(
    ("seen", "reserved", "owed"),
    [
        (100, 105, 105),
        (100, 103, 103),  # no more than the reservation covers
        (100, 100, 100),
        (100, 90, 100),  # what was seen is owed in any case
        (100, 500, 105),
        (0, 16, 5),
    ],
)
def test_a_cut_stream_owes_what_may_have_been_produced_unseen(seen: int, reserved: int, owed: int) -> None:
    assert cut(seen, reserved, 5) == (owed, State.ESTIMATED, "truncated")


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 64))
def test_a_cut_stream_owes_at_least_what_was_seen_and_no_more_than_it_holds(
    seen: int, reserved: int, unseen: int
) -> None:
    owed, _, _ = cut(seen, reserved, unseen)
    assert seen <= owed <= max(seen, min(reserved, seen + unseen))


def test_a_stream_that_told_its_whole_usage_before_the_cut_owes_that() -> None:
    chosen, call = truncating(), chat(stream=True)
    usage = Usage(
        status=200, complete=False, streamed=True, sent=True, found=True, counts={"output_tokens": 40}, tokens_seen=38
    )
    bill = shortfall.truncated(RULES, chosen, call, learned(chosen, call, 600), usage, 45 * WON, 5, None, AT_MS)
    assert (bill.cost.atoms["KRW"], bill.state, bill.note) == (40 * WON, State.SETTLED, None)


def test_a_stream_that_is_not_charged_owes_nothing_when_cut() -> None:
    chosen, call = truncating(), chat(stream=True)
    usage = replace(Usage(status=500, complete=False, streamed=True, sent=True), tokens_seen=10)
    bill = shortfall.truncated(RULES, chosen, call, learned(chosen, call, 600), usage, 45 * WON, 5, None, AT_MS)
    assert (bill.cost.atoms["KRW"], bill.note) == (0, None)
