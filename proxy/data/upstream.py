"""The API's side of the wire: a pool of kept-alive connections, and one exchange over one of them.

Decides which connection carries a request, when an API counts as unreachable, silent or broken, and when a request may
be sent again. Must not know rules, prices or clients: bytes of a request head and a body go in, an answer comes out.

A request is sent a second time, at most once and only on a fresh connection, when all of this holds: the connection was
a kept-alive one, nothing of an answer had arrived, its failure was the connection's end (not a time-out), the body can
be sent again (bytes, not a stream), and the method is idempotent (RFC 9110 §9.2.2). Before a kept-alive connection is
used it is looked at (one poll): an API that has closed it meanwhile costs nothing but a new connection. A POST whose
kept-alive connection ends after it was written is not repeated: it may have been billed.

Mutable state: `Pool` holds the idle connections by origin, each `_Connection` its one `Call`. One event loop.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncIterator
from math import inf
from typing import NamedTuple

from proxy.core.http1 import Field, ResponseHead
from proxy.core.model import Trust
from proxy.data.body import Body
from proxy.data.call import GATHER_LIMIT, Attempt, Call, UpstreamBroken
from proxy.data.deadlines import Deadlines
from proxy.data.dial import UpstreamError, UpstreamTimeout, UpstreamUnreachable, dial, pin_of, tls_context

__all__ = [
    "GATHER_LIMIT",
    "Attempt",
    "Origin",
    "Pool",
    "UpstreamAnswer",
    "UpstreamBroken",
    "UpstreamError",
    "UpstreamTimeout",
    "UpstreamUnreachable",
]

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))


class Origin(NamedTuple):
    """Where connections go. allow_private: connect even if the host is not on the public internet. trust: whom its
    certificate must come from; None: the system's store decides."""

    scheme: str  # "http" | "https"
    host: str
    port: int
    allow_private: bool = True
    trust: Trust | None = None


class UpstreamAnswer:
    """An API's answer. Its head is here; its body is `whole`, or arrives through next() or read().

    headers: as sent, original case and order. length: Content-Length, None if not given.
    whole: the complete body, when it was here early enough (there is nothing to stream then), else None.
    Always close() it in the end; a body not read to its end closes the API's connection.
    """

    __slots__ = ("_body", "_call", "headers", "length", "reason", "status", "version", "whole")

    def __init__(self, call: Call, head: ResponseHead, body: Body) -> None:
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

        Raises UpstreamBroken or UpstreamTimeout where the API cuts it, and what the request body's source raised. Whose
        waiting was cancelled may wait again.
        """
        return await self._body.next()

    async def read(self, limit: int) -> bytes | None:
        """The whole body, or None when it is larger than `limit` bytes (then stream it: nothing is lost)."""
        try:
            return await self._body.read(limit)
        except BaseException:
            self.close()
            raise

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """The raw connection of a 101 (reading paused), and the bytes that came behind its head."""
        return self._call.take_over()

    def close(self) -> None:
        """Give the exchange up; at once, unless it was complete. May be called twice."""
        if not self._body.complete:
            self._call.cut()


class _Connection(asyncio.Protocol):
    """One connection to an API; carries one call at a time."""

    __slots__ = (
        "_drain_waiter",
        "_poller",
        "call",
        "deadlines",
        "gather_s",
        "idle_until",
        "loop",
        "origin",
        "pool",
        "transport",
        "write_paused",
    )

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.pool = pool
        self.gather_s = pool.gather_s
        self.deadlines = pool.deadlines
        self.loop = pool.loop
        self.origin = origin
        self.transport: asyncio.Transport  # set before anybody gets the connection
        self.write_paused = False
        self.idle_until = 0.0
        self.call: Call | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._poller: select.poll | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.call is not None:
            self.call.receive(data)
        else:
            self.kill()  # bytes that nobody asked for: whatever they are, the connection is not to be trusted

    def eof_received(self) -> bool:
        if self.call is not None:
            self.call.connection_ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        call = self.call
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
        if self.call is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def release(self, reusable: bool, keep_alive_s: int | None) -> None:
        """The call's answer is whole."""
        call, self.call = self.call, None
        transport = self.transport
        if transport.is_closing():
            return
        if not reusable:
            transport.close()
            return
        if call is not None and call.body is not None and call.body.paused:
            transport.resume_reading()  # its reader has yet to empty the buffer; the next call starts unpaused
        self.pool.keep(self, keep_alive_s)

    def forget(self) -> None:
        self.call = None
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
        self._contexts: dict[str | None, ssl.SSLContext] = {} if tls is None else {None: tls}  # by the CAs' PEM text
        self._idle_timeout_s = idle_timeout_s
        self._max_idle = max_idle
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
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
        upgrade: bool = False,
    ) -> UpstreamAnswer:
        """Send one request, give back its answer as soon as its head is here.

        head: the whole request head, with the framing that fits the body (Content-Length, or with `chunked`
        Transfer-Encoding: chunked; a bytes body is never chunked). body: bytes, or a stream, which is sent while the
        answer may already arrive; what the stream raises is raised here, or by the answer's body.
        read_timeout_s: longest silence of the API. total_timeout_s: from now to the answer's last byte.

        Interim answers (1xx) are skipped. upgrade: the request wants to become a WebSocket; an answer of status 101 is
        then to be taken over. Cancelling the waiting task closes the connection at once.
        Raises UpstreamUnreachable, UpstreamTimeout, UpstreamBroken; each says whether anything was `sent`.
        """
        loop = self.loop
        attempt = attempt if attempt is not None else Attempt()
        now = loop.time()
        total_deadline = inf if total_timeout_s is None else now + total_timeout_s
        connection = self._take(origin, now)
        while True:
            reused = connection is not None
            if connection is None:
                connection = await self._connect(origin, min(connect_timeout_s, total_deadline - loop.time()), attempt)
                now = loop.time()
            call = connection.call = Call(connection, method, attempt, read_timeout_s, total_deadline, now)
            call.upgrade = upgrade
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
            ca = origin.trust.ca if origin.trust is not None else None
            tls = self._contexts.get(ca)
            if tls is None:
                tls = self._contexts[ca] = tls_context(ca)
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
        if origin.trust is not None and origin.trust.pins:
            found = pin_of(connection.transport)
            if found not in origin.trust.pins:
                connection.kill()
                raise UpstreamUnreachable(f"certificate: its key is {found}, which is not pinned", attempt.sent)
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
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle[connection.origin] = []
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
        now = self.loop.time()
        for connection in [connection for idle in self._idle.values() for connection in idle]:
            if now >= connection.idle_until:
                connection.kill()
        for origin in [origin for origin, idle in self._idle.items() if not idle]:
            del self._idle[origin]
        if self._idle:
            self._sweep = self.loop.call_later(max(0.05, self._idle_timeout_s / 4), self._close_expired)
