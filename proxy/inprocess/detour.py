"""The long way: a question is handed to the background thread, which asks it on the store's own connection.

Calls that may wait in a rate limit's queue go this way, those over TLS, and whatever direct.py cannot do where it is.
What is handed over is done in order, so such a question is behind everything that was handed over before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from proxy.core.model import Admitted, Ask
from proxy.state.gate import Gate

if TYPE_CHECKING:
    from proxy.inprocess.direct import Answered


class _Pending:
    """One question on its way. Everything but `wait` happens on the background thread."""

    __slots__ = ("_ready", "_tell", "abandoned", "answer", "ask", "error", "task")

    def __init__(self, ask: Ask, tell: Callable[[], object] | None = None) -> None:
        self.ask = ask
        self.answer: Answered | None = None
        self.error: BaseException | None = None
        self.abandoned = False
        self.task: asyncio.Task[None] | None = None  # that asks
        self._tell = tell
        self._ready = threading.Lock()
        self._ready.acquire()

    def finish(self) -> None:
        if self._tell is not None:
            self._tell()
        else:
            self._ready.release()

    def wait(self) -> None:
        self._ready.acquire()

    def result(self) -> Answered:
        if self.error is not None:
            raise self.error
        assert self.answer is not None  # noqa: S101 - finished without an error
        return self.answer


class Detour:
    """loop: the background thread's. spawn: runs there, on that thread only."""

    def __init__(
        self, gate: Gate, loop: asyncio.AbstractEventLoop, spawn: Callable[[Coroutine[Any, Any, Any]], None]
    ) -> None:
        self._gate = gate
        self._loop = loop
        self._spawn = spawn

    def ask(self, ask: Ask) -> Answered:
        """Ask and wait, from any thread but that one. Interrupted, the reservation is released."""
        pending = _Pending(ask)
        self._loop.call_soon_threadsafe(self._spawn, self._admit(pending))
        try:
            pending.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(self._abandon, pending)
            raise
        return pending.result()

    async def ask_async(self, ask: Ask) -> Answered:
        """Ask from any event loop. Cancelled, the reservation is released."""
        there = asyncio.get_running_loop()
        told: asyncio.Future[None] = there.create_future()

        def tell() -> None:
            try:
                there.call_soon_threadsafe(_set, told)
            except RuntimeError:  # the loop that asked was closed meanwhile
                self._abandon(pending)

        pending = _Pending(ask, tell)
        self._loop.call_soon_threadsafe(self._spawn, self._admit(pending))
        try:
            await told
        except BaseException:
            self._loop.call_soon_threadsafe(self._abandon, pending)
            raise
        return pending.result()

    async def _admit(self, pending: _Pending) -> None:
        pending.task = asyncio.current_task()
        try:
            pending.answer = await self._gate.admit(pending.ask)
        except BaseException as error:
            pending.error = error
        if pending.abandoned:
            self._release(pending)
        else:
            pending.finish()

    def _abandon(self, pending: _Pending) -> None:
        """Nobody waits for the answer any more: it leaves the queue that it may stand in."""
        if pending.answer is not None or pending.error is not None:
            self._release(pending)
        elif pending.task is not None:
            pending.task.cancel()
        pending.abandoned = True

    def _release(self, pending: _Pending) -> None:
        if isinstance(pending.answer, Admitted):
            self._spawn(self._gate.void(pending.ask))


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
