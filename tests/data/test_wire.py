"""Client, proxy and API on real sockets: what arrives, when it arrives, and what happens when somebody leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.plainproxy import PlainProxy
from tests.data.rawsockets import OK, Client, Recorder, Script, connect, read_request, server

ROOT = Path(__file__).resolve().parent.parent.parent


@contextlib.asynccontextmanager
async def between(script: Script, **options: object) -> AsyncIterator[tuple[PlainProxy, Client]]:
    async with (
        server(script) as address,
        PlainProxy(*address, **options) as proxy,  # type: ignore[arg-type]
        connect(proxy.address) as client,
    ):
        yield proxy, client


# --- byte for byte ------------------------------------------------------------------------------------------------


async def test_the_api_receives_exactly_these_bytes() -> None:
    recorder = Recorder()
    async with between(recorder) as (proxy, client):
        await client.send(
            b"POST /v1/a%2Fb//c?q=%20&q=+&empty=&x=/../ HTTP/1.1\r\n"
            b"hOST: anything.example\r\nX-One: 1\r\nAccept: */*\r\nx-one: 2\r\nX-ONE:3\r\n"
            b"Connection: X-Secret, keep-alive, Content-Type\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n"
            b"TE: trailers\r\n"
            b"Proxy-Authorization: Basic abc\r\nProxy-Connection: close-not\r\nX-Spendgate-Key: k\r\nUpgrade: h2c\r\n"
            b"Content-Type: application/json\r\nVia: 1.1 other\r\ncontent-LENGTH: 0007\r\nX-Last:\r\n\r\n"
            b'{"a":1}'
        )
        assert (await client.response()).status == 200
        assert recorder.requests == [
            b"POST /v1/a%2Fb//c?q=%20&q=+&empty=&x=/../ HTTP/1.1\r\nHost: " + proxy.host + b"\r\n"
            b"X-One: 1\r\nAccept: */*\r\nx-one: 2\r\nX-ONE: 3\r\n"
            b"Content-Type: application/json\r\nVia: 1.1 other\r\ncontent-LENGTH: 7\r\nX-Last: \r\n"
            b"Via: 1.1 spendgate\r\n\r\n"
            b'{"a":1}'
        ]


async def test_the_client_receives_exactly_these_headers() -> None:
    recorder = Recorder(
        b"HTTP/1.1 299 Very Fine\r\nDate: now\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nConnection: X-Hop\r\n"
        b"X-Hop: 1\r\n"
        b'X-Spendgate-Cost: 0\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\nEtag: "\xe9"\r\n\r\nok'
    )
    async with between(recorder) as (_, client):
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        response = await client.response()
    assert response.line == b"HTTP/1.1 299 Very Fine"
    assert response.headers == [
        (b"Date", b"now"),
        (b"Set-Cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"Etag", b'"\xe9"'),
        (b"Via", b"1.1 spendgate"),
        (b"Content-Length", b"2"),
    ]


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PURGE", "BREW", "x-custom"]
)
async def test_every_method_passes(method: str) -> None:
    recorder = Recorder(OK if method != "HEAD" else b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
    async with between(recorder) as (_, client):
        for _ in range(2):
            await client.send(b"%b /x HTTP/1.1\r\nHost: h\r\n\r\n" % method.encode())
            response = await client.response(method)
            assert response.status == 200
            assert response.named[b"content-length"] == (b"12345" if method == "HEAD" else b"2")
    assert [request.split(b" ")[0].decode() for request in recorder.requests] == [method] * 2


async def test_options_asterisk_passes() -> None:
    recorder = Recorder()
    async with between(recorder) as (_, client):
        await client.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.response()).status == 200
    assert recorder.requests[0].startswith(b"OPTIONS * HTTP/1.1\r\n")


TOKEN = st.text("!#$%&'*+.^_`|~0123456789abcXYZ-", min_size=1, max_size=12).map(str.encode)
RESERVED = {b"te", b"via", b"host", b"upgrade", b"trailer", b"expect", b"connection", b"keep-alive"}
NAMES = TOKEN.map(lambda token: b"x" + token).filter(lambda name: name.lower() not in RESERVED)
VALUES = st.binary(max_size=40).map(
    lambda raw: bytes(byte for byte in raw if byte == 9 or (byte >= 32 and byte != 127)).strip(b" \t")
)
PATHS = st.text("".join(chr(n) for n in range(0x21, 0x7F) if chr(n) not in "\\#"), max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=PATHS,
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=8),
    body=st.binary(max_size=3000),
    cuts=st.lists(st.integers(1, 400), max_size=6),
    chunked=st.booleans(),
    streamed=st.booleans(),
)
def test_paths_headers_and_bodies_arrive_byte_for_byte(
    path: str, headers: list[tuple[bytes, bytes]], body: bytes, cuts: list[int], chunked: bool, streamed: bool
) -> None:
    async def run() -> None:
        recorder = Recorder()
        async with between(recorder, read_limit=None if streamed else 1 << 20) as (proxy, client):
            fields = b"".join(b"%b: %b\r\n" % field for field in headers)
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
            pieces, rest = [], body
            for cut in cuts:
                pieces.append(rest[:cut])
                rest = rest[cut:]
            pieces = [piece for piece in [*pieces, rest] if piece]
            sent = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n" if chunked else body
            raw = b"POST /%b HTTP/1.1\r\nHost: h\r\n%b%b\r\n\r\n%b" % (path.encode(), fields, framing, sent)
            for start in range(0, len(raw), 97):
                await client.send(raw[start : start + 97])
                await asyncio.sleep(0)
            assert (await client.response()).status == 200
            head, _, received = recorder.requests[0].partition(b"\r\n\r\n")
            if chunked and streamed:
                assert head.endswith(b"\r\nTransfer-Encoding: chunked\r\nVia: 1.1 spendgate")
                whole = b""
                while size := int(received[: (end := received.index(b"\r\n"))], 16):
                    whole += received[end + 2 : end + 2 + size]
                    received = received[end + 4 + size :]
                received = whole
            assert received == body
            assert head.startswith(b"POST /%b HTTP/1.1\r\nHost: %b\r\n%b" % (path.encode(), proxy.host, fields))

    asyncio.run(run())


# --- as it arrives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_each_event_is_with_the_client_before_the_next_is_made(framing: str) -> None:
    heard: asyncio.Queue[None] = asyncio.Queue()
    event = b"data: {}\n\n"

    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        if framing != "close":
            head += b"Transfer-Encoding: chunked\r\n" if framing == "chunked" else b"Content-Length: 1000000\r\n"
        writer.write(head + b"\r\n")
        for _ in range(5):
            await heard.get()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunked" else event)
            await writer.drain()
        await heard.get()

    async with between(events) as (_, client):
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.until(b"\r\n\r\n")  # the head is here before the first event is made
        for _ in range(5):
            heard.put_nowait(None)
            await client.until(b"data: {}\n\n", timeout=2)
        heard.put_nowait(None)


@pytest.mark.parametrize("when", ["before the answer", "in a silent stream", "in a busy stream", "in an upload"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_ends_the_apis_work_at_once(when: str, how: str) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if "stream" in when:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        begun.set()
        with contextlib.suppress(ConnectionError):
            if when == "in a busy stream":
                while True:
                    writer.write(b"1\r\na\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.005)
            while await reader.read(65536):
                pass
        gone.set()

    async with between(work, read_limit=None) as (proxy, client):
        if when == "in an upload":
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc")
        else:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await begun.wait()
        if "stream" in when:
            await client.until(b"a\r\n")
        if how == "close":
            client.writer.close()
        else:
            client.reset()
        async with asyncio.timeout(0.5):
            await gone.wait()
        assert proxy.attempts[0].sent


@pytest.mark.parametrize("cut", ["length", "chunked"])
async def test_an_answer_that_the_api_cut_looks_cut_to_the_client(cut: str) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if cut == "length":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)

    async with between(die) as (proxy, client):
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.response()
        assert [type(error).__name__ for error in proxy.errors] == ["UpstreamBroken"]


async def test_trailers_pass() -> None:
    recorder = Recorder(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + b"2\r\nok\r\n" * 3)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(recorder.answer)
        await asyncio.sleep(0.02)
        writer.write(b"0\r\nX-Sum: 3\r\n\r\n")
        await read_request(reader)

    async with between(slow) as (_, client):
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        response = await client.response()
        assert (response.body, response.trailers) == (b"okokok", [(b"X-Sum", b"3")])


# --- a gigabyte is no more than a megabyte ------------------------------------------------------------------------

MIB = 1024 * 1024


async def resident_kib(pid: int, peak: bool) -> int:
    key = "VmHWM" if peak else "VmRSS"
    status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
    return int(next(line for line in status.splitlines() if line.startswith(key)).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the process's memory from /proc")
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_large_body_adds_little_memory(direction: str) -> None:
    size = 256 * MIB

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nContent-Length: %d\r\n" % size in head:
                left = size
                while left:
                    left -= len(await reader.read(min(left, MIB)))
                writer.write(OK)
            elif b"/big" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(size // MIB):
                    writer.write(b"100000\r\n" + bytes(MIB) + b"\r\n")
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
            else:
                writer.write(OK)
            await writer.drain()

    async with server(upstream) as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.data.plainproxy", "0", f"{address[0]}:{address[1]}"),
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            assert process.stdout is not None
            port = json.loads(await process.stdout.readline())["port"]
            async with connect(("127.0.0.1", port)) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await client.response()
                before = await resident_kib(process.pid, peak=False)
                if direction == "up":
                    await client.send(b"PUT /big HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
                    for _ in range(size // MIB):
                        await client.send(bytes(MIB))
                    assert (await client.response()).body == b"ok"
                else:
                    await client.send(b"GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    received = 0
                    while data := await client.reader.read(MIB):
                        received += len(data)
                    assert received > size
                after = await resident_kib(process.pid, peak=True)
            assert (after - before) / 1024 < 32
        finally:
            process.terminate()
            await process.wait()
