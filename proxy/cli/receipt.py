"""What a run cost: the ledger's entries of calls that began while it ran, by API, and the budgets afterwards."""

from __future__ import annotations

import asyncio
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Failure, Frame
from proxy.cli.place import Place, opened

if TYPE_CHECKING:
    from proxy.core.model import RuleSet
    from proxy.settings import Settings

SETTLED_WITHIN_S = 3.0  # a call that the program did not wait for is still being settled when it ends
MOST = 1_000_000


def show(frame: Frame, settings: Settings, rules: RuleSet, began_ms: int, caller: str | None) -> None:
    """Says it on standard error. What cannot be read is said too and changes no exit status."""
    try:
        with opened(frame, settings) as place:
            if place.url is None:
                return
            totals, levels = asyncio.run(_gather(place, settings, rules, began_ms, caller))
    except Failure as failure:
        _say(frame, "run.unknown_cost", why=failure.message)
        return
    if not totals:
        _say(frame, "run.nothing")
        return
    from proxy.cli.levels import Level
    from proxy.core.figures import number, with_unit

    def money(cost: Decimal) -> str:
        return with_unit(number(cost), rules.currency, frame.lang)

    def calls(count: int) -> str:
        return frame.say("run.call_one" if count == 1 else "run.call_many", count=count)

    total = sum((cost for _, cost in totals.values()), Decimal(0))
    _say(frame, "run.cost", calls=calls(sum(count for count, _ in totals.values())), amount=money(total))
    width = max(len(api) for api in totals)
    for api, (count, cost) in sorted(totals.items(), key=lambda item: -item[1][1]):
        click.echo(f"  {api.ljust(width)}  {frame.say('run.line', calls=calls(count), amount=money(cost))}", err=True)
    for budget in levels:
        level = Level.of(budget)
        spent, limit = level.money(frame.lang)
        state = frame.say(f"budget.{level.state}")
        click.echo(f"  {level.name} ({level.period}): {spent} / {limit}, {level.percent}, {state}", err=True)


def clock_ms(frame: Frame, settings: Settings) -> int:
    """The store's clock, which the ids of calls follow; this machine's when the store cannot say."""
    here = time.time_ns() // 1_000_000
    try:
        with opened(frame, settings) as place:
            return asyncio.run(_store_clock(place.url)) if place.url is not None else here
    except Failure:
        return here


async def _store_clock(url: str) -> int:
    from proxy.state.reading import Reader
    from proxy.state.store import StoreUnavailable

    try:
        async with Reader(url) as reader:
            seconds, micros = await reader.ask("TIME")
    except StoreUnavailable as error:
        raise Failure(str(error)) from error
    return int(seconds) * 1000 + int(micros) // 1000


def _say(frame: Frame, key: str, **values: object) -> None:
    coloured = frame.colours(sys.stderr)
    label = click.style("spendgate:", bold=True) if coloured else "spendgate:"
    click.echo(f"{label} {frame.say(key, **values)}", err=True, color=coloured)


async def _gather(
    place: Place, settings: Settings, rules: RuleSet, began_ms: int, caller: str | None
) -> tuple[dict[str, tuple[int, Decimal]], list[dict[str, Any]]]:
    from proxy.state.keys import Keys
    from proxy.state.ledger import Ledger
    from proxy.state.reading import Reader
    from proxy.state.store import StoreUnavailable

    assert place.url is not None  # noqa: S101 - the caller has looked
    try:
        async with Reader(place.url) as reader:
            ledger = Ledger(reader, Keys(settings.tenant))
            await _until_settled(ledger, began_ms)
            now_ms = time.time_ns() // 1_000_000
            totals: dict[str, tuple[int, Decimal]] = {}
            async for entry in ledger.last(MOST, now_ms):
                # Ids begin with the time of admission, entries stand in the order of their settlement.
                if int(entry["id"][:12], 16) < began_ms:
                    if _long_before(entry, began_ms):
                        break
                    continue
                if caller is None or entry["caller"] == caller:
                    count, cost = totals.get(entry["api"], (0, Decimal(0)))
                    totals[entry["api"]] = (count + 1, cost + Decimal(entry["cost"]))
            return totals, await ledger.levels(rules.budgets, now_ms)
    except StoreUnavailable as error:
        raise Failure(str(error)) from error


def _long_before(entry: dict[str, Any], began_ms: int) -> bool:
    """So old that nothing of the run can stand behind it: calls last an hour at the most."""
    return int(entry["id"][:12], 16) < began_ms - 3_600_000


async def _until_settled(ledger: Any, began_ms: int) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        flying = await ledger.in_flight()
        if not any(int(call_id[:12], 16) >= began_ms for call_id in flying):
            return
        await asyncio.sleep(0.05)
