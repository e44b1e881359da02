"""The page of optimisation: what would save money, how that was found, the exact change; and next month's limits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from proxy.admin.dashboard.app import Action, Seen
from proxy.admin.dashboard.look import Look, ms_of

_PATH: Final = "/recommendations/set-aside"


async def page(seen: Seen) -> dict[str, Any]:
    """Values of optimize.html."""
    look, ask = seen.look, seen.ask
    found = await ask.get("/recommendations")
    plan = await ask.get("/plan")
    whole = sum((Decimal(one["monthly_saving"]) for one in found["recommendations"]), Decimal(0))
    unit = plan["currency"]
    return {
        "title": look.t("dash.tab.optimize"),
        "whole": look.money(whole),
        "advice": [_advice(look, one) for one in found["recommendations"]],
        "aside": [
            {
                "id": one["id"],
                "text": one["text"],
                "until": look.until(ms_of(one["until"])) if one["until"] else look.t("dash.dismissed"),
            }
            for one in found["put_off"]
        ],
        "may": ask.may("POST", _PATH),
        "plan": {
            "month": plan["month"],
            "fits": plan["fits"],
            "total": look.money(plan["total"], unit),
            "budget": look.money(plan["budget"], unit) if plan["budget"] else "—",
            "lines": [
                {
                    "api": one["api"],
                    "expected": look.money(one["expected"], unit),
                    "interval": look.t(
                        "dash.from_to",
                        low=look.money(one["interval80"][0], unit),
                        high=look.money(one["interval80"][1], unit),
                    ),
                    "saving": look.money(one["saving"], unit),
                    "limit": look.money(one["limit"], unit),
                }
                for one in plan["apis"]
            ],
            "change": plan["change"],
        },
    }


def _advice(look: Look, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": one["id"],
        "api": one["api"],
        "text": one["text"],
        "saving": look.money(one["monthly_saving"], one["currency"]),
        "alone": look.money(one["monthly_saving_alone"], one["currency"]),
        "effort": look.t(f"dash.effort.{one['effort']}"),
        "evidence": [(name.replace("_", " "), str(value)) for name, value in one["evidence"].items()],
        "program": one["program"],
        "change": one["change"],
    }


async def aside(seen: Seen, form: Mapping[str, str]) -> str:
    """Dismiss a recommendation, or put it off."""
    days = form.get("days", "")
    body: dict[str, Any] = {"id": form.get("id", "")}
    if days:
        body["days"] = int(days) if days.isdecimal() else days
    await seen.ask.post(_PATH, body)
    return seen.look.t("dash.put_aside")


async def again(seen: Seen, form: Mapping[str, str]) -> str:
    """Show a recommendation again."""
    await seen.ask.post("/recommendations/show-again", {"id": form.get("id", "")})
    return seen.look.t("dash.shown_again")


ACTIONS: Final = (Action("/do/recommendations/aside", aside), Action("/do/recommendations/again", again))
