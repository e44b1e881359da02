"""From a paid call through a real proxy to a real webhook: every threshold once, and within five seconds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from tests.control.receivers import Webhook, verified, webhook
from tests.e2e.stores import connected, embedded_url
from tests.harness import RunningProxy, running_proxy, spendgate, upstream

SECRET = "hidden-signing-secret"
WITHIN_S = 5.0


def rules(api: str) -> str:
    return f"""
version: 1
budgets: [{{name: monthly, limit: 100}}]
apis:
  - {{name: paid, upstream: "{api}", priority: essential, prices: [{{per_request: 10}}]}}
alerts:
  - {{name: hook, webhook_env: HOOK, secret_env: SECRET}}
  - {{name: log, log: true, min_severity: critical, language: ko}}
"""


async def answer(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[tuple[RunningProxy, Webhook]]:
    async with webhook() as receiver, upstream(answer) as api:
        with running_proxy(rules(api.url), tmp_path, env={"HOOK": receiver.url, "SECRET": SECRET}) as proxy:
            yield proxy, receiver


async def leading(proxy: RunningProxy, after: int = 0) -> int:
    """The pid of a control process other than `after`, once it leads and has looked at the budget."""
    async with asyncio.timeout(40):
        while True:
            with connected(embedded_url(proxy)) as store:
                place = store.hget("spendgate:{main}:leader", "place") or ":0"
                pid = int(place.rpartition(":")[2])
                if pid not in (0, after) and store.exists("spendgate:{main}:status:monthly"):
                    return pid
            await asyncio.sleep(0.05)


async def call(client: httpx.AsyncClient, proxy: RunningProxy) -> int:
    return (await client.get(f"{proxy.url}/paid/x")).status_code


async def thresholds(receiver: Webhook, count: int) -> list[str]:
    """The percents that were told, as soon as there are so many of them; repeats are recognised by their id."""

    def percents() -> list[str]:
        told = {}
        for headers, body in receiver.requests:
            (alert,) = json.loads(body)["data"]["alerts"]
            if alert["kind"] == "threshold":
                told.setdefault(headers["webhook-id"], alert["facts"]["percent"])
        return list(told.values())

    async with asyncio.timeout(WITHIN_S):
        while len(percents()) < count:
            receiver.got.clear()
            await receiver.got.wait()
    return percents()


async def test_each_crossing_is_told_once_within_five_seconds_and_survives_a_dead_leader(
    told: tuple[RunningProxy, Webhook],
) -> None:
    proxy, receiver = told
    pid = await leading(proxy)
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        for _ in range(7):
            assert await call(client, proxy) == 200
        crossed_s = time.monotonic()
        assert await thresholds(receiver, 1) == ["70"]
        assert time.monotonic() - crossed_s < WITHIN_S
        headers, body = receiver.requests[0]
        assert verified(SECRET, headers, body)
        assert "Left: 30 KRW" in json.loads(body)["data"]["body"]

        os.kill(pid, signal.SIGKILL)
        for _ in range(3):
            assert await call(client, proxy) == 200
        assert await call(client, proxy) == 503
        assert await leading(proxy, after=pid)
        # Whoever leads next goes on where the dead one stopped.
        assert await thresholds(receiver, 5) == ["70", "80", "90", "95", "100"]
    assert "예산 100원의 100 %를 썼습니다" in proxy.logs()
    assert "hidden" not in proxy.logs()

    flags = proxy.store_flags
    env = {"HOOK": receiver.url, "SECRET": SECRET}
    listed = await asyncio.to_thread(spendgate, "alerts", "list", "--json", *flags, env=env)
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    assert {row["facts"].get("percent") for row in rows if row["kind"] == "threshold"} == {
        "70",
        "80",
        "90",
        "95",
        "100",
    }
    table = await asyncio.to_thread(spendgate, "alerts", "list", "--lang", "en", *flags, env=env)
    assert "monthly: 70 % of 100 KRW" in table.stdout
    assert "hook: arrived" in table.stdout
    acknowledged = await asyncio.to_thread(spendgate, "alerts", "ack", rows[0]["id"], *flags, env=env)
    assert acknowledged.returncode == 0, acknowledged.stderr
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        seen = (await client.get(f"{proxy.admin_url}/api/v1/alerts/{rows[0]['id']}")).json()
        assert seen["acknowledged_by"]
        assert {one["state"] for one in seen["deliveries"]} == {"sent"}
        budgets = (await client.get(f"{proxy.admin_url}/api/v1/budgets")).json()["budgets"]
        assert [(one["budget"], one["state"], one["spent"]) for one in budgets] == [("monthly", "stopped", "100")]
