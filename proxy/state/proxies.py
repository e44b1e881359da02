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

from proxy.state.keys import PROXY_KEPT_S, Keys
from proxy.state.reading import Reader
from proxy.state.store import ScriptError, Store, StoreUnavailable

PUBLISH_EVERY_S: Final = 5.0


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
    """Write it for the next 15 seconds. Raises StoreUnavailable."""
    key = keys.proxy(info.host, info.pid)
    fields: list[str | int] = []
    for name, value in asdict(info).items():
        fields += [name, value]
    await asyncio.gather(store.call("HSET", key, *fields), store.call("EXPIRE", key, PROXY_KEPT_S))


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


def _forget(done: asyncio.Future[object]) -> None:
    if not done.cancelled():
        done.exception()  # withdrawn or not, it expires


async def running(reader: Reader, keys: Keys) -> list[ProxyInfo]:
    """All workers that were alive within the last 15 seconds. Raises StoreUnavailable."""
    names = await reader.scan(keys.prefix + "proxy:")
    replies = await reader.ask_all([("HGETALL", name) for name in names])
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
