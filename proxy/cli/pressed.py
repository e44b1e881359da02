"""Rate limits, pauses and circuits for `spendgate status`: the parts of its document, and how they look.

Knows no Redis commands and no rules file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.core import money
from proxy.core.model import Api, Rule, RuleSet
from proxy.core.windows import iso

if TYPE_CHECKING:
    from rich.console import RenderableType

    from proxy.cli.frame import Frame
    from proxy.state.breakers import Circuit
    from proxy.state.pressure import Fill
    from proxy.state.reading import Reader

COLOURS = {"closed": "green", "half_open": "yellow", "open": "red"}


async def add(document: dict[str, Any], reader: Reader, keys: Any, rules: RuleSet, now_ms: int) -> None:
    """`limits`, `breakers` and `paused_until` of every API of the document, and `callers` with limits."""
    from proxy.state import breakers, pressure

    apis: dict[str, dict[str, Any]] = {api["name"]: api for api in document["apis"]}
    for shown in apis.values():
        shown |= {"paused_until": None, "limits": [], "breakers": []}
    paused = await pressure.pauses(reader, keys, [api.name for api in rules.apis], now_ms)
    for name, until_ms in paused.items():
        apis[name]["paused_until"] = iso(until_ms, rules.timezone)
    owners: list[tuple[str, Api | Rule]] = []
    for of in rules.apis:
        owners += [(of.name, of), *((of.name, rule) for rule in of.rules)]
    limited = [(name, one.limited) for name, one in owners if one.limited is not None and one.limited.limits]
    of_callers = [one.limited for one in rules.callers if one.limited is not None and one.limited.limits]
    fills = await pressure.fills(reader, keys, [*(one for _, one in limited), *of_callers], now_ms)
    owner_of = {one.place: name for name, one in limited}
    document["callers"] = []
    for fill in fills:
        place = fill.limited.place
        (apis[owner_of[place]]["limits"] if place in owner_of else document["callers"]).append(_limit(fill))
    breaking = [(name, one.breaker) for name, one in owners if one.breaker is not None]
    circuits = await breakers.read(reader, keys, [one for _, one in breaking], now_ms)
    for (name, _), circuit in zip(breaking, circuits, strict=True):
        apis[name]["breakers"].append(_breaker(circuit, rules.timezone))


def _limit(fill: Fill) -> dict[str, Any]:
    limit = fill.limit

    def shown(amount: int) -> int | str:
        return money.format_decimal(amount, limit.currency) if limit.currency else amount

    return {
        "of": fill.limited.label,
        "name": limit.name,
        "limit": shown(limit.amount),
        "used": shown(fill.used),
        "left": shown(fill.left),
        "resets_in_s": -(-fill.resets_ms // 1000),
    }


def _breaker(circuit: Circuit, timezone: str) -> dict[str, Any]:
    return {
        "name": circuit.name,
        "state": circuit.state,
        "why": circuit.why or None,
        "by": circuit.by or None,
        "since": iso(circuit.changed_ms, timezone) if circuit.changed_ms else None,
        "next_probe_at": iso(circuit.until_ms, timezone) if circuit.until_ms else None,
        "calls": circuit.calls,
        "failures": circuit.failures,
        "slow": circuit.slow,
        "probing": circuit.probing,
    }


def table(frame: Frame, document: dict[str, Any]) -> RenderableType | None:
    """A line for each limit and circuit; None where there are none."""
    from rich.table import Table
    from rich.text import Text

    from proxy.core.figures import moment

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    grid.add_column(f"  {frame.say('status.guard')}", overflow="fold")
    grid.add_column(frame.say("status.guard_now"), overflow="fold")
    limits = [limit for api in document["apis"] for limit in api.get("limits", ())]
    for api in document["apis"]:
        if api.get("paused_until"):
            until = moment(api["paused_until"], here=True)
            grid.add_row(f"  {api['name']}", Text(frame.say("status.paused", until=until), style="yellow"))
        for circuit in api.get("breakers", ()):
            state = Text(frame.say(f"breaker.{circuit['state']}"), style=COLOURS[circuit["state"]])
            if circuit["why"]:
                state.append(f": {frame.say('breaker.why.' + circuit['why'].replace(' ', '_'))}")
            if circuit["next_probe_at"]:
                state.append(", " + frame.say("breaker.until", when=moment(circuit["next_probe_at"], here=True)))
            grid.add_row(f"  {circuit['name']} · {frame.say('status.circuit')}", state)
    for limit in (*limits, *document.get("callers", ())):
        text = Text(frame.say("status.limit", used=_number(limit["used"]), limit=_number(limit["limit"])))
        if not _has_room(limit):
            text.stylize("red")
        if limit["resets_in_s"]:
            text.append("  " + frame.say("status.limit_resets", seconds=f"{limit['resets_in_s']:,}"), "bright_black")
        grid.add_row(f"  {limit['of']} · {limit['name']}", text)
    return grid if grid.row_count else None


def _number(amount: int | str) -> str:
    return f"{amount:,}" if isinstance(amount, int) else amount


def _has_room(limit: dict[str, Any]) -> bool:
    return str(limit["left"]) != "0"
