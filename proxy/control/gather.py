"""Gather what a budget's status is made of, from the counters, the day's roll-ups and the switches of one moment.

Asks the store; decides nothing: status.py makes the status. What a finished day cost a budget changes no more: whoever
lives long keeps one Gatherer and adds it up once, and the leader's Gatherer writes it down, so that a fresh process
reads a year as one number a day. The projection is the forecast that the leader keeps, where there is one.
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
from proxy.state.watching import FinishedDays


class Gatherer:
    """Statuses of a tenant's budgets. Mutable state: the finished days' costs by budget, of one rule set."""

    def __init__(self, reader: Reader, keys: Keys, *, writes: bool = False) -> None:
        """writes: keep finished days' costs in the store (the leader does)."""
        self._reader = reader
        self._writes = writes
        self._finished_days = FinishedDays(reader, keys)
        self._keys = keys
        self._ledger = Ledger(reader, keys)
        self._history = History(reader, keys)
        self._costs: dict[str, dict[date, int]] = {}
        self._digest = ""

    async def statuses(
        self, rules: RuleSet, budgets: Sequence[Budget], now_ms: int
    ) -> tuple[dict[str, BudgetStatus], Day]:
        """(by budget, today's roll-up). Raises StoreUnavailable."""
        levels = await self._ledger.current(budgets, now_ms)
        windows = [window_at(one.period, one.timezone, now_ms) for one in budgets]
        today = date.fromisoformat(local_day(now_ms, rules.timezone))
        began = [date.fromisoformat(local_day(window.start_ms, rules.timezone)) for window in windows]
        await self._load(rules, budgets)
        first = min(
            [today, *(self._unknown(one.name, since, today) for one, since in zip(budgets, began, strict=True))]
        )
        days = await self._history.days(first, today)
        kept = await forecasts.read(self._reader, self._keys, [("budget", one.name) for one in budgets])
        switches = await self.switches(now_ms)
        states, _ = await services.read(self._reader, self._keys, now_ms) if rules.services else ({}, {})
        stopped = sorted(one.name for one in rules.services if states.get(one.name, {}).get("runs") is False)
        found = {}
        for budget, level, window, since, fields in zip(budgets, levels, windows, began, kept, strict=True):
            finished = await self._finished(budget, rules, days, since, today)
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

    async def _load(self, rules: RuleSet, budgets: Sequence[Budget]) -> None:
        """What was written down about these budgets' finished days, once; other rules may count other calls."""
        if self._digest != rules.digest:
            self._costs, self._digest = {}, rules.digest
        names = [budget.name for budget in budgets if budget.name not in self._costs]
        self._costs |= await self._finished_days.read(names, rules.digest)

    def _unknown(self, budget: str, since: date, today: date) -> date:
        """The first day of the period whose cost is not known yet, today at the latest."""
        known, day = self._costs[budget], since
        while day < today and day in known:
            day += timedelta(days=1)
        return day

    async def _finished(
        self, budget: Budget, rules: RuleSet, days: Sequence[Day], since: date, today: date
    ) -> list[int]:
        """What each finished day of the period cost; days that no late settlement changes are added up once."""
        known = self._costs[budget.name]
        fresh = [day for day in days if since <= day.day < today and day.day not in known]
        found = finished_days(budget, rules, fresh)
        settled = today - timedelta(days=SETTLES_DAYS)
        final = {day: atoms for day, atoms in found.items() if day < settled}
        if final and self._writes:
            over = [day for day in known if day < since]
            await self._finished_days.write(budget.name, rules.digest, final, over)
        costs = {**known, **found}
        known |= final
        return [costs[day] for day in sorted(costs) if since <= day < today]

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
