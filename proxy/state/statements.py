"""What must reach the store, however often it takes: the end of every call, its bill or its release.

A statement outlives whoever made it and every connection. It is repeated until the store has answered it, and once more
when the store has forgotten it: Redis answers before its append-only file is on disk (up to two seconds before, with
`appendfsync everysec` and a slow disk), and a replica that takes over may be as much behind. So statements that were
answered in the last seconds are kept, and made again to a server that is not the one that answered them. The settle
script charges each call once, so that making a statement twice changes nothing.

Must not know budgets, plans or prices. Mutable state: statements not yet written, and those written lately.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from proxy.state.resp import Packed
from proxy.state.store import Reply, Store, StoreUnavailable

log = structlog.get_logger()

_KEPT: Final = 50_000
_REMEMBERED_ROUNDS: Final = 5  # of upkeep, about a second each: what a killed server may have forgotten, twice over


class Statement(msgspec.Struct):
    """A settle or void of one call. The store gives it the answer."""

    book: Statements
    call_id: str
    mode: str
    parts: Packed
    until_ms: int | None = None  # void of an admission whose fate is unknown: repeated until then
    in_flight: bool = False
    answered: bool = False  # such a void found nothing yet
    waiter: asyncio.Future[list[Reply] | None] | None = None  # None as result: kept for later

    def done(self) -> bool:
        """Never before it is written: whoever waits for it may have been cancelled."""
        return False

    def set_result(self, reply: list[Reply]) -> None:
        self.book._answered(self, reply)

    def set_exception(self, error: BaseException) -> None:
        self.book._unanswered(self, error)


class Statements:
    """One worker's statements. now_ms: Redis's clock as far as this worker knows it."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._open: dict[tuple[str, str], Statement] = {}  # in the order they were made
        self._lately: deque[list[Statement]] = deque([[]], _REMEMBERED_ROUNDS)
        self._remembering = threading.Lock()
        self._server: str | None = None  # that answered them
        self._written = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # known once the store was there

    def new(self, call_id: str, mode: str, parts: Packed) -> Statement:
        """One that is neither made nor kept yet. From any thread."""
        return Statement(self, call_id, mode, parts)

    def make(self, statement: Statement) -> asyncio.Future[list[Reply] | None]:
        """State it; awaited, the script's reply. None = it is kept and will be written later."""
        loop = self._loop or asyncio.get_running_loop()
        statement.waiter = waiter = loop.create_future()
        self._begin(statement)
        return waiter

    def make_until(self, statement: Statement, until_ms: int) -> None:
        """State it without waiting, again and again until it found something or `until_ms` has come."""
        statement.until_ms = until_ms
        self._begin(statement)

    def take_over(self, statement: Statement) -> None:
        """Make a statement that another connection did not get confirmed, without waiting."""
        self._begin(statement)

    def remember(self, statement: Statement) -> None:
        """A statement was answered on another connection: it is made again to a server that forgot it.

        From any thread.
        """
        with self._remembering:
            self._lately[-1].append(statement)

    @property
    def pending(self) -> int:
        """Statements that the store has not confirmed and nobody is waiting for on the wire."""
        return sum(not (one.in_flight or one.answered) for one in self._open.values())

    @property
    def any(self) -> bool:
        """Whether there is one that is not confirmed. From any thread."""
        return bool(self._open)

    @property
    def unwritten(self) -> int:
        return sum(not one.answered for one in self._open.values())

    async def all_written(self) -> None:
        while self.unwritten:
            self._written.clear()
            await self._written.wait()

    def repeat(self) -> None:
        """Send again what has no answer, and forget what was answered some seconds ago: about once a second."""
        with self._remembering:
            self._lately.append([])
        self._send_open()

    def connected(self, server: str | None) -> None:
        """The store is there (again). server: which one; None = it does not say, so it may be another."""
        self._loop = asyncio.get_running_loop()
        if server is None or server != self._server:
            with self._remembering:
                lately = [one for round_ in self._lately for one in round_]
                self._lately.clear()
                self._lately.append([])
            if lately:
                log.info("statements.repeated", count=len(lately))
            self._open = {**{(one.call_id, one.mode): one for one in lately}, **self._open}
            self._server = server
        self._send_open()

    def _send_open(self) -> None:
        for statement in tuple(self._open.values()):
            if not statement.in_flight:
                self._send(statement)

    def _begin(self, statement: Statement) -> None:
        """Keep it until it is answered, and send it."""
        if len(self._open) >= _KEPT:
            lost = self._open.pop(next(iter(self._open)))
            # Its reservation stays: reclaim charges it at the estimate.
            log.error("statement.dropped", id=lost.call_id, mode=lost.mode)
        self._open[(statement.call_id, statement.mode)] = statement
        self._send(statement)

    def _send(self, statement: Statement) -> None:
        try:
            self._store.script_for(statement, "settle", statement.parts)
        except StoreUnavailable:
            self._tell(statement, None)
            return
        statement.in_flight = True

    def _answered(self, statement: Statement, reply: list[Reply]) -> None:
        statement.in_flight = False
        if statement.until_ms is not None and reply[0] == 0 and self._now_ms() < statement.until_ms:
            statement.answered = True
        else:
            self._open.pop((statement.call_id, statement.mode), None)
            self._lately[-1].append(statement)
        self._written.set()
        self._tell(statement, reply)

    def _unanswered(self, statement: Statement, error: BaseException) -> None:
        statement.in_flight = False
        if not isinstance(error, StoreUnavailable):
            log.error("statement.refused", id=statement.call_id, mode=statement.mode, error=str(error))
        self._tell(statement, None)

    @staticmethod
    def _tell(statement: Statement, reply: list[Reply] | None) -> None:
        waiter, statement.waiter = statement.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)
