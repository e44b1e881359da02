"""Rent for something that hardly works, such as a GPU used to under 30 %: half of it would do.

What is used is asked of Prometheus (control/measuring.py). Half the size works twice as hard, so that below the bound
there is still room; a peak that half could not carry is told beside it, for people to judge.
"""

from __future__ import annotations

from proxy.control.optimize.change import cheaper_rent
from proxy.control.optimize.facts import Facts, where_of
from proxy.control.optimize.finding import Finding

FEWEST_DAYS = 2


def find(facts: Facts) -> list[Finding]:
    found = []
    for cost in facts.rules.fixed_costs:
        use, rent = facts.used.get(cost.name), facts.rent(cost)
        if cost.utilisation is None or use is None or not rent or use.days < FEWEST_DAYS:
            continue
        if use.mean >= cost.utilisation.bound:
            continue
        evidence: dict[str, str | int] = {
            "mean": f"{use.mean:.3g}",
            "peak": f"{use.peak:.3g}",
            "bound": f"{cost.utilisation.bound:f}",
            "days": use.days,
            "about": cost.name,
        }
        found.append(
            Finding("idle", cost.name, {where_of(cost): rent // 2}, 2, evidence, cheaper_rent(cost, cost.amount / 2))
        )
    return found
