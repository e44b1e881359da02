"""Incidents in words: what is wrong, what can be done about it, and what was.

Pure; the sentences come from the catalogue, amounts and instants become what people read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from proxy.control.facts import shown
from proxy.core.emergency_model import Action, Grade, Incident, Sort, Taken
from proxy.core.figures import moment
from proxy.core.text import say
from proxy.core.windows import iso

_MINUTE_S: Final = 60
_HOUR_MIN: Final = 60
_DAY_MIN: Final = 1440


def level(grade: Grade, language: str) -> str:
    return say(f"incident.level.{grade.value}", language)


def title(incident: Incident, language: str) -> str:
    return title_of(incident.sort, incident.facts, language)


def title_of(sort: Sort, facts: Mapping[str, str], language: str) -> str:
    return say(f"{_key(sort, facts)}.title", language, **_shown(facts, language))


def sentences(incident: Incident, language: str) -> list[str]:
    """What happened, as far as it was measured."""
    lines = sentences_of(incident.sort, incident.facts, language)
    if incident.peak is not incident.grade:
        lines.append(say("incident.was", language, level=level(incident.peak, language)))
    return lines


def sentences_of(sort: Sort, facts: Mapping[str, str], language: str) -> list[str]:
    values = _shown(facts, language)
    lines = [say(f"{_key(sort, facts)}.what", language, **values)]
    if facts.get("empty_at"):
        lines.append(say("incident.burn.empty", language, **values))
    return lines


def action(what: Action, targets: Sequence[str], language: str) -> str:
    """What would be done."""
    return say(f"incident.action.{what.value}", language, target=_targets(targets, language))


def taken(one: Taken, timezone: str, language: str) -> str:
    """What was done, until when, by whom."""
    what = say(f"incident.taken.{one.action.value}", language, target=_targets([one.target], language))
    key = "incident.taken_alone" if one.automatic else "incident.taken_by"
    return say(key, language, what=what, until=moment(iso(one.until_ms, timezone)), by=one.by, entry=one.entry)


# --- in alerts ------------------------------------------------------------------------------------------------------


def alert_facts(incident: Incident, proposals: Mapping[Action, Sequence[str]], timezone: str) -> dict[str, str]:
    """What an alert about an incident carries, as texts. proposals: action -> what it would be done to."""
    return {
        **incident.facts,
        "incident": incident.id,
        "about": incident.sort.value,
        "level": incident.grade.value,
        "done": "; ".join(
            f"{one.action.value} {one.target} {one.entry} {iso(one.until_ms, timezone)}"
            for one in incident.actions
            if one.automatic
        ),
        "proposed": "; ".join(" ".join([one.value, *targets]) for one, targets in proposals.items()),
    }


def alert_title(facts: Mapping[str, str], language: str) -> str:
    told = title_of(Sort(facts["about"]), facts, language)
    return say("alert.incident.title", language, level=level(Grade(facts["level"]), language), title=told)


def alert_lines(facts: Mapping[str, str], language: str) -> list[str]:
    """What happened, what was done, what happens next, what to do."""
    lines = sentences_of(Sort(facts["about"]), facts, language)
    done = [one.split(" ") for one in facts["done"].split("; ") if one]
    if done:
        told = [
            say(
                *("incident.taken_alone", language),
                what=say(f"incident.taken.{name}", language, target=_targets([target], language)),
                until=moment(until),
                entry=entry,
            )
            for name, target, entry, until in done
        ]
        lines.append(say("alert.incident.done", language, done=", ".join(told)))
    lines.append(say("alert.next.incident_done" if done else "alert.next.incident", language))
    proposals = [one.split(" ") for one in facts["proposed"].split("; ") if one]
    if proposals:
        wanted = ", ".join(action(Action(name), targets, language) for name, *targets in proposals)
        lines.append(say("alert.do.incident_propose", language, incident=facts["incident"], proposed=wanted))
    else:
        lines.append(say("alert.do.incident", language, incident=facts["incident"]))
    return lines


def _targets(targets: Sequence[str], language: str) -> str:
    told = []
    for target in targets:
        kind, _, name = target.partition(":")
        told.append(say(f"incident.target.{kind}", language, name=name) if kind in ("caller", "api") else name or kind)
    return ", ".join(told)


def _key(sort: Sort, facts: Mapping[str, str]) -> str:
    if sort is not Sort.STORE:
        return f"incident.{sort.value}"
    return "incident.store.away_for" if facts.get("seconds") else f"incident.store.{facts['what']}"


def _shown(facts: Mapping[str, str], language: str) -> dict[str, str]:
    values = shown(facts, language)
    if minutes := facts.get("empty_in"):
        values["empty_in"] = _span(int(minutes), language)
    if seconds := facts.get("seconds"):
        values["lasted"] = _lasted(int(seconds), language)
    return values


def _lasted(seconds: int, language: str) -> str:
    if seconds < 2 * _MINUTE_S:
        return say("incident.span.seconds", language, seconds=seconds)
    return _span(seconds // _MINUTE_S, language)


def _span(minutes: int, language: str) -> str:
    if minutes < 2 * _HOUR_MIN:
        return say("incident.span.minutes", language, minutes=max(1, minutes))
    if minutes < 2 * _DAY_MIN:
        return say("incident.span.hours", language, hours=minutes // _HOUR_MIN)
    return say("incident.span.days", language, days=minutes // _DAY_MIN)
