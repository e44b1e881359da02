"""A free allowance that stays unused while a sister rule of the same API is paid for."""

from __future__ import annotations

from proxy.control.optimize.change import cap
from proxy.control.optimize.facts import MONTH_DAYS, Facts
from proxy.control.optimize.finding import Finding
from proxy.core.model import FreeTier, PeriodUnit, Rule
from proxy.core.windows import window_at

_DAY_MS = 86_400_000


def find(facts: Facts) -> list[Finding]:
    found = []
    for api in facts.rules.apis:
        paid = {w: g for w, g in facts.groups.items() if w[0] == api.name and g.cost > 0}
        for rule in api.rules:
            tier = rule.price.free_tier
            if tier is None or tier.period.unit is not PeriodUnit.MONTH:
                continue
            unused = _unused(facts, rule, tier)
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


def _unused(facts: Facts, rule: Rule, tier: FreeTier) -> int:
    """How many calls more fit into the allowance each month; 0 where nobody knows how many units a call draws."""
    calls = sum(g.calls for w, g in facts.groups.items() if w[1] == rule.id)
    if tier.of == "requests":
        return int(tier.amount) - facts.monthly(calls)
    running = window_at(tier.period, facts.rules.timezone, facts.now_ms)
    before = window_at(tier.period, facts.rules.timezone, running.start_ms - 1)
    # The days looked at reach into the month before by so much of it.
    reach = facts.days * _DAY_MS - (facts.now_ms - running.start_ms)
    part = min(1.0, max(0.0, reach / (before.end_ms - before.start_ms)))
    units = facts.drawn.get((rule.id, running.label), 0.0) + part * facts.drawn.get((rule.id, before.label), 0.0)
    if not calls or not units:
        return 0
    return int((float(tier.amount) - units * MONTH_DAYS / facts.days) * calls / units)
