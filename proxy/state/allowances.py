"""Reads how much of each free allowance was drawn: the counters that the admission script goes by."""

from __future__ import annotations

from proxy.core.history import Drawn
from proxy.core.model import RuleSet
from proxy.core.windows import window_at
from proxy.state.keys import Keys
from proxy.state.reading import Reader


async def drawn(reader: Reader, keys: Keys, rules: RuleSet, now_ms: int) -> Drawn:
    """Of every rule with a free allowance: units (requests, or what it counts) of this period and of the one before.

    Raises StoreUnavailable.
    """
    wanted: list[tuple[str, str]] = []
    for api in rules.apis:
        for rule in api.rules:
            if rule.price.free_tier is not None:
                running = window_at(rule.price.free_tier.period, rules.timezone, now_ms)
                before = window_at(rule.price.free_tier.period, rules.timezone, running.start_ms - 1)
                wanted += [(rule.id, running.label), (rule.id, before.label)]
    if not wanted:
        return {}
    replies = await reader.ask_all([("HGET", keys.quota(*one), "used") for one in wanted])
    return {one: int(used) / 1000 for one, used in zip(wanted, replies, strict=True) if used is not None}
