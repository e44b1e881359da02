"""The listening side: accepts connections, keeps their time, and drains them at the end.

Decides who is let in and when everybody is out. A handler gets an `Exchange` for each request (see exchange.py); what a
connection does in between is connection.py's. Must not know rules, prices or upstreams.

Mutable state: `Listener` holds the open connections. One event loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from proxy.data.connection import Connection, Limits
from proxy.data.exchange import BadRequest, Exchange, Handler, OnBadRequest, plain_refusal

__all__ = ["BadRequest", "Exchange", "Handler", "Limits", "Listener", "OnBadRequest", "plain_refusal"]


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
        self.connections: set[Connection] = set()
        self.draining = False
        self.loop: asyncio.AbstractEventLoop
        self._servers: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None
        shortest_s = min(
            self.limits.head_timeout_s, self.limits.idle_timeout_s, self.limits.body_timeout_s, self.limits.linger_s
        )
        self._sweep_s = max(0.02, min(1.0, shortest_s / 4))
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
            server = await self.loop.create_server(lambda: Connection(self), sock=sock, **options)
        else:
            server = await self.loop.create_server(
                lambda: Connection(self), host, port, reuse_port=reuse_port or None, **options
            )
        self._servers.append(server)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every listening socket."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    @property
    def in_flight(self) -> int:
        """Requests being handled now."""
        return sum(connection.busy for connection in self.connections)

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
        tasks = [connection.task for connection in self.connections if connection.busy and connection.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._wait_empty(1.0)
        for connection in list(self.connections):
            connection.cut(reset=True)
        await self._wait_empty(1.0)

    def connection_opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        if self._sweep is None:
            self._sweep = self.loop.call_later(self._sweep_s, self._check_times)

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
        self._sweep = self.loop.call_later(self._sweep_s, self._check_times) if self.connections else None
