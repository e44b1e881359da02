"""What becomes of incidents, what can be done about them, and what there is to tell.

Pure: troubles and open incidents in, steps out. An incident becomes worse at once and less bad after five minutes; it
is over when its cause has been gone for as long as the rules say, and nothing that was done about it holds any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.control.emergency import Trouble
from proxy.control.services_plan import ranks
from proxy.core.alert_model import Severity
from proxy.core.emergency_model import Action, Incident, Quiet, Sort, Taken, from_grade_on
from proxy.core.model import RuleSet

FALL_MS: Final = 300_000  # a grade is lowered when it has been too high for so long


@dataclass(frozen=True, slots=True)
class Begins:
    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Turns:
    """It becomes worse, or is less bad for long enough."""

    incident: Incident
    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Marks:
    """Since when its cause is gone, or less bad; 0 = it is not."""

    incident: Incident
    gone_ms: int
    lower_ms: int


@dataclass(frozen=True, slots=True)
class Ends:
    incident: Incident


Step = Begins | Turns | Marks | Ends


def steps(
    open_: Mapping[str, Incident],
    quiet: Mapping[str, Quiet],
    troubles: Sequence[Trouble],
    in_force: frozenset[int],
    calm_ms: int,
    now_ms: int,
) -> list[Step]:
    """What has changed. open_: by cause. in_force: audit entries of switches that hold now: while a block holds, its
    cause cannot show, so that its incident is not over."""
    found: list[Step] = []
    now = {trouble.cause: trouble for trouble in troubles}
    for cause, trouble in now.items():
        incident = open_.get(cause)
        if incident is not None:
            step = _goes_on(incident, trouble, now_ms)
            if step is not None:
                found.append(step)
        elif cause not in quiet or trouble.grade.rank > quiet[cause].grade.rank:
            found.append(Begins(trouble))
    for cause, incident in open_.items():
        if cause in now:
            continue
        if not incident.gone_ms:
            found.append(Marks(incident, now_ms, 0))
        elif now_ms - incident.gone_ms >= calm_ms and not holds(incident, in_force, now_ms):
            found.append(Ends(incident))
    return found


def _goes_on(incident: Incident, trouble: Trouble, now_ms: int) -> Step | None:
    if trouble.grade.rank > incident.grade.rank:
        return Turns(incident, trouble)
    if trouble.grade.rank == incident.grade.rank:
        return Marks(incident, 0, 0) if incident.gone_ms or incident.lower_ms else None
    if not incident.lower_ms:
        return Marks(incident, 0, now_ms)
    if now_ms - incident.lower_ms >= FALL_MS:
        return Turns(incident, trouble)
    return Marks(incident, 0, incident.lower_ms) if incident.gone_ms else None


def holds(incident: Incident, in_force: frozenset[int], now_ms: int) -> bool:
    """Whether something that was done about it holds still."""
    return any(still(taken, in_force, now_ms) for taken in incident.actions)


def still(taken: Taken, in_force: frozenset[int], now_ms: int) -> bool:
    """Whether an action holds: its time is not over, and nobody undid it (which services do not tell)."""
    return taken.until_ms > now_ms and (taken.entry in in_force or taken.action is Action.STOP_SERVICES)


# --- what can be done ----------------------------------------------------------------------------------------------

_AGAINST: Final[Mapping[Action, frozenset[Sort]]] = {
    Action.STOP_SERVICES: frozenset({Sort.BURN, Sort.RUNAWAY}),
    Action.STOP_ALL: frozenset({Sort.BURN, Sort.RUNAWAY, Sort.STORE}),
}


def targets(action: Action, incident: Incident, rules: RuleSet, hand: Mapping[str, str]) -> tuple[str, ...]:
    """What an action would be done to; () = it does not fit the incident. hand: services that people decided about."""
    kind, _, name = incident.target.partition(":")
    if action is Action.BLOCK_CALLER:
        callers = {"anonymous", *(caller.name for caller in rules.callers)}
        return (incident.target,) if kind == "caller" and name in callers else ()
    if action is Action.BLOCK_API:
        return (incident.target,) if kind == "api" and any(api.name == name for api in rules.apis) else ()
    if incident.sort not in _AGAINST[action]:
        return ()
    if action is Action.STOP_ALL:
        return ("all",)
    rank = ranks(rules.services)
    return tuple(f"service:{one}" for one, word in rank.items() if word == "optional" and one not in hand)


def proposed(incident: Incident, rules: RuleSet, hand: Mapping[str, str], now_ms: int) -> list[Action]:
    """What can be done about an open incident and has not been, the mildest first."""
    if incident.resolved_at:
        return []
    table = rules.emergency
    wanted = {*from_grade_on(table.proposed, incident.grade), *from_grade_on(table.automatic, incident.grade)}
    return [
        one for one in Action if one in wanted and _open(one, incident, now_ms) and targets(one, incident, rules, hand)
    ]


def automatic(incident: Incident, rules: RuleSet, hand: Mapping[str, str], now_ms: int) -> list[Action]:
    """What is done now without asking. What a person undid is not done again before it would have ended by itself."""
    if incident.resolved_at or incident.gone_ms:
        return []
    wanted = from_grade_on(rules.emergency.automatic, incident.grade)
    if incident.target in rules.emergency.spare:
        wanted = tuple(one for one in wanted if one not in (Action.BLOCK_CALLER, Action.BLOCK_API))
    return [one for one in wanted if _open(one, incident, now_ms) and targets(one, incident, rules, hand)]


def _open(action: Action, incident: Incident, now_ms: int) -> bool:
    return not any(taken.action is action and taken.until_ms > now_ms for taken in incident.actions)


# --- what is told ---------------------------------------------------------------------------------------------------


def alert_key(incident: Incident) -> tuple[str, Severity] | None:
    """(key, severity) of the alert that tells an open incident as it is now; None: its cause's own alert says enough.

    A graver one is told anew, and so is whatever was done without asking.
    """
    severity = incident.peak.severity
    done = sum(taken.automatic for taken in incident.actions)
    if done and severity.rank < Severity.WARNING.rank:
        severity = Severity.WARNING
    if incident.told and not done and Severity(incident.told).rank >= severity.rank:
        return None
    return f"{alert_prefix(incident)}{severity.value}:{done}", severity


def alert_prefix(incident: Incident) -> str:
    """How the keys of all alerts about an incident begin."""
    return f"incident:{incident.id}:"
