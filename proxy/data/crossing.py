"""One admitted tunnel (CONNECT): opened, watched while bytes cross, and paid for when it ends.

What crosses is not looked at; it is priced by connection, by byte and by second. A tunnel has no end of its own, so
where the money runs out it is cut, whatever `on_exhausted` says. Must not know how a price is made.
"""

from __future__ import annotations

import structlog

from proxy.core.model import Denied, Reason, Usage
from proxy.core.outcome import End, Outcome, judge
from proxy.data.charge import Charge
from proxy.data.dial import UpstreamError, UpstreamTimeout
from proxy.data.server import Exchange
from proxy.data.tunnel import CHECK_BYTES, ESTABLISHED, open_tunnel

log = structlog.get_logger()


class Crossing:
    """The way of one tunnel. `await run()`, then always `await settle()`."""

    __slots__ = ("_bytes", "_charge", "_end", "_exchange", "_opened")

    def __init__(self, exchange: Exchange, charge: Charge) -> None:
        self._exchange = exchange
        self._charge = charge
        self._opened = False
        self._end = End.ABORTED  # says nothing of the API: what a tunnel carries is not looked at
        self._bytes = (0, 0)

    async def run(self) -> Denied | None:
        """Open the tunnel and carry bytes until one side ends it, or the money does."""
        call, exchange = self._charge.call, self._exchange
        outbound = call.outbound
        try:
            tunnel = await open_tunnel(
                outbound.host,
                outbound.port,
                timeout_s=call.api.connect_timeout_s,
                allow_private=call.named,
            )
        except UpstreamTimeout as error:
            self._end = End.TIMED_OUT
            return self._failed(Reason.UPSTREAM_TIMEOUT, 504, error)
        except UpstreamError as error:
            self._end = End.UNREACHABLE
            return self._failed(Reason.UPSTREAM_UNREACHABLE, 502, error)
        self._opened = True
        try:
            half_closed = exchange.half_closed
            transport, early = exchange.take_over()
        except ConnectionResetError:
            tunnel.close()
            return None
        head = ESTABLISHED[:-2] + b"X-Spendgate-Request-Id: %b\r\n\r\n" % exchange.id.encode()
        end = await tunnel.run(
            transport,
            early,
            half_closed=half_closed,
            may_go_on=self._may_go_on,
            check_bytes=min(CHECK_BYTES, max(64 * 1024, call.rule.max_kb * 1024 // 4)),
            idle_timeout_s=call.api.read_timeout_s,
            status_line=head,
        )
        self._bytes = (end.bytes_up, end.bytes_down)
        log.info(
            "tunnel.closed", id=exchange.id, api=call.api.name, reason=end.reason, up=end.bytes_up, down=end.bytes_down
        )
        return None

    @property
    def size(self) -> int:
        """Bytes both ways."""
        return sum(self._bytes)

    async def settle(self) -> None:
        """Charge the tunnel for what crossed."""
        if not self._charge.settled:
            outcome = Outcome(judge(self._end, None), self._charge.elapsed_ms())
            await self._charge.settle(self._usage(), outcome=outcome)

    async def _may_go_on(self, up: int, down: int, _seconds: float) -> bool:
        self._bytes = (up, down)
        return await self._charge.keep_ahead(self._usage())

    def _usage(self) -> Usage:
        return Usage(
            status=200 if self._opened else None,
            found=True,
            bytes_up=self._bytes[0],
            bytes_down=self._bytes[1],
            seconds=self._charge.seconds,
            sent=self._opened,
        )

    def _failed(self, reason: Reason, status: int, error: UpstreamError) -> Denied:
        name = self._charge.call.api.name
        log.warning("upstream.failed", id=self._exchange.id, api=name, reason=error.detail, sent=False)
        return Denied(reason, status, detail={"api": name, "problem": error.detail})
