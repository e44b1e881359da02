"""Long prompts that begin alike, read at the full price each time: the provider's prompt cache reads them for less.

The ledger knows how long prompts are, not what they say. No constant beginning is longer than the shortest prompt, so
half of the shortest prompt is taken as constant: a careful guess, said as one.
"""

from __future__ import annotations

from decimal import Decimal

from proxy.control.optimize.change import cap
from proxy.control.optimize.cheaper_model import price
from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label

FEWEST = 50
LEAST_PREFIX = 2048  # tokens; providers cache from 1024 on
MOST_CACHED = 10  # percent of the input that comes from the cache already


def find(facts: Facts) -> list[Finding]:
    found = []
    for where, group in facts.groups.items():
        provider = facts.catalog_of(where)
        answered = group.calls - group.failed
        read, cached = group.usage.get("input_tokens", 0), group.usage.get("cache_read_tokens", 0)
        prefix = (group.shared_prefix or 0) // 2
        if provider is None or answered < FEWEST or (group.shared_prefix or 0) < LEAST_PREFIX or group.cost <= 0:
            continue
        if not read or 100 * cached > MOST_CACHED * read:
            continue
        constant = prefix * (answered - 1)
        plain = price(provider, where[2], {**group.usage, "cache_read_tokens": cached}, facts.now_ms)
        kept = price(
            provider, where[2], {**group.usage, "cache_read_tokens": min(read, cached + constant)}, facts.now_ms
        )
        if not plain or kept is None or kept >= plain:
            continue
        saving = facts.monthly(int(group.cost * (Decimal(1) - kept / plain)))
        evidence: dict[str, str | int] = {"calls": answered, "prefix": prefix, "model": where[2], "about": label(where)}
        change = cap(facts, "cached-prompts", where, saving)
        found.append(Finding("prompt_cache", label(where), {where: saving}, 2, evidence, change))
    return found
