"""What a fixed cost comes to hour by hour: whole atoms that add up to the period's amount exactly, without drift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.core import money
from proxy.core.fixed_model import FixedCost
from proxy.core.windows import window_at

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Slice:
    """What one hour (or what of it lies in a period) costs. Atoms of the cost's own currency."""

    start_ms: int
    end_ms: int
    atoms: int


def due(cost: FixedCost, timezone: str, from_ms: int, until_ms: int) -> int:
    """Atoms of the cost's own currency that accrue between two instants: the sum of the slices there."""
    total, found, start = money.to_atoms(cost.amount, cost.currency), 0, from_ms
    while start < until_ms:
        window = window_at(cost.period, timezone, start)
        end, length = min(until_ms, window.end_ms), window.end_ms - window.start_ms
        before, after = (total * (at - window.start_ms) // length for at in (start, end))
        found, start = found + after - before, end
    return found


def slices(cost: FixedCost, timezone: str, from_ms: int, now_ms: int) -> Iterator[Slice]:
    """The whole hours since `from_ms` that are over. What a period's slices cost adds up to its amount exactly."""
    total = money.to_atoms(cost.amount, cost.currency)
    start = from_ms
    while True:
        window = window_at(cost.period, timezone, start)
        end = min((start // _HOUR_MS + 1) * _HOUR_MS, window.end_ms)
        if end > now_ms:
            return
        length = window.end_ms - window.start_ms
        before, after = (total * (at - window.start_ms) // length for at in (start, end))
        yield Slice(start, end, after - before)
        start = end
