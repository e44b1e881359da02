"""Decide what rules.yaml says about rate limits, waiting and circuit breakers. Part of the compiler in rules.py."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from proxy.core import money
from proxy.core.guards import QUEUE, Breaker, Counts, Limit, Limited
from proxy.core.rules_checks import Path, Plain

OPEN_AT_MOST_S = 600.0

Say = Callable[..., None]


class GuardCompiler:
    """say: takes note of a mistake. convertible: takes note of a currency without a rate."""

    def __init__(self, say: Say, convertible: Callable[[Path, str], None], currency: str) -> None:
        self.say = say
        self.convertible = convertible
        self.currency = currency
        self.currencies: dict[str, None] = {}  # of all cost limits, in order

    def limited(self, at: Path, scope: str, name: str, entry: Plain) -> Limited | None:
        """The limits of an API, rule or caller; None when there are none and nothing waits."""
        limits: list[Limit] = []
        for index, (counts, amount, per, currency) in enumerate(entry["rate_limits"] or ()):
            place = (*at, "rate_limits", index)
            limit = self.limit(place, counts, amount, per, currency)
            if limit is None:
                continue
            if any(limit.name == other.name for other in limits):
                self.say(place, "limit_twice", got=limit.name)
            limits.append(limit)
        wait_s, queue = entry["wait"], entry["queue"]
        if queue is not None and wait_s is None:
            self.say((*at, "queue"), "queue_without_wait", "give_wait")
        if wait_s is not None and not limits and scope != "api":
            self.say((*at, "wait"), "wait_without_limits", "give_limits")
        if not limits and wait_s is None:
            return None
        wait_ms = round(wait_s * 1000) if wait_s is not None else 0
        return Limited(scope, name, tuple(limits), wait_ms, (queue or QUEUE) if wait_ms else 0)

    def limit(self, at: Path, counts: str, amount: Decimal, per: str, currency: str) -> Limit | None:
        if counts != Counts.COST:
            return Limit(Counts(counts), int(amount), per)
        self.convertible(at, currency)
        self.currencies[currency] = None
        atoms = money.to_atoms(amount, currency)
        if not 0 < atoms <= money.LIMIT_ATOMS:
            self.say(
                at,
                "limit_range",
                got=f"{money.plain(amount)} {currency}",
                most=money.format_text(money.LIMIT_ATOMS, currency),
            )
            return None
        return Limit(Counts.COST, atoms, per, currency)

    def breaker(self, at: Path, name: str, entry: Plain | None) -> Breaker | None:
        if entry is None:
            return None
        if entry["failures"] is None and entry["consecutive"] is None and entry["slow"] is None:
            self.say(at, "breaker_without_reason", "breaker_reasons")
        slow: Any = entry["slow"]
        open_s, most_s = entry["open_for"], entry["open_at_most"]
        if most_s is not None and most_s < open_s:
            self.say((*at, "open_at_most"), "open_at_most_short", got=f"{most_s:g}s", bound=f"{open_s:g}s")
        return Breaker(
            name=name,
            window_ms=max(1000, round(entry["window"] * 1000)),
            of_at_least=entry["of_at_least"] or 10,
            failures_bp=entry["failures"],
            consecutive=entry["consecutive"],
            slow_ms=round(slow["over"] * 1000) if slow else None,
            slow_bp=slow["share"] if slow else None,
            open_ms=round(open_s * 1000),
            open_at_most_ms=round((most_s or max(OPEN_AT_MOST_S, open_s)) * 1000),
            probes=entry["probes"] or 1,
        )
