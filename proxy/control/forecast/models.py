"""The single models: each continues a history by some days. Few, well known, and different from each other.

A model gives one number a day, never negative, or None where the history is too short for it. `MODELS` is the order
of the columns everywhere; `BLENDED` are those that the ensemble weighs.

Sources: simple exponential smoothing and Theta as in Hyndman & Athanasopoulos, "Forecasting: Principles and Practice"
(3rd ed., 8.1 and Assimakopoulos & Nikolopoulos 2000); damping as in Gardner & McKenzie 1985.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from proxy.control.forecast.profile import SMALLEST_FACTOR, level, line, polynomial, weekday_factors
from proxy.control.forecast.series import Values

YEAR = 364  # whole weeks, so that Mondays meet Mondays
LEVEL_DAYS = 28
THETA_ALPHA = 0.2


@dataclass(frozen=True)
class Task:
    """A history of at least one day, the weekday of its first (Monday 0), and how many days are asked for."""

    values: Values
    weekday: int
    days: int

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def ahead(self) -> Values:
        return np.arange(1, self.days + 1, dtype=np.float64)

    @cached_property
    def weekdays(self) -> Values:
        return np.asarray((np.arange(self.n + self.days) + self.weekday) % 7, dtype=np.float64)

    @cached_property
    def factors(self) -> Values:
        return weekday_factors(self.values, self.weekdays[: self.n])

    @cached_property
    def coming(self) -> Values:
        """The weekday factor of each day ahead."""
        return np.asarray(self.factors[self.weekdays[self.n :].astype(int)], dtype=np.float64)

    @cached_property
    def even(self) -> Values:
        """The history without its weekdays."""
        factors = self.factors[self.weekdays[: self.n].astype(int)]
        return np.asarray(self.values / np.maximum(factors, SMALLEST_FACTOR), dtype=np.float64)

    def weeks(self, count: int) -> Values:
        """The mean of the last `count` weeks, weekday by weekday, again and again."""
        count = min(count, self.n // 7)
        if count == 0:
            return np.full(self.days, float(self.values.mean()))
        week = self.values[self.n - 7 * count :].reshape(count, 7).mean(axis=0)
        return np.asarray(week[np.arange(self.days) % 7], dtype=np.float64)

    def last_year(self, before: int = 0, after: int = 0) -> Values:
        """The same days a year ago, with some days before and after them."""
        begin = self.n - YEAR
        return self.values[begin - before : begin + self.days + after]


Path = Values | None
Model = Callable[[Task], Path]


def naive(task: Task) -> Path:
    """Yesterday, every day."""
    return np.full(task.days, task.values[-1])


def seasonal_naive(task: Task) -> Path:
    """The last seven days, again and again."""
    return task.weeks(1)


def linear(task: Task) -> Path:
    """A straight line through the last 60 days, weekdays put back on it."""
    height, slope = line(task.even, 60)
    return np.asarray(np.maximum(height + slope * task.ahead, 0) * task.coming, dtype=np.float64)


def polynomial_(task: Task) -> Path:
    """A curve of degree 1 to 3, by cross-validation, through the last 90 days; it bends for two weeks, then stays."""
    recent = task.even[-90:]
    if len(recent) < 21:
        return None
    curve = polynomial(recent, 3)
    heights = np.polyval(curve, np.minimum(task.ahead, 14) / len(recent))
    return np.asarray(np.maximum(heights, 0) * task.coming, dtype=np.float64)


def seasonal(task: Task) -> Path:
    """The last week's level on the usual shape of a week."""
    return np.asarray(task.even[-7:].mean() * task.coming, dtype=np.float64)


def smoothed(task: Task) -> Path:
    """A level that remembers about a week, on the shape of a week."""
    return np.asarray(level(task.even, 0.2) * task.coming, dtype=np.float64)


def quick(task: Task) -> Path:
    """A level that remembers a few days, on the shape of a week."""
    return np.asarray(level(task.even, 0.4) * task.coming, dtype=np.float64)


def theta(task: Task) -> Path:
    """Smoothing with half the trend of the last 90 days, slowly damped."""
    n = min(task.n, 90)
    _, slope = line(task.even, 90)
    begin = level(task.even, THETA_ALPHA) + 0.5 * slope * ((1 - (1 - THETA_ALPHA) ** n) / THETA_ALPHA - 1)
    return np.maximum(begin + 0.5 * slope * np.cumsum(0.98**task.ahead), 0) * task.coming


def drift(task: Task) -> Path:
    """The mean of two weeks, growing or shrinking as the last eight weeks did, by half and damped."""
    weeks = min(task.n // 7, 8)
    if weeks < 3:
        return None
    sums = task.values[task.n - 7 * weeks :].reshape(weeks, 7).sum(axis=1)
    if sums.mean() <= 0:
        return np.zeros(task.days)
    logs = np.log(sums + 0.1 * sums.mean())
    x = np.arange(weeks) - (weeks - 1) / 2
    growth = float(np.clip(x @ logs / (x @ x), -0.5, 0.5))
    return task.weeks(2) * np.exp(growth * 0.5 * (1 + np.cumsum(0.9 ** (task.ahead / 7)) / 7))


def _yearly(task: Task, days: int) -> Path:
    if task.n < YEAR + LEVEL_DAYS:
        return None
    now, then = task.values[-days:].sum(), task.values[-YEAR - days : -YEAR].sum()
    return task.last_year() * np.clip(now / then, 0.2, 5) if then > 0 else task.weeks(4)


def year_month(task: Task) -> Path:
    """Last year's same days, at the level of the last 28 days against that of a year ago."""
    return _yearly(task, 28)


def year_fortnight(task: Task) -> Path:
    """Last year's same days, at the level of the last 14 days."""
    return _yearly(task, 14)


def year_week(task: Task) -> Path:
    """Last year's same days, at the level of the last seven days."""
    return _yearly(task, 7)


def year_step(task: Task) -> Path:
    """The last four weeks, times the step that last year took at this time."""
    if task.n < YEAR + LEVEL_DAYS:
        return None
    then = task.values[-YEAR - LEVEL_DAYS : -YEAR].mean()
    around = task.last_year() if task.days >= 7 else task.last_year(3, 3)
    return task.weeks(4) * np.clip(around.mean() / then, 0.3, 3) if then > 0 else task.weeks(4)


BLENDED: dict[str, Model] = {
    "seasonal_naive": seasonal_naive,
    "linear": linear,
    "polynomial": polynomial_,
    "seasonal": seasonal,
    "smoothed": smoothed,
    "quick": quick,
    "theta": theta,
    "drift": drift,
    "year_week": year_week,
    "year_fortnight": year_fortnight,
    "year_month": year_month,
    "year_step": year_step,
}
NAMES = tuple(BLENDED)


def sums(task: Task) -> Values:
    """What each blended model gives for all the days ahead together; NaN where it gives nothing."""
    paths = [model(task) for model in BLENDED.values()]
    return np.array([np.nan if path is None else float(path.sum()) for path in paths])


def paths(task: Task) -> Values:
    """One row a blended model, one column a day; a row of NaN where it gives nothing."""
    found = [model(task) for model in BLENDED.values()]
    return np.array([np.full(task.days, np.nan) if path is None else path for path in found])
