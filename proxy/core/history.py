"""What each past day cost, as the daily roll-ups say it: the values that reports, forecasts and recommendations read.

Knows how a day's fields add up to a budget's or an API's days, and nothing of where they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from proxy.core import money
from proxy.core.model import Budget, FxRate

Who = tuple[str, str, str]  # API, rule id, caller
Drawn = Mapping[tuple[str, str], float]  # rule id, label of a period -> units that its calls drew from an allowance


@dataclass(frozen=True, slots=True)
class Day:
    """One local day. cost: atoms of the rule set's currency; denied: by (API, reason); notes: by (API, word);
    failed: calls that the API failed, by API.
    """

    day: date
    calls: Mapping[Who, int] = field(default_factory=dict)
    cost: Mapping[Who, int] = field(default_factory=dict)
    denied: Mapping[tuple[str, str], int] = field(default_factory=dict)
    notes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, day: date, fields: Mapping[str, str]) -> Day:
        """From a roll-up's fields ("cost|api|rule|caller" and so on); fields of other kinds are left out."""
        calls: dict[Who, int] = {}
        cost: dict[Who, int] = {}
        denied: dict[tuple[str, str], int] = {}
        notes: dict[tuple[str, str], int] = {}
        failed: dict[str, int] = {}
        for name, text in fields.items():
            kind, _, rest = name.partition("|")
            words = rest.split("|")
            if kind in {"calls", "cost"} and len(words) >= 3:
                who = (words[0], words[1], "|".join(words[2:]))
                (calls if kind == "calls" else cost)[who] = int(text)
            elif kind in {"denied", "note"} and len(words) == 2:
                (denied if kind == "denied" else notes)[words[0], words[1]] = int(text)
            elif kind == "failed":
                failed[rest] = int(text)
        return cls(day, calls, cost, denied, notes, failed)


def covers(budget: Budget, who: Who) -> bool:
    """Whether such calls count against the budget."""
    api, rule, caller = who
    return budget.api in (None, api) and budget.rule in (None, rule) and budget.caller in (None, caller)


def cost_days(days: Iterable[Day], wanted: Callable[[Who], bool]) -> dict[date, int]:
    """Atoms of the rule set's currency by day, over the calls wanted; days without any are 0."""
    return {day.day: sum(atoms for who, atoms in day.cost.items() if wanted(who)) for day in days}


def call_days(days: Iterable[Day], wanted: Callable[[Who], bool]) -> dict[date, int]:
    """Calls by day, over the calls wanted."""
    return {day.day: sum(count for who, count in day.calls.items() if wanted(who)) for day in days}


def atoms_in(currency: str, atoms: int, base: str, fx: tuple[FxRate, ...], day: date) -> int:
    """Atoms of the rule set's currency `base` as atoms of another one, by that day's rate. Raises money.NoRate."""
    if currency == base:
        return atoms
    amount, _, _ = money.convert(money.from_atoms(atoms, base), base, currency, fx, base, day.isoformat())
    return money.to_atoms(Decimal(amount), currency)


def apis_of(days: Sequence[Day]) -> list[str]:
    """APIs that ever cost something, in order of their names."""
    return sorted({api for day in days for (api, _, _), atoms in day.cost.items() if atoms})


def spent_by(day: Day) -> dict[str, int]:
    """What each API and caller spent on a day: "api|openai" and "caller|batch" -> atoms."""
    out: dict[str, int] = {}
    for (api, _, caller), atoms in day.cost.items():
        for who in (f"api|{api}", f"caller|{caller}"):
            out[who] = out.get(who, 0) + atoms
    return out


def calls_by_api(day: Day) -> dict[str, int]:
    """Calls of a day by API."""
    out: dict[str, int] = {}
    for (api, _, _), count in day.calls.items():
        out[api] = out.get(api, 0) + count
    return out


def refused_for(day: Day, reason: str) -> int:
    """How many calls of a day were refused for a reason, of all APIs."""
    return sum(count for (_, why), count in day.denied.items() if why == reason)
