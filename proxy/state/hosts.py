"""Where programs want to go beside what the rules price call by call: hosts, how often, how much, who.

Decides what is kept of that: a roll-up a day, with a bound on how many hosts it can name, written with the upkeep and
never on the way of a call. What a host means is decided by whoever reads it.

Mutable state: `Hosts` holds what one worker has not written yet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from proxy.core.windows import local_day
from proxy.state.keys import DAY_S, HOSTS_KEPT_S, Keys
from proxy.state.reading import Reader
from proxy.state.store import ScriptError, Store, StoreUnavailable

WRITE_EVERY_S: Final = 2.0
BUFFERED_MOST: Final = 500  # hosts that a worker holds between two writes
FIELDS_MOST: Final = 20_000  # of a day; what comes then is counted together
OTHERS: Final = "(others)"

# What became of a connection or call to the host.
TUNNEL: Final = "tunnel"  # a rule prices it as a tunnel: its calls are not seen
OBSERVED: Final = "observed"  # no rule; let pass and recorded as unpriced
REFUSED: Final = "refused"  # no rule; refused
NOT_INTERCEPTED: Final = ("certificate_refused", "http2_refused")  # a rule wanted to see into it and could not


class Hosts:
    """Counts for one worker. timezone: of the days, as the rules of the moment say."""

    def __init__(self, keys: Keys, now_ms: Callable[[], int], timezone: Callable[[], str]) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self._timezone = timezone
        self._counts: Counter[str] = Counter()  # field of the hash -> how much more
        self._hosts: set[str] = set()
        self._known: set[str] = set()  # that this worker has written today
        self._day = ""

    def count(self, host: str, caller: str, outcome: str, size: int = 0) -> None:
        """One connection or call. host: "name" or "name:port" of HTTPS, "http://..." of plain HTTP. size: bytes."""
        if host not in self._hosts and len(self._hosts) >= BUFFERED_MOST:
            host = OTHERS
        self._hosts.add(host)
        self._counts[f"calls|{outcome}|{host}"] += 1
        self._counts[f"caller|{caller}|{host}"] += 1
        if size:
            self._counts[f"bytes|{host}"] += size

    async def write(self, store: Store) -> None:
        """Add what was counted to today's roll-up. Raises StoreUnavailable; the counts are then kept."""
        if not self._counts:
            return
        day = local_day(self._now_ms(), self._timezone())
        if day != self._day:
            self._day, self._known = day, set()
        key = self._keys.hosts(day)
        counts, self._counts = self._counts, Counter()
        hosts, self._hosts = self._hosts, set()
        try:
            full = int(await store.call("HLEN", key)) >= FIELDS_MOST
            calls = [store.call("HINCRBY", key, self._bounded(name, full), more) for name, more in counts.items()]
            calls.append(store.call("EXPIRE", key, HOSTS_KEPT_S + DAY_S))
            await asyncio.gather(*calls)
        except StoreUnavailable:
            self._counts.update(counts)
            self._hosts |= hosts
            raise
        if not full:
            self._known |= hosts

    def _bounded(self, name: str, full: bool) -> str:
        kind, _, host = name.rpartition("|")
        return f"{kind}|{OTHERS}" if full and host not in self._known else name

    async def keep_written(self, store: Store) -> None:
        """Write until cancelled, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                with contextlib.suppress(StoreUnavailable, ScriptError):
                    await self.write(store)
        finally:
            with contextlib.suppress(StoreUnavailable, ScriptError):
                await self.write(store)


@dataclass(slots=True)
class Seen:
    """One host over some days."""

    host: str
    calls: Counter[str] = field(default_factory=Counter)  # by outcome
    callers: Counter[str] = field(default_factory=Counter)
    size: int = 0  # bytes, both ways; of tunnels and of what passed unpriced


async def seen(reader: Reader, keys: Keys, days: Iterable[str]) -> list[Seen]:
    """Every host of these days, the busiest first. Raises StoreUnavailable."""
    found: dict[str, Seen] = {}
    for fields in await reader.ask_all([("HGETALL", keys.hosts(day)) for day in days]):
        for name, number in fields.items():
            kind, _, rest = name.partition("|")
            what, _, host = rest.rpartition("|")
            one = found.setdefault(host, Seen(host))
            if kind == "calls":
                one.calls[what] += int(number)
            elif kind == "caller":
                one.callers[what] += int(number)
            else:
                one.size += int(number)
    return sorted(found.values(), key=lambda one: (-one.calls.total(), one.host))
