"""CONNECT to a host that the rules want to see into: answered with our own certificate, and the requests inside handed
to the page like all others.

Decides who is intercepted and who is not any more (a program that does not accept our certificate, or insists on
HTTP/2), and what such a program is told. What is inside belongs to connection.py and the page. Must not know prices.

Order matters: reading is paused before the 200 goes out, because whatever arrives before TLS listens would be lost.

Mutable state: `Interceptor` remembers for a while who could not be intercepted. One event loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from proxy.core.model import Api, Caller, Denied, OnPinned, Reason
from proxy.core.text import say
from proxy.data.connection import Connection, Host, Limits
from proxy.data.exchange import Exchange, Handler, OnBadRequest
from proxy.data.inbound import Inside, Opening, Refused, host_name
from proxy.data.leaves import Leaves, NoCertificate

log = structlog.get_logger()

HANDSHAKE_WITHIN_S = 10.0
REMEMBERED_S = 600.0  # how long a program that could not be intercepted passes as a tunnel
REMEMBERED_MOST = 1024
_PLAIN_PORTS = frozenset((80,))
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

# What TLS libraries say when they do not accept a certificate (RFC 8446 §6.2), as OpenSSL names what it received.
_CERTIFICATE_REFUSED = (
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
)

# The answer to a client that speaks HTTP/2 although we offered HTTP/1.1 alone: an empty SETTINGS frame, and GOAWAY with
# HTTP_1_1_REQUIRED (RFC 9113 §6.8, §7).
_HTTP2 = b"PRI * HTTP/2."
_SAID = b"spendgate prices HTTP/1.1 only"
_GOAWAY = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    + (8 + len(_SAID)).to_bytes(3, "big")
    + b"\x07\x00\x00\x00\x00\x00"
    + b"\x00\x00\x00\x00\x00\x00\x00\x0d"
    + _SAID
)

Inner = Callable[[Exchange, Inside], Awaitable[None]]


class Outside(Host, Protocol):
    """The listener that accepted the tunnel."""


class Interceptor:
    """Opens tunnels. `listener` must be set before the first one; `leaves` None: nothing is ever opened."""

    def __init__(self, leaves: Leaves | None = None, language: str = "en") -> None:
        self.leaves = leaves
        self.language = language
        self.listener: Outside
        self.counts: Counter[str] = Counter()  # "opened" | "certificate_refused" | "http2_refused" | "failed"
        self.noted: Callable[[str, str, str], None] = lambda _host, _caller, _outcome: None
        self._passing: OrderedDict[tuple[str, str], float] = OrderedDict()  # (caller, host) -> until (loop time)

    def opens(self, _api: Api, host: str, caller: Caller) -> bool:
        """Whether a tunnel to this host is opened: not where this caller could not be intercepted a while ago."""
        if self.leaves is None:
            return False
        until_s = self._passing.get((caller.name, host))
        if until_s is None:
            return True
        if asyncio.get_running_loop().time() < until_s:
            return False
        del self._passing[(caller.name, host)]
        return True

    async def open(self, exchange: Exchange, opening: Opening, inner: Inner) -> Refused | None:
        """Answer a CONNECT and serve what is inside. `Refused` is what to say instead of a 200."""
        assert self.leaves is not None  # noqa: S101 - `opens` has looked
        plain = opening.port in _PLAIN_PORTS or (opening.api.scheme == "http" and opening.port == opening.api.port)
        context: ssl.SSLContext | None = None
        if not plain:
            try:
                context = await self.leaves.context(opening.host)
            except NoCertificate as error:
                log.error("intercept.no_certificate", id=exchange.id, host=opening.host, reason=error.detail)
                detail = {"api": opening.api.name, "problem": error.detail}
                return Refused(Denied(Reason.UPSTREAM_UNREACHABLE, 502, detail=detail), opening.api.speaks)
        transport, early = exchange.take_over()
        if early:  # they cannot be given to TLS any more; a client must wait for the answer (RFC 9110 §9.3.6)
            log.info("intercept.early_bytes", id=exchange.id, host=opening.host, count=len(early))
            problem = say("wire.early_bytes", self.language).encode()
            head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
            transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(problem), problem))
            transport.close()
            return None
        inside = Inside("http" if plain else "https", opening.host, opening.port, opening.caller)

        async def handle(one: Exchange) -> None:
            await inner(one, inside)

        connection = _Inside(_InnerHost(self.listener, handle), lambda: self._spoke_http2(opening))
        transport.write(_ESTABLISHED)
        if context is None:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            transport.resume_reading()
            return None
        try:
            secure = await self.listener.loop.start_tls(
                transport, connection, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_WITHIN_S
            )
        except (ssl.SSLError, OSError) as error:  # TimeoutError is one
            transport.abort()
            self._failed(opening, error)
            return None
        except BaseException:
            transport.abort()
            raise
        self.counts["opened"] += 1
        if secure is not None and not connection.lost:
            connection.connection_made(secure)
        return None

    def _failed(self, opening: Opening, error: OSError) -> None:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        if not any(mark in reason for mark in _CERTIFICATE_REFUSED):
            self.counts["failed"] += 1
            log.info("intercept.handshake_failed", host=opening.host, caller=opening.caller.name, reason=reason)
            return
        self._could_not("certificate_refused", opening, reason)

    def _spoke_http2(self, opening: Opening) -> None:
        self._could_not("http2_refused", opening, "HTTP_1_1_REQUIRED")

    def _could_not(self, outcome: str, opening: Opening, reason: str) -> None:
        """Said aloud, counted, and remembered where the rules let such a program pass."""
        self.counts[outcome] += 1
        passes = opening.api.on_pinned is OnPinned.TUNNEL
        if passes:
            self._passing[(opening.caller.name, opening.host)] = self.listener.loop.time() + REMEMBERED_S
            while len(self._passing) > REMEMBERED_MOST:
                self._passing.popitem(last=False)
        self.noted(host_name("connect", opening.host, opening.port), opening.caller.name, outcome)
        log.warning(
            f"intercept.{outcome}",
            host=opening.host,
            api=opening.api.name,
            caller=opening.caller.name,
            reason=reason,
            next="tunnel" if passes else "refused again",
        )


class _InnerHost:
    """The listener as a connection inside a tunnel sees it: the same limits and the same end, another handler."""

    def __init__(self, outer: Outside, handler: Handler) -> None:
        self._outer = outer
        self.handler = handler
        self.loop: asyncio.AbstractEventLoop = outer.loop
        self.limits: Limits = outer.limits
        self.on_bad_request: OnBadRequest = outer.on_bad_request

    @property
    def connections(self) -> set[Connection]:
        return self._outer.connections

    @property
    def draining(self) -> bool:
        return self._outer.draining

    def connection_opened(self, connection: Connection) -> None:
        self._outer.connection_opened(connection)

    def connection_closed(self) -> None:
        self._outer.connection_closed()


class _Inside(Connection):
    """A connection inside an intercepted tunnel.

    What a client sends together with the end of its handshake is here before whoever started the handshake knows that
    it is over: it is kept until `connection_made`.
    """

    __slots__ = ("_early", "_on_http2", "_unread", "lost")

    def __init__(self, host: _InnerHost, on_http2: Callable[[], None]) -> None:
        super().__init__(host)  # type: ignore[arg-type]  # `draining` and `connections` are the outer listener's
        self._early: list[bytes] | None = []
        self._unread = True
        self._on_http2 = on_http2
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        early, self._early = self._early, None
        for data in early or ():
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
            return
        if self._unread:
            self._unread = False
            if data.startswith(_HTTP2):
                self._on_http2()
                self.write(_GOAWAY)
                self.cut(reset=False)
                return
        super().data_received(data)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # TLS connections are not half-closed here: the event loops end both directions
