"""Recommendations: what each rule sees in a month of calls, and that no won is saved twice."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.optimize import RULES, advise
from proxy.control.optimize.change import limit_text
from proxy.control.optimize.cheaper_model import smaller_of
from proxy.control.optimize.expected import expectations
from proxy.control.optimize.facts import Facts, Group, Growth, Use
from proxy.control.optimize.finding import Finding, Recommendation, resolve
from proxy.control.optimize.plan import Plan
from proxy.control.optimize.plan import next_month as laid_out
from proxy.control.optimize.told import Advice, packed, recommendation, unpacked
from proxy.control.optimize.told import plan as plan_told
from proxy.core import money
from proxy.core.history import Day
from proxy.core.match import match
from proxy.core.model import Outbound, RuleSet
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


def question(model: str, length: int) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "x" * length}]}).encode()


def taken_over(text: str, change: str) -> RuleSet:
    """The rules after somebody has put the change where it says: at the top, under an API, before or under a rule."""
    document = yaml.safe_load(text)
    sections = re.split(r"^# ", change, flags=re.MULTILINE)
    for section in filter(None, [f"at the top\n{sections[0]}", *sections[1:]]):
        place, _, lines = section.partition("\n")
        if not (value := yaml.safe_load(lines)):
            continue
        if place.startswith("under fixed_costs, at "):
            next(one for one in document["fixed_costs"] if one["name"] == place.rpartition(" ")[2]).update(value)
            continue
        api = next((one for one in document["apis"] if f" the API {one['name']}" in place), None)
        if place.startswith("at the top"):
            for key, items in value.items():
                document.setdefault(key, []).extend(items)
            if "in place of its entry under optimize" in place:
                del document["optimize"]
        elif isinstance(value, list):
            assert api is not None
            before = place.rpartition("before the rule ")[2].partition("/")[2]
            at = next((i for i, one in enumerate(api["prices"]) if one["name"] == before), 0)
            api["prices"][at:at] = value
        elif api is not None:
            api.update(value)
        else:
            name, _, rule = place.removeprefix("under the rule ").partition("/")
            prices = next(one for one in document["apis"] if one["name"] == name)["prices"]
            next(one for one in prices if one["name"] == rule).update(value)
    return rules(yaml.safe_dump(document, sort_keys=False))


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


def test_the_same_question_again_could_be_answered_by_a_cache() -> None:
    seen = found("repeats", [entry(i, question="0123456789ab") for i in range(31)])
    assert seen is not None
    assert sum(seen.savings.values()) == 30 * 5 * WON
    assert taken_over(TEXT, seen.change).apis[0].rules[0].handling is not None
    assert found("repeats", [entry(i) for i in range(31)]) is None
    assert found("repeats", [entry(i, question=f"{i:012x}") for i in range(31)]) is None
    assert found("repeats", [entry(i, question="0123456789ab", caller=f"c{i}") for i in range(31)]) is None
    cached = Facts(taken_over(TEXT, seen.change), 30, NOW)
    for index in range(31):
        cached.add(entry(index, question="0123456789ab"))
    assert RULES["repeats"](cached) == []


def test_short_calls_go_to_the_smaller_model_at_its_price() -> None:
    calls = [entry(i, usage={"input_tokens": 400 + i, "output_tokens": 60}) for i in range(30)]
    dated = found("cheaper_model", [one | {"model": "gpt-4o-2024-08-06"} for one in calls])
    assert dated is not None
    assert "model: [gpt-4o, gpt-4o-2024-08-06]" in dated.change
    seen = found("cheaper_model", calls)
    assert seen is not None
    assert (seen.evidence["model"], seen.evidence["smaller"]) == ("gpt-4o", "gpt-4o-mini")
    # 2.50/10 USD against 0.15/0.60 USD: 94 % less, of 30 calls at 5 won
    assert sum(seen.savings.values()) == pytest.approx(150 * WON * 0.94, rel=0.01)
    assert found("cheaper_model", [entry(i) for i in range(30)]) is None
    after = taken_over(TEXT, seen.change)
    short, long = (
        match(after.apis[0], Outbound("POST", "https", "api.openai.com", 443, "/v1/chat/completions", body=body))
        for body in (question("gpt-4o", 200), question("gpt-4o", 9000))
    )
    assert [rule and rule.id for rule in (short, long)] == ["openai/chat-gpt-4o-short", "openai/chat"]
    (rung,) = after.apis[0].rules[0].handling.ladder  # type: ignore[union-attr]
    assert (rung.at_bp, dict(rung.sets)) == (100, {("model",): "gpt-4o-mini"})


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
    assert "openai-daily-cap" in {budget.name for budget in taken_over(TEXT, seen.change).budgets}


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


@pytest.mark.parametrize(
    ("drawn", "unused"),
    [
        ({("maps/search", "2026-11"): 1500.0}, 100),  # 15 units a call
        ({("maps/search", "2026-11"): 1500.0, ("maps/search", "2026-10"): 3100.0}, 9),  # 12.5 of October's days
        ({("maps/search", "2026-11"): 3000.0}, None),
        ({}, None),  # nobody knows what a call draws
    ],
)
def test_an_allowance_of_units_is_told_in_calls(drawn: dict[tuple[str, str], float], unused: int | None) -> None:
    price = "per_unit: {price: 1, count: request.n}, free_tier: {units: 3000, per: month}"
    made = Facts(rules(TEXT.replace("per_request: 1, free_tier: {requests: 3000, per: month}", price)), 30, NOW)
    made.drawn = drawn
    for name, cost, count in (("maps/route", "2", 40), ("maps/search", "0", 100)):
        for index in range(count):
            made.add(entry(index, api="maps", rule=name, model=None, usage={}, cost=cost))
    told = RULES["free_tier"](made)
    assert [(one.evidence["unused"], sum(one.savings.values())) for one in told] == (
        [] if unused is None else [(unused, 2 * min(unused, 40) * WON)]
    )


@pytest.mark.parametrize(("price", "saving"), [("100", 400), ("0.1, currency: USD", 361), ("500", None)])
def test_a_subscription_is_compared_with_what_its_calls_cost(price: str, saving: int | None) -> None:
    made = Facts(rules(f"{TEXT}optimize: [{{subscription: flat, api: openai, price: {price}}}]\n"), 30, NOW)
    for index in range(100):
        made.add(entry(index, model="gpt-4o" if index % 3 else "gpt-5"))
    (seen,) = RULES["subscription"](made) or [None]
    assert (seen and sum(seen.savings.values())) == (None if saving is None else pytest.approx(saving * WON, abs=2))
    assert RULES["subscription"](facts([entry(i) for i in range(100)])) == []


MEASURED = """\
fixed_costs:
  - name: gpu
    amount: 3
    currency: USD
    per: day
    utilisation: {prometheus: "http://127.0.0.1:9090", query: gpu}
  - {name: files, amount: 900, size: {prometheus: "http://127.0.0.1:9090", query: size, grows: 20%}}
  - {name: database, amount: 9900}
"""


def measured(use: Use | None = None, growth: Growth | None = None) -> Facts:
    made = Facts(rules(TEXT + MEASURED), 30, NOW)
    made.used = {} if use is None else {"gpu": use}
    made.grown = {} if growth is None else {"files": growth}
    return made


def test_a_gpu_that_idles_would_do_at_half_its_size() -> None:
    (seen,) = RULES["idle"](measured(Use(12.345, 61.0, 7)))
    assert seen.savings == {("gpu", "fixed/gpu", "gpu"): 3 * 30 * 1390 * WON // 2}
    assert (seen.evidence["mean"], seen.evidence["peak"], seen.evidence["bound"]) == ("12.3", "61", "30")
    gpu = taken_over(TEXT + MEASURED, seen.change).fixed_costs[0]
    assert (gpu.amount, gpu.currency, gpu.utilisation is not None) == (Decimal("1.5"), "USD", True)


@pytest.mark.parametrize("use", [None, Use(30.0, 40.0, 7), Use(1.0, 2.0, 1)])
def test_what_is_used_or_hardly_measured_does_not_idle(use: Use | None) -> None:
    assert RULES["idle"](measured(use)) == []


def test_storage_that_grows_costs_more_than_at_its_size_of_a_month_ago() -> None:
    (seen,) = RULES["growth"](measured(growth=Growth(400.0, 600.0, 30)))
    assert sum(seen.savings.values()) == pytest.approx(300 * WON, abs=WON)
    assert (seen.evidence["percent"], seen.evidence["then"], seen.evidence["now"]) == (50, "400", "600")
    assert float(taken_over(TEXT + MEASURED, seen.change).fixed_costs[1].amount) == pytest.approx(600, abs=0.1)


@pytest.mark.parametrize(
    "growth", [None, Growth(100.0, 119.0, 30), Growth(0.0, 5.0, 30), Growth(100.0, 200.0, 3), Growth(9.0, 3.0, 30)]
)
def test_what_grows_slowly_or_shrinks_says_nothing(growth: Growth | None) -> None:
    assert RULES["growth"](measured(growth=growth)) == []


def test_growth_is_judged_by_the_month() -> None:
    assert RULES["growth"](measured(growth=Growth(100.0, 110.0, 15)))  # ten percent in half a month
    assert not RULES["growth"](measured(growth=Growth(100.0, 119.0, 30)))


def test_what_idles_and_grows_is_saved_once() -> None:
    both = MEASURED.replace("query: gpu}", "query: gpu}\n    size: {prometheus: 'http://127.0.0.1:9090', query: s}")
    made = Facts(rules(TEXT + both), 30, NOW)
    made.used, made.grown = {"gpu": Use(1.0, 2.0, 7)}, {"gpu": Growth(1.0, 2.0, 30)}
    advice = advise(made)
    assert {one.rule for one in advice} == {"idle", "growth"}
    assert sum(one.saving_atoms for one in advice) == pytest.approx(3 * 30 * 1390 * WON * 3 / 4, abs=9)


# The seed of this product is an optimizer of six rules, four of them by name. Each is one or more rules here.
SIX_RULES = {
    "check_idle_resources": {"idle"},
    "check_api_efficiency": {"repeats", "paid_errors", "headroom"},
    "check_storage_usage": {"growth"},
    "check_scaling_patterns": {"off_hours", "batch"},
    "cheaper alternatives": {"cheaper_model", "prompt_cache"},
    "plans and allowances": {"subscription", "free_tier"},
}


def test_every_rule_of_the_cost_optimizer_is_there() -> None:
    assert set().union(*SIX_RULES.values()) == set(RULES)
    assert len(SIX_RULES) == 6


def months_calls() -> list[dict[str, Any]]:
    """A month in which every rule finds something."""
    short, night = {"input_tokens": 400, "output_tokens": 60}, "2026-11-11T02:10:00.000+09:00"
    calls = [entry(i, usage={**short, "input_tokens": 400 + i}) for i in range(60)]
    calls += [entry(i, estimate="90", model="gpt-5", usage={"input_tokens": 5000 + i}, at=night) for i in range(150)]
    calls += [entry(i, status=500, caller="batch") for i in range(12)]
    calls += [
        entry(i, usage={"input_tokens": 9000, "output_tokens": 900}, cost="4", question="0123456789ab")
        for i in range(40)
    ]
    return calls + [entry(i, api="maps", rule="maps/route", model=None, usage={}, cost="2") for i in range(40)]


def test_every_recommendation_gives_lines_that_can_be_taken_over_as_they_stand() -> None:
    text = f"{TEXT}{MEASURED}optimize: [{{subscription: flat, api: openai, price: 100}}]\n"
    made = Facts(rules(text), 30, NOW)
    made.used, made.grown = {"gpu": Use(1.0, 2.0, 7)}, {"files": Growth(1.0, 2.0, 30)}
    for one in months_calls():
        made.add(one)
    advice = advise(made)
    assert {one.rule for one in advice} == set(RULES)
    for one in advice:
        after = taken_over(text, one.change)
        assert after.digest != made.rules.digest, one.id
    told = {one.rule: recommendation(one, "KRW", "en") for one in advice}
    needs_program = {"batch", "prompt_cache", "free_tier", "subscription", "idle", "growth"}
    assert {rule for rule, one in told.items() if one["program"]} == needs_program
    flat = taken_over(text, told["subscription"]["change"])
    assert (flat.offers, flat.fixed_costs[-1].api, flat.apis[0].rules[0].price.free) == ((), "openai", True)
    batches = taken_over(text, told["batch"]["change"])
    asked = match(batches.apis[0], Outbound("POST", "https", "api.openai.com", 443, "/v1/batches"))
    assert asked is not None
    assert asked.price.free


def test_a_limit_that_keeps_a_saving_leaves_room_for_the_rules_other_calls() -> None:
    calls = [entry(i) for i in range(60)] + [entry(i, model="gpt-5", cost="7") for i in range(10)]
    seen = found("prompt_cache", calls)
    assert seen is not None
    (cap,) = taken_over(TEXT, seen.change).budgets[1:]
    assert (cap.name, cap.rule) == ("openai-chat-gpt-4o-cached-prompts", "openai/chat")
    needed = (300 + 70) * WON - sum(seen.savings.values())  # 331.334295
    assert (needed, cap.limit_atoms) == (331_334_295, 332 * WON)


def test_where_the_model_is_in_the_path_no_ladder_is_proposed() -> None:
    gemini = TEXT.replace("catalog: openai", "catalog: google")
    made = Facts(rules(gemini), 30, NOW)
    for index in range(30):
        made.add(entry(index, model="gemini-2.5-pro", usage={"input_tokens": 400 + index, "output_tokens": 60}))
    (seen,) = RULES["cheaper_model"](made)
    assert "degrade" not in seen.change
    assert taken_over(gemini, seen.change).budgets[1].rule == "openai/chat"


def test_a_rule_with_tests_of_its_own_gets_the_rung_itself() -> None:
    text = TEXT.replace("path: /v1/*}", 'path: /v1/*, header: {x-team: "a"}}')
    made = Facts(rules(text), 30, NOW)
    for index in range(30):
        made.add(entry(index, usage={"input_tokens": 400 + index, "output_tokens": 60}))
    (seen,) = RULES["cheaper_model"](made)
    assert seen.change.startswith("# under the rule openai/chat\n")
    handling = taken_over(text, seen.change).apis[0].rules[0].handling
    assert handling is not None
    assert handling.ladder[0].at_bp == 100


def test_rent_and_outside_costs_are_no_calls() -> None:
    rent = [entry(i, api="openai", rule="fixed/openai", note="fixed", cost="20") for i in range(200)]
    made = facts([*rent, entry(0, note="charge", cost="500"), *[entry(i) for i in range(3)]])
    assert [(where, group.calls) for where, group in made.groups.items()] == [(("openai", "openai/chat", "gpt-4o"), 3)]


def test_what_is_kept_is_what_was_found() -> None:
    advice = Advice(tuple(advise(facts(months_calls()))), expectations(rules(), spent(200, 100), NOW, {}), "now")
    assert len(advice.recommendations) > 3
    assert unpacked(json.loads(json.dumps(packed(advice))), "now") == advice


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
        Finding(f"r{index}", "x", data.draw(claims), data.draw(st.integers(1, 3)), {}, "")
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


def next_month(text: str, days: list[Day], advice: list[Recommendation], now_ms: int = NOW) -> Plan:
    return laid_out(rules(text), expectations(rules(text), days, now_ms, {}), advice, now_ms)


def test_next_month_is_planned_by_api_and_its_limits_are_rules() -> None:
    made = next_month(TEXT, spent(200, 100), [], NOW)
    assert (made.month, made.fits, made.budget) == ("2026-12", True, 15_000 * WON)
    lines = {line.api: line for line in made.lines}
    assert lines["openai"].expected == pytest.approx(31 * 200 * WON, rel=0.02)
    assert all(line.low80 <= line.expected <= line.limit <= line.high80 + WON for line in made.lines)
    assert all(line.limit % WON == 0 for line in made.lines)
    planned = taken_over(TEXT, made.change).budgets
    assert {budget.name: budget.limit_atoms for budget in planned} == {
        "monthly": 15_000 * WON,
        "plan-openai": lines["openai"].limit,
        "plan-maps": lines["maps"].limit,
    }


def test_what_can_be_saved_lowers_the_plan() -> None:
    calls = [entry(i, status=500, cost="100") for i in range(20)]
    advice = advise(facts(calls))
    plain, less = (next_month(TEXT, spent(200, 100), one, NOW) for one in ([], advice))
    assert plain.total - less.total == pytest.approx(2000 * WON, abs=WON)


def test_when_the_budget_is_too_small_the_less_important_api_gets_less() -> None:
    made = next_month(TEXT, spent(400, 300), [], NOW)
    lines = {line.api: line for line in made.lines}
    assert not made.fits
    assert made.total <= 15_000 * WON
    assert lines["openai"].limit >= lines["openai"].expected
    assert lines["maps"].limit < lines["maps"].expected
    assert plan_told(made)["fits"] is False


def test_costs_without_a_call_are_planned_but_limited_by_nothing() -> None:
    cost = {("database", "fixed/database", "-"): 300 * WON, ("maps", "maps/route", "web"): 100 * WON}
    days = [Day(LAST - timedelta(days=back), dict.fromkeys(cost, 3), cost) for back in range(80, -1, -1)]
    made = next_month(TEXT, days, [])
    assert [line.api for line in made.lines] == ["database", "maps"]
    assert [budget.name for budget in taken_over(TEXT, made.change).budgets] == ["monthly", "plan-maps"]


def test_rent_gives_way_to_nothing() -> None:
    cost = {("database", "fixed/database", "-"): 300 * WON, ("openai", "openai/chat", "web"): 900 * WON}
    days = [Day(LAST - timedelta(days=back), dict.fromkeys(cost, 3), cost) for back in range(80, -1, -1)]
    text = f"{TEXT}fixed_costs: [{{name: database, amount: 9000}}]\n"
    made = next_month(text, days, [])
    lines = {line.api: line for line in made.lines}
    assert not made.fits
    assert lines["database"].limit == pytest.approx(9000 * WON, abs=WON)
    assert lines["openai"].limit < lines["openai"].expected
    assert made.total <= 15_000 * WON


def test_an_expectation_of_another_month_is_no_plan() -> None:
    old = expectations(rules(), spent(200, 100), at(date(2026, 10, 20), 12), {})
    assert laid_out(rules(), old, [], NOW).lines == ()


def test_without_history_there_is_no_plan() -> None:
    made = next_month(TEXT, [], [], at(date(2026, 11, 1), 1))
    assert (made.lines, made.change, made.fits) == ((), "", True)
    assert next_month(re.sub(r"budgets:\n.*\n", "", TEXT), spent(9, 9), []).budget is None


@given(st.integers(0, 10**15), st.sampled_from(["KRW", "USD", "JPY"]))
def test_a_proposed_limit_is_one_that_a_person_would_set(atoms: int, currency: str) -> None:
    text = limit_text(atoms, currency)
    proposed = Decimal(text)
    needed = money.from_atoms(atoms, currency)
    assert needed <= proposed <= needed * Decimal("1.01")
    assert len(text.replace(".", "").strip("0")) <= 3
