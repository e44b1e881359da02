"""`spendgate services ...`: how services are, what would be done, and the hand that stops and starts them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.emergency import as_document, common, run
from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.state.switches import Desk

ACTIONS = ("list", "plan", "stop", "start", "auto")
_BY_HAND = ("stop", "start", "auto")


def command(frame: Frame) -> click.Command:
    def services(action: str, what: tuple[str, ...], at: str | None, **options: Any) -> int:
        if len(what) != (1 if action in _BY_HAND else 0):
            frame.fail("services.words", action=action)
        if at is not None and not (at.isascii() and at.isdigit() and int(at) <= 100):
            frame.fail("services.bad_at", at=at)
        percent = None if at is None else int(at)
        return run(frame, lambda desk: _do(frame, desk, action, what, percent, options), options)

    return Command(
        "services",
        frame,
        callback=services,
        params=[
            click.Argument(["action"], type=click.Choice(ACTIONS), metavar="|".join(ACTIONS)),
            click.Argument(["what"], nargs=-1, metavar="[NAME]"),
            option(frame, "--at", text="services_at", metavar="PERCENT"),
            option(frame, "--reason", "-m", text="reason", metavar="TEXT"),
            option(frame, "--by", text="by", metavar="NAME"),
            *common(frame),
        ],
    )


async def _do(
    frame: Frame, desk: Desk, action: str, what: tuple[str, ...], percent: int | None, options: dict[str, Any]
) -> int:
    if action in _BY_HAND:
        from proxy.state import services as kept

        entry = await kept.by_hand(desk, what[0], action, options["reason"] or "")
        if options["as_json"]:
            click.echo(json.dumps(as_document(entry), ensure_ascii=False))
        else:
            click.echo(frame.say(f"services.hand.{action}", name=what[0]))
        return Exit.OK
    from proxy.control import services
    from proxy.control.services_plan import State, rehearsal, wanted

    rules = desk.rules
    states, hand, want = await services.look(desk.client, desk.keys, rules, desk.now_ms)
    if action == "plan":
        if percent is not None:
            want = wanted(rules.services, services.at_percent(rules, percent), services.unscoped(rules), hand)
        rounds = rehearsal(rules.services, want, states)
        _plan(frame, [[(s.service.name, s.start, s.reason) for s in batch] for batch in rounds], options)
        return Exit.OK
    rows = []
    for service in rules.services:
        state = states.get(service.name, State())
        rows.append(
            {
                "name": service.name,
                "priority": service.priority,
                "runs": state.runs is not False,
                "wanted": want[service.name][0],
                "why": want[service.name][1],
                "by_hand": hand.get(service.name),
                "tries": state.tries,
                "error": state.error or None,
            }
        )
    if options["as_json"]:
        click.echo(json.dumps({"services": rows}, ensure_ascii=False))
        return Exit.OK
    if not rows:
        click.echo(frame.say("services.none"))
    for row in rows:
        word = "runs" if row["runs"] else "stopped"
        if row["runs"] != row["wanted"]:
            word = "starting" if row["wanted"] else "stopping"
        told = frame.say(
            "services.row", name=row["name"], priority=row["priority"], state=frame.say(f"services.{word}")
        )
        reason = "" if row["why"] == "money" else f"  ({row['why']})"
        failed = f"  {frame.say('services.failed', tries=row['tries'], error=row['error'])}" if row["error"] else ""
        click.echo(told + reason + failed)
    return Exit.OK


def _plan(frame: Frame, rounds: list[list[tuple[str, bool, str]]], options: dict[str, Any]) -> None:
    if options["as_json"]:
        document = [
            [{"service": name, "action": "start" if start else "stop", "why": why} for name, start, why in batch]
            for batch in rounds
        ]
        click.echo(json.dumps({"rounds": document}, ensure_ascii=False))
        return
    if not rounds:
        click.echo(frame.say("services.nothing"))
    for number, batch in enumerate(rounds, 1):
        for name, start, why in batch:
            word = "start" if start else "stop"
            click.echo(frame.say(f"services.step.{word}", number=number, name=name, why=why))
