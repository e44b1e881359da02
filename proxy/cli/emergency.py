"""`spendgate emergency ...`: the hand on the tap, straight in the store: it works with and without a running proxy.

Who is told in the audit trail is the system's user, or --by. Effective in every proxy at its next request.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from proxy.cli import incidents
from proxy.cli.frame import Exit, Failure, Frame
from proxy.cli.help import Command, option
from proxy.cli.place import opened, quiet, unreachable

if TYPE_CHECKING:
    from proxy.state.audit import Entry
    from proxy.state.switches import Desk

ACTIONS = ("status", "stop", "block", "lift", "bypass", "increase", "approve", "undo", "incidents", "incident")
_WORDS = {"block": 1, "lift": 1, "increase": 2, "approve": 1, "undo": 1}  # how many each takes


def command(frame: Frame) -> click.Command:
    def emergency(action: str, what: tuple[str, ...], **options: Any) -> int:
        if not (incidents.fits(what) if action == "incident" else len(what) == _WORDS.get(action, 0)):
            frame.fail("emergency.words", action=action, usage=frame.say(f"emergency.usage.{action}"))
        return run(frame, lambda desk: _act(frame, desk, action, what, options), options)

    return Command(
        "emergency",
        frame,
        callback=emergency,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS), metavar="ACTION"),
            click.Argument(["what"], nargs=-1, metavar="[WHAT]..."),
            option(frame, "--reason", "-m", text="reason", metavar="TEXT"),
            option(frame, "--until", text="until", metavar="TIME"),
            option(frame, "--by", text="by", metavar="NAME"),
            option(frame, "--note", text="note", metavar="TEXT"),
            option(frame, "--all", "everything", text="all_incidents", is_flag=True),
            *common(frame),
        ],
    )


def common(frame: Frame) -> list[click.Parameter]:
    return [
        option(frame, "--json", "as_json", text="json", is_flag=True),
        option(frame, "--rules", text="rules", metavar="FILE"),
        option(frame, "--data", text="data", metavar="DIR"),
        option(frame, "--redis", text="redis", metavar="URL"),
    ]


def person() -> str:
    """The system's name of whoever runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def run(frame: Frame, work: Callable[[Desk], Awaitable[int]], options: dict[str, Any]) -> int:
    """Do something at the desk; what cannot be done ends the command with its sentence."""
    from proxy.cli.rules import load
    from proxy.core.text import say
    from proxy.state.audit import Refused
    from proxy.state.store import StoreUnavailable

    settings = frame.settings(**{name: options.get(name) for name in ("rules", "data", "redis")})
    rules = load(frame, settings.rules, keys=False)
    quiet()

    async def at_the_desk(url: str) -> int:
        from proxy.state.audit import Who
        from proxy.state.client import Client
        from proxy.state.keys import Keys
        from proxy.state.switches import Desk

        async with Client(url) as client:
            who = Who(options.get("by") or person(), "cli")
            return await work(Desk(client, Keys(settings.tenant), rules, who, await client.now_ms()))

    with opened(frame, settings) as place:
        if place.url is None:
            frame.fail("emergency.nothing", where=place.where, code=Exit.UNREACHABLE)
        try:
            return asyncio.run(at_the_desk(place.url))
        except Refused as refused:
            raise Failure(say(f"switches.{refused.reason}", frame.lang, **refused.values), code=Exit.FOUND) from None
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


async def _act(frame: Frame, desk: Desk, action: str, what: tuple[str, ...], options: dict[str, Any]) -> int:
    from proxy.state import switches

    if action == "status":
        return await _status(frame, desk, as_json=options["as_json"])
    if action in ("incidents", "incident"):
        return await incidents.act(frame, desk, what, options)
    reason = options["reason"] or ""
    until = until_of(desk, options["until"])
    if action == "stop":
        entry = await switches.stop(desk, reason, until)
    elif action == "block":
        entry = await switches.block(desk, what[0], reason, until)
    elif action == "lift":
        entry = await switches.lift(desk, what[0], reason, until)
    elif action == "bypass":
        entry = await switches.bypass(desk, reason, until)
    elif action == "increase":
        entry = await switches.increase(desk, what[0], _atoms(desk, *what), reason)
    else:
        number = _number(what[0])
        doing = switches.approve if action == "approve" else switches.undo
        entry = await doing(desk, number, reason)
    tell(frame, entry, as_json=options["as_json"])
    return Exit.OK


def until_of(desk: Desk, text: str | None) -> int | None:
    from proxy.core.moments import until_ms
    from proxy.state.audit import Refused

    if text is None:
        return None
    try:
        return until_ms(text, desk.now_ms, desk.rules.timezone)
    except (ValueError, OverflowError):
        raise Refused("bad_until", until=text[:40]) from None


def _atoms(desk: Desk, name: str, text: str) -> int:
    from proxy.core.money import atoms_of
    from proxy.state.audit import Refused

    currency = next((b.currency for b in desk.rules.budgets if b.name == name), desk.rules.currency)
    atoms = atoms_of(text, currency)
    if atoms is None:
        raise Refused("bad_amount", amount=text[:40])
    return atoms


def _number(text: str) -> int:
    from proxy.state.audit import Refused

    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**12):
        raise Refused("no_entry", number=text[:20])
    return int(text)


def tell(frame: Frame, entry: Entry, *, as_json: bool) -> None:
    """What was done, and how to take it back."""
    if as_json:
        click.echo(json.dumps(as_document(entry), ensure_ascii=False))
        return
    key = f"emergency.done.{entry.action}"
    click.echo(frame.say(key, target=entry.target, until=entry.until[:16].replace("T", " "), after=entry.after,
                         number=entry.number, undoes=entry.undoes))  # fmt: skip
    if entry.until and entry.action in ("stop", "block"):
        click.echo(frame.say("emergency.until", until=entry.until[:16].replace("T", " ")))
    if entry.undo:
        click.echo(frame.say("emergency.undo", number=entry.number))
    elif entry.action == "increase.asked":
        click.echo(frame.say("emergency.approve", number=entry.number))


def as_document(entry: Entry) -> dict[str, Any]:
    document: dict[str, Any] = {**entry.fields(), "number": entry.number, "undoable": bool(entry.undo)}
    document["until"] = entry.until or None
    document["undoes"] = int(entry.undoes) if entry.undoes else None
    del document["undo"], document["previous"]
    return document


async def _status(frame: Frame, desk: Desk, *, as_json: bool) -> int:
    from proxy.state import switches

    found = await switches.active(desk.client, desk.keys, desk.now_ms)
    waiting = await switches.waiting(desk.client, desk.keys, desk.now_ms, desk.rules.timezone)
    rows = [
        {"switch": one.field, "until": desk.iso(one.until_ms) if one.until_ms else None, "entry": one.entry}
        for one in found
    ]
    if as_json:
        document = {"switches": rows, "waiting": [as_document(entry) for entry in waiting]}
        click.echo(json.dumps(document, ensure_ascii=False))
        return Exit.OK
    if not rows and not waiting:
        click.echo(frame.say("emergency.quiet"))
    for row in rows:
        until = frame.say("emergency.forever") if row["until"] is None else str(row["until"])[:16].replace("T", " ")
        click.echo(frame.say("emergency.row", switch=row["switch"], until=until, entry=row["entry"]))
    for entry in waiting:
        click.echo(frame.say("emergency.waiting", number=entry.number, target=entry.target, by=entry.by))
    if opened := await incidents.open_now(desk):
        click.echo(frame.say("incident.open_now", count=opened))
    return Exit.OK
