"""Short calls on a large model: the next smaller one of the same family answers them for less.

The prices are the catalogue's, of the tokens that these very calls used. The change is a rung of a ladder
(core/ladder.py) that holds from the first percent on, for a rule of its own that takes the short calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from proxy.control.optimize.change import cap, match_of, name
from proxy.control.optimize.facts import Facts, Where
from proxy.control.optimize.finding import Finding, label
from proxy.core import catalog, money
from proxy.core.model import Price, Rule

FEWEST = 20
IN_BODY = frozenset({"openai", "anthropic", "groq", "mistral"})  # others name the model in the path
# 1500 tokens of text with its JSON around it; a JMESPath over the bodies of chat, messages and responses.
SHORT_TEXT = "length(to_string([system, instructions, messages, input])) < `6000`"
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
        evidence: dict[str, str | int] = {
            "short": group.short,
            "calls": group.calls,
            "model": where[2],
            "smaller": smaller,
            "about": label(where),
        }
        change = _ladder(facts, where, smaller) or cap(facts, "small-model", where, saving)
        found.append(Finding("cheaper_model", label(where), {where: saving}, 2, evidence, change))
    return found


def _ladder(facts: Facts, where: Where, smaller: str) -> str | None:
    """A rule for the short calls, whose first rung is the smaller model; None: its model is not a field of the body."""
    rule = facts.rule_of(where)
    if rule is None or rule.price.catalog not in IN_BODY:
        return None
    rung = f"degrade: [{{at: 1%, set: {{model: {smaller}}}}}]"
    match = match_of(rule)
    if match is None or not _only_catalog(rule):
        return f"# under the rule {rule.id}\n{rung}\n"
    # The ledger has the model as the API called it, with a date; the request may have the plain name.
    models = sorted({where[2], family_of(where[2]) or where[2]})
    match.append(f'json: {{model: [{", ".join(models)}], "{SHORT_TEXT}": true}}')
    own = name(where, "short").removeprefix(f"{where[0]}-")
    return (
        f"# under the API {where[0]}, before the rule {rule.id}\n"
        f"- name: {own}\n  match: {{{', '.join(match)}}}\n  catalog: {rule.price.catalog}\n  {rung}\n"
    )


def _only_catalog(rule: Rule) -> bool:
    """Whether the catalogue alone prices the rule, and nothing else is asked of its calls: it can be written anew."""
    bare = Price(rule.price.currency, catalog=rule.price.catalog)
    return rule.price == bare and rule.handling is None and rule.limited is None and rule.breaker is None


def smaller_of(model: str) -> str | None:
    """The next smaller model of a name, whatever date is behind it; None where none is known."""
    family = family_of(model)
    return SMALLER[family] if family is not None else None


def family_of(model: str) -> str | None:
    """The name without its date, of a model that has a smaller sister."""
    for known in sorted(SMALLER, key=len, reverse=True):
        rest = model.removeprefix(known)
        if rest != model and (not rest or rest.startswith("-2") or rest == "-latest"):
            return known
    return None


def price(provider: str, model: str, usage: Mapping[str, int], now_ms: int) -> Decimal | None:
    """What this usage costs on a model, in USD; None where the catalogue does not say."""
    entry = catalog.find(provider, model)
    if entry is None:
        return None
    return money.total(term.amount for term in entry.terms(usage, now_ms, strict=False))
