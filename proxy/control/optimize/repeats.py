"""The same question asked again on the same day by the same caller: a kept answer costs nothing.

Recognised by address and the digest of query and body that the ledger keeps (core/question.py).
"""

from __future__ import annotations

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 20


def find(facts: Facts) -> list[Finding]:
    found = []
    for where, group in facts.groups.items():
        rule = facts.rule_of(where)
        kept = rule is not None and rule.handling is not None and rule.handling.cache is not None
        if kept or group.repeated < FEWEST or group.repeated_cost <= 0:
            continue
        evidence: dict[str, str | int] = {"repeated": group.repeated, "calls": group.calls, "about": label(where)}
        change = f"# under the rule {where[1]}\ncache: {{ttl: 24h, scope: caller}}\n"
        found.append(Finding("repeats", label(where), {where: facts.monthly(group.repeated_cost)}, 1, evidence, change))
    return found
