"""Compiles `fixed_costs`: names that occur once, APIs that exist, currencies with a rate."""

from __future__ import annotations

from collections.abc import Callable

from proxy.core.fixed_model import FixedCost
from proxy.core.model import Period
from proxy.core.rules_checks import Path, Plain, Problem, unknown


def compile_fixed(
    document: Plain, currency: str, month: Period, convertible: Callable[[Path, str], None], problems: list[Problem]
) -> tuple[FixedCost, ...]:
    """month: the period that holds where none is given. convertible: notes the problem of a currency without a rate."""
    apis = [api["name"] for api in document["apis"] or ()]
    out: list[FixedCost] = []
    for index, entry in enumerate(document["fixed_costs"] or ()):
        at: Path = ("fixed_costs", index)
        name = entry["name"]
        if any(name == other.name for other in out):
            problems.append(Problem((*at, "name"), "twice_fixed", {"got": name}, "give_other_name"))
        if entry["api"] is not None and entry["api"] not in apis:
            problems.append(unknown((*at, "api"), "unknown_api", entry["api"], apis))
        own = entry["currency"] or currency
        convertible((*at, "currency") if entry["currency"] else at, own)
        out.append(FixedCost(name, entry["amount"], own, entry["per"] or month, entry["api"]))
    return tuple(out)
