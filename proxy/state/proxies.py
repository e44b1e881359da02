"""Which proxies run: each worker tells about itself every few seconds; what was told is forgotten soon after it stops.

`status` and `doctor` read here what no command can know of another process: the rules a running proxy has, the errors
of its last reload, what it still has to write. Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from proxy.state.gate import wall_ms
from proxy.state.keys import PROXIES_KEPT_S, PROXY_KEPT_S, Keys
from proxy.state.reading import Reader
from proxy.state.store import ScriptError, Store, StoreUnavailable

PUBLISH_EVERY_S: Final = 5.0
# The list is only where to look; whether a proxy lives its own key says, so that clocks may differ this much.
_LISTED_S: Final = 3600


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """One running worker. Instants are ISO 8601 text; rules_errors is what the last reload complained about, or ""."""

    host: str
    pid: int
    version: str
    started_at: str
    listen: str
    admin: str
    rules_file: str
    rules_digest: str
    rules_loaded_at: str
    rules_errors: str
    pending_settlements: int
    calls_in_flight: int


async def publish(store: Store, keys: Keys, info: ProxyInfo) -> None:
    """Write it for the next 15 seconds, and where it is found. Raises StoreUnavailable."""
    key, now_s = keys.proxy(info.host, info.pid), wall_ms() // 1000
    fields: list[str | int] = []
    for name, value in asdict(info).items():
        fields += [name, value]
    await asyncio.gather(
        store.call("HSET", key, *fields),
        store.call("EXPIRE", key, PROXY_KEPT_S),
        store.call("ZADD", keys.proxies, now_s, f"{info.host}:{info.pid}"),
        store.call("ZREMRANGEBYSCORE", keys.proxies, "-inf", now_s - _LISTED_S),
        store.call("EXPIRE", keys.proxies, PROXIES_KEPT_S),
    )


async def keep_published(store: Store, keys: Keys, now: Callable[[], ProxyInfo]) -> None:
    """Publish until cancelled, then withdraw."""
    try:
        while True:
            with contextlib.suppress(StoreUnavailable, ScriptError):  # the store tells it; the next round says it again
                await publish(store, keys, now())
            await asyncio.sleep(PUBLISH_EVERY_S)
    finally:
        info = now()
        if store.connected:
            store.call("DEL", keys.proxy(info.host, info.pid)).add_done_callback(_forget)
            store.call("ZREM", keys.proxies, f"{info.host}:{info.pid}").add_done_callback(_forget)


def _forget(done: asyncio.Future[object]) -> None:
    if not done.cancelled():
        done.exception()  # withdrawn or not, it expires


async def running(reader: Reader, keys: Keys) -> list[ProxyInfo]:
    """All workers that were alive within the last 15 seconds. Raises StoreUnavailable."""
    listed = [name.rpartition(":") for name in await reader.ask("ZRANGE", keys.proxies, 0, -1)]
    replies = await reader.ask_all([("HGETALL", keys.proxy(host, int(pid))) for host, _, pid in listed])
    return sorted((_info(fields) for fields in replies if "pid" in fields), key=lambda info: (info.host, info.pid))


def _info(fields: dict[str, str]) -> ProxyInfo:
    numbers = {name: int(fields.get(name) or 0) for name in ("pid", "pending_settlements", "calls_in_flight")}
    texts = {
        name: fields.get(name, "")
        for name in (
            *("host", "version", "started_at", "listen", "admin"),
            *("rules_file", "rules_digest", "rules_loaded_at", "rules_errors"),
        )
    }
    return ProxyInfo(**texts, **numbers)  # type: ignore[arg-type]
