"""Days of spend as an array: one number a day, oldest first, no gap.

Decides what a missing day means (nothing was spent) and how much of the past is looked at. Knows no currency: the unit
is the caller's, and comes back in the projection.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Thirteen months and the four weeks before them, so that last year's same days have a level to be compared with.
DAYS_USED = 460
LONGEST_DAYS = 100 * 366  # a span beyond this is a mistyped year, not a history


@dataclass(frozen=True, slots=True)
class DailySeries:
    """Spend from `first` on, a value a day (any one unit, >= 0)."""

    first: date
    values: tuple[float, ...]

    @classmethod
    def of(cls, days: Mapping[date, float] | Iterable[tuple[date, float]], until: date | None = None) -> DailySeries:
        """Days in any order; missing ones count as 0, repeated ones add up, later ones than `until` are left out.

        With `until` the series reaches to that very day. Raises ValueError: no day at all, a value that is negative or
        not finite, a span beyond a century.
        """
        sums: dict[date, float] = {}
        for day, value in days.items() if isinstance(days, Mapping) else days:
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{day}: {value} is not an amount")
            if until is None or day <= until:
                sums[day] = sums.get(day, 0.0) + value
        if not sums:
            raise ValueError("no day to begin with")
        first, last = min(sums), until or max(sums)
        length = (last - first).days + 1
        if length > LONGEST_DAYS:
            raise ValueError(f"{first} to {last} is longer than a century")
        return cls(first, tuple(sums.get(first + timedelta(days=i), 0.0) for i in range(length)))

    @property
    def last(self) -> date:
        return self.first + timedelta(days=len(self.values) - 1)

    def until(self, day: date) -> DailySeries:
        """The series up to and with `day`: shortened, or continued with zeros. Raises ValueError: nothing is left."""
        length = (day - self.first).days + 1
        if length < 1:
            raise ValueError(f"the series begins after {day}")
        return DailySeries(self.first, self.values[:length] + (0.0,) * (length - len(self.values)))

    def between(self, start: date, end: date) -> float:
        """What was spent from `start` to `end`, both included; days outside the series are 0."""
        low = max(0, (start - self.first).days)
        return math.fsum(self.values[low : max(low, (end - self.first).days + 1)])

    def array(self) -> tuple[Values, int]:
        """The recent values, and the weekday (Monday 0) of the first of them."""
        kept = self.values[-DAYS_USED:]
        first = self.first + timedelta(days=len(self.values) - len(kept))
        return np.asarray(kept, dtype=np.float64), first.weekday()
