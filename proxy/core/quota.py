"""Decides what free tiers and tiers make of a call whose first unit has a known position in its period.

Positions and units are thousandths (1 request = 1000), counted from 0 over the period. Free units come off the front;
what remains costs the price of the step that its position is in. Knows no currency, no budget and no clock.

graduated: each unit costs the price of its own step. volume: the step that the whole quantity of the period has
reached prices all of it, so a call costs total(after) - total(before): the calls of a period always add up to the
provider's bill, and the call that reaches a cheaper step may cost less than nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from proxy.core import money
from proxy.core.model import Cost, Estimate, FreeTier, Tiers

THOUSAND = 1000
_K = Decimal(THOUSAND)


def thousandths(units: Decimal) -> int:
    """Units as the counter counts them; a part of a thousandth counts as one."""
    return int(money.multiply(units, _K).to_integral_value(rounding="ROUND_CEILING"))


def cost_at(estimate: Estimate, position: int | None) -> Cost:
    """What is held for a call that draws this position from its quota: the cost of the last step that it reaches.

    position: in thousandths; None: none was drawn, which counts as 0. Without a quota, the estimate's own cost.
    """
    if estimate.quota is None:
        return estimate.cost
    reached = [step.cost for step in estimate.quota.steps if step.from_position <= (position or 0)]
    return reached[-1] if reached else estimate.cost


def free_part(free_tier: FreeTier | None, position: int, units: int) -> int:
    """How many of the call's units (thousandths) are still inside the free tier."""
    if free_tier is None:
        return 0
    return max(0, min(units, thousandths(free_tier.amount) - position))


def tiers_cost(tiers: Tiers, position: int, units: int) -> Decimal:
    """What units [position, position + units) cost. Negative only where a volume price falls."""
    if tiers.mode == "volume":
        return _volume_total(tiers, position + units) - _volume_total(tiers, position)
    cost = Decimal(0)
    start = 0
    for step in tiers.steps:
        end = None if step.up_to is None else thousandths(step.up_to)
        low = max(position, start)
        high = position + units if end is None else min(position + units, end)
        if high > low:
            cost += money.multiply(Decimal(high - low) / _K, step.price)
        if end is None or position + units <= end:
            break
        start = end
    else:
        low = max(position, start)
        if position + units > low:  # beyond a last step that has an end: its price goes on
            cost += money.multiply(Decimal(position + units - low) / _K, tiers.steps[-1].price)
    return cost


def _volume_total(tiers: Tiers, quantity: int) -> Decimal:
    if quantity <= 0:
        return Decimal(0)
    price = tiers.steps[-1].price
    for step in tiers.steps:
        if step.up_to is None or quantity <= thousandths(step.up_to):
            price = step.price
            break
    return money.multiply(Decimal(quantity) / _K, price)


def boundaries(free_tier: FreeTier | None, tiers: Tiers | None) -> tuple[int, ...]:
    """Positions at which the price of a unit changes, ascending."""
    found = set()
    if free_tier is not None:
        found.add(thousandths(free_tier.amount))
    if tiers is not None:
        found |= {thousandths(step.up_to) for step in tiers.steps if step.up_to is not None}
    return tuple(sorted(found))


def worst_by_position(
    cost_at: Callable[[int, int], Decimal], units: int, edges: Iterable[int], or_fewer: bool
) -> list[tuple[int, Decimal]]:
    """(from position, most that a call of `units` can cost from there to the next; at least 0), ascending from 0.

    or_fewer: the call may turn out to use fewer units, which can cost more where a volume price falls.
    cost_at(position, units) is piecewise linear in both with kinks only at the edges: its maximum over a stretch is at
    an end of it, and over fewer units where the last of them ends at an edge.
    """
    edges = sorted(edges)
    bends = {0, *edges, *(edge - units for edge in edges if edge > units)}
    kinks = sorted(bends | {bend + 1 for bend in bends if bend})  # a volume price jumps right behind an edge

    def most(position: int) -> Decimal:
        parts = [units]
        if or_fewer:
            parts += [edge - position for edge in edges if position < edge < position + units]
        return max(Decimal(0), *(cost_at(position, part) for part in parts))

    found: list[tuple[int, Decimal]] = []
    for place, kink in enumerate(kinks):
        worst = most(kink)
        if place + 1 < len(kinks) and kinks[place + 1] - 1 > kink:
            worst = max(worst, most(kinks[place + 1] - 1))
        if not found or found[-1][1] != worst:
            found.append((kink, worst))
    return found
