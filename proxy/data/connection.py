"""One accepted connection: reads one request at a time, runs its handler, answers, reads the next.

Decides when a request is whole enough to be shown, when a client is too slow, too big or too odd (and answers it
without showing it to anybody), when a connection lives on, and when a client is gone. Must not know rules or upstreams.

When a client is gone. A reset, or a write that fails, ends the exchange at once: the handler's task is cancelled. An
end-of-file is ambiguous, because a client may legally close only its sending half and wait for the answer. So:

- after the answer has begun, end-of-file means the client left: cancelled at once;
- before it, the exchange goes on, an HTTP/1.1 client is sent one interim `100 Continue` (which every client must skip,
  RFC 9110 §15.2), and if the peer's kernel answers that with a reset, nobody is there: cancelled at once;
- in the middle of a request body it is a broken request; of a CONNECT it is left to the tunnel.

Mutable state: each `Connection` its one exchange. One event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from math import inf
from typing import Protocol

import structlog

from proxy.core.headbuffer import HeadBuffer
from proxy.core.heads import HeadReader
from proxy.core.http1 import ChunkedDecoder, Malformed, RequestHead
from proxy.data.body import Body, WholeBody
from proxy.data.exchange import BadRequest, Exchange, Handler, OnBadRequest, refusal

log = structlog.get_logger()

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TCP_CLOSE = 7  # Linux: state of a socket whose peer answered with a reset


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


class Host(Protocol):
    """What a connection needs of whoever listens."""

    loop: asyncio.AbstractEventLoop
    handler: Handler
    limits: Limits
    on_bad_request: OnBadRequest
    connections: set[Connection]
    draining: bool

    def connection_opened(self, connection: Connection) -> None: ...

    def connection_closed(self) -> None: ...


class Connection(asyncio.Protocol):
    """One accepted connection. Reads a request, runs its handler as a task, then reads the next."""

    __slots__ = (
        "_body",
        "_decoder",
        "_drain_waiter",
        "_eof",
        "_exchange",
        "_expected",
        "_handed_over",
        "_head",
        "_heads",
        "_lingering",
        "_listener",
        "_loop",
        "_paused_for",
        "_pending",
        "_probe",
        "_task",
        "_transport",
        "_waiter",
        "_write_paused_at",
        "deadline",
        "peer",
        "write_paused",
    )

    def __init__(self, listener: Host) -> None:
        self._listener = listener
        self._loop = listener.loop
        self._transport: asyncio.Transport | None = None
        limits = listener.limits
        self._head = HeadBuffer(limits.max_head, limits.max_target)
        self._heads = HeadReader(limits.max_headers)
        self._pending = bytearray()  # pipelined requests: bytes after the one that is being handled
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None  # of the task, between two requests
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
        listener.connection_opened(self)
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
            self._pending += data
            if len(self._pending) > self._listener.limits.max_pipelined:
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
            if self._head.begun:
                self._refuse(Malformed("head_cut_short"), None)
                return True
            return False
        if exchange.started and not exchange.finished and not self._pending:
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
        self._wake()

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
        buffer = self._head
        begun = buffer.begun
        try:
            whole = buffer.feed(data)
            if whole is None:
                if not begun and buffer.begun:
                    self.deadline = self._loop.time() + self._listener.limits.head_timeout_s
                return
            head = self._heads.read(whole[0])
        except Malformed as problem:
            self._refuse(problem, None)
            return
        if len(head.target) > self._listener.limits.max_target:
            self._refuse(Malformed("target_too_long", 414), head)
            return
        self._begin(head, whole[1])

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        self.deadline = inf
        length = head.length
        if length is not None and length <= len(rest):
            self._exchange = Exchange(self, head, WholeBody(rest[:length]))
            rest = rest[length:]
        else:
            wanted = self._continue if head.expects_continue else None
            body = self._body = Body(self._loop, length, self._pause_for_body, self._resume_for_body, wanted)
            self._exchange = Exchange(self, head, body)
            if length is None:
                self._decoder = ChunkedDecoder()
            else:
                self._decoder = None
                self._expected = length
            if rest:
                try:
                    rest = self._feed_body(body, rest, first=True)
                except Malformed as problem:
                    self._refuse(problem, head)
                    return
        if rest:
            self._pending += rest
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        else:
            self._wake()

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
        self._pending.clear()
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

    async def _serve(self) -> None:
        """Run the handler for one request after the other: making a task for each would cost more than waiting here."""
        try:
            while True:
                exchange = self._exchange
                if exchange is not None:
                    try:
                        await self._listener.handler(exchange)
                        if not exchange.finished:
                            log.error("exchange.unanswered", method=exchange.method, started=exchange.started)
                            self._give_up(exchange, Malformed("internal_error", 500))
                    except BaseException as problem:
                        if not self._survives(exchange, problem):
                            raise
                    self._after(exchange)
                    if self._exchange is not None:
                        await asyncio.sleep(0)  # the next one was here already: others have their turn first
                elif self._transport is not None:
                    self._waiter = asyncio.Future(loop=self._loop)
                    await self._waiter
                else:
                    break
        except asyncio.CancelledError:  # before the handler began
            self._exchange = None
            self.cut(reset=True)
        finally:
            self._task = None
            if self._exchange is not None:
                self._leave()

    def _wake(self) -> None:
        """Let the task look: there is a request, or no connection any more."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _survives(self, exchange: Exchange, problem: BaseException) -> bool:
        """What becomes of the client of a handler that ended so; False: of us, the end too."""
        if isinstance(problem, asyncio.CancelledError):
            exchange.keep_alive = False
            exchange.finished = True
            self.cut(reset=True)
        elif isinstance(problem, Malformed):
            self._give_up(exchange, problem)
        elif isinstance(problem, ConnectionResetError):
            self.cut(reset=True)
        elif isinstance(problem, Exception):  # a mistake of ours: this client gets a 500, and the others do not notice
            log.exception("exchange.failed", method=exchange.method)
            self._give_up(exchange, Malformed("internal_error", 500))
        else:
            return False
        return True

    def _leave(self) -> None:
        """The exchange is over: nobody is asked whether he is there any more, and a tunnel's connection is not ours."""
        self._exchange = None
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if self._handed_over:
            self._listener.connections.discard(self)
            self._listener.connection_closed()

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
            self.write(refusal(problem.status, headers, body, exchange.method == "HEAD"))
            exchange.started = exchange.finished = True

    def _after(self, exchange: Exchange) -> None:
        """The answer is out: read the next request, swallow the rest of this one, or close."""
        self._exchange = None
        if self._probe is not None or self._handed_over:
            self._leave()
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
        buffered = rest
        if self._pending:
            buffered = bytes(self._pending) + rest
            self._pending.clear()
        if self._paused_for:
            self._resume(2)
        listener = self._listener
        if listener.draining or (self._eof and not buffered):
            self._close()
            return
        self.deadline = self._loop.time() + listener.limits.idle_timeout_s
        if buffered:
            self._feed_head(buffered)
            if self._eof and self._head.begun and self._transport is not None and not self._lingering:
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
        self.write(refusal(problem.status, headers, body, head is not None and head.method == "HEAD"))
        self._linger()

    def _linger(self) -> None:
        """Close, but first swallow what the client is still sending: a reset would destroy the answer on its way."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._pending.clear()
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
        self.cut(reset=True)  # the connection's end cancels the handler, once: it may have an end to wait for

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
        rest = bytes(self._pending)
        self._pending.clear()
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
        if self._head.begun and not self._lingering:
            self._refuse(Malformed("head_timeout", 408), None)
        else:
            self._close()

    def drain_or_cancel(self, cancel: bool) -> None:
        """Shutdown: idle connections close at once; with `cancel` so do those in use."""
        if self._exchange is None:
            if not self._lingering:
                self._close()
        elif cancel and self._task is not None:
            self._task.cancel()

    @property
    def busy(self) -> bool:
        """Whether a request is being handled."""
        return self._exchange is not None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """Runs the handlers of this connection's requests, from the first one to the connection's end."""
        return self._task


def _was_reset(transport: asyncio.Transport) -> bool:
    connected = transport.get_extra_info("socket")
    if connected is None or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        info: bytes = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return True
    return info[0] == _TCP_CLOSE
