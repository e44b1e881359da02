"""Circuit breakers as people see them and set them by hand. What opens and closes them otherwise is settle.lua's.

Reads through `reading.Reader`; writes at the `Desk` of the switches, each time with an entry in the audit trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxy.core.guards import BREAKER_BUCKETS, Breaker
from proxy.core.model import RuleSet
from proxy.state import audit
from proxy.state.audit import Change, Entry, GuardFailed, Refused
from proxy.state.keys import LIMITS_KEPT_S, SWITCHES_KEPT_S, Keys
from proxy.state.reading import Reader
from proxy.state.switches import Desk

UNTIL_CLOSED_MS: Final = 2**53 - 1
_OF_OPENINGS: Final = ("openings", "until", "probing", "passed", "why", "by")
_OF_WINDOW: Final = (
    *("at", "calls", "failures", "slow", "consecutive"),
    *(f"bucket|{slot}" for slot in range(BREAKER_BUCKETS + 1)),
)


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


async def by_hand(desk: Desk, name: str, what: str, reason: str, until_ms: int | None = None) -> Entry:
    """Set a breaker: "open" (no call passes), "close" (all do; the window begins anew), "reset" (forget everything).

    until_ms: when an opened one lets a probe through; None = not before it is closed. The generation grows, so that
    results of calls under way say nothing of what comes. One entry in the audit trail.

    Raises Refused, StoreUnavailable.
    """
    known = [one.name for one in all_of(desk.rules)]
    if name not in known:
        raise Refused("no_target", target=name[:80], known=", ".join(known) or "-")
    key = desk.keys.breaker(name)
    state, generation = await desk.client.ask("HMGET", key, "state", "generation")
    entry = desk.draft(f"breaker_{what}", f"breaker:{name}", reason, before=state or "closed")
    after = {"state": "open" if what == "open" else "closed", "changed": str(desk.now_ms)}
    if what != "reset":
        after["by"] = f"{desk.who.name}: {entry.reason}"
    if what == "open":
        after |= {"why": "by hand", "until": str(until_ms or UNTIL_CLOSED_MS), "passed": "0", "probing": ""}
    gone = [one for one in (*_OF_OPENINGS, *_OF_WINDOW) if one not in after]
    keep_ms = (SWITCHES_KEPT_S if what == "open" else LIMITS_KEPT_S) * 1000
    first = Change(key, "generation", "set", str(int(generation or 0) + 1), keep_ms, guard=generation or "")
    changes = [first, *(Change(key, field, "set", value, keep_ms) for field, value in after.items())]
    changes += [Change(key, field, "del", "", keep_ms) for field in gone]
    try:
        return await audit.record(desk.client, desk.keys, replace(entry, after=after["state"]), changes, desk.fence)
    except GuardFailed:
        raise Refused("busy") from None


def all_of(rules: RuleSet) -> list[Breaker]:
    """Those of APIs and of rules, in the order of the file."""
    owners = [one for api in rules.apis for one in (api.breaker, *(rule.breaker for rule in api.rules))]
    return [one for one in owners if one is not None]
