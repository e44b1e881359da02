"""Stand-ins for what rules.yaml does not name: an API, and a rule that prices nothing, so that every call has both.

Requests to unknown destinations that may pass (`unknown: observe`) get them, and functions whose API or price is no
rule's. Whoever uses one says in the ledger that the call is unpriced, or what it cost instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from proxy.core.model import (
    Api,
    EstimateMode,
    Match,
    OnExhausted,
    Price,
    Priority,
    Rule,
    Speaks,
)

NOWHERE: Final = "-"  # where a rule stands that is in no file
OBSERVED: Final = "observed"  # nothing prices the call, and it passes all the same


def rule(api: str, name: str, currency: str) -> Rule:
    """A rule that prices nothing and asks for nothing. What is only observed is optional."""
    return Rule(
        id=f"{api}/{name}",
        api=api,
        match=Match(),
        price=Price(currency=currency),
        priority=Priority.OPTIONAL if name == OBSERVED else Priority.IMPORTANT,
        estimate=EstimateMode.WORST_CASE,
        on_exhausted=OnExhausted.FINISH,
        max_output_tokens=0,
        max_input_tokens=None,
        max_seconds=0,
        max_kb=0,
        where=NOWHERE,
        needs_body=False,
        needs_response=False,
        for_websockets=True,
    )


def api(only: Rule, *, scheme: str = "https", port: int = 443, hosts: tuple[str, ...] = ()) -> Api:
    """An API with this one rule, at the host of its name."""
    return Api(
        name=only.api,
        scheme=scheme,
        host=only.api,
        port=port,
        base_path="",
        hosts=hosts,
        mount="",
        credentials=(),
        speaks=Speaks.PROBLEM,
        rules=(only,),
        connect_timeout_s=10,
        read_timeout_s=300,
        total_timeout_s=None,
    )


@lru_cache(maxsize=1024)
def observed(host: str, port: int, scheme: str, currency: str) -> tuple[Api, Rule]:
    """For a destination that no rule names: calls go on as they are, and are recorded as unpriced."""
    only = rule(host, OBSERVED, currency)
    return api(only, scheme="http" if scheme == "connect" else scheme, port=port, hosts=(host,)), only
