"""Whether an hour's spending is far out of the usual band: the median and the median absolute deviation of its past.

Pure. Both are robust (half of the past may be odd without moving them), which a mean and a standard deviation are not:
one runaway hour would hide the next. What is usual goes by the hour of the week where there are enough weeks to say so,
else by the hour of the day. A floor keeps pennies silent.

Source of 1.4826: the ratio of the standard deviation to the median absolute deviation of a normal distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from proxy.core.watch_model import USUAL, Anomalies

WEEKS_NEEDED: Final = 4
DAYS_NEEDED: Final = 7
_SIGMA: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Hour:
    """One past hour. day: 0 = Monday. spent: atoms by whoever spent them; who is missing spent nothing."""

    day: int
    hour: int
    spent: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Band:
    """What is usual in such an hour. basis: "week" (same hour of the week) or "day" (same hour of any day)."""

    median_atoms: int
    upper_atoms: int
    basis: str
    hours: int


def band(past: Sequence[Hour], who: str, day: int, hour: int, far: Anomalies = USUAL) -> Band | None:
    """The usual band of one API or caller in this hour of the week; None: too little is known to say."""
    same = [one.spent.get(who, 0) for one in past if one.hour == hour and one.day == day]
    if len(same) >= WEEKS_NEEDED:
        return _of(same, "week", far)
    same = [one.spent.get(who, 0) for one in past if one.hour == hour]
    return _of(same, "day", far) if len(same) >= DAYS_NEEDED else None


def _of(values: Sequence[int], basis: str, far: Anomalies) -> Band:
    middle = median(values)
    spread = median(abs(value - middle) for value in values) * _SIGMA
    upper = max(middle + float(far.deviations) * spread, float(far.times) * middle)
    return Band(round(middle), round(upper), basis, len(values))


def unusual(found: Band | None, spent_atoms: int, floor_atoms: int) -> bool:
    """Far out: above the band, and above the floor."""
    return found is not None and spent_atoms > max(found.upper_atoms, floor_atoms)
