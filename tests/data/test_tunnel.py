"""CONNECT tunnels: every byte, both ways, until one side, the clock or the money ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from proxy.data.server import Exchange, Listener
from proxy.data.tunnel import MayGoOn, TunnelEnd, open_tunnel
from proxy.data.upstream import UpstreamUnreachable
from tests.data.rawsockets import Client, Script, connect, server, soon

CONNECT = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """Tunnels to wherever CONNECT says; keeps how each tunnel ended."""

    def __init__(self, **options: object) -> None:
        self.options = options
        self.ends: list[TunnelEnd] = []
        self.cancelled = 0
        self.listener = Listener(self.handle)

    async def handle(self, exchange: Exchange) -> None:
        host, _, port = exchange.target.rpartition(":")
        try:
            tunnel = await open_tunnel(host, int(port))
        except UpstreamUnreachable:
            await exchange.respond(502, [])
            return
        try:
            client, early = exchange.take_over()
            self.ends.append(
                await tunnel.run(client, early, half_closed=exchange.half_closed, **self.options)  # type: ignore[arg-type]
            )
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            tunnel.close()


@contextlib.asynccontextmanager
async def listening(proxy: Proxy) -> AsyncIterator[Proxy]:
    await proxy.listener.start()
    try:
        yield proxy
    finally:
        await proxy.listener.drain(0)


@contextlib.asynccontextmanager
async def tunnelled(script: Script, **options: object) -> AsyncIterator[tuple[Proxy, Client]]:
    async with (
        listening(Proxy(**options)) as proxy,
        server(script) as address,
        connect(proxy.listener.addresses[0]) as client,
    ):
        await client.send(CONNECT % (address[1], address[1]))
        assert await client.until(b"\r\n\r\n") == ESTABLISHED
        yield proxy, client


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def test_bytes_go_both_ways_and_are_counted() -> None:
    async with tunnelled(echo) as (proxy, client):
        payload = bytes(range(256)) * 4000
        client.writer.write(payload)
        assert await client.exactly(len(payload)) == payload
        client.half_close()
        assert await client.rest() == b""
        await soon(lambda: len(proxy.ends) == 1)
    end = proxy.ends[0]
    assert (end.bytes_up, end.bytes_down, end.reason) == (len(payload), len(payload), "closed")


async def test_a_client_that_stops_sending_still_receives() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(b"%d" % len(everything))

    async with tunnelled(answer_at_the_end) as (proxy, client):
        await client.send(b"x" * 1000)
        client.half_close()
        assert await client.rest() == b"1000"
        await soon(lambda: len(proxy.ends) == 1)


async def test_an_api_that_stops_sending_still_receives() -> None:
    received = asyncio.get_running_loop().create_future()

    async def speak_then_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        received.set_result(await reader.read())

    async with tunnelled(speak_then_listen) as (_, client):
        assert await client.rest() == b"bye"
        await client.send(b"last words")
        client.half_close()
        assert await received == b"last words"


async def test_bytes_that_came_with_the_head_are_forwarded_first() -> None:
    async with listening(Proxy()) as proxy, server(echo) as address, connect(proxy.listener.addresses[0]) as client:
        await client.send(CONNECT % (address[1], address[1]) + b"early ")
        await client.send(b"and late")
        client.half_close()
        assert await client.rest() == ESTABLISHED + b"early and late"


async def test_the_end_of_one_side_reaches_the_other() -> None:
    gone = asyncio.Event()

    async def until_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        gone.set()
        writer.close()

    async with tunnelled(until_reset) as (proxy, client):
        client.reset()
        async with asyncio.timeout(1):
            await gone.wait()
        await soon(lambda: len(proxy.ends) == 1)
        assert proxy.ends[0].reason == "client_gone"


async def test_an_api_that_dies_closes_the_client() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        Client(reader, writer).reset()

    async with tunnelled(die) as (proxy, client):
        await client.send(b"x")
        with contextlib.suppress(ConnectionError):
            assert await client.rest() == b""
        await soon(lambda: len(proxy.ends) == 1)


async def test_nobody_there_is_still_a_refusal() -> None:
    async with server(echo) as address:
        pass
    async with listening(Proxy()) as proxy, connect(proxy.listener.addresses[0]) as client:
        await client.send(CONNECT % (address[1], address[1]))
        assert (await client.response()).status == 502


async def test_silence_ends_a_tunnel() -> None:
    async with tunnelled(echo, idle_timeout_s=0.1) as (proxy, client):
        await client.send(b"x")
        assert await client.rest() == b"x"
        await soon(lambda: len(proxy.ends) == 1)
        assert proxy.ends[0].reason == "idle"


@pytest.mark.parametrize("reader_is", ["client", "api"])
async def test_a_slow_reader_holds_the_other_side_back(reader_is: str) -> None:
    sent = 0
    go_on = asyncio.Event()

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reader_is == "client":
            await flood(writer)
        else:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await go_on.wait()

    async with tunnelled(script) as (_, client):
        if reader_is == "client":
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.3)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await flood(client.writer)
        assert sent < 32 * 1024 * 1024
        go_on.set()


@pytest.mark.parametrize("by", ["bytes", "seconds"])
async def test_a_tunnel_is_stopped_when_it_may_not_go_on(by: str) -> None:
    asked: list[tuple[int, int, float]] = []

    async def ask(up: int, down: int, seconds: float) -> bool:
        asked.append((up, down, seconds))
        return len(asked) < 3

    options: dict[str, object] = {"may_go_on": ask}
    options |= {"check_bytes": 1_000_000} if by == "bytes" else {"check_s": 0.05}

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while by == "bytes":
                writer.write(bytes(100_000))
                await writer.drain()
            await reader.read()

    async with tunnelled(flood, **options) as (proxy, client):
        with contextlib.suppress(ConnectionError):
            await client.rest()
        await soon(lambda: len(proxy.ends) == 1)
    end = proxy.ends[0]
    assert (end.reason, len(asked)) == ("stopped", 3)
    if by == "bytes":
        assert 3_000_000 <= end.bytes_down < 3_000_000 + 3 * 300_000
        assert end.bytes_down == asked[-1][1]  # nothing moved while it was asked
    else:
        assert 0.149 <= end.seconds < 5


async def test_nothing_moves_while_the_question_is_open() -> None:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def ask(up: int, down: int, seconds: float) -> bool:
        asked.set()
        return await answer

    may: MayGoOn = ask
    async with tunnelled(echo, may_go_on=may, check_bytes=100) as (_, client):
        await client.send(b"x" * 100)
        await asked.wait()
        await client.send(b"y" * 100)
        with pytest.raises(TimeoutError):
            await client.until(b"y", timeout=0.1)
        answer.set_result(True)
        assert b"y" in await client.until(b"y")
        client.half_close()


async def test_cancelling_a_tunnel_closes_both_sides() -> None:
    gone = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with tunnelled(listen) as (proxy, client):
        async with asyncio.timeout(3):
            await proxy.listener.drain(0)
        assert proxy.cancelled == 1
        with contextlib.suppress(ConnectionError):
            assert await client.rest() == b""
        async with asyncio.timeout(1):
            await gone.wait()
