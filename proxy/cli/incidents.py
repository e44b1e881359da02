"""`spendgate emergency incidents` and `... incident ...`: what went wrong by itself, and what people do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.frame import Exit, Frame
from proxy.cli.help import cells

if TYPE_CHECKING:
    from proxy.state.switches import Desk

DOING = ("show", "acknowledge", "resolve", "apply")
_MOST = 500


def fits(what: Sequence[str]) -> bool:
    """`show ID`, `acknowledge ID`, `resolve ID`, `apply ID [ACTION]`."""
    return len(what) in ((2, 3) if what[:1] == ("apply",) else (2,)) and what[0] in DOING


async def act(frame: Frame, desk: Desk, what: tuple[str, ...], options: dict[str, Any]) -> int:
    if not what:
        return await _list(frame, desk, everything=options["everything"], as_json=options["as_json"])
    doing, incident_id, *action = what
    return await {"show": _show, "acknowledge": _acknowledge, "resolve": _resolve, "apply": _apply}[doing](
        frame, desk, incident_id, action[0] if action else "", options
    )


async def open_now(desk: Desk) -> int:
    """How many incidents are open."""
    from proxy.control import casebook

    return len(await casebook.listed(desk.client, desk.keys, desk.now_ms, only_open=True, count=_MOST))


async def _list(frame: Frame, desk: Desk, *, everything: bool, as_json: bool) -> int:
    from proxy.control import casebook

    found = await casebook.listed(desk.client, desk.keys, desk.now_ms, only_open=not everything, count=_MOST)
    rows = await casebook.documents(desk.client, desk.keys, desk.rules, desk.now_ms, found, frame.lang)
    if as_json:
        click.echo(json.dumps({"incidents": rows}, ensure_ascii=False))
        return Exit.OK
    if not rows:
        click.echo(frame.say("incident.never" if everything else "incident.none"))
        return Exit.OK
    table = [[frame.say(f"incident.column.{name}") for name in ("id", "level", "since", "state", "what")]]
    table += [[row["id"], _level(frame, row), _at(row["opened_at"]), _state(frame, row), row["title"]] for row in rows]
    widths = [max(cells(row[column]) for row in table) for column in range(4)]
    for row in table:
        padded = [text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*padded, row[4]]))
    return Exit.OK


async def _show(frame: Frame, desk: Desk, incident_id: str, _action: str, options: dict[str, Any]) -> int:
    row = await _document(frame, desk, incident_id)
    if options["as_json"]:
        click.echo(json.dumps(row, ensure_ascii=False))
        return Exit.OK
    for line in lines(frame, row):
        click.echo(line)
    return Exit.OK


async def _acknowledge(frame: Frame, desk: Desk, incident_id: str, _action: str, options: dict[str, Any]) -> int:
    from proxy.core.text import say
    from proxy.state import incidents

    note = options["note"] or options["reason"] or ""
    await incidents.acknowledge(desk, incident_id, note, say("incident.seen", desk.rules.language))
    return await _told(frame, desk, incident_id, "incident.acknowledged", options)


async def _resolve(frame: Frame, desk: Desk, incident_id: str, _action: str, options: dict[str, Any]) -> int:
    from proxy.state import incidents

    await incidents.resolve(desk, incident_id, options["note"] or options["reason"] or "")
    return await _told(frame, desk, incident_id, "incident.resolved", options)


async def _apply(frame: Frame, desk: Desk, incident_id: str, action: str, options: dict[str, Any]) -> int:
    from proxy.cli.emergency import as_document, tell, until_of
    from proxy.control import casebook

    until = until_of(desk, options["until"])
    reason = options["reason"] or options["note"] or ""
    _, entries = await casebook.apply(desk, incident_id, action, reason, until)
    if options["as_json"]:
        click.echo(json.dumps({"entries": [as_document(entry) for entry in entries]}, ensure_ascii=False))
        return Exit.OK
    for entry in entries:
        tell(frame, entry, as_json=False)
    return Exit.OK


async def _told(frame: Frame, desk: Desk, incident_id: str, key: str, options: dict[str, Any]) -> int:
    row = await _document(frame, desk, incident_id)
    if options["as_json"]:
        click.echo(json.dumps(row, ensure_ascii=False))
        return Exit.OK
    click.echo(frame.say(key, id=row["id"]))
    held = ", ".join(one["text"] for one in row["taken"] if one["in_force"])
    if held and row["state"] == "resolved":
        click.echo(frame.say("incident.still_held", what=held))
    return Exit.OK


async def _document(frame: Frame, desk: Desk, incident_id: str) -> dict[str, Any]:
    from proxy.control import casebook
    from proxy.state import incidents

    found = await incidents.one(desk.client, desk.keys, incident_id)
    (row,) = await casebook.documents(desk.client, desk.keys, desk.rules, desk.now_ms, [found], frame.lang)
    return row


def lines(frame: Frame, row: dict[str, Any]) -> list[str]:
    """One incident, whole."""
    told = [
        frame.say("incident.head", id=row["id"], level=_level(frame, row), state=_state(frame, row)),
        row["title"],
        "",
        *row["body"].splitlines(),
        "",
        frame.say("incident.began", at=_at(row["opened_at"])),
    ]
    if row["acknowledged_by"]:
        told.append(frame.say("incident.seen", at=_at(row["acknowledged_at"]), by=row["acknowledged_by"]))
    if row["resolved_at"]:
        told.append(frame.say("incident.ended", at=_at(row["resolved_at"]), by=row["resolved_by"]))
    elif row["gone_since"]:
        told.append(frame.say("incident.gone", at=_at(row["gone_since"])))
    if row["alert"]:
        told.append(frame.say("incident.alert", id=row["alert"]))
    for one in row["taken"]:
        ended = "" if one["in_force"] else f" {frame.say('incident.ended_early')}"
        told.append(frame.say("incident.taken", what=one["text"]) + ended)
    told += [frame.say("incident.note", at=_at(one["at"]), by=one["by"], text=one["text"]) for one in row["notes"]]
    told += [
        frame.say("incident.proposed", what=one["text"], id=row["id"], action=one["action"]) for one in row["proposed"]
    ]
    return told


def _level(frame: Frame, row: dict[str, Any]) -> str:
    from proxy.core.text import say

    return say(f"incident.level.{row['level']}", frame.lang)


def _state(frame: Frame, row: dict[str, Any]) -> str:
    if row["state"] == "open" and row["acknowledged_by"]:
        return frame.say("incident.state.seen", name=row["acknowledged_by"])
    return frame.say(f"incident.state.{row['state']}")


def _at(text: str) -> str:
    return text[:16].replace("T", " ")
