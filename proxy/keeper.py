"""Keeps one control process running beside a proxy: starts it, starts it again when it dies, stops it last.

The first one is forked before the proxy has a thread or a loop: what both import and the rules are read once, and their
memory is shared. One that takes a dead one's place is a new interpreter, because a process with threads must not fork.

The admin port is bound here, in the process that lives as long as the proxy, and handed to the child: while a control
process is being replaced, who asks waits a moment instead of being refused. Three bytes of shared memory tell the child
what only the proxy knows: whether its rules are loaded, its store answers, its workers run.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.process
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

import structlog

from proxy.core.model import RuleSet
from proxy.settings import Address, Settings
from proxy.started import Readiness

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 0.1
_PAUSE_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # before a start, by how often it died soon after one
_SOON_S: Final = 30.0


def claim(address: Address) -> socket.socket:
    """A socket that listens there. Raises OSError when the address is taken."""
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def _run(
    settings: Settings, store: Connection, giver: Connection | None, sock: socket.socket, facts: Any, rules: Any
) -> None:
    """The child's life. giver: the parent's end of `store`, of which a fork has a copy. rules: None if it must read."""
    # Ctrl-C reaches the whole foreground group; when this process ends is the parent's to say, after the last call.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if giver is not None:
        giver.close()
    from proxy import controller  # here only: the proxy itself never loads what the control plane is made of

    try:
        url = store.recv()
    except EOFError:  # the proxy ended before it had a store
        return
    controller.run(settings, url, sock, facts, rules)


class Keeper:
    """`fork()` while there is no thread, `give()` the store, `await keep()` in the background, `await stop()` last."""

    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        self._settings = settings
        self._sock = sock
        self._store_url: str | None = None
        self._giver: Connection | None = None
        self._facts: Any = multiprocessing.get_context("spawn").RawArray("B", 3)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._started_s = 0.0

    @property
    def address(self) -> Address:
        host, port = self._sock.getsockname()[:2]
        return Address(host, port)

    def fork(self, rules: RuleSet) -> None:
        """Start the first child, which has the rules from this process. Only before any thread and any loop."""
        self._start("fork", rules)

    def give(self, store_url: str) -> None:
        """Tell the child where the store is; until then it loads what it is made of."""
        self._store_url = store_url
        if self._giver is not None:
            with contextlib.suppress(OSError):  # it died already: `keep` starts the next one
                self._giver.send(store_url)

    def _start(self, method: str, rules: RuleSet | None) -> None:
        context = multiprocessing.get_context(method)
        store, giver = context.Pipe(duplex=False)
        copy = giver if method == "fork" else None
        self._process = context.Process(  # type: ignore[attr-defined]
            target=_run,
            args=(self._settings, store, copy, self._sock, self._facts, rules),
            name="spendgate-control",
        )
        self._process.start()
        self._started_s = time.monotonic()
        store.close()
        self._drop_giver()
        self._giver = giver

    def _drop_giver(self) -> None:
        if self._giver is not None:
            self._giver.close()
            self._giver = None

    async def keep(self, readiness: Callable[[], Readiness]) -> None:
        """Until cancelled: tell the child how the proxy is, and replace a child that died."""
        deaths = 0
        while True:
            self.tell(readiness())
            process = self._process
            if process is not None and not process.is_alive():
                deaths = deaths + 1 if time.monotonic() - self._started_s < _SOON_S else 0
                log.error("control.died", pid=process.pid, exitcode=process.exitcode)
                await asyncio.sleep(_PAUSE_S[min(deaths, len(_PAUSE_S) - 1)])
                self._start("spawn", None)
                if self._store_url is not None:
                    self.give(self._store_url)
            await asyncio.sleep(_LOOK_EVERY_S)

    def tell(self, readiness: Readiness) -> None:
        self._facts[0] = readiness.rules_loaded
        self._facts[1] = readiness.store_reachable
        self._facts[2] = readiness.workers_running

    async def stop(self) -> None:
        """End the child, within three seconds whatever it does, and let the port go. Twice is once."""
        self._drop_giver()
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            await asyncio.to_thread(process.join, 3)
            if process.is_alive():
                process.kill()
                await asyncio.to_thread(process.join, 3)
        self._sock.close()
