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
from typing import Final, NamedTuple

from proxy.state.keys import Keys
from proxy.state.reading import Reader

DAYS_MOST: Final = 400
_SUMMED: Final = ("calls", "cost", "saved", "saved_cache")
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

    def copy(self) -> Sum:
        return Sum(self.calls, self.cost_atoms, self.saved_atoms, self.saved_cache_atoms)


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

    def copy(self) -> Days:
        """One to add to: nothing is shared with this one."""
        return Days(
            total=self.total.copy(),
            days=_copied(self.days),
            apis=_copied(self.apis),
            rules=_copied(self.rules),
            callers=_copied(self.callers),
            api_days=dict(self.api_days),
            denied={name: dict(counts) for name, counts in self.denied.items()},
            notes={name: dict(counts) for name, counts in self.notes.items()},
        )


def _copied(sums: Mapping[str, Sum]) -> dict[str, Sum]:
    return {name: one.copy() for name, one in sums.items()}


class Brief(NamedTuple):
    """One call in short. cost: decimal, in the ledger's currency."""

    api: str
    model: str  # "": none
    cost: Decimal
    failed: bool  # answered with 400 or more, or not at all
    cached: bool


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


def added_up(days: Sequence[str], fields_of: Sequence[Mapping[str, str]], found: Days | None = None) -> Days:
    """The sums of days whose hashes were read. found: of days before, to which these are added."""
    found = found or Days()
    whole: dict[str, dict[str, int]] = {kind: {} for kind in _SUMMED}  # of all days, by API, rule and caller
    for day, fields in zip(days, fields_of, strict=True):
        today = found.days.setdefault(day, Sum())
        for name, text in fields.items():
            kind, _, rest = name.partition("|")
            number = int(text)
            if kind in _SUMMED:
                whole[kind][rest] = whole[kind].get(rest, 0) + number
                today.add(kind, number)
                if kind == "cost":
                    key = rest.partition("|")[0], day
                    found.api_days[key] = found.api_days.get(key, 0) + number
            elif kind in ("denied", "note"):
                api, _, what = rest.partition("|")
                counts = (found.denied if kind == "denied" else found.notes).setdefault(api, {})
                counts[what] = counts.get(what, 0) + number
    for kind, numbers in whole.items():
        for rest, number in numbers.items():
            api, rule, caller = rest.split("|", 2)
            found.total.add(kind, number)
            for sums, name in ((found.apis, api), (found.rules, rule), (found.callers, caller)):
                sums.setdefault(name, Sum()).add(kind, number)
    return found


def brief(fields: Mapping[str, str]) -> Brief:
    """A ledger entry's fields in short."""
    status = fields["status"]
    cached = not _CACHE_NOTES.isdisjoint(fields["note"].split())
    return Brief(fields["api"], fields["model"], Decimal(fields["cost"]), not status or int(status) >= 400, cached)


def sampled(calls: Iterable[Brief]) -> Sample:
    """Calls by API and model."""
    found = Sample()
    for call in calls:
        found.seen += 1
        spread = found.models.get(call[:2])
        if spread is None:
            spread = found.models[call[:2]] = Spread()
        spread.costs.append(call.cost)
        spread.failed += call.failed
        spread.cached += call.cached
    for (api, _), spread in found.models.items():
        spread.calls = len(spread.costs)
        whole = found.apis.setdefault(api, Spread())
        whole.costs += spread.costs
        whole.calls, whole.failed = whole.calls + spread.calls, whole.failed + spread.failed
        whole.cached += spread.cached
    found.model_cost = {key: sum(spread.costs, Decimal(0)) for key, spread in found.models.items()}
    return found
