"""Where a budget stands between its thresholds, and how fast it runs towards them.

Pure: amounts are atoms of the budget's currency, instants Unix milliseconds, thresholds basis points. Decides what a
threshold does, when the next ones will be reached, and whether money goes faster than the limit can bear: the
multi-window, multi-burn-rate rule of site-reliability practice (Google SRE Workbook, chapter 5): a long window must
burn, so that a short peak is no alarm, and a twelfth of it must burn still, so that the alarm ends soon after the fire.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.core.alert_model import Severity
from proxy.core.model import Budget, Window
from proxy.core.threshold import effect, threshold_atoms
from proxy.core.watch_model import BURN_WINDOWS, HOUR_MS, BurnWindow

_DAY_MS: Final = 86_400_000


def severity(budget: Budget, basis_points: int) -> Severity:
    """A threshold that refuses calls is critical; the ones before it warn."""
    return Severity.WARNING if effect(budget, basis_points) == "warn" else Severity.CRITICAL


def upcoming(budget: Budget, limit_atoms: int, spent_atoms: int) -> int | None:
    """The next threshold that does something to calls; None when everything is stopped already."""
    acting = sorted({budget.restrict_bp, budget.stop_bp})
    return next((bp for bp in acting if spent_atoms < threshold_atoms(limit_atoms, bp)), None)


# --- when ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """How much will probably have been spent at some instants of the period, ascending in both; linear in between.

    The first point is now, with what is spent; the last is the end of the period.
    """

    points: tuple[tuple[int, int], ...]  # (Unix ms, atoms)

    def reaches(self, atoms: int) -> int | None:
        """The instant at which the amount is reached; None when it is not reached before the end."""
        before_ms, before = self.points[0]
        if before >= atoms:
            return before_ms
        for at_ms, value in self.points[1:]:
            if value >= atoms:
                return before_ms + (at_ms - before_ms) * (atoms - before) // (value - before)
            before_ms, before = at_ms, value
        return None


def straight(now_ms: int, spent_atoms: int, end_ms: int, expected_atoms: int) -> Path:
    """The path that goes on evenly from here to the expected amount."""
    if end_ms <= now_ms:
        return Path(((now_ms, spent_atoms),))
    return Path(((now_ms, spent_atoms), (end_ms, max(spent_atoms, expected_atoms))))


# --- how fast -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """What a budget had spent in its period at an instant."""

    at_ms: int
    period: str
    spent_atoms: int


@dataclass(frozen=True, slots=True)
class Burn:
    """A fire. spent_atoms: in the long window. times: the sustainable pace, in tenths. empty_ms: when nothing is left
    if it goes on like that; None: not within this period."""

    window: BurnWindow
    spent_atoms: int
    times_tenths: int
    empty_ms: int | None

    def severity(self, now_ms: int) -> Severity:
        """Critical when the money would be gone within a day."""
        soon = self.empty_ms is not None and self.empty_ms - now_ms < _DAY_MS
        return Severity.CRITICAL if soon else Severity.WARNING


def spent_since(samples: Sequence[Sample], spent_atoms: int, since_ms: int, window: Window) -> int:
    """What was spent in this period after `since_ms`. samples: of one budget, ascending in time.

    Where the samples do not reach back so far, only what they have seen counts: never more than was really spent.
    """
    own = [sample for sample in samples if sample.period == window.label]
    if since_ms <= window.start_ms:
        return spent_atoms if not own or own[0].at_ms - window.start_ms < HOUR_MS else spent_atoms - own[0].spent_atoms
    if not own:
        return 0
    index = bisect_right([sample.at_ms for sample in own], since_ms)
    if index == 0:
        return max(0, spent_atoms - own[0].spent_atoms)
    before = own[index - 1]
    if index == len(own):
        return max(0, spent_atoms - before.spent_atoms)
    after = own[index]
    share = (since_ms - before.at_ms) * (after.spent_atoms - before.spent_atoms) // (after.at_ms - before.at_ms)
    return max(0, spent_atoms - before.spent_atoms - share)


def burning(
    samples: Sequence[Sample],
    spent_atoms: int,
    limit_atoms: int,
    window: Window,
    now_ms: int,
    windows: Sequence[BurnWindow] = BURN_WINDOWS,
) -> Burn | None:
    """The fastest fire of a budget, or None. A window that would take more than the whole limit is not looked at."""
    length_ms = window.end_ms - window.start_ms
    found: Burn | None = None
    if spent_atoms >= limit_atoms:
        return None  # burnt out: everything is refused by now, and that was told
    for rule in windows:
        if rule.factor * rule.long_ms > length_ms:
            continue

        def fast(span_ms: int, rule: BurnWindow = rule) -> int | None:
            """What was spent in the span, if that is at least `factor` times what the span may take."""
            spent = spent_since(samples, spent_atoms, now_ms - span_ms, window)
            return spent if spent > 0 and spent * length_ms >= rule.factor * limit_atoms * span_ms else None

        long, short = fast(rule.long_ms), fast(rule.short_ms)
        if long is None or short is None:
            continue
        left = limit_atoms - spent_atoms
        empty_ms = now_ms + max(0, left) * rule.long_ms // long
        burn = Burn(
            rule,
            long,
            long * length_ms * 10 // (limit_atoms * rule.long_ms) if limit_atoms else 0,
            empty_ms if empty_ms < window.end_ms else None,
        )
        if found is None or burn.times_tenths > found.times_tenths:
            found = burn
    return found
