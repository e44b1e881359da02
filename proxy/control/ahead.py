"""What rules.yaml itself says of the days ahead: rent that will accrue, and free calls that are not used up yet.

PURE. A series of days knows neither: rent is no habit but a sum, and a rule with a free allowance costs nothing until
the very day on which it costs all. So rent is added as certain, and such a rule is forecast by its calls, or by the
units that they draw, and priced beyond what is left of the allowance. Money is in atoms of the rule set's currency, as
floats: an expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

from proxy.control.forecast import DailySeries, project
from proxy.control.forecast.special import after_allowance
from proxy.core import money
from proxy.core.accrual import due
from proxy.core.history import Day, Drawn, Who, call_days, cost_days
from proxy.core.model import FreeTier, Period, PeriodUnit, Price, Rule, RuleSet
from proxy.core.windows import local_day, window_at

Rents = Mapping[Who, Mapping[date, float]]
PAID_DAYS = 28  # a call's price beyond the allowance is the median of so many paid days, where the rule does not say it
_DAY = Period(PeriodUnit.DAY)
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known beside the roll-ups. rent: of rents(). drawn: what the counters of free allowances say."""

    rent: Rents
    drawn: Drawn


def is_rent(who: Who) -> bool:
    """Whether a roll-up's line is rent (FixedCost.rule)."""
    return who[1].startswith("fixed/")


def rents(rules: RuleSet, now_ms: int, end: date) -> Rents:
    """What each fixed cost will still accrue, by local day: the rest of today (from this hour on) up to `end`."""
    found: dict[Who, dict[date, float]] = {}
    today = local_day(now_ms, rules.timezone)
    for cost in rules.fixed_costs:
        try:
            worth, _, _ = money.convert(Decimal(1), cost.currency, rules.currency, rules.fx, rules.currency, today)
        except money.NoRate:
            continue
        rate = float(worth) * 10.0 ** (money.exponent(rules.currency) - money.exponent(cost.currency))
        own = found.setdefault((cost.stands_under, cost.rule, "-"), {})
        from_ms = now_ms // _HOUR_MS * _HOUR_MS
        while (day := date.fromisoformat(local_day(from_ms, rules.timezone))) <= end:
            until_ms = window_at(_DAY, rules.timezone, from_ms).end_ms
            own[day] = own.get(day, 0.0) + rate * due(cost, rules.timezone, from_ms, until_ms)
            from_ms = until_ms
    return found


def rent_of(found: Rents, wanted: Callable[[Who], bool], start: date, end: date) -> list[float]:
    """What accrues of the rent wanted on each day from `start` to `end`."""
    days = [start + timedelta(days=index) for index in range((end - start).days + 1)]
    own = [by_day for who, by_day in found.items() if wanted(who)]
    return [sum(by_day.get(day, 0.0) for by_day in own) for day in days]


@dataclass(frozen=True, slots=True)
class Beyond:
    """What one rule with a free allowance will cost. daily: from `start` on, the rest of today first where it is today.

    low80 ... high95: of the sum of `daily`. basis: of the forecast of its calls.
    """

    rule: str
    daily: tuple[float, ...]
    low80: float
    high80: float
    low95: float
    high95: float
    basis: str


def beyond(
    rules: RuleSet,
    days: Sequence[Day],
    now_ms: int,
    wanted: Callable[[Who], bool],
    start: date,
    end: date,
    drawn: Drawn | None = None,
) -> list[Beyond]:
    """Every rule with a free allowance in this scope whose price beyond it is known. start: today or later.

    days: roll-ups, today last. drawn: what the counters of allowances say; without one calls are counted instead, and
    an allowance of units is not understood. A scope that sees part of a rule's calls bears the same part of what they
    cost.
    """
    found = []
    for api in rules.apis:
        for rule in api.rules:
            tier = rule.price.free_tier
            if tier is None or tier.period.unit is PeriodUnit.HOUR:  # days know nothing of hours
                continue

            def own(who: Who, rule: Rule = rule) -> bool:
                return who[1] == rule.id

            def shown(who: Who, rule: Rule = rule) -> bool:
                return who[1] == rule.id and wanted(who)

            calls, share = call_days(days, own), sum(call_days(days[-PAID_DAYS:], shown).values())
            each = _units_of_a_call(rules, rule, tier, calls, drawn or {}, now_ms)
            price = _price(rules, rule, days, now_ms, each) if each else None
            if share and price is not None:
                share_of_all = share / sum(call_days(days[-PAID_DAYS:], own).values())
                allowance = _Allowance(tier, {at: count * each for at, count in calls.items()}, price * share_of_all)
                found.append(_beyond(rules, rule.id, allowance, drawn or {}, now_ms, start, end))
    return found


@dataclass(frozen=True, slots=True)
class _Allowance:
    """units: that calls drew, by day. price: atoms for a unit beyond it."""

    tier: FreeTier
    units: Mapping[date, float]
    price: float


def _units_of_a_call(
    rules: RuleSet, rule: Rule, tier: FreeTier, calls: Mapping[date, int], drawn: Drawn, now_ms: int
) -> float:
    """What a call draws from the allowance: 1, or the mean of this period and the one before; 0 = not known."""
    if tier.of == "requests":
        return 1.0
    running = window_at(tier.period, rules.timezone, now_ms)
    units = made = 0.0
    for window in (running, window_at(tier.period, rules.timezone, running.start_ms - 1)):
        used = drawn.get((rule.id, window.label))
        if used is not None:
            first, last = (local_day(at_ms, rules.timezone) for at_ms in (window.start_ms, window.end_ms - 1))
            units += used
            made += sum(count for at, count in calls.items() if first <= at.isoformat() <= last)
    return units / made if made else 0.0


def _beyond(rules: RuleSet, rule: str, own: _Allowance, drawn: Drawn, now_ms: int, start: date, end: date) -> Beyond:
    today = date.fromisoformat(local_day(now_ms, rules.timezone))
    day = window_at(_DAY, rules.timezone, now_ms)
    part = min(1.0, (now_ms - day.start_ms) / (day.end_ms - day.start_ms))
    yesterday = today - timedelta(days=1)
    before = {at: units for at, units in own.units.items() if at < today}
    if not any(before.values()):  # the first day: what it has brought is all there is
        before = {yesterday: own.units.get(today, 0.0) / max(0.05, part)}
    made = project(DailySeries.of(before, until=yesterday), yesterday, end, period_start=today, spent=0.0)
    ahead = [made.daily[0] * (1 - part), *made.daily[1:]]
    running = window_at(own.tier.period, rules.timezone, now_ms)
    began = date.fromisoformat(local_day(running.start_ms, rules.timezone))
    used = drawn.get((rule, running.label), sum(units for at, units in own.units.items() if at >= began))

    def cost(total: float) -> list[float]:
        """By day, if all the units ahead were so many."""
        times = total / made.month_end if made.month_end > 0 else 0.0
        return _paid(rules, own, used, [units * times for units in ahead], now_ms)[(start - today).days :]

    daily = cost(made.month_end)
    low80, high80, low95, high95 = (sum(cost(end)) for end in (*made.interval80, *made.interval95))
    return Beyond(rule, tuple(daily), low80, high80, low95, high95, made.basis)


def _paid(rules: RuleSet, own: _Allowance, used: float, ahead: Sequence[float], now_ms: int) -> list[float]:
    """What each day ahead costs beyond the allowance of its period, today first. used: of the running one's."""
    at_ms, label, before, paid = now_ms, "", 0.0, []
    left = 0.0
    for units in ahead:
        window = window_at(own.tier.period, rules.timezone, at_ms)
        if window.label != label:
            left, before = float(own.tier.amount) - (0.0 if label else used), 0.0
            label = window.label
        so_far = before + units
        paid.append(after_allowance(so_far, left, own.price) - after_allowance(before, left, own.price))
        before = so_far
        at_ms = window_at(_DAY, rules.timezone, at_ms).end_ms
    return paid


def _price(rules: RuleSet, rule: Rule, days: Sequence[Day], now_ms: int, each: float) -> float | None:
    """Atoms for a unit beyond the allowance: as the rule says, else as its paid days were; None: neither is known.

    each: units of a call. Where units are free and calls cost something beside them, days within the allowance are paid
    too, and the plain series knows them better: None.
    """
    price = rule.price
    plain = Price(price.currency, free_tier=price.free_tier, charge_on=price.charge_on)
    if price.free_tier is not None and price.free_tier.of == "units":
        plain = replace(plain, per_unit=price.per_unit)
        said: Decimal | None = price.per_unit[0].price
        if _unadjusted(price) != plain:
            return None
    else:
        plain, said = replace(plain, per_request=price.per_request), price.per_request
    if said is not None and price == plain:
        today = local_day(now_ms, rules.timezone)
        try:
            worth, _, _ = money.convert(said, price.currency, rules.currency, rules.fx, rules.currency, today)
        except money.NoRate:
            return None
        return float(worth) * 10.0 ** money.exponent(rules.currency)
    calls = call_days(days, lambda who: who[1] == rule.id)
    costs = cost_days(days, lambda who: who[1] == rule.id)
    paid = [costs[day] / calls[day] for day in costs if costs[day] > 0 and calls.get(day)]
    return median(paid[-PAID_DAYS:]) / each if paid else None


def _unadjusted(price: Price) -> Price:
    """Without what only changes the sum of its parts."""
    return replace(price, minimum=None, rounding=None, vat=None, times=())
