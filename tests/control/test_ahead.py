"""What the rules say of the days ahead: rent that accrues, and allowances that are not used up."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.outlook import Outlook, outlooks
from proxy.core.accrual import due, slices
from proxy.core.fixed_model import FixedCost
from proxy.core.history import Day, Drawn, Who
from proxy.core.model import Period, PeriodUnit, RuleSet
from proxy.core.windows import window_at
from proxy.rules_file import load_text
from tests.control.test_outlook import WON, at

RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {USD: 1000}
budgets:
  - {name: monthly, limit: 15000, period: month}
  - {name: chat, limit: 15000, period: month, applies_to: {api: chat}}
  - {name: somebody, limit: 15000, period: month, applies_to: {caller: a}}
callers:
  - {name: a, key_env: KEY_A}
apis:
  - {name: chat, upstream: 'https://chat.example.com', prices: [{name: ask, per_request: 1}]}
  - name: maps
    upstream: https://maps.example.com
    prices: [{name: find, per_request: 2, free_tier: {requests: 3000, per: month}}]
"""
RENT = """\
fixed_costs:
  - {name: database, amount: 3000}
  - {name: gpu, amount: 1, per: day, currency: USD, api: chat}
"""
LAST = date(2026, 11, 18)  # a Wednesday
DATABASE: Who = ("database", "fixed/database", "-")
GPU: Who = ("chat", "fixed/chat", "-")
CHAT: Who = ("chat", "chat/ask", "a")


def rules(text: str = RULES + RENT) -> RuleSet:
    loaded = load_text(text, env={"KEY_A": "k" * 20})
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


def look(
    days: list[Day], text: str = RULES + RENT, hour: float = 12, today: date = LAST, drawn: Drawn | None = None
) -> dict[str, Outlook]:
    found = outlooks(rules(text), days, at(today, hour), drawn=drawn, backtests=False)
    return {f"{one.kind} {one.name}": one for one in found}


def chat_with_rent(count: int, *, rent_days: int) -> list[Day]:
    """300 won of chat a day; rent since `rent_days` days."""
    found = []
    for back in range(count - 1, -1, -1):
        part = 0.5 if back == 0 else 1.0
        cost = {CHAT: int(300 * WON * part)}
        if back < rent_days:
            cost |= {DATABASE: int(100 * WON * part), GPU: int(1000 * WON * part)}
        found.append(Day(LAST - timedelta(days=back), {CHAT: 3}, cost))
    return found


def test_rent_is_added_to_the_day_and_widens_nothing() -> None:
    found = look(chat_with_rent(80, rent_days=80))
    without = look([Day(day.day, day.calls, {CHAT: day.cost[CHAT]}) for day in chat_with_rent(80, rent_days=80)], RULES)
    monthly, plain = found["budget monthly"].projection, without["budget monthly"].projection
    assert monthly.month_end == pytest.approx(30 * (300 + 100 + 1000) * WON, rel=1e-3)
    assert monthly.spent == pytest.approx(17.5 * 1400 * WON)
    assert sum(monthly.daily) + monthly.spent == pytest.approx(monthly.month_end, rel=1e-6)
    width = monthly.interval80[1] - monthly.interval80[0]
    assert width == pytest.approx(plain.interval80[1] - plain.interval80[0], rel=1e-3, abs=WON)
    assert found["budget chat"].projection.month_end == pytest.approx(30 * 1300 * WON, rel=1e-3)
    assert found["budget somebody"].projection.month_end == pytest.approx(30 * 300 * WON, rel=1e-3)
    assert found["api database"].projection.month_end == pytest.approx(30 * 100 * WON, rel=1e-3)
    assert found["api database"].projection.basis == "known"


def test_rent_that_has_just_begun_is_expected_whole_at_once() -> None:
    found = look(chat_with_rent(80, rent_days=1))["budget monthly"]
    assert found.projection.month_end == pytest.approx((30 * 300 + 12.5 * 1100 + 0.5 * 0) * WON, rel=0.05)
    assert found.over
    assert found.reaches_limit is not None


def test_rent_that_is_no_longer_in_the_rules_is_spent_but_not_expected() -> None:
    found = look(chat_with_rent(80, rent_days=80), RULES)["budget monthly"].projection
    assert found.month_end == pytest.approx((30 * 300 + 17.5 * 1100) * WON, rel=1e-3)


def maps(count: int, a_day: int, *, today: date = LAST) -> list[Day]:
    """Calls of maps, two thirds by "a"; of each month 3000 are free."""
    found, used = [], 0
    for back in range(count - 1, -1, -1):
        day = today - timedelta(days=back)
        used = 0 if day.day == 1 else used
        calls = a_day // 2 if back == 0 else a_day
        paid = max(0, used + calls - 3000) - max(0, used - 3000)
        used += calls
        split = {("maps", "maps/find", "a"): 2, ("maps", "maps/find", "b"): 1}
        found.append(
            Day(
                day,
                {w: calls * n // 3 for w, n in split.items()},
                {w: paid * n * 2 * WON // 3 for w, n in split.items()},
            )
        )
    return found


@pytest.mark.parametrize(("a_day", "month"), [(90, 0), (120, 1200), (240, 8400)])
def test_calls_are_free_until_the_allowance_is_used_up(a_day: int, month: int) -> None:
    found = look(maps(80, a_day), RULES)
    projection = found["budget monthly"].projection
    assert projection.month_end == pytest.approx(month * WON, rel=0.02, abs=WON)
    assert sum(projection.daily) + projection.spent == pytest.approx(projection.month_end, rel=1e-6, abs=1)
    assert found["budget somebody"].projection.month_end == pytest.approx(month * WON * 2 / 3, rel=0.02, abs=WON)
    assert projection.interval80[0] <= projection.month_end <= projection.interval80[1]


def test_a_month_that_has_cost_nothing_yet_is_not_a_stop() -> None:
    """On the fifth, 600 of 3000 are used: a series of days sees zeros, the rules see what comes."""
    early = date(2026, 11, 5)
    projection = look(maps(70, 150, today=early), RULES, today=early)["budget monthly"].projection
    assert projection.spent == 0
    assert projection.month_end == pytest.approx((30 * 150 - 3000) * 2 * WON, rel=0.05)
    assert projection.basis == "history"


def test_a_price_that_the_rule_does_not_say_is_read_from_its_paid_days() -> None:
    text = RULES.replace("per_request: 2, free_tier", "per_request: 1, per_kb: {down: 1}, free_tier")
    assert look(maps(80, 240), text)["api maps"].projection.month_end == pytest.approx(8400 * WON, rel=0.05)
    unknown = look([Day(day.day, day.calls, {}) for day in maps(80, 30)], text)
    assert unknown["budget monthly"].projection.month_end == 0


UNITS = RULES.replace(
    "per_request: 2, free_tier: {requests: 3000, per: month}",
    "per_unit: {price: 2, count: request.n}, free_tier: {units: 3000, per: month}",
)


@pytest.mark.parametrize(("units", "month"), [(1.0, 1200), (3.0, 15600), (0.5, 0)])
def test_units_are_free_until_the_allowance_is_used_up(units: float, month: int) -> None:
    """120 calls a day draw so many units each, as the counters of this month and of the last say."""
    november, october = 17.5 * 120, 31 * 120
    drawn = {("maps/find", "2026-11"): november * units, ("maps/find", "2026-10"): october * units}
    days = [Day(day.day, day.calls, {who: 0 for who in day.cost}) for day in maps(80, 120)]  # noqa: C420
    found = look(days, UNITS, drawn=drawn)
    spent = found["budget monthly"].projection.spent
    used = max(0.0, november * units - 3000) * 2 * WON  # what these days would have cost already
    projection = found["budget monthly"].projection
    assert spent + used + sum(projection.daily) == pytest.approx(month * WON, rel=0.02, abs=WON)
    part = found["budget somebody"].projection
    assert sum(part.daily) == pytest.approx(sum(projection.daily) * 2 / 3, rel=0.02, abs=WON)
    assert sum(look(days, UNITS)["budget monthly"].projection.daily) == 0  # without the counters nobody can know


def test_units_beside_a_price_that_is_paid_from_the_first_call_on_stay_with_the_days() -> None:
    text = UNITS.replace("per_unit:", "per_request: 1, per_unit:")
    drawn = {("maps/find", "2026-11"): 2100.0, ("maps/find", "2026-10"): 3720.0}
    days = [Day(day.day, day.calls, {w: n * WON for w, n in day.calls.items()}) for day in maps(80, 120)]
    projection = look(days, text, drawn=drawn)["budget monthly"].projection
    assert projection.month_end == pytest.approx(30 * 120 * WON, rel=0.02)


def test_an_allowance_of_an_hour_stays_with_the_days() -> None:
    text = RULES.replace("requests: 3000, per: month", "requests: 10, per: hour")
    days = [Day(day.day, day.calls, {w: n * WON for w, n in day.calls.items()}) for day in maps(80, 120)]
    projection = look(days, text)["budget monthly"].projection
    assert projection.month_end == pytest.approx(30 * 120 * WON, rel=0.02)


def test_the_counter_of_an_allowance_is_believed_over_the_calls() -> None:
    drawn = {("maps/find", "2026-11"): 3000.0}  # charged calls only, or from before the roll-ups
    projection = look(maps(80, 90), RULES, drawn=drawn)["budget monthly"].projection
    assert sum(projection.daily) == pytest.approx(12.5 * 90 * 2 * WON, rel=0.02)


def test_the_allowance_begins_anew_in_a_longer_period() -> None:
    text = RULES.replace("name: monthly, limit: 15000, period: month", "name: monthly, limit: 150000, period: year")
    found = look(maps(80, 240), text)["budget monthly"].projection
    spent = sum(sum(day.cost.values()) for day in maps(80, 240))
    november = 8400 * WON - sum(sum(day.cost.values()) for day in maps(80, 240) if day.day.month == 11)
    december = (31 * 240 - 3000) * 2 * WON
    assert found.month_end == pytest.approx(spent + november + december, rel=0.03)


@settings(max_examples=60, deadline=None)
@given(
    amount=st.integers(1, 10**9),
    unit=st.sampled_from(list(PeriodUnit)),
    from_h=st.integers(0, 2000),
    hours=st.integers(0, 800),
)
def test_what_is_due_is_the_sum_of_the_hours(amount: int, unit: PeriodUnit, from_h: int, hours: int) -> None:
    cost = FixedCost("x", Decimal(amount) / 1000, "KRW", Period(unit, 10 if unit is PeriodUnit.DAYS else 1))
    start = window_at(Period(PeriodUnit.HOUR), "America/New_York", at(LAST, 0)).start_ms + from_h * 3_600_000
    end = start + hours * 3_600_000
    charged = [one for one in slices(cost, "America/New_York", start, end) if one.end_ms <= end]
    assert due(cost, "America/New_York", start, end) == sum(one.atoms for one in charged)
