"""One request on one connection to an API, and its answer as it arrives.

Decides how an answer is read, when the API counts as silent or broken, and whether the connection can carry another
request afterwards. Must not know how connections are found or kept.

Mutable state: one `Call` an exchange. One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from proxy.core.http1 import (
    BY_CLOSE,
    BY_LENGTH,
    CHUNKED,
    NO_BODY,
    ChunkedDecoder,
    Malformed,
    ResponseHead,
    head_end,
    last_chunk,
    parse_response,
)
from proxy.data.body import Body, WholeBody
from proxy.data.deadlines import Deadlines
from proxy.data.dial import UpstreamError, UpstreamTimeout

GATHER_LIMIT = 256 * 1024  # bytes; an answer announced as no larger may be waited for, to be handed over whole
_JOIN_WRITE = 64 * 1024
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 16
# A body on these is legal but so unusual that some servers read it as the next request: never on a shared connection.
_BODILESS = frozenset(("GET", "HEAD"))


class UpstreamBroken(UpstreamError):
    """The API's connection ended early, or it answered something that is not HTTP/1.1."""


class Attempt:
    """What became of a request so far; for callers that are cancelled and must know whether it may be billed.

    sent: at least a part of the request may have left. responded: something of an answer arrived.
    """

    __slots__ = ("responded", "sent")

    def __init__(self) -> None:
        self.sent = False
        self.responded = False


class Line(Protocol):
    """What a call needs of its connection."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    write_paused: bool
    gather_s: float
    deadlines: Deadlines

    async def drain(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def release(self, reusable: bool, keep_alive_s: int | None) -> None: ...

    def forget(self) -> None: ...

    def kill(self) -> None: ...


class Call:
    """One request on one connection, until its answer has arrived."""

    __slots__ = (
        "_active_at",
        "_attempt",
        "_buffer",
        "_connection",
        "_decoder",
        "_desync",
        "_expected",
        "_gather",
        "_interims",
        "_loop",
        "_method",
        "_read_timeout_s",
        "_total_deadline",
        "_upload",
        "body",
        "due_s",
        "early",
        "error",
        "head",
        "ready",
        "upgrade",
    )

    def __init__(
        self, connection: Line, method: str, attempt: Attempt, read_timeout_s: float, total_deadline: float, now: float
    ) -> None:
        """now, total_deadline: loop time."""
        self._connection = connection
        self._loop = connection.loop
        self._method = method
        self._attempt = attempt
        self._read_timeout_s = read_timeout_s
        self._total_deadline = total_deadline
        self._active_at = now
        self.due_s = min(now + read_timeout_s, total_deadline)
        connection.deadlines.watch(self)
        self._gather: asyncio.TimerHandle | None = None
        self._upload: asyncio.Task[None] | None = None
        self._buffer = b""
        self._interims = 0
        self._decoder: ChunkedDecoder | None = None
        self._expected = 0
        self._desync = False
        self.upgrade = False  # the request wants to become a WebSocket: a 101 is its answer
        self.early: bytes | None = None  # what came behind such a 101; None: there was none
        self.head: ResponseHead | None = None
        self.body: Body | None = None
        self.error: BaseException | None = None
        # Resolved when there is something to say: the head (and a small body, if it is quick), or `error`.
        self.ready: asyncio.Future[None] = asyncio.Future(loop=connection.loop)

    # sending

    def send(self, head: bytes, body: bytes) -> None:
        transport = self._connection.transport
        self._attempt.sent = True
        if not body:
            transport.write(head)
            return
        self._desync = self._method in _BODILESS
        if len(body) <= _JOIN_WRITE:
            transport.write(head + body)
        else:
            transport.writelines([head, body])

    def stream(self, head: bytes, body: AsyncIterator[bytes], chunked: bool) -> None:
        self._desync = self._method in _BODILESS
        self._upload = self._loop.create_task(self._pump(head, body, chunked))

    async def _pump(self, head: bytes, body: AsyncIterator[bytes], chunked: bool) -> None:
        """Send a streamed body while the answer may already be arriving. An error of its source breaks the call."""
        connection = self._connection
        transport = connection.transport
        pending = head
        try:
            async for data in body:
                if not data:
                    continue
                if transport.is_closing():
                    return
                self._attempt.sent = True
                if len(data) <= _JOIN_WRITE:
                    transport.write(b"%b%x\r\n%b\r\n" % (pending, len(data), data) if chunked else pending + data)
                else:
                    framed = [b"%b%x\r\n" % (pending, len(data)), data, b"\r\n"] if chunked else [pending, data]
                    transport.writelines(framed)
                pending = b""
                self._active_at = self._loop.time()
                if connection.write_paused:
                    await connection.drain()
                    self._active_at = self._loop.time()
            if not transport.is_closing():
                self._attempt.sent = True
                transport.write(pending + (last_chunk() if chunked else b""))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # of the client's body as of this connection: whoever reads the answer is told
            self.fail(error)
        finally:
            self._upload = None

    # receiving

    def receive(self, data: bytes) -> None:
        if self.early is not None:
            self.early += data
            return
        body = self.body
        try:
            if body is None:
                self._attempt.responded = True
                self._read_head(data)
                body = self.body
            else:
                self._feed(body, data)
            if body is None or not body.complete:
                self._active_at = self._loop.time()
        except Malformed as problem:
            self.fail(UpstreamBroken(problem.code, True))

    def _read_head(self, data: bytes) -> None:
        start = 0
        if self._buffer:
            start = max(0, len(self._buffer) - 3)
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n", start) + 2
            after = end + 2
            if end == 1:  # not yet, or with bare line feeds
                end, after = head_end(data, start)
            if end > _MAX_HEAD or (end < 0 and len(data) > _MAX_HEAD):
                raise Malformed("response_head_too_large", 502)
            if end < 0:
                self._buffer = data
                return
            head = parse_response(data[:end], self._method)
            data = data[after:]
            start = 0
            if head.status >= 200:
                break
            if head.status == 101 and self.upgrade:
                self._switch(head, data)
                return
            self._interims += 1
            if head.status == 101 or self._interims > _MAX_INTERIM:
                raise Malformed("unexpected_interim", 502)
        self.head = head
        connection = self._connection
        framing = head.framing
        length = head.length if framing is BY_LENGTH else 0 if framing is NO_BODY else None
        if length is not None and length <= len(data):
            self.body = WholeBody(data[:length])
            self._end(alone=length == len(data))
            return
        body = self.body = Body(self._loop, length, connection.pause_reading, connection.resume_reading)
        if framing is CHUNKED:
            self._decoder = ChunkedDecoder()
        elif length is not None:
            self._expected = length
        if data:
            self._feed(body, data)
        if body.complete or length is None or length > GATHER_LIMIT:
            self._announce()
        else:
            self._gather = self._loop.call_later(connection.gather_s, self._announce)

    def _switch(self, head: ResponseHead, data: bytes) -> None:
        """The API speaks another protocol from here on: what comes is kept for whoever takes the connection over."""
        self._connection.pause_reading()
        self.early = data
        self.head = head
        self.body = WholeBody(b"")
        self._stop()
        self._announce()

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """The connection of a 101, reading paused, and what came behind its head. Nobody else uses it any more."""
        transport = self._connection.transport
        self._connection.forget()
        return transport, self.early or b""

    def _feed(self, body: Body, data: bytes) -> None:
        decoder = self._decoder
        rest = b""
        if decoder is not None:
            data, rest = decoder.feed(data)
            done = decoder.done
        elif body.length is not None:
            if len(data) > self._expected:
                data, rest = data[: self._expected], data[self._expected :]
            self._expected -= len(data)
            done = not self._expected
        else:
            done = False
        if data:
            body.feed(data)
        if done:
            body.end(decoder.trailers if decoder is not None else None)
            self._end(alone=not rest)

    def _end(self, alone: bool) -> None:
        """The answer is whole. Bytes beyond it (it is not `alone`), or an unfinished upload, cost the connection."""
        head, connection = self.head, self._connection
        connection.deadlines.forget(self)
        if self._gather is not None:
            self._announce()
        elif not self.ready.done():
            self.ready.set_result(None)
        reusable = alone and head is not None and head.keep_alive and not self._desync
        upload, self._upload = self._upload, None
        if upload is not None:  # answered before it had read everything (RFC 9112 §9.3)
            upload.cancel()
            reusable = False
        connection.release(reusable, head.keep_alive_s if head is not None else None)

    def connection_ended(self, exc: Exception | None) -> None:
        """The connection is gone: that is an end only for a body that lasts until then."""
        body, head = self.body, self.head
        if body is not None and head is not None and head.framing is BY_CLOSE and exc is None:
            self._connection.forget()
            head.keep_alive = False
            body.end()
            self._end(alone=True)
            return
        detail = "connection ended" if exc is None else (getattr(exc, "strerror", None) or type(exc).__name__)
        self.fail(UpstreamBroken(detail, self._attempt.sent))

    def _announce(self) -> None:
        gather, self._gather = self._gather, None
        if gather is not None:
            gather.cancel()
        if not self.ready.done():
            self.ready.set_result(None)

    # ending

    def fail(self, error: BaseException) -> None:
        if self.error is None and not (self.body is not None and self.body.complete):
            self.error = error
            self._give_up()
            if self.body is not None:
                self.body.fail(error)
            self._announce()

    def cut(self) -> None:
        """End an exchange that is not over."""
        if self.error is None and not (self.body is not None and self.body.complete):
            self.error = UpstreamBroken("given up", self._attempt.sent)
            self._give_up()

    def _give_up(self) -> None:
        self._stop()
        gather, self._gather = self._gather, None
        if gather is not None:
            gather.cancel()
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.cancel()
        self._connection.kill()

    def _stop(self) -> None:
        self._connection.deadlines.forget(self)

    def look(self, now: float) -> None:
        """The time-out would be now, had nothing happened meanwhile: see what did."""
        if now >= self._total_deadline:
            self.fail(UpstreamTimeout("total", self._attempt.sent))
            return
        writing = self._upload is not None
        if (self.body is not None and self.body.paused) or (writing and not self._connection.write_paused):
            self._active_at = now  # it is the client that is slow
        if now - self._active_at >= self._read_timeout_s - 0.001:
            self.fail(UpstreamTimeout("write" if writing else "read", self._attempt.sent))
            return
        self.due_s = min(self._active_at + self._read_timeout_s, self._total_deadline)
