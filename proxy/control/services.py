"""Keeps services as the money says: reads levels and switches, decides (services_plan.py), acts, and remembers.

Every two seconds by the leader; every service has its own task and its own time-out, so that one that hangs or fails
holds up no other. What was done stands in Redis and in the audit trail before anything that waits for it begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

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
from proxy.state.store import StoreUnavailable
from proxy.state.switches import Desk, Switched

log = structlog.get_logger()

EVERY_S: Final = 2.0

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
    raw, hand = await kept.read(client, keys, now_ms)
    levels = await Ledger(client, keys).levels(rules.budgets, now_ms)
    switched = await switches.active(client, keys, now_ms)
    states = {name: state_of(one) for name, one in raw.items()}
    return states, hand, wanted(rules.services, pressures(levels, switched), unscoped(rules), hand)


def state_of(raw: Mapping[str, Any]) -> State:
    return State(**{**raw, "entries": tuple((field, entry) for field, entry in raw.get("entries", ()))})


class Tender:
    """`await step()` every two seconds; `await settle()` to wait for what is under way.

    A service is stopped or started by a task of its own, which the next looks do not wait for: one that hangs until its
    time is up holds up those that depend on it, and no other. Mutable state: what is under way, by service.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def step(self) -> None:
        """Begin what can be done now. Raises StoreUnavailable and Stale, also of what was begun before."""
        for name in [name for name, task in self._under_way.items() if task.done()]:
            self._under_way.pop(name).result()
        context = self._context
        rules, now_ms = context.rules, context.now_ms()
        if not rules.services:
            return
        states, _, want = await look(context.client, context.keys, rules, now_ms)
        for one in steps(rules.services, want, states, now_ms):
            name = one.service.name
            if name not in self._under_way:
                taking = _take(context, one, states.get(name, State()))
                self._under_way[name] = asyncio.create_task(taking, name=f"service-{name}")

    async def settle(self) -> None:
        """Wait for everything under way. Raises what the first one that failed raised."""
        await asyncio.gather(*self._under_way.values())

    async def close(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)


async def tend(context: Context) -> None:
    """One round, waited for: do what can be done now."""
    tender = Tender(context)
    await tender.step()
    await tender.settle()


async def keep(context: Context) -> None:
    """The leader's job: until it leads no more."""
    tender = Tender(context)
    try:
        while True:
            try:
                await tender.step()
            except StoreUnavailable as error:  # what is under way goes on
                log.warning("services.store_unavailable", reason=str(error))
            await asyncio.sleep(EVERY_S)
    finally:
        await tender.close()


def _desk(context: Context) -> Desk:
    """The control plane's own, at this moment."""
    who = Who("spendgate", "automatic")
    return Desk(context.client, context.keys, context.rules, who, context.now_ms(), str(context.fence))


async def _take(context: Context, step: Step, state: State) -> None:
    service, name = step.service, step.service.name
    try:
        async with asyncio.timeout(service.timeout_s):
            entries = await _act(_desk(context), service, state, start=step.start, reason=step.reason)
    except (ActuatorError, TimeoutError, Refused) as error:
        why = str(error) or f"no end within {service.timeout_s:g} s"
        log.warning("service.failed", service=name, start=step.start, tries=state.tries + 1, error=why)
        desk = _desk(context)  # its pause begins when it has failed, not when it was begun
        await kept.note(desk, name, failed(state, why, desk.now_ms))
        return
    desk = _desk(context)
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


JOB = Job("services", EVERY_S, keep)
