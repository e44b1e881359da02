"""`spendgate discover`: where programs go beside what the rules price, whether that may cost money, and what to add.

Reads the roll-up of the days (state/hosts.py), asks the list (paid.py), and writes the lines of rules.yaml.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Frame
from proxy.cli.help import Command, option
from proxy.cli.paid import NO, UNKNOWN, Verdict, likely
from proxy.cli.place import opened, unreachable

if TYPE_CHECKING:
    from proxy.core.model import RuleSet
    from proxy.settings import Settings
    from proxy.state.hosts import Seen

DAYS = 7
_COLOURS = {"yes": "red", "perhaps": "yellow", "no": "green", "unknown": "bright_black"}


@dataclass(frozen=True, slots=True)
class Found:
    """One host. api: the API of the rules that it belongs to already, if any."""

    seen: Seen
    verdict: Verdict
    api: str | None
    hidden: bool  # its calls could be seen, if that API were intercepted

    @property
    def host(self) -> str:
        return self.seen.host


def command(frame: Frame) -> click.Command:
    def discover(days: int, as_json: bool, **flags: Any) -> None:
        from proxy.cli.rules import load

        settings = frame.settings(**flags)
        rules = load(frame, settings.rules, keys=False)
        found = [_judge(rules, one) for one in _read(frame, settings, rules, days)]
        text = snippet(rules, found, frame)
        if as_json:
            click.echo(json.dumps(as_document(frame, found, text, days), ensure_ascii=False, indent=2))
        else:
            _show(frame, found, text, days)

    return Command(
        "discover",
        frame,
        callback=discover,
        params=[
            option(frame, "--days", text="days", metavar="N", type=click.IntRange(1, 40), default=DAYS),
            option(frame, "--json", "as_json", text="json", is_flag=True),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
        ],
    )


def _read(frame: Frame, settings: Settings, rules: RuleSet, days: int) -> list[Seen]:
    from proxy.core.windows import local_day
    from proxy.state.hosts import seen
    from proxy.state.keys import Keys
    from proxy.state.reading import Reader
    from proxy.state.store import StoreUnavailable

    today = date.fromisoformat(local_day(time.time_ns() // 1_000_000, rules.timezone))
    labels = [(today - timedelta(days=back)).isoformat() for back in range(days)]

    async def ask(url: str) -> list[Seen]:
        async with Reader(url) as reader:
            return await seen(reader, Keys(settings.tenant), labels)

    with opened(frame, settings) as place:
        if place.url is None:
            return []
        try:
            return asyncio.run(ask(place.url))
        except StoreUnavailable as error:
            raise unreachable(frame, str(error)) from error


# --- judging ----------------------------------------------------------------------------------------------------------


def _parts(host: str) -> tuple[str, str, int]:
    """(scheme, name, port) of a host as the roll-up writes it."""
    from proxy.core.match import split_host

    scheme = "http" if host.startswith("http://") else "https"
    name, port = split_host(host.removeprefix("http://"))
    return scheme, name, port or (80 if scheme == "http" else 443)


def _judge(rules: RuleSet, seen: Seen) -> Found:
    from proxy.core import match
    from proxy.state.hosts import OTHERS

    if seen.host == OTHERS:
        return Found(seen, Verdict(UNKNOWN, "many"), None, False)
    scheme, name, port = _parts(seen.host)
    api = match.destination_forward(rules, scheme, name, port)
    verdict = likely(name)
    if api is not None:
        verdict = Verdict("yes", "in_rules", api.name)
    hidden = api is not None and not api.intercept and scheme == "https" and (api.scheme == "https" or bool(api.hosts))
    return Found(seen, verdict, api.name if api else None, hidden)


# --- what to add ------------------------------------------------------------------------------------------------------


def snippet(rules: RuleSet, found: Sequence[Found], frame: Frame) -> str:
    """Lines of rules.yaml for the hosts that may cost money and are in no API yet; "" where there are none."""
    entries: dict[tuple[str, str, int], list[Found]] = {}  # hosts of one API: of one name, scheme and port
    taken = {api.name for api in rules.apis} | {api.mount for api in rules.apis}
    for one in found:
        if one.api is None and one.verdict.likely not in (NO, UNKNOWN):
            scheme, host, port = _parts(one.host)
            name = one.verdict.name or re.sub(r"[^a-z0-9]+", "-", host).strip("-")
            entries.setdefault((name, scheme, port), []).append(one)
    if not entries:
        return ""
    lines: list[str] = []
    converted = rules.currency == "USD" or any(rate.currency == "USD" for rate in rules.fx)
    if not converted and any(ones[0].verdict.catalog for ones in entries.values()):
        lines += [f"fx: {{USD: 1}}  # {frame.say('discover.comment.rate', currency=rules.currency)}", ""]
    lines.append("apis:")
    for (name, _, _), ones in entries.items():
        own = next(one for one in chain((name,), (f"{name}-{number}" for number in count(2))) if one not in taken)
        taken.add(own)
        lines += _entry(own, ones, frame)
    return "\n".join(lines) + "\n"


def _entry(name: str, ones: list[Found], frame: Frame) -> list[str]:
    scheme, host, port = _parts(ones[0].host)
    usual = port == (80 if scheme == "http" else 443)
    address = f"[{host}]" if ":" in host else host
    lines = [f"  - name: {name}", f"    upstream: {scheme}://{address if usual else f'{address}:{port}'}"]
    if len(ones) > 1:
        names = ", ".join(f'"{one.host.removeprefix("http://")}"' for one in ones)
        lines.append(f"    hosts: [{names}]")
    if scheme == "https":
        lines.append("    intercept: true")
    lines.append("    prices:")
    catalog = ones[0].verdict.catalog
    if catalog:
        lines.append(f"      - {{catalog: {catalog}}}")
    else:
        lines.append(f"      - {{per_request: 1}}  # {frame.say('discover.comment.price')}")
    return lines


# --- showing ----------------------------------------------------------------------------------------------------------


def as_document(frame: Frame, found: Sequence[Found], text: str, days: int) -> dict[str, Any]:
    """What --json prints."""
    return {
        "days": days,
        "hosts": [
            {
                "host": one.host,
                "calls": one.seen.calls.total(),
                "by_outcome": dict(one.seen.calls),
                "bytes": one.seen.size,
                "callers": dict(one.seen.callers),
                "likely_paid": one.verdict.likely,
                "why": frame.say(f"discover.why.{one.verdict.why}"),
                "api": one.api,
            }
            for one in found
        ],
        "rules": text,
    }


def _show(frame: Frame, found: Sequence[Found], text: str, days: int) -> None:
    from rich.table import Table
    from rich.text import Text

    console = frame.console()
    if not found:
        console.print(frame.say("discover.none", days=days))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    for key, justify in (
        ("host", "left"),
        ("calls", "right"),
        ("size", "right"),
        ("callers", "left"),
        ("paid", "left"),
    ):
        table.add_column(frame.say(f"discover.{key}"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for one in found:
        verdict = Text(frame.say(f"discover.likely.{one.verdict.likely}"), style=_COLOURS[one.verdict.likely])
        verdict.append(f": {frame.say(f'discover.why.{one.verdict.why}')}", style="bright_black")
        names = [name for name, _ in one.seen.callers.most_common(3)]
        more = len(one.seen.callers) - len(names)
        callers = ", ".join(names) + (f" +{more}" if more > 0 else "")
        table.add_row(one.host, _calls(frame, one), _size(one.seen.size), callers, verdict)
    console.print(table)
    for one in found:
        if one.hidden:
            console.print()
            console.print(frame.say("discover.intercept", host=one.host, api=one.api))
    if text:
        console.print()
        console.print(frame.say("discover.add"))
        console.print()
        click.echo(text, nl=False)


def _calls(frame: Frame, one: Found) -> str:
    parts = [f"{count} {frame.say(f'discover.outcome.{outcome}')}" for outcome, count in one.seen.calls.most_common()]
    return ", ".join(parts)


def _size(size: int) -> str:
    if not size:
        return "-"
    return f"{size / 1024:,.1f} KB" if size < 1024 * 1024 else f"{size / 1024 / 1024:,.1f} MB"
