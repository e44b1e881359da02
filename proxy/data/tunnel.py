"""CONNECT: bytes from one connection to another and back, counted, bounded, and stopped when the money says so.

Decides how two connections are joined: back-pressure both ways, half-close both ways, idle and cancelled ends. It looks
at no byte it carries. Must not know rules or prices: the caller is asked, every so many bytes or seconds, whether the
tunnel may go on, and nothing moves while it thinks.

Use, in this order: `open_tunnel` (502/504 are still possible), `exchange.take_over()`, `Tunnel.run`. `run` writes the
status line itself, together with whatever it forwards first; bytes that came with the CONNECT head go to the API first.

Mutable state: one `Tunnel` a connection. One event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.data.dial import dial

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CHECK_BYTES = 1024 * 1024
CHECK_S = 10.0

MayGoOn = Callable[[int, int, float], Awaitable[bool]]
"""(bytes up, bytes down, seconds so far) -> whether the tunnel may go on. Up is towards the API."""


class Farewell(Protocol):
    """What a protocol inside a tunnel says when the tunnel is ended from here."""

    async def stop(self, reason: str) -> None:
        """There is a moment's time: "stopped" or "idle"."""

    def cut(self) -> None:
        """There is none: the connections close when this returns."""


@dataclass(frozen=True, slots=True)
class TunnelEnd:
    """What a tunnel carried and why it ended.

    reason: "closed" (both sides done) | "client_gone" | "upstream_gone" (without a clean end) | "idle" | "stopped"
    (may_go_on said so).
    """

    bytes_up: int
    bytes_down: int
    seconds: float
    reason: str


class _Side(asyncio.Protocol):
    """One of the two connections; what it receives is written to `other`."""

    def __init__(self) -> None:
        self.tunnel: Tunnel | None = None
        self.transport: asyncio.Transport
        self.other: _Side
        self.received = 0
        self.ended = False  # its sender is done
        self.lost = False
        self.early: list[bytes] = []  # received before the two sides were joined
        self.passing: Callable[[bytes], bytes] | None = None  # sees what is received, says what of it goes on
        self._held = 0  # reasons why it is not read: 1 other side is slow, 2 waiting for may_go_on, 4 not joined yet
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.hold(4)

    def data_received(self, data: bytes) -> None:
        tunnel = self.tunnel
        if tunnel is None:
            self.early.append(data)
            return
        self.received += len(data)
        goes_on = data if self.passing is None else self.passing(data)
        if goes_on and not self.other.lost:
            self.other.transport.write(goes_on)
        tunnel.moved(len(data))

    def eof_received(self) -> bool:
        self.ended = True
        if self.tunnel is None:
            return False
        if not self.other.lost and self.other.transport.can_write_eof():
            with contextlib.suppress(OSError, RuntimeError):
                self.other.transport.write_eof()
        elif not self.other.lost:
            self.other.transport.close()
        if self.other.ended:
            self.tunnel.end("closed")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.tunnel is not None:
            self.tunnel.end("closed" if self.ended and self.other.ended else f"{self.name}_gone")

    def pause_writing(self) -> None:
        self.other.hold(1)

    def resume_writing(self) -> None:
        self.other.release(1)

    def hold(self, why: int) -> None:
        if not self._held and not self.ended and not self.lost:
            self.transport.pause_reading()
        self._held |= why

    def release(self, why: int) -> None:
        if not self._held & why:
            return
        self._held &= ~why
        if not self._held and not self.ended and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()


class Tunnel:
    """A connection to an API, ready to be joined with a client's. run() once, or close()."""

    def __init__(self, upstream: _Side) -> None:
        self._loop = asyncio.get_running_loop()
        self._upstream = upstream
        self._client = _Side()
        upstream.other, self._client.other = self._client, upstream
        upstream.name, self._client.name = "upstream", "client"
        self._may_go_on: MayGoOn | None = None
        self._started_at = self._moved_at = self._loop.time()
        self._unchecked = 0
        self._check_bytes = CHECK_BYTES
        self._check: asyncio.Event = asyncio.Event()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._farewell: Farewell | None = None

    def look(self, up: Callable[[bytes], bytes], down: Callable[[bytes], bytes], farewell: Farewell) -> None:
        """Have somebody see what passes, each way, and say what of it goes on; and say good-bye where the tunnel is
        ended from here: stopped, idle, or cancelled."""
        self._client.passing, self._upstream.passing = up, down
        self._farewell = farewell

    def ask(self) -> None:
        """Ask `may_go_on` before anything else moves."""
        self._unchecked = max(self._unchecked, self._check_bytes)
        self._client.hold(2)
        self._upstream.hold(2)
        self._check.set()

    def write(self, to_client: bytes, to_upstream: bytes) -> None:
        for side, data in ((self._client, to_client), (self._upstream, to_upstream)):
            if data and not side.lost and not side.transport.is_closing():
                side.transport.write(data)

    async def linger(self, done: Callable[[], bool], seconds: float) -> None:
        """Let both sides go on, until `done` or the client is gone, but not longer than so many seconds."""
        until = self._loop.time() + seconds
        self._client.release(2)
        self._upstream.release(2)
        while not done() and not self._client.lost and not self._client.ended and self._loop.time() < until:
            self._check.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._check.wait()

    async def run(
        self,
        client: asyncio.Transport,
        early: bytes = b"",
        *,
        half_closed: bool = False,
        may_go_on: MayGoOn | None = None,
        check_bytes: int = CHECK_BYTES,
        check_s: float = CHECK_S,
        idle_timeout_s: float = 600.0,
        status_line: bytes = ESTABLISHED,
    ) -> TunnelEnd:
        """Join the two until one ends it. Cancelling closes both at once.

        client, early: what `Exchange.take_over` gave. half_closed: `Exchange.half_closed`. may_go_on: asked after
        every `check_bytes` (both directions together; at most one read more can have passed) and every `check_s`
        seconds; both directions stand still while it decides. idle_timeout_s: longest time without a byte in either
        direction.
        """
        self._may_go_on, self._check_bytes = may_go_on, check_bytes
        side, upstream = self._client, self._upstream
        self._started_at = self._moved_at = self._loop.time()
        client.set_protocol(side)
        side.transport = client
        side._held = 4
        try:
            if client.is_closing() or upstream.lost:
                return self._result("client_gone" if client.is_closing() else "upstream_gone")
            side.tunnel = upstream.tunnel = self
            client.write(status_line)
            if early:
                side.data_received(early)
            for data in upstream.early:
                upstream.data_received(data)
            upstream.early.clear()
            if half_closed:
                side.eof_received()
            side.release(4)
            upstream.release(4)
            return self._result(await self._watch(check_s, idle_timeout_s))
        finally:
            self.close()

    def close(self) -> None:
        """Close both connections; what is already written to a side that still listens is delivered first."""
        if self._farewell is not None and not self._ended.done():
            self._farewell.cut()
        for side in (self._client, self._upstream):
            side.tunnel = None
            transport: asyncio.Transport | None = getattr(side, "transport", None)
            if transport is not None and not side.lost:
                if self._farewell is not None or (self._ended.done() and self._ended.result() != "stopped"):
                    transport.close()
                else:
                    transport.abort()

    def moved(self, size: int) -> None:
        self._moved_at = self._loop.time()
        self._unchecked += size
        if self._ended.done():
            self._check.set()
            return
        if self._may_go_on is not None and self._unchecked >= self._check_bytes:
            self._client.hold(2)
            self._upstream.hold(2)
            self._check.set()

    def end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)
        self._check.set()

    def _result(self, reason: str) -> TunnelEnd:
        seconds = self._loop.time() - self._started_at
        return TunnelEnd(self._client.received, self._upstream.received, seconds, reason)

    async def _watch(self, check_s: float, idle_timeout_s: float) -> str:
        """Wait for the end; on the way ask whether the tunnel may go on, and notice silence."""
        next_check = self._loop.time() + check_s
        while not self._ended.done():
            now = self._loop.time()
            wake_at = min(next_check, self._moved_at + idle_timeout_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wake_at - now)):
                    await self._check.wait()
            self._check.clear()
            if self._ended.done():
                break
            now = self._loop.time()
            if now - self._moved_at >= idle_timeout_s:
                return await self._stop("idle")
            full = self._unchecked >= self._check_bytes
            if self._may_go_on is not None and (full or now >= next_check):
                self._client.hold(2)
                self._upstream.hold(2)
                self._unchecked = 0
                allowed = await self._may_go_on(
                    self._client.received, self._upstream.received, self._loop.time() - self._started_at
                )
                if not allowed:
                    return await self._stop("stopped")
                self._client.release(2)
                self._upstream.release(2)
            if full or now >= next_check:
                next_check = self._loop.time() + check_s
        return self._ended.result()

    async def _stop(self, reason: str) -> str:
        if self._ended.done():
            return self._ended.result()
        self._ended.set_result(reason)
        if self._farewell is not None:
            await self._farewell.stop(reason)
        return reason


async def adopt(transport: asyncio.Transport, early: bytes = b"") -> Tunnel:
    """A tunnel whose far side is a connection that somebody else has opened. early: what it has already received."""
    side = _Side()
    side.connection_made(transport)
    transport.set_protocol(side)
    if early:
        side.early.append(early)
    return Tunnel(side)


async def open_tunnel(host: str, port: int, *, timeout_s: float = 10.0, allow_private: bool = True) -> Tunnel:
    """Connect to the API that a CONNECT asks for. Raises UpstreamUnreachable, UpstreamTimeout("connect")."""
    _, side = await dial(_Side, host, port, timeout_s=timeout_s, allow_private=allow_private)
    return Tunnel(side)
