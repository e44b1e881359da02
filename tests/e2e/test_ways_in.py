"""Reverse by mount and by Host, forward in absolute form: what arrives at the API and what returns, byte for byte."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import PATIENCE_S, Backend, Reply, Seen, raw_exchange
from tests.e2e.support import entry
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
budgets:
  - {{name: monthly, limit: 15000, period: month}}
callers:
  - {{name: batch, key: "${{E2E_BATCH}}", budget: {{limit: 3000, period: month}}}}
  - {{name: web, key_env: E2E_WEB}}
apis:
  - name: maps
    upstream: {url}
    prices:
      - {{match: {{path: /**}}, per_request: 0.5}}
  - name: nested
    mount: deep
    upstream: {url}/base/path
    credentials:
      - {{header: X-Api-Key, value: "${{E2E_REAL_KEY}}"}}
      - {{header: Authorization, value: "Bearer ${{E2E_REAL_KEY}}"}}
    prices:
      - {{per_request: 0.5}}
"""

KEY = "vk-batch-secret"
REAL = "sk-the-real-one"


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    env = {"E2E_BATCH": KEY, "E2E_WEB": "vk-web-secret", "E2E_REAL_KEY": REAL}
    rules = RULES.format(url=module_backend.url)
    with running_proxy(rules, folder("ways"), "--log-format", "json", env=env) as running:
        yield running


def send(proxy: RunningProxy, start: bytes, *fields: bytes, body: bytes = b"", host: bytes = b"localhost") -> bytes:
    """One raw request that shows the caller's key as X-Spendgate-Key and closes afterwards."""
    lines = [start, b"Host: " + host, b"X-Spendgate-Key: " + KEY.encode(), b"Connection: close", *fields]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return raw_exchange(proxy.port, b"\r\n".join(lines) + b"\r\n\r\n" + body)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def headers_of(answer: bytes) -> list[tuple[str, str]]:
    lines = answer.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def test_the_mount_is_cut_off_and_the_rest_arrives_untouched(proxy: RunningProxy, backend: Backend) -> None:
    target = "/v2/local%2Fsearch/%EC%B9%B4%ED%8E%98//x;y=1/caf%C3%A9?q=%20a+b&q=2&empty=&%5B%5D=z&flag"
    answer = send(proxy, f"GET /maps{target} HTTP/1.1".encode())
    assert status_of(answer) == 200
    assert backend.requests[0].target == target


def test_what_streams_through_is_known_as_a_question_too(proxy: RunningProxy, backend: Backend) -> None:
    """No rule looks into these bodies, so nobody keeps them; the ledger can tell the same question all the same."""
    asked = []
    for body in (b"a" * 300_000, b"a" * 300_000, b"b" * 300_000, b"c" * 1_100_000):
        answer = send(proxy, b"POST /maps/find HTTP/1.1", body=body)
        assert status_of(answer) == 200
        assert backend.requests[-1].body == body
        asked.append(entry(proxy, dict(headers_of(answer))["x-spendgate-request-id"])["question"])
    assert [len(one or "") for one in asked] == [12, 12, 12, 0]
    assert asked[0] == asked[1] != asked[2]


def test_a_bare_question_mark_stays(proxy: RunningProxy, backend: Backend) -> None:
    assert status_of(send(proxy, b"GET /maps/a? HTTP/1.1")) == 200
    assert backend.requests[0].target == "/a?"


def test_the_upstreams_own_path_comes_first(proxy: RunningProxy, backend: Backend) -> None:
    assert status_of(send(proxy, b"GET /deep/v1/x?y=1 HTTP/1.1")) == 200
    assert backend.requests[0].target == "/base/path/v1/x?y=1"
    assert backend.requests[0].all("host") == [f"127.0.0.1:{backend.port}"]


def test_the_host_names_the_api_and_the_whole_path_is_its_own(proxy: RunningProxy, backend: Backend) -> None:
    for host in (b"maps.spendgate.local", b"Maps.Spendgate.Local:8080"):
        assert status_of(send(proxy, b"GET /maps/x?y=1 HTTP/1.1", host=host)) == 200
    assert [seen.target for seen in backend.requests] == ["/maps/x?y=1"] * 2
    unknown = send(proxy, b"GET /maps/x HTTP/1.1", host=b"other.spendgate.local")
    assert status_of(unknown) == 403


def test_an_absolute_target_is_forwarded_in_origin_form(proxy: RunningProxy, backend: Backend) -> None:
    target = f"GET {backend.url}/v2/a%20b?x=1&x=2 HTTP/1.1".encode()
    answer = send(proxy, target, b"Proxy-Connection: keep-alive", host=f"127.0.0.1:{backend.port}".encode())
    assert status_of(answer) == 200
    (seen,) = backend.requests
    assert seen.target == "/v2/a%20b?x=1&x=2"
    assert seen.all("host") == [f"127.0.0.1:{backend.port}"]
    assert seen.all("proxy-connection") == []
    row = entry(proxy, dict(headers_of(answer))["x-spendgate-request-id"])
    assert (row["api"], row["caller"], row["path"], Decimal(row["cost"])) == (
        "maps",
        "batch",
        "/v2/a%20b",
        Decimal("0.5"),
    )


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_passes(proxy: RunningProxy, backend: Backend, method: str) -> None:
    answer = send(proxy, f"{method} /maps/thing HTTP/1.1".encode())
    assert status_of(answer) == 200
    assert backend.requests[0].method == method


def test_head_has_the_apis_length_and_no_body(proxy: RunningProxy, backend: Backend) -> None:
    async def head(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/plain"), length=1234)

    backend.answer = head
    answer = send(proxy, b"HEAD /maps/thing HTTP/1.1")
    assert status_of(answer) == 200
    assert dict(headers_of(answer))["content-length"] == "1234"
    assert answer.endswith(b"\r\n\r\n")


def test_repeated_headers_keep_order_case_and_bytes(proxy: RunningProxy, backend: Backend) -> None:
    fields = [b"X-Tag: b", b"x-tag: a", b"X-Tag: caf\xe9", b"Accept: a/b;q=0.1, c/d", b"Cookie: a=1; b=2"]
    assert status_of(send(proxy, b"GET /maps/ HTTP/1.1", *fields)) == 200
    (seen,) = backend.requests
    kept = [(name, value) for name, value in seen.headers if name.lower() in (b"x-tag", b"accept", b"cookie")]
    assert kept == [(field.split(b": ", 1)[0], field.split(b": ", 1)[1]) for field in fields]


def test_hop_by_hop_headers_end_here_in_both_directions(proxy: RunningProxy, backend: Backend) -> None:
    async def chatty(seen: Seen, reply: Reply) -> None:
        hop = (("Connection", "X-Secret, keep-alive"), ("X-Secret", "1"), ("Keep-Alive", "timeout=5"))
        proxies = (("Proxy-Authenticate", "Basic"), ("X-Spendgate-Cost", "0"))
        await reply.whole(b"ok", 200, *hop, *proxies, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Kept", "yes"))

    backend.answer = chatty
    request = [
        b"GET /maps/x HTTP/1.1",
        b"Host: localhost",
        b"X-Spendgate-Key: " + KEY.encode(),
        b"Connection: close, X-Hop, TE",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Proxy-Authorization: Basic eDp5",
        b"Proxy-Foo: 1",
        b"Upgrade: h2c",
        b"X-Kept: yes",
    ]
    answer = raw_exchange(proxy.port, b"\r\n".join(request) + b"\r\n\r\n")
    assert status_of(answer) == 200
    (seen,) = backend.requests
    names = {name.decode().lower() for name, _ in seen.headers}
    gone = {"x-hop", "keep-alive", "te", "proxy-authorization", "proxy-foo", "upgrade", "x-spendgate-key"}
    assert names & gone == set()
    assert seen.get("x-kept") == "yes"
    assert seen.all("via") == ["1.1 spendgate"]
    back = headers_of(answer)
    returned = {name for name, _ in back}
    assert returned & {"x-secret", "keep-alive", "proxy-authenticate"} == set()
    assert [value for name, value in back if name == "set-cookie"] == ["a=1", "b=2"]
    assert [value for name, value in back if name == "via"] == ["1.1 spendgate"]
    assert [value for name, value in back if name == "x-spendgate-cost"] != ["0"]


def test_via_of_proxies_before_is_kept(proxy: RunningProxy, backend: Backend) -> None:
    assert status_of(send(proxy, b"GET /maps/x HTTP/1.1", b"Via: 1.0 fred")) == 200
    assert backend.requests[0].all("via") == ["1.0 fred", "1.1 spendgate"]


@pytest.mark.parametrize("body", [bytes(range(256)) * 64, b"\r\n\r\n", "카페".encode(), b"x" * 3_000_000])
def test_bodies_arrive_and_return_byte_for_byte(proxy: RunningProxy, backend: Backend, body: bytes) -> None:
    async def echo(seen: Seen, reply: Reply) -> None:
        await reply.whole(seen.body, 200, ("Content-Type", "application/octet-stream"))

    backend.answer = echo
    answer = send(proxy, b"POST /maps/upload HTTP/1.1", body=body)
    assert backend.requests[0].body == body
    assert answer.split(b"\r\n\r\n", 1)[1] == body


def test_a_chunked_body_arrives_whole(proxy: RunningProxy, backend: Backend) -> None:
    request = b"POST /maps/x HTTP/1.1\r\nHost: a\r\nX-Spendgate-Key: %b\r\nConnection: close\r\n" % KEY.encode()
    chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\n\r\n"
    assert status_of(raw_exchange(proxy.port, request + chunks)) == 200
    assert backend.requests[0].body == b"abc0123456789"


def test_expect_100_continue_is_answered(proxy: RunningProxy, backend: Backend) -> None:
    head = b"POST /maps/x HTTP/1.1\r\nHost: a\r\nX-Spendgate-Key: %b\r\nConnection: close\r\n" % KEY.encode()
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert backend.requests[0].body == b"hello"
    assert backend.requests[0].get("expect") is None


def test_http_1_0_gets_an_answer_without_chunks(proxy: RunningProxy, backend: Backend) -> None:
    async def chunked(seen: Seen, reply: Reply) -> None:
        await reply.head(200)
        await reply.piece(b"one ")
        await reply.piece(b"two")
        await reply.end()

    backend.answer = chunked
    answer = raw_exchange(proxy.port, b"GET /maps/x HTTP/1.0\r\nX-Spendgate-Key: %b\r\n\r\n" % KEY.encode())
    head, body = answer.split(b"\r\n\r\n", 1)
    assert status_of(answer) == 200
    assert b"chunked" not in head.lower()
    assert body == b"one two"
    assert backend.requests[0].all("via") == ["1.0 spendgate"]


def test_keep_alive_serves_one_call_after_the_other(proxy: RunningProxy, backend: Backend) -> None:
    one = b"GET /maps/%d HTTP/1.1\r\nHost: a\r\nX-Spendgate-Key: " + KEY.encode() + b"\r\n"
    pipelined = one % 1 + b"\r\n" + one % 2 + b"\r\n" + one % 3 + b"Connection: close\r\n\r\n"
    answer = raw_exchange(proxy.port, pipelined)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert [seen.target for seen in backend.requests] == ["/1", "/2", "/3"]


# --- callers and credentials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", f"Bearer {KEY}"),
        ("X-Api-Key", KEY),
        ("Api-Key", KEY),
        ("X-Goog-Api-Key", KEY),
        ("X-Spendgate-Key", KEY),
    ],
)
def test_a_virtual_key_names_the_caller_and_never_reaches_the_api(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, header: str, value: str
) -> None:
    answer = client.get(f"{proxy.url}/deep/x", headers={header: value})
    assert answer.status_code == 200
    (seen,) = backend.requests
    assert KEY.encode() not in seen.raw
    assert seen.all("x-api-key") == [REAL]
    assert seen.all("authorization") == [f"Bearer {REAL}"]
    assert entry(proxy, answer.headers["x-spendgate-request-id"])["caller"] == "batch"


def test_an_unknown_caller_is_refused_401_in_reverse(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = client.get(f"{proxy.url}/maps/x", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["reason"] == "unknown_caller"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["x-spendgate-request-id"]
    assert backend.requests == []


def test_an_unknown_caller_is_refused_407_through_the_forward_proxy(proxy: RunningProxy, backend: Backend) -> None:
    with httpx.Client(proxy=proxy.url, trust_env=False) as client:
        answer = client.get(f"{backend.url}/x")
    assert answer.status_code == 407
    assert answer.json()["reason"] == "unknown_caller"
    assert "realm" in answer.headers["proxy-authenticate"]
    assert backend.requests == []


@pytest.mark.parametrize("place", ["{key}:@", "batch:{key}@"])
def test_a_key_in_the_proxys_address_names_the_caller(proxy: RunningProxy, backend: Backend, place: str) -> None:
    address = proxy.url.replace("http://", "http://" + place.format(key=KEY))
    with httpx.Client(proxy=address, trust_env=False) as client:
        answer = client.get(f"{backend.url}/x", headers={"Authorization": "Bearer of-the-program"})
    assert answer.status_code == 200
    (seen,) = backend.requests
    assert seen.all("proxy-authorization") == []
    assert seen.all("authorization") == ["Bearer of-the-program"]
    assert entry(proxy, answer.headers["x-spendgate-request-id"])["caller"] == "batch"


def test_each_call_counts_for_its_callers_budget(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    def spent() -> dict[str, Decimal]:
        return {row["name"]: Decimal(row["spent"]) for row in proxy.status()["budgets"]}

    before = spent()
    for key in (KEY, KEY, "vk-web-secret"):
        assert client.get(f"{proxy.url}/maps/x", headers={"X-Spendgate-Key": key}).status_code == 200
    after = spent()
    assert after["monthly"] - before["monthly"] == Decimal("1.5")
    assert after["caller:batch"] - before["caller:batch"] == Decimal(1)


# --- what never reaches an API --------------------------------------------------------------------------------------


def test_an_unknown_destination_is_refused_403(proxy: RunningProxy, backend: Backend) -> None:
    for start in (b"GET /nowhere/x HTTP/1.1", b"GET http://example.invalid/x HTTP/1.1"):
        answer = send(proxy, start, host=b"example.invalid" if b"//" in start else b"a")
        assert status_of(answer) == 403
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["reason"] == "no_rule"
    assert backend.requests == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /maps/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /maps/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /maps/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"GET /maps/x HTTP/1.1\r\nHost: a\r\n Folded: 1\r\n\r\n",
        b"GET /maps/x HTTP/1.1\r\nBad Name: 1\r\nHost: a\r\n\r\n",
        b"GET /maps/../../x HTTP/1.1\r\nHost: a\r\nX-Spendgate-Key: " + KEY.encode() + b"\r\nConnection: close\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
def test_a_malformed_request_is_a_400_problem_with_an_id(
    proxy: RunningProxy, backend: Backend, request_bytes: bytes
) -> None:
    answer = raw_exchange(proxy.port, request_bytes)
    assert status_of(answer) == 400
    headers = dict(headers_of(answer))
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-spendgate-request-id"]
    problem = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert (problem["reason"], problem["status"]) == ("bad_request", 400)
    assert headers["x-spendgate-request-id"] in problem["instance"]
    assert backend.requests == []


def test_an_oversized_head_is_431(proxy: RunningProxy, backend: Backend) -> None:
    answer = send(proxy, b"GET /maps/x HTTP/1.1", b"X-Big: " + b"x" * 200_000)
    assert status_of(answer) == 431
    assert backend.requests == []
