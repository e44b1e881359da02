"""The audit trail: who did what, when and why; and whether the chain is whole."""

from __future__ import annotations

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.core.admin_model import Role
from proxy.state import audit
from proxy.state.audit import Entry


class EntryNumber(Asks):
    number: int = Field(ge=1, le=10**12, description="Number of an audit entry.")


class Pages(Asks):
    count: int = Field(50, ge=1, le=500, description="How many entries, the newest first.")
    before: int | None = Field(None, ge=1, le=10**12, description="Only entries with a smaller number.")


class AuditEntry(Answer):
    """One line of the trail."""

    number: int
    at: str
    by: str
    via: str = Field(description="cli, api or automatic.")
    action: str
    target: str
    reason: str
    until: str | None
    before: str
    after: str
    undoable: bool
    undoes: int | None = Field(description="The entry that this one takes back or answers.")
    hash: str


class AuditPage(Answer):
    entries: list[AuditEntry]
    next_before: int | None = Field(description="`before` of the next page; null: this was the last.")


class AuditVerdict(Answer):
    """What a walk over the whole chain found."""

    sound: bool
    entries: int
    head: str
    broken_at: int | None
    what: str | None = Field(description="changed, missing, unreadable, cut or head.")


class Head(Asks):
    head: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="A hash that must be in the chain.")


def told(entry: Entry) -> AuditEntry:
    return AuditEntry(
        number=entry.number,
        at=entry.at,
        by=entry.by,
        via=entry.via,
        action=entry.action,
        target=entry.target,
        reason=entry.reason,
        until=entry.until or None,
        before=entry.before,
        after=entry.after,
        undoable=bool(entry.undo),
        undoes=int(entry.undoes) if entry.undoes else None,
        hash=entry.hash,
    )


async def page(call: Call) -> AuditPage:
    found = await audit.last(call.client, call.desk.keys, call.query.count, call.query.before)
    more = len(found) == call.query.count and found[-1].number > 1
    return AuditPage(entries=[told(entry) for entry in found], next_before=found[-1].number if more else None)


async def one(call: Call) -> AuditEntry:
    found = await audit.find(call.client, call.desk.keys, call.place.number)
    if found is None:
        raise Problem(404, "not_found")
    return told(found)


async def verify(call: Call) -> AuditVerdict:
    found = await audit.verify(call.client, call.desk.keys, call.query.head)
    return AuditVerdict(
        sound=found.sound,
        entries=found.entries,
        head=found.head,
        broken_at=found.broken_at,
        what=found.what or None,
    )


ROUTES = [
    Route("GET", "/audit", Role.VIEWER, "The audit trail, the newest first", page, answers=AuditPage, asks=Pages),
    Route("GET", "/audit/verify", Role.VIEWER, "Whether the chain is whole", verify, answers=AuditVerdict, asks=Head),
    Route(
        "GET", "/audit/{number}", Role.VIEWER, "One entry", one, answers=AuditEntry, place=EntryNumber, problems=(404,)
    ),
]
