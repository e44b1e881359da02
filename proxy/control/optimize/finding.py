"""What a rule found, and how several findings on the same calls are kept from counting the same money twice.

Each finding claims part of what its groups cost. They are taken in order of saving against effort; what a later one
would save is taken of what the earlier ones leave: after a cache that halves a group, a model at half the price saves a
quarter of it. Integer atoms, rounded down, so that all savings together never exceed what was spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.control.optimize.facts import Facts, Where


@dataclass(frozen=True, slots=True)
class Finding:
    """savings: atoms a month by group, each at most what the group costs in a month. effort: 1 (a line) to 3 (work).

    evidence: the numbers that the sentences of its rule (text catalogue, "recommend.<rule>" and, where the program that
    calls has to change too, "recommend.<rule>.program") are filled with. change: the lines of rules.yaml (change.py).
    """

    rule: str
    about: str
    savings: Mapping[Where, int]
    effort: int
    evidence: Mapping[str, str | int]
    change: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """saving_atoms: a month, after what better recommendations save already; alone_atoms: if it were the only one."""

    id: str
    rule: str
    about: str
    api: str
    saving_atoms: int
    alone_atoms: int
    effort: int
    evidence: Mapping[str, str | int]
    change: str
    savings: Mapping[Where, int]


def resolve(findings: Sequence[Finding], facts: Facts) -> list[Recommendation]:
    """Overlaps resolved; sorted by priority: saving divided by effort, then the id."""
    whole = facts.monthly_by_group()
    left = dict(whole)
    found = []
    for finding in sorted(findings, key=_priority):
        net: dict[Where, int] = {}
        for where, atoms in finding.savings.items():
            cost = whole.get(where, 0)
            claim = min(max(0, atoms), cost)
            net[where] = left[where] * claim // cost if cost else 0
            left[where] = left.get(where, 0) - net[where]
        alone = sum(min(max(0, atoms), whole.get(where, 0)) for where, atoms in finding.savings.items())
        api = next(iter(finding.savings))[0] if finding.savings else ""
        found.append(
            Recommendation(
                f"{finding.rule}:{finding.about}".replace(" ", ":"),
                finding.rule,
                finding.about,
                api,
                sum(net.values()),
                alone,
                finding.effort,
                finding.evidence,
                finding.change,
                net,
            )
        )
    return sorted(found, key=lambda one: (-one.saving_atoms // one.effort, one.id))


def _priority(finding: Finding) -> tuple[int, str, str]:
    return -sum(finding.savings.values()) // finding.effort, finding.rule, finding.about


def label(where: Where) -> str:
    """A group's name for ids and people: "openai/chat gpt-4o"."""
    return f"{where[1]} {where[2]}".strip()
