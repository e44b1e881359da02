"""How full rate limits are now, and which APIs asked for a pause: for people and reports, through `reading.Reader`.

Decides nothing; writes nothing. Windows are read as admit.lua would read them at this moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.core import ratelimit
from proxy.core.guards import WINDOWS, Limit, Limited
from proxy.state.keys import Keys, pause_of
from proxy.state.reading import Reader


@dataclass(frozen=True, slots=True)
class Fill:
    """One limit now. Amounts are requests, tokens or calls; of a cost limit atoms."""

    limited: Limited
    limit: Limit
    used: int
    resets_ms: int  # until all that is used now is old; 0: nothing is used, or calls at once

    @property
    def left(self) -> int:
        return max(0, self.limit.amount - self.used)


async def fills(reader: Reader, keys: Keys, limited: Sequence[Limited], now_ms: int) -> list[Fill]:
    """Every limit of these, in order. Raises StoreUnavailable."""
    found: list[dict[str, str]] = await reader.ask_all([("HGETALL", keys.limits(one.place)) for one in limited])
    return [
        Fill(one, limit, used, ratelimit.reset_ms(limit, now_ms) if limit.per and used else 0)
        for one, fields in zip(limited, found, strict=True)
        for limit in one.limits
        for used in (_used(limit, fields, now_ms),)
    ]


def _used(limit: Limit, fields: dict[str, str], now_ms: int) -> int:
    if not limit.per:
        return int(fields.get(limit.name, 0))
    buckets = WINDOWS[limit.per][1]
    ring, last = buckets + 1, int(fields.get(f"{limit.name}|at", -1))
    oldest = max(now_ms // limit.bucket_ms, last) - buckets
    inside = range(max(oldest, last - buckets), last + 1)
    return max(0, sum(int(fields.get(f"{limit.name}|{bucket % ring}", 0)) for bucket in inside)) if last >= 0 else 0


async def pauses(reader: Reader, keys: Keys, apis: Iterable[str], now_ms: int) -> dict[str, int]:
    """Until when (Unix ms) APIs that asked for it are left alone, by name. Raises StoreUnavailable."""
    names = list(apis)
    if not names:
        return {}
    values = await reader.ask("HMGET", keys.switches, *map(pause_of, names))
    until = {name: int(value.split(" ")[0]) for name, value in zip(names, values, strict=True) if value}
    return {name: moment for name, moment in until.items() if moment > now_ms}
