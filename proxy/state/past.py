"""What pages ask for again and again, for whoever lives long: nothing that has not changed is read twice.

Days that no late settlement changes are added up once in a while, and of the newest calls only those are read that came
since. An open page would otherwise have the store lay out thousands of entries twice a second, while calls wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

from proxy.state import usage
from proxy.state.history import SETTLES_DAYS
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader

_KEPT_S: Final = 600.0  # rent of long ago may still be entered, after a long outage
_SPANS_MOST: Final = 16
SAMPLE: Final = 2_000  # calls


class Past:
    """`days()` and `sample()`. Mutable state: sums of days that are over, and the newest calls in short."""

    def __init__(self, reader: Reader, keys: Keys, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._keys = keys
        self._ledger = Ledger(reader, keys)
        self._clock_s = clock_s
        self._spans: dict[tuple[str, str], tuple[float, usage.Days]] = {}
        self._calls: deque[usage.Brief] = deque(maxlen=SAMPLE)
        self._last: dict[str, str] = {}  # month -> the last entry of its stream that was read
        self._one_at_a_time = asyncio.Lock()

    async def days(self, days: Sequence[str], today: str) -> usage.Days:
        """The roll-ups of these days (ISO, ascending) added up. Raises StoreUnavailable."""
        over = (date.fromisoformat(today) - timedelta(days=SETTLES_DAYS)).isoformat()
        settled = [day for day in days if day < over]
        moving = days[len(settled) :]
        if not settled:
            return await usage.read_days(self._reader, self._keys, moving)
        replies = await self._reader.ask_all([("HGETALL", self._keys.day(day)) for day in moving])
        return usage.added_up(moving, replies, (await self._settled(settled)).copy())

    async def _settled(self, days: Sequence[str]) -> usage.Days:
        span, now_s = (days[0], days[-1]), self._clock_s()
        at_s, found = self._spans.pop(span, (0.0, None))
        if found is None or now_s - at_s >= _KEPT_S:
            at_s, found = now_s, await usage.read_days(self._reader, self._keys, days)
        self._spans[span] = at_s, found  # the last again: the first is who was asked for least lately
        while len(self._spans) > _SPANS_MOST:
            del self._spans[next(iter(self._spans))]
        return found

    async def sample(self, now_ms: int) -> usage.Sample:
        """What the newest calls were like. Raises StoreUnavailable."""
        async with self._one_at_a_time:
            fresh, self._last = await self._ledger.since(self._last, SAMPLE, now_ms)
            self._calls.extend(map(usage.brief, fresh))
        return usage.sampled(self._calls)
