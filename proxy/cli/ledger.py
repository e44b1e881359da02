"""`spendgate ledger`: finished calls and what they cost, the newest first."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option
from proxy.cli.place import opened, unreachable

if TYPE_CHECKING:
    from proxy.settings import Settings

SHOWN = 20
EVERYTHING = 2**31
_COLOURS = {"settled": "green", "estimated": "yellow", "unconfirmed": "yellow", "unpriced": "red"}


def command(frame: Frame) -> click.Command:
    def ledger(as_json: bool, last: str | None, call_id: str | None, **flags: Any) -> int:
        settings = frame.settings(**flags)
        count = _count(frame, last, EVERYTHING if as_json else SHOWN)
        rows: list[dict[str, Any]] = []
        # JSON lines leave one by one: a year of them need not fit into memory.
        each: Callable[[dict[str, Any]], None] = _print_line if as_json else rows.append
        found = read(frame, settings, count, call_id, each)
        if not found and call_id is not None:
            frame.fail("ledger.not_found", id=call_id, code=Exit.FOUND)
        if not as_json:
            _show(frame, rows)
        return Exit.OK

    return Command(
        "ledger",
        frame,
        callback=ledger,
        params=[
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--last", "-n", text="last", metavar="N"),
            option(frame, "--id", "call_id", text="id", metavar="ID"),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _count(frame: Frame, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        frame.fail("ledger.bad_last", text=text)
    return min(int(text), EVERYTHING)


def read(
    frame: Frame, settings: Settings, count: int, call_id: str | None, each: Callable[[dict[str, Any]], None]
) -> int:
    """Hands each entry to `each`; how many there were. Ends the command when the store does not answer."""
    from proxy.state.store import StoreUnavailable

    with opened(frame, settings) as place:
        if place.url is None:
            return 0
        try:
            return asyncio.run(_read(place.url, settings.tenant, count, call_id, each))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


async def _read(url: str, tenant: str, count: int, call_id: str | None, each: Callable[[dict[str, Any]], None]) -> int:
    from proxy.state.keys import Keys
    from proxy.state.ledger import Ledger
    from proxy.state.reading import Reader

    async with Reader(url) as reader:
        ledger = Ledger(reader, Keys(tenant))
        if call_id is not None:
            entry = await ledger.find(call_id)
            if entry is None:
                return 0
            each(entry)
            return 1
        number = 0
        async for entry in ledger.last(count, time.time_ns() // 1_000_000):
            each(entry)
            number += 1
        return number


def _print_line(entry: dict[str, Any]) -> None:
    click.echo(json.dumps(entry, ensure_ascii=False))


def _show(frame: Frame, rows: list[dict[str, Any]]) -> None:
    from decimal import Decimal

    from rich.table import Table
    from rich.text import Text

    from proxy.cli.help import cells
    from proxy.core.figures import number, with_unit

    console = frame.console()
    if not rows:
        console.print(frame.say("ledger.none"))
        return
    callers = {row["caller"] for row in rows} - {"anonymous"}
    lines = []
    for row in rows:
        cost = with_unit(number(Decimal(row["cost"])), row["currency"], frame.lang)
        state = frame.say(f"state.{row['state']}")
        when = row["at"][5:19].replace("T", " ")
        who = [row["caller"]] if callers else []
        call = f"{row['method']} {row['path']}"
        lines.append([when, row["rule"], *who, call, str(row["status"] or "-"), cost, state])
    keys = ["at", "rule", *(["caller"] if callers else []), "call", None, "cost", "state"]
    heads = [frame.say(f"ledger.{key}") if key else "" for key in keys]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    widths = [max(cells(line[index]) for line in [heads, *lines]) for index in range(len(heads))]
    flexible = keys.index("call")
    rest = sum(widths) - widths[flexible] + 2 * len(widths)
    widths[flexible] = max(12, min(widths[flexible], console.width - rest))
    for index, head in enumerate(heads):
        justify: Any = "right" if keys[index] in (None, "cost") else "left"
        table.add_column(head, width=widths[index], no_wrap=True, overflow="ellipsis", justify=justify)
    for row, line in zip(rows, lines, strict=True):
        table.add_row(*line[:-1], Text(line[-1], style=_COLOURS[row["state"]]))
    console.print(table)
