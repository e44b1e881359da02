"""`spendgate breaker ...`: which circuits are open, and opening, closing or resetting one by hand."""

from __future__ import annotations

import asyncio
import getpass
import json
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option
from proxy.cli.place import opened, unreachable

if TYPE_CHECKING:
    from proxy.core.model import RuleSet
    from proxy.settings import Settings

ACTIONS = ("list", "open", "close", "reset")


def command(frame: Frame) -> click.Command:
    def breaker(action: str, name: str | None, reason: str | None, as_json: bool, **flags: Any) -> int:
        settings = frame.settings(**flags)
        if action == "list":
            return _list(frame, settings, as_json=as_json)
        from proxy.cli.rules import load

        known = _names(load(frame, settings.rules, keys=False))
        if name is None or name not in known:
            frame.fail("breaker.unknown", hint="breaker.unknown_hint", name=name or "-", known=", ".join(known) or "-")
        if not reason or not reason.strip():
            frame.fail("breaker.no_reason", hint="breaker.no_reason_hint", action=action, name=name)
        before = _by_hand(frame, settings, name, action, reason.strip())
        click.echo(frame.say(f"breaker.done.{action}", name=name, before=frame.say(f"breaker.{before}")))
        return Exit.OK

    return Command(
        "breaker",
        frame,
        callback=breaker,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS), metavar="|".join(ACTIONS)),
            click.Argument(["name"], required=False, metavar="[NAME]"),
            option(frame, "--reason", text="reason", metavar="TEXT"),
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _names(rules: RuleSet) -> list[str]:
    found = [api.breaker for api in rules.apis] + [rule.breaker for api in rules.apis for rule in api.rules]
    return [one.name for one in found if one is not None]


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


def _by_hand(frame: Frame, settings: Settings, name: str, action: str, reason: str) -> str:
    from proxy.state import breakers
    from proxy.state.keys import Keys
    from proxy.state.store import Store, StoreUnavailable

    async def write(url: str) -> str:
        store = Store(url)
        try:
            if not await store.start():
                raise StoreUnavailable(store.reason)
            return await breakers.by_hand(store, Keys(settings.tenant), name, action, f"{_who()}: {reason}")
        finally:
            await store.close()

    with opened(frame, settings) as place:
        if place.url is None:
            frame.fail("breaker.no_store", code=Exit.UNREACHABLE, place=place.where)
        try:
            return asyncio.run(write(place.url))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "-"
