"""A budget's whole status at one instant: what is spent, what is left, where it ends, and when each threshold comes.

Pure. Amounts are atoms of the budget's currency; instants are Unix milliseconds. A projection always says what made it:
a forecast handed in, or, without one, the plain pace of the days that are over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any, Final

from proxy.control.thresholds import Path, straight
from proxy.core import money
from proxy.core.model import Budget, Level, Window
from proxy.core.threshold import budget_state, percent_text, reached, threshold_atoms
from proxy.core.windows import iso

_DAY_MS: Final = 86_400_000
UNTIL_UNDONE_MS: Final = 2**53 - 1  # how switches and circuits say it
_DAYS_NEEDED: Final = 3  # finished days before their spread says anything
# Student's t for a two-sided interval of 80 % and 95 %, by degrees of freedom (2, 3, ...); the last one holds beyond.
_T80: Final = (1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372, 1.363, 1.356, 1.350, 1.345, 1.28)
_T95: Final = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 1.96)


@dataclass(frozen=True, slots=True)
class Projection:
    """What the period will probably have cost at its end. made_by: "daily_average", "pace", or a forecast's own name.

    The intervals are None where too little is known to give one. path: how it gets there, for threshold dates.
    """

    expected_atoms: int
    interval80: tuple[int, int] | None
    interval95: tuple[int, int] | None
    made_by: str
    path: Path


@dataclass(frozen=True, slots=True)
class ThresholdDate:
    """One threshold. at_ms: when it will probably be reached; None: it is reached, or not within this period."""

    basis_points: int
    atoms: int
    reached: bool
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """Everything about one budget now. limit_atoms includes `increase_atoms`; left_atoms is never below zero."""

    budget: str
    period: str
    currency: str
    starts_ms: int
    resets_ms: int
    limit_atoms: int
    increase_atoms: int
    spent_atoms: int
    reserved_atoms: int
    left_atoms: int
    usage_rate: float
    state: str  # "ok" | "warning" | "restricted" | "stopped"
    threshold_bp: int | None  # the highest one reached
    seconds_left: int
    days_left: float
    daily_average_atoms: int
    projection: Projection
    thresholds: tuple[ThresholdDate, ...]
    services_limited: tuple[str, ...]
    lifts: Mapping[str, int]  # switch -> until (Unix ms)

    @property
    def overrun_atoms(self) -> int:
        """How far above the limit the expected end is; 0: not above it."""
        return max(0, self.projection.expected_atoms - self.limit_atoms)


def status_of(
    budget: Budget,
    level: Level,
    window: Window,
    now_ms: int,
    finished_days: Sequence[int] = (),
    *,
    projection: Projection | None = None,
    services_limited: Sequence[str] = (),
    lifts: Mapping[str, int] | None = None,
) -> BudgetStatus:
    """finished_days: atoms of each whole local day of this period that is over, in order; projection: a forecast's."""
    now_ms = min(max(now_ms, window.start_ms), window.end_ms)
    made = projection or project(level.spent_atoms, window, now_ms, finished_days)
    elapsed_ms = max(1, now_ms - window.start_ms)
    return BudgetStatus(
        budget=budget.name,
        period=window.label,
        currency=budget.currency,
        starts_ms=window.start_ms,
        resets_ms=window.end_ms,
        limit_atoms=level.limit_atoms,
        increase_atoms=level.limit_atoms - budget.limit_atoms,
        spent_atoms=level.spent_atoms,
        reserved_atoms=level.reserved_atoms,
        left_atoms=max(0, level.limit_atoms - level.spent_atoms - level.reserved_atoms),
        usage_rate=round(level.spent_atoms / level.limit_atoms, 6) if level.limit_atoms else 1.0,
        state=budget_state(budget, level.spent_atoms, level.limit_atoms),
        threshold_bp=reached(budget, level.limit_atoms, level.spent_atoms),
        seconds_left=(window.end_ms - now_ms) // 1000,
        days_left=round((window.end_ms - now_ms) / _DAY_MS, 3),
        # A period of less than a day has no day to average over: what was spent so far, a day at that pace at most.
        daily_average_atoms=level.spent_atoms
        * _DAY_MS
        // max(elapsed_ms, min(_DAY_MS, window.end_ms - window.start_ms)),
        projection=made,
        thresholds=tuple(
            _date(bp, threshold_atoms(level.limit_atoms, bp), level.spent_atoms, made.path)
            for bp in budget.thresholds_bp()
        ),
        services_limited=tuple(services_limited),
        lifts=dict(lifts or {}),
    )


def _date(bp: int, atoms: int, spent_atoms: int, path: Path) -> ThresholdDate:
    if spent_atoms >= atoms:
        return ThresholdDate(bp, atoms, True, None)
    return ThresholdDate(bp, atoms, False, path.reaches(atoms))


def project(spent_atoms: int, window: Window, now_ms: int, finished_days: Sequence[int]) -> Projection:
    """The end of the period if it goes on as before: what every better forecast must beat.

    From three finished days on, their mean and their spread ("daily_average"); before that, the pace since the period
    began ("pace"), which is never stretched beyond what an hour of it would give at least.
    """
    left_ms = window.end_ms - now_ms
    began = next((index for index, atoms in enumerate(finished_days) if atoms), len(finished_days))
    finished_days = finished_days[began:]  # days before anything was spent say nothing: nobody was counting yet
    count = len(finished_days)
    if count < _DAYS_NEEDED:
        elapsed_ms = max(now_ms - window.start_ms, min(3_600_000, window.end_ms - window.start_ms), 1)
        expected = spent_atoms + spent_atoms * left_ms // elapsed_ms
        return Projection(expected, None, None, "pace", straight(now_ms, spent_atoms, window.end_ms, expected))
    days_left = left_ms / _DAY_MS
    average, spread = mean(finished_days), stdev(finished_days)
    expected = spent_atoms + round(average * days_left)
    # Of what is to come and of the mean itself, as in any prediction interval.
    error = spread * sqrt(days_left + days_left**2 / count)
    table = min(count - 1, len(_T80) + 1) - 2

    def interval(factor: float) -> tuple[int, int]:
        reach = round(factor * error)
        return max(spent_atoms, expected - reach), expected + reach

    path = straight(now_ms, spent_atoms, window.end_ms, expected)
    return Projection(expected, interval(_T80[table]), interval(_T95[table]), "daily_average", path)


def document(status: BudgetStatus, timezone: str) -> dict[str, Any]:
    """The status as JSON: money as decimal strings in `currency`, instants as ISO 8601 in the budget's time zone."""

    def decimal(atoms: int) -> str:
        return money.format_decimal(atoms, status.currency)

    def pair(interval: tuple[int, int] | None) -> list[str] | None:
        return [decimal(atoms) for atoms in interval] if interval is not None else None

    made = status.projection
    return {
        "budget": status.budget,
        "period": status.period,
        "currency": status.currency,
        "limit": decimal(status.limit_atoms),
        "increase": decimal(status.increase_atoms),
        "spent": decimal(status.spent_atoms),
        "reserved": decimal(status.reserved_atoms),
        "left": decimal(status.left_atoms),
        "usage_rate": status.usage_rate,
        "state": status.state,
        "threshold": percent_text(status.threshold_bp) if status.threshold_bp is not None else None,
        "starts_at": iso(status.starts_ms, timezone),
        "resets_at": iso(status.resets_ms, timezone),
        "days_left": status.days_left,
        "seconds_left": status.seconds_left,
        "daily_average": decimal(status.daily_average_atoms),
        "projection": {
            "expected": decimal(made.expected_atoms),
            "interval80": pair(made.interval80),
            "interval95": pair(made.interval95),
            "made_by": made.made_by,
            "over": decimal(status.overrun_atoms),
        },
        "thresholds": [
            {
                "percent": percent_text(one.basis_points),
                "amount": decimal(one.atoms),
                "reached": one.reached,
                "expected_at": iso(one.at_ms, timezone) if one.at_ms is not None else None,
            }
            for one in status.thresholds
        ],
        "services_limited": list(status.services_limited),
        "lifts": [
            {"switch": name, "until": when(until, timezone) or None} for name, until in sorted(status.lifts.items())
        ],
    }


def when(until_ms: int, timezone: str) -> str:
    """An instant as ISO 8601; "" for what holds until somebody undoes it."""
    return iso(until_ms, timezone) if until_ms < UNTIL_UNDONE_MS else ""
