"""What calls of a rule and model have cost lately, for rules with `estimate: learned`.

Samples are written by settlements (lua/settle.lua). Here they are read, now and then and behind the answer, so that a
question is answered from memory at once. Mutable state: the last answer by rule and model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from proxy.state.keys import Keys
from proxy.state.store import ScriptError, Store, StoreUnavailable

log = structlog.get_logger()

FRESH_S: Final = 2.0
LEAST: Final = 20  # samples below which nothing is learned
_KEPT: Final = 4096


@dataclass(slots=True)
class _Known:
    value: int | None = None
    read_s: float = 0.0
    refreshing: bool = False


class LearnedCosts:
    """One worker's view of the samples. spawn: runs a coroutine behind the answer."""

    def __init__(self, store: Store, keys: Keys, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._store = store
        self._keys = keys
        self._spawn = spawn
        self._known: dict[tuple[str, str], _Known] = {}

    def of(self, rule: str, model: str | None) -> int | None:
        """99th percentile (atoms of the ledger's currency) of what such calls cost lately; None below 20 samples.

        Answers from memory at once; what is older than two seconds is read again behind the answer.
        """
        key = (rule, model or "-")
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[key] = _Known()
        now_s = time.monotonic()
        if not known.refreshing and (known.read_s == 0.0 or now_s - known.read_s > FRESH_S):
            known.refreshing = True
            self._spawn(self._refresh_quietly(rule, model))
        return known.value

    def known(self, rule: str, model: str | None) -> tuple[int | None, bool]:
        """What `of` would answer, and whether it would read again. From any thread; never reads."""
        known = self._known.get((rule, model or "-"))
        if known is None:
            return None, True
        return known.value, not known.refreshing and time.monotonic() - known.read_s > FRESH_S

    async def refresh(self, rule: str, model: str | None) -> int | None:
        """Read the samples now. Raises StoreUnavailable."""
        key = (rule, model or "-")
        raw = await self._store.call("LRANGE", self._keys.learned(*key), 0, -1)
        samples = sorted(map(int, raw))
        # Nearest rank: the smallest sample that at least 99 of 100 do not exceed.
        value = samples[-(-99 * len(samples) // 100) - 1] if len(samples) >= LEAST else None
        known = self._known.setdefault(key, _Known())
        known.value, known.read_s = value, time.monotonic()
        return value

    async def _refresh_quietly(self, rule: str, model: str | None) -> None:
        try:
            await self.refresh(rule, model)
        except (StoreUnavailable, ScriptError) as error:
            log.warning("learned.unread", rule=rule, error=str(error))
        finally:
            self._known.setdefault((rule, model or "-"), _Known()).refreshing = False
