"""Alerts over HTTP: their history, what became of each delivery, acknowledging, and dead letters."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.control.messages import Told, body_of, title_of
from proxy.core.admin_model import Role
from proxy.core.alert_model import Kind, Severity
from proxy.state.outbox import Outbox, Record

AlertId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class DeliveryState(Answer):
    """One alert to one channel."""

    channel: str
    phase: str = Field(description="raised or resolved.")
    state: str = Field(description="sent, waiting, dead, or dropped (the channel left the rules).")
    attempts: int
    at: str
    due: str | None = Field(description="When it is tried again, if it waits.")
    error: str | None


class AlertFacts(Answer):
    """One thing that was told."""

    id: str
    kind: Kind
    severity: Severity
    state: str = Field(description="open, resolved, or happened (there is nothing to be resolved).")
    budget: str | None
    title: str
    body: str
    raised_at: str
    resolved_at: str | None
    acknowledged_at: str | None
    acknowledged_by: str | None
    facts: dict[str, str]
    deliveries: list[DeliveryState]


class AlertList(Answer):
    alerts: list[AlertFacts] = Field(description="The newest first.")
    waiting: int = Field(description="Deliveries that are still to be made.")


class DeadLetterFacts(Answer):
    """A delivery that was given up."""

    entry: str
    alert: str
    channel: str
    phase: str
    attempts: int
    at: str
    error: str


class DeadLetters(Answer):
    letters: list[DeadLetterFacts]


class Retried(Answer):
    retried: int


class Page(Asks):
    limit: int = Field(default=50, ge=1, le=500, description="How many at most.")
    before: AlertId | None = Field(default=None, description="Id of an alert: what came before it.")


class Place(Asks):
    id: AlertId


class Entries(Asks):
    entries: list[Annotated[str, Field(pattern=r"^[0-9]{1,19}-[0-9]{1,19}$")]] | None = Field(
        default=None, max_length=1000, description="Which dead letters; without it all of them."
    )


def _outbox(call: Call) -> Outbox:
    return Outbox(call.client, call.desk.keys)


def facts_of(record: Record, language: str) -> AlertFacts:
    resolved = record.resolved_at
    told = Told(record.id, record.kind, record.severity, record.budget, record.facts, record.raised_at, resolved)
    deliveries: list[Any] = []
    for (channel, phase), state in sorted(record.deliveries.items()):
        named = {name: state.get(name) for name in ("state", "attempts", "at", "due", "error")}
        deliveries.append(DeliveryState.model_validate({"channel": channel, "phase": phase, **named}))
    return AlertFacts(
        id=record.id,
        kind=record.kind,
        severity=record.severity,
        state=record.state,
        budget=record.budget,
        title=title_of(told, language),
        body=body_of(told, language),
        raised_at=record.raised_at,
        resolved_at=resolved or None,
        acknowledged_at=record.acknowledged_at or None,
        acknowledged_by=record.acknowledged_by or None,
        facts=dict(record.facts),
        deliveries=deliveries,
    )


async def history(call: Call) -> AlertList:
    records = await _outbox(call).history(call.query.limit, call.query.before)
    return AlertList(
        alerts=[facts_of(record, call.language) for record in records], waiting=await _outbox(call).waiting()
    )


async def one(call: Call) -> AlertFacts:
    found = (await _outbox(call).find([call.place.id])).get(call.place.id)
    if found is None:
        raise Problem(404, "no_alert", id=call.place.id)
    return facts_of(found, call.language)


async def acknowledge(call: Call) -> AlertFacts:
    found = await _outbox(call).acknowledge(call.place.id, call.person.name, call.now_ms(), call.rules.timezone)
    if found is None:
        raise Problem(404, "no_alert", id=call.place.id)
    return facts_of(found, call.language)


async def dead(call: Call) -> DeadLetters:
    letters = await _outbox(call).dead(1000)
    names = ("entry", "alert", "channel", "phase", "attempts", "at", "error")
    return DeadLetters(
        letters=[DeadLetterFacts(**{name: getattr(letter, name) for name in names}) for letter in letters]
    )


async def retry(call: Call) -> Retried:
    outbox = _outbox(call)
    entries = call.body.entries
    if entries is None:
        entries = [letter.entry for letter in await outbox.dead(1000)]
    return Retried(retried=await outbox.retry(entries, call.now_ms()))


ROUTES = [
    Route(
        "GET", "/alerts", Role.VIEWER, "What was told, and whether it arrived", history, answers=AlertList, asks=Page
    ),
    Route("GET", "/alerts/dead-letters", Role.VIEWER, "Deliveries that were given up", dead, answers=DeadLetters),
    Route(
        *("POST", "/alerts/dead-letters/retry", Role.OPERATOR, "Deliver dead letters again", retry),
        answers=Retried,
        takes=Entries,
    ),
    Route("GET", "/alerts/{id}", Role.VIEWER, "One alert", one, answers=AlertFacts, place=Place, problems=(404,)),
    Route(
        *("POST", "/alerts/{id}/acknowledge", Role.OPERATOR, "Note that somebody has seen it", acknowledge),
        answers=AlertFacts,
        place=Place,
        problems=(404,),
    ),
]
