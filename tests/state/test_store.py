"""The one connection: every way to reach a server, few writes a loop turn, and scripts that survive being forgotten."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import ScriptError, Store, StoreUnavailable
from tests.harness import free_port
from tests.state.calls import ask, bill, monthly
from tests.state.conftest import a_server, eventually


async def test_calls_of_one_loop_turn_leave_in_few_writes(store: Store) -> None:
    async def reads() -> int:
        info = (await store.call("INFO", "stats")).decode()
        return int(next(line for line in info.splitlines() if line.startswith("total_reads_processed:"))[22:])

    before = await reads()
    replies = await asyncio.gather(*(store.call("ECHO", str(number)) for number in range(300)))
    assert replies == [str(number).encode() for number in range(300)]
    assert await reads() - before <= 77  # one for every four calls, the question itself, and what came before


async def test_scripts_that_the_server_forgot_are_sent_again(store: Store, gate: Gate) -> None:
    await store.call("SCRIPT", "FLUSH")
    call = await gate.admit(ask(1, monthly()))
    assert (await gate.settle(call, bill(1), 200)).done  # type: ignore[arg-type]


async def test_a_refused_command_is_an_error_of_ours(store: Store) -> None:
    with pytest.raises(ScriptError, match="wrong number"):
        await store.call("GET")
    await store.call("SET", "text", "x")
    with pytest.raises(ScriptError, match="WRONGTYPE"):
        await store.call("HGET", "text", "field")
    assert store.connected


async def test_waiting_calls_fail_when_the_connection_is_closed_and_the_store_comes_back(store: Store) -> None:
    connected = asyncio.Event()
    store.on_connected.append(connected.set)
    mine = await store.call("CLIENT", "ID")
    waiting = store.call("BLPOP", "nothing", 30)
    other = Store(store.url)
    assert await other.start()
    await other.call("CLIENT", "KILL", "ID", mine)
    with pytest.raises(StoreUnavailable):
        await waiting
    await asyncio.wait_for(connected.wait(), 5)
    assert await store.call("PING") == b"PONG"
    await other.close()


@pytest.mark.parametrize(
    "complaint",
    [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "MISCONF Redis is configured to save RDB snapshots, but is unable to persist to disk.",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
async def test_a_server_that_is_there_but_cannot_serve_counts_as_away(complaint: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Enough of the protocol: agrees to everything, until it is asked for a value.
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            writer.write(f"-{complaint}\r\n".encode() if words[0] == b"GET" else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = Store(f"redis://127.0.0.1:{port}")
    assert await store.start()
    with pytest.raises(StoreUnavailable, match=complaint.split()[0]):
        await store.call("GET", "anything")
    assert store.connected
    await store.close()
    server.close()
    await server.wait_closed()


def certificate(folder: Path) -> tuple[Path, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return key, cert


def supports_tls(program: str) -> bool:
    done = subprocess.run([program, "--tls-port", "0", "--port", "70000"], capture_output=True, text=True, check=False)
    return "tls-port" not in done.stdout + done.stderr


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("way", ["redis", "rediss", "unix"])
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_every_way_in_with_password_and_database(
    name: str, way: str, loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    port, extra = free_port(), ["--requirepass", "s3cret/&="]
    if way == "rediss":
        key, cert = certificate(tmp_path)
        extra += ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
        extra += ["--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"]
    try:
        with a_server(name, tmp_path / "s", *extra, port=port if way == "redis" else 0) as server:
            url = {
                "redis": f"redis://:s3cret%2F%26%3D@127.0.0.1:{port}/3",
                "rediss": f"rediss://default:s3cret%2F%26%3D@127.0.0.1:{port}/3?ssl_ca_certs={tmp_path}/cert.pem",
                "unix": f"unix://{server.socket}?db=3&password=s3cret%2F%26%3D",
            }[way]
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(_use(url))
                runner.run(_be_refused(url.replace("s3cret", "wrong")))
    except AssertionError as error:
        if way == "rediss" and "tls" in str(error).lower():
            pytest.skip(f"this {name} server was built without TLS")
        raise


async def _use(url: str) -> None:
    store = Store(url, client_name="spendgate-test")
    assert await store.start(), store.reason
    gate = Gate(store, Keys())
    call = await gate.admit(ask(1, monthly(), at_ms=gate.now_ms()))
    assert (await gate.settle(call, bill(1), 200)).done  # type: ignore[arg-type]
    assert b"db=3" in await store.call("CLIENT", "LIST")
    assert await store.call("CLIENT", "GETNAME") == b"spendgate-test"
    big = "x" * 3_000_000
    assert await asyncio.gather(store.call("ECHO", big), store.call("ECHO", "y")) == [big.encode(), b"y"]
    await store.close()
    with pytest.raises(StoreUnavailable):
        store.call("PING")


async def _be_refused(url: str) -> None:
    store = Store(url)
    assert not await store.start()
    # On a busy machine the first attempts may meet their time limit; the store tries again by itself.
    await eventually(lambda: "password" in store.reason.lower() or "WRONGPASS" in store.reason, within_s=30)
    assert not store.connected
    await store.close()


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme"):
        Store("http://localhost:6379")
