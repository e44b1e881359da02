"""Incidents in words and forms: a section of the page of alerts (all of them) and of the emergency desk (open ones)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.admin.dashboard.app import Action, Seen
from proxy.admin.dashboard.look import Look, ms_of
from proxy.core.emergency_model import Grade

LEVELS: Final = tuple(grade.value for grade in reversed(Grade))
_COLOURS: Final = {"low": "info", "medium": "warn1", "high": "high", "critical": "critical"}
_SPANS: Final = ("10m", "30m", "1h", "2h", "8h")
_SHOWN: Final = 50


async def opened(seen: Seen) -> dict[str, Any]:
    """What is open, for the desk."""
    found = await seen.ask.get("/incidents", {"limit": str(_SHOWN)})
    rules = seen.ask.desk.rules()
    usual = seen.look.span(rules.emergency.lasts_ms // 1000) if rules is not None else ""
    return {
        "incidents": [row(seen.look, one) for one in found["incidents"]],
        "may_handle": seen.ask.may("POST", "/incidents/{id}/apply"),
        "lasts": [("", seen.look.t("dash.incident.usual_span", span=usual)), *_spans(seen.look)],
    }


async def history(seen: Seen) -> dict[str, Any]:
    """All of them, for the page of alerts. query: incidents ("all" | "open"), level, seen ("yes" | "no")."""
    chosen = {name: seen.query.get(name, "") for name in ("incidents", "level", "seen")}
    asked = {"state": "open" if chosen["incidents"] == "open" else "all", "limit": str(_SHOWN)}
    if chosen["level"] in LEVELS:
        asked["level"] = chosen["level"]
    if chosen["seen"] in ("yes", "no"):
        asked["acknowledged"] = chosen["seen"]
    found = await seen.ask.get("/incidents", asked)
    return {
        "incidents": [row(seen.look, one) for one in found["incidents"]],
        "incident_filter": chosen,
        "incidents_narrowed": any(chosen.values()),
        "levels": LEVELS,
        "may_handle": seen.ask.may("POST", "/incidents/{id}/acknowledge"),
    }


async def notice(seen: Seen) -> str:
    """A sentence for the first screen while something is wrong; "" otherwise."""
    found = (await seen.ask.get("/incidents", {"limit": str(_SHOWN)}))["incidents"]
    if not found:
        return ""
    level = seen.look.t(f"incident.level.{found[0]['level']}")
    return seen.look.t("dash.incident.notice", count=len(found), level=level, title=found[0]["title"])


def row(look: Look, one: Mapping[str, Any]) -> dict[str, Any]:
    """One incident as the templates show it."""
    return {
        "id": one["id"],
        "title": one["title"],
        "body": one["body"].splitlines(),
        "colour": _COLOURS[one["level"]],
        "level": look.t(f"incident.level.{one['level']}"),
        "open": one["state"] == "open",
        "state": look.t(f"dash.incident.{'gone' if one['gone_since'] and not one['resolved_at'] else one['state']}"),
        "at": look.moment(ms_of(one["opened_at"])),
        "over": look.t("dash.incident.over_by", time=look.moment(ms_of(one["resolved_at"])), name=one["resolved_by"])
        if one["resolved_at"]
        else "",
        "seen": look.t("dash.seen_by", name=one["acknowledged_by"]) if one["acknowledged_by"] else "",
        "taken": [
            {
                "text": done["text"][:1].upper() + done["text"][1:],
                "kind": "stopped" if done["in_force"] else "none",
                "ended": not done["in_force"],
            }
            for done in one["taken"]
        ],
        "notes": [{**note, "at": look.moment(ms_of(note["at"]))} for note in one["notes"]],
        "proposed": one["proposed"],
    }


def _spans(look: Look) -> list[tuple[str, str]]:
    return [(one, look.t(f"dash.for.{one}")) for one in _SPANS]


def _place(form: Mapping[str, str]) -> dict[str, str]:
    return {"id": form.get("id", "")}


async def acknowledge(seen: Seen, form: Mapping[str, str]) -> str:
    """Note that the visitor looks after an incident."""
    body = {"note": form.get("note", "").strip()}
    found = await seen.ask.post("/incidents/{id}/acknowledge", body, _place(form))
    return seen.look.t("dash.acknowledged", title=found["title"])


async def resolve(seen: Seen, form: Mapping[str, str]) -> str:
    body = {"note": form.get("note", "").strip()}
    found = await seen.ask.post("/incidents/{id}/resolve", body, _place(form))
    return seen.look.t("dash.incident.resolved_now", title=found["title"])


async def apply(seen: Seen, form: Mapping[str, str]) -> str:
    """Do what is proposed."""
    body = {name: form.get(name, "").strip() for name in ("action", "reason", "until")}
    done = await seen.ask.post("/incidents/{id}/apply", body, _place(form))
    return seen.look.t("dash.done", number=", ".join(str(entry["number"]) for entry in done["entries"]))


ACTIONS: Final = (
    Action("/do/incidents/acknowledge", acknowledge),
    Action("/do/incidents/resolve", resolve),
    Action("/do/incidents/apply", apply),
)
