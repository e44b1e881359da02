"""The record of a reservation as it stands in Redis: what a call in flight is and holds, readable without its proxy.

People look at it with redis-cli, and a proxy that reclaims an abandoned reservation charges it from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class BudgetFacts(msgspec.Struct):
    """One budget as it was at admission: enough to charge it without the rules."""

    name: str
    period: str
    currency: str
    limit: int  # atoms
    starts: int  # ms
    ends: int  # ms
    timezone: str
    thresholds: list[int]  # basis points


class QuotaFacts(msgspec.Struct):
    name: str
    period: str
    ends: int  # ms
    steps: list[tuple[int, str, str]]  # first position, price in its own currency, estimate in the ledger's


class Facts(msgspec.Struct):
    """What a call in flight is, for people who look at Redis and for the proxy that reclaims it."""

    at: str
    at_ms: int
    api: str
    rule: str
    caller: str
    method: str
    path: str
    model: str
    estimate: str  # "1500.25", in `currency`
    currency: str
    timezone: str
    original: str
    original_currency: str
    fx_rate: str
    fx_date: str
    usage: dict[str, int]
    budgets: list[BudgetFacts]
    quota: QuotaFacts | None = None


_decode_facts = msgspec.json.Decoder(Facts).decode


@dataclass(frozen=True, slots=True)
class Record:
    """A reservation as kept in Redis: "held by budget|quota units|position|facts"."""

    held: tuple[int, ...]  # atoms, in the order of the budgets
    units: int  # thousandths drawn from the quota
    position: int  # -1: no quota
    facts: Facts

    @classmethod
    def parse(cls, raw: bytes) -> Record:
        """Raises ValueError (msgspec.DecodeError is one) for anything else than what admit.lua writes."""
        held, units, position, facts = raw.split(b"|", 3)
        return cls(tuple(map(int, held.split())), int(units or 0), int(position), _decode_facts(facts))
