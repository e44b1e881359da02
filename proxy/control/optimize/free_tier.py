"""A free allowance that stays unused while a sister rule of the same API is paid for."""

from __future__ import annotations

from proxy.control.optimize.change import cap
from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding
from proxy.core.model import PeriodUnit


def find(facts: Facts) -> list[Finding]:
    found = []
    for api in facts.rules.apis:
        paid = {w: g for w, g in facts.groups.items() if w[0] == api.name and g.cost > 0}
        for rule in api.rules:
            tier = rule.price.free_tier
            if tier is None or tier.of != "requests" or tier.period.unit is not PeriodUnit.MONTH:
                continue
            used = facts.monthly(sum(g.calls for w, g in facts.groups.items() if w[1] == rule.id))
            unused = int(tier.amount) - used
            others = {w: g for w, g in paid.items() if w[1] != rule.id}
            if unused <= 0 or not others:
                continue
            where, group = max(others.items(), key=lambda item: item[1].cost)
            calls = facts.monthly(group.calls)
            saving = facts.monthly(group.cost) * min(unused, calls) // max(1, calls)
            evidence: dict[str, str | int] = {"unused": unused, "rule": rule.id, "other": where[1], "about": rule.id}
            change = cap(facts, "beside-free", where, saving)
            found.append(Finding("free_tier", rule.id, {where: saving}, 3, evidence, change))
    return found
