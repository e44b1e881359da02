"""Rent for something that grows, such as storage: at the size of a month ago it would cost less.

The size is asked of Prometheus (control/measuring.py). Rent is taken to follow the size, as storage is billed.
"""

from __future__ import annotations

from decimal import Decimal

from proxy.control.optimize.change import cheaper_rent
from proxy.control.optimize.facts import Facts, where_of
from proxy.control.optimize.finding import Finding
from proxy.core import money

FEWEST_DAYS = 7
MONTH_DAYS = 30


def find(facts: Facts) -> list[Finding]:
    found = []
    for cost in facts.rules.fixed_costs:
        size, rent = facts.grown.get(cost.name), facts.rent(cost)
        if cost.size is None or size is None or not rent or size.days < FEWEST_DAYS or size.then <= 0:
            continue
        growth_bp = (size.now / size.then - 1) * 10_000 * MONTH_DAYS / size.days
        if growth_bp < cost.size.bound:
            continue
        share = Decimal(round(size.then / size.now * 10_000)) / 10_000
        evidence: dict[str, str | int] = {
            "then": f"{size.then:.4g}",
            "now": f"{size.now:.4g}",
            "percent": round((size.now / size.then - 1) * 100),
            "days": size.days,
            "about": cost.name,
        }
        amount = money.from_atoms(money.to_atoms(cost.amount * share, cost.currency, "up"), cost.currency)
        saving = rent - int(rent * share)
        found.append(Finding("growth", cost.name, {where_of(cost): saving}, 2, evidence, cheaper_rent(cost, amount)))
    return found
