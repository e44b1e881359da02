"""The API's side: real servers that keep, close, stall, lie and die."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.data import dial
from proxy.data.upstream import (
    Attempt,
    Origin,
    Pool,
    UpstreamAnswer,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tests.data.rawsockets import OK, Recorder, read_request, server, soon

HEAD = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def pooled(**options: object) -> AsyncIterator[Pool]:
    pool = Pool(**options)  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        await pool.close()


def origin(address: tuple[str, int]) -> Origin:
    return Origin("http", *address)


async def pieces_of(answer: UpstreamAnswer) -> AsyncIterator[bytes]:
    while piece := await answer.next():
        yield piece


async def whole(pool: Pool, address: tuple[str, int], **options: float) -> list[bytes]:
    answer = await pool.exchange(origin(address), "GET", HEAD, **options)  # type: ignore[arg-type]
    return [answer.whole] if answer.whole is not None else [piece async for piece in pieces_of(answer)]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_connections_are_kept_and_used_again() -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled() as pool:
        for _ in range(3):
            answer = await pool.exchange(origin(address), "POST", POST, b"hi")
            assert (answer.status, answer.reason, answer.whole) == (200, b"OK", b"ok")
            assert answer.headers[0] == (b"Content-Type", b"text/plain")
            answer.close()
        assert (recorder.connections, pool.idle) == (1, 1)
        assert recorder.requests == [POST + b"hi"] * 3


async def test_parallel_exchanges_have_a_connection_each() -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled(max_idle=5) as pool:
        answers = await asyncio.gather(*[pool.exchange(origin(address), "GET", HEAD) for _ in range(20)])
        assert {answer.whole for answer in answers} == {b"ok"}
        assert (recorder.connections, pool.idle) == (20, 5)


async def test_an_idle_connection_that_the_api_closed_is_not_used() -> None:
    """Seen by looking at the socket, even before the event loop has told anybody."""
    connections = 0

    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(OK)
        await writer.drain()

    async with server(one_each) as address, pooled() as pool:
        for n in range(5):
            attempt = Attempt()
            answer = await pool.exchange(origin(address), "POST", POST, b"hi", attempt=attempt)
            assert answer.whole == b"ok"
            await soon(lambda n=n: connections == n + 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("method", "stream", "again"),
    [
        ("DELETE", False, True),
        ("PUT", False, True),
        ("POST", False, False),
        ("PATCH", False, False),
        ("PUT", True, False),
    ],
)
async def test_what_is_sent_again_after_a_kept_connection_ended(method: str, stream: bool, again: bool) -> None:
    seen = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while await read_request(reader):
            seen += 1
            if seen == 2:
                return
            writer.write(OK)
            await writer.drain()

    head = b"%b / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n" % method.encode()
    async with server(script) as address, pooled() as pool:
        await pool.exchange(origin(address), method, head, b"hi")
        body = pieces(b"hi") if stream else b"hi"
        if again:
            assert (await pool.exchange(origin(address), method, head, body)).whole == b"ok"
            assert seen == 3
        else:
            with pytest.raises(UpstreamBroken) as caught:
                await pool.exchange(origin(address), method, head, body)
            assert caught.value.sent
            assert seen == 2


async def test_a_fresh_connection_that_ends_is_not_tried_again() -> None:
    seen = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await read_request(reader)
        seen += 1

    async with server(script) as address, pooled() as pool:
        with pytest.raises(UpstreamBroken) as caught:
            await pool.exchange(origin(address), "GET", HEAD)
        assert caught.value.sent
    assert seen == 1


async def test_nothing_is_sent_again_once_something_of_an_answer_arrived() -> None:
    seen = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while await read_request(reader):
            seen += 1
            writer.write(OK if seen == 1 else b"HTTP/1.1 2")
            await writer.drain()
            if seen == 2:
                return

    async with server(script) as address, pooled() as pool:
        await pool.exchange(origin(address), "GET", HEAD)
        with pytest.raises(UpstreamBroken):
            await pool.exchange(origin(address), "GET", HEAD)
    assert seen == 2


# --- framing ------------------------------------------------------------------------------------------------------

FRAMINGS: list[tuple[str, bytes, int, bytes, bool]] = [
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", True),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", 200, b"abc", False),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", 200, b"abc", True),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 200, b"abc", True),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n", 200, b"", False),
    ("GET", b"HTTP/1.1 200 OK\r\n\r\nabc", 200, b"abc", False),
    ("GET", b"HTTP/1.0 200 OK\r\n\r\nabc", 200, b"abc", False),
    ("GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", True),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n", 304, b"", True),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", 200, b"", True),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b"", True),
    ("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, 200, b"ok", True),
    ("GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    ("GET", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", True),
    ("GET", b"HTTP/1.1 200 OK\r\nX: a\r\n  b\r\nContent-Length : 2\r\n\r\nok", 200, b"ok", True),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA", 200, b"ok", False),
    ("GET", b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", 299, b"", True),
]


@pytest.mark.parametrize(("method", "sent", "status", "body", "kept"), FRAMINGS)
@pytest.mark.parametrize("split", [False, True])
async def test_answers_end_where_their_framing_says(
    method: str, sent: bytes, status: int, body: bytes, kept: bool, split: bool
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for i in range(0, len(sent), 1 if split else len(sent)):
            writer.write(sent[i : i + (1 if split else len(sent))])
            await asyncio.sleep(0)
        if b"ontent-" not in sent and b"Transfer" not in sent and status == 200:
            return  # ended by closing
        await read_request(reader)

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), method, HEAD)
        got = answer.whole if answer.whole is not None else b"".join([piece async for piece in pieces_of(answer)])
        assert (answer.status, got) == (status, body)
        if not (split and b"EXTRA" in sent):
            assert pool.idle == kept


BROKEN = [
    b"",
    b"garbage\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 300 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
]


@pytest.mark.parametrize("sent", BROKEN, ids=range(len(BROKEN)))
async def test_an_answer_that_breaks_is_never_taken_for_whole(sent: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(sent)
        await writer.drain()

    async with server(script) as address, pooled() as pool:
        with pytest.raises(UpstreamBroken) as caught:
            await whole(pool, address)
        assert caught.value.sent
        assert pool.idle == 0


async def test_trailers_come_after_the_body() -> None:
    recorder = Recorder(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\n"
    )
    async with server(recorder) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "GET", HEAD)
        assert (answer.whole, answer.trailers) == (b"ok", [(b"X-Sum", b"7")])


async def test_a_small_answer_that_comes_in_two_packets_is_handed_over_whole() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await asyncio.sleep(0.01)
        writer.write(b"def")
        await writer.drain()

    async with server(script) as address, pooled(gather_s=5) as pool:
        assert (await pool.exchange(origin(address), "GET", HEAD)).whole == b"abcdef"


async def test_a_small_answer_that_takes_its_time_is_streamed() -> None:
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await go_on.wait()
        writer.write(b"def")
        await writer.drain()
        await read_request(reader)

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "GET", HEAD)
        assert answer.whole is None
        assert await answer.next() == b"abc"
        go_on.set()
        assert await answer.read(100) == b"def"
        assert pool.idle == 1


async def test_an_idle_connection_that_says_something_is_dropped() -> None:
    talk = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            writer.write(OK)
            await talk.wait()
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")

    async with server(script) as address, pooled() as pool:
        await pool.exchange(origin(address), "GET", HEAD)
        assert pool.idle == 1
        talk.set()
        await soon(lambda: pool.idle == 0)


async def test_the_apis_own_keep_alive_limit_is_kept() -> None:
    recorder = Recorder(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n")
    async with server(recorder) as address, pooled() as pool:
        await pool.exchange(origin(address), "GET", HEAD)
        assert pool.idle == 0


async def test_idle_connections_do_not_live_for_ever() -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled(idle_timeout_s=0.1) as pool:
        await pool.exchange(origin(address), "GET", HEAD)
        assert pool.idle == 1
        await soon(lambda: recorder.closed == 1)
        assert pool.idle == 0


async def test_a_body_on_a_get_costs_the_connection() -> None:
    """Servers that ignore it would read it as the next request, and so choose the next answer."""
    recorder = Recorder()
    async with server(recorder) as address, pooled() as pool:
        await pool.exchange(origin(address), "GET", b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n", b"hi")
        assert pool.idle == 0


# --- uploads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100, 70_000, 3_000_000])
async def test_streamed_uploads_arrive_byte_for_byte(size: int) -> None:
    recorder = Recorder()
    data = bytes(range(256)) * (size // 256 + 1)
    parts = [data[:size], b"", b"end"]
    async with server(recorder) as address, pooled() as pool:
        await pool.exchange(origin(address), "POST", CHUNKED, pieces(*parts), chunked=True)
        length = sum(map(len, parts))
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length
        await pool.exchange(origin(address), "POST", head, pieces(*parts))
        assert recorder.connections == 1
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    assert recorder.requests == [CHUNKED + framed + b"0\r\n\r\n", head + b"".join(parts)]


async def test_an_empty_stream_is_still_a_request() -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled() as pool:
        await pool.exchange(origin(address), "POST", CHUNKED, pieces(), chunked=True)
    assert recorder.requests == [CHUNKED + b"0\r\n\r\n"]


async def test_an_answer_that_comes_before_the_upload_ends() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(65536)
        finally:
            closed.set()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()
        while await reader.read(65536):
            pass

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "POST", CHUNKED, endless(), chunked=True)
        assert (answer.status, answer.whole, pool.idle) == (413, b"big", 0)
        answer.close()
        async with asyncio.timeout(1):
            await closed.wait()


async def test_an_answer_that_streams_while_the_upload_runs() -> None:
    """Both directions at once: each piece up is answered by a piece down."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def dialogue() -> AsyncIterator[bytes]:
        yield b"0"
        for n in range(1, 5):
            assert await heard.get() == b"%d" % (n - 1)
            yield b"%d" % n

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readuntil(b"\r\n"), 16):
            writer.write(b"%x\r\n%b" % (size, await reader.readexactly(size + 2)))
        await reader.readexactly(2)
        writer.write(b"0\r\n\r\n")
        await read_request(reader)

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "POST", CHUNKED, dialogue(), chunked=True)
        got = []
        async for piece in pieces_of(answer):
            got.append(piece)
            heard.put_nowait(piece)
        assert got == [b"0", b"1", b"2", b"3", b"4"]
        assert pool.idle == 1


class SourceBrokeError(Exception):
    pass


@pytest.mark.parametrize("after_answer", [False, True])
async def test_an_upload_whose_source_breaks_ends_the_exchange_with_that_error(after_answer: bool) -> None:
    received = bytearray()
    begun, done = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"abc"
        await begun.wait()
        raise SourceBrokeError

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"abc\r\n"))
        if after_answer:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nx")
        else:
            begun.set()
        with contextlib.suppress(ConnectionError):
            received.extend(await reader.read())
        done.set()

    async def call(pool: Pool, address: tuple[str, int]) -> None:
        answer = await pool.exchange(origin(address), "POST", CHUNKED, source(), chunked=True)
        assert await answer.next() == b"x"
        begun.set()
        await answer.next()

    async with server(script) as address, pooled() as pool:
        with pytest.raises(SourceBrokeError):
            await call(pool, address)
        async with asyncio.timeout(1):
            await done.wait()
    assert not received.endswith(b"0\r\n\r\n")


# --- time, and other ends -----------------------------------------------------------------------------------------


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_silence_is_a_read_timeout() -> None:
    async with server(silent) as address, pooled() as pool:
        with pytest.raises(UpstreamTimeout) as caught:
            await pool.exchange(origin(address), "POST", POST, b"hi", read_timeout_s=0.05)
        assert (caught.value.phase, caught.value.sent) == ("read", True)


async def test_silence_in_the_middle_of_a_body_is_a_read_timeout() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.read()

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "GET", HEAD, read_timeout_s=0.05)
        assert await answer.next() == b"a"
        with pytest.raises(UpstreamTimeout):
            await answer.next()


async def test_a_stream_that_keeps_coming_is_no_silence_but_has_a_total() -> None:
    written = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            written += 1
            writer.write(b"1\r\na\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(script) as address, pooled() as pool:
        with pytest.raises(UpstreamTimeout) as caught:
            await whole(pool, address, read_timeout_s=0.1, total_timeout_s=0.4)
        assert caught.value.phase == "total"
        assert written > 10


async def test_a_reader_that_takes_its_time_is_not_the_apis_silence() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000))
        await writer.drain()
        await read_request(reader)

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "GET", HEAD, read_timeout_s=0.1)
        await asyncio.sleep(0.35)
        assert sum([len(piece) async for piece in pieces_of(answer)]) == 5_000_000
        assert pool.idle == 1


async def test_a_connection_that_is_not_accepted_is_a_connect_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        async with pooled() as pool:
            fillers = [asyncio.create_task(asyncio.open_connection(*address)) for _ in range(4)]
            await asyncio.sleep(0.05)
            with pytest.raises(UpstreamTimeout) as caught:
                await pool.exchange(origin(address), "GET", HEAD, connect_timeout_s=0.1)
            assert (caught.value.phase, caught.value.sent) == ("connect", False)
            for filler in fillers:
                filler.cancel()
            await asyncio.gather(*fillers, return_exceptions=True)


async def test_nobody_listening_is_unreachable_and_nothing_was_sent() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    async with pooled() as pool:
        with pytest.raises(UpstreamUnreachable) as caught:
            await pool.exchange(origin(address), "POST", POST, b"hi")
        assert not caught.value.sent


@pytest.mark.parametrize("phase", ["head", "body", "upload"])
async def test_cancelling_closes_the_apis_connection_at_once(phase: str) -> None:
    gone = asyncio.Event()
    begun = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if phase == "body":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        begun.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        gone.set()

    async def stall() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def call(pool: Pool, address: tuple[str, int]) -> None:
        if phase == "upload":
            await pool.exchange(origin(address), "POST", CHUNKED, stall(), chunked=True)
        answer = await pool.exchange(origin(address), "GET", HEAD)
        try:
            async for _ in pieces_of(answer):
                pass
        finally:
            answer.close()  # as whoever has an answer does in the end

    async with server(script) as address, pooled() as pool:
        attempt = asyncio.create_task(call(pool, address))
        await begun.wait()
        await asyncio.sleep(0.02)
        attempt.cancel()
        async with asyncio.timeout(0.3):
            await gone.wait()
        await asyncio.gather(attempt, return_exceptions=True)
        assert pool.idle == 0


async def test_an_answer_given_up_closes_the_apis_connection() -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nabc")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with server(script) as address, pooled() as pool:
        answer = await pool.exchange(origin(address), "GET", HEAD)
        answer.close()
        answer.close()
        async with asyncio.timeout(0.3):
            await gone.wait()


async def test_the_caller_knows_what_was_sent_even_when_cancelled() -> None:
    begun = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        begun.set()
        await reader.read()

    async with server(script) as address, pooled() as pool:
        attempt = Attempt()
        task = asyncio.create_task(pool.exchange(origin(address), "GET", HEAD, attempt=attempt))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (attempt.sent, attempt.responded) == (True, False)


# --- where it connects --------------------------------------------------------------------------------------------


async def test_a_name_is_tried_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled() as pool:
        loop = asyncio.get_running_loop()

        async def two(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            assert host == "api.example"
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            ]

        with monkeypatch.context() as patched:
            _resolver(patched, loop, two)
            answer = await pool.exchange(Origin("http", "api.example", address[1]), "GET", HEAD)
        assert answer.whole == b"ok"


def _resolver(patched: pytest.MonkeyPatch, loop: asyncio.AbstractEventLoop, resolver: object) -> None:
    """There is no name server here: names resolve to what the test says, for our own look-ups only."""

    class Loop:
        getaddrinfo = staticmethod(resolver)  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(loop, name)

    class Asyncio:
        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        @staticmethod
        def get_running_loop() -> Loop:
            return Loop()

    patched.setattr(dial, "asyncio", Asyncio())


@pytest.mark.parametrize("resolved", ["127.0.0.1", "169.254.169.254", "::1", "10.1.2.3", "::ffff:127.0.0.1"])
async def test_a_public_name_that_resolves_to_a_private_address_is_not_connected_to(
    resolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled() as pool:
        loop = asyncio.get_running_loop()

        async def private(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            family = socket.AF_INET6 if ":" in resolved else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (resolved, port))]

        with monkeypatch.context() as patched:
            _resolver(patched, loop, private)
            with pytest.raises(UpstreamUnreachable) as caught:
                await pool.exchange(Origin("http", "rebind.example", address[1], allow_private=False), "GET", HEAD)
        assert caught.value.detail == "private address"
        assert recorder.connections == 0


async def test_a_connection_opened_for_an_allowed_destination_is_not_lent_to_another() -> None:
    recorder = Recorder()
    async with server(recorder) as address, pooled() as pool:
        await pool.exchange(Origin("http", *address, allow_private=True), "GET", HEAD)
        with pytest.raises(UpstreamUnreachable):
            await pool.exchange(Origin("http", *address, allow_private=False), "GET", HEAD)
        assert len(recorder.requests) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for api.example, signed by itself; the path of a PEM with key and certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=api.example"),
            *("-addext", "subjectAltName=DNS:api.example,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


@contextlib.asynccontextmanager
async def tls_server(certificate: Path, recorder: Recorder) -> AsyncIterator[tuple[str, int]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await recorder(reader, writer)
        writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[:2]
    finally:
        listening.close()


async def test_https_is_verified_and_kept_alive(certificate: Path) -> None:
    recorder = Recorder()
    trusting = dial.tls_context()
    trusting.load_verify_locations(certificate)
    async with tls_server(certificate, recorder) as address, pooled(tls=trusting) as pool:
        for _ in range(3):
            answer = await pool.exchange(Origin("https", *address), "POST", POST, b"hi")
            assert answer.whole == b"ok"
            answer.close()
            await asyncio.sleep(0.01)
        assert recorder.connections == 1


@pytest.mark.parametrize("trusted", [False, True])
async def test_https_with_the_wrong_certificate_is_unreachable(certificate: Path, trusted: bool) -> None:
    recorder = Recorder()
    context = dial.tls_context()
    if trusted:
        context.load_verify_locations(certificate)
    async with tls_server(certificate, recorder) as address, pooled(tls=context) as pool:
        with pytest.raises(UpstreamUnreachable, match="certificate"):
            await pool.exchange(Origin("https", "localhost" if trusted else address[0], address[1]), "GET", HEAD)
        assert recorder.requests == []


async def test_plain_http_where_https_is_expected_is_unreachable() -> None:
    async with server(Recorder()) as address, pooled() as pool:
        with pytest.raises(UpstreamError) as caught:
            await pool.exchange(Origin("https", *address), "GET", HEAD, connect_timeout_s=2)
        assert not caught.value.sent
