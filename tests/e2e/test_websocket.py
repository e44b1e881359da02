"""WebSockets: carried byte for byte whichever way they come in, priced as the rules say, and ended with a reason."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.certificates import TestAuthority
from tests.e2e.backend import PATIENCE_S, Signal
from tests.e2e.support import eventually, krw
from tests.harness import ROOT, RunningProxy, running_proxy

HOST = "127.0.0.30"
MILLION = Decimal(1_000_000)

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: sock
    upstream: http://127.0.0.1:{port}
    hosts: ["127.0.0.31:{port}"]
    prices:
      - {{name: echo, match: {{path: /echo}}, per_connection: 5, per_message: {{up: 1, down: 0.5}}, max_messages: 10}}
      - {{name: minutes, match: {{path: /minutes}}, per_minute: 7, per_kb: {{up: 0.01, down: 0.02}}}}
      - {{name: calls, match: {{path: /calls}}, per_request: 1}}
      - {{name: gift, match: {{path: /gift, websocket: true}}, free: true}}
      - {{name: refused, match: {{path: /refused}}, per_connection: 9}}
  - name: realtime
    upstream: http://127.0.0.1:{port}
    mount: realtime
    prices:
      - {{match: {{method: GET, path: /v1/realtime}}, catalog: openai, max_input_tokens: 1000, max_output_tokens: 500}}
  - name: own
    upstream: http://127.0.0.1:{port}
    prices:
      - match: {{path: /v1/realtime}}
        tokens: {{input: 1000, cached_input: 100, output: 4000, audio: 5000, audio_output: 9000}}
        max_input_tokens: 100
        max_output_tokens: 100
  - name: short
    upstream: http://127.0.0.1:{port}
    budget: {{limit: 10, period: month}}
    prices:
      - {{match: {{path: /echo}}, per_message: {{up: 1, down: 1}}, max_messages: 1}}
  - name: watched
    upstream: http://127.0.0.1:{port}
    breaker: {{consecutive: 2, window: 60s, open_for: 100ms, open_at_most: 100ms, probes: 1}}
    prices: [{{free: true, match: {{path: /**, websocket: true}}}}]
  - name: inner
    upstream: https://{host}:{tls_port}
    intercept: true
    upstream_ca: test-ca.pem
    prices:
      - {{match: {{path: /echo}}, per_connection: 2, per_message: {{up: 1}}}}
"""


class Sockets:
    """A real WebSocket server (the websockets library) on a loop of its own. `serve_` decides each session."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.behave: Callable[[ServerConnection], Awaitable[None]] = echo
        self.ended: list[tuple[int | None, str | None]] = []
        self.over = Signal("the end of a session at the API")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.port, self.tls_port = self._run(self._start(tls))

    def _run(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    async def _start(self, tls: ssl.SSLContext) -> tuple[int, int]:
        async def session(connection: ServerConnection) -> None:
            try:
                await self.behave(connection)
                await connection.wait_closed()
            except ConnectionClosed:
                pass
            finally:
                self.ended.append((connection.close_code, connection.close_reason))
                self.over.set()

        def refuse(connection: ServerConnection, request: Any) -> Any:
            return connection.respond(401, "no such key\n") if request.path == "/refused" else None

        options: dict[str, Any] = {"process_request": refuse, "max_size": 1 << 25, "close_timeout": 1}
        everywhere = "0.0.0.0"  # noqa: S104 - loopback has many addresses
        self._servers = [
            await serve(session, everywhere, 0, **options),
            await serve(session, HOST, 0, ssl=tls, **options),
        ]
        ports = [next(iter(server.sockets)).getsockname()[1] for server in self._servers]
        return ports[0], ports[1]

    def reset(self) -> None:
        self.behave = echo
        self.ended.clear()
        self.over = Signal("the end of a session at the API")

    def close(self) -> None:
        for server in self._servers:
            self._loop.call_soon_threadsafe(server.close)
            self._run(server.wait_closed())
        self._loop.call_soon_threadsafe(self._loop.stop)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("w")


@pytest.fixture(scope="module")
def module_sockets(folder: Path) -> Iterator[Sockets]:
    sockets = Sockets(TestAuthority(folder).server(HOST))
    yield sockets
    sockets.close()


@pytest.fixture
def sockets(module_sockets: Sockets) -> Sockets:
    module_sockets.reset()
    return module_sockets


def rules(sockets: Sockets) -> str:
    return RULES.format(port=sockets.port, tls_port=sockets.tls_port, host=HOST)


@pytest.fixture(scope="module")
def proxy(module_sockets: Sockets, folder: Path) -> Iterator[RunningProxy]:
    with running_proxy(rules(module_sockets), folder, "--log-format", "json") as running:
        yield running


def at(proxy: RunningProxy, path: str) -> str:
    return f"ws://127.0.0.1:{proxy.port}{path}"


@asynccontextmanager
async def opened(proxy: RunningProxy, path: str, **more: Any) -> AsyncIterator[Any]:
    async with connect(at(proxy, path), proxy=None, max_size=1 << 25, close_timeout=3, **more) as one:
        yield one


def row_of(proxy: RunningProxy, connection: Any) -> dict[str, Any]:
    wanted = connection.response.headers["X-Spendgate-Request-Id"]
    return eventually(lambda: next(iter(proxy.ledger("--id", wanted)), None), "the session's ledger entry")


def quantities(row: dict[str, Any]) -> dict[str, Decimal]:
    return {term["name"]: Decimal(term["quantity"]) for term in row["terms"]}


# --- carried ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages_pass_both_ways_and_are_priced(proxy: RunningProxy, sockets: Sockets, compression: Any) -> None:
    sent = ["hello", "안녕", b"\x00\xff" * 10, "", "x" * 200_000, b"y" * 1_000_000]
    async with opened(proxy, "/sock/echo", compression=compression) as connection:
        for message in sent:
            await connection.send(message)
            assert await connection.recv() == message
        await connection.send(["a fragment, ", "another, ", "the last"])
        assert await connection.recv() == "a fragment, another, the last"
        await (await connection.ping())
    assert connection.close_code == 1000
    row = row_of(proxy, connection)
    assert (row["rule"], row["status"], row["state"]) == ("sock/echo", 101, "settled")
    assert quantities(row) == {"per_connection": 1, "messages_up": 7, "messages_down": 7}
    assert Decimal(row["cost"]) == Decimal("15.5")


async def test_many_messages_at_once_keep_their_order_under_back_pressure(
    proxy: RunningProxy, sockets: Sockets
) -> None:
    count = 400
    async with opened(proxy, "/sock/minutes", compression=None) as connection:

        async def send() -> None:
            for number in range(count):
                await connection.send(number.to_bytes(4, "big") * 10_000)

        sending = asyncio.create_task(send())
        for number in range(count):
            assert (await connection.recv())[:4] == number.to_bytes(4, "big")
        await sending
    row = row_of(proxy, connection)
    seen = quantities(row)
    assert seen["minutes"] == 1
    assert all(count * 40_000 / 1024 < seen[name] < count * 40_100 / 1024 for name in ("kb_up", "kb_down"))


async def test_an_intercepted_websocket_is_priced_like_any_other(proxy: RunningProxy, sockets: Sockets) -> None:
    context = ssl.create_default_context(cafile=str(proxy.data / "ca" / "ca.pem"))
    uri = f"wss://{HOST}:{sockets.tls_port}/echo"
    async with connect(uri, proxy=proxy.url, ssl=context, close_timeout=3) as connection:
        await connection.send("inside")
        assert await connection.recv() == "inside"
    assert connection.close_code == 1000
    row = row_of(proxy, connection)
    assert (row["rule"], Decimal(row["cost"])) == ("inner/1", 3)


async def test_a_websocket_through_the_forward_proxy(proxy: RunningProxy, sockets: Sockets) -> None:
    url = f"http://127.0.0.31:{sockets.port}/echo"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, proxy=proxy.url) as connection:
        await connection.send_str("through")
        assert (await connection.receive()).data == "through"
        await connection.close()

    def found() -> dict[str, Any] | None:
        return next(
            (row for row in proxy.ledger("--last", "5") if row["path"] == "/echo" and row["api"] == "sock"), None
        )

    assert eventually(found, "the entry")["status"] == 101


async def test_nodes_client(proxy: RunningProxy, sockets: Sockets) -> None:
    program = ["node", str(ROOT / "tests/node/websocket.mjs"), at(proxy, "/sock/echo")]
    done = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, timeout=30, check=False)
    assert json.loads(done.stdout) == {"heard": ["one", "two", "x" * 20], "code": 1000, "reason": "enough"}


# --- usage events -----------------------------------------------------------------------------------------------------


def response_done(text_in: int, audio_in: int, cached: int, text_out: int, audio_out: int) -> str:
    """OpenAI's Realtime event, as its documentation shows it."""
    usage = {
        "total_tokens": text_in + audio_in + text_out + audio_out,
        "input_tokens": text_in + audio_in,
        "output_tokens": text_out + audio_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0},
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }
    return json.dumps({"type": "response.done", "response": {"id": "resp_1", "status": "completed", "usage": usage}})


async def speak(connection: ServerConnection) -> None:
    """Two answers of a realtime model."""
    await connection.send(json.dumps({"type": "session.created", "session": {"model": "gpt-realtime"}}))
    for numbers in ((100, 50, 40, 20, 300), (200, 80, 150, 30, 400)):
        await connection.recv()
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "resp_1", "usage": None}}))
        await connection.send(json.dumps({"type": "response.output_audio.delta", "delta": "AAAA" * 1000}))
        await connection.send(response_done(*numbers))


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_a_realtime_session_costs_the_sum_of_its_answers(
    proxy: RunningProxy, sockets: Sockets, compression: Any
) -> None:
    sockets.behave = speak
    async with opened(proxy, "/realtime/v1/realtime?model=gpt-realtime", compression=compression) as connection:
        for _ in range(2):
            await connection.send(json.dumps({"type": "response.create"}))
        heard = [json.loads(await connection.recv())["type"] for _ in range(7)]
    assert heard.count("response.done") == 2
    row = row_of(proxy, connection)
    # US dollars per million tokens of gpt-realtime: text 4 / 0.40 cached / 16 out, audio 32 in / 64 out.
    dollars = (
        Decimal(300 - 190) * 4
        + Decimal(190) * Decimal("0.4")
        + Decimal(130) * 32
        + Decimal(50) * 16
        + Decimal(700) * 64
    ) / MILLION
    assert (row["model"], row["state"], Decimal(row["cost"])) == ("gpt-realtime", "settled", krw(dollars))


async def test_a_realtime_session_at_the_rules_own_prices(proxy: RunningProxy, sockets: Sockets) -> None:
    sockets.behave = speak
    async with opened(proxy, "/own/v1/realtime") as connection:
        for _ in range(2):
            await connection.send("{}")
        for _ in range(7):
            await connection.recv()
    row = row_of(proxy, connection)
    won = (
        Decimal(110) * 1000 + Decimal(190) * 100 + Decimal(130) * 5000 + Decimal(50) * 4000 + Decimal(700) * 9000
    ) / MILLION
    assert Decimal(row["cost"]) == won


async def test_an_answer_that_was_cut_is_charged_like_the_largest(proxy: RunningProxy, sockets: Sockets) -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.send(response_done(100, 0, 0, 50, 0))
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "resp_2"}}))
        await connection.recv()
        connection.transport.abort()

    sockets.behave = vanish
    async with opened(proxy, "/own/v1/realtime") as connection:
        assert json.loads(await connection.recv())["type"] == "response.done"
        await connection.recv()
        await connection.send("go")
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    row = row_of(proxy, connection)
    assert (row["state"], row["note"]) == ("estimated", "answer_cut")
    assert Decimal(row["cost"]) == 2 * (Decimal(100) * 1000 + Decimal(50) * 4000) / MILLION


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [("/sock/calls", 403, "no_rule"), ("/sock/other", 403, "no_rule"), ("/nothing/here", 403, "no_rule")],
)
async def test_a_price_for_a_call_opens_no_websocket(
    path: str, status: int, reason: str, proxy: RunningProxy, sockets: Sockets
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(proxy, path):
            pass
    assert refused.value.response.status_code == status
    assert refused.value.response.headers["X-Spendgate-Reason"] == reason


async def test_free_where_the_rule_says_websocket(proxy: RunningProxy, sockets: Sockets) -> None:
    async with opened(proxy, "/sock/gift") as connection:
        await connection.send("x")
        assert await connection.recv() == "x"
    assert Decimal(row_of(proxy, connection)["cost"]) == 0


async def test_an_api_that_does_not_want_to_is_heard_and_not_paid(proxy: RunningProxy, sockets: Sockets) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(proxy, "/sock/refused"):
            pass
    answer = refused.value.response
    assert (answer.status_code, answer.body) == (401, b"no such key\n")
    (row,) = proxy.ledger("--id", answer.headers["X-Spendgate-Request-Id"])
    assert (row["status"], Decimal(row["cost"])) == (401, 0)


HEAD = "GET /sock/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    "fields",
    ["", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n"],
    ids=["key", "version"],
)
def test_a_handshake_that_is_none_reaches_nobody(fields: str, proxy: RunningProxy, sockets: Sockets) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as connection:
        connection.sendall(f"{HEAD}{fields}\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert sockets.ended == []


# --- ended ------------------------------------------------------------------------------------------------------------


async def test_when_the_money_runs_out_both_sides_are_told(proxy: RunningProxy, sockets: Sockets) -> None:
    async with opened(proxy, "/short/echo") as connection:
        heard = 0
        with contextlib.suppress(ConnectionClosed):
            while heard < 20:
                await connection.send("again")
                await connection.recv()
                heard += 1
    assert (connection.close_code, connection.close_reason) == (4402, "spendgate: budget_exhausted: api:short")
    sockets.over.wait()
    assert sockets.ended == [(1001, "")]
    row = row_of(proxy, connection)
    assert 8 <= Decimal(row["cost"]) <= 10  # the budget's limit
    assert 4 <= heard <= 5
    with pytest.raises(InvalidStatus) as refused:
        async with opened(proxy, "/short/echo"):
            pass
    assert refused.value.response.status_code in (402, 503)


def raw_session(proxy: RunningProxy, path: str) -> socket.socket:
    key = base64.b64encode(b"0123456789abcdef").decode()
    connection = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return connection


def test_a_client_that_does_not_mask_is_cut_and_nothing_of_it_goes_on(proxy: RunningProxy, sockets: Sockets) -> None:
    with raw_session(proxy, "/sock/echo") as connection:
        connection.sendall(b"\x81\x05hello")
        received = connection.recv(200)
        assert received[0] == 0x88
        assert int.from_bytes(received[2:4], "big") == 1002
        assert received[4:] == b"not_masked"
    sockets.over.wait()
    assert sockets.ended == [(1002, "not_masked")]


@pytest.mark.parametrize("who", ["client", "api"])
async def test_a_side_that_vanishes_is_paid_for_what_was(who: str, proxy: RunningProxy, sockets: Sockets) -> None:
    async def once(connection: ServerConnection) -> None:
        await connection.send(await connection.recv())
        if who == "api":
            connection.transport.abort()

    sockets.behave = once
    async with opened(proxy, "/sock/echo") as connection:
        await connection.send("one")
        assert await connection.recv() == "one"
        if who == "client":
            connection.transport.abort()
    row = row_of(proxy, connection)
    assert Decimal(row["cost"]) == Decimal("6.5")


async def test_a_proxy_that_stops_says_so_and_settles(sockets: Sockets, tmp_path: Path, folder: Path) -> None:
    text = rules(sockets).replace("upstream_ca: test-ca.pem", f"upstream_ca: {folder / 'test-ca.pem'}")
    with running_proxy(text, tmp_path, "--drain", "0.2") as proxy:
        async with opened(proxy, "/sock/echo") as connection:
            await connection.send("one")
            assert await connection.recv() == "one"
            proxy.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                await connection.recv()
        assert connection.close_code == 1001
        sockets.over.wait()
        assert sockets.ended == [(1001, "")]
        await asyncio.to_thread(proxy.process.wait, 20)
        assert [Decimal(row["cost"]) for row in proxy.ledger("--last", "5")] == [Decimal("6.5")]


async def test_killed_it_is_charged_at_what_was_held(sockets: Sockets, tmp_path: Path, folder: Path) -> None:
    text = rules(sockets).replace("upstream_ca: test-ca.pem", f"upstream_ca: {folder / 'test-ca.pem'}")
    with running_proxy(text, tmp_path, "--lease", "1") as proxy:
        async with opened(proxy, "/sock/echo") as connection:
            await connection.send("one")
            assert await connection.recv() == "one"
            proxy.process.kill()
            with pytest.raises(ConnectionClosed):
                await connection.recv()
    with running_proxy(text, tmp_path, "--lease", "1") as again:
        (row,) = await asyncio.to_thread(eventually, lambda: again.ledger("--last", "5"), "the reclaimed entry", 20.0)
    assert (row["state"], Decimal(row["cost"])) == ("unconfirmed", 5 + 10 + 5)  # ten messages each way were held


# --- and the circuit --------------------------------------------------------------------------------------------------


def circuit(proxy: RunningProxy) -> dict[str, Any]:
    (found,) = next(one for one in proxy.status()["apis"] if one["name"] == "watched")["breakers"]
    return dict(found)


async def test_a_circuit_hears_how_sessions_end_and_a_probe_need_not_end(proxy: RunningProxy, sockets: Sockets) -> None:
    async def at_fault(connection: ServerConnection) -> None:
        await connection.close(1011, "out of memory")

    async def tried() -> Any:
        """The open session, or why there is none."""
        try:
            return await connect(at(proxy, "/watched/echo"), proxy=None)
        except InvalidStatus as error:
            return json.loads(error.response.body)["reason"]

    async with opened(proxy, "/watched/echo") as connection:
        await connection.send("one")
        assert await connection.recv() == "one"
    row_of(proxy, connection)
    assert (circuit(proxy)["calls"], circuit(proxy)["failures"]) == (1, 0)
    sockets.behave = at_fault
    for _ in range(2):
        async with opened(proxy, "/watched/echo") as connection:
            with pytest.raises(ConnectionClosed):
                await connection.recv()
        row_of(proxy, connection)
    assert circuit(proxy)["why"] == "consecutive"
    sockets.behave = echo
    async with asyncio.timeout(20):
        while (probe := await tried()) == "circuit_open":
            pass
    # The probe's session lives on; others need not wait for its end.
    await asyncio.to_thread(eventually, lambda: circuit(proxy)["state"] == "closed", "the circuit closing")
    other = await tried()
    await other.close()
    await probe.close()
