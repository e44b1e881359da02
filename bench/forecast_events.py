"""What a forecast does when something happens: series that jump, stop, pause, or have only just begun.

The same series as bench/forecast.py asks about, each changed at a day that is drawn once for all (by the name of the
series): from there on everything is worth some times as much, a hundredth, nothing at all, or nothing for some days.
The changed series goes through the same backtest. Cases are told apart by how old the change was, in days, when they
were asked:

    no      the month ends before it, or there is none
    not yet it comes later in the month: nobody can know
    1-3     too young to be told from an odd day
    4-8, 9-14, 15+   known

and `begun` gives the forecast nothing but the ten days before each cut; the truth is what those days and the rest of
the month bring.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean, median

from proxy.control.forecast import DailySeries, project
from proxy.control.forecast.backtest import CUTS, Case, cases, months

TIMES = {"jump up": (2.0, 3.0, 5.0), "jump down": (1 / 2, 1 / 3, 1 / 5), "trickle": (0.01,)}
PAUSE_DAYS = (3, 20)
BEGUN_DAYS = 10
ROUNDS = 2  # changes of a kind a series
AGES = ("no", "not yet", "1-3", "4-8", "9-14", "15+")
HABITS = ("daily_average", "seasonal_naive", "plain_linear")


@dataclass(frozen=True, slots=True)
class Seen:
    """A case, and how old the change was when it was asked."""

    case: Case
    age: str


def families(series: Mapping[str, DailySeries], count: int) -> Iterator[tuple[str, list[Seen]]]:
    """Kind of change -> its cases, over all series. count: months a series."""
    calm = {name: cases(days, count) for name, days in series.items()}
    yield "as recorded", [Seen(case, "no") for found in calm.values() for case in found]
    for kind in ("jump up", "jump down", "stop", "trickle", "pause"):
        seen: list[Seen] = []
        for name, days in series.items():
            for turn in range(ROUNDS):
                at, changed = _changed(name, days, kind, turn, count)
                # Months that ended before the change are as they were: those answers are known.
                seen += [Seen(case, "no") for case in calm[name] if _last_day(case.month) < at]
                later = len([month for month, end in months(days, count, 56) if end >= at])
                seen += [Seen(case, _age(case, at)) for case in cases(changed, later)]
        yield kind, seen
    yield "begun", [Seen(case, "no") for days in series.values() for case in _begun(days, count)]


def _changed(name: str, days: DailySeries, kind: str, turn: int, count: int) -> tuple[date, DailySeries]:
    dice = random.Random(f"{name} {kind} {turn}")
    asked = months(days, count, 56)
    first, last = asked[0][0], asked[-1][1]
    at = first + timedelta(days=dice.randrange((last - first).days + 1))
    index = (at - days.first).days
    values = list(days.values)
    until = index + dice.randint(*PAUSE_DAYS) if kind == "pause" else len(values)
    times = dice.choice(TIMES.get(kind, (0.0,)))
    values[index:until] = [value * times for value in values[index:until]]
    return at, DailySeries(days.first, tuple(values))


def _age(case: Case, at: date) -> str:
    known = case.month + timedelta(days=case.cut - 1)
    days = (known - at).days + 1
    if days <= 0:
        return "not yet" if at <= _last_day(case.month) else "no"
    return "1-3" if days <= 3 else "4-8" if days <= 8 else "9-14" if days <= 14 else "15+"


def _last_day(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _begun(days: DailySeries, count: int) -> Iterator[Case]:
    for start, end in months(days, count, 56):
        for cut in CUTS:
            day = start + timedelta(days=cut - 1)
            first = max(days.first, day - timedelta(days=BEGUN_DAYS - 1))
            index = (first - days.first).days
            young = DailySeries(first, days.values[index : index + BEGUN_DAYS])
            actual = days.between(max(first, start), end)
            if actual <= 0:
                continue
            answer = project(young, day, end)
            (low, high), (lower, higher) = answer.interval80, answer.interval95
            yield Case(start, cut, actual, answer.models, low <= actual <= high, lower <= actual <= higher)


def rows(kind: str, seen: list[Seen]) -> list[list[str]]:
    """One row over all of a kind, then one for each age of the change."""
    made = [_row(kind, "all", [one.case for one in seen])]
    by_age = {age: [one.case for one in seen if one.age == age] for age in AGES}
    if any(found for age, found in by_age.items() if age != "no"):
        made += [_row("", age, found) for age, found in by_age.items() if found]
    return made


def by_cut(kind: str, seen: list[Seen]) -> list[str]:
    """The forecast's median error at each cut, and in brackets that of the simple habit that is best there."""
    told = []
    for cut in CUTS:
        errors = _errors([one.case for one in seen if one.case.cut == cut])
        told.append(f"{errors['ensemble']:.1f} % ({min(errors[name] for name in HABITS if name in errors):.1f} %)")
    return [kind, *told]


def _errors(found: list[Case]) -> dict[str, float]:
    """Median error (%) by model, of those that answered."""
    return {
        name: 100 * median(abs(case.guesses[name] - case.actual) / case.actual for case in there)
        for name in ("ensemble", *HABITS)
        if (there := [case for case in found if name in case.guesses])
    }


def _row(kind: str, age: str, found: list[Case]) -> list[str]:
    held80, held95 = fmean(case.within80 for case in found), fmean(case.within95 for case in found)
    errors = _errors(found)
    told = [f"{errors[name]:.1f} %" if name in errors else "-" for name in ("ensemble", *HABITS)]
    return [kind, age, str(len(found)), f"{100 * held80:.0f} %", f"{100 * held95:.0f} %", *told]


CUT_HEAD = ["change", *[f"day {cut}" for cut in CUTS]]
HEAD = ["change", "days old", "cases", "80 % held", "95 % held", "forecast", "daily average", "7 days again", "line"]
