"""When fast or unusual spending is told, as compiled from rules.yaml's `watch`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

HOUR_MS = 3_600_000
LONGEST_HOURS = 6  # the counters of so many hours are kept


@dataclass(frozen=True, slots=True)
class BurnWindow:
    """Burning: the last `long_ms` and still the last `short_ms` took at least `factor` times the sustainable pace."""

    long_ms: int
    short_ms: int
    factor: Decimal


def burn_window(hours: int, factor: Decimal) -> BurnWindow:
    """A window of whole hours; a twelfth of it says whether it still burns."""
    return BurnWindow(hours * HOUR_MS, hours * HOUR_MS // 12, factor)


# Source: The Site Reliability Workbook, chapter 5 (multi-window, multi-burn-rate alerts).
BURN_WINDOWS = (burn_window(1, Decimal(6)), burn_window(6, Decimal(3)))


@dataclass(frozen=True, slots=True)
class Anomalies:
    """An hour is far out above the median plus `deviations` (scaled) median absolute deviations, above `times` the
    median, and above `floor_bp` basis points of the largest limit that counts such calls."""

    times: Decimal = Decimal(3)
    deviations: Decimal = Decimal(6)
    floor_bp: int = 100


USUAL = Anomalies()


@dataclass(frozen=True, slots=True)
class Watch:
    """burn: () = not told. anomalies: None = not told."""

    burn: tuple[BurnWindow, ...] = BURN_WINDOWS
    anomalies: Anomalies | None = USUAL


WATCH_BY_DEFAULT = Watch()
