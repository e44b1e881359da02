"""The last month's ledger entries for whoever adds them up, and what the leader found in them.

What was found is kept in one hash, so that everybody who shows recommendations reads the same ones. Its values are
JSON that control/optimize/told.py writes and reads; here they are text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from proxy.core.windows import iso
from proxy.state.keys import ADVICE_KEPT_S, Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader

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


@dataclass(frozen=True, slots=True)
class Look:
    """When somebody looked (Unix ms), with which rules (their digest), and how long it took."""

    at_ms: int
    rules: str
    took_ms: int


async def keep(reader: Reader, keys: Keys, told: Mapping[str, Any], look: Look, timezone: str) -> None:
    """Replaces what was found before. Raises StoreUnavailable."""
    fields = {
        "at": iso(look.at_ms, timezone),
        "rules": look.rules,
        "took_ms": str(look.took_ms),
        "json": json.dumps(told, ensure_ascii=False),
    }
    await reader.ask_all(
        [
            ("HSET", keys.advice, *[word for pair in fields.items() for word in pair]),
            ("EXPIRE", keys.advice, ADVICE_KEPT_S),
        ],
        at_once=True,
    )


async def read(reader: Reader, keys: Keys) -> tuple[str, Any] | None:
    """(when it was found, ISO 8601; what was found); None: nobody has looked yet. Raises StoreUnavailable."""
    at, text = await reader.ask("HMGET", keys.advice, "at", "json")
    return None if text is None else (at, json.loads(text))


async def last_look(reader: Reader, keys: Keys) -> Look | None:
    """The look that what is kept comes from. Raises StoreUnavailable."""
    at, digest, took = await reader.ask("HMGET", keys.advice, "at", "rules", "took_ms")
    return None if at is None else Look(round(datetime.fromisoformat(at).timestamp() * 1000), digest, int(took or 0))
