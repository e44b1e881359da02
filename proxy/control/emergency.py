"""What goes wrong with the money, and how bad it is.

Pure: measures in, troubles out; what becomes of them is in escalation.py. A grade that an incident has is kept until
the measure falls a fifth below what the grade needs, so that nothing flaps. Amounts are atoms, instants Unix
milliseconds, shares basis points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.control.anomalies import Band
from proxy.control.status import BudgetStatus
from proxy.control.thresholds import Burn
from proxy.core import money
from proxy.core.emergency_model import Grade, Sort
from proxy.core.windows import iso

HOUR_MS: Final = 3_600_000
PACE_MS: Final = 600_000  # a caller's pace is taken over ten minutes
STORM_MS: Final = 300_000  # failures are counted over five
_STAY: Final = 80  # percent of what a grade needs that keep it

Ladder = tuple[tuple[Grade, int], ...]

# The part of what is left that goes in an hour: a 24th is "within a day"; and the part that goes until the reset.
_EMPTYING: Final[Ladder] = ((Grade.MEDIUM, 0), (Grade.HIGH, 417), (Grade.CRITICAL, 10_000))
_LASTING: Final[Ladder] = ((Grade.LOW, 0), (Grade.MEDIUM, 10_000))
_OUT_OF_BAND: Final[Ladder] = ((Grade.LOW, 10_000), (Grade.MEDIUM, 30_000), (Grade.HIGH, 100_000))  # of the upper edge
_FAILING: Final[Ladder] = ((Grade.LOW, 1_000), (Grade.MEDIUM, 2_500), (Grade.HIGH, 5_000))  # of an API's calls
_SLOW_MS: Final[Ladder] = ((Grade.MEDIUM, 100), (Grade.HIGH, 500), (Grade.CRITICAL, 2_000))
_REFUSED: Final[Ladder] = ((Grade.MEDIUM, 1), (Grade.HIGH, 100))  # calls, because the store was away
_AWAY_MS: Final[Ladder] = ((Grade.MEDIUM, 5_000), (Grade.HIGH, 60_000), (Grade.CRITICAL, 600_000))
_MEMORY: Final[Ladder] = ((Grade.MEDIUM, 80), (Grade.HIGH, 90), (Grade.CRITICAL, 95))  # percent of maxmemory

_RUNAWAY_TIMES: Final = 60  # tenths of what is left, evenly spread over the rest of the period
_RUNAWAY_SHARE_BP: Final = 5_000  # of what the budget spends
_RUNAWAY_FLOOR: Final = 500  # and at least a 500th of the limit: pennies are silent
_STORM_CALLS: Final = 20  # failed calls that make a storm
_STORM_TIMES: Final = 3  # and so many times the usual share
_USUAL_CALLS: Final = 100  # calls before that say what is usual


# --- what was measured ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fire:
    """A budget that burns. alert: key of the alert about it."""

    status: BudgetStatus
    burn: Burn
    timezone: str
    alert: str


@dataclass(frozen=True, slots=True)
class Unusual:
    """An hour out of its band. who: "api|openai" or "caller|batch". hour: its beginning, ISO 8601."""

    who: str
    spent_atoms: int
    band: Band
    currency: str
    hour: str
    alert: str


@dataclass(frozen=True, slots=True)
class Pace:
    """What a caller took of a budget, and what all took of it, in the last PACE_MS. usual: as it always does."""

    caller: str
    status: BudgetStatus
    timezone: str
    gained_atoms: int
    all_atoms: int
    usual: bool = False


@dataclass(frozen=True, slots=True)
class Failures:
    """Calls to an API in the last STORM_MS and in the hours before, and how many of them failed."""

    api: str
    calls: int
    failed: int
    calls_before: int = 0
    failed_before: int = 0


@dataclass(frozen=True, slots=True)
class Away:
    """Redis did not answer for a while, and does again. Unix ms."""

    began_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """How Redis is. fastest_ms: of its last answers. refused: calls of the last STORM_MS that it was away for.

    away: an absence that ended in the last STORM_MS.

    memory_percent: of maxmemory, None without one. evicts: it may drop counters. failing: names of what it could not
    save, as INFO calls it. waiting: settlements that proxies still have to write.
    """

    fastest_ms: int = 0
    refused: int = 0
    waiting: int = 0
    memory_percent: int | None = None
    evicts: str = ""
    failing: tuple[str, ...] = ()
    away: Away | None = None


@dataclass(frozen=True, slots=True)
class Measures:
    """Everything that the leader looked at in one round."""

    fires: Sequence[Fire] = ()
    unusual: Sequence[Unusual] = ()
    paces: Sequence[Pace] = ()
    failures: Sequence[Failures] = ()
    store: StoreFacts = field(default_factory=StoreFacts)


# --- what is wrong --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now. cause: what makes it the same trouble as a moment ago. alert: see Incident.

    began_ms: when it began, where that is known to be earlier than now (Unix ms).
    """

    sort: Sort
    cause: str
    grade: Grade
    target: str
    facts: Mapping[str, str]
    alert: str = ""
    began_ms: int | None = None


def detect(measures: Measures, held: Mapping[str, Grade], sorts: Iterable[Sort] = frozenset(Sort)) -> list[Trouble]:
    """held: the grades of open incidents, by cause; they take less to be kept than to be reached."""
    found: list[Trouble] = []
    found += [_burning(one, held) for one in measures.fires]
    found += [made for one in measures.unusual if (made := _unusual(one, held)) is not None]
    found += _runaways(measures.paces, held)
    found += [made for one in measures.failures if (made := _storm(one, held)) is not None]
    found += _store(measures.store, held)
    wanted = frozenset(sorts)
    return [one for one in found if one.sort in wanted]


def graded(value: int, ladder: Ladder, held: Grade | None) -> Grade | None:
    """The highest grade that a value reaches; up to the held one, four fifths of what it takes are enough."""
    reached = None
    for grade, needs in ladder:
        kept = held is not None and grade.rank <= held.rank
        if value * 100 >= needs * (_STAY if kept else 100):
            reached = grade
    return reached


def _burning(fire: Fire, held: Mapping[str, Grade]) -> Trouble:
    status, burn = fire.status, fire.burn
    cause = f"burn:{status.budget}"
    left = max(1, status.limit_atoms - status.spent_atoms)
    hourly = burn.spent_atoms * HOUR_MS // burn.window.long_ms
    kept = held.get(cause)
    grade = graded(hourly * status.seconds_left * 10_000 // (3600 * left), _LASTING, kept)
    if grade is not Grade.LOW:
        grade = graded(hourly * 10_000 // left, _EMPTYING, kept)
    facts = {
        "budget": status.budget,
        "currency": status.currency,
        "limit": _decimal(status.limit_atoms, status),
        "left": _decimal(left if status.limit_atoms > status.spent_atoms else 0, status),
        "burnt": _decimal(burn.spent_atoms, status),
        "hours": str(burn.window.long_ms // HOUR_MS),
        "times": _tenths(burn.times_tenths),
        "empty_at": iso(burn.empty_ms, fire.timezone) if burn.empty_ms is not None else "",
    }
    return Trouble(Sort.BURN, cause, grade or Grade.LOW, f"budget:{status.budget}", facts, fire.alert)


def _unusual(one: Unusual, held: Mapping[str, Grade]) -> Trouble | None:
    cause = f"anomaly:{one.who}"
    sort, _, name = one.who.partition("|")
    grade = graded(one.spent_atoms * 10_000 // max(1, one.band.upper_atoms), _OUT_OF_BAND, held.get(cause))
    if grade is None:
        return None
    facts = {
        "sort": sort,
        "who": name,
        "currency": one.currency,
        "spent": money.format_decimal(one.spent_atoms, one.currency),
        "usual": money.format_decimal(one.band.median_atoms, one.currency),
        "upper": money.format_decimal(one.band.upper_atoms, one.currency),
        "hour": one.hour,
    }
    return Trouble(Sort.ANOMALY, cause, grade, f"{sort}:{name}", facts, one.alert)


def _runaways(paces: Sequence[Pace], held: Mapping[str, Grade]) -> list[Trouble]:
    """For each caller the budget that it empties soonest."""
    worst: dict[str, tuple[int, Trouble]] = {}
    for pace in paces:
        cause = f"runaway:{pace.caller}"
        emptying = _emptying(pace, known=cause in held)
        if emptying is None or (pace.caller in worst and worst[pace.caller][0] >= emptying):
            continue
        grade = graded(emptying, _EMPTYING, held.get(cause)) or Grade.MEDIUM
        made = Trouble(Sort.RUNAWAY, cause, grade, f"caller:{pace.caller}", _pace_facts(pace))
        worst[pace.caller] = (emptying, made)
    return [made for _, made in worst.values()]


def _emptying(pace: Pace, *, known: bool) -> int | None:
    """The part of what is left that the caller takes in an hour (basis points); None: it does not run away."""
    status, gained = pace.status, pace.gained_atoms
    left = status.limit_atoms - status.spent_atoms
    if left <= 0 or (pace.usual and not known):
        return None  # nothing is left to be taken, or it always does that at this hour
    percent = _STAY if known else 100
    enough = (
        gained * 100 * _RUNAWAY_FLOOR >= status.limit_atoms * percent
        and gained * 10_000 >= max(gained, pace.all_atoms) * _RUNAWAY_SHARE_BP
        and _times(pace) * 100 >= _RUNAWAY_TIMES * percent
    )
    return gained * (HOUR_MS // PACE_MS) * 10_000 // left if enough else None


def _times(pace: Pace) -> int:
    """How many times as fast as what is left can bear, in tenths."""
    status = pace.status
    left = max(1, status.limit_atoms - status.spent_atoms)
    return pace.gained_atoms * 10 * max(0, status.seconds_left) * 1000 // (left * PACE_MS)


def _pace_facts(pace: Pace) -> dict[str, str]:
    status = pace.status
    left = status.limit_atoms - status.spent_atoms
    return {
        "caller": pace.caller,
        "budget": status.budget,
        "currency": status.currency,
        "took": _decimal(pace.gained_atoms, status),
        "left": _decimal(left, status),
        "minutes": str(PACE_MS // 60_000),
        "share": str(pace.gained_atoms * 100 // max(1, pace.gained_atoms, pace.all_atoms)),
        "times": _tenths(_times(pace)),
        "empty_in": str(left * PACE_MS // (max(1, pace.gained_atoms) * 60_000)),  # minutes
    }


def _storm(one: Failures, held: Mapping[str, Grade]) -> Trouble | None:
    cause = f"errors:{one.api}"
    calls, known = max(one.calls, one.failed), cause in held
    share = one.failed * 10_000 // max(1, calls)
    usual = one.failed_before * 10_000 // one.calls_before if one.calls_before >= _USUAL_CALLS else 0
    # What is usual is asked at the beginning only: a storm that lasts becomes usual, and is one still.
    if not known and (one.failed < _STORM_CALLS or share < usual * _STORM_TIMES):
        return None
    grade = graded(share, _FAILING, held.get(cause))
    if grade is None:
        return None
    facts = {
        "api": one.api,
        "failed": str(one.failed),
        "calls": str(calls),
        "percent": str(share // 100),
        "usual_percent": str(usual // 100),
        "minutes": str(STORM_MS // 60_000),
    }
    return Trouble(Sort.ERRORS, cause, grade, f"api:{one.api}", facts)


def _store(store: StoreFacts, held: Mapping[str, Grade]) -> list[Trouble]:
    memory = 0 if store.memory_percent is None else store.memory_percent
    measured: list[tuple[str, Grade | None, dict[str, str]]] = [
        ("slow", graded(store.fastest_ms, _SLOW_MS, held.get("store:slow")), {"ms": str(store.fastest_ms)}),
        ("away", _absence(store, held.get("store:away")), _absence_facts(store)),
        ("memory", graded(memory, _MEMORY, held.get("store:memory")), {"percent": str(memory)}),
        ("evicts", Grade.MEDIUM if store.evicts else None, {"policy": store.evicts}),
        ("saving", Grade.CRITICAL if store.failing else None, {"failing": ", ".join(store.failing)}),
    ]
    began = {"away": store.away.began_ms} if store.away is not None else {}
    return [
        Trouble(Sort.STORE, f"store:{what}", grade, "store", {"what": what, **facts}, began_ms=began.get(what))
        for what, grade, facts in measured
        if grade is not None
    ]


def _absence(store: StoreFacts, held: Grade | None) -> Grade | None:
    """The worse of how long it was and of how many calls it cost."""
    away = store.away
    by_time = graded(away.ended_ms - away.began_ms, _AWAY_MS, held) if away is not None else None
    by_calls = graded(store.refused, _REFUSED, held) if store.refused else None
    return max((one for one in (by_time, by_calls) if one is not None), key=lambda one: one.rank, default=None)


def _absence_facts(store: StoreFacts) -> dict[str, str]:
    facts = {"refused": str(store.refused), "waiting": str(store.waiting), "minutes": str(STORM_MS // 60_000)}
    if store.away is not None:
        facts["seconds"] = str((store.away.ended_ms - store.away.began_ms) // 1000)
    return facts


def _decimal(atoms: int, status: BudgetStatus) -> str:
    return money.format_decimal(atoms, status.currency)


def _tenths(number: int) -> str:
    return f"{number // 10}.{number % 10}".removesuffix(".0")
