"""Keeps one control process running beside a proxy: starts it, starts it again when it dies, stops it last.

The admin port is bound here, in the process that lives as long as the proxy, and handed to the child: while a control
process is being replaced, who asks waits a moment instead of being refused. Three bytes of shared memory tell the child
what only the proxy knows: whether its rules are loaded, its store answers, its workers run.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.process
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from proxy.admin.health import Readiness
from proxy.settings import Address, Settings

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


def _run(settings: Settings, store_url: str, sock: socket.socket, facts: Any) -> None:
    """The child's life. Imported there only: the proxy itself never loads what the control plane is made of."""
    from proxy import controller

    controller.run(settings, store_url, sock, facts)


class Keeper:
    """`start()` at once, `await keep()` in the background, `await stop()` in the end."""

    def __init__(self, settings: Settings, store_url: str, sock: socket.socket) -> None:
        self._settings = settings
        self._store_url = store_url
        self._sock = sock
        self._context = multiprocessing.get_context("spawn")
        self._facts: Any = self._context.RawArray("B", 3)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._started_s = 0.0

    @property
    def address(self) -> Address:
        host, port = self._sock.getsockname()[:2]
        return Address(host, port)

    def start(self) -> None:
        self._process = self._context.Process(
            target=_run,
            args=(self._settings, self._store_url, self._sock, self._facts),
            name="spendgate-control",
        )
        self._process.start()
        self._started_s = time.monotonic()

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
                self.start()
            await asyncio.sleep(_LOOK_EVERY_S)

    def tell(self, readiness: Readiness) -> None:
        self._facts[0] = readiness.rules_loaded
        self._facts[1] = readiness.store_reachable
        self._facts[2] = readiness.workers_running

    async def stop(self) -> None:
        """End the child, within three seconds whatever it does, and let the port go."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            await asyncio.to_thread(process.join, 3)
            if process.is_alive():
                process.kill()
                await asyncio.to_thread(process.join, 3)
        self._sock.close()
