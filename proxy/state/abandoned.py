"""What settle.lua is given for a reservation whose proxy is gone.

It is charged at what it holds, from its record alone.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from proxy.core import money
from proxy.core.guards import Breaker, Counts, Guards, Limit, Limited
from proxy.core.model import Budget, Period, PeriodUnit, Window
from proxy.state.keys import Keys
from proxy.state.plan import Plan
from proxy.state.record import Facts, Record, noted
from proxy.state.resp import Packed

_DAY = Period(PeriodUnit.DAY)
_encode = msgspec.json.Encoder().encode


def reclaim_parts(keys: Keys, call_id: str, raw: bytes, given_now: int, now_ms: int) -> Packed:
    """What settle.lua is given to charge an abandoned reservation at what it holds. raw: its record as read.

    Raises ValueError for a bad record.
    """
    record = Record.parse(raw)
    facts = record.facts
    budgets, windows = [], []
    for b in facts.budgets:
        # Period, restrict and stop decide admissions only: an ended call needs the window and the thresholds.
        budgets.append(
            Budget(
                b.name,
                b.limit,
                b.currency,
                _DAY,
                b.timezone,
                warn_bp=tuple(b.thresholds),
                restrict_bp=b.thresholds[-1],
                stop_bp=b.thresholds[-1],
            )
        )
        windows.append(Window(b.period, b.starts, b.ends))
    drawn = (facts.quota.name, Window(facts.quota.period, 0, facts.quota.ends)) if facts.quota else None
    plan = Plan.of_windows(keys, tuple(budgets), tuple(windows), facts.timezone, drawn, facts.at_ms, _guards(facts))
    cost, original = _abandoned_cost(record, plan)
    amount = money.format_decimal(cost, facts.currency)
    entry = {
        "at": facts.at,
        "api": facts.api,
        "rule": facts.rule,
        "caller": facts.caller,
        "method": facts.method,
        "path": facts.path,
        "status": "",
        "state": "unconfirmed",
        "cost": amount,
        "currency": facts.currency,
        "original_cost": original,
        "original_currency": facts.original_currency,
        "fx_rate": facts.fx_rate,
        "fx_date": facts.fx_date,
        "estimate": amount,
        "model": facts.model,
        "usage": _encode(facts.usage).decode(),
        "terms": "[]",
        "budgets": plan.charged(record.held),
        "note": noted("unconfirmed", bypassed=record.bypassed),
        "question": "",
    }
    return plan.reclaim_parts(call_id, given_now, now_ms, raw, cost, record.held, entry)


def _guards(facts: Facts) -> Guards:
    """What is to be released: places among the calls at once, and permits of probes."""
    limited = []
    for place in facts.concurrent:
        scope, _, name = place.partition(":")
        limited.append(Limited(scope, name, (Limit(Counts.CONCURRENT, 0),)))
    return Guards(
        tuple(limited), tuple(Breaker(name, 0, 0, None, None, None, None, 0, 0, 0) for name in facts.breakers)
    )


def _abandoned_cost(record: Record, plan: Plan) -> tuple[int, str]:
    """Atoms of the ledger's currency, and the original amount, of what the reservation holds now."""
    facts = record.facts
    estimate, original = facts.estimate, facts.original
    if facts.quota:
        for start, step_original, step_estimate in facts.quota.steps:
            if start <= max(record.position, 0):
                estimate, original = step_estimate, step_original
    estimated = money.to_atoms(Decimal(estimate), facts.currency)
    for held, currency in zip(record.held, plan.currencies, strict=True):
        if currency == facts.currency and held != estimated:
            # The reservation has grown since: the original amount follows at the same rate.
            amount = money.from_atoms(held, facts.currency)
            if facts.fx_rate:
                amount = money.divide(amount, Decimal(facts.fx_rate)).quantize(Decimal("1e-9"))
            return held, money.plain(amount)
    return estimated, original
