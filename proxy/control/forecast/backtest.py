"""How good would the forecasts have been? Month ends of the past, asked on days 5, 10, 15 and 20.

Every model answers from the days up to the cut only. The errors are absolute percentages of the month's true total;
`ratio` compares a model with "the last seven days repeated", case by case (geometric mean): below 1 is better.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean, median

from proxy.control.forecast.profile import line
from proxy.control.forecast.projection import project
from proxy.control.forecast.series import DailySeries

CUTS = (5, 10, 15, 20)
REFERENCE = "seasonal_naive"
BASELINES = ("daily_average", REFERENCE, "plain_linear", "naive")
GRAIN = 1e-3  # errors below a thousandth are not told apart


@dataclass(frozen=True, slots=True)
class Case:
    """One month, asked on one day. guesses: the month's total by model."""

    month: date  # its first day
    cut: int
    actual: float
    guesses: Mapping[str, float]
    within80: bool
    within95: bool


@dataclass(frozen=True, slots=True)
class Score:
    """One model over cases. by_cut: median error (%) by day of the month."""

    model: str
    cases: int
    median_error: float
    mean_error: float
    by_cut: Mapping[int, float]
    ratio: float


def months(series: DailySeries, count: int, fewest_days: int) -> list[tuple[date, date]]:
    """The last `count` whole months that have `fewest_days` of the series before them, oldest first."""
    found: list[tuple[date, date]] = []
    first = series.first.replace(day=1)
    while True:
        end = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        if end > series.last:
            return found[-count:] if count > 0 else []
        if (first - series.first).days >= fewest_days:
            found.append((first, end))
        first = end + timedelta(days=1)


def cases(series: DailySeries, count: int = 6, fewest_days: int = 56, cuts: Iterable[int] = CUTS) -> list[Case]:
    """The past months of a series, forecast at each cut. Months without any spend are left out."""
    found = []
    chosen = tuple(cuts)
    for start, end in months(series, count, fewest_days):
        actual = series.between(start, end)
        if actual <= 0:
            continue
        for cut in chosen:
            day = start + timedelta(days=cut - 1)
            known = series.until(day)
            answer = project(known, day, end)
            guesses = {**answer.models, "plain_linear": _plain_linear(known, start, end)}
            for name in ("ensemble", REFERENCE, "naive", "daily_average"):
                guesses.setdefault(name, answer.month_end)
            low, high = answer.interval80
            lower, higher = answer.interval95
            found.append(Case(start, cut, actual, guesses, low <= actual <= high, lower <= actual <= higher))
    return found


def scores(found: Iterable[Case]) -> list[Score]:
    """Every model that answered in all cases or some, the best first."""
    by_model: dict[str, list[tuple[int, float, float]]] = {}
    for case in found:
        reference = abs(case.guesses[REFERENCE] - case.actual) / case.actual
        for model, guess in case.guesses.items():
            error = abs(guess - case.actual) / case.actual
            by_model.setdefault(model, []).append((case.cut, error, math.log((error + GRAIN) / (reference + GRAIN))))
    table = []
    for model, rows in by_model.items():
        errors = [error for _, error, _ in rows]
        cuts = sorted({cut for cut, _, _ in rows})
        table.append(
            Score(
                model,
                len(rows),
                100 * median(errors),
                100 * fmean(errors),
                {cut: 100 * median(error for at, error, _ in rows if at == cut) for cut in cuts},
                math.exp(fmean(log for _, _, log in rows)),
            )
        )
    return sorted(table, key=lambda score: score.ratio)


def coverage(found: Iterable[Case]) -> tuple[float, float]:
    """The share of months that ended within the 80 % and the 95 % interval; (0, 0) of no case."""
    rows = list(found)
    if not rows:
        return 0.0, 0.0
    return fmean(case.within80 for case in rows), fmean(case.within95 for case in rows)


def _plain_linear(series: DailySeries, start: date, end: date) -> float:
    """The straight line through the last 60 days, without weekdays: what a spreadsheet would do."""
    values, _ = series.array()
    height, slope = line(values, 60)
    left = (end - series.last).days
    return series.between(start, series.last) + math.fsum(max(0.0, height + slope * day) for day in range(1, left + 1))
