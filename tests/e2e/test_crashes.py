"""A proxy or its store dies, or stands still, at the worst moment: nothing is lost, nothing is charged twice."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal
from tests.e2e.stores import alive, connected, doctor, embedded_url, level, server_pid
from tests.e2e.support import InThread, entry, eventually, http, request_id_of, settled_entry
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: api
    upstream: {url}
    prices:
      - {{name: hold, match: {{path: /hold*}}, per_request: 7}}
      - {{name: one, per_request: 1}}
"""


@pytest.fixture
def proxy(backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    """Each of these tests breaks something, so each has a proxy of its own."""
    rules = RULES.format(url=backend.url)
    with running_proxy(rules, folder("crash"), "--log-format", "json", "--lease", "2") as running:
        yield running


@pytest.fixture
def holding(backend: Backend) -> Iterator[Signal]:
    """Calls to /hold stand open until this is set."""
    release = Signal("the test's release")

    async def hold(seen: Seen, reply: Reply) -> None:
        if seen.target.startswith("/hold"):
            await release.happens(60)
        await reply.json({"ok": True})

    backend.answer = hold
    yield release
    release.set()


def quietly(proxy: RunningProxy, path: str) -> httpx.Response | None:
    """The answer, or None when the connection broke."""
    with contextlib.suppress(httpx.HTTPError), http() as client:
        return client.get(f"{proxy.url}/api/{path}")
    return None


def test_a_killed_proxys_call_is_charged_once_at_its_estimate_and_the_store_is_adopted(
    proxy: RunningProxy, backend: Backend, holding: Signal
) -> None:
    url = embedded_url(proxy)
    pid = server_pid(url)
    calls = [InThread(lambda: quietly(proxy, "hold")) for _ in range(2)]
    backend.wait_requests(2)
    with connected(url) as store:
        assert level(store, "monthly")["reserved"] == 14_000_000
    proxy.process.send_signal(signal.SIGKILL)
    proxy.process.wait(10)
    assert [call.result() for call in calls] == [None, None]
    assert alive(pid)
    holding.set()
    with running_proxy(
        proxy.rules, proxy.rules.parent, "--log-format", "json", "--lease", "2", data=proxy.data, name="next"
    ) as successor:
        assert server_pid(url) == pid
        eventually(lambda: successor.budget()["reserved"] == "0", "the end of the lease", 20)
        rows = successor.ledger("--last", "10")
        assert [(row["state"], row["cost"], row["estimate"], row["status"]) for row in rows] == [
            ("unconfirmed", "7", "7", None)
        ] * 2
        assert successor.budget()["spent"] == "14"
        with http() as client:
            assert client.get(f"{successor.url}/api/x").status_code == 200
        assert successor.budget()["spent"] == "15"
        assert doctor(successor)[0] == 0
    eventually(lambda: not alive(pid), "the store's end with its proxy")


def test_a_call_longer_than_its_lease_is_not_given_up_while_its_proxy_lives(
    proxy: RunningProxy, backend: Backend, holding: Signal
) -> None:
    """The lease is 2 s; the call ends after the store's own clock has moved 5 s on."""
    held = InThread(lambda: quietly(proxy, "hold"))
    backend.wait_requests(1)
    with connected(embedded_url(proxy)) as store:
        began = int(store.time()[0])
        eventually(lambda: int(store.time()[0]) >= began + 5, "five seconds", 10)
        assert level(store, "monthly") == {"spent": 0, "reserved": 7_000_000, "limit": 15_000_000_000}
    holding.set()
    answer = held.result()
    assert answer is not None
    assert (answer.status_code, entry(proxy, request_id_of(answer))["state"]) == (200, "settled")


def test_the_store_is_killed_in_mid_traffic_and_comes_back_by_itself(proxy: RunningProxy, backend: Backend) -> None:
    """Every answered call is in the ledger exactly once; the others are refused within a second."""
    url = embedded_url(proxy)
    pid = server_pid(url)
    passed: list[str] = []
    refused: list[float] = []
    with http() as client:

        def call() -> int:
            began = time.monotonic()
            answer = client.get(f"{proxy.url}/api/x")
            if answer.status_code == 200:
                passed.append(request_id_of(answer))
            else:
                assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
                assert answer.headers["retry-after"] == "1"
                refused.append(time.monotonic() - began)
            return answer.status_code

        for _ in range(100):
            assert call() == 200
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        eventually(lambda: call() == 503, "the first refusal", 5)
        eventually(lambda: call() == 200, "recovery", 5)
        assert time.monotonic() - killed_at < 5.0
        for _ in range(100):
            assert call() == 200
    assert max(refused) < 1.5
    assert server_pid(url) != pid
    rows = proxy.ledger("--last", "1000")
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))
    assert set(passed) <= set(ids)
    assert {row["state"] for row in rows} <= {"settled", "unconfirmed"}
    eventually(lambda: proxy.budget()["reserved"] == "0", "the end of every reservation", 15)
    assert Decimal(proxy.budget()["spent"]) == len(proxy.ledger("--last", "1000"))
    # What reached the API is charged; a call whose admission was lost with the store never got there.
    assert len(backend.requests) == len(proxy.ledger("--last", "1000"))
    assert doctor(proxy)[0] == 0


def test_a_call_in_flight_while_the_store_dies_is_settled_once_afterwards(
    proxy: RunningProxy, backend: Backend, holding: Signal
) -> None:
    url = embedded_url(proxy)
    pid = server_pid(url)
    held = InThread(lambda: quietly(proxy, "hold"))
    backend.wait_requests(1)
    os.kill(pid, signal.SIGKILL)
    holding.set()
    answer = held.result()
    assert answer is not None
    assert answer.status_code == 200
    row = settled_entry(proxy, request_id_of(answer))
    assert (row["cost"], row["state"]) == ("7", "settled")
    eventually(lambda: (proxy.budget()["spent"], proxy.budget()["reserved"]) == ("7", "0"), "the settlement")


def test_a_store_that_stands_still_is_answered_for_in_about_a_second(
    proxy: RunningProxy, backend: Backend, holding: Signal
) -> None:
    url = embedded_url(proxy)
    pid = server_pid(url)
    held = InThread(lambda: quietly(proxy, "hold"))
    backend.wait_requests(1)
    os.kill(pid, signal.SIGSTOP)
    try:
        with http() as client:
            for _ in range(3):
                began = time.monotonic()
                answer = client.get(f"{proxy.url}/api/x")
                assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
                assert time.monotonic() - began < 1.5
        with httpx.Client(trust_env=False) as client:
            eventually(lambda: client.get(f"{proxy.admin_url}/readyz").status_code == 503, "not being ready")
            assert client.get(f"{proxy.admin_url}/healthz").status_code == 200
        holding.set()
        finished = held.result()
        assert finished is not None
        assert finished.status_code == 200  # the call itself does not suffer
    finally:
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    with http() as client:
        eventually(lambda: client.get(f"{proxy.url}/api/x").status_code == 200, "recovery", 5)
    assert time.monotonic() - began < 5
    row = settled_entry(proxy, request_id_of(finished))
    assert (row["cost"], row["state"]) == ("7", "settled")

    def even() -> bool:
        budget = proxy.budget()
        return budget["reserved"] == "0" and Decimal(budget["spent"]) == sum(
            Decimal(one["cost"]) for one in proxy.ledger("--last", "100")
        )

    eventually(even, "counters that add up", 15)
    # The three refused calls never reached the API and cost nothing, though the standing store may have reserved them.
    assert [seen.target for seen in backend.requests][:2] == ["/hold", "/x"]
    assert Decimal(proxy.budget()["spent"]) == 8
