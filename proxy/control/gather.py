"""Gather what a budget's status is made of, from the counters, the day's roll-ups and the switches of one moment.

Asks the store; decides nothing: status.py makes the status. Whoever lives long keeps one Gatherer: finished days are
read once. The projection is the forecast that the leader keeps, where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from proxy.control.projecting import carried
from proxy.control.status import BudgetStatus, status_of
from proxy.core import money
from proxy.core.history import Day, atoms_in, cost_days, covers
from proxy.core.model import Budget, RuleSet
from proxy.core.windows import local_day, window_at
from proxy.state import forecasts, services
from proxy.state.history import SETTLES_DAYS, History
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader


class Gatherer:
    """Statuses of a tenant's budgets."""

    def __init__(self, reader: Reader, keys: Keys) -> None:
        self._reader = reader
        self._keys = keys
        self._ledger = Ledger(reader, keys)
        self._history = History(reader, keys)
        self._costs: dict[tuple[str, date], int] = {}
        self._digest = ""

    async def statuses(
        self, rules: RuleSet, budgets: Sequence[Budget], now_ms: int
    ) -> tuple[dict[str, BudgetStatus], Day]:
        """(by budget, today's roll-up). Raises StoreUnavailable."""
        levels = await self._ledger.current(budgets, now_ms)
        windows = [window_at(one.period, one.timezone, now_ms) for one in budgets]
        today = date.fromisoformat(local_day(now_ms, rules.timezone))
        began = [date.fromisoformat(local_day(window.start_ms, rules.timezone)) for window in windows]
        days = await self._history.days(min([today, *began]), today)
        kept = await forecasts.read(self._reader, self._keys, [("budget", one.name) for one in budgets])
        switches = await self.switches(now_ms)
        states, _ = await services.read(self._reader, self._keys, now_ms) if rules.services else ({}, {})
        stopped = sorted(one.name for one in rules.services if states.get(one.name, {}).get("runs") is False)
        found = {}
        for budget, level, window, since, fields in zip(budgets, levels, windows, began, kept, strict=True):
            finished = self._finished(budget, rules, [day for day in days if since <= day.day < today], today)
            projection = None
            if "json" in fields:
                at_ms = round(datetime.fromisoformat(fields["at"]).timestamp() * 1000)
                told, known = json.loads(fields["json"]), sum(1 for atoms in finished if atoms)
                projection = carried(told, at_ms, budget, window, level.spent_atoms, now_ms, known)
            found[budget.name] = status_of(
                budget,
                level,
                window,
                now_ms,
                finished,
                projection=projection,
                services_limited=[*stopped, *stopped_apis(rules, budget, switches)],
                lifts={name: until for name, until in switches.items() if lifts(name, rules, budget)},
            )
        return found, days[-1]

    def _finished(self, budget: Budget, rules: RuleSet, days: Sequence[Day], today: date) -> list[int]:
        """What each finished day cost the budget; days that no late settlement changes are added up once."""
        settled = today - timedelta(days=SETTLES_DAYS)
        if self._digest != rules.digest:
            self._costs, self._digest = {}, rules.digest
        fresh = [day for day in days if (budget.name, day.day) not in self._costs]
        found = finished_days(budget, rules, fresh)
        self._costs |= {(budget.name, day): atoms for day, atoms in found.items() if day < settled}
        costs = {
            **found,
            **{day.day: self._costs[budget.name, day.day] for day in days if (budget.name, day.day) in self._costs},
        }
        return [costs[day.day] for day in days if day.day in costs]

    async def switches(self, now_ms: int) -> dict[str, int]:
        """The switches in force: name -> until (Unix ms)."""
        fields: dict[str, str] = await self._reader.ask("HGETALL", self._keys.switches)
        parsed = {name: int(value.split()[0]) for name, value in fields.items() if value[:1].isdigit()}
        return {name: until for name, until in parsed.items() if until > now_ms}


def finished_days(budget: Budget, rules: RuleSet, days: Sequence[Day]) -> dict[date, int]:
    """What each day cost the budget, in atoms of its own currency; days without an exchange rate are left out."""
    out = {}
    for day, atoms in cost_days(days, lambda who: covers(budget, who)).items():
        try:
            out[day] = atoms_in(budget.currency, atoms, rules.currency, rules.fx, day)
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
