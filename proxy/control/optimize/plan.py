"""Next month by API: what the forecast expects, what the recommendations would save, and limits that would keep it.

PURE. Limits are the expected spend without the savings plus half the way to the interval's upper end, rounded up to
whole units; where all of them together are more than the month's budget, the least important APIs give way first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from proxy.control.forecast import project
from proxy.control.optimize.finding import Recommendation
from proxy.control.outlook import one_api, series_of
from proxy.core import money
from proxy.core.history import Day, apis_of
from proxy.core.model import PeriodUnit, Priority, RuleSet
from proxy.core.windows import local_day

_RANK = {Priority.ESSENTIAL: 0, Priority.IMPORTANT: 1, Priority.OPTIONAL: 2}


@dataclass(frozen=True, slots=True)
class Line:
    """One API's month, in atoms of the rule set's currency. limit: what the budget of this API should be."""

    api: str
    expected: int
    low80: int
    high80: int
    saving: int
    limit: int


@dataclass(frozen=True, slots=True)
class Plan:
    """month: "2026-12". budget: the present limit of the month's global budget, None without one. change: for rules."""

    month: str
    currency: str
    lines: tuple[Line, ...]
    budget: int | None
    fits: bool
    change: str

    @property
    def total(self) -> int:
        return sum(line.limit for line in self.lines)


def next_month(rules: RuleSet, days: Sequence[Day], advice: Sequence[Recommendation], now_ms: int) -> Plan:
    """The plan for the month after this one. days: roll-ups with today as the last."""
    today = date.fromisoformat(local_day(now_ms, rules.timezone))
    start = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    end = (start + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    yesterday = today - timedelta(days=1)
    unit = 10 ** money.exponent(rules.currency)
    budget = _budget(rules)
    saved: dict[str, int] = {}
    for one in advice:
        for where, atoms in one.savings.items():
            saved[where[0]] = saved.get(where[0], 0) + atoms
    lines = []
    for api in apis_of(days):
        series = series_of(days, one_api(api), yesterday)
        if series is None:
            continue
        made = project(series, yesterday, end, period_start=start)
        expected = round(made.month_end)
        saving = min(saved.get(api, 0), expected)
        wanted = expected - saving + (round(made.interval80[1]) - expected) // 2
        lines.append(
            Line(api, expected, round(made.interval80[0]), round(made.interval80[1]), saving, -(-wanted // unit) * unit)
        )
    fits = budget is None or sum(line.limit for line in lines) <= budget
    if budget is not None and not fits:
        lines = _squeezed(rules, lines, budget, unit)
    change = "budgets:\n" + "".join(
        f"  - {{name: plan-{line.api}, limit: {money.format_decimal(line.limit, rules.currency)}, period: month, "
        f"applies_to: {{api: {line.api}}}}}\n"
        for line in lines
    )
    return Plan(f"{start:%Y-%m}", rules.currency, tuple(lines), budget, fits, change if lines else "")


def _budget(rules: RuleSet) -> int | None:
    """The tightest monthly budget over everything."""
    limits = [
        budget.limit_atoms
        for budget in rules.budgets
        if budget.period.unit is PeriodUnit.MONTH
        and budget.currency == rules.currency
        and budget.api is budget.rule is budget.caller is None
    ]
    return min(limits, default=None)


def _squeezed(rules: RuleSet, lines: list[Line], budget: int, unit: int) -> list[Line]:
    """Limits that fit into the budget: the most important APIs first, the others share what is left."""
    rank = {api.name: min((_RANK[rule.priority] for rule in api.rules), default=1) for api in rules.apis}
    left, given = budget // unit * unit, {}
    for level in sorted({rank.get(line.api, 1) for line in lines}):
        here = [line for line in lines if rank.get(line.api, 1) == level]
        wanted = sum(line.limit for line in here)
        for line in here:
            given[line.api] = line.limit if wanted <= left else left * line.limit // wanted // unit * unit
        left -= sum(given[line.api] for line in here)
    return [Line(x.api, x.expected, x.low80, x.high80, x.saving, given[x.api]) for x in lines]
