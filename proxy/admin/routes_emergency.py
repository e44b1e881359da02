"""The emergency desk over HTTP: stop, block, lift, bypass, increase, approve, undo; and what is in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.admin.routes_audit import AuditEntry, EntryNumber, told
from proxy.core import moments, money
from proxy.core.admin_model import Role
from proxy.core.text import say
from proxy.core.windows import iso
from proxy.state import switches
from proxy.state.audit import Entry, Refused, Who

_UNTIL = "When it ends: 30m, 2h, 18:00, 2026-12-01 or ISO 8601."
_MISSING = {"no_entry", "no_target", "nothing_asked", "no_incident"}
_WRONG = {
    "no_reason",
    "needs_until",
    "bad_until",
    "past",
    "too_long",
    "bad_target",
    "bad_amount",
    "not_more",
    "too_much",
}


class Why(Asks):
    reason: str = Field(min_length=1, max_length=500, description="Stands in the audit trail.")


class MayEnd(Why):
    until: str | None = Field(None, max_length=40, description=_UNTIL + " Left out: until undone.")


class MustEnd(Why):
    until: str = Field(min_length=1, max_length=40, description=_UNTIL)


class Target(MayEnd):
    target: str = Field(
        max_length=200, description="api:NAME, rule:ID or caller:NAME.", examples=["api:openai", "caller:batch"]
    )


class Lifted(MustEnd):
    target: str = Field(max_length=200, description="all, budget:NAME or api:NAME.", examples=["all", "budget:monthly"])


class More(Why):
    budget: str = Field(max_length=200)
    amount: str = Field(max_length=40, description="What is added for this period, in the budget's currency.")


class Switch(Answer):
    """One switch in force."""

    field: str = Field(
        description="bypass, stop, api:NAME, rule:ID, caller:NAME, lift:all, lift:budget:NAME, lift:api:NAME."
    )
    until: str | None = Field(description="null: until undone.")
    entry: int = Field(description="Its entry in the audit trail: the handle to undo it.")


class Standing(Answer):
    """What people and the control plane have switched."""

    switches: list[Switch]
    waiting: list[AuditEntry] = Field(description="Increases that wait for a second person.")


def desk(call: Call) -> switches.Desk:
    """The writing side of the switches, in the asker's name."""
    at = call.desk
    return switches.Desk(at.client, at.keys, call.rules, Who(call.person.name, "api"), call.now_ms())


async def doing(call: Call, work: Callable[[], Awaitable[Entry]]) -> AuditEntry:
    """Run it; what cannot be done becomes a problem document."""
    try:
        return told(await work())
    except Refused as refused:
        raise refusal(refused, call) from None


def refusal(refused: Refused, call: Call) -> Problem:
    status = 404 if refused.reason in _MISSING else 422 if refused.reason in _WRONG else 409
    detail = say(f"switches.{refused.reason}", call.language, **refused.values)
    return Problem(status, refused.reason, sentence=detail)


def ends(call: Call, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return moments.until_ms(text, call.now_ms(), call.rules.timezone)
    except (ValueError, OverflowError):
        raise refusal(Refused("bad_until", until=text[:40]), call) from None


async def standing(call: Call) -> Standing:
    now_ms, zone = call.now_ms(), call.rules.timezone
    found = await switches.active(call.client, call.desk.keys, now_ms)
    waiting = await switches.waiting(call.client, call.desk.keys, now_ms, zone)
    return Standing(
        switches=[
            Switch(field=one.field, until=None if one.until_ms is None else iso(one.until_ms, zone), entry=one.entry)
            for one in found
        ],
        waiting=[told(entry) for entry in waiting],
    )


async def stop(call: Call) -> AuditEntry:
    until = ends(call, call.body.until)
    return await doing(call, lambda: switches.stop(desk(call), call.body.reason, until))


async def block(call: Call) -> AuditEntry:
    until = ends(call, call.body.until)
    return await doing(call, lambda: switches.block(desk(call), call.body.target, call.body.reason, until))


async def lift(call: Call) -> AuditEntry:
    until = ends(call, call.body.until)
    return await doing(call, lambda: switches.lift(desk(call), call.body.target, call.body.reason, until))


async def bypass(call: Call) -> AuditEntry:
    until = ends(call, call.body.until)
    return await doing(call, lambda: switches.bypass(desk(call), call.body.reason, until))


async def increase(call: Call) -> AuditEntry:
    name, text = call.body.budget, call.body.amount
    currency = next((b.currency for b in call.rules.budgets if b.name == name), call.rules.currency)
    atoms = money.atoms_of(text, currency)
    if atoms is None:
        raise refusal(Refused("bad_amount", amount=text), call)
    return await doing(call, lambda: switches.increase(desk(call), name, atoms, call.body.reason))


async def approve(call: Call) -> AuditEntry:
    return await doing(call, lambda: switches.approve(desk(call), call.place.number, call.body.reason))


async def undo(call: Call) -> AuditEntry:
    return await doing(call, lambda: switches.undo(desk(call), call.place.number, call.body.reason))


def _act(path: str, role: Role, summary: str, handler: Callable[[Call], Awaitable[AuditEntry]], takes: type[Asks],
         place: type[Asks] | None = None) -> Route:  # fmt: skip
    return Route(
        "POST", f"/emergency/{path}", role, summary, handler, answers=AuditEntry, takes=takes, place=place,
        problems=(404, 409), status=201,
    )  # fmt: skip


ROUTES = [
    Route("GET", "/emergency", Role.VIEWER, "Switches in force, and increases that wait", standing, answers=Standing),
    _act("stop", Role.OPERATOR, "Refuse everything that costs money, now", stop, MayEnd),
    _act("block", Role.OPERATOR, "Refuse the calls of one API, rule or caller, now", block, Target),
    _act("lift", Role.OPERATOR, "Set a restriction aside until a time", lift, Lifted),
    _act("bypass", Role.ADMIN, "Let everything pass, counted, until a time", bypass, MustEnd),
    _act("increase", Role.ADMIN, "Add to a budget for this period", increase, More),
    _act("approve/{number}", Role.ADMIN, "Approve an increase that somebody else asked for", approve, Why, EntryNumber),
    _act("undo/{number}", Role.OPERATOR, "Take back what an audit entry did", undo, Why, EntryNumber),
]
