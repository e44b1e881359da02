"""The page of the cost forecast: the month so far and what is expected of the rest, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from proxy.admin.dashboard.app import Seen
from proxy.admin.dashboard.look import Look, ms_of
from proxy.admin.dashboard.overview import main_budget
from proxy.core.windows import local_day

Row = Mapping[str, Any]


async def page(seen: Seen) -> dict[str, Any]:
    """Values of forecast.html."""
    look, ask = seen.look, seen.ask
    kept = (await ask.get("/forecast"))["forecasts"]
    budgets = (await ask.get("/budgets"))["budgets"]
    today = date.fromisoformat(local_day(look.now_ms, look.timezone))
    first = today.replace(day=1)
    before = (first - timedelta(days=1)).replace(day=1)
    days = (await ask.get("/usage", {"from": before.isoformat(), "to": today.isoformat()}))["days"]
    costs = {date.fromisoformat(row["date"]): Decimal(row["cost"]) for row in days}
    rules = ask.desk.rules()
    chosen = main_budget(rules.budgets) if rules is not None else None
    name = rules.budgets[chosen].name if rules is not None and chosen is not None else None
    main = next((one for one in kept if (one["kind"], one["name"]) == ("budget", name) and _is_month(one, first)), None)
    values: dict[str, Any] = {"title": look.t("dash.tab.forecast"), "main": None, "cumulative": None, "daily": None}
    if main is not None:
        values["main"] = _summary(look, main)
        values |= _charts(look, main, costs, first, before, today)
    return {
        **values,
        "budgets": [_thresholds(look, one) for one in budgets],
        "others": [_row(look, one) for one in kept if one is not main],
    }


def _is_month(one: Row, first: date) -> bool:
    return str(one["start"]).startswith(first.isoformat())


def _summary(look: Look, one: Row) -> dict[str, Any]:
    unit = one["currency"]
    state, key = (
        ("stop", "over") if one["over"] else ("warn1", "may_exceed") if one["may_be_over"] else ("ok", "within")
    )
    error, cover = one["past_error_percent"], one["past_cover80"]
    models = sorted(one["models"].items(), key=lambda model: (model[0] != "ensemble", model[0]))
    return {
        "name": one["name"],
        "period": one["period"],
        "month_end": look.money(one["month_end"], unit),
        "limit": look.money(one["limit"], unit) if one["limit"] else "—",
        "interval80": look.t("dash.from_to", **_ends(look, one["interval80"], unit)),
        "interval95": look.t("dash.from_to", **_ends(look, one["interval95"], unit)),
        "state": state,
        "verdict": look.t(f"dash.verdict.{key}"),
        "basis": look.t(f"dash.forecast.{one['basis']}"),
        "error": look.t("dash.past_error", percent=f"{error:.0f}")
        if error is not None
        else look.t("dash.no_past_error"),
        "cover": look.t("dash.past_cover", share=look.share(cover)) if cover is not None else "",
        "models": [(look.t(f"dash.model.{name}"), look.money(amount, unit)) for name, amount in models],
    }


def _ends(look: Look, ends: Sequence[str], unit: str) -> dict[str, str]:
    return {"low": look.money(ends[0], unit), "high": look.money(ends[1], unit)}


def _charts(
    look: Look, one: Row, costs: Mapping[date, Decimal], first: date, before: date, today: date
) -> dict[str, Any]:
    """Both charts and their tables: each day of this month, known up to today and expected from then on."""
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    known = [float(costs.get(day, Decimal(0))) if day <= today else None for day in days]
    expected = [float(amount) for amount in one["daily"]]
    rest: list[float | None] = [None] * len(days)
    for at, amount in zip(range((today - first).days, len(days)), expected, strict=False):
        rest[at] = amount
    spent = 0.0
    cumulative: list[float | None] = []
    for cost in known:
        spent += cost or 0.0
        cumulative.append(round(spent, 6) if cost is not None else None)
    now = (today - first).days
    ahead, low, high = _ahead(one, cumulative[now] or 0.0, expected, now, len(days))
    was = 0.0
    previous: list[float | None] = []
    for number in range(len(days)):
        was += float(costs.get(before + timedelta(days=number), Decimal(0)))
        previous.append(round(was, 6) if (before + timedelta(days=number)).month == before.month else None)
    prefix, suffix = look.around_amounts()
    common = {
        "x": list(range(len(days))),
        "days": [look.day_of(day.isoformat()) for day in days],
        "short": [look.short_day(day.isoformat()) for day in days],
        "labels": [look.t("dash.day")],
        "before": prefix,
        "after": suffix,
    }
    lines: list[dict[str, Any]] = [
        _line(look.t("dash.last_month"), "c7", previous),
        _line(look.t("dash.high80"), "accent", high, kind="band"),
        _line(look.t("dash.low80"), "accent", low, kind="band"),
        _line(look.t("dash.expected"), "accent", ahead, dash=True),
        _line(look.t("dash.spent"), "accent", cumulative),
    ]
    if one["limit"]:
        lines.append(_line(look.t("dash.the_limit"), "restrict-fill", [float(one["limit"])] * len(days), dash=True))
    return {
        "cumulative": {**common, "series": lines, "bands": [[2, 3]]},
        "cumulative_rows": [
            (
                look.day_of(day.isoformat()),
                *(_cell(look, values[at]) for values in (cumulative, ahead, low, high, previous)),
            )
            for at, day in enumerate(days)
        ],
        "daily": {
            **common,
            "series": [
                _line(look.t("dash.spent"), "accent", known, kind="bars"),
                _line(look.t("dash.expected"), "c7", rest, kind="bars"),
            ],
        },
        "daily_rows": [
            (look.day_of(day.isoformat()), _cell(look, known[at]), _cell(look, rest[at])) for at, day in enumerate(days)
        ],
    }


def _ahead(
    one: Row, spent: float, expected: Sequence[float], now: int, size: int
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """From today's total to the expected end and to the ends of the interval, at the pace of the expected days."""
    ahead: list[float | None] = [None] * size
    low, high = list(ahead), list(ahead)
    bottom, top = (float(amount) for amount in one["interval80"])
    whole, gone = sum(expected) or 1.0, 0.0
    for at in range(now, size):
        part = gone / whole
        ahead[at] = round(spent + gone, 6)
        low[at], high[at] = round(spent + (bottom - spent) * part, 6), round(spent + (top - spent) * part, 6)
        gone += expected[at - now] if at - now < len(expected) else 0.0
    ahead[-1], low[-1], high[-1] = float(one["month_end"]), bottom, top
    return ahead, low, high


def _line(
    label: str, colour: str, values: Sequence[float | None], kind: str = "line", *, dash: bool = False
) -> dict[str, Any]:
    return {"label": label, "colour": colour, "values": values, "kind": kind, "dash": dash}


def _cell(look: Look, amount: float | None) -> str:
    return "—" if amount is None else look.money(Decimal(str(amount)))


def _thresholds(look: Look, one: Row) -> dict[str, Any]:
    """When each line of a budget will be crossed."""
    lines = []
    for mark in one["thresholds"]:
        if mark["reached"]:
            when = look.t("dash.reached")
        elif mark["expected_at"]:
            when = look.moment(ms_of(mark["expected_at"]))
        else:
            when = look.t("dash.not_this_period")
        lines.append((f"{mark['percent']}%", look.money(mark["amount"], one["currency"]), when))
    return {"name": one["budget"], "period": one["period"], "lines": lines}


def _row(look: Look, one: Row) -> dict[str, Any]:
    unit = one["currency"]
    return {
        "name": one["name"],
        "kind": look.t(f"dash.kind.{one['kind']}"),
        "period": one["period"],
        "spent": look.money(one["spent"], unit),
        "month_end": look.money(one["month_end"], unit),
        "interval": look.t("dash.from_to", **_ends(look, one["interval80"], unit)),
        "limit": look.money(one["limit"], unit) if one["limit"] else "—",
        "error": f"{one['past_error_percent']:.0f}%" if one["past_error_percent"] is not None else "—",
    }
