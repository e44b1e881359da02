"""`spendgate breaker ...`: which circuits are open, and opening, closing or resetting one by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.emergency import common, run
from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.settings import Settings
    from proxy.state.switches import Desk

ACTIONS = ("list", "open", "close", "reset")


def command(frame: Frame) -> click.Command:
    def breaker(action: str, name: str | None, **options: Any) -> int:
        if action == "list":
            settings = frame.settings(**{flag: options[flag] for flag in ("rules", "data", "redis")})
            return _list(frame, settings, as_json=options["as_json"])
        if name is None:
            frame.fail("breaker.no_name", action=action)
        return run(frame, lambda desk: _by_hand(frame, desk, name, action, options["reason"] or ""), options)

    return Command(
        "breaker",
        frame,
        callback=breaker,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS), metavar="|".join(ACTIONS)),
            click.Argument(["name"], required=False, metavar="[NAME]"),
            option(frame, "--reason", "-m", text="reason", metavar="TEXT"),
            option(frame, "--by", text="by", metavar="NAME"),
            *common(frame),
        ],
    )


def _list(frame: Frame, settings: Settings, *, as_json: bool) -> int:
    from proxy.cli import pressed
    from proxy.cli.status import take

    document = take(frame, settings)
    circuits = [one for api in document["apis"] for one in api.get("breakers", ())]
    if as_json:
        click.echo(json.dumps(circuits, ensure_ascii=False, indent=2))
    elif not circuits:
        click.echo(frame.say("breaker.none"))
    else:
        alone = {"apis": [{"name": "", "breakers": circuits}]}
        frame.console().print(pressed.table(frame, alone))
    return Exit.OK


async def _by_hand(frame: Frame, desk: Desk, name: str, action: str, reason: str) -> int:
    from proxy.state import breakers

    entry = await breakers.by_hand(desk, name, action, reason)
    before = frame.say(f"breaker.{entry.before}")
    click.echo(frame.say(f"breaker.done.{action}", name=name, before=before, number=entry.number))
    return Exit.OK
