"""Starting, stopping and starting again; the store that is used, and what happens when it is not there yet."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.e2e.backend import Backend, Reply, Seen, Signal
from tests.e2e.stores import DebianRedis, alive, connected, debian_redis, doctor, embedded_url, level, server_pid
from tests.e2e.support import InThread, entry, eventually, http, request_id_of
from tests.harness import running_proxy

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


def test_ctrl_c_lets_a_call_finish_stops_the_store_and_the_next_start_finds_the_counters(
    backend: Backend, folder: Folder
) -> None:
    release = Signal("the test's release")

    async def hold(seen: Seen, reply: Reply) -> None:
        if seen.target == "/hold":
            await release.happens()
        await reply.json({"ok": True})

    backend.answer = hold
    place = folder("stop")
    with running_proxy(RULES.format(url=backend.url), place, "--log-format", "json", anew=True) as proxy:
        pid = server_pid(embedded_url(proxy))
        with http() as client:
            assert client.get(f"{proxy.url}/api/x").status_code == 200
        held = InThread(lambda: http().get(f"{proxy.url}/api/hold"))
        backend.wait_requests(2)
        proxy.process.send_signal(signal.SIGINT)

        def refuses_new_calls() -> bool:
            try:
                with http() as client:
                    client.get(f"{proxy.url}/api/late")
            except httpx.ConnectError:
                return True
            return False

        eventually(refuses_new_calls, "the closed door")
        assert proxy.process.poll() is None
        release.set()
        answer = held.result()
        assert answer.status_code == 200
        assert proxy.process.wait(20) == 0
        eventually(lambda: not alive(pid), "the store's end")
        assert list(proxy.data.rglob("*.sock")) == []
    with running_proxy(proxy.rules, place, "--log-format", "json", data=proxy.data, name="again") as again:
        assert again.budget()["spent"] == "14"
        assert again.budget()["reserved"] == "0"
        assert entry(again, request_id_of(answer))["state"] == "settled"
        assert doctor(again)[0] == 0


def test_the_embedded_store_is_its_owners_alone(backend: Backend, folder: Folder) -> None:
    with running_proxy(RULES.format(url=backend.url), folder("own")) as proxy:
        socket_path = Path(embedded_url(proxy).removeprefix("unix://"))
        assert stat.S_IMODE(socket_path.stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE(proxy.data.stat().st_mode) & 0o077 == 0
        with connected(f"unix://{socket_path}") as store:
            assert int(store.config_get("port")["port"]) == 0
        eventually(lambda: "Ctrl-C" in proxy.logs(), "the start page")
        page = proxy.logs()
        for part in (proxy.url, "monthly", f"redis-cli -s {socket_path}", "curl -i", "API_BASE_URL=", "HTTP_PROXY="):
            assert part in page, page


def test_the_stores_address_may_come_from_the_environment(backend: Backend, folder: Folder) -> None:
    with debian_redis(folder("redis")) as server:
        for variable, database in (("REDIS_URL", 1), ("SPENDGATE_REDIS", 2)):
            env = {variable: server.url(database)}
            with (
                running_proxy(RULES.format(url=backend.url), folder("env"), env=env) as proxy,
                http() as client,
                connected(server.url(database)) as store,
            ):
                assert client.get(f"{proxy.url}/api/x").status_code == 200
                assert level(store, "monthly")["spent"] == 7_000_000
                assert not proxy.data.exists() or list(proxy.data.rglob("*.sock")) == []
                assert "not%20a%20secret" not in proxy.logs()
                assert "not a secret" not in proxy.logs()
        with connected(server.url(0)) as store:
            assert store.dbsize() == 0


def test_a_wrong_password_is_not_a_hang(backend: Backend, folder: Folder) -> None:
    with debian_redis(folder("redis")) as server:
        url = f"redis://:wrong@127.0.0.1:{server.port}/0"
        with (
            running_proxy(RULES.format(url=backend.url), folder("wrong"), "--redis", url, until="healthz") as proxy,
            http() as client,
        ):
            answer = client.get(f"{proxy.url}/api/x", timeout=3)
            assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
            assert backend.requests == []


def test_a_store_that_is_away_at_the_start_is_waited_for(backend: Backend, folder: Folder) -> None:
    server = DebianRedis(folder("redis"))
    with (
        running_proxy(RULES.format(url=backend.url), folder("away"), "--redis", server.url(), until="healthz") as proxy,
        http() as client,
    ):
        ready = client.get(f"{proxy.admin_url}/readyz")
        assert ready.status_code == 503
        assert ready.json()["store_reachable"] is False
        answer = client.get(f"{proxy.url}/api/x")
        assert (answer.status_code, answer.json()["reason"]) == (503, "store_unavailable")
        try:
            server.start()
            eventually(lambda: client.get(f"{proxy.url}/api/x").status_code == 200, "the first call", 5)
            assert client.get(f"{proxy.admin_url}/readyz").status_code == 200
            assert proxy.budget()["spent"] == "7"
        finally:
            server.stop(signal.SIGKILL)


def test_redis_over_tcp_is_killed_and_started_again(backend: Backend, folder: Folder) -> None:
    with (
        debian_redis(folder("redis")) as server,
        running_proxy(RULES.format(url=backend.url), folder("tcp"), "--redis", server.url(5)) as proxy,
        http() as client,
    ):
        assert client.get(f"{proxy.url}/api/x").status_code == 200
        server.stop(signal.SIGKILL)
        answer = eventually(
            lambda: next((one for one in [client.get(f"{proxy.url}/api/x")] if one.status_code == 503), None),
            "a refusal",
        )
        assert answer.json()["reason"] == "store_unavailable"
        server.start()
        eventually(lambda: client.get(f"{proxy.url}/api/x").status_code == 200, "recovery", 5)
        eventually(lambda: proxy.budget()["reserved"] == "0", "every settlement")
        assert proxy.budget()["spent"] == str(7 * len(proxy.ledger("--last", "100")))
        assert len(proxy.ledger("--last", "100")) == len(backend.requests)
        assert doctor(proxy)[0] == 0


def test_a_call_that_outlasts_the_drain_is_cut_and_charged(backend: Backend, folder: Folder) -> None:
    hung_up = Signal("the upstream call's end")

    async def for_ever(seen: Seen, reply: Reply) -> None:
        await seen.gone.happens()
        hung_up.set()

    backend.answer = for_ever
    place = folder("cut")
    with running_proxy(RULES.format(url=backend.url), place, "--drain", "0.5") as proxy:

        def call() -> httpx.Response | None:
            with contextlib.suppress(httpx.HTTPError), http() as client:
                return client.get(f"{proxy.url}/api/x")
            return None

        held = InThread(call)
        backend.wait_requests(1)
        assert proxy.stop(signal.SIGTERM) == 0
        hung_up.wait()
        answer = held.result()
        assert answer is None or answer.status_code >= 500
    with running_proxy(proxy.rules, place, data=proxy.data, name="again") as again:
        (row,) = again.ledger("--last", "5")
        assert (row["state"], row["cost"]) == ("estimated", "7")
        assert (again.budget()["spent"], again.budget()["reserved"]) == ("7", "0")


def test_a_worker_that_dies_is_replaced(backend: Backend, folder: Folder) -> None:
    flags = ("--workers", "2", "--lease", "2")
    with running_proxy(RULES.format(url=backend.url), folder("workers"), *flags, anew=True) as proxy:

        def workers() -> set[int]:
            return {int(one["pid"]) for one in proxy.status()["proxies"] if alive(int(one["pid"]))}

        before = eventually(lambda: found if len(found := workers()) == 2 else None, "two workers")
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        after = eventually(lambda: found if len(found := workers()) == 2 else None, "a new worker", 20)
        assert victim not in after
        for _ in range(10):
            with http() as client:
                assert client.get(f"{proxy.url}/api/x").status_code == 200
        assert proxy.stop(signal.SIGTERM) == 0
        assert not any(alive(pid) for pid in after)
