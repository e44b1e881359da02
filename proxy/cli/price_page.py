"""The page of `spendgate price` for people: the call, the rules in order, the estimate, the actual cost, each term."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from proxy.cli.frame import Frame
from proxy.core import money, quota
from proxy.core.figures import amount, with_unit
from proxy.core.model import Bill, Cost, Estimate, RuleSet, State
from proxy.core.trial import Priced

if TYPE_CHECKING:
    from rich.console import Console

_STATE_COLOURS = {State.SETTLED: "green", State.ESTIMATED: "yellow", State.UNCONFIRMED: "yellow", State.UNPRICED: "red"}


def show(frame: Frame, rules: RuleSet, priced: Priced, used_units: int) -> None:
    console = frame.console()
    console.print(f"{priced.request.method} {priced.request.url}", style="bold", soft_wrap=True)
    console.print()
    _rules(console, frame, priced)
    if priced.rule is None:
        key = "price.no_api" if priced.api is None else "price.no_rule"
        console.print(frame.say(key, host=priced.request.host), style="red")
        console.print(frame.say("price.observed" if priced.observed else "price.denied"))
        return
    assert priced.estimate is not None  # noqa: S101 - a rule always has an estimate
    _estimate(console, frame, rules, priced.estimate, used_units)
    _ladder(console, frame, rules, priced)
    if priced.bill is None:
        _terms(console, frame, rules, quota.cost_at(priced.estimate, used_units))
        console.print(frame.say("price.no_response"), style="bright_black")
        return
    _bill(console, frame, rules, priced.bill)


def _rules(console: Console, frame: Frame, priced: Priced) -> None:
    from rich.table import Table
    from rich.text import Text

    if priced.api is None:
        return
    console.print(frame.say("price.rules", api=priced.api.name))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for rule, why_not in priced.tried:
        if why_not is None:
            grid.add_row(Text("  =>", style="bold green"), Text(rule.id, style="bold green"), rule.where)
        else:
            grid.add_row("    ", Text(rule.id, style="bright_black"), Text(why_not, style="bright_black"))
    console.print(grid)
    console.print()


def _estimate(console: Console, frame: Frame, rules: RuleSet, estimate: Estimate, used_units: int) -> None:
    shown = amount(quota.cost_at(estimate, used_units).atoms[rules.currency], rules.currency, frame.lang)
    basis = frame.say(f"price.basis.{estimate.basis}")
    line = frame.say("price.estimate", amount=shown, basis=basis)
    console.print(line, style="bold")
    if estimate.usage:
        console.print(f"  {_counts(estimate.usage)}", style="bright_black")
    if estimate.quota is not None:
        console.print(
            f"  {frame.say('price.quota', used=money.plain(Decimal(used_units) / 1000))}", style="bright_black"
        )
    if estimate.problem:
        console.print(f"  {frame.say('price.note', note=estimate.problem)}", style="yellow")
    console.print()


def _ladder(console: Console, frame: Frame, rules: RuleSet, priced: Priced) -> None:
    """What the call becomes when the budget nears its end."""
    for rung in priced.rungs:
        if rung.estimate is None:
            line = frame.say("price.rung_as_asked", percent=f"{rung.at_bp / 100:g}")
        else:
            shown = amount(rung.estimate.cost.atoms[rules.currency], rules.currency, frame.lang)
            basis = frame.say(f"price.basis.{rung.estimate.basis}")
            what = rung.told.partition("; ")[2]
            line = frame.say("price.rung", percent=f"{rung.at_bp / 100:g}", what=what, amount=shown, basis=basis)
        if rung.stale:
            line += " " + frame.say("price.rung_stale")
        console.print(line)
    if priced.rungs:
        console.print()


def _bill(console: Console, frame: Frame, rules: RuleSet, bill: Bill) -> None:
    from rich.text import Text

    shown = amount(bill.cost.atoms[rules.currency], rules.currency, frame.lang)
    line = Text(frame.say("price.actual", amount=shown), style="bold")
    line.append(f"  {frame.say(f'state.{bill.state.value}')}", style=_STATE_COLOURS[bill.state])
    console.print(line)
    if bill.usage:
        console.print(f"  {_counts(bill.usage)}", style="bright_black")
    if bill.note:
        console.print(f"  {frame.say('price.note', note=bill.note)}", style="yellow")
    console.print()
    _terms(console, frame, rules, bill.cost)


def _terms(console: Console, frame: Frame, rules: RuleSet, cost: Cost) -> None:
    """The sum, line by line, in the price's own currency, and what it is in the rules' currency."""
    from rich.table import Table

    if not cost.terms:
        return
    unit = cost.original_currency
    grid = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "right"):
        grid.add_column(justify=justify, no_wrap=True)
    for term in cost.terms:
        price = f"x {money.plain(term.unit_price)}"
        grid.add_row(f"  {term.name}", money.plain(term.quantity), price, f"{money.plain(term.amount)} {unit}")
    grid.add_row(f"  {frame.say('price.sum')}", "", "", f"{money.plain(cost.original)} {unit}", style="bold")
    if cost.fx_rate is not None:
        total = with_unit(money.format_decimal(cost.atoms[rules.currency], rules.currency), rules.currency, "en")
        date = f" ({cost.fx_date})" if cost.fx_date and cost.fx_date > "0001-01-01" else ""
        grid.add_row(f"  {frame.say('price.rate')}", "", f"x {money.plain(cost.fx_rate)}{date}", total)
    console.print(grid)
    console.print()


def _counts(usage: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in usage.items() if count)
