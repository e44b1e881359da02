"""The listening side: accepts connections, reads one request at a time, hands it to the page, writes its answer.

Decides when a request is whole enough to be shown, when a client is too slow, too big or too odd (and answers it
without showing it to anybody), when a connection lives on, and when a client is gone. It must not know rules, prices
or upstreams: a handler gets an `Exchange` and answers through it.

When a client is gone. A reset, or a write that fails, ends the exchange at once: the handler's task is cancelled. An
end-of-file is ambiguous, because a client may legally close only its sending half and wait for the answer. So:

- after the answer has begun, end-of-file means the client left: cancelled at once;
- before it, the exchange goes on, an HTTP/1.1 client is sent one interim `100 Continue` (which every client must skip,
  RFC 9110 §15.2), and if the peer's kernel answers that with a reset, nobody is there: cancelled at once;
- in the middle of a request body it is a broken request; of a CONNECT it is left to the tunnel.

Mutable state: `Listener` holds the open connections, each `_Connection` its one exchange. One event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Any

import structlog

from proxy.core.authority import Authority
from proxy.core.http1 import (
    ChunkedDecoder,
    Field,
    Malformed,
    RequestHead,
    check_partial,
    chunk,
    last_chunk,
    parse_request,
)
from proxy.data.body import Body

log = structlog.get_logger()

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, phrase) for status, phrase in _REASONS.items()}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TCP_CLOSE = 7  # Linux: state of a socket whose peer answered with a reset
_SPLIT_WRITE = 16 * 1024  # above this, chunk framing is written beside the data instead of copying it


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask of a connection. Sizes in bytes, times in seconds."""

    max_target: int = 16 * 1024  # request line; beyond: 414
    max_head: int = 64 * 1024  # request line and headers; beyond: 431
    max_headers: int = 128  # beyond: 431
    head_timeout_s: float = 10.0  # from the first byte (or the connection's start) to the end of the head: 408
    idle_timeout_s: float = 75.0  # between two requests
    body_timeout_s: float = 60.0  # longest silence while somebody waits for the request body: 408
    write_timeout_s: float = 300.0  # longest time that a client may take nothing of an answer
    linger_s: float = 2.0  # how long an unwanted request body is still swallowed after the answer
    max_discard: int = 256 * 1024  # how much of it, before the connection is closed instead
    max_pipelined: int = 64 * 1024  # bytes of following requests kept while one is in flight
    max_connections: int = 10_000  # beyond: 503


@dataclass(frozen=True, slots=True)
class BadRequest:
    """What is known of a request that is refused before anybody saw it; method and target None where unreadable."""

    peer: str
    method: str | None = None
    target: str | None = None
    headers: tuple[Field, ...] = ()


Handler = Callable[["Exchange"], Awaitable[None]]
OnBadRequest = Callable[[BadRequest, int, str], tuple[list[Field], bytes]]
"""(request, status, code) -> headers and body of the refusal. `code` names a sentence: "wire.<code>"."""


def plain_refusal(request: BadRequest, status: int, code: str) -> tuple[list[Field], bytes]:
    """The refusal when the application gives none of its own."""
    return [(b"Content-Type", b"text/plain; charset=utf-8")], b"%d %b\n" % (status, code.encode())


class Exchange:
    """One request and the way to answer it. Answer exactly once: respond(), or start() write()* finish().

    method, target: as sent. version: (1, 0) or (1, 1). headers: as sent, original case and order.
    host: the Host header, understood; None where HTTP/1.0 sent none. peer: "address:port".
    body: the request body; `Expect: 100-continue` is answered when it is first read. id: free for the handler's use.
    """

    __slots__ = (
        "_close_delimited",
        "_connection",
        "_left",
        "body",
        "expects_continue",
        "finished",
        "headers",
        "host",
        "id",
        "keep_alive",
        "method",
        "minor",
        "started",
        "status",
        "target",
    )

    def __init__(self, connection: _Connection, head: RequestHead, body: Body) -> None:
        self._connection = connection
        self.method = head.method
        self.target = head.target
        self.minor = head.minor
        self.headers = head.headers
        self.host: Authority | None = head.host
        self.body = body
        self.expects_continue = head.expects_continue
        self.keep_alive = head.keep_alive
        self.started = False  # a final status line has been written
        self.finished = False
        self.status: int | None = None
        self.id = ""
        self._left: int | None = None  # bytes still owed under Content-Length; None: chunked or close-delimited
        self._close_delimited = False

    @property
    def version(self) -> tuple[int, int]:
        return (1, self.minor)

    @property
    def peer(self) -> str:
        return self._connection.peer

    @property
    def client_gone(self) -> bool:
        """Whether nobody is there to read the answer. Writing is then harmless and useless."""
        return self._connection.gone

    @property
    def half_closed(self) -> bool:
        """Whether the client has ended its sending half (it may still wait for the answer)."""
        return self._connection.half_closed

    async def respond(self, status: int, headers: list[Field], body: bytes = b"", reason: bytes | None = None) -> None:
        """Answer whole, in one write. `headers` without Content-Length, Transfer-Encoding and Connection.

        HEAD gets the length and no body; 204 and 304 get neither.
        """
        bodiless = status in (204, 304)
        head = self._head(status, reason, headers, None if bodiless else len(body))
        self.finished = True
        connection = self._connection
        connection.write(head if bodiless or self.method == "HEAD" else head + body)
        if connection.write_paused:
            with contextlib.suppress(ConnectionResetError):
                await connection.drain()

    async def start(
        self, status: int, headers: list[Field], length: int | None = None, reason: bytes | None = None
    ) -> None:
        """Begin an answer whose body follows through write(). `headers` as for respond().

        length: the body's size; None means unknown: chunked (to HTTP/1.0: ended by closing). For HEAD, 204 and 304 no
        body follows, and `length` is only told (HEAD, 304: the API's Content-Length or None).
        """
        bodiless = status in (204, 304) or self.method == "HEAD"
        if bodiless:
            self._left = 0
            lines = self._head(status, reason, headers, None if status == 204 else length)
        elif length is not None:
            self._left = length
            lines = self._head(status, reason, headers, length)
        elif self.minor == 1:
            lines = self._head(status, reason, [*headers, (b"Transfer-Encoding", b"chunked")], None)
        else:
            self._close_delimited, self.keep_alive = True, False
            lines = self._head(status, reason, headers, None)
        self._connection.write(lines)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body, waiting while the client is slow. Raises ConnectionResetError when it is gone,
        ValueError for more than the announced length."""
        if not data:
            return
        connection = self._connection
        if self._left is not None:
            if len(data) > self._left:
                raise ValueError("answer is longer than its announced length")
            self._left -= len(data)
            connection.write(data)
        elif self._close_delimited:
            connection.write(data)
        elif len(data) > _SPLIT_WRITE:
            connection.writelines([b"%x\r\n" % len(data), data, b"\r\n"])
        else:
            connection.write(chunk(data))
        if connection.write_paused:
            await connection.drain()

    async def finish(self, trailers: list[Field] | None = None) -> None:
        """End the body cleanly. Trailers go out only where the body is chunked. A body short of its announced length is
        cut instead (see abort)."""
        if self.finished:
            return
        if self._left:
            self.abort()
            return
        self.finished = True
        if self._left is None and not self._close_delimited:
            self._connection.write(last_chunk(trailers))

    def abort(self) -> None:
        """Cut the connection so that the client sees an incomplete answer, never one that looks whole."""
        self.finished = True
        self.keep_alive = False
        self._connection.cut(reset=self._close_delimited or not self.started)

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """Give the raw connection away (CONNECT): (transport with reading paused, bytes that came after the head).

        The server forgets the connection; whoever takes it sets a protocol, resumes reading, writes the status line and
        closes it. Raises ConnectionResetError when the client is gone.
        """
        self.started = self.finished = True
        self.keep_alive = False
        return self._connection.hand_over()

    def _head(self, status: int, reason: bytes | None, headers: list[Field], length: int | None) -> bytes:
        if self.started:
            raise RuntimeError("an exchange is answered once")
        self.started = True
        self.status = status
        if reason is None:
            line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        else:
            line = b"HTTP/1.1 %d %b\r\n" % (status, reason)
        parts = [line]
        parts += [b"%b: %b\r\n" % field for field in headers]
        if length is not None:
            parts.append(b"Content-Length: %d\r\n" % length)
        if not self._connection.may_continue(self):
            self.keep_alive = False
            parts.append(b"Connection: close\r\n")
        elif self.minor == 0:
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)


class _Connection(asyncio.Protocol):
    """One accepted connection. Reads a request, runs its handler as a task, then reads the next."""

    __slots__ = (
        "_body",
        "_buffer",
        "_checked",
        "_decoder",
        "_drain_waiter",
        "_eof",
        "_exchange",
        "_expected",
        "_first_line",
        "_handed_over",
        "_lingering",
        "_listener",
        "_loop",
        "_paused_for",
        "_probe",
        "_scanned",
        "_task",
        "_transport",
        "_write_paused_at",
        "deadline",
        "peer",
        "write_paused",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = listener.loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()  # an unfinished head, or pipelined requests
        self._scanned = 0  # how much of an unfinished head was searched for its end
        self._checked = 0  # how much of it was judged line by line
        self._first_line = True
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._body: Body | None = None  # while its bytes are still to come
        self._decoder: ChunkedDecoder | None = None
        self._expected = 0  # bytes of a Content-Length body still to come
        self._lingering = 0  # bytes that may still be swallowed before a close; 0: not lingering
        self._paused_for = 0  # bit 1: body buffer full, bit 2: too much pipelined
        self._eof = False
        self._handed_over = False
        self._probe: asyncio.TimerHandle | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._write_paused_at = inf
        self.write_paused = False
        self.deadline = inf
        self.peer = ""

    # transport events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        listener = self._listener
        if len(listener.connections) >= listener.limits.max_connections:
            self._refuse(Malformed("too_many_connections", 503), None)
            self._close()
            return
        listener.connections.add(self)
        self.deadline = self._loop.time() + listener.limits.head_timeout_s

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._lingering -= len(data)
            if self._lingering <= 0:
                self._close()
            return
        if self._body is not None:
            data = self._feed_body(self._body, data)
            if not data:
                return
        if self._exchange is not None:
            self._buffer += data
            if len(self._buffer) > self._listener.limits.max_pipelined:
                self._pause(2)
            return
        self._feed_head(data)

    def eof_received(self) -> bool:
        self._eof = True
        exchange = self._exchange
        if self._lingering:
            return False
        if self._body is not None:
            if exchange is None:
                return False
            self._fail_body(self._body, Malformed("body_cut_short"))
            return True
        if exchange is None:
            if self._buffer:
                self._refuse(Malformed("head_cut_short"), None)
                return True
            return False
        if exchange.started and not exchange.finished and not self._buffer:
            self._client_left()
            return False
        if not exchange.started and exchange.minor == 1 and exchange.method != "CONNECT":
            self.write(_CONTINUE)
            self._probe = self._loop.call_later(0.01, self._is_anybody_there, 0.01)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._listener.connections.discard(self)
        self.deadline = inf
        if self._probe is not None:
            self._probe.cancel()
        if self._task is not None and self._exchange is not None and not self._exchange.finished:
            self._task.cancel()  # a handler that has answered may finish its book-keeping
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionResetError("client gone"))
        self._listener.connection_closed()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._write_paused_at = self._loop.time()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._write_paused_at = inf
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # reading

    def _feed_head(self, data: bytes) -> None:
        buffer = self._buffer
        limits = self._listener.limits
        if buffer:
            buffer += data
            end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0 or buffer[0] in b"\r\n":
                self._wait_for_head()
                return
            data = bytes(buffer)
            buffer.clear()
        else:
            end = data.find(b"\r\n\r\n")
            if end < 0 or data[0] in b"\r\n":
                buffer += data
                self.deadline = self._loop.time() + limits.head_timeout_s
                self._wait_for_head()
                return
        self._scanned = self._checked = 0
        self._first_line = True
        if end > limits.max_head:
            self._refuse(Malformed("head_too_large", 431), None)
            return
        try:
            head = parse_request(data[: end + 2], limits.max_headers)
        except Malformed as problem:
            self._refuse(problem, None)
            return
        if len(head.target) > limits.max_target:
            self._refuse(Malformed("target_too_long", 414), head)
            return
        self._begin(head, data[end + 4 :])

    def _wait_for_head(self) -> None:
        """Keep an unfinished head, unless it is hopeless. Empty lines before it are skipped (RFC 9112 §2.2)."""
        buffer = self._buffer
        limits = self._listener.limits
        if buffer[0] in b"\r\n" and self._first_line:
            skipped = 0
            while buffer.startswith(b"\r\n") and skipped < 8:
                del buffer[:2]
                skipped += 1
            if buffer.startswith((b"\r\n", b"\n")) or (buffer.startswith(b"\r") and len(buffer) > 1):
                self._refuse(Malformed("bad_request_line"), None)
                return
            if buffer and buffer[0] != 0x0D:
                data = bytes(buffer)
                buffer.clear()
                self._scanned = 0
                self._feed_head(data)
            return
        self._scanned = len(buffer)
        if len(buffer) > limits.max_head:
            self._refuse(Malformed("head_too_large", 431), None)
            return
        if self._first_line and (buffer[0] < 0x21 or buffer[0] > 0x7E):
            self._refuse(Malformed("bad_request_line"), None)  # a TLS hello, for one, never has a line end
            return
        while (end := buffer.find(b"\n", self._checked)) >= 0:
            line = bytes(buffer[self._checked : end])
            problem = (
                check_partial(line[:-1], self._first_line) if line.endswith(b"\r") else Malformed("bare_line_break")
            )
            if problem is not None:
                self._refuse(problem, None)
                return
            self._checked = end + 1
            self._first_line = False
        if self._first_line and len(buffer) > limits.max_target + 64:
            self._refuse(Malformed("target_too_long", 414), None)

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        self.deadline = inf
        wanted = self._continue if head.expects_continue else None
        body = Body(self._loop, head.length, self._pause_for_body, self._resume_for_body, wanted)
        exchange = self._exchange = Exchange(self, head, body)
        if head.length == 0:
            body.complete = True
        else:
            self._body = body
            if head.length is None:
                self._decoder = ChunkedDecoder()
            else:
                self._decoder = None
                self._expected = head.length
            if rest:
                try:
                    rest = self._feed_body(body, rest, first=True)
                except Malformed as problem:
                    self._refuse(problem, head)
                    return
        if rest:
            self._buffer += rest
        self._task = self._loop.create_task(self._run(exchange))

    def _feed_body(self, body: Body, data: bytes, first: bool = False) -> bytes:
        """Take body bytes; gives back what belongs to the next request. Raises Malformed only when `first`."""
        decoder = self._decoder
        if decoder is None:
            rest = b""
            if len(data) > self._expected:
                data, rest = data[: self._expected], data[self._expected :]
            self._expected -= len(data)
            done = not self._expected
        else:
            try:
                data, rest = decoder.feed(data)
            except Malformed as problem:
                if first:
                    raise
                self._fail_body(body, problem)
                return b""
            done = decoder.done
        if data:
            if self._exchange is None:  # the answer is out; only the connection's future depends on it
                body.received += len(data)
                if body.received > self._listener.limits.max_discard:
                    self._close()
                    return b""
            else:
                body.feed(data)
        if done:
            self._body = self._decoder = None
            body.end(decoder.trailers if decoder is not None else None)
            if self._exchange is None:
                self._next(rest)
                return b""
        elif self.deadline != inf and self._exchange is not None:
            self.deadline = self._loop.time() + self._listener.limits.body_timeout_s
        return rest

    def _fail_body(self, body: Body, problem: Malformed) -> None:
        """A body that broke: whoever reads it is told, and nothing that follows on this connection is believed."""
        self._body = self._decoder = None
        exchange = self._exchange
        if exchange is None:
            self._close()
            return
        exchange.keep_alive = False
        body.fail(problem)
        self._buffer.clear()
        self._lingering = 0
        self._pause(2)

    def _continue(self) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.started and not exchange.body.received and self._body is not None:
            self.write(_CONTINUE)

    def _pause_for_body(self) -> None:
        self._pause(1)

    def _resume_for_body(self) -> None:
        self._resume(1)

    def _pause(self, why: int) -> None:
        if not self._paused_for and self._transport is not None and not self._eof:
            self._transport.pause_reading()
        self._paused_for |= why

    def _resume(self, why: int) -> None:
        if not self._paused_for & why:
            return
        self._paused_for &= ~why
        if not self._paused_for and self._transport is not None and not self._eof and not self._transport.is_closing():
            self._transport.resume_reading()

    # running a handler

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._listener.handler(exchange)
            if not exchange.finished:
                log.error("exchange.unanswered", method=exchange.method, started=exchange.started)
                self._give_up(exchange, Malformed("internal_error", 500))
        except asyncio.CancelledError:
            exchange.keep_alive = False
            exchange.finished = True
            self.cut(reset=True)
        except Malformed as problem:
            self._give_up(exchange, problem)
        except ConnectionResetError:
            self.cut(reset=True)
        except Exception:
            log.exception("exchange.failed", method=exchange.method)
            self._give_up(exchange, Malformed("internal_error", 500))
        finally:
            self._task = None
            self._exchange = None
            if self._probe is not None:
                self._probe.cancel()
                self._probe = None
            if self._handed_over:
                self._listener.connections.discard(self)
                self._listener.connection_closed()
        self._after(exchange)

    def _give_up(self, exchange: Exchange, problem: Malformed) -> None:
        if exchange.finished:
            self.cut(reset=True)
        elif exchange.started:
            exchange.abort()
        else:
            exchange.keep_alive = False
            headers, body = self._listener.on_bad_request(
                BadRequest(exchange.peer, exchange.method, exchange.target, tuple(exchange.headers)),
                problem.status,
                problem.code,
            )
            self.write(_refusal(problem.status, headers, body, exchange.method == "HEAD"))
            exchange.started = exchange.finished = True

    def _after(self, exchange: Exchange) -> None:
        """The answer is out: read the next request, swallow the rest of this one, or close."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not exchange.keep_alive:
            self._linger()
            return
        if self._body is not None:
            exchange.body.discard()
            self._resume(1)
            exchange.body.received = 0
            self.deadline = self._loop.time() + self._listener.limits.linger_s
            return
        self._next(b"")

    def _next(self, rest: bytes) -> None:
        """Turn to the next request: one that is already here, or one to wait for."""
        buffered = bytes(self._buffer) + rest
        self._buffer.clear()
        self._resume(2)
        limits = self._listener.limits
        if self._listener.draining or (self._eof and not buffered):
            self._close()
            return
        self.deadline = self._loop.time() + limits.idle_timeout_s
        if buffered:
            self._feed_head(buffered)
            if self._eof and self._exchange is None and self._transport is not None and not self._lingering:
                self._refuse(Malformed("head_cut_short"), None)

    def may_continue(self, exchange: Exchange) -> bool:
        """Whether the connection can serve another request after this one, as far as can be known now."""
        if not exchange.keep_alive or self._listener.draining:
            return False
        if self._body is None:
            return True
        # The rest of the body would have to be swallowed: only when that is a known, small amount.
        return (
            self._decoder is None
            and not exchange.expects_continue
            and (self._expected <= self._listener.limits.max_discard)
        )

    # ending

    def _refuse(self, problem: Malformed, head: RequestHead | None) -> None:
        """Answer a request that nobody will see, and close."""
        self._body = self._decoder = self._exchange = None
        known = BadRequest(self.peer)
        if head is not None:
            known = BadRequest(self.peer, head.method, head.target, tuple(head.headers))
        headers, body = self._listener.on_bad_request(known, problem.status, problem.code)
        self.write(_refusal(problem.status, headers, body, head is not None and head.method == "HEAD"))
        self._linger()

    def _linger(self) -> None:
        """Close, but first swallow what the client is still sending: a reset would destroy the answer on its way."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._buffer.clear()
        self._body = self._decoder = None
        if self._eof:
            self._close()
            return
        self._lingering = max(1, self._listener.limits.max_discard)
        self.deadline = self._loop.time() + self._listener.limits.linger_s
        if transport.can_write_eof():
            transport.write_eof()
            self._paused_for = 0
            with contextlib.suppress(RuntimeError):
                transport.resume_reading()
        else:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def cut(self, reset: bool) -> None:
        """End the connection now; with `reset` even what is still buffered is dropped."""
        if self._transport is not None:
            if reset:
                self._transport.abort()
            else:
                self._transport.close()

    def _client_left(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.cut(reset=True)

    def _is_anybody_there(self, waited_s: float) -> None:
        """After an early end-of-file: look whether the peer answered our interim response with a reset."""
        self._probe = None
        transport = self._transport
        if transport is None or self._exchange is None:
            return
        if _was_reset(transport):
            self._client_left()
            return
        self._probe = self._loop.call_later(waited_s, self._is_anybody_there, min(2 * waited_s, 1.0))

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("client gone")
        if not self._paused_for and not self._eof:
            transport.pause_reading()
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._transport = None
        self._handed_over = True
        self.deadline = inf
        return transport, rest

    # writing

    @property
    def half_closed(self) -> bool:
        return self._eof

    @property
    def gone(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def writelines(self, pieces: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(pieces)

    async def drain(self) -> None:
        if self.gone:
            raise ConnectionResetError("client gone")
        if self._drain_waiter is None:
            self._drain_waiter = self._loop.create_future()
        await self._drain_waiter

    # time

    def check_time(self, now: float) -> None:
        """Called a few times a second by the listener."""
        limits = self._listener.limits
        if now - self._write_paused_at > limits.write_timeout_s:
            self._client_left()
            return
        body = self._body
        if self._exchange is not None:
            if body is None or not body.waited_for:
                self.deadline = inf
            elif self.deadline == inf:
                self.deadline = now + limits.body_timeout_s
            elif now > self.deadline:
                self.deadline = inf
                self._fail_body(body, Malformed("body_timeout", 408))
            return
        if now <= self.deadline:
            return
        self.deadline = inf
        if self._buffer and not self._lingering:
            self._refuse(Malformed("head_timeout", 408), None)
        else:
            self._close()

    def drain_or_cancel(self, cancel: bool) -> None:
        """Shutdown: idle connections close at once; with `cancel` so do those in use."""
        if self._task is None:
            if not self._lingering:
                self._close()
        elif cancel:
            self._task.cancel()

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._task


def _refusal(status: int, headers: list[Field], body: bytes, bodiless: bool) -> bytes:
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    lines += [b"%b: %b\r\n" % field for field in headers]
    lines.append(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
    if not bodiless:
        lines.append(body)
    return b"".join(lines)


def _was_reset(transport: asyncio.Transport) -> bool:
    connected = transport.get_extra_info("socket")
    if connected is None or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        info: bytes = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return True
    return info[0] == _TCP_CLOSE


class Listener:
    """Serves HTTP/1.1 on one or more sockets with one handler.

    handler: called once a request; its task is cancelled when the client goes away. on_bad_request: writes the refusal
    of a request that no handler saw (its answer always closes the connection).
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits | None = None,
        *,
        on_bad_request: OnBadRequest = plain_refusal,
    ) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.on_bad_request = on_bad_request
        self.connections: set[_Connection] = set()
        self.draining = False
        self.loop: asyncio.AbstractEventLoop
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        reuse_port: bool = False,
        backlog: int = 2048,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on host:port (0: any free port), or on a bound socket. May be called again for further addresses.
        Raises OSError where the address cannot be had."""
        self.loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"backlog": backlog, "ssl": tls}
        if sock is not None:
            server = await self.loop.create_server(lambda: _Connection(self), sock=sock, **options)
        else:
            server = await self.loop.create_server(
                lambda: _Connection(self), host, port, reuse_port=reuse_port or None, **options
            )
        self._servers.append(server)
        if self._sweep is None:
            self._check_times()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every listening socket."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    @property
    def in_flight(self) -> int:
        """Requests being handled now."""
        return sum(connection.task is not None for connection in self.connections)

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting, close idle connections, let requests in flight finish, then cancel what is left.

        Returns when every handler has returned, at most about a second after `timeout_s` unless a handler refuses to
        end when cancelled.
        """
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain_or_cancel(cancel=False)
        await self._wait_empty(timeout_s)
        for connection in list(self.connections):
            connection.drain_or_cancel(cancel=True)
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._wait_empty(1.0)
        for connection in list(self.connections):
            connection.cut(reset=True)
        await self._wait_empty(1.0)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def connection_closed(self) -> None:
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    async def _wait_empty(self, timeout_s: float) -> None:
        if not self.connections:
            return
        self._empty = self.loop.create_future()
        await asyncio.wait([self._empty], timeout=timeout_s)
        self._empty = None

    def _check_times(self) -> None:
        """One look at every connection's clock, instead of a timer a request."""
        now = self.loop.time()
        for connection in list(self.connections):
            connection.check_time(now)
        limits = self.limits
        shortest = min(limits.head_timeout_s, limits.idle_timeout_s, limits.body_timeout_s, limits.linger_s)
        self._sweep = self.loop.call_later(max(0.02, min(1.0, shortest / 4)), self._check_times)
