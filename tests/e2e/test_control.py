"""The control process beside real proxies: killed, it is started again; the leader killed, another one leads."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from proxy.state import embedded
from tests.e2e.backend import Backend
from tests.e2e.stores import alive, debian_redis
from tests.e2e.support import eventually, http
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
      - {{per_request: 7}}
"""

Folder = Callable[[str], Path]


def system(proxy: RunningProxy) -> dict[str, Any] | None:
    try:
        with http() as client:
            answer = client.get(f"{proxy.admin_url}/api/v1/system", timeout=2)
    except httpx.HTTPError:
        return None
    found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
    return found


def leader(proxy: RunningProxy) -> dict[str, Any] | None:
    found = system(proxy)
    return found["leader"] if found else None


def pid_of(place: str) -> int:
    return int(place.rpartition(":")[2])


def test_a_killed_control_process_is_replaced_and_paid_calls_never_notice(backend: Backend, folder: Folder) -> None:
    with running_proxy(RULES.format(url=backend.url), folder("one"), anew=True) as proxy, http() as client:
        first = eventually(lambda: leader(proxy), "a leader")
        os.kill(pid_of(first["place"]), signal.SIGKILL)
        assert client.get(f"{proxy.url}/api/x").status_code == 200
        # Whoever asks meanwhile waits for the next process instead of being refused.
        assert client.get(f"{proxy.admin_url}/healthz", timeout=20).status_code == 200
        second = eventually(lambda: (found := leader(proxy)) and found["fence"] > first["fence"] and found, "the next")
        assert second["place"] != first["place"]
        assert client.get(f"{proxy.url}/api/x").status_code == 200
        pid = pid_of(second["place"])
        assert proxy.stop() == 0
        eventually(lambda: not alive(pid), "the control process's end")


def test_a_killed_leader_is_replaced_within_ten_seconds_by_another_proxy(backend: Backend, folder: Folder) -> None:
    with debian_redis(folder("redis")) as server:
        rules, url = RULES.format(url=backend.url), server.url(3)
        with (
            running_proxy(rules, folder("a"), "--redis", url) as one,
            running_proxy(rules, folder("b"), "--redis", url, "--workers", "2") as two,
        ):
            first = eventually(lambda: leader(one), "a leader")
            assert eventually(lambda: leader(two), "the same leader")["place"] == first["place"]
            leads = {name: found["leads"] for name, p in (("one", one), ("two", two)) if (found := system(p))}
            assert sorted(leads.values()) == [False, True]
            led, other = (one, two) if leads["one"] else (two, one)
            led.process.kill()  # proxy, supervisor and all: its control process notices that and ends
            os.kill(pid_of(first["place"]), signal.SIGKILL)
            killed = time.monotonic()

            def replaced() -> dict[str, Any] | None:
                found = system(other)
                return found if found and found["leads"] else None

            found = eventually(replaced, "the next leader", 12)
            assert time.monotonic() - killed < 10
            assert found["leader"]["fence"] == first["fence"] + 1


def test_a_control_process_ends_with_its_proxy_however_that_ends(backend: Backend, folder: Folder) -> None:
    with running_proxy(RULES.format(url=backend.url), folder("killed"), "--workers", "2") as proxy:
        pid = pid_of(eventually(lambda: leader(proxy), "a leader")["place"])
        proxy.process.kill()
        proxy.process.wait()
        eventually(lambda: not alive(pid), "the control process's end")
        embedded.open(proxy.data).close()  # nobody else is left to stop the store
