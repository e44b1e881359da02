"""Reads what the first screen shows; overview.py makes it presentable."""

from __future__ import annotations

from typing import Any

from proxy.admin.dashboard import emergency, overview
from proxy.admin.dashboard.app import Seen
from proxy.admin.dashboard.look import ms_of
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
    kept = (await seen.ask.get("/forecast"))["forecasts"]
    facts = overview.Overview(
        budgets=rules.budgets,
        levels=await ledger.levels(rules.budgets, look.now_ms),
        projections={
            one["name"]: overview.Projection(one["month_end"], *one["interval80"])
            for one in kept
            if one["kind"] == "budget"
        },
        restrictions=[
            overview.Restriction(
                emergency.kind_of(one["field"]),
                emergency.what(look, one["field"]),
                ms_of(one["until"]) if one["until"] else None,
            )
            for one in standing
        ],
        saved=month["saved"],
        today=await ledger.today(look.timezone, look.now_ms),
        in_flight=len(await ledger.in_flight()),
        last=[entry async for entry in ledger.last(_LAST, look.now_ms)],
    )
    return overview.context(look, facts)
