"""Spend at night and at weekends, when few people wait for an answer: a daily budget keeps it at a working day's pace.

Only optional and important APIs; half of what is spent then is taken as avoidable.
"""

from __future__ import annotations

from proxy.control.optimize import change
from proxy.control.optimize.facts import Facts, Where
from proxy.control.optimize.finding import Finding
from proxy.core.model import Priority

LEAST_SHARE = 30  # percent of an API's spend
FEWEST = 50


def find(facts: Facts) -> list[Finding]:
    found = []
    for api in facts.rules.apis:
        essential = {rule.id for rule in api.rules if rule.priority is Priority.ESSENTIAL}
        groups = {w: g for w, g in facts.groups.items() if w[0] == api.name and w[1] not in essential}
        cost, night = sum(g.cost for g in groups.values()), sum(g.night_cost for g in groups.values())
        calls = sum(g.night for g in groups.values())
        if not cost or calls < FEWEST or 100 * night < LEAST_SHARE * cost:
            continue
        savings: dict[Where, int] = {w: facts.monthly(g.night_cost // 2) for w, g in groups.items() if g.night_cost}
        a_day = change.limit_text((facts.monthly(cost) - sum(savings.values())) // 30, facts.rules.currency)
        found.append(
            Finding(
                "off_hours",
                api.name,
                savings,
                2,
                {"night": calls, "share": 100 * night // cost, "about": api.name},
                f"budgets:\n  - {{name: {api.name}-daily-cap, limit: {a_day}, period: day, "
                f"applies_to: {{api: {api.name}}}}}\n",
            )
        )
    return found
