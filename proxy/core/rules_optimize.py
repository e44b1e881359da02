"""Compiles `optimize`: offers for APIs that exist, in currencies that have a rate."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.optimize_model import Offer
from proxy.core.rules_checks import Path, Plain, Problem, unknown


def compile_offers(document: Plain, currency: str, rated: Sequence[str], problems: list[Problem]) -> tuple[Offer, ...]:
    """rated: currencies with an exchange rate, beside the file's own."""
    apis = [api["name"] for api in document["apis"] or ()]
    found = []
    for index, entry in enumerate(document["optimize"] or ()):
        at: Path = ("optimize", index)
        if entry["api"] not in apis:
            problems.append(unknown((*at, "api"), "unknown_api", entry["api"], apis))
        own = entry["currency"] or currency
        values = {"got": own, "own": currency}
        if own != currency and own not in rated:
            problems.append(Problem((*at, "currency"), "no_rate", values, "give_rate", refers=True))
        found.append(Offer(entry["subscription"], entry["api"], entry["price"], own))
    return tuple(found)
