"""Feeds the last month's ledger entries to whoever adds them up, the newest first, bounded in number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from proxy.state.ledger import Ledger

LOOK_BACK_DAYS: Final = 30
MOST_ENTRIES: Final = 100_000  # a busy proxy's month is judged by its newest calls
_DAY_MS: Final = 86_400_000


async def feed(ledger: Ledger, now_ms: int, each: Callable[[dict[str, Any]], None]) -> int:
    """Hands over the entries; how many days they reach back (at least 1). Raises StoreUnavailable."""
    since_ms, oldest_ms = now_ms - LOOK_BACK_DAYS * _DAY_MS, now_ms
    async for entry in ledger.last(MOST_ENTRIES, now_ms):
        at_ms = int(datetime.fromisoformat(entry["at"]).timestamp() * 1000)
        if at_ms < since_ms:
            break
        oldest_ms = min(oldest_ms, at_ms)
        each(entry)
    return max(1, min(LOOK_BACK_DAYS, -(-(now_ms - oldest_ms) // _DAY_MS)))
