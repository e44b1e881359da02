"""The first screen: how much of the month is gone, where it will end, and what is restricted now.

Pure: facts that were read go in, the values of the template come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from proxy.admin.dashboard import charts
from proxy.admin.dashboard.look import Look, ms_of
from proxy.core import money
from proxy.core.model import Budget


@dataclass(frozen=True, slots=True)
class Projection:
    """Where a budget's period will end, with the interval that holds four times of five. Decimal strings."""

    month_end: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Restriction:
    """Something that is not as usual now. kind: a class of the style sheet; until_ms None: until it is undone."""

    kind: str
    what: str
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first screen is made of. levels: as `status --json` tells them, in the order of `budgets`."""

    budgets: Sequence[Budget]
    levels: Sequence[Mapping[str, Any]]
    projections: Mapping[str, Projection] = field(default_factory=dict)
    restrictions: Sequence[Restriction] = ()
    saved: str = "0"  # by kept answers and cheaper calls, this month
    saved_by_cache: str = "0"  # of that, by kept answers
    today: Mapping[str, Any] = field(default_factory=dict)  # API -> Spent
    in_flight: int = 0
    last: Sequence[Mapping[str, Any]] = ()


def main_budget(budgets: Sequence[Budget]) -> int | None:
    """The budget that the first screen is about: the first that counts everything, else the first of all."""
    for index, budget in enumerate(budgets):
        if budget.api is None and budget.rule is None and budget.caller is None:
            return index
    return 0 if budgets else None


def context(look: Look, facts: Overview) -> dict[str, Any]:
    """Values of overview_live.html."""
    chosen = main_budget(facts.budgets)
    spent_today = sum(spent.cost_atoms for spent in facts.today.values())
    apis = sorted(
        ((name, spent) for name, spent in facts.today.items() if spent.calls), key=lambda one: -one[1].cost_atoms
    )
    return {
        "title": look.t("dash.tab.overview"),
        "main": None if chosen is None else _main(look, facts, chosen),
        "budgets": [
            _budget(look, budget, level)
            for index, (budget, level) in enumerate(zip(facts.budgets, facts.levels, strict=True))
            if index != chosen
        ],
        "restrictions": [
            {"kind": one.kind, "what": one.what, "until": look.until(one.until_ms)} for one in facts.restrictions
        ],
        "saved": look.money(facts.saved),
        "saved_by": [
            (look.t("dash.saved_by_cache"), look.money(facts.saved_by_cache)),
            (look.t("dash.saved_by_ladder"), look.money(Decimal(facts.saved) - Decimal(facts.saved_by_cache))),
        ],
        "today": {
            "cost": look.money(money.from_atoms(spent_today, look.currency)),
            "calls": look.count(sum(spent.calls for spent in facts.today.values())),
            "refused": look.count(sum(sum(spent.denied.values()) for spent in facts.today.values())),
            "in_flight": look.count(facts.in_flight),
        },
        "apis": [
            {
                "name": name,
                "part": charts.part(spent.cost_atoms / spent_today if spent_today else 0.0),
                "cost": look.money(money.from_atoms(spent.cost_atoms, look.currency)),
                "calls": look.count(spent.calls),
            }
            for name, spent in apis[:8]
        ],
        "last": [
            {
                "id": entry["id"],
                "at": look.clock(ms_of(entry["at"])),
                "api": entry["api"],
                "what": entry["model"] or f"{entry['method']} {entry['path']}",
                "cost": look.money(entry["cost"], entry["currency"]),
            }
            for entry in facts.last
        ],
    }


def marks_of(budget: Budget) -> list[float]:
    """A budget's thresholds as shares of its limit, ascending."""
    return [bp / 10_000 for bp in budget.thresholds_bp()]


def state_of(look: Look, level: Mapping[str, Any]) -> str:
    """What a budget's state means for calls, in words."""
    return look.t(f"dash.state.{level['state']}")


def _shares(level: Mapping[str, Any]) -> tuple[float, float]:
    limit = Decimal(level["limit"])
    if limit <= 0:
        return 1.0, 0.0
    return float(Decimal(level["spent"]) / limit), float(Decimal(level["reserved"]) / limit)


def _left(level: Mapping[str, Any]) -> Decimal:
    return Decimal(level["limit"]) - Decimal(level["spent"]) - Decimal(level["reserved"])


def _main(look: Look, facts: Overview, index: int) -> dict[str, Any]:
    budget, level = facts.budgets[index], facts.levels[index]
    marks, (spent, held) = marks_of(budget), _shares(level)
    resets_ms = ms_of(level["resets_at"])
    projection = facts.projections.get(budget.name)
    increase = Decimal(level.get("increase") or 0)
    return {
        "name": budget.name,
        "period": level["period"],
        "gauge": charts.gauge(spent, held, marks),
        "share": look.share(spent),
        "limit": look.money(level["limit"], level["currency"]),
        "left": look.money(_left(level), level["currency"]),
        "spent": look.money(level["spent"], level["currency"]),
        "reserved": look.money(level["reserved"], level["currency"]),
        "increase": look.money(increase, level["currency"]) if increase else "",
        "resets": look.t(
            "dash.resets_in",
            span=look.span((resets_ms - look.now_ms) // 1000),
            time=look.moment(resets_ms, budget.timezone),
        ),
        "state": charts.level_class(spent, marks),
        "state_text": state_of(look, level),
        "projection": None if projection is None else _projection(look, budget, level, projection),
    }


def _projection(look: Look, budget: Budget, level: Mapping[str, Any], projection: Projection) -> dict[str, Any]:
    limit, end = Decimal(level["limit"]), Decimal(projection.month_end)
    low, high = Decimal(projection.low), Decimal(projection.high)
    if low >= limit:
        state, key = "stop", "dash.verdict.over"
    elif end >= limit:
        state, key = "restrict", "dash.verdict.likely_over"
    elif high >= limit:
        state, key = "warn1", "dash.verdict.may_exceed"
    else:
        state, key = "ok", "dash.verdict.within"
    return {
        "month_end": look.money(end, budget.currency),
        "low": look.money(low, budget.currency),
        "high": look.money(high, budget.currency),
        "state": state,
        "verdict": look.t(key),
    }


def _budget(look: Look, budget: Budget, level: Mapping[str, Any]) -> dict[str, Any]:
    marks, (spent, held) = marks_of(budget), _shares(level)
    scope = budget.rule or budget.api
    words = [part for part in (scope, budget.caller) if part]
    return {
        "name": budget.name,
        "scope": " · ".join([*words, level["period"]]),
        "bar": charts.bar(spent, held, marks),
        "spent": look.money(level["spent"], level["currency"]),
        "limit": look.money(level["limit"], level["currency"]),
        "share": look.share(spent),
        "state": charts.level_class(spent, marks),
        "state_text": state_of(look, level),
    }
