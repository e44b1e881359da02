"""One worker: a store connection, a gate, the rules of the moment, and a listener; started and stopped in order.

Holds the worker's only mutable state that is not a connection: which rule set is current. A reload swaps it whole;
a request in flight keeps the one that it began with.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from proxy import rules_file
from proxy.core import interception, price
from proxy.core.model import RuleSet
from proxy.data.handler import Page
from proxy.data.intercept import Interceptor
from proxy.data.leaves import Leaves
from proxy.data.server import Limits, Listener
from proxy.data.upstream import Pool
from proxy.settings import Address, Settings
from proxy.state import proxies
from proxy.state.cache import Answers
from proxy.state.gate import Gate
from proxy.state.hosts import Hosts
from proxy.state.keys import Keys
from proxy.state.store import Store, StoreUnavailable

log = structlog.get_logger()


class Worker:
    """`await start()`, let it run, `await stop()`. Runs in one event loop."""

    def __init__(
        self, settings: Settings, store_url: str, rules: RuleSet, env: Mapping[str, str], version: str
    ) -> None:
        self.settings = settings
        self.rules = rules
        self.errors: tuple[str, ...] = ()
        self.loaded_at = datetime.now(UTC)
        self.started_at = self.loaded_at
        self._env = env
        self._version = version
        self.store = Store(store_url)
        self.keys = Keys(settings.tenant)
        self.gate = Gate(self.store, self.keys, lease_s=settings.lease_s, timezone=rules.timezone)
        self.pool = Pool()
        self.answers = Answers(self.store, self.keys)
        self.leaves = Leaves(settings.data / "ca")
        interceptor = Interceptor(self.leaves, rules.language)
        self.page = Page(rules, self.gate, self.pool, self.answers, interceptor)
        self.listener = interceptor.listener = Listener(
            self.page.handle, Limits(), on_bad_request=self.page.on_bad_request
        )
        self.hosts = Hosts(self.keys, self.gate.now_ms, lambda: self.rules.timezone)
        self.page.noted = interceptor.noted = self.hosts.count
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, sock: socket.socket | None = None) -> None:
        """Connect, then listen: the first request finds everything ready. Raises OSError if the address is taken."""
        await asyncio.to_thread(price.warm, self.rules)
        await self.leaves.follow(interception.scope(self.rules))
        await self.store.start()
        address = self.settings.listen
        if sock is not None:
            await self.listener.start(sock=sock)
        else:
            await self.listener.start(address.host, address.port, reuse_port=self.settings.workers > 1)
        spare_the_collector()
        self._tasks = [
            asyncio.create_task(self._watch_rules(), name="watch-rules"),
            asyncio.create_task(self.gate.maintain(), name="maintain-reservations"),
            asyncio.create_task(self.answers.maintain(), name="renew-flights"),
            asyncio.create_task(self.hosts.keep_written(self.store), name="write-hosts"),
            asyncio.create_task(proxies.keep_published(self.store, self.keys, self._info), name="publish-state"),
        ]

    async def stop(self) -> None:
        """Finish requests in flight, write every settlement that can be written, then let go of the store."""
        await self.listener.drain(self.settings.drain_s)
        await self.gate.drain(5.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pool.close()
        await self.store.close()

    @property
    def ready(self) -> bool:
        return self.store.connected

    async def reload(self) -> None:
        """Read rules.yaml again; a file with mistakes changes nothing but what `status` and the log say."""
        began = time.monotonic()
        loaded = await asyncio.to_thread(rules_file.load_file, self.settings.rules, self._env)
        if loaded.rules is None:
            self.errors = tuple(mistake.render(self.rules.language) for mistake in loaded.mistakes)
            for line in self.errors:
                log.error("rules.rejected", mistake=line)
        elif loaded.rules.digest != self.rules.digest or self.errors:
            await asyncio.to_thread(price.warm, loaded.rules)
            await self.leaves.follow(interception.scope(loaded.rules))
            self.errors = ()
            self.rules = loaded.rules
            self.loaded_at = datetime.now(UTC)
            self.page.swap(loaded.rules)
            log.info("rules.reloaded", digest=loaded.rules.digest, seconds=round(time.monotonic() - began, 3))
        await self._publish()

    async def _watch_rules(self) -> None:
        await rules_file.watch(self.settings.rules, self.reload, known=self.rules.digest)

    async def _publish(self) -> None:
        """Tell `spendgate status` at once; without a store the next round will."""
        with contextlib.suppress(StoreUnavailable):
            await proxies.publish(self.store, self.keys, self._info())

    def _info(self) -> proxies.ProxyInfo:
        """What commands can know of this worker."""
        return proxies.ProxyInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._version,
            started_at=self.started_at.isoformat(timespec="seconds"),
            listen=", ".join(str(Address(host, port)) for host, port in self.listener.addresses),
            admin=str(self.settings.admin),
            rules_file=str(self.settings.rules.resolve()),
            rules_digest=self.rules.digest,
            rules_loaded_at=self.loaded_at.isoformat(timespec="milliseconds"),
            rules_errors="\n".join(self.errors),
            pending_settlements=self.gate.pending,
            calls_in_flight=self.listener.in_flight,
        )


def spare_the_collector() -> None:
    """Keep what lives for ever (rules, the price catalogue) out of the garbage collector's rounds.

    A request leaves almost no cycles behind; without this, walking the catalogue's objects costs every request CPU and
    now and then one request tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
