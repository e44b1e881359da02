"""The leader's job that keeps the forecasts fresh: reads the roll-ups, forecasts in a thread, writes what it found.

How good the forecast has been changes once a day and costs seconds, so it is worked out once a local day and then
carried along.
"""

from __future__ import annotations

import asyncio
from typing import Any

from proxy.control.jobs import Context
from proxy.core.history import Day, Drawn
from proxy.core.model import RuleSet
from proxy.core.windows import local_day
from proxy.state import allowances, forecasts, history
from proxy.state.ledger import Ledger

EVERY_S = 300.0


async def refresh(context: Context) -> None:
    """One round. Raises StoreUnavailable."""
    rules, now_ms, client, keys = context.rules, context.now_ms(), context.client, context.keys
    days = await history.days(client, keys, rules.timezone, now_ms)
    levels = await Ledger(client, keys).current(rules.budgets, now_ms)
    limits = {level.budget: level.limit_atoms for level in levels}
    drawn = await allowances.drawn(client, keys, rules, now_ms)
    today = local_day(now_ms, rules.timezone)
    # numpy is slow to import and the work is the processor's: neither belongs on the loop.
    told = await asyncio.to_thread(_forecast, rules, days, now_ms, limits, drawn)
    kept = await forecasts.read(client, keys, [(one["kind"], one["name"]) for one in told])
    if any(fields.get("past_day") != today for fields in kept):
        past = await asyncio.to_thread(_past, rules, days)
        for one in told:
            error, cover = past.get((one["kind"], one["name"]), (None, None))
            one["past_error_percent"] = None if error is None else round(error, 2)
            one["past_cover80"] = None if cover is None else round(cover, 3)
    else:
        for one, fields in zip(told, kept, strict=True):
            one["past_error_percent"] = float(fields["past_error"]) if fields["past_error"] else None
            one["past_cover80"] = forecasts.past_cover(fields)
    await forecasts.keep(client, keys, told, now_ms, rules.timezone, today)


def _forecast(
    rules: RuleSet, days: list[Day], now_ms: int, limits: dict[str, int], drawn: Drawn
) -> list[dict[str, Any]]:
    from proxy.control.outlook import as_json, outlooks

    return [as_json(one) for one in outlooks(rules, days, now_ms, limits=limits, drawn=drawn, backtests=False)]


def _past(rules: RuleSet, days: list[Day]) -> dict[tuple[str, str], tuple[float, float]]:
    from proxy.control.outlook import past_errors

    return past_errors(rules, days)
