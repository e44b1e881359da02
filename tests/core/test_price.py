"""What a call may cost, costs so far, and did cost: the grammar's parts, one after the other."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import price
from proxy.core.expression import compile_expression
from proxy.core.model import (
    Bill,
    Budget,
    Estimate,
    EstimateMode,
    FreeTier,
    FxRate,
    Outbound,
    Period,
    PeriodUnit,
    PerKb,
    PerUnit,
    Price,
    Rounding,
    Rule,
    State,
    StatusSet,
    Tiers,
    TierStep,
    TimeOfDay,
    TokenPrices,
    Usage,
)
from tests.core.exchanges import AT_MS, catalog_rule, rule, rule_set
from tests.core.shapes import js

RULES = rule_set("KRW")
MONTH = Period(PeriodUnit.MONTH)
CALL = Outbound(
    "POST", "https", "sms.example.com", 443, "/messages", "", (), js({"to": ["a", "b"], "text": "x" * 80}), 100
)
DONE = Usage(status=200, found=False, complete=True, sent=True, bytes_up=2048, bytes_down=512, seconds=D("1.5"))
CHAT = Outbound(
    "POST",
    "https",
    "api.openai.com",
    443,
    "/v1/chat/completions",
    "",
    (),
    js({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 100}),
)


def krw(**parts: object) -> Rule:
    return rule(Price(currency="KRW", **parts), needs_response=False)  # type: ignore[arg-type]


def units(count: str, unit_price: str, max_count: str | None = None) -> PerUnit:
    return PerUnit(D(unit_price), count, compile_expression(count), D(max_count) if max_count else None)


def bill(
    chosen: Rule, usage: Usage = DONE, call: Outbound = CALL, position: int | None = 0, now_ms: int = AT_MS
) -> Bill:
    before = price.estimate(RULES, chosen, call, now_ms)
    return price.actual(RULES, chosen, call, before, usage, position, now_ms)


def sums_up(result: Bill | Estimate) -> bool:
    return sum((line.amount for line in result.cost.terms), D(0)) == result.cost.original


SMS = "length(request.to) * ceil(len(request.text) / 70)"


@pytest.mark.parametrize(
    ("parts", "before", "after"),
    [
        ({"free": True}, "0", "0"),
        ({"per_request": D("0.5")}, "0.5", "0.5"),
        ({"per_unit": (units(SMS, "9.9"),)}, "39.6", "39.6"),
        ({"per_unit": (units(SMS, "9.9"), units("1", "2"))}, "41.6", "41.6"),
        ({"per_kb": PerKb(up=D(3))}, "0.29296875", "6"),
        ({"per_kb": PerKb(up=D(3), down=D(10))}, "10240.29296875", "11"),
        ({"per_second": D(2)}, "600", "3"),
        ({"per_connection": D(7)}, "7", "7"),
        ({"per_request": D(1), "per_second": D(2), "per_connection": D(7)}, "608", "11"),
        ({"per_request": D(100), "vat": D("0.1")}, "110", "110"),
        ({"per_request": D(3), "minimum": D(10)}, "10", "10"),
        ({"per_request": D("12.3"), "rounding": Rounding(D(10), "up")}, "20", "20"),
        ({"per_request": D("12.3"), "rounding": Rounding(D(10), "half_up"), "vat": D("0.1")}, "11", "11"),
        ({"per_request": D("0.0001"), "minimum": D("0.001"), "rounding": Rounding(D("0.01"), "up")}, "0.01", "0.01"),
    ],
)
def test_parts_of_a_price(parts: dict[str, object], before: str, after: str) -> None:
    chosen = krw(**parts)
    estimate = price.estimate(RULES, chosen, CALL, AT_MS)
    assert estimate.cost.original == D(before)
    assert sums_up(estimate)
    result = bill(chosen)
    assert result.cost.original == D(after)
    assert sums_up(result)
    assert result.state is State.SETTLED
    assert result.cost.atoms["KRW"] == D(after) * 10**6


@pytest.mark.parametrize(
    ("parts", "basis"),
    [
        ({"free": True}, "free"),
        ({"per_request": D(1)}, "exact"),
        ({"per_unit": (units(SMS, "9.9"),)}, "exact"),
        ({"per_kb": PerKb(up=D(3))}, "exact"),
        ({"per_kb": PerKb(down=D(3))}, "worst_case"),
        ({"per_second": D(2)}, "worst_case"),
        ({"per_unit": (units("response.n", "1", "40"),)}, "worst_case"),
    ],
)
def test_basis_of_an_estimate(parts: dict[str, object], basis: str) -> None:
    assert price.estimate(RULES, krw(**parts), CALL, AT_MS).basis == basis


def test_a_count_over_the_answer_is_estimated_at_its_cap_and_settled_at_its_value() -> None:
    chosen = krw(per_unit=(units("response.parts", "9.9", "40"),))
    assert price.estimate(RULES, chosen, CALL, AT_MS).cost.original == D(396)
    told = msgspec.structs.replace(DONE, response={"parts": 3})
    assert bill(chosen, told).cost.original == D("29.7")


@pytest.mark.parametrize("answer", [None, {"parts": "many"}, {"parts": -1}])
def test_a_count_that_fails_leaves_the_estimate_standing(answer: object) -> None:
    chosen = krw(per_unit=(units("response.parts", "9.9", "40"),))
    result = bill(chosen, msgspec.structs.replace(DONE, response=answer))
    assert (result.state, result.note) == (State.ESTIMATED, "expression_failed")
    assert result.cost.original == D(396)


@pytest.mark.parametrize(
    ("usage", "state", "cost", "note"),
    [
        (Usage(status=None, sent=False), State.SETTLED, "0", "not_sent"),
        (Usage(status=None, sent=True), State.ESTIMATED, "5", "no_response"),
        (Usage(status=500, sent=True), State.SETTLED, "0", None),
        (Usage(status=404, sent=True), State.SETTLED, "0", None),
        (Usage(status=201, sent=True), State.SETTLED, "5", None),
    ],
)
def test_ends_of_a_call(usage: Usage, state: State, cost: str, note: str | None) -> None:
    result = bill(krw(per_request=D(5)), usage)
    assert (result.state, result.cost.original, result.note) == (state, D(cost), note)


def test_charge_on_names_the_statuses_that_cost() -> None:
    chosen = krw(per_request=D(5), charge_on=StatusSet(((200, 299), (404, 404))))
    assert bill(chosen, Usage(status=404, sent=True)).cost.original == 5
    assert bill(chosen, Usage(status=400, sent=True)).cost.original == 0


# --- times of day -----------------------------------------------------------------------------------------------------

NIGHT = TimeOfDay(frozenset({0, 1, 2, 3, 4}), 22 * 60, 6 * 60, D("0.5"))
NOON = TimeOfDay(frozenset(range(7)), 12 * 60, 13 * 60, D(2))


@pytest.mark.parametrize(
    ("local", "cost"),
    [
        ("2026-11-20T21:59", "10"),  # a Friday
        ("2026-11-20T22:00", "5"),
        ("2026-11-21T05:59", "5"),  # Saturday morning still belongs to Friday night
        ("2026-11-21T06:00", "10"),
        ("2026-11-21T23:00", "10"),
        ("2026-11-23T03:00", "10"),  # Monday morning belongs to Sunday night
        ("2026-11-20T12:30", "20"),
        ("2026-11-20T13:00", "10"),
    ],
)
def test_times_of_day_are_local(local: str, cost: str) -> None:
    at = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Asia/Seoul"))
    now_ms = int(at.timestamp()) * 1000
    result = bill(krw(per_request=D(10), times=(NIGHT, NOON)), now_ms=now_ms)
    assert result.cost.original == D(cost)
    assert sums_up(result)


# --- free tiers and tiers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "cost"), [(0, "0"), (29_999_000, "0"), (30_000_000, "0.5"), (99_000_000, "0.5")])
def test_free_requests_come_first(position: int, cost: str) -> None:
    chosen = krw(per_request=D("0.5"), free_tier=FreeTier(D(30000), "requests", MONTH), minimum=D("0.2"))
    result = bill(chosen, position=position)
    assert result.cost.original == D(cost)
    assert result.quota_units == 1000
    assert sums_up(result)


def test_a_free_tier_reserves_nothing_until_it_is_used_up() -> None:
    chosen = krw(per_request=D("0.5"), free_tier=FreeTier(D(2), "requests", MONTH))
    estimate = price.estimate(RULES, chosen, CALL, AT_MS)
    quota = estimate.quota
    assert quota is not None
    assert (quota.name, quota.units, quota.period) == ("api/1", 1000, MONTH)
    held = {start: step.cost.atoms["KRW"] for step in quota.steps for start in (step.from_position,)}
    assert held[0] == 0
    assert max(start for start in held) <= 2000
    assert quota.steps[-1].cost.original == D("0.5")
    assert estimate.cost.original == D("0.5")


def test_a_call_across_the_end_of_free_units_pays_the_rest() -> None:
    chosen = krw(per_unit=(units("4", "10"),), per_request=D(1), free_tier=FreeTier(D(10), "units", MONTH))
    assert bill(chosen, position=0).cost.original == 1
    assert bill(chosen, position=8000).cost.original == 21
    assert bill(chosen, position=8000).quota_units == 4000
    assert bill(chosen, position=10_000).cost.original == 41


def test_what_is_not_charged_gives_its_units_back() -> None:
    chosen = krw(per_request=D("0.5"), free_tier=FreeTier(D(2), "requests", MONTH))
    assert bill(chosen, Usage(status=500, sent=True)).quota_units == 0


def test_an_estimate_that_stands_is_that_of_the_position() -> None:
    chosen = krw(per_request=D("0.5"), free_tier=FreeTier(D(2), "requests", MONTH))
    lost = Usage(status=None, sent=True)
    assert bill(chosen, lost, position=0).cost.original == 0
    assert bill(chosen, lost, position=2000).cost.original == D("0.5")


def stepped(mode: str, of: str, free: int | None = None) -> Rule:
    steps = (TierStep(D(3), D(10)), TierStep(D(8), D(4)), TierStep(None, D(1)))
    parts: dict[str, object] = {"tiers": Tiers(mode, of, MONTH, steps)}
    if of == "units":
        parts["per_unit"] = (units("request.n", "0"),)
    if free:
        parts["free_tier"] = FreeTier(D(free), of, MONTH)
    return krw(**parts)


def with_n(count: int) -> Outbound:
    return msgspec.structs.replace(CALL, body=js({"n": count}))


def reference(mode: str, quantity: int, free: int = 0) -> D:
    prices = [D(10) if unit <= 3 else D(4) if unit <= 8 else D(1) for unit in range(1, quantity + 1)]
    if mode == "volume":
        return prices[-1] * quantity if prices else D(0)
    return sum(prices[free:], D(0))


@given(st.sampled_from(["graduated", "volume"]), st.lists(st.integers(0, 6), max_size=6))
@settings(deadline=None)
def test_calls_of_a_period_add_up_to_the_providers_bill(mode: str, calls: list[int]) -> None:
    chosen = stepped(mode, "units")
    position, paid = 0, D(0)
    for count in calls:
        result = bill(chosen, call=with_n(count), position=position)
        assert sums_up(result)
        assert result.quota_units is not None
        paid += result.cost.original
        position += result.quota_units
    assert paid == reference(mode, sum(calls))


@given(st.lists(st.integers(1, 6), max_size=6), st.integers(1, 9))
@settings(deadline=None)
def test_free_units_come_off_the_front_of_graduated_steps(calls: list[int], free: int) -> None:
    chosen = stepped("graduated", "units", free)
    position, paid = 0, D(0)
    for count in calls:
        paid += bill(chosen, call=with_n(count), position=position).cost.original
        position += count * 1000
    assert paid == reference("graduated", sum(calls), free)


@given(st.sampled_from(["graduated", "volume"]), st.integers(0, 12), st.integers(1, 6))
@settings(deadline=None)
def test_the_reserved_step_covers_the_call(mode: str, position: int, count: int) -> None:
    chosen, call = stepped(mode, "units"), with_n(count)
    quota = price.estimate(RULES, chosen, call, AT_MS).quota
    assert quota is not None
    held = [step.cost for step in quota.steps if step.from_position <= position * 1000][-1]
    assert held.atoms["KRW"] >= bill(chosen, call=call, position=position * 1000).cost.atoms["KRW"]


def test_tiers_over_requests_replace_the_price_of_a_request() -> None:
    chosen = stepped("graduated", "requests")
    assert [bill(chosen, position=at * 1000).cost.original for at in (0, 2, 3, 7, 8)] == [10, 10, 4, 4, 1]


# --- currencies -------------------------------------------------------------------------------------------------------


def test_every_budgets_currency_is_counted() -> None:
    budgets = (
        Budget("monthly", 10**10, "KRW", MONTH, "Asia/Seoul"),
        Budget("dollars", 10**10, "USD", MONTH, "Asia/Seoul"),
    )
    rules = rule_set("KRW", budgets=budgets)
    chosen = rule(Price(currency="USD", per_request=D("0.01")))
    estimate = price.estimate(rules, chosen, CALL, AT_MS)
    result = price.actual(rules, chosen, CALL, estimate, DONE, None, AT_MS).cost
    assert result.atoms == {"KRW": 13_900_000, "USD": 10_000_000}
    assert (result.original, result.original_currency) == (D("0.01"), "USD")
    assert (result.fx_rate, result.fx_date) == (D(1390), "2026-11-20")


def test_the_rate_is_that_of_the_local_day() -> None:
    fx = (FxRate("USD", D(1000), "2026-11-01"), FxRate("USD", D(2000), "2026-11-21"))
    rules = dataclasses.replace(rule_set("KRW"), fx=fx)
    chosen = rule(Price(currency="USD", per_request=D(1)))
    cost = {}
    for hour in (14, 15):  # 23:00 and 24:00 in Seoul
        now_ms = AT_MS + (hour - 12) * 3_600_000
        estimate = price.estimate(rules, chosen, CALL, now_ms)
        cost[hour] = (estimate.cost.atoms["KRW"], estimate.cost.fx_date)
    assert cost == {14: (1_000_000_000, "2026-11-01"), 15: (2_000_000_000, "2026-11-21")}


def test_estimates_are_rounded_up_and_bills_half_up() -> None:
    chosen = krw(per_request=D("0.0000004"))
    assert price.estimate(RULES, chosen, CALL, AT_MS).cost.atoms["KRW"] == 1
    assert bill(chosen).cost.atoms["KRW"] == 0


# --- tokens at own prices ---------------------------------------------------------------------------------------------

OWN = TokenPrices(
    input=D(1000),
    cached_input=D(100),
    cache_write=D(1250),
    output=D(4000),
    reasoning=D(5000),
    audio=D(9000),
    image=D(50),
)


@pytest.mark.parametrize(
    ("counts", "cost"),
    [
        ({"input_tokens": 1000, "output_tokens": 100}, "1.4"),
        ({"input_tokens": 1000, "cache_read_tokens": 400, "output_tokens": 100}, "1.04"),
        ({"input_tokens": 1000, "cache_write_tokens": 400, "output_tokens": 100}, "1.5"),
        ({"input_tokens": 1000, "input_audio_tokens": 500, "output_tokens": 0}, "5"),
        ({"input_tokens": 0, "output_tokens": 100, "output_reasoning_tokens": 60}, "0.46"),
        ({"input_tokens": 10, "cache_read_tokens": 50, "output_tokens": 0}, "0.005"),
        ({"input_tokens": 0, "output_tokens": 0, "images": 2}, "100"),
    ],
)
def test_own_token_prices(counts: dict[str, int], cost: str) -> None:
    chosen = krw(tokens=OWN)
    result = bill(chosen, Usage(status=200, found=True, counts=counts, sent=True), CHAT)
    assert result.cost.original == D(cost)
    assert result.state is State.SETTLED


def test_prices_that_are_not_named_follow_the_plain_one() -> None:
    chosen = krw(tokens=TokenPrices(input=D(1000), output=D(4000)))
    counts = {"input_tokens": 1000, "cache_read_tokens": 400, "output_tokens": 100, "output_reasoning_tokens": 60}
    assert bill(chosen, Usage(status=200, found=True, counts=counts, sent=True), CHAT).cost.original == D("1.4")


# --- the catalogue ----------------------------------------------------------------------------------------------------


def used(**more: object) -> Usage:
    counts = {"input_tokens": 1000, "output_tokens": 100}
    values: dict[str, object] = {"status": 200, "model": "gpt-4o-mini", "counts": counts, "found": True, "sent": True}
    return Usage(**{**values, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("usage", "state", "note", "cost"),
    [
        (used(), State.SETTLED, None, "0.00021"),
        (used(model="some-alias"), State.SETTLED, None, "0.00021"),
        (used(service_tier="priority"), State.SETTLED, "service_tier", "0.00021"),
        (used(detail="usage_assumed"), State.ESTIMATED, "usage_assumed", "0.00021"),
        (used(reported_cost=D("0.000212")), State.SETTLED, None, "0.00021"),
        (used(reported_cost=D("0.0102")), State.SETTLED, "provider_reported", "0.0102"),
        (
            used(counts={"input_tokens": 1, "cache_read_tokens": 9}),
            State.ESTIMATED,
            "usage_inconsistent",
            "0.000000675",
        ),
        (used(counts={}, found=False, detail="too_large"), State.ESTIMATED, "usage_missing", None),
        (used(counts={"input_tokens": 0, "output_tokens": 0}), State.SETTLED, None, "0"),
    ],
)
def test_ends_of_a_catalogue_call(usage: Usage, state: State, note: str | None, cost: str | None) -> None:
    chosen = catalog_rule("openai")
    result = bill(chosen, usage, CHAT)
    expected = price.estimate(RULES, chosen, CHAT, AT_MS).cost.original if cost is None else D(cost)
    assert (result.state, result.note, result.cost.original) == (state, note, expected)
    assert sums_up(result)


def test_an_unknown_model_is_unpriced_and_reserves_nothing() -> None:
    chosen = catalog_rule("openai")
    call = msgspec.structs.replace(CHAT, body=js({"model": "nobody-knows", "messages": []}))
    estimate = price.estimate(RULES, chosen, call, AT_MS)
    assert (estimate.problem, estimate.cost.atoms) == ("unpriced_model", {"KRW": 0})
    result = price.actual(RULES, chosen, call, estimate, used(model="nobody-knows"), None, AT_MS)
    assert (result.state, result.note, result.cost.original) == (State.UNPRICED, "unpriced_model", 0)


def test_a_model_that_only_the_answer_names_is_priced_by_it() -> None:
    chosen = catalog_rule("openai")
    call = msgspec.structs.replace(CHAT, body=js({"messages": []}))
    estimate = price.estimate(RULES, chosen, call, AT_MS)
    assert estimate.problem is None
    for model in ("gpt-4o-mini", "gpt-4o", "o1", "gpt-5"):  # it may be any of them: the dearest is reserved
        named = price.estimate(RULES, chosen, msgspec.structs.replace(CHAT, body=js({"model": model})), AT_MS)
        assert estimate.cost.original > named.cost.original
    result = price.actual(RULES, chosen, call, estimate, used(), None, AT_MS)
    assert (result.state, result.cost.original) == (State.SETTLED, D("0.00021"))


@pytest.mark.parametrize(
    ("method", "path", "state", "note"),
    [
        ("GET", "/v1/models", State.SETTLED, None),
        ("DELETE", "/v1/files/file-1", State.SETTLED, None),
        ("POST", "/v1/moderations", State.SETTLED, None),
        ("POST", "/v1/files", State.SETTLED, None),
        ("POST", "/v1/batches", State.UNPRICED, "unpriced_endpoint"),
        ("POST", "/v1/fine_tuning/jobs", State.UNPRICED, "unpriced_endpoint"),
        ("POST", "/v1/something/new", State.ESTIMATED, "usage_missing"),
    ],
)
def test_endpoints_of_a_catalogue_provider(method: str, path: str, state: State, note: str | None) -> None:
    call = msgspec.structs.replace(CHAT, method=method, path=path)
    result = bill(catalog_rule("openai"), Usage(status=200, sent=True), call)
    assert (result.state, result.note) == (state, note)
    if state is not State.ESTIMATED:
        assert result.cost.original == 0


def test_a_model_that_is_given_away_is_settled_at_nothing() -> None:
    call = msgspec.structs.replace(
        CHAT, path="/api/v1/chat/completions", body=js({"model": "deepseek/deepseek-r1:free"})
    )
    chosen = catalog_rule("openrouter")
    estimate = price.estimate(RULES, chosen, call, AT_MS)
    assert (estimate.basis, estimate.problem) == ("free", None)
    assert bill(chosen, used(model="deepseek/deepseek-r1:free"), call).state is State.SETTLED


def test_a_rule_may_book_the_catalogue_in_another_currency() -> None:
    chosen = rule(Price(currency="KRW", catalog="openai"))
    result = bill(chosen, used(), CHAT)
    assert (result.cost.original_currency, result.cost.original) == ("KRW", D("0.00021") * 1390)


def test_learned_takes_the_place_of_the_worst_case() -> None:
    chosen = dataclasses.replace(catalog_rule("openai"), estimate=EstimateMode.LEARNED)
    worst = price.estimate(RULES, chosen, CHAT, AT_MS)
    assert worst.basis == "worst_case"
    for told, atoms in ((0, 1), (12_345, 12_345)):
        learned = price.estimate(RULES, chosen, CHAT, AT_MS, told)
        assert (learned.basis, learned.cost.atoms) == ("learned", {"KRW": atoms})
        assert learned.usage == worst.usage
        assert sums_up(learned)
    assert price.estimate(RULES, catalog_rule("openai"), CHAT, AT_MS, 5).basis == "worst_case"


# --- while it runs ----------------------------------------------------------------------------------------------------


def test_running_grows_with_the_text_and_ends_at_the_bill() -> None:
    chosen = catalog_rule("openai")
    estimate = price.estimate(RULES, chosen, CHAT, AT_MS)
    seen = [
        price.running(RULES, chosen, CHAT, estimate, used(found=False, counts={}, tokens_seen=count), AT_MS)
        for count in (0, 1, 50, 100)
    ]
    assert seen == sorted(set(seen))
    assert seen[-1] <= estimate.cost.atoms["KRW"]
    ahead = price.running(RULES, chosen, CHAT, estimate, used(found=False, counts={}, tokens_seen=50), AT_MS, ahead=50)
    assert ahead == seen[-1]
    told = {"input_tokens": 1000, "output_tokens": 0}
    exact = price.running(RULES, chosen, CHAT, estimate, used(found=False, counts=told, tokens_seen=100), AT_MS)
    assert exact == bill(chosen, used(), CHAT).cost.atoms["KRW"]


def test_a_cut_stream_is_charged_what_ran() -> None:
    chosen = catalog_rule("openai")
    estimate = price.estimate(RULES, chosen, CHAT, AT_MS)
    cut = used(found=False, complete=False, counts={}, tokens_seen=7)
    result = price.actual(RULES, chosen, CHAT, estimate, cut, None, AT_MS)
    assert (result.state, result.note) == (State.ESTIMATED, "cut")
    assert result.cost.atoms["KRW"] == price.running(RULES, chosen, CHAT, estimate, cut, AT_MS)
    assert result.usage["output_tokens"] == 7


def test_other_currencies_grow_in_proportion() -> None:
    assert price.in_proportion({"KRW": 100, "USD": 7}, "KRW", 150) == {"KRW": 150, "USD": 11}
    assert price.in_proportion({}, "KRW", 150) == {"KRW": 150}


def test_warming_up_is_harmless_for_any_rules() -> None:
    price.warm(rule_set("KRW"))
