"""Keeps services as the money says: reads levels and switches, decides (services_plan.py), acts, and remembers.

Every two seconds by the leader; steps of one round run side by side, each with its own time-out, so that one that hangs
or fails holds up no other. What was done stands in Redis and in the audit trail before the next round looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from proxy.control import actuators
from proxy.control.actuators import ActuatorError
from proxy.control.jobs import Context, Job
from proxy.control.services_plan import Pressure, State, Step, failed, steps, wanted
from proxy.core.model import RuleSet
from proxy.core.services_model import Apis, Service, kind_of
from proxy.state import audit, switches
from proxy.state import services as kept
from proxy.state.audit import Refused, Who
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.switches import Desk, Switched

log = structlog.get_logger()

_STATE_OF = {"restricted": Pressure.RESTRICTED, "stopped": Pressure.STOPPED}


def unscoped(rules: RuleSet) -> list[str]:
    """Budgets that count all calls: their lines hold for every service that names none."""
    return [b.name for b in rules.budgets if b.api is None and b.rule is None and b.caller is None]


def pressures(levels: Sequence[Mapping[str, Any]], switched: Sequence[Switched]) -> dict[str, Pressure]:
    """How short each budget's money is. A lift sets its restrict line aside, a bypass all; stop means none is left."""
    fields = {one.field for one in switched}
    found = {}
    for level in levels:
        name, pressure = level["name"], _STATE_OF.get(level["state"], Pressure.NONE)
        if pressure is Pressure.RESTRICTED and fields & {"lift:all", f"lift:budget:{name}"}:
            pressure = Pressure.NONE
        if "stop" in fields:
            pressure = Pressure.STOPPED
        found[name] = Pressure.NONE if "bypass" in fields else pressure
    return found


def at_percent(rules: RuleSet, percent: int) -> dict[str, Pressure]:
    """The same as if every budget were at so many percent of its limit."""
    found = {}
    for budget in rules.budgets:
        bp = percent * 100
        tight = Pressure.RESTRICTED if bp >= budget.restrict_bp else Pressure.NONE
        found[budget.name] = Pressure.STOPPED if bp >= budget.stop_bp else tight
    return found


async def look(
    client: Client, keys: Keys, rules: RuleSet, now_ms: int
) -> tuple[dict[str, State], dict[str, str], dict[str, tuple[bool, str]]]:
    """(states, what people said, what is wanted and why), of this moment. Raises StoreUnavailable."""
    raw, hand = await kept.read(client, keys)
    levels = await Ledger(client, keys).levels(rules.budgets, now_ms)
    switched = await switches.active(client, keys, now_ms)
    states = {name: state_of(one) for name, one in raw.items()}
    return states, hand, wanted(rules.services, pressures(levels, switched), unscoped(rules), hand)


def state_of(raw: Mapping[str, Any]) -> State:
    return State(**{**raw, "entries": tuple((field, entry) for field, entry in raw.get("entries", ()))})


async def tend(context: Context) -> None:
    """One round: do what can be done now."""
    rules = context.rules
    if not rules.services:
        return
    now_ms = context.now_ms()
    states, _, want = await look(context.client, context.keys, rules, now_ms)
    who = Who("spendgate", "automatic")
    desk = Desk(context.client, context.keys, rules, who, now_ms, str(context.fence))
    batch = steps(rules.services, want, states, now_ms)
    await asyncio.gather(*(_take(desk, step, states.get(step.service.name, State())) for step in batch))


async def _take(desk: Desk, step: Step, state: State) -> None:
    service, name = step.service, step.service.name
    try:
        async with asyncio.timeout(service.timeout_s):
            entries = await _act(desk, service, state, start=step.start, reason=step.reason)
    except (ActuatorError, TimeoutError, Refused) as error:
        why = str(error) or f"no end within {service.timeout_s:g} s"
        log.warning("service.failed", service=name, start=step.start, tries=state.tries + 1, error=why)
        await kept.note(desk, name, failed(state, why, desk.now_ms))
        return
    done = State(runs=step.start, since_ms=desk.now_ms, reason=step.reason, entries=entries)
    await kept.moved(desk, name, done, start=step.start, reason=step.reason, dry_run=service.dry_run)
    log.info("service.started" if step.start else "service.stopped", service=name, reason=step.reason,
             kind=kind_of(service.actuator), dry_run=service.dry_run)  # fmt: skip


async def _act(desk: Desk, service: Service, state: State, *, start: bool, reason: str) -> tuple[tuple[str, str], ...]:
    if service.dry_run:
        return ()
    if not isinstance(service.actuator, Apis):
        await actuators.act(service.actuator, start=start)
        return ()
    if start:
        for field, number in state.entries:
            await switches.release(desk, field, f"service:{service.name}", only_of=number)
        return ()
    why, written = f"service:{service.name}", []
    held = {one.field: one.entry for one in await switches.active(desk.client, desk.keys, desk.now_ms)}
    for api in service.actuator.names:
        field = f"api:{api}"
        if field not in held:
            written.append((field, str((await switches.block(desk, field, f"{why}, {reason}")).number)))
            continue
        # Held already: by a person, and then it stays theirs; or by us, when the leader before died halfway.
        entry = await audit.find(desk.client, desk.keys, held[field])
        if entry is not None and entry.via == "automatic" and entry.reason.startswith(f"{why},"):
            written.append((field, str(entry.number)))
    return tuple(written)


async def asked(service: Service) -> bool | None:
    """Whether it runs, by its own probe; None where it has none or the probe fails."""
    try:
        async with asyncio.timeout(min(service.timeout_s, 5.0)):
            return await actuators.probe(service.actuator)
    except (ActuatorError, TimeoutError, OSError):
        return None


JOB = Job("services", 2.0, tend)
