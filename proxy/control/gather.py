"""Gather what a budget's status is made of, from the counters, the day's roll-ups and the switches of one moment.

Asks the store; decides nothing: status.py makes the status. Whoever lives long keeps one Gatherer: finished days are
read once, and the forecast is asked every few minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from proxy.control.projecting import HISTORY_DAYS, Projector
from proxy.control.status import BudgetStatus, status_of
from proxy.core import money
from proxy.core.history import Day, atoms_in, cost_days, covers
from proxy.core.model import Budget, RuleSet
from proxy.core.windows import local_day, window_at
from proxy.state.history import History
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader


class Gatherer:
    """Statuses of a tenant's budgets. projector: None = the daily average of the period projects."""

    def __init__(self, reader: Reader, keys: Keys, projector: Projector | None = None) -> None:
        self._reader = reader
        self._keys = keys
        self._projector = projector
        self._ledger = Ledger(reader, keys)
        self._history = History(reader, keys)

    async def statuses(
        self, rules: RuleSet, budgets: Sequence[Budget], now_ms: int
    ) -> tuple[dict[str, BudgetStatus], Day]:
        """(by budget, today's roll-up). Raises StoreUnavailable."""
        levels = await self._ledger.current(budgets, now_ms)
        windows = [window_at(one.period, one.timezone, now_ms) for one in budgets]
        today = date.fromisoformat(local_day(now_ms, rules.timezone))
        began = [date.fromisoformat(local_day(window.start_ms, rules.timezone)) for window in windows]
        first = min([today, *began])
        if self._projector is not None:
            first = min(first, today - timedelta(days=HISTORY_DAYS))
        days = await self._history.days(first, today)
        if self._projector is not None:
            limits = {level.budget: level.limit_atoms for level in levels}
            await self._projector.refresh(rules, days, now_ms, limits)
        switches = await self.switches(now_ms)
        found = {}
        for budget, level, window, since in zip(budgets, levels, windows, began, strict=True):
            projection = None
            if self._projector is not None:
                projection = self._projector.project(budget, window, level.spent_atoms, now_ms)
            found[budget.name] = status_of(
                budget,
                level,
                window,
                now_ms,
                finished_days(budget, rules, [day for day in days if since <= day.day < today]),
                projection=projection,
                services_limited=stopped_apis(rules, budget, switches),
                lifts={name: until for name, until in switches.items() if lifts(name, rules, budget)},
            )
        return found, days[-1]

    async def switches(self, now_ms: int) -> dict[str, int]:
        """The switches in force: name -> until (Unix ms)."""
        fields: dict[str, str] = await self._reader.ask("HGETALL", self._keys.switches)
        parsed = {name: int(value.split()[0]) for name, value in fields.items() if value[:1].isdigit()}
        return {name: until for name, until in parsed.items() if until > now_ms}


def finished_days(budget: Budget, rules: RuleSet, days: Sequence[Day]) -> list[int]:
    """What each day cost the budget, in atoms of its own currency; days without an exchange rate are left out."""
    out = []
    for day, atoms in cost_days(days, lambda who: covers(budget, who)).items():
        try:
            out.append(atoms_in(budget.currency, atoms, rules.currency, rules.fx, day))
        except money.NoRate:
            continue
    return out


def lifts(name: str, rules: RuleSet, budget: Budget) -> bool:
    """Whether a switch lifts something that this budget, or a stop of its APIs, would refuse."""
    kind, _, what = name.partition(":")
    if kind != "lift":
        return kind == "bypass"
    sort, _, target = what.partition(":")
    if sort == "api":
        return any(api.name == target and budget.api in (None, api.name) for api in rules.apis)
    return what in ("all", f"budget:{budget.name}")


def stopped_apis(rules: RuleSet, budget: Budget, switches: Mapping[str, int]) -> list[str]:
    """Names of the APIs in the budget's scope that a switch has stopped, sorted."""
    return sorted(
        api.name
        for api in rules.apis
        if any(covers(budget, (api.name, rule.id, budget.caller or "")) for rule in api.rules)
        and ("stop" in switches or f"api:{api.name}" in switches)
        and f"lift:api:{api.name}" not in switches
    )
