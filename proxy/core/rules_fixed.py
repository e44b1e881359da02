"""Compiles `fixed_costs`: names that occur once, APIs that exist, currencies with a rate, places to ask."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from urllib.parse import urlsplit

from proxy.core.fixed_model import USUAL_TIMEOUT_S, USUALLY_BELOW, USUALLY_GROWS_BP, FixedCost, Gauge
from proxy.core.model import Period
from proxy.core.rules_checks import Path, Plain, Problem, unknown

Variable = Callable[[Path, str], str | None]  # the value of an environment variable; tells a missing one itself


def compile_fixed(
    document: Plain,
    currency: str,
    month: Period,
    convertible: Callable[[Path, str], None],
    variable: Variable,
    problems: list[Problem],
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
        utilisation, size = (_gauge((*at, key), entry[key], variable, problems) for key in ("utilisation", "size"))
        out.append(FixedCost(name, entry["amount"], own, entry["per"] or month, entry["api"], utilisation, size))
    return tuple(out)


def _gauge(at: Path, spec: Plain | None, variable: Variable, problems: list[Problem]) -> Gauge | None:
    if spec is None:
        return None
    try:
        parts = urlsplit(spec["prometheus"])
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and parts.username is None and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        problems.append(Problem((*at, "prometheus"), "bad_prometheus", hint="prometheus_form"))
    token = variable((*at, "token_env"), spec["token_env"]) if spec["token_env"] is not None else None
    bound = spec["below"] or USUALLY_BELOW if "below" in spec else Decimal(spec["grows"] or USUALLY_GROWS_BP)
    return Gauge(spec["prometheus"].rstrip("/"), spec["query"], bound, spec["timeout"] or USUAL_TIMEOUT_S, token)
