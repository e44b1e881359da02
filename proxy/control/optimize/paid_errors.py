"""Answers that failed and were paid for, and the retries among them: a circuit breaker stops paying for them."""

from __future__ import annotations

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 10


def find(facts: Facts) -> list[Finding]:
    return [
        Finding(
            "paid_errors",
            label(where),
            {where: facts.monthly(group.failed_cost)},
            1,
            {"failed": group.failed, "calls": group.calls, "retried": group.retried, "about": label(where)},
            f"# under the API {where[0]}\nbreaker: {{failures: 50%, of_at_least: 10, window: 60s, open_for: 30s}}\n",
        )
        for where, group in facts.groups.items()
        if group.failed >= FEWEST and group.failed_cost > 0
    ]
