"""The HTTP clients that programs really use, each by the ways it knows: base URL, forward proxy, tunnel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests.e2e.backend import Backend, Reply, Seen, Signal
from tests.e2e.support import InThread, chat_body, entry, eventually, krw, usd
from tests.harness import ROOT, RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: openai
    upstream: {url}
    prices:
      - {{name: tunnel, match: {{method: CONNECT}}, per_connection: 3}}
      - {{name: llm, match: {{method: POST, path: /v1/*}}, catalog: openai}}
"""

PATH = "/v1/chat/completions"
COST = krw(usd("gpt-4o-mini", 19, 10))

Headers = dict[str, str]
Got = tuple[int, Headers, bytes]


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    with running_proxy(RULES.format(url=module_backend.url), folder("clients"), "--log-format", "json") as running:
        yield running


def lower(headers: object) -> Headers:
    return {str(name).lower(): str(value) for name, value in dict(headers).items()}  # type: ignore[call-overload]


def by_requests(url: str, proxy: str | None) -> Got:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, json=chat_body(), proxies={"http": proxy} if proxy else None, timeout=20)
        return answer.status_code, lower(answer.headers), answer.content


def by_httpx(url: str, proxy: str | None) -> Got:
    with httpx.Client(proxy=proxy, trust_env=False, timeout=20) as client:
        answer = client.post(url, json=chat_body())
        return answer.status_code, lower(answer.headers), answer.content


def by_urllib(url: str, proxy: str | None) -> Got:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy} if proxy else {}))
    body = json.dumps(chat_body()).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with opener.open(request, timeout=20) as answer:
        return answer.status, lower(answer.headers), answer.read()


def curl(*args: str) -> Got:
    """Run curl with no environment and no configuration of this machine; answer, headers of the last head, body."""
    binary = shutil.which("curl")
    if binary is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [binary, "-q", "-sS", "-i", "--max-time", "20", *args], capture_output=True, env={}, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr.decode()
    rest, heads = done.stdout, []
    while rest.startswith(b"HTTP/"):
        head, _, rest = rest.partition(b"\r\n\r\n")
        heads.append(head.decode("latin-1"))
    start, *lines = heads[-1].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(start.split()[1]), headers, rest


def curl_post(url: str, *args: str) -> Got:
    return curl("-H", "Content-Type: application/json", "-d", json.dumps(chat_body()), *args, url)


def by_curl(url: str, proxy: str | None) -> Got:
    return curl_post(url, *(("-x", proxy) if proxy else ()))


def by_curl_http10(url: str, proxy: str | None) -> Got:
    return curl_post(url, "--http1.0", *(("-x", proxy) if proxy else ()))


def node(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("node")
    if binary is None or not (ROOT / "tests" / "node" / "node_modules" / "undici").is_dir():
        pytest.skip("node or undici is not installed (make dev)")
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(
        [binary, *args],
        cwd=ROOT / "tests" / "node",
        env={**plain, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def by_node(way: str, url: str, proxy: str, env: dict[str, str] | None = None) -> Got:
    done = node("fetch.mjs", way, url, proxy, json.dumps(chat_body()), env=env)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["status"], answer["headers"], answer["body"].encode()


def check(proxy: RunningProxy, backend: Backend, got: Got) -> None:
    """The answer is the API's, the API was asked once, and the ledger has the exact price."""
    status, headers, body = got
    assert status == 200, body
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello."
    assert headers["x-spendgate-cost"].split()[0] == str(COST)
    (seen,) = backend.requests
    assert seen.target == PATH
    assert seen.json() == chat_body()
    row = entry(proxy, headers["x-spendgate-request-id"])
    assert (row["rule"], row["state"], Decimal(row["cost"])) == ("openai/llm", "settled", COST)


CLIENTS = {
    "requests": by_requests,
    "httpx": by_httpx,
    "urllib": by_urllib,
    "curl": by_curl,
    "curl with HTTP/1.0": by_curl_http10,
}


@pytest.mark.parametrize("name", CLIENTS)
def test_by_base_url(proxy: RunningProxy, backend: Backend, name: str) -> None:
    check(proxy, backend, CLIENTS[name](f"{proxy.url}/openai{PATH}", None))


@pytest.mark.parametrize("name", CLIENTS)
def test_through_the_forward_proxy(proxy: RunningProxy, backend: Backend, name: str) -> None:
    check(proxy, backend, CLIENTS[name](f"{backend.url}{PATH}", proxy.url))


async def test_aiohttp_by_base_url_and_through_the_forward_proxy(
    proxy: RunningProxy, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    ways = (
        (False, f"{proxy.url}/openai{PATH}", None),
        (False, f"{backend.url}{PATH}", proxy.url),
        (True, f"{backend.url}{PATH}", None),
    )
    for trust_env, url, explicit in ways:
        backend.reset()
        async with (
            aiohttp.ClientSession(trust_env=trust_env) as session,
            session.post(url, json=chat_body(), proxy=explicit) as answer,
        ):
            check(proxy, backend, (answer.status, lower(answer.headers), await answer.read()))


def test_curl_through_a_tunnel_pays_for_the_connection(proxy: RunningProxy, backend: Backend) -> None:
    status, _, body = curl_post(f"{backend.url}{PATH}", "-p", "-x", proxy.url)
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello."
    assert len(backend.requests) == 1
    row = eventually(
        lambda: next((one for one in proxy.ledger("--last", "1") if one["method"] == "CONNECT"), None),
        "the tunnel's entry",
    )
    assert (row["rule"], row["status"], row["state"], Decimal(row["cost"])) == ("openai/tunnel", 200, "settled", 3)


def test_node_fetch_by_base_url(proxy: RunningProxy, backend: Backend) -> None:
    check(proxy, backend, by_node("direct", f"{proxy.url}/openai{PATH}", ""))


def test_node_fetch_through_the_forward_proxy(proxy: RunningProxy, backend: Backend) -> None:
    check(proxy, backend, by_node("forward", f"{backend.url}{PATH}", proxy.url))


@pytest.mark.parametrize("way", ["agent", "environment"])
def test_node_fetch_with_a_proxy_agent_tunnels(proxy: RunningProxy, backend: Backend, way: str) -> None:
    """undici's agents tunnel plain HTTP too, so the call is priced as a connection."""
    before = {row["id"] for row in proxy.ledger("--last", "200")}
    env = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": ""}
    status, _, body = by_node(way, f"{backend.url}{PATH}", proxy.url, env)
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello."

    def tunnels() -> list[dict[str, object]]:
        rows = proxy.ledger("--last", "200")
        return [row for row in rows if row["id"] not in before and row["method"] == "CONNECT"]

    (row,) = eventually(tunnels, "the tunnel's entry")
    assert (row["rule"], Decimal(str(row["cost"]))) == ("openai/tunnel", 3)


def test_node_fetch_reads_a_stream_piece_by_piece(proxy: RunningProxy, backend: Backend) -> None:
    read = Signal("the first piece in Node")

    async def stream(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        await reply.piece(b"data: one\n\n")
        await read.happens()
        await reply.piece(b"data: two\n\n")
        await reply.end()

    backend.answer = stream
    binary = shutil.which("node")
    if binary is None:
        pytest.skip("node is not installed")
    url = f"{proxy.url}/openai/v1/events"
    code = (
        f"const a = await fetch({url!r}, {{method: 'POST', body: '{{}}'}}); const d = new TextDecoder();"
        "for await (const p of a.body) console.log(JSON.stringify(d.decode(p)));"
    )
    with subprocess.Popen([binary, "--input-type=module", "-e", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        first = InThread(lines.readline)
        assert json.loads(first.result()) == "data: one\n\n"
        read.set()
        assert json.loads(InThread(lines.readline).result()) == "data: two\n\n"
        assert process.wait(20) == 0
