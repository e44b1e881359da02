"""`spendgate status`: where the money stands, for people and for programs, once or kept on the screen."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from proxy.cli import pressed
from proxy.cli.frame import Frame
from proxy.cli.help import Command, option
from proxy.cli.place import opened, unreachable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from proxy.settings import Settings

EVERY_S = 1.0
WIDEST = 96


def command(frame: Frame) -> click.Command:
    def status(as_json: bool, watch: bool, **flags: Any) -> None:
        settings = frame.settings(**flags)
        if watch:
            _watch(frame, settings, as_json=as_json)
        elif as_json:
            click.echo(json.dumps(take(frame, settings), ensure_ascii=False, indent=2))
        else:
            console = _console(frame)
            console.print(page(frame, take(frame, settings)))

    return Command(
        "status",
        frame,
        callback=status,
        params=[
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--watch", "-w", text="watch", is_flag=True),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def take(frame: Frame, settings: Settings) -> dict[str, Any]:
    """The document of `status --json`. Ends the command when the store does not answer."""
    from proxy.cli import snapshot
    from proxy.cli.rules import load_loosely
    from proxy.state.store import StoreUnavailable

    loaded = load_loosely(frame, settings.rules)
    with opened(frame, settings) as place:
        try:
            return asyncio.run(snapshot.take(settings, loaded, place, frame.lang, time.time_ns() // 1_000_000))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


def _console(frame: Frame) -> Console:
    console = frame.console()
    return console if console.width <= WIDEST else frame.console(width=WIDEST)


def _watch(frame: Frame, settings: Settings, *, as_json: bool) -> None:
    """Until Ctrl-C. As JSON: one document a line, a line a second."""
    if as_json:
        while True:
            click.echo(json.dumps(take(frame, settings), ensure_ascii=False))
            time.sleep(EVERY_S)
    console = _console(frame)
    if not sys.stdout.isatty():
        while True:
            console.print(page(frame, take(frame, settings)))
            time.sleep(EVERY_S)
    from rich.live import Live

    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(_screen(frame, console, page(frame, take(frame, settings))), refresh=True)
            time.sleep(EVERY_S)


def _screen(frame: Frame, console: Console, content: RenderableType) -> RenderableType:
    """The page with a last line that says how fresh it is; what does not fit is cut, and the line says so."""
    from rich.console import Group
    from rich.segment import SegmentLines

    lines = console.render_lines(content, pad=False)
    room = max(1, console.height - 1)
    over = len(lines) - room
    last = _grey(frame.say("status.as_of", time=time.strftime("%H:%M:%S")))
    if over > 0:
        last = _grey(frame.say("status.more", count=over))
    return Group(SegmentLines(lines[:room], new_lines=True), last)


# --- for people -------------------------------------------------------------------------------------------------------


def page(frame: Frame, document: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from proxy.cli.levels import Level, table

    parts: list[RenderableType] = [Text(), _title(frame, "status.budgets")]
    levels = [Level.of(budget) for budget in document["budgets"]]
    parts.append(table(levels, frame.lang, blocks=frame.blocks()) if levels else _grey(frame.say("start.no_budgets")))
    outlooks = [budget for budget in document["budgets"] if budget["outlook"] and budget["spent"] != "0"]
    if outlooks:
        parts += [Text(), _title(frame, "status.outlook"), _outlook(frame, outlooks)]
    if document["apis"]:
        parts += [Text(), _title(frame, "status.apis"), _apis(frame, document["apis"])]
    guards = pressed.table(frame, document)
    if guards is not None:
        parts += [Text(), _title(frame, "status.guards"), guards]
    parts += [Text(), _title(frame, "status.running"), _running(frame, document)]
    attention = _attention(frame, document)
    if attention:
        parts += [Text(), _title(frame, "status.attention"), *attention]
    parts.append(Text())
    return Group(*parts)


def _title(frame: Frame, key: str) -> RenderableType:
    from rich.text import Text

    return Text(f"  {frame.say(key)}", style="bright_black")


def _grey(text: str) -> RenderableType:
    from rich.text import Text

    return Text(f"  {text}", style="bright_black")


def _outlook(frame: Frame, budgets: list[dict[str, Any]]) -> RenderableType:
    """Where each period will end and who says so; below, when the next thresholds come."""
    from decimal import Decimal

    from rich.table import Table
    from rich.text import Text

    from proxy.core.figures import moment, number, with_unit

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for budget in budgets:

        def money(text: str, currency: str = budget["currency"]) -> str:
            whole = Decimal(text)
            return with_unit(number(Decimal(round(whole)) if whole >= 100 else whole), currency, frame.lang)

        made = budget["outlook"]["projection"]
        line = Text(frame.say("status.projected", expected=money(made["expected"]), period=budget["period"]))
        if made["over"] != "0":
            line.append(f", {frame.say('status.over', over=money(made['over']))}", style="red")
        low_high = made["interval80"]
        said = [frame.say("status.made_by", name=_made_by(frame, made["made_by"]))]
        if low_high is not None:
            said.insert(0, frame.say("status.between", low=money(low_high[0]), high=money(low_high[1])))
        coming = [
            frame.say("status.comes", percent=one["percent"], when=moment(one["expected_at"]))
            for one in budget["outlook"]["thresholds"]
            if one["expected_at"] is not None
        ]
        line.append(f"\n{', '.join(said)}", style="bright_black")
        if coming:
            line.append(f"\n{', '.join(coming[:3])}", style="bright_black")
        grid.add_row(f"  {budget['name']}", line)
    return grid


def _made_by(frame: Frame, name: str) -> str:
    from proxy.core.text import say

    known = f"alert.made_by.{name}" in _catalogue()
    return say(f"alert.made_by.{name}", frame.lang) if known else say("alert.made_by.other", frame.lang, name=name)


def _apis(frame: Frame, apis: list[dict[str, Any]]) -> RenderableType:
    from decimal import Decimal

    from rich.table import Table

    from proxy.core.figures import number, with_unit

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    grid.add_column(f"  {frame.say('status.api')}", overflow="fold")
    saves = any(Decimal(api["month"]["saved"]) for api in apis)
    saved_column = ("status.saved",) if saves else ()
    for key in ("status.month", "status.today", *saved_column, "status.calls", "status.refused"):
        grid.add_column(frame.say(key), justify="right")
    for api in apis:
        refused = sum(api["month"]["refused"].values())
        name = frame.say("status.no_api") if api["name"] == "-" else api["name"]
        month, today = api["month"], api["today"]
        amounts = [month["cost"], today["cost"], *([month["saved"]] if saves else [])]
        shown = [with_unit(number(Decimal(amount)), api["currency"], frame.lang) for amount in amounts]
        grid.add_row(f"  {name}", *shown, f"{month['calls']:,}", f"{refused:,}")
    return grid


def _running(frame: Frame, document: dict[str, Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from proxy.core.figures import moment

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    proxies = document["proxies"]
    for info in proxies:
        what = frame.say(
            "status.proxy_value", host=info["host"], pid=info["pid"], started=moment(info["started_at"], here=True)
        )
        grid.add_row(f"  {frame.say('start.listen')}", f"{info['listen']}  {what}")
    if not proxies:
        grid.add_row(f"  {frame.say('start.listen')}", Text(frame.say("status.no_proxy"), style="bright_black"))
    rules, store = document["rules"], document["store"]
    loaded = frame.say("status.loaded", when=moment(rules["loaded_at"], here=True)) if rules["loaded_at"] else ""
    text = f"{rules['file']}  {rules['hash'] or '-'}  {loaded}".rstrip()
    grid.add_row(f"  {frame.say('start.rules')}", text)
    where = frame.say("start.embedded", place=store["where"]) if store["kind"] == "embedded" else store["where"]
    if not store["reachable"]:
        where = frame.say("status.no_store", where=store["where"])
    grid.add_row(f"  {frame.say('start.store')}", where)
    if document["in_flight"]:
        grid.add_row(f"  {frame.say('status.in_flight')}", str(document["in_flight"]))
    return grid


def _attention(frame: Frame, document: dict[str, Any]) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    lines: list[tuple[str, str]] = [(error, "red") for error in document["rules"]["errors"]]
    rules = document["rules"]
    if rules["running_hash"] and rules["hash"] and rules["running_hash"] != rules["hash"]:
        lines.append((frame.say("status.other_rules", hash=rules["running_hash"]), "yellow"))
    lines += [
        (frame.say("status.pending", count=info["pending_settlements"], pid=info["pid"]), "yellow")
        for info in document["proxies"]
        if info["pending_settlements"]
    ]
    for note in document["notes"]:
        if note["note"].startswith("cache_"):
            continue  # good news: it stands in the column of what was saved
        key = f"note.{note['note']}"
        known = key if f"cli.{key}" in _catalogue() else "note.other"
        lines.append((frame.say(known, count=note["count"], api=note["api"], note=note["note"]), "yellow"))
    return [Padding(Text(text, style=style), (0, 2)) for text, style in lines]


def _catalogue() -> Any:
    from proxy.core.text import CATALOGUE

    return CATALOGUE
