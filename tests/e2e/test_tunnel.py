"""CONNECT: a tunnel is priced by connection and by size, and refused like any call."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import PATIENCE_S, Backend, Reply, Seen, Signal, raw_exchange, running_backend
from tests.e2e.support import eventually
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
budgets:
  - {{name: monthly, limit: 15000, period: month}}
callers:
  - {{name: batch, key: "${{E2E_BATCH}}"}}
apis:
  - name: plain
    upstream: http://127.0.0.2:{port}
    prices:
      - {{name: tunnel, match: {{method: CONNECT}}, per_connection: 2, per_kb: {{up: 1, down: 0.5}}, max_kb: 1000}}
  - name: calls-only
    upstream: http://127.0.0.3:{port}
    prices:
      - {{match: {{method: GET}}, per_request: 1}}
  - name: poor
    upstream: http://127.0.0.4:{port}
    budget: {{limit: 10, period: month}}
    prices:
      - {{match: {{method: CONNECT}}, per_connection: 10}}
  - name: down
    upstream: http://127.0.0.5:1
    prices:
      - {{match: {{method: CONNECT}}, per_connection: 1}}
  - name: secure
    upstream: https://127.0.0.6:{tls_port}
    prices:
      - {{match: {{method: CONNECT}}, per_connection: 1}}
"""

KEY = "vk-batch-secret"
AUTH = f"Proxy-Authorization: Bearer {KEY}\r\n"


@pytest.fixture(scope="module")
def module_backend() -> Iterator[Backend]:
    with running_backend("0.0.0.0") as backend:  # noqa: S104 - one server under several loopback addresses
        yield backend


@pytest.fixture(scope="module")
def secure(folder: Callable[[str], Path]) -> Iterator[tuple[Backend, Path]]:
    """An upstream with TLS and a certificate of its own making."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    place = folder("tls")
    key, certificate = place / "key.pem", place / "certificate.pem"
    subject = ("-subj", "/CN=upstream.test", "-addext", "subjectAltName=IP:127.0.0.6")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-keyout", str(key), "-out", str(certificate), *subject),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running_backend("127.0.0.6", context) as backend:
        yield backend, certificate


@pytest.fixture(scope="module")
def proxy(
    module_backend: Backend, secure: tuple[Backend, Path], folder: Callable[[str], Path]
) -> Iterator[RunningProxy]:
    rules = RULES.format(port=module_backend.port, tls_port=secure[0].port)
    with running_proxy(rules, folder("tunnel"), "--log-format", "json", env={"E2E_BATCH": KEY}) as running:
        yield running


def open_tunnel(proxy: RunningProxy, authority: str, extra: str = AUTH) -> tuple[socket.socket, bytes]:
    """The connection after CONNECT, and the head of the answer."""
    connection = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
    connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{extra}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1)
        assert piece, head
        head += piece
    return connection, head


def last_tunnel(proxy: RunningProxy, api: str, known: set[str]) -> dict[str, object]:
    def find() -> dict[str, object] | None:
        rows = proxy.ledger("--last", "50")
        return next((row for row in rows if row["api"] == api and row["id"] not in known), None)

    return eventually(find, f"the entry of a tunnel to {api}")


def known(proxy: RunningProxy) -> set[str]:
    return {str(row["id"]) for row in proxy.ledger("--last", "200")}


def test_a_tunnel_costs_its_connection_and_every_kilobyte(proxy: RunningProxy, backend: Backend) -> None:
    async def large(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"d" * 10_000, 200)

    backend.answer = large
    before = known(proxy)
    connection, head = open_tunnel(proxy, f"127.0.0.2:{backend.port}")
    assert head.startswith(b"HTTP/1.1 200")
    request = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"u" * 5000
    with connection:
        connection.sendall(request)
        answer = b""
        while len(answer.partition(b"\r\n\r\n")[2]) < 10_000:
            answer += connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    row = last_tunnel(proxy, "plain", before)
    up, down = Decimal(len(request)), Decimal(len(answer))
    assert backend.requests[0].body == b"u" * 5000
    assert (row["method"], row["path"], row["status"], row["state"]) == (
        "CONNECT",
        f"127.0.0.2:{backend.port}",
        200,
        "settled",
    )
    expected = (2 + up / 1024 + down / 1024 / 2).quantize(Decimal("0.000001"), "ROUND_HALF_UP")
    assert Decimal(str(row["cost"])) == expected
    terms = row["terms"]
    assert isinstance(terms, list)
    quantities = {term["name"]: Decimal(term["quantity"]) for term in terms}
    assert quantities == {"per_connection": 1, "kb_up": up / 1024, "kb_down": down / 1024}


def test_bytes_pass_both_ways_as_they_come(proxy: RunningProxy, backend: Backend) -> None:
    heard = Signal("the first answer at the client")

    async def answer(seen: Seen, reply: Reply) -> None:
        await reply.head(200, length=6)
        await reply.send(b"one")
        await heard.happens()
        await reply.send(b"two")

    backend.answer = answer
    connection, _ = open_tunnel(proxy, f"127.0.0.2:{backend.port}")
    with connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while not received.endswith(b"one"):
            received += connection.recv(65536)
        heard.set()
        while not received.endswith(b"two"):
            received += connection.recv(65536)


def test_nothing_of_the_callers_key_goes_through(proxy: RunningProxy, backend: Backend) -> None:
    connection, _ = open_tunnel(proxy, f"127.0.0.2:{backend.port}")
    with connection:
        connection.sendall(b"GET /exactly HTTP/1.1\r\nHost: a\r\n\r\n")
        (seen,) = backend.wait_requests(1)
    assert seen.raw == b"GET /exactly HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_real_tls_handshake_goes_through(proxy: RunningProxy, secure: tuple[Backend, Path]) -> None:
    backend, certificate = secure
    before = known(proxy)
    context = ssl.create_default_context(cafile=str(certificate))
    address = proxy.url.replace("http://", f"http://{KEY}:@")
    with httpx.Client(proxy=httpx.Proxy(address), verify=context, trust_env=False) as client:
        assert client.get(f"https://127.0.0.6:{backend.port}/x").json() == {"ok": True}
    row = last_tunnel(proxy, "secure", before)
    assert (row["caller"], Decimal(str(row["cost"]))) == ("batch", 1)


def refused(proxy: RunningProxy, authority: str, extra: str = AUTH) -> tuple[int, dict[str, str], dict[str, object]]:
    answer = raw_exchange(
        proxy.port, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{extra}\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, json.loads(body)


def test_without_a_rule_for_tunnels_it_is_403(proxy: RunningProxy, backend: Backend) -> None:
    for authority in (f"127.0.0.3:{backend.port}", "unknown.invalid:443"):
        status, _, problem = refused(proxy, authority)
        assert (status, problem["reason"]) == (403, "no_rule")
    assert backend.requests == []


def test_when_the_money_is_gone_it_is_refused(proxy: RunningProxy, backend: Backend) -> None:
    before = known(proxy)
    connection, head = open_tunnel(proxy, f"127.0.0.4:{backend.port}")
    connection.close()
    assert head.startswith(b"HTTP/1.1 200")
    last_tunnel(proxy, "poor", before)
    connections = backend.connections
    status, headers, problem = refused(proxy, f"127.0.0.4:{backend.port}")
    assert (status, problem["reason"]) == (503, "budget_stopped")
    assert headers["x-should-retry"] == "false"
    assert int(headers["retry-after"]) > 0
    assert backend.connections == connections


def test_an_unknown_caller_is_407(proxy: RunningProxy, backend: Backend) -> None:
    status, headers, problem = refused(proxy, f"127.0.0.2:{backend.port}", extra="")
    assert (status, problem["reason"]) == (407, "unknown_caller")
    assert headers["proxy-authenticate"]


def test_an_api_that_is_down_is_502_and_free(proxy: RunningProxy, backend: Backend) -> None:
    status, headers, problem = refused(proxy, "127.0.0.5:1")
    assert (status, problem["reason"]) == (502, "upstream_unreachable")
    (row,) = proxy.ledger("--id", headers["x-spendgate-request-id"])
    assert Decimal(row["cost"]) == 0
