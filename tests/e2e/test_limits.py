"""Rate limits, pauses and circuits over the wire: two proxies on one store, and an upstream that fails and recovers."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.demo.simulator import Simulator
from tests.e2e.backend import Backend, Reply, Seen
from tests.e2e.stores import embedded_url
from tests.e2e.support import InThread, chat_body, eventually, http
from tests.harness import RunningProxy, running_proxy, spendgate

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
  - name: failing
    upstream: {simulator}
    breaker: {{failures: 50%, of_at_least: 4, window: 60s, open_for: 200ms, open_at_most: 200ms, probes: 2}}
    prices: [{{free: true}}]
  - name: slowing
    upstream: {simulator}
    breaker:
      {{slow: {{over: 1s, share: 75%}}, of_at_least: 4, window: 60s, open_for: 100ms, open_at_most: 100ms, probes: 1}}
    prices: [{{free: true}}]
  - name: dripping
    upstream: {simulator}
    read_timeout: 1s
    breaker: {{slow: {{over: 1s, share: 50%}}, of_at_least: 2, consecutive: 2, window: 60s, open_for: 60s}}
    prices: [{{free: true}}]
  - name: patient
    upstream: {url}
    rate_limits: 2/second
    wait: 10s
    prices: [{{free: true}}]
"""

Pair = tuple[RunningProxy, RunningProxy]


@pytest.fixture(scope="module")
def module_simulator() -> Iterator[Simulator]:
    """The demonstration's paid API, on a loop of its own."""
    loop, simulator = asyncio.new_event_loop(), Simulator()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(20)
    yield simulator
    asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)


@pytest.fixture
def simulator(module_simulator: Simulator) -> Iterator[Simulator]:
    yield module_simulator
    module_simulator.mood = {}


@pytest.fixture(scope="module")
def pair(module_backend: Backend, module_simulator: Simulator, folder: Callable[[str], Path]) -> Iterator[Pair]:
    rules = RULES.format(url=module_backend.url, simulator=module_simulator.url)
    with running_proxy(rules, folder("limits"), "--log-format", "json") as first:
        url = embedded_url(first)
        with running_proxy(first.rules, folder("limits"), "--log-format", "json", "--redis", url) as second:
            yield first, second


def api(proxy: RunningProxy, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in proxy.status()["apis"] if one["name"] == name)
    return found


def circuit(proxy: RunningProxy, name: str) -> dict[str, Any]:
    """A breaker as this proxy's admin API shows it."""
    with http() as client:
        found = client.get(f"{proxy.admin_url}/api/v1/breakers").json()["breakers"]
    return next(one for one in found if one["name"] == name)


def until_it_passes(proxy: RunningProxy, path: str) -> int:
    """Ask until the circuit lets a call through; its status."""
    with http() as client:
        deadline = time.monotonic() + 60
        while True:
            answer = client.get(f"{proxy.url}{path}")
            if answer.status_code != 503 or answer.json().get("reason") != "circuit_open":
                return answer.status_code
            assert time.monotonic() < deadline


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
        return spendgate("breaker", *words, *pair[0].store_flags)

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


# --- the simulator fails, slows, drips and recovers -------------------------------------------------------------------


def test_failures_open_the_circuit_of_both_proxies_and_few_probes_close_it(
    pair: Pair, simulator: Simulator, client: httpx.Client
) -> None:
    path = "/failing/v1/models"
    assert [client.get(f"{proxy.url}{path}").status_code for proxy in pair] == [200, 200]
    simulator.mood = {"status": "500"}
    assert [client.get(f"{proxy.url}{path}").status_code for proxy in pair] == [500, 500]
    for proxy in pair:
        shown = circuit(proxy, "failing")
        assert (shown["state"] in ("open", "half_open"), shown["why"], shown["calls"]) == (True, "failures", 0)
    # It fails still: the first probe opens it again.
    assert until_it_passes(pair[1], path) == 500
    assert circuit(pair[0], "failing")["why"] == "probe failed"
    # It recovers, slowly: two probes are out, and whoever comes meanwhile is refused by either proxy.
    simulator.mood = {"delay-ms": "4000"}
    probes = [InThread(lambda proxy=proxy: until_it_passes(proxy, path)) for proxy in pair]  # type: ignore[misc]
    eventually(lambda: circuit(pair[0], "failing")["probing"] == 2, "two probes under way", 30.0)
    for proxy in pair:
        refused = client.get(f"{proxy.url}{path}")
        assert (refused.status_code, refused.json()["reason"]) == (503, "circuit_open")
        assert refused.headers["Retry-After"] == "1"
    simulator.mood = {}
    assert [probe.result(30) for probe in probes] == [200, 200]
    assert [circuit(proxy, "failing")["state"] for proxy in pair] == ["closed", "closed"]
    assert [client.get(f"{proxy.url}{path}").status_code for proxy in pair] == [200, 200]


def test_answers_that_begin_too_late_open_the_circuit(pair: Pair, simulator: Simulator) -> None:
    path = "/slowing/v1/models"
    simulator.mood = {"delay-ms": "1200"}
    calls = [InThread(lambda n=n: until_it_passes(pair[n % 2], path)) for n in range(4)]  # type: ignore[misc]
    assert [call.result(30) for call in calls] == [200] * 4
    shown = circuit(pair[1], "slowing")
    assert (shown["state"] in ("open", "half_open"), shown["why"]) == (True, "slow")
    assert until_it_passes(pair[0], path) == 200  # a probe, as slow as the others
    assert circuit(pair[1], "slowing")["why"] == "probe slow"
    simulator.mood = {}
    eventually(
        lambda: until_it_passes(pair[0], path) == 200 and circuit(pair[1], "slowing")["state"] == "closed",
        "the circuit closing",
    )


def test_a_stream_that_drips_is_not_slow_and_one_that_falls_silent_has_failed(pair: Pair, simulator: Simulator) -> None:
    body = {**chat_body(), "stream": True}

    def read(proxy: RunningProxy) -> bool:
        """Whether the stream came to its end."""
        try:
            with http() as one:
                return b"[DONE]" in one.post(f"{proxy.url}/dripping/v1/chat/completions", json=body).content
        except httpx.RemoteProtocolError:
            return False

    def both() -> list[bool]:
        calls = [InThread(lambda proxy=proxy: read(proxy)) for proxy in pair]  # type: ignore[misc]
        return [call.result(60) for call in calls]

    simulator.mood = {"chunk-delay-ms": "100"}  # three seconds and more in all
    assert both() == [True, True]
    shown = circuit(pair[0], "dripping")
    assert (shown["state"], shown["calls"], shown["slow"], shown["failures"]) == ("closed", 2, 0, 0)
    simulator.mood = {"chunk-delay-ms": "5000"}  # longer than anybody waits for the next piece
    assert both() == [False, False]
    shown = eventually(lambda: circuit(pair[1], "dripping") if circuit(pair[1], "dripping")["why"] else None, "its end")
    assert (shown["state"], shown["why"]) == ("open", "consecutive")
