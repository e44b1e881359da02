"""Opens connections to APIs: resolve, check the addresses, connect to one that answers, shake hands.

Decides which resolved address is used, and that it is the one that was checked: names are resolved once and connected
to by number, so that a name cannot pass the check with one address and be reached at another. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, TypeVar

from proxy.core.authority import is_private_address

STAGGER_S = 0.25  # RFC 8305 §5: how long an address may be tried alone

P = TypeVar("P", bound=asyncio.BaseProtocol)


class UpstreamError(Exception):
    """An exchange with an API failed. detail: for logs. sent: at least a part of the request may have reached it."""

    def __init__(self, detail: str, sent: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent


class UpstreamUnreachable(UpstreamError):
    """No connection: name not found, refused, not allowed ("private address"), or a failed TLS handshake."""


class UpstreamTimeout(UpstreamError):
    """The API took too long. phase: "connect" | "write" | "read" (silence) | "total"."""

    def __init__(self, phase: str, sent: bool = False) -> None:
        super().__init__(f"{phase} timed out", sent)
        self.phase = phase


def tls_context(ca: str | None = None) -> ssl.SSLContext:
    """Full verification: against these certificates (PEM), else the system's store (OpenSSL honours SSL_CERT_FILE)."""
    context = ssl.create_default_context(cadata=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def pin_of(transport: asyncio.Transport) -> str:
    """ "sha256/BASE64" of the public key that the other side of a TLS connection has shown."""
    from proxy.data.ca import spki_pin  # cryptography takes a tenth of a second to import: only where keys are pinned

    return spki_pin(transport.get_extra_info("ssl_object").getpeercert(True))


async def dial(
    factory: Callable[[], P],
    host: str,
    port: int,
    *,
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
    allow_private: bool = True,
) -> tuple[asyncio.Transport, P]:
    """Connect to host:port. With `tls` the certificate must be valid for `host`.

    allow_private False: addresses outside the public internet are not connected to, whatever name led there.
    Raises UpstreamUnreachable or UpstreamTimeout("connect"), both with sent False.
    """
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await resolve(host, port)
            if not allow_private:
                addresses = [address for address in addresses if not is_private_address(address)]
                if not addresses:
                    raise UpstreamUnreachable("private address")
            return await _connect_any(factory, addresses, port, host, tls)
    except TimeoutError:
        raise UpstreamTimeout("connect") from None
    except ssl.SSLCertVerificationError as error:
        raise UpstreamUnreachable(f"certificate: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise UpstreamUnreachable(f"tls: {error.reason or error}") from error
    except OSError as error:
        raise UpstreamUnreachable(error.strerror or type(error).__name__) from error


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, families alternating (RFC 8305 §4). Raises UpstreamUnreachable."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpstreamUnreachable("name not found") from error
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        numbers = families.setdefault(family, [])
        if address[0] not in numbers:
            numbers.append(str(address[0]))
    addresses: list[str] = []
    queues = list(families.values())
    while any(queues):
        addresses += [queue.pop(0) for queue in queues if queue]
    if not addresses:
        raise UpstreamUnreachable("name not found")
    return addresses


async def _connect_any(
    factory: Callable[[], P], addresses: list[str], port: int, host: str, tls: ssl.SSLContext | None
) -> tuple[asyncio.Transport, P]:
    loop = asyncio.get_running_loop()

    def attempt(address: str) -> Coroutine[Any, Any, tuple[asyncio.Transport, P]]:
        return loop.create_connection(factory, address, port, ssl=tls, server_hostname=host if tls else None)

    if len(addresses) == 1:
        return await attempt(addresses[0])
    waiting = list(addresses)
    running: set[asyncio.Task[tuple[asyncio.Transport, P]]] = set()
    failure: Exception = OSError("no address")
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(attempt(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner: tuple[asyncio.Transport, P] | None = None
            for task in done:
                error = task.exception()
                if error is None:
                    if winner is None:
                        winner = task.result()
                    else:
                        task.result()[0].abort()
                elif isinstance(error, Exception):
                    failure = error
            if winner is not None:
                return winner
    finally:
        for task in running:
            task.add_done_callback(_close_late_winner)
            task.cancel()
    raise failure


def _close_late_winner(task: asyncio.Task[tuple[asyncio.Transport, Any]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].abort()
