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
    concurrent: list[str] = []  # places whose limit of calls at once counts this call
    breakers: list[str] = []


BYPASS = "bypass"
_decode_facts = msgspec.json.Decoder(Facts).decode


@dataclass(frozen=True, slots=True)
class Record:
    """A reservation as kept in Redis: "held by budget|quota units|position|marks|guards|facts"."""

    held: tuple[int, ...]  # atoms, in the order of the budgets
    units: int  # thousandths drawn from the quota
    position: int  # -1: no quota
    marks: str  # how it was admitted: "bypass" (no switch and no budget was asked) or ""
    facts: Facts

    @classmethod
    def parse(cls, raw: bytes) -> Record:
        """Raises ValueError (msgspec.DecodeError is one) for anything else than what admit.lua writes."""
        held, units, position, marks, _, facts = raw.split(b"|", 5)
        amounts = tuple(map(int, held.split()))
        return cls(amounts, int(units or 0), int(position), marks.decode("ascii"), _decode_facts(facts))

    @property
    def bypassed(self) -> bool:
        return self.marks == BYPASS


def noted(note: str | None, *, bypassed: bool) -> str:
    """The ledger's `note`: words that are counted, with a space between them."""
    return f"{note} {BYPASS}" if note and bypassed else BYPASS if bypassed else note or ""
