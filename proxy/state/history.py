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
