"""A proxy without rules or money: only the wire layers, put together the way the page does it. Also runs on its own.

Reverse: every origin-form request goes to the one upstream. Forward: absolute-form to where it says, if that is the
upstream; CONNECT likewise.
"""

from __future__ import annotations

import asyncio
import json
import sys

from proxy.core import headers
from proxy.core.authority import Refusal, parse_target
from proxy.core.http1 import Malformed
from proxy.data.server import Exchange, Limits, Listener
from proxy.data.upstream import Attempt, Origin, Pool, UpstreamError, UpstreamTimeout

NOTE = [(b"Content-Type", b"application/json")]


class PlainProxy:
    """`host`, `port`: the only upstream. read_limit: bodies up to here are read whole before they are sent."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: Limits | None = None,
        read_limit: int | None = 1024 * 1024,
        read_timeout_s: float = 30.0,
        total_timeout_s: float | None = None,
        scheme: str = "http",
        pool: Pool | None = None,
    ) -> None:
        self.origin = Origin(scheme, host, port)
        self.host = f"{host}:{port}".encode()
        self.read_limit = read_limit
        self.timeouts = {"read_timeout_s": read_timeout_s, "total_timeout_s": total_timeout_s}
        self.listener = Listener(self.handle, limits)
        self.pool = pool
        self.cancelled = 0
        self.attempts: list[Attempt] = []
        self.errors: list[BaseException] = []

    async def __aenter__(self) -> PlainProxy:
        if self.pool is None:
            self.pool = Pool()
        await self.listener.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.listener.drain(0)
        assert self.pool is not None
        await self.pool.close()

    @property
    def address(self) -> tuple[str, int]:
        return self.listener.addresses[0]

    async def handle(self, exchange: Exchange) -> None:
        try:
            await self.forward(exchange)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def forward(self, exchange: Exchange) -> None:
        target = parse_target(exchange.method, exchange.target)
        if isinstance(target, Refusal):
            raise Malformed(target.code)
        if target.authority is not None and (target.authority.host, target.authority.port) != self.origin[1:3]:
            await exchange.respond(403, NOTE, b'{"reason":"no_rule"}')
            return
        if exchange.method == "TRACE":
            raise Malformed("trace", 405)
        if headers.wants_websocket(exchange.headers):
            raise Malformed("websocket", 501)
        if exchange.method == "CONNECT":
            raise Malformed("websocket", 501)
        body = exchange.body
        content: object = None
        length = body.length
        if self.read_limit is not None:
            whole = await body.read(self.read_limit)
            if whole is not None:
                content, length = whole, len(whole)
        if content is None:
            content = body.chunks()
        head = headers.request_head(
            exchange.method, target.path, exchange.headers, host=self.host, length=length, minor=exchange.minor
        )
        attempt = Attempt()
        self.attempts.append(attempt)
        assert self.pool is not None
        try:
            answer = await self.pool.exchange(
                self.origin,
                exchange.method,
                head,
                content,  # type: ignore[arg-type]
                chunked=length is None,
                attempt=attempt,
                **self.timeouts,  # type: ignore[arg-type]
            )
        except UpstreamError as error:
            self.errors.append(error)
            status = 504 if isinstance(error, UpstreamTimeout) else 502
            detail = {"error": type(error).__name__, "detail": error.detail, "sent": error.sent}
            await exchange.respond(status, NOTE, json.dumps(detail).encode())
            return
        try:
            fields = headers.response_headers(answer.headers, minor=answer.version[1])
            if answer.whole is not None and exchange.method != "HEAD" and answer.status != 304:
                await exchange.respond(answer.status, fields, answer.whole, answer.reason)
                return
            await exchange.start(answer.status, fields, answer.length, answer.reason)
            if answer.whole is None:
                try:
                    while piece := await answer.next():
                        await exchange.write(piece)
                except UpstreamError as error:
                    self.errors.append(error)
                    exchange.abort()
                    return
            await exchange.finish(headers.trailer_fields(answer.trailers))
        finally:
            answer.close()


async def main(port: int, upstream: str, scheme: str = "http") -> None:
    host, _, upstream_port = upstream.rpartition(":")
    proxy = PlainProxy(host, int(upstream_port), scheme=scheme)
    proxy.pool = Pool()
    await proxy.listener.start("127.0.0.1", port)
    print(json.dumps({"port": proxy.address[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
