"""The lines of rules.yaml that recommendations give: budgets that keep a saving, entries that stand before others.

Every change is valid YAML that can be taken over as it stands. Where a program has to change for the saving itself, the
lines are what keeps it: a limit that is as low as the calls then are, or the entries that its new calls need.
"""

from __future__ import annotations

import re
from decimal import Decimal

from proxy.control.optimize.facts import Facts, Where
from proxy.core import money
from proxy.core.describe import pattern_text
from proxy.core.fixed_model import FixedCost
from proxy.core.model import Rule

_LONGEST_NAME = 64


def cap(facts: Facts, kind: str, where: Where, saving: int) -> str:
    """A monthly budget of the group's rule: what all its calls cost, without the saving."""
    whole = sum(facts.monthly(group.cost) for other, group in facts.groups.items() if other[1] == where[1])
    limit = limit_text(max(0, whole - saving), facts.rules.currency)
    called = name(where, kind)
    return f"budgets:\n  - {{name: {called}, limit: {limit}, period: month, applies_to: {{rule: {where[1]}}}}}\n"


def limit_text(atoms: int, currency: str) -> str:
    """A limit as a person would set it: three significant digits, rounded up."""
    step = 10 ** max(0, len(str(atoms)) - 3)
    return money.format_decimal(-(-atoms // step) * step, currency)


def cheaper_rent(cost: FixedCost, amount: Decimal) -> str:
    """The fixed cost's new amount; what else its entry says stays as it is."""
    return f"# under fixed_costs, at {cost.name}\namount: {money.plain(amount)}\n"


def name(where: Where, kind: str) -> str:
    """A name for what is added because of a group, such as "openai-chat-gpt-4o-batch"."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", f"{where[1]} {where[2]}".strip())
    return f"{plain[: _LONGEST_NAME - len(kind) - 1].strip('-.')}-{kind}"


def match_of(rule: Rule) -> list[str] | None:
    """The rule's own tests as they stand in a `match`; None: they are more than methods and simple paths."""
    match = rule.match
    if match.hosts or match.headers or match.query or match.json:
        return None
    parts = []
    if match.methods is not None:
        parts.append(f"method: [{', '.join(sorted(match.methods))}]")
    if match.paths is not None:
        paths = [pattern_text(one.pattern) for one in match.paths]
        if any(not re.fullmatch(r"[A-Za-z0-9/._*:-]+", path) for path in paths):
            return None
        parts.append("path: [" + ", ".join(f'"{path}"' for path in paths) + "]")
    return parts
