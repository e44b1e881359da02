"""`spendgate audit list|verify`: who did what, when and why, and whether the chain of it is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.emergency import as_document, common, run
from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.state.switches import Desk

SHOWN = 20


def command(frame: Frame) -> click.Command:
    def audit(action: str, last: str | None, head: str | None, **options: Any) -> int:
        if last is not None and not (last.isascii() and last.isdigit() and 0 < int(last) <= 100_000):
            frame.fail("ledger.bad_last", text=last)
        count = int(last or SHOWN)
        if action == "verify":
            return run(frame, lambda desk: _verify(frame, desk, head, as_json=options["as_json"]), options)
        return run(frame, lambda desk: _list(frame, desk, count, as_json=options["as_json"]), options)

    return Command(
        "audit",
        frame,
        callback=audit,
        params=[
            click.Argument(["action"], type=click.Choice(("list", "verify")), metavar="list|verify"),
            option(frame, "--last", "-n", text="audit_last", metavar="N"),
            option(frame, "--head", text="audit_head", metavar="HASH"),
            *common(frame),
        ],
    )


async def _list(frame: Frame, desk: Desk, count: int, *, as_json: bool) -> int:
    from proxy.state import audit

    found = await audit.last(desk.client, desk.keys, count)
    if as_json:
        for entry in found:
            click.echo(json.dumps(as_document(entry), ensure_ascii=False))
        return Exit.OK
    if not found:
        click.echo(frame.say("audit.none"))
        return Exit.OK
    from rich.table import Table

    console = frame.console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    for key in ("number", "at", "by", "action", "target", "until", "reason"):
        table.add_column(frame.say(f"audit.{key}"), overflow="fold")
    for entry in found:
        when, until = entry.at[:19].replace("T", " "), entry.until[:16].replace("T", " ")
        target = f"{entry.target} ({entry.undoes})" if entry.undoes else entry.target
        table.add_row(str(entry.number), when, entry.by, entry.action, target, until, entry.reason)
    console.print(table)
    return Exit.OK


async def _verify(frame: Frame, desk: Desk, head: str | None, *, as_json: bool) -> int:
    from proxy.state import audit

    found = await audit.verify(desk.client, desk.keys, head)
    if as_json:
        document = {
            "sound": found.sound,
            "entries": found.entries,
            "head": found.head,
            "broken_at": found.broken_at,
            "what": found.what or None,
        }
        click.echo(json.dumps(document))
    elif found.sound:
        click.echo(frame.say("audit.sound", count=found.entries, head=found.head or "-"))
    else:
        click.echo(frame.say(f"audit.broken.{found.what}", number=found.broken_at or 0))
    return Exit.OK if found.sound else Exit.FOUND
