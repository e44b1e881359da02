"""Circuit breakers over HTTP: how they are, and opening, closing or resetting one by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field

from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.admin.routes_audit import AuditEntry
from proxy.admin.routes_emergency import MayEnd, Why, desk, doing, ends
from proxy.core.admin_model import Role
from proxy.core.windows import iso
from proxy.state import breakers
from proxy.state.breakers import Circuit


class OneCircuit(Answer):
    """A circuit breaker now."""

    name: str = Field(description="Of the API, or the rule's id.")
    state: str = Field(description="closed (traffic flows), open (none) or half_open (a few probes).")
    why: str | None = Field(description="Why it opened.")
    by: str | None = Field(description="Who set it by hand, and why.")
    since: str | None
    next_probe_at: str | None = Field(description="null: not open, or until closed by hand.")
    calls: int = Field(description="In the running window, as failures and slow are.")
    failures: int
    slow: int
    probing: int = Field(description="Probes under way.")


class Circuits(Answer):
    breakers: list[OneCircuit]


class Named(Why):
    name: str = Field(max_length=200, description="Of the API, or the rule's id.", examples=["openai"])


class NamedUntil(MayEnd):
    name: str = Field(max_length=200, description="Of the API, or the rule's id.", examples=["openai"])


def _told(one: Circuit, timezone: str) -> OneCircuit:
    return OneCircuit(
        name=one.name,
        state=one.state,
        why=one.why or None,
        by=one.by or None,
        since=iso(one.changed_ms, timezone) if one.changed_ms else None,
        next_probe_at=iso(one.until_ms, timezone) if one.until_ms else None,
        calls=one.calls,
        failures=one.failures,
        slow=one.slow,
        probing=one.probing,
    )


async def listed(call: Call) -> Circuits:
    found = await breakers.read(call.client, call.desk.keys, breakers.all_of(call.rules), call.now_ms())
    return Circuits(breakers=[_told(one, call.rules.timezone) for one in found])


async def opened(call: Call) -> AuditEntry:
    body, until = call.body, ends(call, call.body.until)
    return await doing(call, lambda: breakers.by_hand(desk(call), body.name, "open", body.reason, until))


async def closed(call: Call) -> AuditEntry:
    body = call.body
    return await doing(call, lambda: breakers.by_hand(desk(call), body.name, "close", body.reason))


async def forgotten(call: Call) -> AuditEntry:
    body = call.body
    return await doing(call, lambda: breakers.by_hand(desk(call), body.name, "reset", body.reason))


def _act(what: str, summary: str, handler: Callable[[Call], Awaitable[AuditEntry]], takes: type[Asks]) -> Route:
    return Route(
        "POST", f"/breakers/{what}", Role.OPERATOR, summary, handler, answers=AuditEntry, takes=takes,
        problems=(404, 409), status=201,
    )  # fmt: skip


ROUTES = [
    Route("GET", "/breakers", Role.VIEWER, "Circuit breakers as they are now", listed, answers=Circuits),
    _act("open", "Let no call of an API or a rule pass, until a time or until it is closed", opened, NamedUntil),
    _act("close", "Let the calls of an API or a rule pass again", closed, Named),
    _act("reset", "Forget everything about a circuit", forgotten, Named),
]
