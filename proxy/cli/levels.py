"""A budget's level as people see it: a bar, an amount of money, a moment, a colour.

Pure. A level is one of `status --json`'s budgets (state/ledger.py makes them); its state says what happens to calls:
"ok" and "warning" (all pass), "restricted" (only essential ones), "stopped" (nothing that costs money).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from proxy.core.figures import moment, number, percent, with_unit

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = {"ok": "green", "warning": "yellow", "restricted": "red", "stopped": "bold red"}


@dataclass(frozen=True, slots=True)
class Level:
    """One budget in its current period. Amounts are in `currency`'s major unit."""

    name: str
    period: str
    currency: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    state: str
    resets_at: str  # ISO 8601 with the zone's offset
    increase: Decimal = Decimal(0)  # how much of the limit was added for this period

    @classmethod
    def of(cls, budget: Mapping[str, Any]) -> Level:
        """From a budget of `status --json`."""
        return cls(
            budget["name"],
            budget["period"],
            budget["currency"],
            Decimal(budget["limit"]),
            Decimal(budget["spent"]),
            Decimal(budget["reserved"]),
            budget["state"],
            budget["resets_at"],
            Decimal(budget["increase"]),
        )

    @property
    def colour(self) -> str:
        return COLOURS.get(self.state, "default")

    @property
    def percent(self) -> str:
        """What is spent of the limit, cut and not rounded: 94.99 % is not yet 95 %."""
        return percent(self.spent, self.limit)

    def money(self, language: str) -> tuple[str, str]:
        """(spent, limit) as texts."""
        spent = with_unit(number(self.spent), self.currency, language)
        return spent, with_unit(number(self.limit), self.currency, language)


def bar(level: Level, width: int, *, blocks: bool) -> Text:
    """What is spent, then what calls in flight hold, then what is left."""
    from rich.text import Text

    spent = _cells(level.spent, level.limit, width)
    held = max(0, _cells(level.spent + level.reserved, level.limit, width) - spent)
    left = max(0, width - spent - held)
    full, part, empty = ("█", "▒", "░") if blocks else ("#", "+", ".")
    return Text.assemble((full * spent, level.colour), (part * held, level.colour), (empty * left, "bright_black"))


def _cells(amount: Decimal, limit: Decimal, width: int) -> int:
    if limit <= 0:
        return width
    return max(0, min(width, int(amount * width / limit)))  # cut: only a full budget has a full bar


def table(levels: list[Level], language: str, *, blocks: bool) -> Any:
    """Two lines a budget: name, bar, percent, amounts; below them period, state, what is held, the reset."""
    from rich.table import Table
    from rich.text import Text

    from proxy.core.text import say

    grid = Table.grid(padding=(0, 2))
    for _ in range(4):
        grid.add_column(overflow="fold")
    for level in levels:
        left = Text(f"  {level.name}\n  ")
        left.append(level.period, style="bright_black")
        gauge = bar(level, 20, blocks=blocks)
        gauge.append("\n")
        gauge.append(say(f"cli.budget.{level.state}", language), style=level.colour)
        spent, limit = level.money(language)
        figures = Text(f"{spent} / {limit}\n")
        if level.increase:
            added = with_unit(number(level.increase), level.currency, language)
            figures.append(say("cli.budget.raised", language, amount=added) + "\n", style="yellow")
        if level.reserved:
            held = with_unit(number(level.reserved), level.currency, language)
            figures.append(say("cli.budget.held", language, amount=held) + "\n", style="yellow")
        figures.append(say("cli.start.resets", language, when=moment(level.resets_at)), style="bright_black")
        grid.add_row(left, gauge, Text(level.percent, justify="right"), figures)
    return grid
