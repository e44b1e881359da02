"""`spendgate plan`: next month's money by API, and the limits that would keep it."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option


def command(frame: Frame) -> click.Command:
    def plan(as_json: bool, **flags: Any) -> int:
        from proxy.cli.recommend import read
        from proxy.cli.rules import load
        from proxy.control.optimize.plan import next_month
        from proxy.control.optimize.told import plan as told

        settings = frame.settings(**flags)
        rules = load(frame, settings.rules, keys=False)
        now_ms = time.time_ns() // 1_000_000
        found, aside = read(frame, settings, rules, now_ms)
        advice = [one for one in found.recommendations if one.id not in aside]
        made = next_month(rules, found.expected, advice, now_ms)
        if as_json:
            click.echo(json.dumps(told(made), ensure_ascii=False))
            return Exit.OK
        if not made.lines:
            click.echo(frame.say("plan.none"))
            return Exit.OK
        _show(frame, told(made))
        return Exit.OK

    return Command(
        "plan",
        frame,
        callback=plan,
        params=[
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _show(frame: Frame, made: dict[str, Any]) -> None:
    from decimal import Decimal

    from rich.table import Table

    from proxy.core import money
    from proxy.core.figures import number, with_unit

    def amount(text: str) -> str:
        digits = "1" if money.exponent(made["currency"]) == 6 else "0.01"
        return with_unit(number(Decimal(text).quantize(Decimal(digits))), made["currency"], frame.lang)

    click.echo(frame.say("plan.month", month=made["month"], total=amount(made["total"])))
    if made["budget"] is not None:
        click.echo(frame.say("plan.fits" if made["fits"] else "plan.squeezed", budget=amount(made["budget"])))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    for index, head in enumerate(("api", "expected", "interval80", "saving", "limit")):
        table.add_column(frame.say(f"plan.head.{head}"), justify="left" if index == 0 else "right")
    for line in made["apis"]:
        low, high = map(amount, line["interval80"])
        table.add_row(
            line["api"], amount(line["expected"]), f"{low} – {high}", amount(line["saving"]), amount(line["limit"])
        )
    frame.console().print(table)
    if made["change"]:
        click.echo(frame.say("plan.change"))
        click.echo(made["change"].rstrip())
