"""The same question asked again on the same day: a kept answer costs nothing.

Recognised by address, model and the very same token counts in and out: calls that look alike, not calls proven equal.
"""

from __future__ import annotations

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 20


def find(facts: Facts) -> list[Finding]:
    return [
        Finding(
            "repeats",
            label(where),
            {where: facts.monthly(group.repeated_cost)},
            1,
            {"repeated": group.repeated, "calls": group.calls, "about": label(where)},
            f"# under the rule {where[1]}\ncache: {{ttl: 24h, scope: caller}}\n",
        )
        for where, group in facts.groups.items()
        if group.repeated >= FEWEST and group.repeated_cost > 0
    ]
