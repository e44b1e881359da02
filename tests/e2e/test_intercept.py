"""HTTPS through the proxy with `intercept: true`: every call inside is priced, refused and streamed like any other."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import TestAuthority
from tests.e2e.backend import (
    PATIENCE_S,
    Backend,
    Reply,
    Seen,
    Signal,
    chat_events,
    running_backend,
)
from tests.e2e.support import chat_body, entry, eventually, krw, request_id_of, usd
from tests.harness import RunningProxy, running_proxy

HOSTS = {
    name: f"127.0.0.{number}" for number, name in enumerate(("llm", "pinned", "poor", "stale", "wrong", "busy"), 10)
}

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: llm
    upstream: https://{llm}:{port}
    intercept: true
    upstream_ca: test-ca.pem
    credentials: {{header: X-Real-Key, value: "${{REAL_KEY}}"}}
    prices:
      - {{name: tunnel, match: {{method: CONNECT}}, per_connection: 7}}
      - {{name: models, match: {{method: GET, path: /v1/models*}}, free: true}}
      - {{name: chat, match: {{method: POST, path: /v1/chat/**}}, catalog: openai}}
  - name: pinned
    upstream: https://{pinned}:{port}
    intercept: true
    on_pinned: tunnel
    upstream_ca: test-ca.pem
    prices:
      - {{name: tunnel, match: {{method: CONNECT}}, per_connection: 3}}
      - {{name: call, match: {{path: /**}}, per_request: 2}}
  - name: poor
    upstream: https://{poor}:{port}
    intercept: true
    upstream_ca: test-ca.pem
    speaks: openai
    budget: {{limit: 10, period: month}}
    prices:
      - {{per_request: 6}}
  - name: busy
    upstream: https://{busy}:{port}
    intercept: true
    upstream_ca: test-ca.pem
    rate_limits: [2/hour]
    prices:
      - {{per_request: 1}}
  - name: stale
    upstream: https://{stale}:{stale_port}
    intercept: true
    upstream_ca: test-ca.pem
    prices:
      - {{per_request: 1}}
  - name: wrong
    upstream: https://{wrong}:{port}
    intercept: true
    upstream_ca: test-ca.pem
    upstream_pin: sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
    prices:
      - {{per_request: 1}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("i")


@pytest.fixture(scope="module")
def authority(folder: Path) -> TestAuthority:
    return TestAuthority(folder)


@pytest.fixture(scope="module")
def module_backend(authority: TestAuthority) -> Iterator[Backend]:
    with running_backend("0.0.0.0", authority.server(*HOSTS.values())) as backend:  # noqa: S104 - loopback has many
        yield backend


@pytest.fixture(scope="module")
def expired_port(authority: TestAuthority) -> Iterator[int]:
    """Of a server whose certificate is a day too old."""
    with running_backend(HOSTS["stale"], authority.server(HOSTS["stale"], days=-1)) as expired:
        yield expired.port


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, expired_port: int, folder: Path) -> Iterator[RunningProxy]:
    text = RULES.format(port=module_backend.port, stale_port=expired_port, **HOSTS)
    with running_proxy(text, folder, "--log-format", "json", env={"REAL_KEY": "the-real-one"}) as running:
        yield running


def trusting(proxy: RunningProxy) -> ssl.SSLContext:
    """A client's trust in our authority alone: whatever it accepts came through the interception."""
    return ssl.create_default_context(cafile=str(proxy.data / "ca" / "ca.pem"))


@pytest.fixture
def client(proxy: RunningProxy) -> Iterator[httpx.Client]:
    with httpx.Client(proxy=proxy.url, verify=trusting(proxy), trust_env=False, timeout=20) as one:
        yield one


def at(name: str, backend: Backend, path: str) -> str:
    return f"https://{HOSTS[name]}:{backend.port}{path}"


def events(proxy: RunningProxy, event: str, **fields: Any) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in proxy.logs().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event and all(line.get(k) == v for k, v in fields.items())]


def test_each_call_inside_is_priced_by_its_own_rule(
    client: httpx.Client, proxy: RunningProxy, backend: Backend
) -> None:
    answer = client.post(at("llm", backend, "/v1/chat/completions"), json=chat_body(), headers={"X-Real-Key": "own"})
    row = entry(proxy, request_id_of(answer))
    assert (row["api"], row["rule"], row["method"], row["state"]) == ("llm", "llm/chat", "POST", "settled")
    assert Decimal(row["cost"]) == krw(usd("gpt-4o-mini", 19, 10)) == Decimal(answer.headers["x-spendgate-cost"])
    again = client.get(at("llm", backend, "/v1/models"))  # on the same connection
    assert entry(proxy, request_id_of(again))["rule"] == "llm/models"
    seen = backend.requests[0]
    assert seen.get("host") == f"{HOSTS['llm']}:{backend.port}"
    assert seen.all("x-real-key") == ["the-real-one"]
    assert seen.target == "/v1/chat/completions"


def test_a_stream_inside_arrives_as_it_comes_and_is_priced(
    client: httpx.Client, proxy: RunningProxy, backend: Backend
) -> None:
    heard = Signal("the first event at the client")

    async def answer(seen: Seen, reply: Reply) -> None:
        first, *rest = chat_events(["Hel", "lo"], {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11})
        await reply.head(200, ("Content-Type", "text/event-stream"))
        await reply.piece(first)
        await heard.happens()
        for event in rest:
            await reply.piece(event)
        await reply.end()

    backend.answer = answer
    body = chat_body(stream=True, stream_options={"include_usage": True})
    with client.stream("POST", at("llm", backend, "/v1/chat/completions"), json=body) as streamed:
        pieces = streamed.iter_bytes()
        assert next(pieces).startswith(b"data: ")
        heard.set()
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
    assert Decimal(entry(proxy, request_id_of(streamed))["cost"]) == krw(usd("gpt-4o-mini", 9, 2))


def test_a_refusal_comes_in_the_apis_own_shape(client: httpx.Client, backend: Backend) -> None:
    assert client.get(at("poor", backend, "/one")).status_code == 200
    refused = client.get(at("poor", backend, "/two"))
    assert (refused.status_code, refused.headers["x-spendgate-reason"]) == (402, "budget_insufficient")
    assert refused.json()["error"]["code"] == "budget_insufficient"
    assert [seen.target for seen in backend.requests] == ["/one"]


def test_a_rate_limit_counts_the_calls_inside(client: httpx.Client, backend: Backend) -> None:
    answers = [client.get(at("busy", backend, "/x")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["reason"] == "rate_limited"
    assert int(answers[2].headers["retry-after"]) > 0
    assert len(backend.requests) == 2


def test_a_path_without_a_rule_is_refused_inside(client: httpx.Client, backend: Backend) -> None:
    refused = client.get(at("llm", backend, "/v1/files"))
    assert (refused.status_code, refused.json()["reason"]) == (403, "no_rule")
    assert backend.requests == []


@pytest.mark.parametrize(("name", "says"), [("stale", "certificate has expired"), ("wrong", "is not pinned")])
def test_an_api_whose_certificate_is_not_right_is_502_and_says_why(
    name: str, says: str, proxy: RunningProxy, backend: Backend, expired_port: int
) -> None:
    port = expired_port if name == "stale" else backend.port
    with httpx.Client(proxy=proxy.url, verify=trusting(proxy), trust_env=False, timeout=20) as client:
        answer = client.get(f"https://{HOSTS[name]}:{port}/")
    assert (answer.status_code, answer.json()["reason"]) == (502, "upstream_unreachable")
    assert says in answer.json()["detail"]
    assert Decimal(entry(proxy, request_id_of(answer))["cost"]) == 0
    assert backend.requests == []


# --- programs that cannot be intercepted ------------------------------------------------------------------------------


def test_a_program_that_pins_gets_a_tunnel_the_next_time(
    authority: TestAuthority, proxy: RunningProxy, backend: Backend
) -> None:
    pinning = ssl.create_default_context(cafile=str(authority.file))
    with httpx.Client(proxy=proxy.url, verify=pinning, trust_env=False, timeout=20) as client:
        with pytest.raises(httpx.ConnectError):
            client.get(at("pinned", backend, "/x"))
        eventually(lambda: events(proxy, "intercept.certificate_refused", api="pinned", next="tunnel"), "the log line")
        assert client.get(at("pinned", backend, "/x")).json() == {"ok": True}

    def tunnel() -> dict[str, Any] | None:
        return next((row for row in proxy.ledger("--last", "20") if row["rule"] == "pinned/tunnel"), None)

    row = eventually(tunnel, "the tunnel's entry")
    assert (row["method"], Decimal(row["cost"])) == ("CONNECT", 3)


def test_where_the_rules_do_not_allow_it_a_pinning_program_is_refused_again(
    authority: TestAuthority, proxy: RunningProxy, backend: Backend
) -> None:
    pinning = ssl.create_default_context(cafile=str(authority.file))
    with httpx.Client(proxy=proxy.url, verify=pinning, trust_env=False, timeout=20) as client:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                client.get(at("llm", backend, "/v1/models"))
    assert backend.requests == []
    found = eventually(lambda: events(proxy, "intercept.certificate_refused", api="llm"), "the log line")
    assert found[0]["next"] == "refused again"


def connect(proxy: RunningProxy, authority: str, more: bytes = b"") -> tuple[socket.socket, bytes]:
    """A tunnel's connection, and the head of the answer to CONNECT. more: sent in the same packet."""
    connection = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
    connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + more)
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1)
        assert piece, head
        head += piece
    return connection, head


@pytest.fixture
def inside(proxy: RunningProxy, backend: Backend) -> Iterator[ssl.SSLSocket]:
    """A TLS connection inside a tunnel to the intercepted API."""
    connection, head = connect(proxy, f"{HOSTS['llm']}:{backend.port}")
    assert head.startswith(b"HTTP/1.1 200 ")
    with trusting(proxy).wrap_socket(connection, server_hostname=HOSTS["llm"]) as secure:
        yield secure


def everything(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return received


def test_a_program_that_insists_on_http2_is_told_so(inside: ssl.SSLSocket, proxy: RunningProxy) -> None:
    assert inside.selected_alpn_protocol() is None
    inside.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
    received = everything(inside)
    assert received[3] == 4  # SETTINGS
    goaway = received[9:]
    assert (goaway[3], int.from_bytes(goaway[13:17], "big")) == (7, 0xD)  # GOAWAY: HTTP_1_1_REQUIRED
    assert b"HTTP/1.1" in goaway
    assert events(proxy, "intercept.http2_refused", api="llm")


def test_only_http11_is_offered(proxy: RunningProxy, backend: Backend) -> None:
    context = trusting(proxy)
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection, _ = connect(proxy, f"{HOSTS['llm']}:{backend.port}")
    with context.wrap_socket(connection, server_hostname=HOSTS["llm"]) as secure:
        assert secure.selected_alpn_protocol() == "http/1.1"


# --- nothing slips through --------------------------------------------------------------------------------------------


def test_a_request_for_another_host_inside_the_tunnel_is_refused(inside: ssl.SSLSocket, backend: Backend) -> None:
    inside.sendall(b"GET /v1/models HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n")
    assert everything(inside).startswith(b"HTTP/1.1 421 ")
    assert backend.requests == []


def test_a_connect_inside_the_tunnel_is_refused(inside: ssl.SSLSocket, backend: Backend) -> None:
    name = f"{HOSTS['llm']}:{backend.port}"
    inside.sendall(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    assert everything(inside).startswith(b"HTTP/1.1 421 ")


def test_another_server_name_inside_the_tunnel_ends_the_handshake(proxy: RunningProxy, backend: Backend) -> None:
    connection, _ = connect(proxy, f"{HOSTS['llm']}:{backend.port}")
    context = trusting(proxy)
    with pytest.raises((ssl.SSLError, ConnectionError)) as failure:
        context.wrap_socket(connection, server_hostname="other.example.com")
    assert not isinstance(failure.value, ssl.SSLCertVerificationError)  # it never saw a certificate
    connection.close()
    assert eventually(lambda: events(proxy, "intercept.handshake_failed", host=HOSTS["llm"]), "the log line")


def test_bytes_that_come_before_the_answer_are_refused(proxy: RunningProxy, backend: Backend) -> None:
    connection, head = connect(proxy, f"{HOSTS['llm']}:{backend.port}", more=b"\x16\x03\x01\x02\x00")
    assert head.startswith(b"HTTP/1.1 400 ")
    connection.close()


def test_two_readings_of_a_request_inside_are_none(inside: ssl.SSLSocket, backend: Backend) -> None:
    host = f"{HOSTS['llm']}:{backend.port}".encode()
    inside.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: " + host + b"\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: "
        + host
        + b"\r\n\r\n"
    )
    assert everything(inside).startswith(b"HTTP/1.1 400 ")
    assert backend.requests == []


def test_the_key_stays_in_its_folder_and_out_of_the_log(proxy: RunningProxy) -> None:
    key = proxy.data / "ca" / "ca.key"
    assert key.stat().st_mode & 0o777 == 0o600
    secret = "".join(key.read_text().splitlines()[1:-1])
    for path in proxy.data.rglob("*"):
        if path.is_file() and path != key:
            assert secret[:40].encode() not in path.read_bytes().replace(b"\n", b"")
    assert secret[:40] not in proxy.logs()
    assert events(proxy, "ca.made")
