"""The forecast joined to rules and roll-ups: scopes, the running day, limits, other currencies."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from proxy.control.outlook import as_json, outlooks
from proxy.core.history import Day
from proxy.core.model import RuleSet
from proxy.rules_file import load_text

RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {USD: 1000}
budgets:
  - {name: monthly, limit: 15000, period: month}
  - {name: dollars, limit: 100, period: month, currency: USD}
  - {name: maps, limit: 600, period: week, applies_to: {api: maps}}
  - {name: hourly, limit: 50, period: hour}
apis:
  - {name: chat, upstream: 'https://chat.example.com', prices: [{name: ask, per_request: 1}]}
  - {name: maps, upstream: 'https://maps.example.com', prices: [{name: find, per_request: 1}]}
"""
WON = 10**6


def rules() -> RuleSet:
    loaded = load_text(RULES)
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


def at(day: date, hour: float) -> int:
    """Unix ms of an hour in Seoul."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - 9 * 3600
    return int((midnight + hour * 3600) * 1000)


def days(count: int, last: date, *, chat: int = 300, maps: int = 100, today: float = 0.5) -> list[Day]:
    found = []
    for back in range(count - 1, -1, -1):
        part = today if back == 0 else 1.0
        cost = {
            ("chat", "chat/ask", "anonymous"): int(chat * WON * part),
            ("maps", "maps/find", "a"): int(maps * WON * part),
        }
        found.append(Day(last - timedelta(days=back), dict.fromkeys(cost, 3), cost))
    return found


LAST = date(2026, 11, 18)  # a Wednesday


def test_each_budget_and_api_gets_its_own_days() -> None:
    found = {(one.kind, one.name): one for one in outlooks(rules(), days(80, LAST), at(LAST, 12))}
    assert set(found) == {("budget", n) for n in ("monthly", "dollars", "maps")} | {("api", "chat"), ("api", "maps")}
    assert found["budget", "monthly"].projection.month_end == pytest.approx(30 * 400 * WON, rel=0.02)
    assert found["api", "chat"].projection.month_end == pytest.approx(30 * 300 * WON, rel=0.02)
    assert found["budget", "maps"].projection.month_end == pytest.approx(7 * 100 * WON, rel=0.02)
    assert found["budget", "dollars"].projection.month_end == pytest.approx(30 * 0.4 * 10**9, rel=0.02)
    assert not found["budget", "monthly"].over
    assert found["budget", "monthly"].past_error == pytest.approx(0, abs=0.1)


def test_the_day_of_the_limit_is_told() -> None:
    found = {one.name: one for one in outlooks(rules(), days(80, LAST), at(LAST, 12)) if one.kind == "budget"}
    maps = found["maps"]
    assert maps.over
    # Monday and Tuesday 100 each, Wednesday to Saturday 400 more: the 600 are reached on Saturday.
    assert maps.reaches_limit in {date(2026, 11, 21), date(2026, 11, 22)}
    raised = {one.name: one for one in outlooks(rules(), days(80, LAST), at(LAST, 12), limits={"maps": 9000 * WON})}
    assert not [one for one in outlooks(rules(), days(80, LAST), at(LAST, 12), limits={"maps": 9000 * WON}) if one.over]
    assert raised


def test_what_today_has_brought_already_is_known() -> None:
    for hour, today in ((6, 0.25), (12, 0.5), (23.9, 0.99)):
        (one, *_) = outlooks(rules(), days(80, LAST, today=today), at(LAST, hour), backtests=False)
        assert one.projection.month_end == pytest.approx(30 * 400 * WON, rel=0.02)
        assert one.projection.spent == pytest.approx((17 + today) * 400 * WON)
    (burst, *_) = outlooks(rules(), days(80, LAST, today=9), at(LAST, 12), backtests=False)
    assert burst.projection.month_end == pytest.approx((29.5 + 9) * 400 * WON, rel=0.02)
    assert burst.projection.interval95[0] >= burst.projection.spent


def test_the_first_day_is_forecast_by_its_own_pace() -> None:
    (one, *_) = outlooks(rules(), days(1, LAST), at(LAST, 12))
    assert one.projection.basis == "short"
    assert one.projection.month_end == pytest.approx(13 * 400 * WON, rel=0.01)
    assert one.projection.interval80[0] < one.projection.month_end < one.projection.interval80[1]


def test_without_any_day_nothing_is_expected() -> None:
    found = outlooks(rules(), [], at(LAST, 12))
    assert [one.projection.month_end for one in found] == [0, 0, 0]
    assert as_json(found[0])["month_end"] == "0"


def test_programs_get_exact_decimals() -> None:
    told = as_json(outlooks(rules(), days(80, LAST), at(LAST, 12))[0])
    assert told["spent"] == "7000"
    assert told["limit"] == "15000"
    assert told["end"] == "2026-11-30"
    assert len(told["daily"]) == told["days_left"] == 13


def test_a_rollups_fields_are_understood() -> None:
    fields = {
        "calls|chat|chat/ask|anonymous": "4",
        "cost|chat|chat/ask|odd|name": "7",
        "denied|chat|budget_restricted": "2",
        "note|chat|usage_missing": "1",
        "something|else": "9",
    }
    day = Day.of(LAST, fields)
    assert day.calls == {("chat", "chat/ask", "anonymous"): 4}
    assert day.cost == {("chat", "chat/ask", "odd|name"): 7}
    assert day.denied == {("chat", "budget_restricted"): 2}
    assert day.notes == {("chat", "usage_missing"): 1}
