"""Real sockets with nothing between the test and the bytes: scripted servers, and clients that say what is sent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(script: Script) -> AsyncIterator[tuple[str, int]]:
    """A TCP server that runs `script` for each connection; closed with all its connections at the end."""
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield listening.sockets[0].getsockname()[:2]
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks))
        if failures:
            raise failures[0]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request's exact bytes, framed strictly; b"" when the peer closed instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise AssertionError(f"half a request: {error.partial!r}") from error
        return b""
    if found := re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", head):
        return head + await reader.readexactly(int(found[1]))
    if re.search(rb"(?i)\r\ntransfer-encoding: chunked\r\n", head):
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line, 16)
            body += line + await reader.readexactly(size + 2 if size else 2)
            if not size:
                return head + body
    return head


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Recorder:
    """An upstream that answers every request with the same bytes and keeps what it received."""

    answer: bytes = OK
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await read_request(reader):
                self.requests.append(request)
                writer.write(self.answer)
                await writer.drain()
        finally:
            self.closed += 1


class Client:
    """A client connection; everything it reads comes with a time limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def trickle(self, data: bytes) -> None:
        """Send one byte at a time, each in a packet of its own."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            self.writer.write(data[i : i + 1])
            await asyncio.sleep(0)

    async def until(self, mark: bytes, timeout: float = 10) -> bytes:
        async with asyncio.timeout(timeout):
            return await self.reader.readuntil(mark)

    async def exactly(self, count: int, timeout: float = 10) -> bytes:
        async with asyncio.timeout(timeout):
            return await self.reader.readexactly(count)

    async def rest(self, timeout: float = 10) -> bytes:
        """Everything until the peer closes."""
        async with asyncio.timeout(timeout):
            return await self.reader.read()

    async def response(self, method: str = "GET") -> Response:
        """One final response, framed as its head says. Interim ones are kept apart."""
        interim = []
        while True:
            head = await self.until(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
            interim.append(status)
        lines = head[:-4].split(b"\r\n")
        headers = [(n, v.strip()) for n, _, v in (line.partition(b":") for line in lines[1:])]
        named = {n.lower(): v for n, v in headers}
        trailers: list[tuple[bytes, bytes]] = []
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif b"content-length" in named:
            body = await self.exactly(int(named[b"content-length"]))
        elif named.get(b"transfer-encoding") == b"chunked":
            pieces = []
            while size := int((await self.until(b"\r\n")).strip(), 16):
                pieces.append((await self.exactly(size + 2))[:-2])
            body = b"".join(pieces)
            while (line := await self.until(b"\r\n")) != b"\r\n":
                name, _, value = line.strip().partition(b":")
                trailers.append((name, value.strip()))
        else:
            body = await self.rest()
        return Response(status, lines[0], headers, named, body, trailers, interim)

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Go away with a reset instead of an end-of-file."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Response:
    status: int
    line: bytes
    headers: list[tuple[bytes, bytes]]
    named: dict[bytes, bytes]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    interim: list[int]


@contextlib.asynccontextmanager
async def connect(address: tuple[str, int]) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address, limit=1 << 20)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def soon(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait until something that another task does has happened; fails when it has not in time."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what it waits for is on the other side of a socket
            await asyncio.sleep(0.002)
