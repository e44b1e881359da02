"""How Redis itself is: how fast it answers, how full it is, whether it can save.

Asks the store; decides nothing: doctor.py judges what INFO says, emergency.py the rest. The fastest of the last answers
counts, because a slow one may be this process's own doing. Mutable state: those answers, and what INFO last said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from proxy.control.emergency import StoreFacts
from proxy.state import doctor
from proxy.state.client import Client

_ANSWERS: Final = 5
_INFO_EVERY_MS: Final = 30_000


class StoreCheck:
    """timer: seconds, monotonic."""

    def __init__(self, client: Client, timer: Callable[[], float] = time.perf_counter) -> None:
        self._client = client
        self._timer = timer
        self._took_ms: deque[int] = deque(maxlen=_ANSWERS)
        self._informed_ms = -_INFO_EVERY_MS
        self._known = StoreFacts()

    async def look(self, now_ms: int) -> StoreFacts:
        """Without what proxies know of it. Raises StoreUnavailable."""
        began = self._timer()
        await self._client.ask("PING")
        self._took_ms.append(round((self._timer() - began) * 1000))
        if not 0 <= now_ms - self._informed_ms < _INFO_EVERY_MS:
            self._informed_ms = now_ms
            self._known = await self._info()
        fastest = min(self._took_ms) if len(self._took_ms) == _ANSWERS else 0
        return replace(self._known, fastest_ms=fastest)

    async def _info(self) -> StoreFacts:
        memory = {one.key: one.values for one in doctor.judge_memory(await self._client.ask("INFO", "memory"))}
        saving = doctor.judge_persistence(await self._client.ask("INFO", "persistence"), None)
        full = memory.get("memory_full") or memory.get("memory_ok")
        return StoreFacts(
            memory_percent=int(full["percent"]) if full else None,
            evicts=memory["eviction"]["policy"] if full and "eviction" in memory else "",
            failing=tuple(one.values["what"] for one in saving if one.key == "persistence_failing"),
        )
