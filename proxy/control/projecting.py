"""Carry a forecast through the calls that come after it.

Pure. The forecast is made every few minutes (forecasting.py) and kept; what is spent changes with every call. What was
still expected of the days ahead is added to what is spent now. Decides which forecasts know enough to be called so.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from proxy.control.status import Projection
from proxy.control.thresholds import Path
from proxy.core import money
from proxy.core.model import Budget, Window

KEPT_MS: Final = 3_600_000  # an older forecast is none: whoever makes them has stopped
FEWEST_DAYS: Final = 3  # finished days of a short history before it is more than a pace
_DAY_MS: Final = 86_400_000


def carried(
    told: Mapping[str, Any], at_ms: int, budget: Budget, window: Window, spent_atoms: int, now_ms: int, days: int
) -> Projection | None:
    """A kept forecast (outlook.as_json, made at `at_ms`) as of now. days: finished days since the first spending.

    None: it is of another period, too old, or knows too little.
    """
    few = told["basis"] == "short" and days < FEWEST_DAYS
    if told["period"] != window.label or told["basis"] == "none" or few or not 0 <= now_ms - at_ms <= KEPT_MS:
        return None

    def atoms(text: str) -> int:
        return money.to_atoms(Decimal(text), budget.currency)

    daily = [atoms(text) for text in told["daily"]]
    points, total = [(now_ms, spent_atoms)], spent_atoms
    for index, expected in enumerate(daily):
        ends_ms = window.end_ms - (len(daily) - 1 - index) * _DAY_MS
        begins_ms = max(at_ms, ends_ms - _DAY_MS)
        if ends_ms <= now_ms or ends_ms <= begins_ms:
            continue
        total += expected * (ends_ms - max(now_ms, begins_ms)) // (ends_ms - begins_ms)
        points.append((ends_ms, total))

    def around(interval: list[str]) -> tuple[int, int]:
        half = max(0, atoms(interval[1]) - atoms(told["month_end"]))
        return max(spent_atoms, total - half), total + half

    return Projection(total, around(told["interval80"]), around(told["interval95"]), "ensemble", Path(tuple(points)))
