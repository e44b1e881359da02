"""A period's end from its days so far: what is known, what the models expect of the rest, and how sure that is.

The one door of the package. Decides what is known already (days past, costs that are certain), what is forecast (the
days left), and the bounds: nothing falls below what has been spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from proxy.control.forecast import models
from proxy.control.forecast.ensemble import blend, look_back, weights
from proxy.control.forecast.interval import half_widths
from proxy.control.forecast.models import NAMES, Task
from proxy.control.forecast.series import DailySeries
from proxy.control.forecast.shift import back_within, filled, fresh_step, idle_days, levelled, past_pause

Interval = tuple[float, float]
LEVEL_WEEKS = 4  # what the days ahead would bring if a young step were none


@dataclass(frozen=True, slots=True)
class Projection:
    """Everything in the unit of the series. month_end: of the whole period, spent part and certain costs included.

    models: the period's end by each single model that could answer, "ensemble" (= month_end) and "daily_average" among
    them. basis: "known" (no day is left), "none" (nothing was ever spent), "stopped" (nothing for longer than
    ever before), "short" (under three weeks of history), "history", or "year" (a year and more: last year's same days
    are asked too).
    """

    month_end: float
    interval80: Interval
    interval95: Interval
    models: Mapping[str, float]
    basis: str
    spent: float = 0.0  # of the period, up to and with `as_of`
    days_left: int = 0
    daily: tuple[float, ...] = ()  # expected of each day left, certain costs not included
    weights: Mapping[str, float] = field(default_factory=dict)


def project(
    series: DailySeries,
    as_of: date,
    period_end: date,
    *,
    period_start: date | None = None,
    spent: float | None = None,
    certain: float = 0.0,
    day_factors: Mapping[date, float] | None = None,
) -> Projection:
    """The total of the period from `period_start` (default: the first of the month of `period_end`) to `period_end`.

    `as_of` is the last whole day known; days missing from the series count as 0. spent: the period's spend so far
    where it is known better than by the series (a day that has begun, costs booked outside). certain: what will be
    added whatever happens (rent), never part of the interval's width. day_factors: what a day ahead is worth against
    an ordinary one (special.py), such as 0.4 for a holiday. Raises ValueError: the series begins after `as_of`.
    """
    start = period_start or period_end.replace(day=1)
    series = series.until(as_of)
    known = series.between(start, min(as_of, period_end)) if spent is None else spent
    first_left = max(as_of + timedelta(days=1), start)
    skipped = (first_left - as_of).days - 1  # days before the period begins: forecast, not counted
    left = max(0, (period_end - first_left).days + 1)
    base = known + certain
    if left == 0:
        return _flat(base, "known", known, 0)
    values, weekday = series.array()
    if not values.any():
        return _flat(base, "none", known, left)
    if idle := idle_days(values):
        return _stopped(base, known, Task(values, weekday, skipped + left), left, idle, _average(series, start, known))
    pause = past_pause(values)
    if pause is not None:
        values = filled(values, pause)
    as_spent, step = values, fresh_step(values)
    values, weekday, settled = levelled(values, weekday)
    task = Task(values, weekday, skipped + left)
    scale = np.ones(task.days)
    for index in range(task.days):
        scale[index] = (day_factors or {}).get(as_of + timedelta(days=index + 1), 1.0)
    scale[:skipped] = 0.0
    paths = models.paths(task) * scale
    cut_off = len(as_spent) - len(values)
    made_up = range(0) if pause is None else range(pause.start - cut_off, pause.stop - cut_off)
    past = look_back(values, weekday, task.days, made_up)
    weight = weights(past, ~np.isnan(paths[:, 0]), len(values))
    daily = np.maximum(blend(paths.T, weight), 0)[skipped:]
    rest = float(daily.sum())
    widths = half_widths(past, weight, task, min(settled, len(values) - made_up.stop))
    ways = [rest]
    if step is not None:
        since, times = step
        before = Task(as_spent[:-since], weekday, since + task.days)
        usual = float((before.weeks(LEVEL_WEEKS)[since:] * scale)[skipped:].sum())
        ways += [usual, usual * times]
    answers = {name: base + float(path.sum()) for name, path in zip(NAMES, paths, strict=True) if path[0] == path[0]}
    answers["naive"] = base + float(values[-1] * scale.sum())
    answers["daily_average"] = base + _average(series, start, known) * left
    answers["ensemble"] = base + rest
    return Projection(
        base + rest,
        _around(base, ways, widths[0.80]),
        _around(base, ways, widths[0.95]),
        answers,
        "short" if len(values) < 21 else "year" if len(values) >= models.YEAR + models.LEVEL_DAYS else "history",
        known,
        left,
        tuple(float(value) for value in daily),
        {name: float(share) for name, share in zip(NAMES, weight, strict=True) if share > 0},
    )


def _around(base: float, ways: Sequence[float], half: float) -> Interval:
    """ways: what the rest may come to: the answer, and the levels before and after a step that is too young to tell.

    Errors grow with the level that they are of.
    """
    rest, high = ways[0], max(ways)
    low, half_high = min(ways) - half, half * (high / rest if high > rest > 0 else 1.0)
    # A hair lower: sums of the same days in another order must not fall outside.
    return float((base + max(0.0, low)) * (1 - 1e-9)), float((base + high + half_high) * (1 + 1e-9))


def _average(series: DailySeries, start: date, spent: float) -> float:
    """What a day of the period has cost so far; days before the series do not count."""
    ran = (series.last - max(start, series.first)).days + 1
    return spent / ran if ran > 0 else 0.0


def _stopped(base: float, spent: float, task: Task, left: int, idle: int, average: float) -> Projection:
    """Nothing is expected; an interval's upper end is what it would cost if it began again as soon as is likely."""
    lived = task.values[: task.n - idle][-models.LEVEL_DAYS :]
    usual = float(lived.mean()) if len(lived) else 0.0
    low = _around(base, (0.0,), 0.0)[0]

    def high(chance: float) -> float:
        return base + usual * max(0.0, min(left, task.days - back_within(idle, chance)))

    paths = models.paths(task)[:, task.days - left :]
    answers = {name: base + float(path.sum()) for name, path in zip(NAMES, paths, strict=True) if path[0] == path[0]}
    answers |= {"ensemble": base, "naive": base, "daily_average": base + average * left}
    return Projection(base, (low, high(0.1)), (low, high(0.025)), answers, "stopped", spent, left, (0.0,) * left)


def _flat(total: float, basis: str, spent: float, left: int) -> Projection:
    return Projection(total, (total, total), (total, total), {"ensemble": total}, basis, spent, left, (0.0,) * left)
