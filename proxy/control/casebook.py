"""What people see of incidents and do about them: the same for the commands, the API and the dashboard.

Asks the store and hands over; what can be done is decided in escalation.py, what is said in incident_words.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from proxy.control import escalation, incident_words
from proxy.core.emergency_model import Action, Incident
from proxy.core.model import RuleSet
from proxy.core.text import say
from proxy.core.windows import iso
from proxy.state import incidents, services, switches
from proxy.state.audit import Entry, Refused
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.switches import Desk


async def listed(
    client: Client,
    keys: Keys,
    now_ms: int,
    *,
    only_open: bool,
    count: int,
    before: str | None = None,
    wanted: Callable[[Incident], bool] = lambda _: True,
) -> list[Incident]:
    """The open ones, the worst first; or all, the newest first. Raises StoreUnavailable."""
    if not only_open:
        return await incidents.history(client, keys, count, before, wanted)
    open_, _ = await incidents.standing(client, keys, now_ms)
    newest = sorted((one for one in open_.values() if wanted(one)), key=lambda one: one.opened_at, reverse=True)
    return sorted(newest, key=lambda one: -one.grade.rank)[:count]


async def documents(
    client: Client, keys: Keys, rules: RuleSet, now_ms: int, found: Iterable[Incident], language: str
) -> list[dict[str, Any]]:
    """Incidents as programs and pages are told of them. Raises StoreUnavailable."""
    _, hand = await services.read(client, keys, now_ms)
    in_force = frozenset(one.entry for one in await switches.active(client, keys, now_ms))
    return [_document(one, rules, hand, in_force, now_ms, language) for one in found]


def _document(
    incident: Incident, rules: RuleSet, hand: dict[str, str], in_force: frozenset[int], now_ms: int, language: str
) -> dict[str, Any]:
    zone = rules.timezone
    proposals = [
        (action, escalation.targets(action, incident, rules, hand))
        for action in escalation.proposed(incident, rules, hand, now_ms)
    ]
    return {
        "id": incident.id,
        "kind": incident.sort.value,
        "level": incident.grade.value,
        "worst": incident.peak.value,
        "state": "resolved" if incident.resolved_at else "open",
        "target": incident.target,
        "title": incident_words.title(incident, language),
        "body": "\n".join(incident_words.sentences(incident, language)),
        "opened_at": incident.opened_at,
        "gone_since": iso(incident.gone_ms, zone) if incident.gone_ms else None,
        "resolved_at": incident.resolved_at or None,
        "resolved_by": incident.resolved_by or None,
        "acknowledged_at": incident.acknowledged_at or None,
        "acknowledged_by": incident.acknowledged_by or None,
        "alert": incident.alert or None,
        "facts": dict(incident.facts),
        "proposed": [
            {"action": action.value, "targets": list(targets), "text": incident_words.action(action, targets, language)}
            for action, targets in proposals
        ],
        "taken": [
            {
                "action": one.action.value,
                "target": one.target,
                "entry": one.entry,
                "at": one.at,
                "until": iso(one.until_ms, zone),
                "by": one.by,
                "automatic": one.automatic,
                "in_force": escalation.still(one, in_force, now_ms),
                "text": incident_words.taken(one, zone, language),
            }
            for one in incident.actions
        ],
        "notes": [{"at": one.at, "by": one.by, "what": one.what, "text": one.text} for one in incident.remarks],
    }


async def apply(
    desk: Desk, incident_id: str, wanted: str, reason: str, until_ms: int | None
) -> tuple[Incident, list[Entry]]:
    """Do what is proposed. wanted: which of it; "" where only one thing is. reason: "" = the incident itself.

    until_ms: None = as long as the rules say. Raises Refused, StoreUnavailable.
    """
    known = await incidents.one(desk.client, desk.keys, incident_id)
    if known.resolved_at:
        raise Refused("incident_over", id=known.id, by=known.resolved_by)
    _, hand = await services.read(desk.client, desk.keys, desk.now_ms)
    proposals = escalation.proposed(known, desk.rules, hand, desk.now_ms)
    names = ", ".join(one.value for one in proposals) or "-"
    if not wanted and len(proposals) != 1:
        raise Refused("which_action" if proposals else "nothing_proposed", id=known.id, known=names)
    action = proposals[0] if not wanted else next((one for one in proposals if one.value == wanted), None)
    if action is None:
        raise Refused("not_proposed", id=known.id, action=wanted[:40], known=names)
    language = desk.rules.language
    why = say("incident.reason", language, id=known.id, title=incident_words.title(known, language))
    ends_ms = desk.now_ms + desk.rules.emergency.lasts_ms if until_ms is None else until_ms
    targets = escalation.targets(action, known, desk.rules, hand)
    told = f"{why} / {reason.strip()}" if reason.strip() else why
    return await incidents.take(desk, known, action, targets, told, ends_ms)


ACTIONS = tuple(action.value for action in Action)
