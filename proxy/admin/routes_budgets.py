"""Where every budget stands and where it will end, now and in the last hours."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.control.gather import Gatherer
from proxy.control.status import document
from proxy.core.admin_model import Role
from proxy.core.windows import iso
from proxy.state.watching import Watching

FRESH_MS = 15_000


class ProjectionFacts(Answer):
    """Where the period will probably end."""

    expected: str
    interval80: tuple[str, str] | None = Field(description="It ends in here with 80 % probability; null: too early.")
    interval95: tuple[str, str] | None
    made_by: str = Field(description="ensemble (the forecast), daily_average, or pace (the first days).")
    over: str = Field(description='How far above the limit; "0": not above it.')


class ThresholdFacts(Answer):
    percent: str
    amount: str
    reached: bool
    expected_at: str | None = Field(description="When it will probably be reached; null: it is, or not this period.")


class LiftFacts(Answer):
    switch: str
    until: str | None = Field(description="null: until somebody undoes it.")


class BudgetFacts(Answer):
    """One budget in its current period. Money in `currency`, as decimal strings."""

    budget: str
    period: str
    currency: str
    limit: str = Field(description="The limit that holds, with the increase.")
    increase: str
    spent: str
    reserved: str
    left: str
    usage_rate: float
    state: str = Field(description="ok, warning, restricted or stopped.")
    threshold: str | None = Field(description="The highest percentage reached.")
    starts_at: str
    resets_at: str
    days_left: float
    seconds_left: int
    daily_average: str
    projection: ProjectionFacts
    thresholds: list[ThresholdFacts]
    services_limited: list[str]
    lifts: list[LiftFacts]


class Budgets(Answer):
    refreshed_at: str = Field(description="When the oldest of these statuses was computed.")
    budgets: list[BudgetFacts]


class Snapshot(BudgetFacts):
    hour: str = Field(description="Label of the local hour: 2026-11-26T21+0900.")


class Snapshots(Answer):
    snapshots: list[Snapshot] = Field(description="One an hour, the newest first.")


class BudgetPlace(Asks):
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:/-]+$")]


class Hours(Asks):
    hours: int = Field(default=48, ge=1, le=9600, description="How many at most.")


async def budgets(call: Call) -> Budgets:
    """As the leader computed it; computed here when no leader did so lately."""
    rules, now_ms = call.rules, call.now_ms()
    names = [budget.name for budget in rules.budgets]
    published = await Watching(call.client, call.desk.keys).published(names)
    found: list[Any]
    if all(name in published and now_ms - published[name][0] <= FRESH_MS for name in names):
        found = [published[name][1] for name in names]
        refreshed_ms = min((published[name][0] for name in names), default=now_ms)
    else:
        statuses, _ = await Gatherer(call.client, call.desk.keys).statuses(rules, rules.budgets, now_ms)
        found = [document(statuses[budget.name], budget.timezone) for budget in rules.budgets]
        refreshed_ms = now_ms
    facts = [BudgetFacts.model_validate(one) for one in found]
    return Budgets(refreshed_at=iso(refreshed_ms, rules.timezone), budgets=facts)


async def snapshots(call: Call) -> Snapshots:
    name = call.place.name
    if name not in {budget.name for budget in call.rules.budgets}:
        raise Problem(404, "no_budget", name=name)
    found = await Watching(call.client, call.desk.keys).snapshots(name, call.query.hours)
    return Snapshots(snapshots=[Snapshot.model_validate(one) for one in found])


ROUTES = [
    Route("GET", "/budgets", Role.VIEWER, "Where every budget stands and will end", budgets, answers=Budgets),
    Route(
        *("GET", "/budgets/{name}/hours", Role.VIEWER, "A budget's status at the last hours", snapshots),
        answers=Snapshots,
        asks=Hours,
        place=BudgetPlace,
        problems=(404,),
    ),
]
