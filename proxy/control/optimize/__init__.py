"""Where money could be saved: the last weeks' calls in, recommendations with the saving computed out.

PURE. One rule a file, each `find(facts) -> list[Finding]`; `advise()` takes all of them, resolves their overlaps so
that no atom is saved twice, and sorts by saving and effort.

    facts.py       the ledger's calls, added up by API, rule and model
    finding.py     what a rule says; resolving overlaps
    paid_errors.py  repeats.py  cheaper_model.py  prompt_cache.py  batch.py  off_hours.py  headroom.py
    free_tier.py  subscription.py  idle.py  growth.py
    change.py      the lines of rules.yaml that they give
    expected.py    what next month will cost by API (the only one that needs numpy)
    plan.py        next month by API, from forecast and savings
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.control.optimize import (
    batch,
    cheaper_model,
    free_tier,
    growth,
    headroom,
    idle,
    off_hours,
    paid_errors,
    prompt_cache,
    repeats,
    subscription,
)
from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Finding, Recommendation, resolve

Rule = Callable[[Facts], list[Finding]]

RULES: dict[str, Rule] = {
    "paid_errors": paid_errors.find,
    "repeats": repeats.find,
    "cheaper_model": cheaper_model.find,
    "prompt_cache": prompt_cache.find,
    "batch": batch.find,
    "off_hours": off_hours.find,
    "headroom": headroom.find,
    "free_tier": free_tier.find,
    "subscription": subscription.find,
    "idle": idle.find,
    "growth": growth.find,
}


def advise(facts: Facts) -> list[Recommendation]:
    """Everything that the rules find, the best first, each saving counted once."""
    return resolve([finding for rule in RULES.values() for finding in rule(facts)], facts)
