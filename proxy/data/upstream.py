"""The API's side of the wire: a pool of kept-alive connections, and one exchange over one of them.

Decides which connection carries a request, when an API counts as unreachable, silent or broken, and when a request may
be sent again. Must not know rules, prices or clients: bytes of a request head and a body go in, an answer comes out.

A request is sent a second time, at most once and only on a fresh connection, when all of this holds: the connection was
a kept-alive one, nothing of an answer had arrived, its failure was the connection's end (not a time-out), the body can
be sent again (bytes, not a stream), and the method is idempotent (RFC 9110 §9.2.2). Before a kept-alive connection is
used it is looked at (one poll): an API that has closed it meanwhile costs nothing but a new connection. A POST whose
kept-alive connection ends after it was written is not repeated: it may have been billed.

Mutable state: `Pool` holds the idle connections by origin, each `_Connection` its one `_Call`. One event loop.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncIterator
from math import inf
from typing import NamedTuple

from proxy.core.http1 import (
    ChunkedDecoder,
    Field,
    Framing,
    Malformed,
    ResponseHead,
    head_end,
    last_chunk,
    parse_response,
)
from proxy.data.body import Body
from proxy.data.dial import UpstreamError, UpstreamTimeout, UpstreamUnreachable, dial, tls_context

__all__ = [
    "Attempt",
    "Origin",
    "Pool",
    "UpstreamAnswer",
    "UpstreamBroken",
    "UpstreamError",
    "UpstreamTimeout",
    "UpstreamUnreachable",
]

GATHER_LIMIT = 256 * 1024
_JOIN_WRITE = 64 * 1024
_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 16
# A body on these is legal but so unusual that some servers read it as the next request: never on a shared connection.
_BODILESS = frozenset(("GET", "HEAD"))
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))


class UpstreamBroken(UpstreamError):
    """The API's connection ended early, or it answered something that is not HTTP/1.1."""


class Origin(NamedTuple):
    """Where connections go. allow_private: connect even if the host is not on the public internet."""

    scheme: str  # "http" | "https"
    host: str
    port: int
    allow_private: bool = True


class Attempt:
    """What became of a request so far; for callers that are cancelled and must know whether it may be billed.

    sent: at least a part of the request may have left. responded: something of an answer arrived.
    """

    __slots__ = ("responded", "sent")

    def __init__(self) -> None:
        self.sent = False
        self.responded = False


class UpstreamAnswer:
    """An API's answer. Its head is here; its body is `whole`, or arrives through next(), chunks() or read().

    headers: as sent, original case and order. length: Content-Length, None if not given.
    whole: the complete body, when it was here early enough (there is nothing to stream then), else None.
    Always close() it in the end; a body not read to its end closes the API's connection.
    """

    __slots__ = ("_body", "_call", "headers", "length", "reason", "status", "version", "whole")

    def __init__(self, call: _Call, head: ResponseHead, body: Body) -> None:
        self._call = call
        self._body = body
        self.version = (1, head.minor)
        self.status = head.status
        self.reason = head.reason
        self.headers = head.headers
        self.length = head.length
        self.whole = body.take_whole()

    @property
    def trailers(self) -> list[Field]:
        """Trailer fields; complete once the body is read to its end."""
        return self._body.trailers

    @property
    def complete(self) -> bool:
        """Whether the API has sent its whole answer (though perhaps not all of it is read)."""
        return self._body.complete

    async def next(self) -> bytes:
        """The next piece as it arrived, b"" at the end.

        Raises UpstreamBroken or UpstreamTimeout where the API cuts it, and what the request body's source raised.
        """
        try:
            return await self._body.next()
        except BaseException:
            self.close()
            raise

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece as it arrives. Raises as next()."""
        while data := await self.next():
            yield data

    async def read(self, limit: int) -> bytes | None:
        """The whole body, or None when it is larger than `limit` bytes (then stream it: nothing is lost)."""
        try:
            return await self._body.read(limit)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the exchange up; at once, unless it was complete. May be called twice."""
        self._call.cut()


class _Call:
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
        "_timer",
        "_total_deadline",
        "_upload",
        "body",
        "error",
        "head",
        "ready",
    )

    def __init__(
        self, connection: _Connection, method: str, attempt: Attempt, read_timeout_s: float, total_deadline: float
    ) -> None:
        self._connection = connection
        self._loop = loop = connection.loop
        self._method = method
        self._attempt = attempt
        self._read_timeout_s = read_timeout_s
        self._total_deadline = total_deadline
        self._active_at = now = loop.time()
        self._timer: asyncio.TimerHandle | None = loop.call_at(min(now + read_timeout_s, total_deadline), self._look)
        self._gather: asyncio.TimerHandle | None = None
        self._upload: asyncio.Task[None] | None = None
        self._buffer = b""
        self._interims = 0
        self._decoder: ChunkedDecoder | None = None
        self._expected = 0
        self._desync = False
        self.head: ResponseHead | None = None
        self.body: Body | None = None
        self.error: BaseException | None = None
        # Resolved when there is something to say: the head (and a small body, if it is quick), or `error`.
        self.ready: asyncio.Future[None] = loop.create_future()

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
        except Exception as error:
            self.fail(error)
        finally:
            self._upload = None

    # receiving

    def receive(self, data: bytes) -> None:
        self._active_at = self._loop.time()
        try:
            if self.body is None:
                self._attempt.responded = True
                self._read_head(data)
            else:
                self._feed(self.body, data)
        except Malformed as problem:
            self.fail(UpstreamBroken(problem.code, True))

    def _read_head(self, data: bytes) -> None:
        start = 0
        if self._buffer:
            start = max(0, len(self._buffer) - 3)
            data = self._buffer + data
        while True:
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
            self._interims += 1
            if head.status == 101 or self._interims > _MAX_INTERIM:
                raise Malformed("unexpected_interim", 502)
        self.head = head
        connection = self._connection
        framing = head.framing
        length = 0 if framing is Framing.NONE else head.length if framing is Framing.LENGTH else None
        body = self.body = Body(self._loop, length, connection.pause_reading, connection.resume_reading)
        if length == 0:
            self._end(body, data)
        else:
            if framing is Framing.CHUNKED:
                self._decoder = ChunkedDecoder()
            elif length is not None:
                self._expected = length
            if data:
                self._feed(body, data)
        if body.complete or length is None or length > GATHER_LIMIT:
            self._announce()
        else:
            self._gather = self._loop.call_later(connection.pool.gather_s, self._announce)

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
            self._end(body, rest)

    def _end(self, body: Body, rest: bytes) -> None:
        """The answer is whole. Bytes beyond it, or an unfinished upload, cost the connection."""
        body.end(self._decoder.trailers if self._decoder is not None else None)
        self._stop()
        self._announce()
        upload, self._upload = self._upload, None
        keep_alive = self.head is not None and self.head.keep_alive
        keep_alive_s = self.head.keep_alive_s if self.head is not None else None
        reusable = keep_alive and not rest and not self._desync
        if upload is not None:  # answered before it had read everything (RFC 9112 §9.3)
            upload.cancel()
            reusable = False
        self._connection.release(reusable, keep_alive_s)

    def connection_ended(self, exc: Exception | None) -> None:
        """The connection is gone: that is an end only for a body that lasts until then."""
        body, head = self.body, self.head
        if body is not None and head is not None and head.framing is Framing.CLOSE and exc is None:
            self._connection.forget()
            head.keep_alive = False
            self._end(body, b"")
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
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        """One timer an exchange: when it fires, see what really happened meanwhile."""
        now = self._loop.time()
        if now >= self._total_deadline:
            self._timer = None
            self.fail(UpstreamTimeout("total", self._attempt.sent))
            return
        writing = self._upload is not None
        if (self.body is not None and self.body.paused) or (writing and not self._connection.write_paused):
            self._active_at = now  # it is the client that is slow
        if now - self._active_at >= self._read_timeout_s - 0.001:
            self._timer = None
            self.fail(UpstreamTimeout("write" if writing else "read", self._attempt.sent))
            return
        self._timer = self._loop.call_at(min(self._active_at + self._read_timeout_s, self._total_deadline), self._look)


class _Connection(asyncio.Protocol):
    """One connection to an API; carries one call at a time."""

    __slots__ = (
        "_call",
        "_drain_waiter",
        "_poller",
        "idle_until",
        "loop",
        "origin",
        "pool",
        "transport",
        "write_paused",
    )

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.pool = pool
        self.loop = asyncio.get_running_loop()
        self.origin = origin
        self.transport: asyncio.Transport  # set before anybody gets the connection
        self.write_paused = False
        self.idle_until = 0.0
        self._call: _Call | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._poller: select.poll | None = None

    def begin(self, method: str, attempt: Attempt, read_timeout_s: float, total_deadline: float) -> _Call:
        self._call = call = _Call(self, method, attempt, read_timeout_s, total_deadline)
        return call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._call is not None:
            self._call.receive(data)
        else:
            self.kill()  # bytes that nobody asked for: whatever they are, the connection is not to be trusted

    def eof_received(self) -> bool:
        if self._call is not None:
            self._call.connection_ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        call = self._call
        if call is not None:
            call.connection_ended(exc)
        self.forget()
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def drain(self) -> None:
        self._drain_waiter = self.loop.create_future()
        await self._drain_waiter

    def pause_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._call is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def release(self, reusable: bool, keep_alive_s: int | None) -> None:
        """The call's answer is whole."""
        body = self._call.body if self._call is not None else None
        self._call = None
        transport = self.transport
        if transport.is_closing():
            return
        if not reusable:
            transport.close()
            return
        if body is not None and body.paused:
            transport.resume_reading()  # its reader has yet to empty the buffer; the next call starts unpaused
        self.pool.keep(self, keep_alive_s)

    def forget(self) -> None:
        self._call = None
        self.pool.drop(self)

    def kill(self) -> None:
        """End the connection at once."""
        self.forget()
        self.transport.abort()

    def is_fresh(self, now: float) -> bool:
        """Whether an idle connection can still be used, as far as this machine knows: not closed, nothing to read."""
        transport = self.transport
        if transport.is_closing() or now >= self.idle_until:
            return False
        if self._poller is None:
            sock = transport.get_extra_info("socket")
            self._poller = select.poll()
            self._poller.register(sock.fileno(), select.POLLIN)
        return not self._poller.poll(0)


class Pool:
    """Connections to APIs, kept alive between exchanges. Create it inside the event loop that uses it.

    idle_timeout_s: how long an unused connection is kept (less, when the API's Keep-Alive says less).
    max_idle: unused connections kept for one origin. gather_s: how long a small answer of known length may take to be
    handed over whole. tls: verification for https; default: the system's store.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        idle_timeout_s: float = 60.0,
        max_idle: int = 256,
        gather_s: float = 0.02,
    ) -> None:
        self.gather_s = gather_s
        self._tls = tls
        self._idle_timeout_s = idle_timeout_s
        self._max_idle = max_idle
        self._idle: dict[Origin, list[_Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(
        self,
        origin: Origin,
        method: str,
        head: bytes,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        chunked: bool = False,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 300.0,
        total_timeout_s: float | None = None,
        attempt: Attempt | None = None,
    ) -> UpstreamAnswer:
        """Send one request, give back its answer as soon as its head is here.

        head: the whole request head, with the framing that fits the body (Content-Length, or with `chunked`
        Transfer-Encoding: chunked; a bytes body is never chunked). body: bytes, or a stream, which is sent while the
        answer may already arrive; what the stream raises is raised here, or by the answer's body.
        read_timeout_s: longest silence of the API. total_timeout_s: from now to the answer's last byte.

        Interim answers (1xx) are skipped. Cancelling the waiting task closes the connection at once.
        Raises UpstreamUnreachable, UpstreamTimeout, UpstreamBroken; each says whether anything was `sent`.
        """
        loop = asyncio.get_running_loop()
        attempt = attempt if attempt is not None else Attempt()
        now = loop.time()
        total_deadline = inf if total_timeout_s is None else now + total_timeout_s
        connection = self._take(origin, now)
        while True:
            reused = connection is not None
            if connection is None:
                connection = await self._connect(origin, min(connect_timeout_s, total_deadline - loop.time()), attempt)
            call = connection.begin(method, attempt, read_timeout_s, total_deadline)
            try:
                if isinstance(body, bytes):
                    call.send(head, body)
                else:
                    call.stream(head, body, chunked)
                await call.ready
            except BaseException:
                call.cut()
                raise
            error = call.error
            if error is None and call.head is not None and call.body is not None:
                return UpstreamAnswer(call, call.head, call.body)
            again = (
                reused
                and isinstance(error, UpstreamBroken)
                and not attempt.responded
                and isinstance(body, bytes)
                and method in _IDEMPOTENT
            )
            if not again:
                raise error or UpstreamBroken("no answer", attempt.sent)
            connection = None

    async def _connect(self, origin: Origin, timeout_s: float, attempt: Attempt) -> _Connection:
        tls = None
        if origin.scheme == "https":
            if self._tls is None:
                self._tls = tls_context()
            tls = self._tls
        try:
            _, connection = await dial(
                lambda: _Connection(self, origin),
                origin.host,
                origin.port,
                timeout_s=timeout_s,
                tls=tls,
                allow_private=origin.allow_private,
            )
        except UpstreamError as error:
            error.sent = attempt.sent  # a first try on a kept-alive connection may have been
            raise
        return connection

    def _take(self, origin: Origin, now: float) -> _Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_fresh(now):
                return connection
            connection.kill()
        return None

    def keep(self, connection: _Connection, keep_alive_s: int | None) -> None:
        idle = self._idle.setdefault(connection.origin, [])
        kept_s = self._idle_timeout_s if keep_alive_s is None else min(self._idle_timeout_s, keep_alive_s - 1)
        if self._closed or kept_s <= 0 or len(idle) >= self._max_idle:
            connection.kill()
            return
        connection.idle_until = connection.loop.time() + kept_s
        idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(max(0.05, self._idle_timeout_s / 4), self._close_expired)

    def drop(self, connection: _Connection) -> None:
        """Take a dead connection out of the idle ones, if it is there."""
        idle = self._idle.get(connection.origin)
        if idle and connection in idle:
            idle.remove(connection)

    @property
    def idle(self) -> int:
        """Connections that wait for their next exchange."""
        return sum(len(connections) for connections in self._idle.values())

    async def close(self) -> None:
        """Close what is idle, and from now on every connection after its exchange."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in [connection for idle in self._idle.values() for connection in idle]:
            connection.kill()
        self._idle.clear()

    def _close_expired(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for connection in [connection for idle in self._idle.values() for connection in idle]:
            if now >= connection.idle_until:
                connection.kill()
        for origin in [origin for origin, idle in self._idle.items() if not idle]:
            del self._idle[origin]
        if self._idle:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(max(0.05, self._idle_timeout_s / 4), self._close_expired)
