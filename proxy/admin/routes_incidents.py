"""Incidents over HTTP: what is open, the history, acknowledging and resolving, and doing what is proposed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.admin.routes_audit import AuditEntry, told
from proxy.admin.routes_emergency import desk, ends, refusal
from proxy.control import casebook
from proxy.core.admin_model import Role
from proxy.core.emergency_model import Action, Grade, Incident, Sort
from proxy.core.text import say
from proxy.state import incidents
from proxy.state.audit import Refused

IncidentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class ProposedAction(Answer):
    """Something that can be done about an incident, by one request."""

    action: Action
    targets: list[str] = Field(description="What it would be done to: caller:batch, api:openai, service:reports, all.")
    text: str


class TakenAction(Answer):
    """Something that was done about an incident."""

    action: Action
    target: str
    entry: int = Field(description="Its entry in the audit trail: the handle to undo it.")
    at: str
    until: str = Field(description="When it ends by itself.")
    by: str
    automatic: bool
    in_force: bool
    text: str


class IncidentNote(Answer):
    at: str
    by: str
    what: str = Field(description="acknowledge or resolve.")
    text: str


class IncidentFacts(Answer):
    """One thing that went wrong, and what became of it."""

    id: str
    kind: Sort
    level: Grade
    worst: Grade = Field(description="The highest level that it ever had.")
    state: str = Field(description="open or resolved.")
    target: str = Field(description="What it is about: caller:NAME, api:NAME, budget:NAME or store.")
    title: str
    body: str
    opened_at: str
    gone_since: str | None = Field(description="Since when its cause is gone, while it is not over yet.")
    resolved_at: str | None
    resolved_by: str | None
    acknowledged_at: str | None
    acknowledged_by: str | None
    alert: str | None = Field(description="Id of the alert that told its cause.")
    facts: dict[str, str]
    proposed: list[ProposedAction]
    taken: list[TakenAction]
    notes: list[IncidentNote]


class IncidentList(Answer):
    incidents: list[IncidentFacts] = Field(description="Open ones: the worst first. All: the newest first.")


class Applied(Answer):
    incident: IncidentFacts
    entries: list[AuditEntry]


class Filters(Asks):
    state: Literal["open", "all"] = Field("open", description="Only open ones, or also those that are over.")
    level: Grade | None = Field(None, description="Only of this level (the worst that they had).")
    acknowledged: Literal["yes", "no"] | None = Field(None, description="Only those that somebody has seen, or nobody.")
    limit: int = Field(50, ge=1, le=500, description="How many at most.")
    before: IncidentId | None = Field(None, description="With state=all: id of an incident, for what came before it.")


class Place(Asks):
    id: IncidentId


class MayNote(Asks):
    note: str = Field("", max_length=500, description="Kept with the incident, and in the audit trail.")


class MustNote(Asks):
    note: str = Field(min_length=1, max_length=500, description="Kept with the incident, and in the audit trail.")


class Apply(Asks):
    action: Action | None = Field(None, description="Which of the proposed actions; left out where there is only one.")
    reason: str = Field("", max_length=400, description="Stands in the audit trail beside the incident.")
    until: str | None = Field(
        None, max_length=40, description="When it ends: 30m, 2h, 18:00 or ISO 8601. Left out: as long as the rules say."
    )


async def listed(call: Call) -> IncidentList:
    asked = call.query

    def wanted(one: Incident) -> bool:
        if asked.level is not None and one.peak is not asked.level:
            return False
        return asked.acknowledged is None or bool(one.acknowledged_by) == (asked.acknowledged == "yes")

    found = await casebook.listed(
        *(call.client, call.desk.keys, call.now_ms()),
        only_open=asked.state == "open",
        count=asked.limit,
        before=asked.before,
        wanted=wanted,
    )
    return IncidentList(incidents=await _facts(call, found))


async def _facts(call: Call, found: list[Incident]) -> list[IncidentFacts]:
    rows = await casebook.documents(call.client, call.desk.keys, call.rules, call.now_ms(), found, call.language)
    return [IncidentFacts.model_validate(row) for row in rows]


async def _one(call: Call, found: Incident) -> IncidentFacts:
    (row,) = await _facts(call, [found])
    return row


async def shown(call: Call) -> IncidentFacts:
    try:
        return await _one(call, await incidents.one(call.client, call.desk.keys, call.place.id))
    except Refused as refused:
        raise refusal(refused, call) from None


async def acknowledge(call: Call) -> IncidentFacts:
    seen = say("incident.seen", call.rules.language)
    try:
        return await _one(call, await incidents.acknowledge(desk(call), call.place.id, call.body.note, seen))
    except Refused as refused:
        raise refusal(refused, call) from None


async def resolve(call: Call) -> IncidentFacts:
    try:
        return await _one(call, await incidents.resolve(desk(call), call.place.id, call.body.note))
    except Refused as refused:
        raise refusal(refused, call) from None


async def apply(call: Call) -> Applied:
    until, asked = ends(call, call.body.until), call.body
    action = asked.action.value if asked.action is not None else ""
    try:
        found, entries = await casebook.apply(desk(call), call.place.id, action, asked.reason, until)
    except Refused as refused:
        raise refusal(refused, call) from None
    return Applied(incident=await _one(call, found), entries=[told(entry) for entry in entries])


ROUTES = [
    Route("GET", "/incidents", Role.VIEWER, "What went wrong by itself", listed, answers=IncidentList, asks=Filters),
    Route(
        *("GET", "/incidents/{id}", Role.VIEWER, "One incident, and what can be done about it", shown),
        answers=IncidentFacts,
        place=Place,
        problems=(404,),
    ),
    Route(
        *("POST", "/incidents/{id}/acknowledge", Role.OPERATOR, "Note that somebody looks after it", acknowledge),
        answers=IncidentFacts,
        takes=MayNote,
        place=Place,
        problems=(404, 409),
    ),
    Route(
        *("POST", "/incidents/{id}/resolve", Role.OPERATOR, "Say that it is over", resolve),
        answers=IncidentFacts,
        takes=MustNote,
        place=Place,
        problems=(404, 409),
    ),
    Route(
        *("POST", "/incidents/{id}/apply", Role.OPERATOR, "Do what is proposed for it", apply),
        answers=Applied,
        takes=Apply,
        place=Place,
        status=201,
        problems=(404, 409),
    ),
]
