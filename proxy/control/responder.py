"""The first responder: the leader opens, grades and ends incidents, and does what the rules let it do alone.

Works on what the watch has measured; all decisions are in emergency.py and escalation.py. Every act is one atomic
step with its audit entry and the fencing token, so that a cause has one incident and an action is done once, however
often leaders change.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from proxy.control import emergency, escalation, incident_words
from proxy.control.emergency import Measures, Trouble
from proxy.control.escalation import Begins, Ends, Marks, Turns
from proxy.control.jobs import Context
from proxy.core.alert_model import Alert, Kind, Severity
from proxy.core.emergency_model import Grade, Incident
from proxy.core.text import say
from proxy.state import incidents as kept
from proxy.state import services, switches
from proxy.state.audit import Refused, Who
from proxy.state.switches import Desk

log = structlog.get_logger()

FRESH_EVERY_MS: Final = 30_000  # how often the figures of an incident that goes on are written down
ALONE: Final = Who("spendgate", "automatic")

Told = Mapping[str, tuple[str, Severity]]  # key of an alert -> its id and severity


@dataclass(frozen=True, slots=True)
class Tells:
    """What there is to tell about incidents now. staying: beginnings of keys of alerts that are not over."""

    alerts: tuple[Alert, ...]
    staying: tuple[str, ...]


class Responder:
    """`await step(measures, told, now_ms)` after every look. Mutable: when the figures were last written down."""

    def __init__(self, context: Context, new_id: Callable[[], str] = lambda: secrets.token_hex(4)) -> None:
        self._context = context
        self._new_id = new_id
        self._fresh_ms = 0

    async def step(self, measures: Measures, told: Told, now_ms: int) -> Tells:
        """told: alerts that are open or were just raised. Raises Stale, StoreUnavailable."""
        context = self._context
        client, keys, rules = context.client, context.keys, context.rules
        open_, quiet = await kept.standing(client, keys, now_ms)
        held = {cause: incident.grade for cause, incident in open_.items()}
        troubles = emergency.detect(measures, held, rules.emergency.sorts)
        if not troubles and not open_:
            return Tells((), ())
        desk = Desk(client, keys, rules, ALONE, now_ms, str(context.fence))
        in_force = frozenset(one.entry for one in await switches.active(client, keys, now_ms))
        for step in escalation.steps(open_, quiet, troubles, in_force, rules.emergency.calm_ms, now_ms):
            await self._do(desk, step, open_, told)
        await self._freshen(desk, troubles, open_)
        _, hand = await services.read(client, keys, now_ms)
        for cause in list(open_):
            open_[cause] = await self._act(desk, open_[cause], hand)
        return self._tells(list(open_.values()), hand, now_ms)

    async def _do(self, desk: Desk, step: escalation.Step, open_: dict[str, Incident], told: Told) -> None:
        """One step; `open_` is then as the store is."""
        if isinstance(step, Begins):
            trouble = step.trouble
            alert, severity = told.get(trouble.alert, ("", None))
            began_ms = desk.now_ms if trouble.began_ms is None else trouble.began_ms
            made = _begun(trouble, self._new_id(), desk.iso(began_ms))
            made = replace(made, alert=alert, told=severity.value if severity is not None else "")
            if await kept.begin(desk, made, self._why(made)):
                open_[trouble.cause] = made
                log.warning("incident.opened", incident=made.id, cause=made.cause, level=made.grade.value)
            return
        incident = step.incident
        if isinstance(step, Turns):
            trouble = step.trouble
            why = self._why(replace(incident, facts=trouble.facts))
            after = await kept.grade(desk, incident, trouble.grade, trouble.facts, why)
            if after is None:
                open_.pop(incident.cause)  # a person has just resolved it
                return
            log.warning("incident.level", incident=incident.id, cause=incident.cause, level=after.grade.value)
            open_[incident.cause] = after
        elif isinstance(step, Marks):
            open_[incident.cause] = await kept.note(desk, incident, gone_ms=step.gone_ms, lower_ms=step.lower_ms)
        else:
            await self._end(desk, step)
            open_.pop(incident.cause, None)

    async def _end(self, desk: Desk, step: Ends) -> None:
        minutes = (desk.now_ms - step.incident.gone_ms) // 60_000
        if await kept.end(desk, step.incident, say("incident.calm", self._context.language, minutes=minutes)):
            log.info("incident.over", incident=step.incident.id, cause=step.incident.cause)

    async def _freshen(self, desk: Desk, troubles: list[Trouble], open_: dict[str, Incident]) -> None:
        if 0 <= desk.now_ms - self._fresh_ms < FRESH_EVERY_MS:
            return
        self._fresh_ms = desk.now_ms
        for trouble in troubles:
            incident = open_.get(trouble.cause)
            if incident is not None and dict(incident.facts) != dict(trouble.facts):
                open_[trouble.cause] = await kept.note(desk, incident, facts=trouble.facts)

    async def _act(self, desk: Desk, incident: Incident, hand: Mapping[str, str]) -> Incident:
        """Do what the rules let us do without asking."""
        rules = self._context.rules
        for action in escalation.automatic(incident, rules, hand, desk.now_ms):
            targets = escalation.targets(action, incident, rules, hand)
            try:
                incident, _ = await kept.take(
                    desk, incident, action, targets, self._why(incident), desk.now_ms + rules.emergency.lasts_ms
                )
            except Refused as refused:  # somebody stopped it for longer, or changed it at this very moment
                log.debug("incident.not_acted", incident=incident.id, action=action.value, why=refused.reason)
                continue
            log.warning("incident.acted", incident=incident.id, action=action.value, targets=targets)
        return incident

    def _tells(self, open_: list[Incident], hand: Mapping[str, str], now_ms: int) -> Tells:
        rules = self._context.rules
        alerts = []
        for incident in open_:
            told = escalation.alert_key(incident)
            if told is None:
                continue
            key, severity = told
            wanted = escalation.proposed(incident, rules, hand, now_ms)
            proposals = {one: escalation.targets(one, incident, rules, hand) for one in wanted}
            facts = incident_words.alert_facts(incident, proposals, rules.timezone)
            kind, _, name = incident.target.partition(":")
            alerts.append(Alert(Kind.INCIDENT, severity, key, name if kind == "budget" else None, facts))
        return Tells(tuple(alerts), tuple(escalation.alert_prefix(one) for one in open_))

    def _why(self, incident: Incident) -> str:
        language = self._context.language
        return say("incident.reason", language, id=incident.id, title=incident_words.title(incident, language))


def _begun(trouble: Trouble, incident_id: str, at: str) -> Incident:
    grade: Grade = trouble.grade
    return Incident(
        id=incident_id,
        cause=trouble.cause,
        sort=trouble.sort,
        target=trouble.target,
        grade=grade,
        peak=grade,
        facts=trouble.facts,
        opened_at=at,
    )
