"""The page of alerts: what was told, to whom it got, and who has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.admin.dashboard import incidents
from proxy.admin.dashboard.app import Action, Seen
from proxy.admin.dashboard.look import Look, ms_of

_KINDS: Final = {"info": "info", "warning": "warn1", "critical": "critical"}
_DELIVERED: Final = {"sent": "ok", "waiting": "pending", "dead": "dead", "dropped": "none"}


async def page(seen: Seen) -> dict[str, Any]:
    """Values of alerts.html. query: severity, state; incidents, level, seen."""
    look, ask = seen.look, seen.ask
    found = await ask.get("/alerts", {"limit": "200"})
    dead = (await ask.get("/alerts/dead-letters"))["letters"]
    chosen = {name: seen.query.get(name, "") for name in ("severity", "state")}
    shown = [one for one in found["alerts"] if all(not value or one[name] == value for name, value in chosen.items())]
    return {
        "title": look.t("dash.tab.alerts"),
        "alerts": [_alert(look, one) for one in shown[:100]],
        "waiting": found["waiting"],
        "chosen": chosen,
        "severities": sorted({one["severity"] for one in found["alerts"]}),
        "states": sorted({one["state"] for one in found["alerts"]}),
        "dead": [
            {
                **letter,
                "at": look.moment(ms_of(letter["at"])),
                "what": look.t("dash.dead_after", count=letter["attempts"]),
            }
            for letter in dead
        ],
        "may": ask.may("POST", "/alerts/{id}/acknowledge"),
        **await incidents.history(seen),
    }


def _alert(look: Look, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": one["id"],
        "title": one["title"],
        "body": one["body"],
        "kind": _KINDS.get(one["severity"], "none"),
        "severity": look.t(f"dash.severity.{one['severity']}"),
        "state": look.t(f"dash.alert.{one['state']}"),
        "at": look.moment(ms_of(one["raised_at"])),
        "resolved": look.moment(ms_of(one["resolved_at"])) if one["resolved_at"] else "",
        "seen": look.t("dash.seen_by", name=one["acknowledged_by"]) if one["acknowledged_by"] else "",
        "deliveries": [
            {
                "kind": _DELIVERED.get(sent["state"], "none"),
                "text": f"{sent['channel']}: " + look.t(f"dash.delivery.{sent['state']}"),
                "error": sent["error"] or "",
            }
            for sent in one["deliveries"]
        ],
    }


async def acknowledge(seen: Seen, form: Mapping[str, str]) -> str:
    """Note that the visitor has seen an alert."""
    found = await seen.ask.post("/alerts/{id}/acknowledge", place={"id": form.get("id", "")})
    return seen.look.t("dash.acknowledged", title=found["title"])


async def retry(seen: Seen, _form: Mapping[str, str]) -> str:
    """Deliver everything again that was given up."""
    found = await seen.ask.post("/alerts/dead-letters/retry")
    return seen.look.t("dash.retried", count=found["retried"])


ACTIONS: Final = (Action("/do/alerts/acknowledge", acknowledge), Action("/do/alerts/retry", retry))
