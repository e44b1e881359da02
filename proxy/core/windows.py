"""Budget periods: which concrete window an instant falls into, and when it resets.

Decides the bounds of calendar hours, days, weeks, months, years and runs of N days in a time zone, through clock
changes: a day may last 23 or 25 hours or be missing altogether, an hour may come twice or last half as long.
Windows of one period tile time: no gap, no overlap, so every instant belongs to exactly one of them.

Knows no clock: the instant is an argument (Unix milliseconds). It must not know budgets or money.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from proxy.core.model import Period, PeriodUnit, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_MS = timedelta(milliseconds=1)
_HOUR_MS = 3_600_000
_DAY_S = 86_400

# The last window given for each (period, zone): pure results kept, valid while `now` stays inside.
_recent: dict[tuple[Period, str], Window] = {}
_RECENT_MAX = 1024


def window_at(period: Period, timezone: str, now_ms: int) -> Window:
    """The window of `period` in IANA zone `timezone` that holds the instant `now_ms`.

    Labels sort in time: "2026-11-23T09+0900", "2026-11-23", "2026-W48", "2026-11", "2026", "2026-11-20+10d". Where
    clocks go back, the second of two equal hours is marked as time-tables do: "2026-10-25T02b+0100".
    Raises ZoneInfoNotFoundError for an unknown zone.
    """
    key = (period, timezone)
    window = _recent.get(key)
    if window is not None and window.start_ms <= now_ms < window.end_ms:
        return window
    zone = ZoneInfo(timezone)
    window = _hour(zone, now_ms) if period.unit is PeriodUnit.HOUR else _dated(period, zone, now_ms)
    if len(_recent) >= _RECENT_MAX:
        _recent.clear()
    _recent[key] = window
    return window


def local_day(now_ms: int, timezone: str) -> str:
    """The local date, "2026-11-23": names the day's roll-ups."""
    return window_at(_DAY, timezone, now_ms).label


def local_month(now_ms: int, timezone: str) -> str:
    """The local month, "2026-11": names the ledger's stream."""
    return window_at(_MONTH, timezone, now_ms).label


def iso(now_ms: int, timezone: str) -> str:
    """ISO 8601 with milliseconds and offset: "2026-11-23T12:28:01.123+09:00"."""
    return _local(ZoneInfo(timezone), now_ms).isoformat(timespec="milliseconds")


def month_window(label: str, timezone: str) -> Window:
    """The window of the month named "2026-11". Raises ValueError for another form."""
    year, month = label.split("-")
    noon = datetime(int(year), int(month), 1, 12, tzinfo=ZoneInfo(timezone))
    return window_at(_MONTH, timezone, _to_ms(noon))


_DAY = Period(PeriodUnit.DAY)
_MONTH = Period(PeriodUnit.MONTH)


def _to_ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MS


def _local(zone: ZoneInfo, now_ms: int) -> datetime:
    return (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(zone)


def _offset(zone: ZoneInfo, now_ms: int) -> timedelta:
    return _local(zone, now_ms).utcoffset() or timedelta(0)


def _first_second(low_ms: int, high_ms: int, holds: Callable[[int], bool]) -> int:
    """The first instant in (low, high] where `holds`, to the second: zones change on whole seconds."""
    low, high = low_ms // 1000, high_ms // 1000
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle * 1000):
            high = middle
        else:
            low = middle
    return high * 1000


# --- hours ---------------------------------------------------------------------------------------------------------


def _hour(zone: ZoneInfo, now_ms: int) -> Window:
    """A local hour under one offset; a clock change inside it ends one window and begins the next."""
    local = _local(zone, now_ms)
    offset = local.utcoffset() or timedelta(0)
    into_ms = local.minute * 60_000 + local.second * 1000 + local.microsecond // 1000
    start_ms = now_ms - into_ms
    end_ms = start_ms + _HOUR_MS
    if _offset(zone, start_ms) != offset:
        start_ms = _first_second(start_ms, now_ms, lambda at: _offset(zone, at) == offset)
    if _offset(zone, end_ms - 1) != offset:
        end_ms = _first_second(now_ms, end_ms, lambda at: _offset(zone, at) != offset)
    again = "b" if local.fold else ""
    return Window(f"{local:%Y-%m-%dT%H}{again}{local:%z}", start_ms, end_ms)


# --- days and more ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _day_start(zone: ZoneInfo, day: date) -> int:
    """The instant the local date becomes `day` (or passes over it, where a zone skipped the day)."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)  # fold 0: the first of two midnights
    start_ms = _to_ms(midnight)
    if _local(zone, start_ms).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start_ms
    # Midnight fell into a gap: the day begins at the change itself.
    naive = midnight.replace(tzinfo=None)
    return _first_second(
        start_ms - 2 * _DAY_S * 1000, start_ms, lambda at: _local(zone, at).replace(tzinfo=None) >= naive
    )


def _span(period: Period, day: date) -> tuple[str, date, date]:
    """Label, first day, and first day after, of the period that holds the local date `day`."""
    if period.unit is PeriodUnit.DAY:
        return day.isoformat(), day, day + timedelta(days=1)
    if period.unit is PeriodUnit.WEEK:
        first = day - timedelta(days=day.weekday())
        year, week, _ = day.isocalendar()
        return f"{year:04d}-W{week:02d}", first, first + timedelta(days=7)
    if period.unit is PeriodUnit.MONTH:
        first = day.replace(day=1)
        return f"{day:%Y-%m}", first, (first + timedelta(days=32)).replace(day=1)
    if period.unit is PeriodUnit.YEAR:
        return f"{day:%Y}", date(day.year, 1, 1), date(day.year + 1, 1, 1)
    first = day - timedelta(days=(day - _EPOCH_DAY).days % period.count)
    return f"{first.isoformat()}+{period.count}d", first, first + timedelta(days=period.count)


def _dated(period: Period, zone: ZoneInfo, now_ms: int) -> Window:
    label, first, after = _span(period, _local(zone, now_ms).date())
    start_ms, end_ms = _day_start(zone, first), _day_start(zone, after)
    # Where clocks go back over midnight the date shown runs back too; the bounds, not the date, say the window.
    while now_ms >= end_ms:
        label, first, after = _span(period, after)
        start_ms, end_ms = end_ms, _day_start(zone, after)
    while now_ms < start_ms:
        label, first, after = _span(period, first - timedelta(days=1))
        start_ms, end_ms = _day_start(zone, first), start_ms
    return Window(label, start_ms, end_ms)
