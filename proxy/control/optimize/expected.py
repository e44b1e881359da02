"""What next month will probably cost, by API, before anything is saved.

PURE. The dear half of the plan: it forecasts. plan.py makes limits of it, without numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from proxy.control.ahead import Ahead, rents
from proxy.control.optimize.plan import Expected
from proxy.control.outlook import one_api, scope
from proxy.core.history import Day, Drawn, apis_of
from proxy.core.model import RuleSet
from proxy.core.windows import local_day


def expectations(rules: RuleSet, days: Sequence[Day], now_ms: int, drawn: Drawn) -> tuple[Expected, ...]:
    """The month after this one. days: roll-ups with today as the last. drawn: of free allowances."""
    today = date.fromisoformat(local_day(now_ms, rules.timezone))
    start = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    end = (start + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    ahead = Ahead(rents(rules, now_ms, end), drawn)
    found = []
    for api in sorted({*apis_of(days), *(cost.stands_under for cost in rules.fixed_costs)}):
        made = scope(rules, days, now_ms, one_api(api), start, end, ahead)
        low, high = made.interval80
        found.append(Expected(f"{start:%Y-%m}", api, round(made.month_end), round(low), round(high)))
    return tuple(found)
