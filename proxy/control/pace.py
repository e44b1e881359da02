"""How fast money goes and calls fail, by the counters of the last hours.

Pure: samples in, measures out. Counters begin anew with every local day; what the last seconds before midnight added
after their sample is not seen, so that never more is said than really happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from proxy.control.emergency import PACE_MS, STORM_MS, Failures, Pace
from proxy.control.status import BudgetStatus
from proxy.control.thresholds import Sample, spent_since
from proxy.core.history import Day, calls_by_api, refused_for, spent_by
from proxy.core.model import Budget, Reason, RuleSet, Window
from proxy.state.watching import PaceSample


def sample(at_ms: int, day: Day, budgets: Mapping[str, tuple[str, int]]) -> PaceSample:
    """All counters of this instant. budgets: name -> (period, atoms spent in it)."""
    refused = refused_for(day, Reason.STORE_UNAVAILABLE.value)
    return PaceSample(at_ms, day.day.isoformat(), budgets, spent_by(day), calls_by_api(day), dict(day.failed), refused)


def gained(samples: Sequence[PaceSample], now: PaceSample, since_ms: int, read: Callable[[PaceSample], int]) -> int:
    """By how much a counter grew since an instant, or since the first sample. samples: ascending in time."""
    begin = max((i for i, one in enumerate(samples) if one.at_ms <= since_ms), default=0)
    total, before = 0, None
    for one in (*samples[begin:], now):
        if before is not None:
            total += max(0, read(one) - (read(before) if before.day == one.day else 0))
        before = one
    return total


def budget_samples(samples: Sequence[PaceSample], budget: str) -> list[Sample]:
    return [Sample(one.at_ms, *one.budgets[budget]) for one in samples if budget in one.budgets]


def paces(
    rules: RuleSet,
    statuses: Mapping[str, BudgetStatus],
    samples: Sequence[PaceSample],
    now: PaceSample,
    usual: Callable[[str], bool],
) -> list[Pace]:
    """What each caller took of each budget that counts all of its calls. usual: whether a caller is within its band.

    Where no callers are declared nobody can be told from the rest: that is a burning budget and no runaway.
    """
    callers = {"anonymous", *(caller.name for caller in rules.callers)} if rules.callers else set()
    since_ms = now.at_ms - PACE_MS
    took = {
        who.removeprefix("caller|"): gained(samples, now, since_ms, lambda one, who=who: one.spent.get(who, 0))  # type: ignore[misc]
        for who in now.spent
        if who.startswith("caller|") and who.removeprefix("caller|") in callers
    }
    return [
        Pace(caller, statuses[budget.name], budget.timezone, atoms, everybody, usual(caller))
        for budget in rules.budgets
        if budget.name in statuses and budget.api is None and budget.rule is None and budget.currency == rules.currency
        for everybody in (_everybody(budget, statuses[budget.name], samples, since_ms),)
        for caller, atoms in took.items()
        if atoms > 0 and budget.caller in (None, caller)
    ]


def _everybody(budget: Budget, status: BudgetStatus, samples: Sequence[PaceSample], since_ms: int) -> int:
    window = Window(status.period, status.starts_ms, status.resets_ms)
    return spent_since(budget_samples(samples, budget.name), status.spent_atoms, since_ms, window)


def failures(samples: Sequence[PaceSample], now: PaceSample) -> list[Failures]:
    """How often calls to each API fail now, and how often they did in the hours before."""
    since_ms = now.at_ms - STORM_MS
    found = []
    for api in sorted(now.failed):

        def calls(one: PaceSample, api: str = api) -> int:
            return one.calls.get(api, 0)

        def failed(one: PaceSample, api: str = api) -> int:
            return one.failed.get(api, 0)

        lately = gained(samples, now, since_ms, calls), gained(samples, now, since_ms, failed)
        ever = gained(samples, now, 0, calls), gained(samples, now, 0, failed)
        found.append(Failures(api, *lately, ever[0] - lately[0], ever[1] - lately[1]))
    return found


def refusals(samples: Sequence[PaceSample], now: PaceSample) -> int:
    """Calls that were refused lately because Redis was away."""
    return gained(samples, now, now.at_ms - STORM_MS, lambda one: one.refused)
