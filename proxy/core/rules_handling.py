"""Decide what a rule asks beside counting, out of its checked values: see core/handling_model.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from proxy.core.handling_model import (
    MAX_BYTES,
    MAX_TOTAL,
    USUAL_VARY,
    WAIT_S,
    CachePolicy,
    Handling,
    RetryPolicy,
    Rung,
    StatusSet,
    Upstream,
)
from proxy.core.model import Match, Price, Rule
from proxy.core.rules_checks import Path, Plain

Say = Callable[..., None]


class Tools(Protocol):
    """What the compiler of a file's rules lends. catalog: does the catalogue know the provider (and its model)?"""

    def say(self, at: Path, key: str, hint: str | None = None, **values: str) -> None: ...

    def place(self, at: Path, text: str) -> tuple[str, str, int, str]: ...

    def headers(self, at: Path, headers: list[Plain] | None) -> tuple[tuple[str, str], ...]: ...

    def knows(self, provider: str, model: str | None) -> bool: ...


_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
CACHEABLE = frozenset(("GET", "POST"))
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"))  # RFC 9110 §9.2.1; what a CONNECT carries is unseen


def handling(tools: Tools, at: Path, price: Plain, retry: Plain | None, match: Match, cost: Price) -> Handling | None:
    """What this rule asks; None: nothing. `tools.say` takes what cannot work.

    retry: the rule's own, or what its API or the defaults say.
    """
    say = tools.say
    cache = _cache(say, (*at, "cache"), price["cache"], match, cost)
    again = _retry(say, (*at, "retry"), retry)
    ladder = _ladder(tools, (*at, "degrade"), price, match, cost, cache)
    return Handling(cache, again, ladder) if cache is not None or again is not None or ladder else None


def with_forgetting(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of one API, those told to forget whose calls may change what others of them keep (RFC 9111 §4.4)."""
    kept = any(
        rule.handling is not None
        and rule.handling.cache is not None
        and (rule.match.methods is None or "GET" in rule.match.methods)
        for rule in rules
    )
    if not kept:
        return tuple(rules)
    return tuple(
        rule
        if rule.match.methods is not None and rule.match.methods <= SAFE
        else replace(rule, handling=replace(rule.handling or Handling(), forgets=True))
        for rule in rules
    )


def _retry(say: Say, at: Path, retry: Plain | None) -> RetryPolicy | None:
    if retry is None or retry["attempts"] == 1:
        return None
    usual = RetryPolicy()
    policy = RetryPolicy(
        attempts=retry["attempts"] or usual.attempts,
        backoff_ms=usual.backoff_ms if retry["backoff"] is None else max(1, round(retry["backoff"] * 1000)),
        max_backoff_ms=usual.max_backoff_ms if retry["max_backoff"] is None else round(retry["max_backoff"] * 1000),
        budget_bp=usual.budget_bp if retry["budget"] is None else retry["budget"],
        repeatable=bool(retry["repeatable"]),
    )
    if policy.backoff_ms > policy.max_backoff_ms:
        say((*at, "max_backoff" if retry["max_backoff"] is not None else "backoff"), "retry_backoff")
    if retry["on"] is None:
        return policy
    ranges = [pair for item in retry["on"] if isinstance(item, StatusSet) for pair in item.ranges]
    return replace(
        policy, statuses=StatusSet(tuple(ranges)), connect="connect" in retry["on"], timeout="timeout" in retry["on"]
    )


def _cache(say: Say, at: Path, cache: Plain | None, match: Match, cost: Price) -> CachePolicy | None:
    if cache is None:
        return None
    if match.methods is not None and not match.methods & CACHEABLE:
        say(at, "cache_methods", "cache_methods_form", got=", ".join(sorted(match.methods)))
    elif cost.per_connection is not None:
        say(at, "cache_tunnel")
    vary = cache["vary"]
    policy = CachePolicy(
        ttl_ms=round(cache["ttl"] * 1000),
        stale_ms=round((cache["stale"] or 0) * 1000),
        vary=USUAL_VARY if vary is None else tuple(sorted({name.lower() for name in vary})),
        shared=cache["scope"] == "shared",
        obey=cache["obey"] is not False,
        max_bytes=cache["max_bytes"] or MAX_BYTES,
        max_total=cache["max_total"] or MAX_TOTAL,
        wait_ms=round((cache["wait"] or WAIT_S) * 1000),
    )
    if policy.max_bytes > policy.max_total:
        say((*at, "max_bytes" if cache["max_bytes"] else "max_total"), "cache_larger", "cache_larger_hint")
    return policy


def _ladder(
    tools: Tools, at: Path, price: Plain, match: Match, cost: Price, cache: CachePolicy | None
) -> tuple[Rung, ...]:
    rungs: list[Rung] = []
    for index, rung in enumerate(price["degrade"] or ()):
        place = (*at, index)
        if rungs and rung["at"] < rungs[-1].at_bp:
            tools.say((*place, "at"), "ladder_order", "ladder_order_hint")
        if not (rung["set"] or rung["serve_stale"] or rung["upstream"]):
            tools.say(place, "ladder_empty", "ladder_empty_hint")
        if cost.free:
            tools.say(place, "ladder_free")
        if rung["serve_stale"] and cache is None:
            tools.say((*place, "serve_stale"), "ladder_stale", "ladder_stale_hint")
        if rung["set"] and match.methods is not None and not match.methods & _WITH_BODY:
            tools.say((*place, "set"), "ladder_bodiless", got=", ".join(sorted(match.methods)))
        if cost.per_connection is not None:
            tools.say(place, "ladder_tunnel")
        for key in ("credentials", "catalog", "per_request"):
            if rung[key] is not None and rung["upstream"] is None:
                tools.say((*place, key), "ladder_elsewhere", "ladder_elsewhere_hint", got=key)
        provider = rung["catalog"] or cost.catalog
        model = (rung["set"] or {}).get(("model",))
        if rung["catalog"] is not None and not tools.knows(rung["catalog"], None):
            tools.say((*place, "catalog"), "ladder_catalog", got=rung["catalog"])
        elif provider is not None and isinstance(model, str) and not tools.knows(provider, model):
            tools.say((*place, "set"), "ladder_model", got=model, catalog=provider)
        elsewhere = None
        if rung["upstream"] is not None:
            credentials = tools.headers(place, rung["credentials"])
            where = tools.place((*place, "upstream"), rung["upstream"])
            elsewhere = Upstream(*where, credentials, rung["catalog"], rung["per_request"])
        rungs.append(Rung(rung["at"], tuple((rung["set"] or {}).items()), bool(rung["serve_stale"]), elsewhere))
    return tuple(rungs)
