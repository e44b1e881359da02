"""Put alerts into words: a title, and for each alert what happened, what is left, what is refused next, what to do.

Pure: facts are texts as the store kept them; amounts and instants become what people read here and nowhere before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.control import incident_words
from proxy.control.facts import shown
from proxy.core.alert_model import Kind, Severity
from proxy.core.text import CATALOGUE, say


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as history knows it. resolved_at "" = it holds, or it happened."""

    id: str
    kind: Kind
    severity: Severity
    budget: str | None
    facts: Mapping[str, str]
    raised_at: str
    resolved_at: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """For one channel: a line, and paragraphs."""

    title: str
    body: str
    severity: Severity


def compose(alerts: Sequence[Told], language: str) -> Message:
    """One message about one or several alerts, the most serious first."""
    ordered = sorted(alerts, key=lambda told: -told.severity.rank)
    title = title_of(ordered[0], language)
    parts = [body_of(told, language) for told in ordered]
    if len(ordered) > 1:
        parts = [f"{title_of(told, language)}\n{part}" for told, part in zip(ordered, parts, strict=True)]
        title = say("alert.gathered.title", language, count=len(ordered), title=title)
    return Message(title, "\n\n".join(parts), ordered[0].severity)


def title_of(told: Told, language: str) -> str:
    if told.kind is Kind.INCIDENT:
        title = incident_words.alert_title(told.facts, language)
    else:
        title = say(f"alert.{told.kind.value}.title", language, **_shown(told, language))
    return say("alert.resolved.title", language, title=title) if told.resolved_at else title


def body_of(told: Told, language: str) -> str:
    """Whole sentences, one line a thought."""
    return "\n".join(sentences(told, language))


def sentences(told: Told, language: str) -> list[str]:
    values = _shown(told, language)
    if told.resolved_at:
        lines = [say("alert.resolved.what", language, **values)]
        return [*lines, say("alert.left", language, **values)] if told.facts.get("resets_at") else lines
    if told.kind is Kind.INCIDENT:
        return [*incident_words.alert_lines(told.facts, language), say("alert.reference", language, id=told.id)]
    lines = [say(f"alert.{told.kind.value}.what", language, **values)]
    if told.kind is Kind.FORECAST and told.facts.get("low"):
        lines.append(say("alert.forecast.interval", language, **values))
    if told.kind is Kind.BURN and told.facts.get("empty_at"):
        lines.append(say("alert.burn.empty", language, **values))
    if told.facts.get("left"):
        lines.append(say("alert.left", language, **values))
    lines.append(_next(told, language, values))
    lines.append(say(_to_do(told), language, **values))
    if told.kind is not Kind.TEST:
        lines.append(say("alert.reference", language, id=told.id))
    return [line for line in lines if line]


def _next(told: Told, language: str, values: Mapping[str, str]) -> str:
    following = told.facts.get("next_effect")
    if following is None:
        own = f"alert.next.{told.kind.value}"
        if told.kind is Kind.BREAKER and not told.facts.get("until"):
            own += "_by_hand"
        if own in CATALOGUE:
            return say(own, language, **values)
        return "" if told.kind in (Kind.TEST, Kind.SERVICE_FAILED) else say("alert.next.nothing", language)
    if following == "stop" and told.facts.get("effect") != "restrict":
        following = "stop_only"
    text = say(f"alert.next.{following}", language, **values)
    return f"{text} {say('alert.next.at', language, **values)}" if told.facts.get("next_at") else text


def _to_do(told: Told) -> str:
    if told.kind is Kind.THRESHOLD:
        return f"alert.do.threshold.{told.facts.get('effect', 'warn')}"
    return f"alert.do.{told.kind.value}"


def _shown(told: Told, language: str) -> dict[str, str]:
    """The facts as people read them."""
    return shown(dict(told.facts) | {"raised_at": told.raised_at, "resolved_at": told.resolved_at}, language)
