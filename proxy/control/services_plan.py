"""Which services should run, and what is to be done next for that. Pure: levels and states in, steps out.

At a budget's restrict line optional services stop, at its stop line important ones too, essential ones never, nor what
they depend on. Dependants stop before what they depend on and start after it. A step that fails is tried again with a
growing pause, and after a few failures holds up nobody else any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from proxy.core.services_model import Service

PATIENCE: Final = 3  # failures of a step for which the others wait
_PAUSES_S: Final = (1, 2, 4, 8, 15, 30)


class Pressure(IntEnum):
    """How short the money is, for services."""

    NONE = 0
    RESTRICTED = 1  # optional services stop
    STOPPED = 2  # important ones too


@dataclass(frozen=True, slots=True)
class State:
    """One service as last known. runs None: never touched, so it is taken to run. tries: failures in a row."""

    runs: bool | None = None
    tries: int = 0
    next_ms: int = 0  # not before
    error: str = ""
    since_ms: int = 0
    reason: str = ""
    entries: tuple[tuple[str, str], ...] = ()  # switches of ours and their audit entries, for `apis`


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be done now."""

    service: Service
    start: bool
    reason: str


def ranks(services: Sequence[Service]) -> dict[str, str]:
    """The priority that counts: that of the most important service that needs this one, or its own."""
    order = ("optional", "important", "essential")
    found = {service.name: service.priority for service in services}
    for _ in services:
        for service in services:
            for needed in service.depends_on:
                if needed in found and order.index(found[needed]) < order.index(found[service.name]):
                    found[needed] = found[service.name]
    return found


def wanted(
    services: Sequence[Service],
    pressure: Mapping[str, Pressure],
    unscoped: Sequence[str],
    by_hand: Mapping[str, str],
) -> dict[str, tuple[bool, str]]:
    """Service -> (should it run, why). pressure: by budget. unscoped: budgets that count all calls.

    by_hand: "stop" | "start" beat everything; why is "by_hand", "budget:<name>" or "money".
    """
    rank = ranks(services)
    found: dict[str, tuple[bool, str]] = {}
    for service in services:
        hand = by_hand.get(service.name)
        if hand in ("stop", "start"):
            found[service.name] = (hand == "start", "by_hand")
            continue
        level = {"optional": Pressure.RESTRICTED, "important": Pressure.STOPPED}.get(rank[service.name])
        budgets = service.budgets or tuple(unscoped)
        tight = [name for name in budgets if level is not None and pressure.get(name, Pressure.NONE) >= level]
        found[service.name] = (False, f"budget:{tight[0]}") if tight else (True, "money")
    # What needs a service that is stopped cannot run either, unless a person says so.
    for _ in services:
        for service in services:
            runs, _why = found[service.name]
            down = [name for name in service.depends_on if name in found and not found[name][0]]
            if runs and down and by_hand.get(service.name) != "start" and rank[service.name] != "essential":
                found[service.name] = (False, f"service:{down[0]}")
    return found


def steps(
    services: Sequence[Service],
    want: Mapping[str, tuple[bool, str]],
    states: Mapping[str, State],
    now_ms: int,
) -> list[Step]:
    """What can be done at this moment, in the order of the file; the rest waits for it or for its next try."""

    def runs(name: str) -> bool:
        known = states.get(name, State()).runs
        return known is not False

    def settled(name: str, should: bool) -> bool:
        """Whether nobody need wait for it: it is as it should be, or has failed too often."""
        return runs(name) == should or states.get(name, State()).tries >= PATIENCE

    found = []
    for service in services:
        should, why = want[service.name]
        state = states.get(service.name, State())
        if runs(service.name) == should or now_ms < state.next_ms:
            continue
        if should:
            waits = [name for name in service.depends_on if name in want and want[name][0] and not settled(name, True)]
        else:
            above = [other.name for other in services if service.name in other.depends_on]
            waits = [name for name in above if not want[name][0] and not settled(name, False)]
        if not waits:
            found.append(Step(service, should, why))
    return found


def rehearsal(
    services: Sequence[Service], want: Mapping[str, tuple[bool, str]], states: Mapping[str, State]
) -> list[list[Step]]:
    """All that would be done, round after round, if every step succeeded."""
    rounds: list[list[Step]] = []
    known = {name: replace(state, tries=0, next_ms=0) for name, state in states.items()}
    while batch := steps(services, want, known, 0):
        rounds.append(batch)
        for step in batch:
            known[step.service.name] = replace(known.get(step.service.name, State()), runs=step.start)
    return rounds


def failed(state: State, error: str, now_ms: int) -> State:
    """After a step that did not work: when it is tried again."""
    pause_s = _PAUSES_S[min(state.tries, len(_PAUSES_S) - 1)]
    return replace(state, tries=state.tries + 1, next_ms=now_ms + pause_s * 1000, error=error[:300])
