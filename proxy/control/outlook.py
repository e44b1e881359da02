"""Where each budget and each API will be at the end of its period: the forecast, joined to rules and roll-ups.

PURE. Decides what of a running day is known already, and what holidays mean. The days up to yesterday are history; of
today the part that is over is known and the rest expected. Rent and free allowances come from ahead.py: the series that
is forecast holds neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import hypot
from typing import Any

from proxy.control.ahead import Ahead, Beyond, beyond, is_rent, rent_of, rents
from proxy.control.forecast import DailySeries, Projection, project
from proxy.control.forecast.backtest import Case, cases, coverage, scores
from proxy.control.forecast.special import country_of, holiday_factors, holidays_of
from proxy.core import money
from proxy.core.history import Day, Drawn, Who, apis_of, atoms_in, cost_days, covers
from proxy.core.model import Budget, Period, PeriodUnit, RuleSet
from proxy.core.windows import local_day, window_at

SMALLEST_PART = 0.05  # of a first day: before, it says nothing about the rest
Past = tuple[float, float]  # the ensemble's median error (%), and how often the 80 % interval held
_MONTH = Period(PeriodUnit.MONTH)
_DAY = Period(PeriodUnit.DAY)


@dataclass(frozen=True, slots=True)
class Outlook:
    """One budget's or API's period. Money of the projection is in atoms of `currency`, as floats: an expectation.

    kind: "budget" | "api". limit_atoms: None for an API. over: the expected end is beyond the limit; may_be_over: the
    upper end of the 80 % interval is. reaches_limit: the local day on which the limit is expected to be reached.
    past_error: the ensemble's median error (%) on this series' own past months; None with too little past.
    """

    kind: str
    name: str
    period: str
    currency: str
    start: date
    end: date
    projection: Projection
    limit_atoms: int | None = None
    over: bool = False
    may_be_over: bool = False
    reaches_limit: date | None = None
    past_error: float | None = None
    past_cover80: float | None = None


def outlooks(
    rules: RuleSet,
    days: Sequence[Day],
    now_ms: int,
    *,
    limits: Mapping[str, int] | None = None,
    drawn: Drawn | None = None,
    country: str | None = None,
    backtests: bool = True,
) -> list[Outlook]:
    """Every budget of a day or longer, then every API's month. limits: effective ones (atoms) where they were raised.

    days: roll-ups in order, today last. drawn: of free allowances. country: of the holidays; None asks the rules' time
    zone. The budgets' own zones decide their periods, the rule set's zone the days.
    """
    found = []
    ahead = Ahead(rents(rules, now_ms, _last_day(rules, now_ms)), drawn or {})
    for budget in rules.budgets:
        if budget.period.unit is PeriodUnit.HOUR:
            continue
        limit = (limits or {}).get(budget.name, budget.limit_atoms)
        made = _outlook(
            rules, days, now_ms, _wanted_by(budget), budget.period, budget.timezone, budget.currency, country, ahead
        )
        month = budget.period.unit is PeriodUnit.MONTH
        past = backtest(days, _wanted_by(budget)) if backtests and month else None
        found.append(_against_limit(_named(made, "budget", budget.name, past), limit))
    for api in apis_of(days):
        wanted = one_api(api)
        made = _outlook(rules, days, now_ms, wanted, _MONTH, rules.timezone, rules.currency, country, ahead)
        found.append(_named(made, "api", api, backtest(days, wanted) if backtests else None))
    return found


def series_of(days: Sequence[Day], wanted: Callable[[Who], bool], last: date) -> DailySeries | None:
    """The days up to `last` as a series in atoms of the rule set's currency; None: there is none before."""
    costs = {day: float(max(0, atoms)) for day, atoms in cost_days(days, wanted).items() if day <= last}
    return DailySeries.of(costs, until=last) if costs else None


def backtest(days: Sequence[Day], wanted: Callable[[Who], bool], months: int = 6, fewest_days: int = 28) -> list[Case]:
    """The past month ends of a scope; empty when no month has enough days before it. Rent was known beforehand."""
    if len(days) < 2:
        return []
    series = series_of(days, lambda who: wanted(who) and not is_rent(who), days[-1].day - timedelta(days=1))
    rent = cost_days(days, lambda who: wanted(who) and is_rent(who))
    return [] if series is None else [_with_rent_of_then(case, rent) for case in cases(series, months, fewest_days)]


def _with_rent_of_then(case: Case, rent: Mapping[date, int]) -> Case:
    known = sum(atoms for day, atoms in rent.items() if (day.year, day.month) == (case.month.year, case.month.month))
    guesses = {name: guess + known for name, guess in case.guesses.items()}
    return replace(case, actual=case.actual + known, guesses=guesses)


def _wanted_by(budget: Budget) -> Callable[[Who], bool]:
    return lambda who: covers(budget, who)


def one_api(api: str) -> Callable[[Who], bool]:
    """Asks for the calls of one API."""
    return lambda who: who[0] == api


def _last_day(rules: RuleSet, now_ms: int) -> date:
    """The last day of the longest period that runs."""
    ends = [window_at(budget.period, budget.timezone, now_ms).end_ms for budget in rules.budgets]
    ends.append(window_at(_MONTH, rules.timezone, now_ms).end_ms)
    return date.fromisoformat(local_day(max(ends) - 1, rules.timezone)) + timedelta(days=1)


def _outlook(
    rules: RuleSet,
    days: Sequence[Day],
    now_ms: int,
    wanted: Callable[[Who], bool],
    period: Period,
    timezone: str,
    currency: str,
    country: str | None,
    ahead: Ahead,
) -> Outlook:
    window = window_at(period, timezone, now_ms)
    start = date.fromisoformat(local_day(window.start_ms, timezone))
    end = date.fromisoformat(local_day(window.end_ms - 1, timezone))
    today = date.fromisoformat(local_day(now_ms, rules.timezone))
    made = scope(rules, days, now_ms, wanted, start, end, ahead, country)
    rate = atoms_in(currency, 10**12, rules.currency, rules.fx, today) / 10**12
    return Outlook("", "", window.label, currency, start, end, _scaled(made, rate))


def scope(
    rules: RuleSet,
    days: Sequence[Day],
    now_ms: int,
    wanted: Callable[[Who], bool],
    start: date,
    end: date,
    ahead: Ahead,
    country: str | None = None,
) -> Projection:
    """What some calls and their rent will cost from `start` to `end`, in atoms of the rule set's currency.

    The span holds today or begins later. ahead: its rent reaches up to `end`.
    """
    today = date.fromisoformat(local_day(now_ms, rules.timezone))
    day = window_at(_DAY, rules.timezone, now_ms)
    part = min(1.0, (now_ms - day.start_ms) / (day.end_ms - day.start_ms))
    yesterday, first = today - timedelta(days=1), max(start, today)
    tiers = beyond(rules, days, now_ms, wanted, first, end, ahead.drawn)
    apart = {tier.rule for tier in tiers}

    def usual(who: Who) -> bool:
        return wanted(who) and not is_rent(who) and who[1] not in apart

    so_far = float(max(0, cost_days(days, usual).get(today, 0)))
    series = series_of(days, usual, yesterday)
    by_day = rent_of(ahead.rent, wanted, first, end)
    accrued = float(sum(atoms for who, atoms in _costs(days, wanted, start) if is_rent(who)))
    certain = accrued + sum(by_day)
    if series is None or not any(series.values):
        # The first day: what it has brought so far is all there is.
        known = DailySeries(yesterday, (so_far / max(SMALLEST_PART, part),))
        made = project(known, yesterday, end, period_start=start, spent=0.0, certain=certain)
    else:
        factors = _holidays(rules, series, end, country)
        made = project(series, yesterday, end, period_start=start, certain=certain, day_factors=factors)
    if start <= today:
        made = _with_today(made, so_far, part)
    basis = "known" if made.basis == "none" and certain else made.basis
    made = replace(made, spent=made.spent + accrued, daily=_added(made.daily, by_day), basis=basis)
    for tier in tiers:
        spent = sum(atoms for who, atoms in _costs(days, wanted, start) if who[1] == tier.rule)
        made = _with_tier(made, tier, float(spent))
    return made


def _costs(days: Sequence[Day], wanted: Callable[[Who], bool], start: date) -> Iterator[tuple[Who, int]]:
    """The roll-ups' lines since `start`."""
    return ((who, atoms) for day in days if day.day >= start for who, atoms in day.cost.items() if wanted(who))


def _added(daily: Sequence[float], more: Sequence[float]) -> tuple[float, ...]:
    return tuple(one + other for one, other in zip(daily, more, strict=True))


def _with_tier(made: Projection, tier: Beyond, spent: float) -> Projection:
    """The projection with a rule that is forecast by its calls; both err by themselves, so squares add up."""
    rest = sum(tier.daily)
    total = made.month_end + spent + rest

    def around(interval: tuple[float, float], low: float, high: float) -> tuple[float, float]:
        down = hypot(made.month_end - interval[0], max(0.0, rest - low))
        up = hypot(interval[1] - made.month_end, max(0.0, high - rest))
        return max(made.spent + spent, total - down), total + up

    return replace(
        made,
        month_end=total,
        interval80=around(made.interval80, tier.low80, tier.high80),
        interval95=around(made.interval95, tier.low95, tier.high95),
        models={name: value + spent + rest for name, value in made.models.items()},
        spent=made.spent + spent,
        daily=_added(made.daily, tier.daily),
        basis=tier.basis if made.basis in ("none", "known") else made.basis,
    )


def _with_today(made: Projection, so_far: float, part: float) -> Projection:
    """What of today is over is known; only the rest of the day is still expected."""
    if not made.daily:
        return made
    expected = so_far + (1 - part) * made.daily[0]
    moved = expected - made.daily[0]
    floor = made.spent + so_far

    def shifted(value: float) -> float:
        return max(floor, value + moved)

    return replace(
        made,
        month_end=shifted(made.month_end),
        interval80=(shifted(made.interval80[0]), shifted(made.interval80[1])),
        interval95=(shifted(made.interval95[0]), shifted(made.interval95[1])),
        models={name: shifted(value) for name, value in made.models.items()},
        spent=floor,
        daily=((1 - part) * made.daily[0], *made.daily[1:]),
    )


def _scaled(made: Projection, rate: float) -> Projection:
    if rate == 1:
        return made
    return replace(
        made,
        month_end=made.month_end * rate,
        interval80=(made.interval80[0] * rate, made.interval80[1] * rate),
        interval95=(made.interval95[0] * rate, made.interval95[1] * rate),
        models={name: value * rate for name, value in made.models.items()},
        spent=made.spent * rate,
        daily=tuple(value * rate for value in made.daily),
    )


def _holidays(rules: RuleSet, series: DailySeries, end: date, country: str | None) -> dict[date, float]:
    country = country or country_of(rules.timezone)
    if country is None or len(series.values) < 28:
        return {}
    known = holidays_of(country, series.last.year - 1, end.year)
    ahead = [series.last + timedelta(days=index + 1) for index in range((end - series.last).days)]
    return holiday_factors(series, known, ahead)


def _named(made: Outlook, kind: str, name: str, past: list[Case] | None) -> Outlook:
    return with_past(replace(made, kind=kind, name=name), _past(past or []))


def _past(found: list[Case]) -> Past | None:
    if not found:
        return None
    error = next(score.median_error for score in scores(found) if score.model == "ensemble")
    return error, coverage(found)[0]


def with_past(made: Outlook, past: Past | None) -> Outlook:
    """The outlook with the forecast's own past error beside it."""
    return made if past is None else replace(made, past_error=past[0], past_cover80=past[1])


def past_errors(rules: RuleSet, days: Sequence[Day]) -> dict[tuple[str, str], Past]:
    """How good the forecast has been, by (kind, name); seconds of work for many scopes, so once a day is enough."""
    scopes = {("budget", b.name): _wanted_by(b) for b in rules.budgets if b.period.unit is PeriodUnit.MONTH}
    scopes |= {("api", api): one_api(api) for api in apis_of(days)}
    found = {scope: _past(backtest(days, wanted)) for scope, wanted in scopes.items()}
    return {scope: past for scope, past in found.items() if past is not None}


def _against_limit(made: Outlook, limit: int) -> Outlook:
    projection, reached = made.projection, None
    total = projection.spent
    first = made.end - timedelta(days=len(projection.daily) - 1)
    for index, expected in enumerate(projection.daily):
        total += expected
        if total >= limit:
            reached = first + timedelta(days=index)
            break
    if projection.spent >= limit:
        reached = None  # it is reached already
    over, may = projection.month_end > limit, projection.interval80[1] > limit
    return replace(made, limit_atoms=limit, over=over, may_be_over=may, reaches_limit=reached)


def as_json(made: Outlook) -> dict[str, Any]:
    """One outlook for programs: money as decimal strings in the major unit, to the atom."""

    def amount(atoms: float) -> str:
        return money.format_decimal(round(atoms), made.currency)

    projection = made.projection
    return {
        "kind": made.kind,
        "name": made.name,
        "period": made.period,
        "currency": made.currency,
        "start": made.start.isoformat(),
        "end": made.end.isoformat(),
        "spent": amount(projection.spent),
        "month_end": amount(projection.month_end),
        "interval80": [amount(value) for value in projection.interval80],
        "interval95": [amount(value) for value in projection.interval95],
        "models": {name: amount(value) for name, value in sorted(projection.models.items())},
        "basis": projection.basis,
        "days_left": projection.days_left,
        "daily": [amount(value) for value in projection.daily],
        "limit": None if made.limit_atoms is None else money.format_decimal(made.limit_atoms, made.currency),
        "over": made.over,
        "may_be_over": made.may_be_over,
        "reaches_limit": made.reaches_limit.isoformat() if made.reaches_limit else None,
        "past_error_percent": None if made.past_error is None else round(made.past_error, 2),
        "past_cover80": None if made.past_cover80 is None else round(made.past_cover80, 3),
    }
