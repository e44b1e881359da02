"""Reads the daily roll-ups of the past: one hash a day, all in a few round trips."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from proxy.core.history import Day
from proxy.core.windows import local_day
from proxy.state.keys import Keys
from proxy.state.reading import Reader

KEPT_DAYS: Final = 400
_CHUNK: Final = 100


async def days(reader: Reader, keys: Keys, timezone: str, now_ms: int, count: int = KEPT_DAYS) -> list[Day]:
    """The last `count` local days with today as the last one; the first one is the first on which something happened.

    Empty days in between are there, with nothing in them. Raises StoreUnavailable.
    """
    today = date.fromisoformat(local_day(now_ms, timezone))
    wanted = [today - timedelta(days=back) for back in range(count - 1, -1, -1)]
    found: list[Day] = []
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        replies = await reader.ask_all([("HGETALL", keys.day(day.isoformat())) for day in chunk])
        found += [Day.of(day, reply) for day, reply in zip(chunk, replies, strict=True)]
    first = next((index for index, day in enumerate(found) if day.calls or day.cost), len(found))
    return found[first:]


# A settlement counts for the day of its admission and may come this late (keys.UNCONFIRMED_KEPT_S), and a day more.
SETTLES_DAYS: Final = 8


class History:
    """A reader that lives long: days that can no longer change are read once. Raises StoreUnavailable."""

    def __init__(self, reader: Reader, keys: Keys) -> None:
        self._reader = reader
        self._keys = keys
        self._kept: dict[date, Day] = {}

    async def days(self, first: date, today: date) -> list[Day]:
        """Every day from `first` to `today`, in order; empty ones too."""
        wanted = [first + timedelta(days=index) for index in range((today - first).days + 1)]
        missing = [day for day in wanted if day not in self._kept]
        fresh: dict[date, Day] = {}
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            replies = await self._reader.ask_all([("HGETALL", self._keys.day(day.isoformat())) for day in chunk])
            fresh |= {day: Day.of(day, reply) for day, reply in zip(chunk, replies, strict=True)}
        settled = today - timedelta(days=SETTLES_DAYS)
        self._kept |= {day: found for day, found in fresh.items() if day < settled}
        for day in [day for day in self._kept if day < today - timedelta(days=KEPT_DAYS)]:
            del self._kept[day]
        return [fresh.get(day) or self._kept[day] for day in wanted]
