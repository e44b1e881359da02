"""Rate limits, pauses and circuits over the wire: two proxies on one store, and an upstream that fails and recovers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen
from tests.e2e.stores import embedded_url
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
apis:
  - name: limited
    upstream: {url}
    rate_limits: [3/hour, 100000 tokens/hour]
    prices: [{{free: true}}]
  - name: chat
    upstream: {url}
    speaks: openai
    rate_limits: 1/hour
    prices: [{{per_request: 1}}]
  - name: paused
    upstream: {url}
    prices: [{{free: true}}]
  - name: weak
    upstream: {url}
    breaker: {{failures: 50%, of_at_least: 4, window: 60s, open_for: 200ms, probes: 1}}
    prices: [{{free: true}}]
  - name: patient
    upstream: {url}
    rate_limits: 2/second
    wait: 10s
    prices: [{{free: true}}]
"""

Pair = tuple[RunningProxy, RunningProxy]


@pytest.fixture(scope="module")
def pair(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[Pair]:
    rules = RULES.format(url=module_backend.url)
    with running_proxy(rules, folder("limits"), "--log-format", "json") as first:
        url = embedded_url(first)
        with running_proxy(first.rules, folder("limits"), "--log-format", "json", "--redis", url) as second:
            yield first, second


def api(proxy: RunningProxy, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in proxy.status()["apis"] if one["name"] == name)
    return found


def test_a_limit_counts_for_both_proxies_and_says_so_in_headers(
    pair: Pair, backend: Backend, client: httpx.Client
) -> None:
    answers = [client.get(f"{pair[n % 2].url}/limited/x") for n in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == (
        '"limited requests/hour";q=3;w=3600, "limited tokens/hour";q=100000;qu="tokens";w=3600'
    )
    left = [one.headers["RateLimit"].partition(";r=")[2].partition(";")[0] for one in answers]
    assert left == ["2", "1", "0", "0"]
    refused = answers[3].json()
    assert refused["reason"] == "rate_limited"
    assert (refused["limit_of"], refused["limit_name"], refused["limit"], refused["used"]) == (
        *("api:limited", "requests/hour"),
        *(3, 3),
    )
    assert 3500 < int(answers[3].headers["Retry-After"]) <= 3600
    assert answers[3].headers["X-Should-Retry"] == "true"
    assert len(backend.requests) == 3
    shown = api(pair[0], "limited")["limits"][0]
    assert (shown["name"], shown["limit"], shown["used"], shown["left"]) == ("requests/hour", 3, 3, 0)


def test_a_refusal_speaks_the_apis_own_error_shape(pair: Pair, client: httpx.Client) -> None:
    assert client.post(f"{pair[0].url}/chat/x").status_code == 200
    refused = client.post(f"{pair[1].url}/chat/x")
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.json()["error"]["code"] == "rate_limited"


def test_one_429_of_the_api_pauses_it_for_everybody(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    async def busy(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"slow down", 429, ("Retry-After", "120"))

    backend.answer = busy
    assert client.get(f"{pair[0].url}/paused/x").status_code == 429
    refused = client.get(f"{pair[1].url}/paused/x")
    assert refused.status_code == 429
    assert refused.json()["limit_name"] == "upstream"
    assert 115 <= int(refused.headers["Retry-After"]) <= 120
    assert len(backend.requests) == 1
    assert api(pair[0], "paused")["paused_until"] is not None


def test_a_circuit_opens_for_both_is_probed_and_closes(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    async def fail(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"broken", 500)

    backend.answer = fail
    assert [client.get(f"{pair[n % 2].url}/weak/x").status_code for n in range(4)] == [500] * 4
    refused = client.get(f"{pair[1].url}/weak/x")
    assert (refused.status_code, refused.json()["reason"]) == (503, "circuit_open")
    assert refused.headers["Retry-After"] == "1"
    assert len(backend.requests) == 4
    backend.reset()
    statuses = []
    while 200 not in statuses:
        statuses.append(client.get(f"{pair[0].url}/weak/x").status_code)
        assert len(statuses) < 2000
    assert set(statuses) == {503, 200}
    assert client.get(f"{pair[1].url}/weak/x").status_code == 200
    assert api(pair[0], "weak")["breakers"][0]["state"] == "closed"


def test_a_circuit_is_opened_and_closed_by_hand(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    def breaker(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "proxy", "breaker", *words, "--rules", str(pair[0].rules)]
        return subprocess.run([*command, *pair[0].store_flags], capture_output=True, text=True, check=False)

    assert breaker("open", "weak").returncode == 1  # a reason is needed
    opened = breaker("open", "weak", "--reason", "maintenance")
    assert opened.returncode == 0, opened.stderr
    refused = client.get(f"{pair[1].url}/weak/x")
    assert refused.json()["reason"] == "circuit_open"
    assert "Retry-After" not in refused.headers
    listed = breaker("list").stdout
    assert "weak" in listed
    assert "open (no traffic)" in listed
    assert breaker("close", "weak", "--reason", "done").returncode == 0
    assert client.get(f"{pair[1].url}/weak/x").status_code == 200
    assert breaker("open", "nobody", "--reason", "x").returncode == 1


def test_calls_wait_for_room_where_they_may(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    answers = [client.get(f"{pair[0].url}/patient/x") for _ in range(4)]
    assert [one.status_code for one in answers] == [200] * 4
