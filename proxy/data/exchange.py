"""One request as a handler sees it, and the way to answer it.

Decides how an answer is framed (length, chunks, or the connection's end) and what a refusal looks like on the wire.
Must not know sockets: a `Wire` carries the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from proxy.core.authority import Authority
from proxy.core.http1 import Field, RequestHead, chunk, last_chunk
from proxy.data.body import Body

REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_SPLIT_WRITE = 16 * 1024  # above this, chunk framing is written beside the data instead of copying it


_field_line = b": ".join  # of a field: name and value


class Wire(Protocol):
    """What an exchange needs of its connection."""

    write_paused: bool
    peer: str

    @property
    def gone(self) -> bool: ...

    @property
    def half_closed(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def writelines(self, pieces: list[bytes]) -> None: ...

    async def drain(self) -> None: ...

    def may_continue(self, exchange: Exchange) -> bool: ...

    def cut(self, reset: bool) -> None: ...

    def hand_over(self) -> tuple[asyncio.Transport, bytes]: ...


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
    key: of a head that may come again (core/heads.py); length_at: place of Content-Length in the headers, or -1.
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
        "key",
        "length_at",
        "method",
        "minor",
        "started",
        "status",
        "target",
    )

    def __init__(self, connection: Wire, head: RequestHead, body: Body) -> None:
        self._connection = connection
        self.method = head.method
        self.target = head.target
        self.minor = head.minor
        self.headers = head.headers
        self.key = head.key
        self.length_at = head.length_at
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
            reason = REASONS.get(status, b"")
        lines = [_status_line(status, reason)]
        lines += map(_field_line, headers)
        if length is not None:
            lines.append(b"Content-Length: %d" % length)
        if not self._connection.may_continue(self):
            self.keep_alive = False
            lines.append(b"Connection: close")
        elif self.minor == 0:
            lines.append(b"Connection: keep-alive")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)


@lru_cache(maxsize=64)
def _status_line(status: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %b" % (status, reason)


def refusal(status: int, headers: list[Field], body: bytes, bodiless: bool) -> bytes:
    """A whole refusal on the wire; the connection closes after it."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))]
    lines += [b"%b: %b\r\n" % field for field in headers]
    lines.append(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
    if not bodiless:
        lines.append(body)
    return b"".join(lines)
