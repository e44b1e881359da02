"""The inside of an intercepted tunnel: every recorded raw case, and programs that name other hosts."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.core.interception import Scope
from proxy.core.model import Caller, OnPinned
from proxy.data.exchange import Exchange
from proxy.data.inbound import Inside, Opening
from proxy.data.intercept import Interceptor
from proxy.data.leaves import Leaves
from tests.core.test_interception import rule_set
from tests.data.plainproxy import PlainProxy
from tests.data.rawsockets import Client, Recorder, server
from tests.data.test_wire_cases import judge

HOST = "llm.test"
RULES = rule_set("upstream: https://llm.test\n    intercept: true")
PASSING = replace(RULES.apis[0], on_pinned=OnPinned.TUNNEL)


class InterceptingProxy(PlainProxy):
    """Opens every CONNECT to the one host; what is inside goes to the upstream, as in reverse mode."""

    def __init__(self, host: str, port: int, leaves: Leaves) -> None:
        super().__init__(host, port)
        self.interceptor = Interceptor(leaves)
        self.interceptor.listener = self.listener
        self.inside: list[Inside] = []

    async def forward(self, exchange: Exchange) -> None:
        if exchange.method != "CONNECT":
            await super().forward(exchange)
            return
        name, _, port = exchange.target.rpartition(":")
        opening = Opening(PASSING, name, int(port), Caller())
        assert await self.interceptor.open(exchange, opening, self._inner) is None

    async def _inner(self, exchange: Exchange, inside: Inside) -> None:
        self.inside.append(inside)
        await super().forward(exchange)


@pytest.fixture
async def leaves(tmp_path: Path) -> Leaves:
    made = Leaves(tmp_path / "ca")
    await made.follow(Scope((HOST,)))
    return made


@pytest.fixture
def trusting(leaves: Leaves) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(leaves.folder / "ca.pem"))


async def tunnel(
    proxy: PlainProxy, context: ssl.SSLContext, authority: str = f"{HOST}:443", name: str = HOST
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    await writer.start_tls(context, server_hostname=name)
    return reader, writer


@pytest.fixture
async def proxy(leaves: Leaves) -> AsyncIterator[tuple[InterceptingProxy, Recorder]]:
    recorder = Recorder()
    async with server(recorder) as upstream, InterceptingProxy(*upstream, leaves) as running:
        yield running, recorder


async def converse(
    case: dict[str, Any], raw: bytes, leaves: Leaves, context: ssl.SSLContext
) -> tuple[list[int], bool, list[bytes]]:
    recorder = Recorder()
    async with server(recorder) as upstream, InterceptingProxy(*upstream, leaves) as proxy:
        raw = raw.replace(b"{{TARGET}}", b"/v1/chat/completions")
        raw = raw.replace(b"{{HOSTNAME}}", HOST.encode()).replace(b"{{HOST}}", HOST.encode())
        received, closed = b"", False
        reader, writer = await tunnel(proxy, context)
        try:
            writer.write(raw)
            await writer.drain()
            if case.get("half_close"):
                writer.close()
            while True:
                async with asyncio.timeout(0.4):
                    data = await reader.read(65536)
                if not data:
                    closed = True
                    break
                received += data
        except TimeoutError:
            pass
        except (ConnectionError, ssl.SSLError):
            closed = True
        writer.transport.abort()
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]
        return [status for status in statuses if status >= 200], closed, recorder.requests


async def test_every_recorded_case_inside_a_tunnel(material: Path, leaves: Leaves, trusting: ssl.SSLContext) -> None:
    folder = material / "http"
    cases = [json.loads(line) for line in (folder / "cases.open.jsonl").read_text().splitlines()]
    cases = [case for case in cases if case.get("mode") != "forward" and not case.get("half_close")]
    assert len(cases) > 50
    together = asyncio.Semaphore(20)

    async def run(case: dict[str, Any]) -> str | None:
        async with together:
            outcome = await converse(case, (folder / case["file"]).read_bytes(), leaves, trusting)
        problem = judge(case, *outcome)
        return problem and f"{case['id']} {case['level']} {case['name']}: {problem} {outcome[0]}"

    problems = [problem for problem in await asyncio.gather(*map(run, cases)) if problem]
    assert problems == []


async def test_a_name_is_served_with_its_own_certificate(
    proxy: tuple[InterceptingProxy, Recorder], trusting: ssl.SSLContext
) -> None:
    running, recorder = proxy
    reader, writer = await tunnel(running, trusting)
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: llm.test\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET /again HTTP/1.1\r\nHost: llm.test\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert [one.host for one in running.inside] == [HOST, HOST]
    assert len(recorder.requests) == 2
    writer.close()
    reader, writer = await tunnel(running, trusting, "eu.llm.test:443", "eu.llm.test")
    writer.write(b"GET /below HTTP/1.1\r\nHost: eu.llm.test\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert running.interceptor.counts == {"opened": 2}


async def test_a_server_name_of_another_host_is_not_served(
    proxy: tuple[InterceptingProxy, Recorder], trusting: ssl.SSLContext
) -> None:
    running, recorder = proxy
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await tunnel(running, trusting, f"{HOST}:443", "eu.llm.test")
    assert recorder.requests == []


async def test_a_plain_inside_is_seen_too(proxy: tuple[InterceptingProxy, Recorder]) -> None:
    running, _ = proxy
    reader, writer = await asyncio.open_connection(*running.address)
    client = Client(reader, writer)
    await client.send(b"CONNECT llm.test:80 HTTP/1.1\r\nHost: llm.test:80\r\n\r\n")
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await client.send(b"GET /plain HTTP/1.1\r\nHost: llm.test\r\n\r\n")
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert [(one.scheme, one.port) for one in running.inside] == [("http", 80)]
    writer.close()


async def test_who_cannot_be_intercepted_is_remembered_for_a_while(
    proxy: tuple[InterceptingProxy, Recorder],
) -> None:
    running, _ = proxy
    interceptor, api = running.interceptor, PASSING
    noted: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
    interceptor.noted = lambda *what: noted.put_nowait(what)
    assert interceptor.opens(api, HOST, Caller())

    def shake() -> None:  # asyncio closes without an alert, blocking sockets send one
        with socket.create_connection(running.address, 10) as connection:
            connection.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
            assert connection.recv(1000).endswith(b"\r\n\r\n")
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(connection, server_hostname=HOST)

    await asyncio.to_thread(shake)
    async with asyncio.timeout(10):
        assert await noted.get() == (HOST, "anonymous", "certificate_refused")
    assert not interceptor.opens(api, HOST, Caller())
    assert interceptor.opens(api, HOST, Caller("batch"))
    assert interceptor.opens(api, "eu.llm.test", Caller())


async def test_without_an_authority_the_connect_is_refused(tmp_path: Path) -> None:
    recorder = Recorder()
    empty = Leaves(tmp_path / "none")
    async with server(recorder) as upstream, InterceptingProxy(*upstream, empty) as running:
        refused: list[Any] = []
        opening = Opening(RULES.apis[0], HOST, 443, Caller())

        async def forward(exchange: Exchange) -> None:
            refused.append(await running.interceptor.open(exchange, opening, running._inner))
            await exchange.respond(502, [])

        running.forward = forward  # type: ignore[method-assign]
        reader, writer = await asyncio.open_connection(*running.address)
        writer.write(b"CONNECT llm.test:443 HTTP/1.1\r\nHost: llm.test:443\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
        assert "no certificate authority" in refused[0].denied.detail["problem"]
        writer.close()
