"""Many calls a minute from one caller: nobody waits for each, and providers take them in batches at half the price."""

from __future__ import annotations

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 100
PROVIDERS = frozenset({"openai", "anthropic", "google", "groq", "mistral"})


def find(facts: Facts) -> list[Finding]:
    return [
        Finding(
            "batch",
            label(where),
            {where: facts.monthly(group.burst_cost // 2)},
            3,
            {"burst": group.burst, "calls": group.calls, "about": label(where)},
        )
        for where, group in facts.groups.items()
        if group.burst >= FEWEST and group.burst_cost > 0 and facts.catalog_of(where) in PROVIDERS
    ]
