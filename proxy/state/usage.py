"""Where the money went over some days: by API, rule, caller and day from the roll-ups, by model from the ledger.

The roll-ups are exact and small: a year of days is one round trip. What they do not carry (models, the spread of costs,
answers that failed) comes from the newest entries of the ledger, a bounded number of them, and says how many it saw.
Decides nothing; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from proxy.state.keys import Keys
from proxy.state.ledger import Entry, Ledger
from proxy.state.reading import Reader

DAYS_MOST: Final = 400
_CACHE_NOTES: Final = frozenset({"cache_hit", "cache_stale", "cache_collapsed"})


@dataclass(slots=True)
class Sum:
    """What some calls cost together, in atoms of the ledger's currency."""

    calls: int = 0
    cost_atoms: int = 0
    saved_atoms: int = 0
    saved_cache_atoms: int = 0  # part of saved_atoms: by kept answers; the rest by cheaper calls

    def add(self, kind: str, number: int) -> None:
        if kind == "calls":
            self.calls += number
        elif kind == "cost":
            self.cost_atoms += number
        elif kind == "saved":
            self.saved_atoms += number
        elif kind == "saved_cache":
            self.saved_cache_atoms += number


@dataclass(slots=True)
class Days:
    """Some days' roll-ups added up. days: ISO date -> that day's sum, every day of the span, ascending."""

    total: Sum = field(default_factory=Sum)
    days: dict[str, Sum] = field(default_factory=dict)
    apis: dict[str, Sum] = field(default_factory=dict)
    rules: dict[str, Sum] = field(default_factory=dict)
    callers: dict[str, Sum] = field(default_factory=dict)
    api_days: dict[tuple[str, str], int] = field(default_factory=dict)  # (API, date) -> atoms
    denied: dict[str, dict[str, int]] = field(default_factory=dict)  # API ("-": none) -> reason -> how often
    notes: dict[str, dict[str, int]] = field(default_factory=dict)  # API -> note -> how often


@dataclass(slots=True)
class Spread:
    """What single calls of one kind cost lately: decimal amounts of the ledger's currency."""

    calls: int = 0
    failed: int = 0  # answered with 400 or more, or not at all
    cached: int = 0
    costs: list[Decimal] = field(default_factory=list)

    def mean(self) -> Decimal:
        return sum(self.costs, Decimal(0)) / len(self.costs) if self.costs else Decimal(0)

    def p95(self) -> Decimal:
        """The smallest cost that at least 95 of 100 calls do not exceed (nearest rank)."""
        return sorted(self.costs)[-(-95 * len(self.costs) // 100) - 1] if self.costs else Decimal(0)


@dataclass(slots=True)
class Sample:
    """The newest entries of the ledger, by API and by API and model."""

    seen: int = 0
    apis: dict[str, Spread] = field(default_factory=dict)
    models: dict[tuple[str, str], Spread] = field(default_factory=dict)
    model_cost: dict[tuple[str, str], Decimal] = field(default_factory=dict)


def span(first: str, last: str) -> list[str]:
    """Every day from the first to the last (ISO dates), both included. Raises ValueError for more than DAYS_MOST."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    if not 0 <= (end - start).days < DAYS_MOST:
        raise ValueError(f"at most {DAYS_MOST} days")
    return [(start + timedelta(days=number)).isoformat() for number in range((end - start).days + 1)]


async def read_days(reader: Reader, keys: Keys, days: Sequence[str]) -> Days:
    """The roll-ups of these local days. Raises StoreUnavailable."""
    replies = await reader.ask_all([("HGETALL", keys.day(day)) for day in days])
    return added_up(days, replies)


def added_up(days: Sequence[str], fields_of: Sequence[Mapping[str, str]]) -> Days:
    """The sums of days whose hashes were read."""
    found = Days()
    for day, fields in zip(days, fields_of, strict=True):
        today = found.days.setdefault(day, Sum())
        for name, text in fields.items():
            kind, _, rest = name.partition("|")
            number = int(text)
            if kind in ("calls", "cost", "saved", "saved_cache"):
                api, rule, caller = rest.split("|", 2)
                for one in (
                    *(found.total, today, found.apis.setdefault(api, Sum())),
                    *(found.rules.setdefault(rule, Sum()), found.callers.setdefault(caller, Sum())),
                ):
                    one.add(kind, number)
                if kind == "cost":
                    found.api_days[(api, day)] = found.api_days.get((api, day), 0) + number
            elif kind in ("denied", "note"):
                api, _, what = rest.partition("|")
                counts = (found.denied if kind == "denied" else found.notes).setdefault(api, {})
                counts[what] = counts.get(what, 0) + number
    return found


async def read_sample(ledger: Ledger, count: int, now_ms: int) -> Sample:
    """What the newest `count` calls were like. Raises StoreUnavailable."""
    return sampled([entry async for entry in ledger.last(count, now_ms)])


def sampled(entries: Iterable[Entry]) -> Sample:
    """Entries by API and model."""
    found = Sample()
    for entry in entries:
        found.seen += 1
        cost, key = Decimal(entry["cost"]), (entry["api"], entry["model"] or "")
        for spread in (found.apis.setdefault(entry["api"], Spread()), found.models.setdefault(key, Spread())):
            spread.calls += 1
            spread.costs.append(cost)
            spread.failed += _failed(entry)
            spread.cached += bool(_CACHE_NOTES.intersection((entry["note"] or "").split()))
        found.model_cost[key] = found.model_cost.get(key, Decimal(0)) + cost
    return found


def _failed(entry: Mapping[str, Any]) -> bool:
    status = entry["status"]
    return status is None or status >= 400
