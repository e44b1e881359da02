"""What a person sees of the demonstration: a line a round, every refusal in full, and the budget's bar below it all.

On a terminal the bar stays at the bottom and moves; elsewhere the same lines are plain text. Decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from proxy.cli.frame import Frame
from proxy.cli.help import wrap
from proxy.cli.levels import Level, bar
from proxy.core.figures import number, with_unit
from proxy.demo.story import Step

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

WIDEST = 96
BAR = 24


class Stage:
    """The screen. Mutable: the level on the bar, and how many rounds have been shown."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        console = frame.console()
        self.console: Console = console if console.width <= WIDEST else frame.console(width=WIDEST)
        self._live: Live | None = None
        self._blocks = frame.blocks()
        self._shown = Decimal(0)
        self._spent = Decimal(0)
        self._percent = ""
        self._round = 0

    def open(self) -> None:
        from rich.text import Text

        self.console.print()
        title = Text.assemble((" spendgate demo ", "bold reverse"), "  ", self.frame.say("demo.title"))
        self.console.print(title)
        self.console.print()
        for line in wrap(self.frame.say("demo.plot"), self.console.width, "  "):
            self.console.print(line, style="bright_black")
        self.console.print()
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(console=self.console, refresh_per_second=20, transient=True)
            self._live.start()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def level(self, level: Level) -> None:
        self._spent, self._percent = level.spent, level.percent
        if self._live is not None:
            self._live.update(self._gauge(level))

    def _gauge(self, level: Level) -> RenderableType:
        from rich.text import Text

        line = Text("\n  ")
        line.append_text(bar(level, BAR, blocks=self._blocks))
        line.append(f"  {level.percent}", style=level.colour)
        spent, limit = level.money(self.frame.lang)
        line.append(f"  {spent} / {limit}  ")
        line.append(self.frame.say(f"budget.{level.state}"), style=level.colour)
        return line

    # --- lines

    def calls(self, line: Sequence[tuple[str, int]]) -> None:
        """The calls of a round that passed, on one line, with what they cost together."""
        from rich.text import Text

        counts: dict[tuple[str, int], int] = {}
        for call in line:
            counts[call] = counts.get(call, 0) + 1
        text = Text("  ")
        for (label, status), count in counts.items():
            times = f" x{count}" if count > 1 else ""
            text.append(f"{self.frame.say(f'demo.short.{label}')}{times} ")
            text.append(f"{status}   ", style="green")
        cost, self._shown = self._spent - self._shown, self._spent
        text.append(f"+ {self._money(cost)}", style="bright_black")
        text.append(f"   {self._percent}", style="bright_black")
        self.console.print(text)

    def passed(self, step: Step, status: int) -> None:
        from rich.text import Text

        self._shown = self._spent
        cost = f"+ {self._money(step.cost)}" if step.cost else self.frame.say("demo.costs_nothing")
        text = Text.assemble(
            ("  ok  " if not self._blocks else "  ✓  ", "bold green"),
            (f"{status}  ", "bold green"),
            f"{self.frame.say(f'demo.label.{step.label}')}   ",
            (cost, "bright_black"),
        )
        self.console.print(text)

    def refused(self, step: Step, status: int, problem: Mapping[str, Any]) -> None:
        from rich.text import Text

        text = Text.assemble(
            ("  no  " if not self._blocks else "  ✗  ", "bold red"),
            (f"{status} {problem.get('reason')}", "bold red"),
            f"   {self.frame.say(f'demo.label.{step.label}')}",
        )
        self.console.print(text)
        for line in wrap(str(problem.get("detail", "")), self.console.width, " " * 10):
            self.console.print(line, style="bright_black")

    def failed(self, step: Step, status: int) -> None:
        """The API itself failed; the answer is passed on as it is."""
        from rich.text import Text

        mark = "▲" if self._blocks else "!"
        label = self.frame.say(f"demo.label.{step.label}")
        self.console.print(Text.assemble((f"  {mark}   {status}  ", "bold yellow"), label))

    def told(self, key: str) -> None:
        self.console.print(f"          {self.frame.say(key)}", style="bright_black")

    def crossed(self, threshold_bp: int) -> None:
        percent = f"{threshold_bp / 100:g}"
        key = {9500: "demo.crossed_restrict", 10000: "demo.crossed_stop"}.get(threshold_bp, "demo.crossed_warn")
        mark = "▲" if self._blocks else "!"
        self.console.print(f"  {mark}  {self.frame.say(key, percent=percent)}", style="bold yellow")

    def chapter(self, key: str) -> None:
        self.console.print()
        self.console.print(f"  {self.frame.say(key)}", style="bold")

    def summary(
        self,
        level: Level,
        crossed: Sequence[object],
        calls: int,
        refused: Mapping[str, int],
        billed: Mapping[str, Decimal],
    ) -> None:
        from rich.table import Table

        self.close()
        say, lang = self.frame.say, self.frame.lang
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bright_black", no_wrap=True)
        grid.add_column(overflow="fold")
        spent, limit = level.money(lang)
        grid.add_row(f"  {say('demo.sum.spent')}", f"{spent} / {limit}")
        grid.add_row(f"  {say('demo.sum.billed')}", ", ".join(self._money(sum_) for sum_ in billed.values()))
        grid.add_row(f"  {say('demo.sum.crossed')}", ", ".join(f"{percent} %" for percent in crossed))
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        grid.add_row(
            f"  {say('demo.sum.refused')}", say("demo.sum.refusals", refused=sum(refused.values()), calls=calls)
        )
        grid.add_row("", reasons)
        self.console.print()
        self.console.print(f"  {say('demo.sum.title')}", style="bold")
        self.console.print(grid)
        self.console.print()
        for line in wrap(say("demo.sum.next"), self.console.width, "  "):
            self.console.print(line, style="bright_black")
        self.console.print()

    def dashboard(self, url: str) -> None:
        """Where the dashboard is, which stays open."""
        self.console.print(f"  {self.frame.say('demo.dashboard')}", style="bold")
        self.console.print(f"  {url}", style="cyan underline")
        self.console.print(f"  {self.frame.say('demo.dashboard_ends')}", style="bright_black")
        self.console.print()

    def _money(self, value: Decimal) -> str:
        return with_unit(number(value), "KRW", self.frame.lang)
