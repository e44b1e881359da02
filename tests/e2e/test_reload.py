"""rules.yaml is saved while the proxy runs: in force within a second in every worker, or refused and told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal
from tests.e2e.support import InThread, entry, eventually, http, log_events, request_id_of
from tests.harness import RunningProxy, running_proxy, spendgate

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
budgets:
  - {{name: monthly, limit: {limit}, period: month}}
apis:
  - name: api
    upstream: {url}
    prices:
      - {{per_request: {price}}}
"""
SECOND = """
  - name: second
    upstream: {url}
    prices:
      - {{per_request: 1}}
"""


@pytest.fixture
def proxy(backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    text = RULES.format(url=backend.url, limit=15000, price=1) + SECOND.format(url=backend.url)
    with running_proxy(text, folder("reload"), "--log-format", "json", "--workers", "2") as running:
        eventually(lambda: len(running.status()["proxies"]) == 2, "two workers")
        yield running


def fresh(proxy: RunningProxy, path: str = "api/x") -> httpx.Response:
    """One call on a connection of its own: either worker may get it."""
    with http() as client:
        return client.get(f"{proxy.url}/{path}")


def save(proxy: RunningProxy, text: str, by_rename: bool = False) -> float:
    """Write the file; the moment it was saved, in Unix seconds."""
    if by_rename:
        beside = proxy.rules.with_suffix(".new")
        beside.write_text(text)
        os.replace(beside, proxy.rules)
    else:
        proxy.rules.write_text(text)
    return time.time()


def reloaded_at(proxy: RunningProxy, event: str, after: float, count: int) -> list[float]:
    """When each worker said so, by its log."""

    def found() -> list[float] | None:
        times = [
            datetime.fromisoformat(one["timestamp"]).replace(tzinfo=UTC).timestamp() for one in log_events(proxy, event)
        ]
        times = [one for one in times if one >= after - 0.001]
        return times if len(times) >= count else None

    return eventually(found, f"{count} × {event}", 5)


@pytest.mark.parametrize("by_rename", [False, True], ids=["saved in place", "replaced by rename"])
def test_every_worker_has_the_new_rules_within_a_second(proxy: RunningProxy, backend: Backend, by_rename: bool) -> None:
    assert fresh(proxy).headers["x-spendgate-cost"].split()[0] == "1"
    saved = save(proxy, RULES.format(url=backend.url, limit=15000, price=2), by_rename)
    times = reloaded_at(proxy, "rules.reloaded", saved, 2)
    assert max(times) - saved < 1.0
    for _ in range(20):
        assert fresh(proxy).headers["x-spendgate-cost"].split()[0] == "2"
    status = proxy.status()
    assert {one["rules_digest"] for one in status["proxies"]} == {status["rules"]["hash"]}
    assert fresh(proxy, "second/x").status_code == 403  # that API is gone from the file


def test_a_new_limit_is_in_force_at_once(proxy: RunningProxy, backend: Backend) -> None:
    for _ in range(5):
        assert fresh(proxy).status_code == 200
    saved = save(proxy, RULES.format(url=backend.url, limit=5, price=1))
    reloaded_at(proxy, "rules.reloaded", saved, 2)
    answer = fresh(proxy)
    assert (answer.status_code, answer.json()["reason"], answer.json()["limit"]) == (503, "budget_stopped", "5")
    saved = save(proxy, RULES.format(url=backend.url, limit=50, price=1))
    reloaded_at(proxy, "rules.reloaded", saved, 2)
    assert fresh(proxy).status_code == 200
    budget = proxy.budget()
    assert (budget["spent"], budget["limit"]) == ("6", "50")


def test_calls_in_flight_keep_the_rules_they_began_with(proxy: RunningProxy, backend: Backend) -> None:
    release = Signal("the test's release")

    async def hold(seen: Seen, reply: Reply) -> None:
        if seen.target == "/hold":
            await release.happens()
        await reply.json({"ok": True})

    backend.answer = hold
    held = [InThread(lambda: fresh(proxy, "api/hold")) for _ in range(4)]
    gone = InThread(lambda: fresh(proxy, "second/hold"))
    backend.wait_requests(5)
    saved = save(proxy, RULES.format(url=backend.url, limit=15000, price=3))
    reloaded_at(proxy, "rules.reloaded", saved, 2)
    assert fresh(proxy).headers["x-spendgate-cost"].split()[0] == "3"
    release.set()
    for call in (*held, gone):
        answer = call.result()
        assert answer.status_code == 200
        assert Decimal(entry(proxy, request_id_of(answer))["cost"]) == 1
    assert proxy.budget()["reserved"] == "0"


BAD = {
    "a mistake": ("per_request: 1", "per_requst: 1", "per_requst"),
    "not YAML": ("version: 1", "version: [1", ""),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_changes_nothing_and_is_told(proxy: RunningProxy, backend: Backend, kind: str) -> None:
    good = proxy.rules.read_text()
    loaded_at = proxy.status()["rules"]["loaded_at"]
    right, wrong, told = BAD[kind]
    saved = save(proxy, good.replace(right, wrong, 1))
    reloaded_at(proxy, "rules.rejected", saved, 2)
    assert fresh(proxy).headers["x-spendgate-cost"].split()[0] == "1"
    rules = proxy.status()["rules"]
    assert rules["loaded_at"] == loaded_at
    assert any(":" in error and told in error for error in rules["errors"]), rules
    (mistake, *_) = log_events(proxy, "rules.rejected")
    assert told in mistake["mistake"]
    assert spendgate("doctor", *proxy.store_flags).returncode == 1
    saved = save(proxy, good.replace("per_request: 1", "per_request: 4", 1))
    reloaded_at(proxy, "rules.reloaded", saved, 2)
    assert fresh(proxy).headers["x-spendgate-cost"].split()[0] == "4"
    assert proxy.status()["rules"]["errors"] == []
    assert spendgate("doctor", *proxy.store_flags).returncode == 0


def test_no_call_is_lost_while_rules_are_saved_over_and_over(proxy: RunningProxy, backend: Backend) -> None:
    with ExitStack() as stack:
        done = Signal("the last save")

        def calls() -> list[int]:
            statuses = []
            with http() as client:
                while not done.is_set():
                    statuses.append(client.get(f"{proxy.url}/api/x").status_code)
            return statuses

        callers = [InThread(calls) for _ in range(4)]
        stack.callback(done.set)
        for round_ in range(2, 7):
            saved = save(proxy, RULES.format(url=backend.url, limit=1_000_000 + round_, price=1), by_rename=True)
            reloaded_at(proxy, "rules.reloaded", saved, 2)
        done.set()
        statuses = [status for caller in callers for status in caller.result()]
    assert set(statuses) == {200}
    assert Decimal(proxy.budget()["spent"]) == len(statuses) == len(backend.requests)
