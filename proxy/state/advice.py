"""The last month's ledger entries for whoever adds them up, and what the leader found in them.

What was found is kept in one hash, so that everybody who shows recommendations reads the same ones. Its values are
JSON that control/optimize/told.py writes and reads; here they are text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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


async def keep(reader: Reader, keys: Keys, told: Mapping[str, Any], digest: str, now_ms: int, timezone: str) -> None:
    """Replaces what was found before. digest: of the rules it was found with. Raises StoreUnavailable."""
    fields = {"at": iso(now_ms, timezone), "rules": digest, "json": json.dumps(told, ensure_ascii=False)}
    await reader.ask_all(
        [
            ("HSET", keys.advice, *[word for pair in fields.items() for word in pair]),
            ("EXPIRE", keys.advice, ADVICE_KEPT_S),
        ],
        at_once=True,
    )


async def read(reader: Reader, keys: Keys) -> tuple[str, str, Any] | None:
    """(when it was found, the rules' digest, what was found); None: nobody has looked yet. Raises StoreUnavailable."""
    at, digest, text = await reader.ask("HMGET", keys.advice, "at", "rules", "json")
    return None if text is None else (at, digest, json.loads(text))


async def found_at(reader: Reader, keys: Keys) -> tuple[int, str] | None:
    """(Unix ms, the rules' digest) of what is kept. Raises StoreUnavailable."""
    at, digest = await reader.ask("HMGET", keys.advice, "at", "rules")
    return None if at is None else (round(datetime.fromisoformat(at).timestamp() * 1000), digest)
