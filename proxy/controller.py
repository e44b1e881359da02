"""The control process: a store connection, the rules of the moment, the leader's work, and the admin port.

One beside the worker(s) of a proxy, started and started again by app.py; the data plane never waits for it. Mutable
state: which rule set is current and what was wrong with the last one; connections are made here and closed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
import uvloop
from aiohttp import web

from proxy import rules_file
from proxy.admin import api
from proxy.admin.routes import Desk
from proxy.control.absence import Absence, tell
from proxy.control.jobs import Context, Leadership
from proxy.control.plan_of_jobs import JOBS
from proxy.core.model import RuleSet
from proxy.log import configure
from proxy.settings import Settings, environ
from proxy.started import Readiness, version
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.leader import Election
from proxy.state.past import Past
from proxy.state.store import Store, StoreUnavailable
from proxy.threads import take_short_turns

log = structlog.get_logger()

_CLOCK_EVERY_S = 30.0
_END_WITHIN_S = 4.0
_POLITE = 5


class Controller:
    """`await start(sock)`, let it run, `await stop()`. Runs in one event loop."""

    def __init__(
        self,
        settings: Settings,
        store_url: str,
        env: Mapping[str, str],
        readiness: Callable[[], Readiness],
        rules: RuleSet | None,
    ) -> None:
        self.settings = settings
        self.rules = rules
        self.errors: tuple[rules_file.Mistake, ...] = ()
        self.loaded_at = datetime.now(UTC) if rules is not None else None
        self._env = env
        self._readiness = readiness
        self._offset_ms = 0  # Redis's clock minus this machine's
        self.keys = Keys(settings.tenant)
        self.client = Client(store_url)
        self.store = Store(store_url, client_name="spendgate-control")
        place = f"{socket.gethostname()}:{os.getpid()}"
        election = Election(self.client, self.keys, uuid.uuid4().hex, place)
        self.absence = Absence(lambda since_ms: tell(self._loaded_rules(), since_ms, self.now_ms))
        self.leadership = Leadership(election, JOBS, self._context, lambda: self.rules is not None, self._heard)
        self.desk = Desk(
            settings=settings,
            keys=self.keys,
            client=self.client,
            past=Past(self.client, self.keys),
            store=self.store,
            rules=lambda: self.rules,
            mistakes=lambda: self.errors,
            loaded_at=lambda: self.loaded_at,
            fence=lambda: self.leadership.fence,
            clock=self.now_ms,
            version=version(),
        )
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, sock: socket.socket) -> None:
        """Read the rules unless they were given, answer on the admin port, then lead or wait to."""
        if self.rules is None:
            await self.reload()
        self._runner = web.AppRunner(api.application(self.desk, self._readiness), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()
        await self.store.start()
        self._tasks = [
            asyncio.create_task(self._watch_rules(), name="watch-rules"),
            asyncio.create_task(self._follow_clock(), name="follow-clock"),
            asyncio.create_task(self.leadership.run(), name="lead"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.absence.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.store.close()
        await self.client.close()

    def now_ms(self) -> int:
        """Redis's clock as far as this process knows it."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    async def reload(self) -> None:
        """Read rules.yaml again; a file with mistakes changes nothing but what is told of it."""
        loaded = await asyncio.to_thread(rules_file.load_file, self.settings.rules, self._env)
        if loaded.rules is None:
            self.errors = loaded.mistakes
            log.error("control.rules_rejected", mistakes=len(loaded.mistakes))
        elif self.rules is None or loaded.rules.digest != self.rules.digest or self.errors:
            self.errors = ()
            self.rules = loaded.rules
            self.loaded_at = datetime.now(UTC)

    async def _watch_rules(self) -> None:
        known = self.rules.digest if self.rules is not None else None
        await rules_file.watch(self.settings.rules, self.reload, known=known)

    async def _follow_clock(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                before_ms = time.time_ns() // 1_000_000
                redis_ms = await self.client.now_ms()
                self._offset_ms = redis_ms - (before_ms + time.time_ns() // 1_000_000) // 2
            await asyncio.sleep(_CLOCK_EVERY_S)

    def _context(self, fence: int) -> Context:
        parts = (self.client, self.store, self.keys, self.settings, fence)
        return Context(*parts, self._loaded_rules, self.now_ms, self.absence.last)

    def _heard(self, answered: bool, led: bool) -> None:
        if answered:
            self.absence.answered(self.now_ms())
        else:
            self.absence.missed(self.now_ms(), led=led)

    def _loaded_rules(self) -> RuleSet:
        if self.rules is None:
            raise LookupError("no rules are loaded")  # nobody leads without
        return self.rules


def run(
    settings: Settings, store_url: str, sock: socket.socket, facts: Sequence[int], rules: RuleSet | None = None
) -> None:
    """A control process's whole life: until its parent stops it or is gone. facts: shared memory, see keeper.py."""
    configure(settings.log_format, settings.log_level)
    take_short_turns()
    uvloop.run(_until_stopped(settings, store_url, sock, facts, rules))


async def _until_stopped(
    settings: Settings, store_url: str, sock: socket.socket, facts: Sequence[int], rules: RuleSet | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def gone() -> None:
            loop.remove_reader(sentinel)  # it stays readable: once is enough
            stop.set()
            _end_soon()  # also where the start itself does not come to its end

        loop.add_reader(sentinel, gone)  # readable when the parent is gone, however it went

    def readiness() -> Readiness:
        return Readiness(*map(bool, facts[:3]))

    controller = Controller(settings, store_url, environ(), readiness, rules)
    try:
        await controller.start(sock)
        os.nice(_POLITE)  # where cores are short, paid calls come first; but not before it is known to be ready
        await stop.wait()
        _end_soon()
    finally:
        await controller.stop()


def _end_soon() -> None:
    """A thread that computes, or a reader of events, must not keep a control process whose proxy is gone."""
    end = threading.Timer(_END_WITHIN_S, os._exit, (0,))
    end.daemon = True
    end.start()
