"""A budget's status: its figures, its projection and who made it, its threshold dates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.status import Projection, document, project, status_of
from proxy.control.thresholds import straight
from proxy.core.model import Level, Window
from tests.state.calls import SEOUL, at, monthly, won

NOVEMBER = Window("2026-11", at("2026-11-01T00:00:00+09:00"), at("2026-12-01T00:00:00+09:00"))
NOON = at("2026-11-16T00:00:00+09:00")  # 15 days are over, 15 are left


def level(spent: int | str, reserved: int = 0, limit: int = 15000) -> Level:
    return Level("monthly", "2026-11", "KRW", won(limit), won(spent), won(reserved), NOVEMBER.end_ms)


def test_every_figure_of_the_specification() -> None:
    status = status_of(monthly(15000), level(6000, reserved=500), NOVEMBER, NOON, [won(400)] * 15)
    told = document(status, SEOUL)
    assert told == {
        "budget": "monthly",
        "period": "2026-11",
        "currency": "KRW",
        "limit": "15000",
        "increase": "0",
        "spent": "6000",
        "reserved": "500",
        "left": "8500",
        "usage_rate": 0.4,
        "state": "ok",
        "threshold": None,
        "starts_at": "2026-11-01T00:00:00.000+09:00",
        "resets_at": "2026-12-01T00:00:00.000+09:00",
        "days_left": 15.0,
        "seconds_left": 15 * 86_400,
        "daily_average": "400",
        "projection": {
            "expected": "12000",
            "interval80": ["12000", "12000"],
            "interval95": ["12000", "12000"],
            "made_by": "daily_average",
            "over": "0",
        },
        "thresholds": [
            {"percent": "70", "amount": "10500", "reached": False, "expected_at": "2026-11-27T06:00:00.000+09:00"},
            {"percent": "80", "amount": "12000", "reached": False, "expected_at": "2026-12-01T00:00:00.000+09:00"},
            {"percent": "90", "amount": "13500", "reached": False, "expected_at": None},
            {"percent": "95", "amount": "14250", "reached": False, "expected_at": None},
            {"percent": "100", "amount": "15000", "reached": False, "expected_at": None},
        ],
        "services_limited": [],
        "lifts": [],
    }


def test_an_increase_belongs_to_the_limit_and_is_told_beside_it() -> None:
    status = status_of(monthly(15000), level(14500, limit=20000), NOVEMBER, NOON)
    assert status.increase_atoms == won(5000)
    assert (status.state, status.threshold_bp) == ("warning", 7000)


def test_days_before_anything_was_spent_are_no_history() -> None:
    made = project(won(900), NOVEMBER, NOON, [0] * 12 + [won(300)] * 3)
    assert made.made_by == "daily_average"
    assert made.expected_atoms == won(900 + 15 * 300)


@pytest.mark.parametrize("days", [[], [300], [300, 300]])
def test_few_days_give_a_pace_and_no_interval(days: list[int]) -> None:
    made = project(won(600), NOVEMBER, NOON, [won(day) for day in days])
    assert (made.made_by, made.interval80, made.interval95) == ("pace", None, None)
    assert made.expected_atoms == won(1200)


def test_the_first_seconds_of_a_month_predict_nothing_absurd() -> None:
    made = project(won(10), NOVEMBER, NOVEMBER.start_ms + 1000, [])
    assert made.expected_atoms <= won(10 * 721)  # as if it had taken an hour


def test_a_forecast_that_is_handed_in_is_named() -> None:
    path = straight(NOON, won(6000), NOVEMBER.end_ms, won(18000))
    made = Projection(won(18000), (won(16000), won(20000)), (won(15000), won(21000)), "ensemble", path)
    status = status_of(monthly(15000), level(6000), NOVEMBER, NOON, projection=made)
    assert status.projection.made_by == "ensemble"
    assert status.overrun_atoms == won(3000)
    assert [one.at_ms is not None for one in status.thresholds] == [True] * 5


@given(
    st.lists(st.integers(0, 10**12), min_size=0, max_size=29),
    st.integers(0, 10**12),
    st.integers(NOVEMBER.start_ms, NOVEMBER.end_ms),
)
def test_a_projection_never_falls_below_what_is_spent(days: list[int], today: int, now_ms: int) -> None:
    spent = sum(days) + today
    made = project(spent, NOVEMBER, now_ms, days)
    assert made.expected_atoms >= spent
    for low, high in filter(None, (made.interval80, made.interval95)):
        assert spent <= low <= made.expected_atoms <= high
    if made.interval80 and made.interval95:
        assert made.interval95[0] <= made.interval80[0]
        assert made.interval80[1] <= made.interval95[1]
