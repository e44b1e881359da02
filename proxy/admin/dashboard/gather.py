"""Reads what the first screen shows; overview.py makes it presentable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.admin.dashboard import emergency, incidents, overview
from proxy.admin.dashboard.app import Seen
from proxy.admin.dashboard.look import Look, ms_of
from proxy.state.ledger import Ledger

_LAST = 7


async def page(seen: Seen) -> dict[str, Any]:
    """Values of overview.html."""
    desk, look = seen.ask.desk, seen.look
    rules = desk.rules()
    assert rules is not None  # noqa: S101 - app.py shows another page without rules
    ledger = Ledger(desk.client, desk.keys)
    month = await seen.ask.get("/usage")
    standing = (await seen.ask.get("/emergency"))["switches"]
    kept = (await seen.ask.get("/forecast", {"kind": "budget"}))["forecasts"]
    levels = await ledger.levels(rules.budgets, look.now_ms)
    facts = overview.Overview(
        budgets=rules.budgets,
        levels=levels,
        projections={one["name"]: overview.Projection(one["month_end"], *one["interval80"]) for one in kept},
        restrictions=[
            *(
                overview.Restriction(
                    emergency.kind_of(one["field"]),
                    emergency.what(look, one["field"]),
                    ms_of(one["until"]) if one["until"] else None,
                )
                for one in standing
            ),
            *_by_themselves(look, levels),
            *await _guards(seen),
        ],
        saved=month["saved"],
        saved_by_cache=month["saved_by_cache"],
        today=await ledger.today(look.timezone, look.now_ms),
        in_flight=len(await ledger.in_flight()),
        last=[entry async for entry in ledger.last(_LAST, look.now_ms)],
    )
    return overview.context(look, facts) | {"trouble": await incidents.notice(seen)}


def _by_themselves(look: Look, levels: Sequence[Mapping[str, Any]]) -> list[overview.Restriction]:
    """Budgets that let only essential calls pass, or none: until their reset."""
    return [
        overview.Restriction(
            one["state"], look.t(f"dash.budget_{one['state']}", name=one["name"]), ms_of(one["resets_at"])
        )
        for one in levels
        if one["state"] in ("restricted", "stopped")
    ]


async def _guards(seen: Seen) -> list[overview.Restriction]:
    """Circuits that are not closed, APIs that asked for a pause, services that do not run."""
    look, ask = seen.look, seen.ask
    found = [
        overview.Restriction(
            one["state"],
            look.t("dash.circuit", name=one["name"], state=look.t(f"dash.breaker.{one['state']}")),
            ms_of(one["next_probe_at"]) if one["next_probe_at"] else None,
        )
        for one in (await ask.get("/breakers"))["breakers"]
        if one["state"] != "closed"
    ]
    found += [
        overview.Restriction("warn1", look.t("dash.paused", name=one["api"]), ms_of(one["until"]))
        for one in (await ask.get("/limits"))["paused"]
    ]
    stopped = [one for one in (await ask.get("/services"))["services"] if not one["runs"]]
    return found + [
        overview.Restriction("stopped", look.t("dash.not_running", name=one["name"]), None) for one in stopped
    ]
