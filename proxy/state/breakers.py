"""Circuit breakers as people see them and set them by hand. What opens and closes them otherwise is settle.lua's.

Reads through `reading.Reader`, writes through a `Store`, one script each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.core.guards import BREAKER_BUCKETS, Breaker
from proxy.state import resp
from proxy.state.keys import Keys
from proxy.state.reading import Reader
from proxy.state.store import Store

UNTIL_CLOSED_MS: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Circuit:
    """One breaker now. state says what happens to calls: "closed" (traffic flows), "open" (none), "half_open" (a few
    probes). Counts are those of the running window."""

    name: str
    state: str
    generation: int
    why: str  # of the last opening: "failures", "consecutive", "slow", "probe failed", "probe slow", "by hand"; ""
    by: str  # who set it by hand, and why
    changed_ms: int | None
    until_ms: int | None  # when the next probe may go; None: not open, or until closed by hand
    calls: int
    failures: int
    slow: int
    consecutive: int
    probing: int
    passed: int


async def read(reader: Reader, keys: Keys, breakers: Sequence[Breaker], now_ms: int) -> list[Circuit]:
    """Each breaker as it would meet a call now. Raises StoreUnavailable."""
    found: list[dict[str, str]] = await reader.ask_all([("HGETALL", keys.breaker(one.name)) for one in breakers])
    return [_circuit(one, fields, now_ms) for one, fields in zip(breakers, found, strict=True)]


def _circuit(breaker: Breaker, fields: dict[str, str], now_ms: int) -> Circuit:
    def number(name: str) -> int:
        return int(fields.get(name) or 0)

    state, until_ms = fields.get("state", "closed"), number("until")
    if state == "open" and until_ms <= now_ms:
        state = "half_open"  # the next call is a probe
    bucket_ms = breaker.window_ms // BREAKER_BUCKETS
    stale = now_ms // bucket_ms - number("at") > BREAKER_BUCKETS if "at" in fields else True
    return Circuit(
        name=breaker.name,
        state=state,
        generation=number("generation"),
        why=fields.get("why", "") if state != "closed" else "",
        by=fields.get("by", ""),
        changed_ms=number("changed") or None,
        until_ms=until_ms if state == "open" and until_ms < UNTIL_CLOSED_MS else None,
        calls=0 if stale else number("calls"),
        failures=0 if stale else number("failures"),
        slow=0 if stale else number("slow"),
        consecutive=number("consecutive"),
        probing=len(fields.get("probing", "").split()),
        passed=number("passed") if state == "half_open" else 0,
    )


async def by_hand(
    store: Store, keys: Keys, name: str, what: str, by: str, *, until_ms: int = UNTIL_CLOSED_MS, given_now: int = 0
) -> str:
    """Set a breaker: what is "open", "close" or "reset". Returns its state before. Raises StoreUnavailable.

    by: who and why, kept beside the state. given_now: a test's clock; 0 = Redis's.
    """
    asked = resp.words(1, keys.breaker(name), what, given_now, until_ms, by)
    state: bytes = await store.script("breaker", asked)
    return state.decode()
