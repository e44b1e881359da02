"""Carry the forecast's answer through the hours until it is asked again.

A forecast takes tens of milliseconds and changes little within minutes, while what is spent changes with every call:
the days ahead are asked for every few minutes, and each status adds them to what is spent at its own moment. Decides
which answers are known well enough to be called a forecast. numpy is imported at the first question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.control.status import Projection
from proxy.control.thresholds import Path
from proxy.core.history import Day
from proxy.core.model import Budget, RuleSet, Window

HISTORY_DAYS: Final = 395  # thirteen months
ASK_EVERY_MS: Final = 300_000
_DAY_MS: Final = 86_400_000
_FEWEST_DAYS: Final = 3  # since the first spending; before that nothing is a forecast


@dataclass(frozen=True, slots=True)
class _Answer:
    """Atoms expected of the rest of today and of each day after it, as of `at_ms`, and half widths of the intervals."""

    at_ms: int
    daily: tuple[float, ...]
    half80: float
    half95: float


class Projector:
    """`await refresh(...)` before statuses are made, then ask it for each budget; one for a process."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, _Answer]] = {}  # by budget, with the period it is of
        self._asked: tuple[str, str, int] = ("", "", -ASK_EVERY_MS)

    async def refresh(self, rules: RuleSet, days: Sequence[Day], now_ms: int, limits: Mapping[str, int]) -> None:
        """Ask the forecast where that is due: other rules, another day, or some minutes later. days: today last."""
        digest, today, asked_ms = self._asked
        if (digest, today) == (rules.digest, str(days[-1].day)) and 0 <= now_ms - asked_ms < ASK_EVERY_MS:
            return
        self._asked = rules.digest, str(days[-1].day), now_ms
        first = next((index for index, day in enumerate(days) if any(day.cost.values())), len(days))
        known = days[first:]
        self._answers = {}
        if len(known) > _FEWEST_DAYS:
            self._answers = await asyncio.to_thread(_ask, rules, known, now_ms, limits)

    def project(self, budget: Budget, window: Window, spent_atoms: int, now_ms: int) -> Projection | None:
        """None: too little is known, or the period is too short."""
        period, answer = self._answers.get(budget.name, ("", None))
        if answer is None or period != window.label:
            return None
        points, total = [(now_ms, spent_atoms)], float(spent_atoms)
        count = len(answer.daily)
        for index, atoms in enumerate(answer.daily):
            ends_ms = window.end_ms - (count - 1 - index) * _DAY_MS
            if ends_ms <= now_ms:
                continue
            begins_ms = max(ends_ms - _DAY_MS, answer.at_ms) if index == 0 else ends_ms - _DAY_MS
            total += atoms * (ends_ms - max(now_ms, begins_ms)) / max(1, ends_ms - begins_ms)
            points.append((ends_ms, round(total)))
        expected = points[-1][1]

        def around(half: float) -> tuple[int, int]:
            return max(spent_atoms, expected - round(half)), expected + round(half)

        return Projection(expected, around(answer.half80), around(answer.half95), "ensemble", Path(tuple(points)))


def _ask(rules: RuleSet, days: Sequence[Day], now_ms: int, limits: Mapping[str, int]) -> dict[str, tuple[str, _Answer]]:
    from proxy.control.outlook import outlooks

    found = {}
    for one in outlooks(rules, days, now_ms, limits=limits, backtests=False):
        made = one.projection
        if one.kind != "budget" or made.basis == "none" or not made.daily:
            continue
        halves = (made.interval80[1] - made.month_end, made.interval95[1] - made.month_end)
        found[one.name] = one.period, _Answer(now_ms, made.daily, *(max(0.0, half) for half in halves))
    return found
