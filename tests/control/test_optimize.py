"""Recommendations: what each rule sees in a month of calls, and that no won is saved twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.optimize import RULES, advise
from proxy.control.optimize.cheaper_model import smaller_of
from proxy.control.optimize.facts import Facts, Group
from proxy.control.optimize.finding import Finding, resolve
from proxy.control.optimize.plan import next_month
from proxy.control.optimize.told import plan as plan_told
from proxy.control.optimize.told import recommendation
from proxy.core.history import Day
from proxy.core.model import RuleSet
from proxy.rules_file import load_text
from tests.control.test_outlook import LAST, WON, at

TEXT = """\
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {USD: 1390}
budgets:
  - {name: monthly, limit: 15000, period: month}
apis:
  - name: openai
    upstream: https://api.openai.com
    prices:
      - {name: chat, match: {method: POST, path: /v1/*}, catalog: openai}
  - name: maps
    upstream: https://maps.example.com
    priority: optional
    prices:
      - {name: search, match: {path: /search}, per_request: 1, free_tier: {requests: 3000, per: month}}
      - {name: route, match: {path: /route}, per_request: 2}
"""
NOW = at(LAST, 12)


def rules(text: str = TEXT) -> RuleSet:
    loaded = load_text(text)
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


def entry(index: int = 0, **changes: Any) -> dict[str, Any]:
    """A call in working hours, one a minute; every one with other token counts."""
    usual = {
        "at": f"2026-11-{10 + index // 480 % 4:02d}T{9 + index // 60 % 8:02d}:{index % 60:02d}:00.000+09:00",
        "api": "openai",
        "rule": "openai/chat",
        "caller": "web",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "cost": "5",
        "currency": "KRW",
        "estimate": "8",
        "model": "gpt-4o",
        "usage": {"input_tokens": 4000 + index, "output_tokens": 900},
    }
    return usual | changes


def facts(entries: list[dict[str, Any]], days: int = 30) -> Facts:
    made = Facts(rules(), days, NOW)
    for one in entries:
        made.add(one)
    return made


def found(rule: str, entries: list[dict[str, Any]]) -> Finding | None:
    return next(iter(RULES[rule](facts(entries))), None)


def test_ordinary_calls_bring_no_advice() -> None:
    assert advise(facts([entry(i, usage={"input_tokens": 1600 + i, "output_tokens": 900}) for i in range(200)])) == []
    assert advise(facts([])) == []


def test_paid_errors_are_seen_and_retries_among_them() -> None:
    calls = [entry(i, status=500, caller="batch") for i in range(12)] + [entry(i) for i in range(9)]
    seen = found("paid_errors", calls)
    assert seen is not None
    assert sum(seen.savings.values()) == 60 * WON
    assert (seen.evidence["failed"], seen.evidence["calls"], seen.evidence["retried"]) == (12, 21, 11)


def test_errors_that_cost_nothing_are_nothing() -> None:
    assert found("paid_errors", [entry(i, status=500, cost="0") for i in range(50)]) is None


def test_calls_that_look_alike_could_be_kept() -> None:
    alike = {"input_tokens": 700, "output_tokens": 31}
    seen = found("repeats", [entry(i, usage=alike) for i in range(31)])
    assert seen is not None
    assert sum(seen.savings.values()) == 30 * 5 * WON
    assert "cache:" in seen.change
    assert found("repeats", [entry(i, usage={}) for i in range(31)]) is None
    assert found("repeats", [entry(i) for i in range(31)]) is None


def test_short_calls_go_to_the_smaller_model_at_its_price() -> None:
    seen = found("cheaper_model", [entry(i, usage={"input_tokens": 400 + i, "output_tokens": 60}) for i in range(30)])
    assert seen is not None
    assert (seen.evidence["model"], seen.evidence["smaller"]) == ("gpt-4o", "gpt-4o-mini")
    # 2.50/10 USD against 0.15/0.60 USD: 94 % less, of 30 calls at 5 won
    assert sum(seen.savings.values()) == pytest.approx(150 * WON * 0.94, rel=0.01)
    assert found("cheaper_model", [entry(i) for i in range(30)]) is None
    text = TEXT.replace("budgets:\n", seen.change)
    assert {budget.name for budget in rules(text).budgets} == {"monthly", "openai-chat-cap"}


@pytest.mark.parametrize(
    ("model", "smaller"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o-mini"),
        ("gpt-4o-mini", None),
        ("gpt-5-mini", "gpt-5-nano"),
        ("claude-opus-4-5-20251101", "claude-sonnet-4-5"),
        ("", None),
        ("my-model", None),
    ],
)
def test_a_smaller_sister_is_known_by_name(model: str, smaller: str | None) -> None:
    assert smaller_of(model) == smaller


def test_long_prompts_without_the_providers_cache() -> None:
    seen = found("prompt_cache", [entry(i) for i in range(60)])
    assert seen is not None
    assert seen.evidence["prefix"] == 2000
    assert 0 < sum(seen.savings.values()) < 300 * WON
    cached = {"input_tokens": 4000, "output_tokens": 900, "cache_read_tokens": 3000}
    assert found("prompt_cache", [entry(i, usage=cached | {"input_tokens": 4000 + i}) for i in range(60)]) is None


def test_bursts_could_be_batches() -> None:
    burst = [entry(0, usage={"input_tokens": 3000 + i, "output_tokens": 900}) for i in range(150)]
    seen = found("batch", burst)
    assert seen is not None
    assert (sum(seen.savings.values()), seen.evidence["burst"]) == (150 * 5 * WON // 2, 150)
    assert found("batch", [entry(i) for i in range(150)]) is None


def test_nights_and_weekends_are_told_by_local_time() -> None:
    night = [entry(i, at=f"2026-11-11T02:{i % 60:02d}:00.000+09:00") for i in range(60)]
    seen = found("off_hours", night + [entry(i) for i in range(20)])
    assert seen is not None
    assert (seen.about, seen.evidence["share"]) == ("openai", 75)
    assert sum(seen.savings.values()) == 60 * 5 * WON // 2
    assert "openai-daily-cap" in {budget.name for budget in rules(TEXT.replace("budgets:\n", seen.change)).budgets}


def test_headroom_saves_nothing_and_says_so() -> None:
    seen = found("headroom", [entry(i, estimate="90") for i in range(60)])
    assert seen is not None
    assert (sum(seen.savings.values()), seen.evidence["times"]) == (0, 18)
    assert "max_output_tokens: 2700" in seen.change


def test_a_free_allowance_beside_a_paid_sister() -> None:
    paid = [entry(i, api="maps", rule="maps/route", model=None, usage={}, cost="2") for i in range(40)]
    seen = found("free_tier", paid)
    assert seen is not None
    assert (seen.evidence["unused"], sum(seen.savings.values())) == (3000, 80 * WON)


@pytest.mark.parametrize(("price", "saving"), [("100", 400), ("0.1, currency: USD", 361), ("500", None)])
def test_a_subscription_is_compared_with_what_its_calls_cost(price: str, saving: int | None) -> None:
    made = Facts(rules(f"{TEXT}optimize: [{{subscription: flat, api: openai, price: {price}}}]\n"), 30, NOW)
    for index in range(100):
        made.add(entry(index, model="gpt-4o" if index % 3 else "gpt-5"))
    (seen,) = RULES["subscription"](made) or [None]
    assert (seen and sum(seen.savings.values())) == (None if saving is None else pytest.approx(saving * WON, abs=2))
    assert RULES["subscription"](facts([entry(i) for i in range(100)])) == []


def test_advice_reads_well_in_both_languages_and_names_its_change() -> None:
    calls = [entry(i, usage={"input_tokens": 400 + i, "output_tokens": 60}) for i in range(60)]
    calls += [entry(i, status=500, caller="batch") for i in range(12)]
    for language, word in (("en", "smaller"), ("ko", "토큰")):
        told = [recommendation(one, "KRW", language) for one in advise(facts(calls))]
        assert [one["rule"] for one in told][:1] == ["cheaper_model"]
        assert all("{" not in one["text"] for one in told)
        assert language == "en" or word in told[0]["text"]
        assert all(float(one["monthly_saving"]) <= float(one["monthly_saving_alone"]) for one in told)


def test_a_few_days_are_scaled_to_a_month() -> None:
    calls = [entry(i, status=500) for i in range(12)]
    (short,) = RULES["paid_errors"](facts(calls, days=10))
    assert sum(short.savings.values()) == 3 * 60 * WON


groups = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["a/1", "b/1"]), st.sampled_from(["", "m"])),
    st.integers(0, 10**15),
    min_size=1,
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(costs=groups, data=st.data(), days=st.integers(1, 40))
def test_no_atom_is_saved_twice(costs: dict[tuple[str, str, str], int], data: st.DataObject, days: int) -> None:
    made = Facts(rules(), days, NOW)
    for where, cost in costs.items():
        made.groups[where] = Group(calls=1, cost=cost)
    claims = st.dictionaries(st.sampled_from(sorted(costs)), st.integers(-5, 10**17), max_size=5)
    findings = [
        Finding(f"r{index}", "x", data.draw(claims), data.draw(st.integers(1, 3)))
        for index in range(data.draw(st.integers(0, 6)))
    ]
    advice = resolve(findings, made)
    for where, cost in costs.items():
        assert 0 <= sum(one.savings.get(where, 0) for one in advice) <= made.monthly(cost)
    for one in advice:
        assert 0 <= one.saving_atoms <= one.alone_atoms
        assert sum(one.savings.values()) == one.saving_atoms
    assert resolve(list(reversed(findings)), made) == advice
    if len(findings) == 1:
        assert advice[0].saving_atoms == advice[0].alone_atoms


# --- next month -------------------------------------------------------------------------------------------------------


def spent(chat: int, maps: int) -> list[Day]:
    cost = {("openai", "openai/chat", "web"): chat * WON, ("maps", "maps/route", "web"): maps * WON}
    return [Day(LAST - timedelta(days=back), dict.fromkeys(cost, 3), cost) for back in range(80, -1, -1)]


def test_next_month_is_planned_by_api_and_its_limits_are_rules() -> None:
    made = next_month(rules(), spent(200, 100), [], NOW)
    assert (made.month, made.fits, made.budget) == ("2026-12", True, 15_000 * WON)
    lines = {line.api: line for line in made.lines}
    assert lines["openai"].expected == pytest.approx(31 * 200 * WON, rel=0.02)
    assert all(line.low80 <= line.expected <= line.limit <= line.high80 + WON for line in made.lines)
    assert all(line.limit % WON == 0 for line in made.lines)
    planned = rules(TEXT.replace("budgets:\n", made.change)).budgets
    assert {budget.name: budget.limit_atoms for budget in planned} == {
        "monthly": 15_000 * WON,
        "plan-openai": lines["openai"].limit,
        "plan-maps": lines["maps"].limit,
    }


def test_what_can_be_saved_lowers_the_plan() -> None:
    calls = [entry(i, status=500, cost="100") for i in range(20)]
    advice = advise(facts(calls))
    plain, less = (next_month(rules(), spent(200, 100), one, NOW) for one in ([], advice))
    assert plain.total - less.total == pytest.approx(2000 * WON, abs=WON)


def test_when_the_budget_is_too_small_the_less_important_api_gets_less() -> None:
    made = next_month(rules(), spent(400, 300), [], NOW)
    lines = {line.api: line for line in made.lines}
    assert not made.fits
    assert made.total <= 15_000 * WON
    assert lines["openai"].limit >= lines["openai"].expected
    assert lines["maps"].limit < lines["maps"].expected
    assert plan_told(made)["fits"] is False


def test_without_history_there_is_no_plan() -> None:
    made = next_month(rules(), [], [], at(date(2026, 11, 1), 1))
    assert (made.lines, made.change, made.fits) == ((), "", True)
    assert next_month(replace(rules(), budgets=()), spent(9, 9), [], NOW).budget is None
