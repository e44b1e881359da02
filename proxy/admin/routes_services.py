"""Services: how they are, what would be done, and the hand that stops and starts them."""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.admin.routes_audit import AuditEntry
from proxy.admin.routes_emergency import Why, desk, doing
from proxy.control import services
from proxy.control.services_plan import State, rehearsal, wanted
from proxy.core.admin_model import Role
from proxy.core.services_model import kind_of
from proxy.core.windows import iso
from proxy.state import services as kept


class ServiceRow(Answer):
    name: str
    priority: str
    kind: str = Field(description="apis, http, command, docker, systemd or kubernetes.")
    depends_on: list[str]
    runs: bool = Field(description="As last stopped or started; true if it was never touched.")
    wanted: bool = Field(description="Whether it should run now.")
    why: str = Field(description="money, by_hand, budget:NAME or service:NAME.")
    by_hand: str | None = Field(description="stop or start, as a person said; null: as the money says.")
    tries: int = Field(description="Failures in a row.")
    error: str | None
    next_try: str | None
    since: str | None
    dry_run: bool
    probed: bool | None = Field(description="What its own probe says; null: not asked, none, or no answer.")


class Services(Answer):
    services: list[ServiceRow]


class StepRow(Answer):
    service: str
    action: Literal["stop", "start"]
    why: str


class Plan(Answer):
    """Rounds of steps; those of one round run side by side."""

    at: int | None
    rounds: list[list[StepRow]]


class Look(Asks):
    probe: bool = Field(False, description="Ask each service's own probe, too.")


class At(Asks):
    at: int | None = Field(None, ge=0, le=100, description="As if every budget were at so many percent; left out: now.")


class Named(Asks):
    name: str = Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    action: Literal["stop", "start", "auto"] = Field(description="auto: as the money says again.")


async def listed(call: Call) -> Services:
    rules = call.rules
    states, hand, want = await services.look(call.client, call.desk.keys, rules, call.now_ms())
    probed: dict[str, bool | None] = {}
    if call.query.probe:
        answers = await asyncio.gather(*(services.asked(service) for service in rules.services))
        probed = {service.name: answer for service, answer in zip(rules.services, answers, strict=True)}
    rows = []
    for service in rules.services:
        state = states.get(service.name, State())
        should, why = want[service.name]
        rows.append(
            ServiceRow(
                name=service.name,
                priority=service.priority,
                kind=kind_of(service.actuator),
                depends_on=list(service.depends_on),
                runs=state.runs is not False,
                wanted=should,
                why=why,
                by_hand=hand.get(service.name),
                tries=state.tries,
                error=state.error or None,
                next_try=iso(state.next_ms, rules.timezone) if state.tries else None,
                since=iso(state.since_ms, rules.timezone) if state.since_ms else None,
                dry_run=service.dry_run,
                probed=probed.get(service.name),
            )
        )
    return Services(services=rows)


async def plan(call: Call) -> Plan:
    rules = call.rules
    states, hand, want = await services.look(call.client, call.desk.keys, rules, call.now_ms())
    if call.query.at is not None:
        want = wanted(rules.services, services.at_percent(rules, call.query.at), services.unscoped(rules), hand)
    rounds = rehearsal(rules.services, want, states)
    return Plan(
        at=call.query.at,
        rounds=[
            [
                StepRow(service=step.service.name, action="start" if step.start else "stop", why=step.reason)
                for step in batch
            ]
            for batch in rounds
        ],
    )


async def by_hand(call: Call) -> AuditEntry:
    if call.place.name not in {service.name for service in call.rules.services}:
        raise Problem(404, "not_found")
    return await doing(call, lambda: kept.by_hand(desk(call), call.place.name, call.place.action, call.body.reason))


ROUTES = [
    Route("GET", "/services", Role.VIEWER, "Services and how they are", listed, answers=Services, asks=Look),
    Route("GET", "/services/plan", Role.VIEWER, "What would be done", plan, answers=Plan, asks=At),
    Route("POST", "/services/{name}/{action}", Role.OPERATOR, "Stop or start a service by hand", by_hand,
          answers=AuditEntry, takes=Why, place=Named, status=201, problems=(404, 409)),
]  # fmt: skip
