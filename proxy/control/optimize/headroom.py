"""Calls that reserve far more than they cost: max_tokens stands far above use. Saves no money; frees the budget."""

from __future__ import annotations

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 50
TIMES = 5


def find(facts: Facts) -> list[Finding]:
    found = []
    for where, group in facts.groups.items():
        answered = group.calls - group.failed
        if answered < FEWEST or group.cost <= 0 or group.estimate < TIMES * group.cost:
            continue
        usual = 3 * group.usage.get("output_tokens", 0) // answered
        change = f"# under the rule {where[1]}\nestimate: learned\n"
        if usual:
            change += f"max_output_tokens: {max(64, usual)}\n"
        times = group.estimate // group.cost
        found.append(Finding("headroom", label(where), {where: 0}, 1, {"times": times, "about": label(where)}, change))
    return found
