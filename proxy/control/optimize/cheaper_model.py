"""Short calls on a large model: the next smaller one of the same family answers them for less.

The prices are the catalogue's, of the tokens that these very calls used.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, label
from proxy.core import catalog, money

FEWEST = 20
SMALLER = {
    "gpt-5": "gpt-5-mini",
    "gpt-5-mini": "gpt-5-nano",
    "gpt-4o": "gpt-4o-mini",
    "gpt-4.1": "gpt-4.1-mini",
    "gpt-4.1-mini": "gpt-4.1-nano",
    "gpt-4-turbo": "gpt-4o-mini",
    "gpt-4": "gpt-4o-mini",
    "o1": "o3-mini",
    "o3": "o4-mini",
    "claude-opus-4-5": "claude-sonnet-4-5",
    "claude-sonnet-4-5": "claude-haiku-4-5",
    "claude-opus-4-1": "claude-sonnet-4-5",
    "claude-sonnet-4-0": "claude-haiku-4-5",
    "gemini-2.5-pro": "gemini-2.5-flash",
    "gemini-2.5-flash": "gemini-2.5-flash-lite",
}


def find(facts: Facts) -> list[Finding]:
    found = []
    for where, group in facts.groups.items():
        provider = facts.catalog_of(where)
        smaller = smaller_of(where[2])
        if provider is None or smaller is None or group.short < FEWEST or group.short_cost <= 0:
            continue
        dear, cheap = (price(provider, model, group.short_usage, facts.now_ms) for model in (where[2], smaller))
        if dear is None or cheap is None or cheap >= dear:
            continue
        share = 1 - cheap / dear
        saving = facts.monthly(int(group.short_cost * share))
        rest = money.format_decimal(facts.monthly(group.cost) - saving, facts.rules.currency)
        found.append(
            Finding(
                "cheaper_model",
                label(where),
                {where: saving},
                2,
                {
                    "short": group.short,
                    "calls": group.calls,
                    "model": where[2],
                    "smaller": smaller,
                    "about": label(where),
                },
                f"budgets:\n  - {{name: {_plain(where[1])}-cap, limit: {rest}, period: month, "
                f"applies_to: {{rule: {where[1]}}}}}\n",
            )
        )
    return found


def smaller_of(model: str) -> str | None:
    """The next smaller model of a name, whatever date is behind it; None where none is known."""
    for name in sorted(SMALLER, key=len, reverse=True):
        rest = model.removeprefix(name)
        if rest != model and (not rest or rest.startswith("-2") or rest == "-latest"):
            return SMALLER[name]
    return None


def price(provider: str, model: str, usage: Mapping[str, int], now_ms: int) -> Decimal | None:
    """What this usage costs on a model, in USD; None where the catalogue does not say."""
    entry = catalog.find(provider, model)
    if entry is None:
        return None
    return money.total(term.amount for term in entry.terms(usage, now_ms, strict=False))


def _plain(rule: str) -> str:
    return rule.replace("/", "-")
