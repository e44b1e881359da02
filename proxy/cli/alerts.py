"""`spendgate alerts ...`: what was told, to whom it got through, and a test of every channel.

Reads and marks; deciding and delivering is the leader's work, except for `test`, which sends from here and now so that
a channel can be tried before any proxy runs.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option
from proxy.cli.place import opened, unreachable

if TYPE_CHECKING:
    from proxy.core.model import RuleSet
    from proxy.settings import Settings
    from proxy.state.outbox import DeadLetter, Outbox, Record

ACTIONS = ("list", "test", "dead", "retry", "ack")
SHOWN = 20
_COLOURS = {"info": "default", "warning": "yellow", "critical": "red"}


def command(frame: Frame) -> click.Command:
    def alerts(action: str, names: tuple[str, ...], as_json: bool, last: str | None, **flags: Any) -> int:
        settings = frame.settings(**flags)
        from proxy.cli.rules import load

        rules = load(frame, settings.rules)
        if action == "test":
            return _test(frame, settings, rules, names)
        if action == "list":
            return _list(frame, settings, rules, _count(frame, last), as_json=as_json)
        if action == "dead":
            return _dead(frame, settings, as_json=as_json)
        if action == "retry":
            return _retry(frame, settings, names)
        return _acknowledge(frame, settings, rules, names)

    return Command(
        "alerts",
        frame,
        callback=alerts,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS), metavar="|".join(ACTIONS)),
            click.Argument(["names"], nargs=-1, metavar="[NAME|ID]..."),
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--last", "-n", text="alerts_last", metavar="N"),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _count(frame: Frame, text: str | None) -> int:
    if text is None:
        return SHOWN
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        frame.fail("ledger.bad_last", text=text)
    return min(int(text), 10_000)


def _asking(frame: Frame, settings: Settings, ask: Callable[[Outbox], Awaitable[Any]], nothing: Any) -> Any:
    """The answer of the store; `nothing` where there is none yet. Ends the command when it does not answer."""
    from proxy.state.client import Client
    from proxy.state.keys import Keys
    from proxy.state.outbox import Outbox
    from proxy.state.store import StoreUnavailable

    async def work(url: str) -> Any:
        async with Client(url) as client:
            return await ask(Outbox(client, Keys(settings.tenant)))

    with opened(frame, settings) as place:
        if place.url is None:
            return nothing
        try:
            return asyncio.run(work(place.url))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


# --- what was told ----------------------------------------------------------------------------------------------------


def document(record: Record, language: str) -> dict[str, Any]:
    """An alert for programs; title and body in the reader's language."""
    from proxy.control.messages import Told, body_of, title_of

    told = Told(
        record.id, record.kind, record.severity, record.budget, record.facts, record.raised_at, record.resolved_at
    )
    return {
        "id": record.id,
        "kind": record.kind.value,
        "severity": record.severity.value,
        "state": record.state,
        "budget": record.budget,
        "title": title_of(told, language),
        "body": body_of(told, language),
        "raised_at": record.raised_at,
        "resolved_at": record.resolved_at or None,
        "acknowledged_at": record.acknowledged_at or None,
        "acknowledged_by": record.acknowledged_by or None,
        "facts": dict(record.facts),
        "deliveries": [
            {
                "channel": channel,
                "phase": phase,
                **{name: state.get(name) for name in ("state", "attempts", "at", "due", "error")},
            }
            for (channel, phase), state in sorted(record.deliveries.items())
        ],
    }


def _list(frame: Frame, settings: Settings, rules: RuleSet, count: int, *, as_json: bool) -> int:
    records = _asking(frame, settings, lambda outbox: outbox.history(count), [])
    rows = [document(record, frame.lang) for record in records]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return Exit.OK
    console = frame.console()
    if not rows:
        console.print(frame.say("alerts.none"))
        return Exit.OK
    from rich.table import Table
    from rich.text import Text

    from proxy.core.text import say

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black", expand=True)
    for key in ("alerts.at", "alerts.id", "alerts.severity"):
        table.add_column(frame.say(key), no_wrap=True)
    table.add_column(frame.say("alerts.what"), overflow="fold", ratio=3)
    table.add_column(frame.say("alerts.told"), overflow="fold", ratio=2)
    for row in rows:
        severity = Text(say(f"alert.severity.{row['severity']}", frame.lang), style=_COLOURS[row["severity"]])
        seen = f"\n{frame.say('alerts.seen', who=row['acknowledged_by'])}" if row["acknowledged_by"] else ""
        table.add_row(
            row["raised_at"][5:16].replace("T", " "),
            row["id"],
            severity,
            row["title"] + seen,
            "\n".join(_delivery(frame, one) for one in row["deliveries"]) or frame.say("alerts.nobody"),
        )
    console.print(table)
    return Exit.OK


def _delivery(frame: Frame, one: dict[str, Any]) -> str:
    state = frame.say(f"alerts.state.{one['state']}")
    return f"{one['channel']}: {state}" + (f" ({one['error']})" if one["error"] else "")


def _acknowledge(frame: Frame, settings: Settings, rules: RuleSet, names: Sequence[str]) -> int:
    if not names:
        frame.fail("alerts.which", hint="alerts.which_hint")
    who, now_ms = getpass.getuser(), time.time_ns() // 1_000_000

    async def mark(outbox: Outbox) -> list[str]:
        return [one for one in names if await outbox.acknowledge(one, who, now_ms, rules.timezone) is None]

    missing = _asking(frame, settings, mark, list(names))
    for name in names:
        if name not in missing:
            click.echo(frame.say("alerts.acknowledged", id=name))
    if missing:
        frame.fail("alerts.not_found", id=missing[0], code=Exit.FOUND)
    return Exit.OK


# --- what did not arrive ----------------------------------------------------------------------------------------------


def _dead(frame: Frame, settings: Settings, *, as_json: bool) -> int:
    letters: list[DeadLetter] = _asking(frame, settings, lambda outbox: outbox.dead(), [])
    if as_json:
        for letter in letters:
            names = ("entry", "alert", "channel", "phase", "attempts", "at", "error")
            click.echo(json.dumps({name: getattr(letter, name) for name in names}, ensure_ascii=False))
        return Exit.OK
    if not letters:
        click.echo(frame.say("alerts.no_dead"))
    for letter in letters:
        click.echo(
            frame.say(
                "alerts.dead_line",
                entry=letter.entry,
                alert=letter.alert,
                channel=letter.channel,
                count=letter.attempts,
                error=letter.error,
            )
        )
    return Exit.OK


def _retry(frame: Frame, settings: Settings, names: Sequence[str]) -> int:
    now_ms = time.time_ns() // 1_000_000

    async def again(outbox: Outbox) -> int:
        entries = list(names) or [letter.entry for letter in await outbox.dead(1000)]
        return await outbox.retry(entries, now_ms)

    click.echo(frame.say("alerts.retried", count=_asking(frame, settings, again, 0)))
    return Exit.OK


# --- a test -----------------------------------------------------------------------------------------------------------


def _test(frame: Frame, settings: Settings, rules: RuleSet, names: Sequence[str]) -> int:
    """Send a test to every channel, or to those named; tell what each said."""
    known = {channel.name: channel for channel in rules.channels}
    for name in names:
        if name not in known:
            frame.fail("alerts.no_channel", name=name, known=", ".join(known))
    from proxy.log import configure

    configure(settings.log_format, "info")  # where a channel is the log, the test is seen in it
    failures = asyncio.run(_send_tests([known[name] for name in names or known]))
    for name, reason in failures.items():
        way = known[name].way
        if reason is None:
            click.echo(frame.say("alerts.test_sent", channel=name, way=way))
        else:
            click.echo(frame.say("alerts.test_failed", channel=name, way=way, reason=reason))
    return Exit.FOUND if any(failures.values()) else Exit.OK


async def _send_tests(channels: Sequence[Any]) -> dict[str, str | None]:
    """Channel -> why it failed; None: it arrived."""
    from datetime import UTC, datetime

    from proxy.control.messages import Told, compose
    from proxy.control.notify import NotSent, Sender
    from proxy.core.alert_model import Kind, Severity

    now = datetime.now(UTC)
    found: dict[str, str | None] = {}
    sender = Sender()
    try:
        for channel in channels:
            test_id = f"test-{now:%Y%m%d%H%M%S}"
            facts = {"channel": channel.name}
            told = [Told(test_id, Kind.TEST, Severity.INFO, None, facts, now.isoformat(timespec="milliseconds"))]
            message = compose(told, channel.language)
            try:
                await sender.send(channel, message, told, f"{test_id}.{channel.name}", round(now.timestamp() * 1000))
                found[channel.name] = None
            except NotSent as error:
                found[channel.name] = str(error)
    finally:
        await sender.close()
    return found
