"""The page of services: how each is, in which order they stop and start, and the hand that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.admin.dashboard import charts
from proxy.admin.dashboard.app import Action, Seen
from proxy.admin.dashboard.look import Look, ms_of

_LEVELS: Final = ("95", "100")


async def page(seen: Seen) -> dict[str, Any]:
    """Values of services.html."""
    look, ask = seen.look, seen.ask
    services = (await ask.get("/services"))["services"]
    plans = {level: (await ask.get("/services/plan", {"at": level}))["rounds"] for level in _LEVELS} if services else {}
    trail = (await ask.get("/audit", {"count": "200"}))["entries"]
    return {
        "title": look.t("dash.tab.services"),
        "services": [_row(look, one) for one in services],
        "graph": charts.graph([charts.Node(one["name"], _kind(one), tuple(one["depends_on"])) for one in services]),
        "plans": [
            (
                look.t("dash.plan_at", percent=level),
                [[look.t(f"dash.plan.{step['action']}", name=step["service"]) for step in batch] for batch in rounds],
            )
            for level, rounds in plans.items()
        ],
        "last": [
            {
                "at": look.moment(ms_of(one["at"])),
                "what": f"{one['action']} {one['target']}",
                "by": one["by"],
                "why": one["reason"],
            }
            for one in trail
            if one["action"].startswith("service")
        ][:10],
        "may": ask.may("POST", "/services/{name}/{action}"),
    }


def _kind(one: Mapping[str, Any]) -> str:
    if one["tries"]:
        return "failed"
    if one["runs"] != one["wanted"]:
        return "starting" if one["wanted"] else "stopping"
    return "running" if one["runs"] else "stopped"


def _row(look: Look, one: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(one)
    why, _, name = one["why"].partition(":")
    return {
        "name": one["name"],
        "priority": look.t(f"dash.priority.{one['priority']}"),
        "how": one["kind"],
        "needs": ", ".join(one["depends_on"]) or "—",
        "kind": kind,
        "state": look.t(f"dash.service.{kind}"),
        "why": look.t(f"dash.service_why.{why}", name=name),
        "error": one["error"] or "",
        "by_hand": one["by_hand"],
        "dry_run": one["dry_run"],
    }


async def act(seen: Seen, form: Mapping[str, str]) -> str:
    """Stop, start, or hand a service back to the money."""
    place = {"name": form.get("name", ""), "action": form.get("action", "")}
    done = await seen.ask.post("/services/{name}/{action}", {"reason": form.get("reason", "")}, place)
    return seen.look.t("dash.done", number=done["number"])


ACTIONS: Final = (Action("/do/services", act),)
