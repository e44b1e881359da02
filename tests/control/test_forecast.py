"""The forecast: what it must say of series whose future is known, and what must hold of any series."""

from __future__ import annotations

import itertools
import math
import time
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.forecast import DailySeries, project
from proxy.control.forecast.backtest import cases, coverage, months, scores
from proxy.control.forecast.models import BLENDED, Task
from proxy.control.forecast.profile import polynomial, weekday_factors
from proxy.control.forecast.shift import idle_days, levelled
from proxy.control.forecast.special import after_allowance, country_of, holiday_factors, holidays_of

FIRST = date(2026, 1, 5)  # a Monday
WEEK = [10, 12, 11, 13, 9, 2, 1]


def weekly(days: int, scale: float = 1.0) -> list[float]:
    return [scale * WEEK[i % 7] for i in range(days)]


def month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def of(values: list[float]) -> DailySeries:
    return DailySeries(FIRST, tuple(values))


# --- series whose future is known -------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [7, 14, 30, 90, 200, 420])
def test_a_weekly_pattern_goes_on(days: int) -> None:
    series = of(weekly(days))
    end = month_end(series.last)
    truth = of(weekly(days + 31)).between(end.replace(day=1), end)
    answer = project(series, series.last, end)
    assert answer.month_end == pytest.approx(truth, rel=0.02)
    assert answer.interval80[0] <= truth <= answer.interval80[1]


def test_a_constant_is_exact_from_the_first_day() -> None:
    for days in (1, 2, 5, 40):
        answer = project(of([7.0] * days), FIRST + timedelta(days=days - 1), date(2026, 2, 28), period_start=FIRST)
        assert answer.month_end == pytest.approx(7.0 * 55, rel=1e-6)


def test_a_steady_rise_is_followed() -> None:
    series = of([100 + 2.0 * i for i in range(100)])
    end = month_end(series.last)
    truth = sum(100 + 2.0 * i for i in range((end.replace(day=1) - FIRST).days, (end - FIRST).days + 1))
    answer = project(series, series.last, end)
    assert answer.month_end == pytest.approx(truth, rel=0.03)
    assert abs(answer.month_end - truth) < abs(answer.models["seasonal_naive"] - truth)


@pytest.mark.parametrize("factor", [0.2, 4.0])
@pytest.mark.parametrize("since", [5, 9, 20])
def test_after_a_jump_the_new_level_is_believed(since: int, factor: float) -> None:
    rng = np.random.default_rng(since)
    noise = rng.uniform(0.9, 1.1, 151)
    values = [
        w * n * (factor if i >= 120 - since else 1.0) for i, (w, n) in enumerate(zip(weekly(151), noise, strict=True))
    ]
    series = of(values[:120])
    end = series.last + timedelta(days=31)
    answer = project(series, series.last, end, period_start=series.last + timedelta(days=1))
    truth = sum(values[120:])
    assert answer.month_end == pytest.approx(truth, rel=0.12)
    assert answer.interval80[0] <= truth <= answer.interval80[1]


@pytest.mark.parametrize("factor", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("since", [1, 2, 3])
def test_a_jump_too_young_to_be_believed_is_within_the_interval_and_so_is_its_end(since: int, factor: float) -> None:
    rng = np.random.default_rng(since)
    values = [w * n for w, n in zip(weekly(151), rng.uniform(0.9, 1.1, 151), strict=True)]
    jumped = [value * (factor if i >= 120 - since else 1.0) for i, value in enumerate(values)]
    series = of(jumped[:120])
    answer = project(
        series, series.last, series.last + timedelta(days=31), period_start=series.last + timedelta(days=1)
    )
    assert answer.interval80[0] <= sum(jumped[120:]) <= answer.interval80[1]
    assert answer.interval80[0] <= sum(values[120:]) <= answer.interval80[1]
    before = of(values[:120])
    calm = project(before, before.last, before.last + timedelta(days=31), period_start=before.last + timedelta(days=1))
    assert answer.interval80[1] - answer.interval80[0] > 3 * (calm.interval80[1] - calm.interval80[0])


@pytest.mark.parametrize("days", [8, 10, 14, 20])
def test_with_less_than_three_weeks_the_last_week_itself_is_the_answer(days: int) -> None:
    rng = np.random.default_rng(days)
    series = of(list(rng.lognormal(3, 0.5, days)))
    answer = project(series, series.last, month_end(series.last))
    assert answer.month_end == pytest.approx(answer.models["seasonal_naive"])
    assert answer.interval80[0] < answer.month_end < answer.interval80[1]


def test_after_a_stop_nothing_is_expected_and_a_return_is_not_excluded() -> None:
    series = of([*weekly(77), *[0.0] * 6])
    answer = project(series, series.last, month_end(series.last))
    assert answer.basis == "stopped"
    assert answer.month_end == answer.spent
    assert answer.interval80[0] <= answer.spent < answer.interval80[1] < answer.interval95[1]


def test_the_longer_it_is_quiet_the_less_a_return_is_expected() -> None:
    highs = []
    for idle in (5, 20, 100):
        series = of([*weekly(77), *[0.0] * idle])
        start, end = series.last + timedelta(days=1), series.last + timedelta(days=25)
        answer = project(series, series.last, end, period_start=start)
        highs.append(answer.interval80[1] - answer.spent)
        assert answer.models["seasonal_naive"] >= answer.spent
    assert highs[0] > highs[1] > highs[2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("since", [1, 3, 6, 15])
def test_a_pause_that_is_over_says_nothing_of_the_level(since: int) -> None:
    rng = np.random.default_rng(since)
    values = [w * n for w, n in zip(weekly(160), rng.uniform(0.8, 1.2, 160), strict=True)]
    values[120 - since - 12 : 120 - since] = [0.0] * 12
    series = of(values[:120])
    answer = project(
        series, series.last, series.last + timedelta(days=31), period_start=series.last + timedelta(days=1)
    )
    truth = sum(values[120:151])
    assert answer.month_end == pytest.approx(truth, rel=0.1)
    assert answer.interval80[0] <= truth <= answer.interval80[1]


@pytest.mark.parametrize("since", [5, 12, 40, 80])
def test_a_stop_that_leaves_a_trickle_is_a_jump(since: int) -> None:
    values = [w * (0.01 if i >= 120 - since else 1.0) for i, w in enumerate(weekly(151))]
    series = of(values[:120])
    answer = project(
        series, series.last, series.last + timedelta(days=31), period_start=series.last + timedelta(days=1)
    )
    assert answer.month_end == pytest.approx(sum(values[120:]), rel=0.25)


def test_usual_pauses_are_no_stop() -> None:
    values = [5.0 if i % 6 == 0 else 0.0 for i in range(125)]  # ends four idle days after a spent one
    assert idle_days(np.array(values)) == 0
    assert project(of(values), of(values).last, month_end(of(values).last)).basis == "history"


def test_last_year_tells_of_a_december_that_the_last_weeks_do_not_know() -> None:
    def at(day: date) -> float:
        return 10.0 * (2.0 if day.month == 12 else 1.0) * (0.5 if day.weekday() > 4 else 1.0)

    first = date(2025, 10, 6)
    values = tuple(at(first + timedelta(days=i)) for i in range((date(2026, 11, 30) - first).days + 1))
    series = DailySeries(first, values)
    truth = sum(at(date(2026, 12, 1) + timedelta(days=i)) for i in range(31))
    answer = project(series, series.last, date(2026, 12, 31))
    assert answer.basis == "year"
    assert answer.models["year_month"] == pytest.approx(truth, rel=0.08)
    assert answer.models["seasonal_naive"] < 0.6 * truth


# --- what holds of any series -----------------------------------------------------------------------------------------

amounts = st.one_of(st.just(0.0), st.floats(0.01, 1e6, allow_subnormal=False))
histories = st.lists(amounts, min_size=1, max_size=140)


@settings(max_examples=30, deadline=None)
@given(values=histories, left=st.integers(0, 40))
def test_intervals_are_ordered_and_nothing_is_below_what_is_spent(values: list[float], left: int) -> None:
    series = of(values)
    answer = project(
        series, series.last, series.last + timedelta(days=left), period_start=series.last - timedelta(days=9)
    )
    low95, low80 = answer.interval95[0], answer.interval80[0]
    numbers = [answer.spent * (1 - 1e-6), low95, low80, answer.month_end, answer.interval80[1], answer.interval95[1]]
    slack = 1e-6 * max(1.0, answer.interval95[1])
    assert all(math.isfinite(number) for number in [*numbers, *answer.models.values()])
    assert all(a <= b + slack for a, b in itertools.pairwise(numbers))
    assert all(value >= answer.spent * (1 - 1e-9) for value in answer.models.values())
    assert len(answer.daily) == left
    assert math.fsum(answer.daily) + answer.spent == pytest.approx(answer.month_end)


@settings(max_examples=20, deadline=None)
@given(values=histories, power=st.integers(-20, 20))
def test_in_another_unit_the_answer_is_the_same(values: list[float], power: int) -> None:
    scale = 2.0**power
    end = of(values).last + timedelta(days=12)
    one = project(of(values), of(values).last, end)
    other = project(of([value * scale for value in values]), of(values).last, end)
    assert other.month_end == pytest.approx(one.month_end * scale, rel=1e-6)
    assert other.interval80 == pytest.approx([x * scale for x in one.interval80], rel=1e-6)


@settings(max_examples=12, deadline=None)
@given(values=histories, weeks=st.integers(1, 80))
def test_whole_weeks_later_the_answer_is_the_same(values: list[float], weeks: int) -> None:
    shift = timedelta(weeks=weeks)
    here, there = of(values), DailySeries(FIRST + shift, tuple(values))
    start, end = here.last - timedelta(days=3), here.last + timedelta(days=9)
    one = project(here, here.last, end, period_start=start)
    other = project(there, there.last, end + shift, period_start=start + shift)
    assert other == one


@settings(max_examples=20, deadline=None)
@given(values=st.lists(amounts, min_size=1, max_size=500), weekday=st.integers(0, 6), days=st.integers(1, 31))
def test_no_model_goes_below_zero_or_away(values: list[float], weekday: int, days: int) -> None:
    task = Task(np.array(values), weekday, days)
    for name, model in BLENDED.items():
        path = model(task)
        assert path is None or (len(path) == days and np.isfinite(path).all() and (path >= 0).all()), name


def test_certain_costs_move_everything_and_widen_nothing() -> None:
    series = of(weekly(60))
    end = month_end(series.last)
    plain, rent = project(series, series.last, end), project(series, series.last, end, certain=1000.0)
    assert rent.month_end == pytest.approx(plain.month_end + 1000)
    assert rent.interval80[1] - rent.interval80[0] == pytest.approx(plain.interval80[1] - plain.interval80[0], rel=1e-3)


def test_the_basis_says_how_much_was_known() -> None:
    for values, left, basis in (
        ([0.0] * 30, 5, "none"),
        ([5.0] * 5, 5, "short"),
        (weekly(60), 5, "history"),
        (weekly(60), 0, "known"),
        (weekly(420), 5, "year"),
    ):
        series = of(list(values))
        assert project(series, series.last, series.last + timedelta(days=left)).basis == basis


def test_a_coming_period_is_forecast_whole() -> None:
    series = of(weekly(70))
    answer = project(series, series.last, date(2026, 4, 30), period_start=date(2026, 4, 1))
    assert answer.spent == 0
    assert (answer.days_left, len(answer.daily)) == (30, 30)
    assert answer.month_end == pytest.approx(of(weekly(150)).between(date(2026, 4, 1), date(2026, 4, 30)), rel=0.02)


def test_thirteen_months_are_forecast_in_a_moment() -> None:
    rng = np.random.default_rng(1)
    series = of([float(x) for x in rng.gamma(2.0, 500.0, 400)])
    took = []
    for _ in range(3):
        begin = time.process_time()
        project(series, series.last, series.last + timedelta(days=25))
        took.append(time.process_time() - begin)
    assert min(took) < 1.0  # a tenth of that on an idle machine: bench/forecast.py prints it


# --- the parts --------------------------------------------------------------------------------------------------------


def test_days_in_any_order_with_gaps_and_repeats_make_a_series() -> None:
    days = [(date(2026, 3, 5), 2.0), (date(2026, 3, 1), 1.0), (date(2026, 3, 5), 3.0), (date(2026, 3, 9), 8.0)]
    series = DailySeries.of(days, until=date(2026, 3, 6))
    assert (series.first, series.values) == (date(2026, 3, 1), (1.0, 0.0, 0.0, 0.0, 5.0, 0.0))
    assert series.between(date(2020, 1, 1), date(2030, 1, 1)) == 6.0


@pytest.mark.parametrize(
    "days", [[], [(FIRST, -1.0)], [(FIRST, math.nan)], [(date(1, 1, 1), 1.0), (date(2026, 1, 1), 1.0)]]
)
def test_what_is_no_series_is_refused(days: list[tuple[date, float]]) -> None:
    with pytest.raises(ValueError, match=r"no day|not an amount|century"):
        DailySeries.of(days)


def test_the_degree_is_chosen_by_cross_validation() -> None:
    x = np.arange(90.0)
    noise = np.random.default_rng(2).normal(0, 30, 90)
    assert len(polynomial(5 + 3 * x + noise, 3)) == 2
    assert len(polynomial(5 + (x - 40) ** 2 + noise, 3)) == 3
    assert len(polynomial(np.array([1.0, 2.0]), 3)) == 1


def test_weekday_factors_have_mean_one() -> None:
    factors = weekday_factors(np.array(weekly(84)), np.arange(84.0) % 7)
    assert factors.mean() == pytest.approx(1)
    assert list(np.argsort(factors)[:2]) == [6, 5]


def test_a_slow_rise_is_no_jump() -> None:
    values = np.array([10 * 1.02**i for i in range(120)])
    same, _, settled = levelled(values, 0)
    assert settled == 120
    assert (same == values).all()


def test_holidays_count_only_where_they_made_a_difference() -> None:
    assert country_of("Asia/Seoul") == "KR"
    assert country_of("Etc/UTC") is None
    korean = holidays_of("KR", 2025, 2026)
    assert date(2026, 3, 1) in korean
    with pytest.raises(ValueError, match="no holidays"):
        holidays_of("XX", 2025, 2026)
    first = date(2025, 9, 1)
    days = [first + timedelta(days=i) for i in range(200)]
    ahead = [days[-1] + timedelta(days=i) for i in range(1, 90)]
    idle = DailySeries(first, tuple(1.0 if day in korean else 10.0 for day in days))
    factors = holiday_factors(idle, korean, ahead)
    assert factors
    assert all(day in korean and 0.05 < factor < 0.45 for day, factor in factors.items())
    assert holiday_factors(DailySeries(first, (10.0,) * 200), korean, ahead) == {}


def test_a_free_allowance_is_used_up_first() -> None:
    assert after_allowance(1000, 400, 0.5) == 300
    assert after_allowance(1000, 4000, 0.5) == 0
    assert after_allowance(1000, -5, 0.5) == 500


# --- the past ---------------------------------------------------------------------------------------------------------


def test_the_backtest_asks_whole_months_only_and_from_their_past_only() -> None:
    rng = np.random.default_rng(4)
    values = [w * x for w, x in zip(weekly(200), rng.uniform(0.7, 1.3, 200), strict=True)]
    series = of(values)
    assert [first.month for first, _ in months(series, 6, 56)] == [4, 5, 6]  # the series ends on 23 July
    found = cases(series)
    assert [(case.month.month, case.cut) for case in found] == [(m, cut) for m in (4, 5, 6) for cut in (5, 10, 15, 20)]
    changed = cases(of([*values[:-40], *[9e9] * 40]))  # from 14 June on
    assert [case.guesses for case in changed[:10]] == [case.guesses for case in found[:10]]
    assert changed[10].guesses != found[10].guesses
    names = {score.model for score in scores(found)}
    assert {
        "ensemble",
        "linear",
        "polynomial",
        "seasonal",
        "naive",
        "seasonal_naive",
        "plain_linear",
        "daily_average",
    } <= names
    assert next(score.ratio for score in scores(found) if score.model == "seasonal_naive") == 1
    inside80, inside95 = coverage(found)
    assert 0.5 <= inside80 <= inside95
