"""The listening side, spoken to by clients that are slow, rude, broken, or gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.core.http1 import Malformed
from proxy.data.server import BadRequest, Exchange, Limits, Listener
from tests.data.rawsockets import connect, soon

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


@contextlib.asynccontextmanager
async def listening(
    handler: Callable[[Exchange], Awaitable[None]], limits: Limits | None = None, drain_s: float = 0
) -> AsyncIterator[Listener]:
    def refuse(request: BadRequest, status: int, code: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return [(b"X-Code", code.encode())], b"refused"

    listener = Listener(handler, limits, on_bad_request=refuse)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.drain(drain_s)


async def echo(exchange: Exchange) -> None:
    body = await exchange.body.read(1 << 20)
    assert body is not None
    line = f"{exchange.method} {exchange.target} {exchange.version}".encode()
    await exchange.respond(200, [], line + b" " + body)


async def test_answers_several_requests_on_one_connection() -> None:
    async with listening(echo) as listener, connect(listener.addresses[0]) as client:
        for n in range(3):
            await client.send(b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" % n)
            assert (await client.response()).body == b"POST /%d (1, 1) hi" % n


async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    running = 0

    async def slow_first(exchange: Exchange) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.05 if exchange.target == "/0" else 0)
        running -= 1
        await exchange.respond(200, [], exchange.target.encode())

    async with listening(slow_first) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(5)))
        for n in range(5):
            assert (await client.response()).body == b"/%d" % n


async def test_a_request_that_arrives_byte_by_byte() -> None:
    async with listening(echo) as listener, connect(listener.addresses[0]) as client:
        await client.trickle(b"\r\nPOST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.trickle(b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.response()).body == b"POST /x (1, 1) abcde"
        assert (await client.response()).body == b"GET /y (1, 1) "


async def test_trailers_of_one_request_are_not_headers_of_the_next() -> None:
    seen = []

    async def note(exchange: Exchange) -> None:
        await exchange.body.read(100)
        seen.append((exchange.headers, exchange.body.trailers))
        await exchange.respond(200, [])

    async with listening(note) as listener, connect(listener.addresses[0]) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nZ\r\n0\r\nX-Evil: 1\r\n\r\n"
        )
        await client.response()
        await client.send(GET)
        await client.response()
    assert seen[0][1] == [(b"X-Evil", b"1")]
    assert seen[1] == ([(b"Host", b"h")], [])


async def test_headers_come_as_sent() -> None:
    seen = []

    async def note(exchange: Exchange) -> None:
        seen.extend(exchange.headers)
        await exchange.respond(200, [])

    async with listening(note) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"GET / HTTP/1.1\r\nhOsT: h\r\nX-A:  1\t\r\nx-a: \r\nX-A: caf\xe9\r\n\r\n")
        await client.response()
    assert seen == [(b"hOsT", b"h"), (b"X-A", b"1"), (b"x-a", b""), (b"X-A", b"caf\xe9")]


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [("HEAD", 200, b"5"), ("GET", 204, None), ("GET", 304, None), ("GET", 200, b"5"), ("GET", 599, b"5")],
)
async def test_whole_answers_have_the_framing_their_status_allows(
    method: str, status: int, length: bytes | None
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.respond(status, [(b"X-A", b"1")], b"hello")

    async with listening(answer) as listener, connect(listener.addresses[0]) as client:
        for _ in range(2):
            await client.send(b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method.encode())
            response = await client.response(method)
            assert (response.status, response.named.get(b"content-length")) == (status, length)
            assert response.named[b"x-a"] == b"1"


async def test_a_stream_of_unknown_length_is_chunked_with_trailers() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start(200, [(b"Trailer", b"X-Cost")])
        await exchange.write(b"one")
        await exchange.write(b"")
        await exchange.write(b"2" * 100_000)
        await exchange.finish([(b"X-Cost", b"1.5")])

    async with listening(answer) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET + GET)
        for _ in range(2):
            response = await client.response()
            assert response.body == b"one" + b"2" * 100_000
            assert response.trailers == [(b"X-Cost", b"1.5")]


async def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"abc")
        await exchange.finish()

    async with listening(answer) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = await client.response()
        assert response.body == b"abc"
        assert b"transfer-encoding" not in response.named
        assert response.named[b"connection"] == b"close"


async def test_http_1_0_keep_alive_is_told_so() -> None:
    async with listening(echo) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert (await client.response()).named[b"connection"] == b"keep-alive"
        await client.send(b"GET /b HTTP/1.0\r\n\r\n")
        assert (await client.response()).named[b"connection"] == b"close"
        assert await client.rest() == b""


@pytest.mark.parametrize("length", [None, 10])
async def test_an_aborted_answer_looks_incomplete(length: int | None) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start(200, [], length)
        await exchange.write(b"abc")
        exchange.abort()

    async with listening(answer) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.response()


async def test_an_answer_shorter_than_announced_is_cut_and_a_longer_one_is_refused() -> None:
    raised = []

    async def answer(exchange: Exchange) -> None:
        await exchange.start(200, [], 5)
        if exchange.target == "/long":
            try:
                await exchange.write(b"123456")
            except ValueError as error:
                raised.append(error)
        await exchange.finish()

    async with listening(answer) as listener:
        for path in (b"/short", b"/long"):
            async with connect(listener.addresses[0]) as client:
                await client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
                with pytest.raises(asyncio.IncompleteReadError):
                    await client.response()
    assert len(raised) == 1


@pytest.mark.parametrize("started", [False, True])
async def test_a_handler_that_fails_is_a_500_or_a_cut(started: bool) -> None:
    async def fail(exchange: Exchange) -> None:
        if started:
            await exchange.start(200, [])
            await exchange.write(b"x")
        raise KeyError("bug")

    async with listening(fail) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        if started:
            with pytest.raises(asyncio.IncompleteReadError):
                await client.response()
        else:
            response = await client.response()
            assert (response.status, response.named[b"x-code"]) == (500, b"internal_error")
            assert await client.rest() == b""


async def test_a_handler_that_forgets_to_answer_is_a_500() -> None:
    async def forget(exchange: Exchange) -> None:
        return

    async with listening(forget) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        assert (await client.response()).status == 500


# --- request bodies -----------------------------------------------------------------------------------------------


async def test_continue_is_sent_when_the_body_is_first_read() -> None:
    gate = asyncio.Event()

    async def read_late(exchange: Exchange) -> None:
        await gate.wait()
        await exchange.respond(200, [], await exchange.body.read(100) or b"")

    async with listening(read_late) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        with pytest.raises(TimeoutError):
            await client.until(b"\r\n\r\n", timeout=0.1)
        gate.set()
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.response()).body == b"abc"


async def test_continue_is_never_sent_when_the_request_is_refused_first() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(402, [], b"no")

    async with listening(refuse) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        response = await client.response()
        assert (response.status, response.interim, response.named[b"connection"]) == (402, [], b"close")
        assert await client.rest() == b""


async def test_continue_is_not_sent_for_a_body_that_is_too_large_to_read() -> None:
    async def look(exchange: Exchange) -> None:
        assert await exchange.body.read(10) is None
        await exchange.respond(413, [], b"")

    async with listening(look) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
        assert (await client.response()).interim == []


async def test_a_small_unread_body_is_swallowed_and_the_connection_lives() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(402, [], b"no")

    async with listening(refuse) as listener, connect(listener.addresses[0]) as client:
        for _ in range(2):
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n")
            response = await client.response()
            assert response.status == 402
            assert b"connection" not in response.named
            await client.send(b"x" * 5000)


async def test_a_large_unread_body_costs_the_connection_but_not_the_answer() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(402, [], b"no money")

    async with listening(refuse) as listener, connect(listener.addresses[0]) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 200_000)
        response = await client.response()
        assert (response.body, response.named[b"connection"]) == (b"no money", b"close")


async def test_a_body_beyond_the_limit_is_kept_and_streamed() -> None:
    async def read_then_stream(exchange: Exchange) -> None:
        assert await exchange.body.read(4) is None
        body = b"".join([piece async for piece in exchange.body.chunks()])
        await exchange.respond(200, [], body)

    async with listening(read_then_stream) as listener, connect(listener.addresses[0]) as client:
        for framing, body in (
            (b"Content-Length: 10", b"0123456789"),
            (b"Transfer-Encoding: chunked", b"3\r\n012\r\n3\r\n345\r\n4\r\n6789\r\n0\r\n\r\n"),
        ):
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n" + body[:9])
            await asyncio.sleep(0.01)
            await client.send(body[9:])
            assert (await client.response()).body == b"0123456789"


@pytest.mark.parametrize(
    "body",
    [b"5\r\nabcdeX\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"0x1\r\na\r\n", b"1\na\r\n", b"1 \r\na\r\n", b"1;\x01\r\n"],
)
@pytest.mark.parametrize("whole", [True, False])
async def test_a_broken_chunk_is_refused_whenever_it_comes(body: bytes, whole: bool) -> None:
    errors = []

    async def read(exchange: Exchange) -> None:
        try:
            await exchange.body.read(100)
        except Malformed as error:
            errors.append(error.code)
            raise

    async with listening(read) as listener, connect(listener.addresses[0]) as client:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        if whole:
            await client.send(head + body)
        else:
            await client.send(head)
            await asyncio.sleep(0.01)
            await client.trickle(body)
        response = await client.response()
        assert (response.status, response.named[b"x-code"]) == (400, b"bad_chunk")
        assert await client.rest() == b""
    assert errors == ([] if whole else ["bad_chunk"])


async def test_a_body_that_ends_early_is_refused() -> None:
    async with listening(echo) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        client.half_close()
        response = await client.response()
        assert (response.status, response.named[b"x-code"]) == (400, b"body_cut_short")


async def test_a_client_that_sends_faster_than_the_handler_reads_is_held_back() -> None:
    go_on = asyncio.Event()

    async def stuck(exchange: Exchange) -> None:
        await go_on.wait()
        size = 0
        async for piece in exchange.body.chunks():
            size += len(piece)
        await exchange.respond(200, [], b"%d" % size)

    async with listening(stuck) as listener, connect(listener.addresses[0]) as client:
        total = 64 * 1024 * 1024
        client.writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % total)
        client.writer.write(bytes(total))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.writer.drain()
        go_on.set()
        assert (await client.response()).body == b"%d" % total


# --- who is gone --------------------------------------------------------------------------------------------------


class Held:
    """A handler that waits until it is cancelled or let go."""

    def __init__(self, *, stream: bool) -> None:
        self.stream = stream
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if self.stream:
            await exchange.start(200, [])
            await exchange.write(b"x")
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            assert exchange.client_gone or self.stream
            self.cancelled.set()
            raise
        if self.stream:
            await exchange.finish()
        else:
            await exchange.respond(200, [], b"done")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_cancels_its_handler_at_once(how: str, stream: bool) -> None:
    held = Held(stream=stream)
    async with listening(held) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        await held.begun.wait()
        if how == "close":
            client.writer.close()
        else:
            client.reset()
        async with asyncio.timeout(0.5):
            await held.cancelled.wait()
        await soon(lambda: not listener.connections)


async def test_a_client_that_only_stops_sending_gets_its_answer() -> None:
    held = Held(stream=False)
    async with listening(held) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        await held.begun.wait()
        client.half_close()
        await asyncio.sleep(0.1)  # as long as it would take to be mistaken for gone
        assert not held.cancelled.is_set()
        held.go_on.set()
        response = await client.response()
        assert (response.body, response.interim) == (b"done", [100])
        assert await client.rest() == b""


async def test_a_client_that_stops_sending_gets_all_its_pipelined_answers() -> None:
    async with listening(echo) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET * 3)
        client.half_close()
        for _ in range(3):
            assert (await client.response()).body == b"GET /a (1, 1) "
        assert await client.rest() == b""


async def test_a_handler_that_has_answered_may_finish_its_book_keeping() -> None:
    answered, gone, settled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def settle_later(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"ok")
        answered.set()
        await gone.wait()
        settled.set()

    async with listening(settle_later) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        await answered.wait()
        client.reset()
        await soon(lambda: not listener.connections)
        gone.set()
        async with asyncio.timeout(1):
            await settled.wait()


async def test_a_slow_reader_holds_the_handler_back() -> None:
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.start(200, [])
        for _ in range(1000):
            await exchange.write(bytes(65536))
            sent += 65536
        await exchange.finish()

    async with listening(flood) as listener, connect(listener.addresses[0]) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await asyncio.sleep(0.3)
        assert sent < 30_000_000
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.response()).body) == 65536 * 1000


# --- limits and time ----------------------------------------------------------------------------------------------

QUICK = Limits(
    head_timeout_s=0.15, idle_timeout_s=0.15, body_timeout_s=0.15, max_head=4096, max_target=512, max_headers=10
)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /" + b"a" * 600 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, b"target_too_long"),
        (b"GET /" + b"a" * 600, 414, b"target_too_long"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 5000 + b"\r\n\r\n", 431, b"head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 5000, 431, b"head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: 1\r\n" * 10 + b"\r\n", 431, b"too_many_headers"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", 408, b"head_timeout"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, b"bad_request_line"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", 408, b"body_timeout"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n", 417, b"unknown_expectation"),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, b"http_version"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n", 400, b"bad_length"),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400, b"bare_line_break"),
    ],
)
async def test_what_is_too_large_too_slow_or_hopeless_is_answered_and_closed(
    request_: bytes, status: int, code: bytes
) -> None:
    async with listening(echo, QUICK) as listener, connect(listener.addresses[0]) as client:
        await client.send(request_)
        response = await client.response()
        assert (response.status, response.named[b"x-code"]) == (status, code)
        assert (response.body, response.named[b"connection"]) == (b"refused", b"close")
        assert await client.rest() == b""


async def test_a_head_may_not_trickle_in_for_ever() -> None:
    async with listening(echo, QUICK) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        statuses = []

        async def read() -> None:
            statuses.append((await client.response()).status)

        reading = asyncio.create_task(read())
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                await client.send(b"X")
                await asyncio.sleep(0.02)
        await reading
        assert statuses == [408]


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with listening(echo, QUICK) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        await client.response()
        assert await client.rest() == b""
        assert not listener.connections


async def test_a_connection_too_many_is_told_so() -> None:
    async with listening(echo, Limits(max_connections=1)) as listener, connect(listener.addresses[0]) as first:
        await first.send(GET)
        await first.response()
        async with connect(listener.addresses[0]) as second:
            assert (await second.response()).status == 503
            assert await second.rest() == b""
        await first.send(GET)
        assert (await first.response()).status == 200


async def test_more_pipelined_than_allowed_waits_in_the_clients_socket() -> None:
    gate = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await gate.wait()
        await exchange.respond(200, [], b"")

    many = 20_000
    async with listening(wait) as listener, connect(listener.addresses[0]) as client:
        client.writer.write(GET * many)
        await asyncio.sleep(0.1)
        assert sum(len(one._pending) for one in listener.connections) < 1024 * 1024
        gate.set()
        for _ in range(many):
            assert await client.until(b"\r\n\r\n")


# --- drain --------------------------------------------------------------------------------------------------------


async def test_drain_closes_idle_finishes_what_runs_and_takes_nothing_new() -> None:
    held = Held(stream=False)
    async with listening(held) as listener:
        address = listener.addresses[0]
        async with connect(address) as busy, connect(address) as idle:
            await busy.send(GET)
            await held.begun.wait()
            await soon(lambda: len(listener.connections) == 2)
            draining = asyncio.create_task(listener.drain(5))
            assert await idle.rest() == b""
            with pytest.raises(ConnectionError):
                async with connect(address):
                    pass
            held.go_on.set()
            response = await busy.response()
            assert (response.body, response.named[b"connection"]) == (b"done", b"close")
            await busy.rest()
        async with asyncio.timeout(3):
            await draining


async def test_drain_cancels_what_does_not_end_in_time() -> None:
    held = Held(stream=True)
    async with listening(held) as listener, connect(listener.addresses[0]) as client:
        await client.send(GET)
        await held.begun.wait()
        async with asyncio.timeout(3):
            await listener.drain(0.05)
        assert held.cancelled.is_set()
        assert not listener.connections


async def test_a_taken_over_connection_is_raw() -> None:
    async def take(exchange: Exchange) -> None:
        transport, early = exchange.take_over()
        transport.write(b"raw:" + early)
        transport.close()

    async with listening(take) as listener, connect(listener.addresses[0]) as client:
        await client.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nearly")
        assert await client.rest() == b"raw:early"
        await soon(lambda: not listener.connections)
