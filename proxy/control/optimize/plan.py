"""Next month by API: what the forecast expects, what the recommendations would save, and limits that would keep it.

PURE. Limits are the expected spend without the savings plus half the way to the interval's upper end, rounded up to
whole units; where all of them together are more than the month's budget, the least important APIs give way first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from proxy.control.optimize.finding import Recommendation
from proxy.core import money
from proxy.core.model import PeriodUnit, Priority, RuleSet
from proxy.core.windows import local_day

_RANK = {Priority.ESSENTIAL: 0, Priority.IMPORTANT: 1, Priority.OPTIONAL: 2}
_RENT = -1


@dataclass(frozen=True, slots=True)
class Expected:
    """What a month will probably cost for one API (or cost without a call), in atoms. month: "2026-12"."""

    month: str
    api: str
    atoms: int
    low80: int
    high80: int


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


def next_month(rules: RuleSet, expected: Sequence[Expected], advice: Sequence[Recommendation], now_ms: int) -> Plan:
    """The plan for the month after this one. expected: of that month; what was expected of another one is left out."""
    today = date.fromisoformat(local_day(now_ms, rules.timezone))
    month = f"{(today.replace(day=1) + timedelta(days=32)):%Y-%m}"
    unit = 10 ** money.exponent(rules.currency)
    budget = _budget(rules)
    saved: dict[str, int] = {}
    for one in advice:
        for where, atoms in one.savings.items():
            saved[where[0]] = saved.get(where[0], 0) + atoms
    lines = []
    for part in expected:
        if part.month == month:
            saving = min(saved.get(part.api, 0), part.atoms)
            wanted = part.atoms - saving + (part.high80 - part.atoms) // 2
            limit = -(-wanted // unit) * unit
            lines.append(Line(part.api, part.atoms, part.low80, part.high80, saving, limit))
    fits = budget is None or sum(line.limit for line in lines) <= budget
    if budget is not None and not fits:
        lines = _squeezed(rules, lines, budget, unit)
    return Plan(month, rules.currency, tuple(lines), budget, fits, _change(rules, lines))


def _change(rules: RuleSet, lines: Sequence[Line]) -> str:
    """Budgets for rules.yaml: of APIs only, since costs without a call are refused by no limit."""
    apis = {api.name for api in rules.apis}
    budgets = "".join(
        f"  - {{name: plan-{line.api}, limit: {money.format_decimal(line.limit, rules.currency)}, period: month, "
        f"applies_to: {{api: {line.api}}}}}\n"
        for line in lines
        if line.api in apis
    )
    return f"budgets:\n{budgets}" if budgets else ""


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
    """Limits that fit into the budget: the most important APIs first, the others share what is left.

    What costs without a call comes before all of them: no limit refuses it.
    """
    rank = {api.name: min((_RANK[rule.priority] for rule in api.rules), default=1) for api in rules.apis}
    left, given = budget // unit * unit, {}
    for level in sorted({rank.get(line.api, _RENT) for line in lines}):
        here = [line for line in lines if rank.get(line.api, _RENT) == level]
        wanted = sum(line.limit for line in here)
        for line in here:
            given[line.api] = line.limit if wanted <= left else left * line.limit // wanted // unit * unit
        left -= sum(given[line.api] for line in here)
    return [replace(line, limit=given[line.api]) for line in lines]
