"""`spendgate recommend`: where money could be saved, how much a month, and what to change."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.control.optimize.finding import Recommendation
    from proxy.control.optimize.told import Advice
    from proxy.core.model import RuleSet
    from proxy.settings import Settings

MOST_DAYS = 3650


def command(frame: Frame) -> click.Command:
    def recommend(
        as_json: bool, dismiss: str | None, snooze: str | None, days: int, restore: str | None, **flags: Any
    ) -> int:
        from proxy.cli.rules import load

        settings = frame.settings(**flags)
        rules = load(frame, settings.rules, keys=False)
        if sum(word is not None for word in (dismiss, snooze, restore)) > 1:
            frame.fail("recommend.one_at_a_time")
        now_ms = time.time_ns() // 1_000_000
        advice, aside = read(frame, settings, rules, now_ms)
        found = advice.recommendations
        what = dismiss or snooze or restore
        if what is not None:
            if what not in {one.id for one in found} and what not in aside:
                frame.fail("recommend.no_such", id=what, code=Exit.FOUND)
            until = None if restore else _for_good() if dismiss else now_ms + days * 86_400_000
            _set(frame, settings, what, until)
            click.echo(frame.say("recommend.restored" if restore else "recommend.aside", id=what))
            return Exit.OK
        shown = [one for one in found if one.id not in aside]
        if as_json:
            from proxy.control.optimize.told import recommendation

            click.echo(
                json.dumps([recommendation(one, rules.currency, frame.lang) for one in shown], ensure_ascii=False)
            )
            return Exit.OK
        _show(frame, rules, shown, len(found) - len(shown))
        return Exit.OK

    return Command(
        "recommend",
        frame,
        callback=recommend,
        params=[
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--dismiss", text="recommend_dismiss", metavar="ID"),
            option(frame, "--snooze", text="recommend_snooze", metavar="ID"),
            option(
                frame,
                "--days",
                text="recommend_days",
                metavar="N",
                type=click.IntRange(1, MOST_DAYS),
                default=30,
            ),
            option(frame, "--restore", text="recommend_restore", metavar="ID"),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _for_good() -> int:
    from proxy.state.forecasts import FOR_GOOD

    return FOR_GOOD


def read(frame: Frame, settings: Settings, rules: RuleSet, now_ms: int) -> tuple[Advice, dict[str, int]]:
    """What the leader found, or what is found now where none leads; and what is set aside. Empty without a store."""
    from proxy.cli.place import opened, unreachable
    from proxy.control.optimize.told import Advice
    from proxy.state.store import StoreUnavailable

    with opened(frame, settings) as place:
        if place.url is None:
            return Advice(), {}
        try:
            return asyncio.run(_read(place.url, settings.tenant, rules, now_ms))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


async def _read(url: str, tenant: str, rules: RuleSet, now_ms: int) -> tuple[Advice, dict[str, int]]:
    from proxy.control.advising import kept_or_look
    from proxy.state import forecasts
    from proxy.state.keys import Keys
    from proxy.state.reading import Reader

    async with Reader(url) as reader:
        keys = Keys(tenant)
        return await kept_or_look(reader, keys, rules, now_ms), await forecasts.aside(reader, keys, now_ms)


def _set(frame: Frame, settings: Settings, what: str, until_ms: int | None) -> None:
    from proxy.cli.place import opened, unreachable
    from proxy.state.store import StoreUnavailable

    async def write(url: str) -> None:
        from proxy.state import forecasts
        from proxy.state.keys import Keys
        from proxy.state.reading import Reader

        async with Reader(url) as reader:
            keys = Keys(settings.tenant)
            if until_ms is None:
                await forecasts.show_again(reader, keys, what)
            else:
                await forecasts.set_aside(reader, keys, what, until_ms, "cli")

    with opened(frame, settings) as place:
        if place.url is None:
            return
        try:
            asyncio.run(write(place.url))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


def _show(frame: Frame, rules: RuleSet, shown: list[Recommendation], hidden: int) -> None:
    import textwrap

    from proxy.cli.help import wrap
    from proxy.control.optimize.told import program
    from proxy.core import money
    from proxy.core.figures import with_unit
    from proxy.core.text import say

    def amount(atoms: int) -> str:
        value = money.from_atoms(atoms, rules.currency)
        text = f"{value:,.0f}" if money.exponent(rules.currency) == 6 else f"{value:,.2f}"
        return with_unit(text, rules.currency, frame.lang)

    if not shown:
        click.echo(frame.say("recommend.none"))
    for one in shown:
        click.echo(frame.say("recommend.saving", id=one.id, saving=amount(one.saving_atoms), effort=one.effort))
        click.echo("\n".join(wrap(say(f"recommend.{one.rule}", frame.lang, **one.evidence), 96, "  ")))
        if (todo := program(one, frame.lang)) is not None:
            click.echo("\n".join(wrap(todo, 96, "  ")))
        click.echo(textwrap.indent(one.change.rstrip(), "    "))
        click.echo()
    if shown:
        click.echo(frame.say("recommend.total", saving=amount(sum(one.saving_atoms for one in shown))))
    if hidden:
        click.echo(frame.say("recommend.hidden", count=hidden))
