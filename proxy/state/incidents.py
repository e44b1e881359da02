"""Incidents in Redis: what is open, the history, and everything that is done about one, each with its audit entry.

`incidents:open` says which incident a cause has now, so that one cause never has two, whoever looks. What a leader does
carries its fencing token (`Desk.fence`); what a person does carries none. Decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from proxy.core.alert_model import Severity
from proxy.core.emergency_model import Action, Grade, Incident, Quiet, Remark, Sort, Taken
from proxy.state import audit, services, switches
from proxy.state.audit import Change, Entry, GuardFailed, Refused
from proxy.state.client import Client
from proxy.state.keys import INCIDENTS_KEPT_S, Keys
from proxy.state.switches import Desk

QUIET_MS: Final = 3_600_000  # how long a cause that goes on after somebody resolved it is not told anew
_KEEP_MS: Final = INCIDENTS_KEPT_S * 1000
_AT_ONCE: Final = 100
_OPEN, _QUIET = "open|", "quiet|"


# --- reading --------------------------------------------------------------------------------------------------------


async def standing(client: Client, keys: Keys, now_ms: int) -> tuple[dict[str, Incident], dict[str, Quiet]]:
    """(open incidents by cause, causes that are to be quiet). Raises StoreUnavailable."""
    fields: dict[str, str] = await client.ask("HGETALL", keys.incidents_open)
    ids = {name.removeprefix(_OPEN): one for name, one in fields.items() if name.startswith(_OPEN)}
    quiet = {}
    for name, value in fields.items():
        if name.startswith(_QUIET):
            grade, _, until = value.partition(" ")
            if int(until) > now_ms:
                quiet[name.removeprefix(_QUIET)] = Quiet(Grade(grade), int(until))
    known = await find(client, keys, list(ids.values())) if ids else {}
    return {cause: known[one] for cause, one in ids.items() if one in known}, quiet


async def find(client: Client, keys: Keys, ids: Sequence[str]) -> dict[str, Incident]:
    """Incidents by id; ids that history has forgotten are left out. Raises StoreUnavailable."""
    replies = await client.ask_all([("HGETALL", keys.incident(one)) for one in ids])
    return {fields["id"]: _incident(fields) for fields in replies if "sort" in fields}


async def history(
    client: Client,
    keys: Keys,
    count: int,
    before: str | None = None,
    wanted: Callable[[Incident], bool] = lambda _: True,
) -> list[Incident]:
    """The newest first. before: an incident's id; what came before it. Raises StoreUnavailable."""
    newest, seen = "+", before is None
    found: list[Incident] = []
    while len(found) < count:
        chunk = await client.ask("XREVRANGE", keys.incidents, newest, "-", "COUNT", _AT_ONCE)
        ids = [fields["id"] for _, fields in chunk]
        if not seen and before in ids:
            ids, seen = ids[ids.index(before) + 1 :], True
        if seen:
            known = await find(client, keys, ids)
            found += [known[one] for one in ids if one in known and wanted(known[one])]
        if len(chunk) < _AT_ONCE:
            break
        newest = f"({chunk[-1][0]}"
    return found[:count]


async def one(client: Client, keys: Keys, incident_id: str) -> Incident:
    """Raises Refused when there is none, StoreUnavailable."""
    found = (await find(client, keys, [incident_id])).get(incident_id)
    if found is None:
        raise Refused("no_incident", id=incident_id[:40])
    return found


# --- what the leader writes -------------------------------------------------------------------------------------------


async def begin(desk: Desk, incident: Incident, why: str) -> bool:
    """Open it; False: its cause has an incident already. why: its title, for the audit trail.

    Raises Stale, StoreUnavailable.
    """
    keys = desk.keys
    entry = desk.draft("incident.open", f"incident:{incident.id}", why, after=incident.grade.value)
    key = keys.incident(incident.id)
    changes = [
        Change(keys.incidents_open, f"{_OPEN}{incident.cause}", "set", incident.id, _KEEP_MS, guard=""),
        Change(keys.incidents_open, f"{_QUIET}{incident.cause}", "del", "", _KEEP_MS),
        *(Change(key, name, "set", value, _KEEP_MS) for name, value in _fields(incident).items()),
        Change(keys.incidents, "id", "append", incident.id, _KEEP_MS),
    ]
    try:
        await audit.record(desk.client, keys, entry, changes, desk.fence)
    except GuardFailed:
        return False
    return True


async def grade(desk: Desk, incident: Incident, grade: Grade, facts: Mapping[str, str], why: str) -> Incident | None:
    """It became worse or less bad; None: somebody resolved it meanwhile. Raises Stale, StoreUnavailable."""
    peak = max(incident.peak, grade, key=lambda one: one.rank)
    after = replace(incident, grade=grade, peak=peak, facts=facts, gone_ms=0, lower_ms=0)
    entry = desk.draft(
        "incident.level", f"incident:{incident.id}", why, before=incident.grade.value, after=after.grade.value
    )
    try:
        return await _write(desk, incident, after, entry, ("grade", "peak", "facts", "marks"), [_still(desk, incident)])
    except GuardFailed:
        return None


async def note(desk: Desk, incident: Incident, **changed: Any) -> Incident:
    """Write marks, facts or the alert that told of it without an audit entry. Raises Stale, StoreUnavailable."""
    after = replace(incident, **changed)
    before, now = _fields(incident), _fields(after)
    for name, value in now.items():
        if value != before[name]:
            args: list[str | int] = [desk.fence, name, value, _KEEP_MS]
            await desk.client.script("note", [desk.keys.incident(incident.id), desk.keys.leader], args)
    return after


async def end(desk: Desk, incident: Incident, why: str) -> bool:
    """Its cause is gone for long enough; False: somebody else had resolved it. Raises Stale, StoreUnavailable."""
    after = replace(incident, resolved_at=desk.iso(desk.now_ms), resolved_by=desk.who.name)
    entry = desk.draft("incident.resolve", f"incident:{incident.id}", why, before=incident.grade.value)
    try:
        await _write(desk, incident, after, entry, ("resolved_at", "resolved_by"), [_closed(desk, incident)])
    except GuardFailed:
        return False
    return True


# --- what anybody does about it --------------------------------------------------------------------------------------


async def take(
    desk: Desk, incident: Incident, action: Action, targets: Sequence[str], reason: str, until_ms: int
) -> tuple[Incident, list[Entry]]:
    """Do an action and note it in the incident, in one step a target. Raises Refused, Stale, StoreUnavailable."""
    held = {one.field: one.until_ms for one in await switches.active(desk.client, desk.keys, desk.now_ms)}
    entries = []
    for target in targets:
        field = "stop" if action is Action.STOP_ALL else target
        if field in held and (held[field] is None or held[field] >= until_ms):  # type: ignore[operator]
            raise Refused("held_already", target=target)  # it would only end sooner
        automatic = desk.who.via == "automatic"
        taken = Taken(action, target, 0, until_ms, desk.iso(desk.now_ms), desk.who.name, automatic)
        told = _actions((*incident.actions, taken)).replace('"entry": 0', '"entry": {n}')
        before = _actions(incident.actions)
        also = [Change(desk.keys.incident(incident.id), "actions", "set", told, _KEEP_MS, guard=before)]
        if action is Action.STOP_SERVICES:
            name = target.removeprefix("service:")
            entry = await services.by_hand(desk, name, "stop", reason, until_ms, also)
        elif action is Action.STOP_ALL:
            entry = await switches.stop(desk, reason, until_ms, also)
        else:
            entry = await switches.block(desk, target, reason, until_ms, also)
        entries.append(entry)
        incident = replace(incident, actions=(*incident.actions, replace(taken, entry=entry.number)))
    return incident, entries


async def acknowledge(desk: Desk, incident_id: str, text: str, otherwise: str) -> Incident:
    """Note who looks after it; the first one stays, remarks are added. otherwise: the trail's reason without a text."""

    async def once() -> Incident:
        known = await one(desk.client, desk.keys, incident_id)
        remarks = known.remarks
        if text.strip():
            remarks += (Remark(desk.iso(desk.now_ms), desk.who.name, "acknowledge", text.strip()[:500]),)
        after = replace(known, remarks=remarks)
        if not known.acknowledged_by:
            after = replace(after, acknowledged_at=desk.iso(desk.now_ms), acknowledged_by=desk.who.name)
        if after == known:
            return known
        entry = desk.draft("incident.acknowledge", f"incident:{known.id}", text.strip() or otherwise)
        return await _write(desk, known, after, entry, ("acknowledged_at", "acknowledged_by", "remarks"))

    return await _again(once)


async def resolve(desk: Desk, incident_id: str, text: str) -> Incident:
    """A person says that it is over. If its cause goes on it is no news for an hour, unless it becomes worse."""

    async def once() -> Incident:
        known = await one(desk.client, desk.keys, incident_id)
        if known.resolved_at:
            raise Refused("incident_over", id=known.id, by=known.resolved_by)
        entry = desk.draft("incident.resolve", f"incident:{known.id}", text, before=known.grade.value)
        now = desk.iso(desk.now_ms)
        remark = Remark(now, desk.who.name, "resolve", entry.reason)
        after = replace(known, resolved_at=now, resolved_by=desk.who.name, remarks=(*known.remarks, remark))
        more = [_closed(desk, known)]
        if not known.gone_ms:
            quiet = f"{known.grade.value} {desk.now_ms + QUIET_MS}"
            more.append(Change(desk.keys.incidents_open, f"{_QUIET}{known.cause}", "set", quiet, _KEEP_MS))
        return await _write(desk, known, after, entry, ("resolved_at", "resolved_by", "remarks"), more)

    return await _again(once)


async def _again(once: Callable[[], Awaitable[Incident]]) -> Incident:
    """Somebody else may change the same incident at the same moment."""
    for _ in range(5):
        try:
            return await once()
        except GuardFailed:
            continue
    raise Refused("busy")


def _still(desk: Desk, incident: Incident) -> Change:
    """Changes nothing, and fails where the incident is not open any more."""
    return Change(desk.keys.incidents_open, f"{_OPEN}{incident.cause}", "set", incident.id, _KEEP_MS, guard=incident.id)


def _closed(desk: Desk, incident: Incident) -> Change:
    field = f"{_OPEN}{incident.cause}"
    return Change(desk.keys.incidents_open, field, "del", "", _KEEP_MS, guard=incident.id)


async def _write(
    desk: Desk, before: Incident, after: Incident, entry: Entry, names: Sequence[str], more: Sequence[Change] = ()
) -> Incident:
    """Raises GuardFailed when one of the fields is not as it was."""
    was, now, key = _fields(before), _fields(after), desk.keys.incident(before.id)
    changes = [Change(key, name, "set", now[name], _KEEP_MS, guard=was[name]) for name in names]
    await audit.record(desk.client, desk.keys, entry, [*more, *changes], desk.fence)
    return after


# --- how it is written down ------------------------------------------------------------------------------------------


def _fields(incident: Incident) -> dict[str, str]:
    return {
        "id": incident.id,
        "cause": incident.cause,
        "sort": incident.sort.value,
        "target": incident.target,
        "grade": incident.grade.value,
        "peak": incident.peak.value,
        "facts": json.dumps(dict(incident.facts), ensure_ascii=False),
        "opened_at": incident.opened_at,
        "resolved_at": incident.resolved_at,
        "resolved_by": incident.resolved_by,
        "acknowledged_at": incident.acknowledged_at,
        "acknowledged_by": incident.acknowledged_by,
        "alert": f"{incident.alert} {incident.told}".strip(),
        "marks": f"{incident.gone_ms} {incident.lower_ms}",
        "actions": _actions(incident.actions),
        "remarks": json.dumps([asdict(one) for one in incident.remarks], ensure_ascii=False),
    }


def _actions(actions: Sequence[Taken]) -> str:
    return json.dumps([asdict(one) for one in actions], ensure_ascii=False)


def _incident(fields: Mapping[str, str]) -> Incident:
    gone_ms, lower_ms = map(int, fields["marks"].split())
    *alert, told = fields["alert"].split() or [""]
    return Incident(
        id=fields["id"],
        cause=fields["cause"],
        sort=Sort(fields["sort"]),
        target=fields["target"],
        grade=Grade(fields["grade"]),
        peak=Grade(fields["peak"]),
        facts=json.loads(fields["facts"]),
        opened_at=fields["opened_at"],
        resolved_at=fields["resolved_at"],
        resolved_by=fields["resolved_by"],
        acknowledged_at=fields["acknowledged_at"],
        acknowledged_by=fields["acknowledged_by"],
        alert=alert[0] if alert else "",
        told=Severity(told).value if told else "",
        gone_ms=gone_ms,
        lower_ms=lower_ms,
        actions=tuple(Taken(**{**one, "action": Action(one["action"])}) for one in json.loads(fields["actions"])),
        remarks=tuple(Remark(**one) for one in json.loads(fields["remarks"])),
    )
