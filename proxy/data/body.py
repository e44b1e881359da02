"""A body on its way through: a bounded buffer between a connection that receives and a task that reads.

Decides when the sender must wait (back-pressure), and nothing else. The receiving side calls feed/end/fail and gives
two callbacks to pause and resume its socket; the reading side awaits. At most one reader. Mutable state: one a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from proxy.core.http1 import Field

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
_NO_TRAILERS: list[Field] = []  # never changed


class Body:
    """Bytes of one message body, in order, as they arrive.

    length: announced by Content-Length; None where only the end will tell.
    received: body bytes that have arrived so far. complete: the end has arrived (perhaps not yet been read).
    trailers: trailer fields, once complete. paused: the sender is being held back because nobody reads.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_high",
        "_loop",
        "_pause",
        "_resume",
        "_size",
        "_waiter",
        "_wanted",
        "complete",
        "length",
        "paused",
        "received",
        "trailers",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        length: int | None,
        pause: Callable[[], None],
        resume: Callable[[], None],
        wanted: Callable[[], None] | None = None,
    ) -> None:
        """wanted: called once, when somebody reads the body for the first time."""
        self._loop = loop
        self._chunks: list[bytes] = []
        self._size = 0
        self._high = HIGH_WATER
        self._pause, self._resume, self._wanted = pause, resume, wanted
        self.paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self.length = length
        self.received = 0
        self.complete = False
        self.trailers = _NO_TRAILERS

    # the receiving side

    def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        self.received += len(data)
        if self._size > self._high and not self.paused:
            self.paused = True
            self._pause()
        self._wake()

    def end(self, trailers: list[Field] | None = None) -> None:
        self.complete = True
        if trailers:
            self.trailers = trailers
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Let the reader have what arrived, then this error. The first error stays; nothing happens after the end."""
        if not self.complete and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def waited_for(self) -> bool:
        """Whether a reader is waiting for bytes right now."""
        return self._waiter is not None

    # the reading side

    async def read(self, limit: int) -> bytes | None:
        """The whole body, or None as soon as it is known to be larger than `limit` bytes.

        After None nothing is lost: what has arrived is kept, and `chunks()` gives the body from its first byte.
        Raises what the sender's failure was (Malformed for a broken body).
        """
        if self.length is not None and self.length > limit:
            return None
        self._want()
        if not self.complete:
            self._high = max(HIGH_WATER, limit)
            try:
                while not self.complete and self._size <= limit:
                    await self._wait()
            finally:
                self._high = HIGH_WATER
        if self._size > limit:
            return None
        return self._take()

    async def next(self) -> bytes:
        """What has arrived since the last call, waiting for something; b"" at the end. Raises as `read`."""
        self._want()
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait()
        return self._take()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body (or its rest) piece by piece as it arrives. Raises as `read`."""
        while data := await self.next():
            yield data

    def take_whole(self) -> bytes | None:
        """The whole body if its end has arrived, without waiting; else None."""
        return self._take() if self.complete else None

    def discard(self) -> None:
        """Forget what has arrived and let the sender go on."""
        self._take()

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size = 0
        if self.paused:
            self.paused = False
            self._resume()
        return data

    def _want(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None


class WholeBody(Body):
    """A body that was here together with its head: nobody waits for it, and no sender is held back."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.paused = False
        self.length = self.received = len(data)
        self.complete = True
        self.trailers = _NO_TRAILERS

    @property
    def waited_for(self) -> bool:
        return False

    async def read(self, limit: int) -> bytes | None:
        if self.received > limit:
            return None
        data, self._data = self._data, b""
        return data

    async def next(self) -> bytes:
        return self.take_whole()

    def take_whole(self) -> bytes:
        data, self._data = self._data, b""
        return data

    _take = take_whole
