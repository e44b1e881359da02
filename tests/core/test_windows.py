"""Calendar windows: the bounds people expect, through every kind of clock change, and no instant without its window."""

from __future__ import annotations

import timeit
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.model import Period, PeriodUnit, Window
from proxy.core.windows import iso, local_day, local_month, month_window, window_at

ZONES = (
    *("UTC", "Asia/Seoul", "America/New_York", "Australia/Lord_Howe", "Asia/Tehran", "Pacific/Apia"),
    *("America/Sao_Paulo", "Europe/Berlin", "Asia/Kathmandu", "America/Havana", "Africa/Casablanca"),
)
UNITS = (PeriodUnit.HOUR, PeriodUnit.DAY, PeriodUnit.WEEK, PeriodUnit.MONTH, PeriodUnit.YEAR)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def window(unit: str, zone: str, text: str, count: int = 1) -> tuple[str, str, str]:
    found = window_at(Period(PeriodUnit(unit), count), zone, ms(text))
    start, end = (
        datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).isoformat(timespec="minutes")
        for at in (found.start_ms, found.end_ms)
    )
    return found.label, start, end


# unit, zone, now, label, start, end
TABLE = """
hour Asia/Seoul 2026-11-23T09:59:59+09:00 2026-11-23T09+0900 2026-11-23T09:00+09:00 2026-11-23T10:00+09:00
day Asia/Seoul 2026-11-23T00:00+09:00 2026-11-23 2026-11-23T00:00+09:00 2026-11-24T00:00+09:00
day Asia/Seoul 2026-11-22T14:59:59+00:00 2026-11-22 2026-11-22T00:00+09:00 2026-11-23T00:00+09:00
week Asia/Seoul 2026-11-29T23:59+09:00 2026-W48 2026-11-23T00:00+09:00 2026-11-30T00:00+09:00
week UTC 2027-01-02T00:00+00:00 2026-W53 2026-12-28T00:00+00:00 2027-01-04T00:00+00:00
month Asia/Seoul 2026-12-31T23:59+09:00 2026-12 2026-12-01T00:00+09:00 2027-01-01T00:00+09:00
year Asia/Seoul 2026-06-01T00:00+09:00 2026 2026-01-01T00:00+09:00 2027-01-01T00:00+09:00
# A day of 23 and one of 25 hours, a month with one of them.
day America/New_York 2026-03-08T12:00-04:00 2026-03-08 2026-03-08T00:00-05:00 2026-03-09T00:00-04:00
day America/New_York 2026-11-01T12:00-05:00 2026-11-01 2026-11-01T00:00-04:00 2026-11-02T00:00-05:00
month America/New_York 2026-11-15T12:00-05:00 2026-11 2026-11-01T00:00-04:00 2026-12-01T00:00-05:00
# An hour that comes twice.
hour America/New_York 2026-11-01T01:30-04:00 2026-11-01T01-0400 2026-11-01T01:00-04:00 2026-11-01T01:00-05:00
hour America/New_York 2026-11-01T01:30-05:00 2026-11-01T01b-0500 2026-11-01T01:00-05:00 2026-11-01T02:00-05:00
# Clocks that go back by half an hour: the hour from one to two lasts one and a half, in two windows.
hour Australia/Lord_Howe 2026-04-05T01:45+11:00 2026-04-05T01+1100 2026-04-05T01:00+11:00 2026-04-05T01:30+10:30
hour Australia/Lord_Howe 2026-04-05T01:45+10:30 2026-04-05T01b+1030 2026-04-05T01:30+10:30 2026-04-05T02:00+10:30
hour Australia/Lord_Howe 2026-10-04T02:40+11:00 2026-10-04T02+1100 2026-10-04T02:30+11:00 2026-10-04T03:00+11:00
# Midnight does not exist: the day begins at one o'clock.
day Asia/Tehran 2022-03-22T05:00+04:30 2022-03-22 2022-03-22T01:00+04:30 2022-03-23T00:00+04:30
day America/Sao_Paulo 2018-11-04T05:00-02:00 2018-11-04 2018-11-04T01:00-02:00 2018-11-05T00:00-02:00
# A whole day does not exist: Samoa went from the 29th to the 31st.
day Pacific/Apia 2011-12-29T23:59-10:00 2011-12-29 2011-12-29T00:00-10:00 2011-12-31T00:00+14:00
day Pacific/Apia 2011-12-31T00:00+14:00 2011-12-31 2011-12-31T00:00+14:00 2012-01-01T00:00+14:00
"""


@pytest.mark.parametrize(
    ("unit", "zone", "now", "label", "start", "end"),
    [line.split() for line in TABLE.strip().splitlines() if not line.startswith("#")],
)
def test_window_has_the_bounds_that_the_local_calendar_shows(
    unit: str, zone: str, now: str, label: str, start: str, end: str
) -> None:
    assert window(unit, zone, now) == (label, start, end)


def test_runs_of_days_are_counted_from_1970() -> None:
    assert window("days", "Asia/Seoul", "1970-01-10T23:00+09:00", 10) == (
        "1970-01-01+10d",
        "1970-01-01T00:00+09:00",
        "1970-01-11T00:00+09:00",
    )
    assert window("days", "Asia/Seoul", "2026-11-23T12:00+09:00", 10)[0] == "2026-11-23+10d"


zones = st.sampled_from(ZONES)
instants = st.integers(ms("1972-01-01T00:00+00:00"), ms("2036-12-31T00:00+00:00"))
periods = st.one_of(
    st.sampled_from([Period(unit) for unit in UNITS]), st.integers(1, 90).map(lambda n: Period(PeriodUnit.DAYS, n))
)


@st.composite
def near_a_change(draw: st.DrawFn) -> tuple[str, int]:
    """A zone, and an instant close to one of its clock changes."""
    name = draw(zones)
    zone, low, high = ZoneInfo(name), draw(instants), 0
    high = low + 366 * 86_400_000

    def offset(at: int) -> object:
        return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).utcoffset()

    day = next((d for d in range(low, high, 86_400_000) if offset(d) != offset(d + 86_400_000)), low)
    return name, day + draw(st.integers(-3_600_000, 90_000_000))


@given(st.one_of(near_a_change(), st.tuples(zones, instants)), periods)
def test_windows_tile_time(place: tuple[str, int], period: Period) -> None:
    zone, now = place
    here = window_at(period, zone, now)
    assert here.start_ms <= now < here.end_ms
    after = window_at(period, zone, here.end_ms)
    before = window_at(period, zone, here.start_ms - 1)
    assert after.start_ms == here.end_ms
    assert before.end_ms == here.start_ms
    assert before.label < here.label < after.label
    assert window_at(period, zone, here.end_ms - 1) == here


@given(st.lists(st.tuples(zones, instants, periods), min_size=2, max_size=6))
def test_what_was_asked_before_changes_no_answer(questions: list[tuple[str, int, Period]]) -> None:
    first = [window_at(period, zone, now) for zone, now, period in questions]
    again = [window_at(period, zone, now) for zone, now, period in reversed(questions)]
    assert first == again[::-1]


@given(zones, instants)
def test_names_of_day_and_month_are_the_local_ones(zone: str, now: int) -> None:
    local = datetime.fromtimestamp(now // 1000, ZoneInfo(zone))
    assert iso(now, zone)[:19] == local.isoformat()[:19]
    if local.fold == 0:
        assert local_day(now, zone) == f"{local:%Y-%m-%d}"
        assert local_month(now, zone) == f"{local:%Y-%m}"


def test_month_is_found_by_its_name() -> None:
    assert month_window("2026-11", "Asia/Seoul") == Window(
        "2026-11", ms("2026-11-01T00:00+09:00"), ms("2026-12-01T00:00+09:00")
    )


def test_asking_again_inside_a_window_is_cheap() -> None:
    period, now = Period(PeriodUnit.MONTH), ms("2026-11-23T12:00+09:00")
    window_at(period, "Asia/Seoul", now)
    best = min(timeit.repeat(lambda: window_at(period, "Asia/Seoul", now), number=1000, repeat=20)) / 1000
    assert best < 5e-6  # about 0.3 µs on an idle machine
