"""Rent accrues: every hour that is over is charged once, also those that passed while nobody was there."""

from __future__ import annotations

import hashlib
from typing import Final

from proxy.control.jobs import Context, Job
from proxy.core import money
from proxy.core.accrual import slices
from proxy.state.charges import Charge, enter
from proxy.state.gate import Gate
from proxy.state.keys import CHARGES_KEPT_S

_HOUR_MS: Final = 3_600_000


async def accrue(context: Context) -> None:
    """One round. Where each cost stands is kept in Redis and moves after its hour is charged, fenced."""
    rules = context.rules
    if not rules.fixed_costs:
        return
    gate = Gate(context.store, context.keys, clock=context.clock, timezone=rules.timezone)
    now_ms = context.now_ms()
    for cost in rules.fixed_costs:
        field = f"fixed:{cost.name}"
        told = await context.client.ask("HGET", context.keys.charges, field)
        from_ms = int(told) if told else now_ms // _HOUR_MS * _HOUR_MS  # a new cost begins with the hour it is seen in
        if told is None:
            await _remember(context, field, from_ms)
        name = hashlib.sha256(field.encode()).hexdigest()[:16]
        for one in slices(cost, rules.timezone, from_ms, now_ms):
            amount = money.from_atoms(one.atoms, cost.currency)
            charge = Charge(
                *(f"{one.start_ms:012x}{name}", one.start_ms, "fixed", cost.stands_under, cost.name),
                *(amount, cost.currency, cost.api),
            )
            await enter(context.client, gate, rules, charge)
            await _remember(context, field, one.end_ms)


async def _remember(context: Context, field: str, until_ms: int) -> None:
    args: list[str | int] = [str(context.fence), field, str(until_ms), CHARGES_KEPT_S * 1000]
    await context.client.script("note", [context.keys.charges, context.keys.leader], args)


JOB = Job("fixed-costs", 30.0, accrue)
