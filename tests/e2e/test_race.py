"""Strict mode: 500 calls at once through two proxies on one Redis, and money for exactly 137 of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal
from tests.e2e.stores import PREFIX, connected, debian_redis, doctor, embedded_url
from tests.harness import RunningProxy, running_proxy

CALLS, MONEY = 500, 137
PRICE = Decimal("1.5")

# Two runs over each pair: calls that are answered at once, and calls that all stand open at the same time.
RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
apis:
  - name: quick
    upstream: {url}
    budget: {{limit: {limit}, period: month}}
    prices:
      - {{per_request: {price}, priority: essential}}
  - name: open
    upstream: {url}
    budget: {{limit: {limit}, period: month}}
    prices:
      - {{per_request: {price}, priority: essential}}
"""

Pair = tuple[RunningProxy, RunningProxy, str]


@pytest.fixture(scope="module", params=["embedded Valkey", "Debian's Redis by TCP"])
def pair(request: pytest.FixtureRequest, module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[Pair]:
    """Two proxies on one store, and its address. The money does not divide evenly: half a call is left over."""
    rules = RULES.format(url=module_backend.url, price=PRICE, limit=PRICE * MONEY + Decimal("0.7"))
    if request.param.startswith("embedded"):
        with running_proxy(rules, folder("race"), "--log-format", "json") as first:
            url = embedded_url(first)
            with running_proxy(first.rules, folder("race"), "--log-format", "json", "--redis", url) as second:
                yield first, second, url
    else:
        with debian_redis(folder("redis")) as server:
            url = server.url(database=3)
            common = ("--log-format", "json", "--redis", url)
            with (
                running_proxy(rules, folder("race"), *common) as first,
                running_proxy(first.rules, folder("race"), *common) as second,
            ):
                yield first, second, url


class Watch:
    """A third connection that reads spent, reserved and limit over and over while the race runs."""

    def __init__(self, url: str, budget: str) -> None:
        self.url, self.budget = url, budget
        self.looks = 0
        self.most = 0
        self.broken: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _look(self) -> None:
        with connected(self.url) as store:
            while not self._stop.is_set():
                keys = list(store.scan_iter(f"{PREFIX}budget:{self.budget}:*"))
                while keys and not self._stop.is_set():
                    spent, reserved, limit = (
                        int(value or 0) for value in store.hmget(keys[0], "spent", "reserved", "limit")
                    )
                    self.looks += 1
                    self.most = max(self.most, spent + reserved)
                    if spent + reserved > limit or spent < 0 or reserved < 0:
                        self.broken.append(f"{spent} + {reserved} of {limit}")


async def race(pair: Pair, api: str, answered: Callable[[int], None]) -> Counter[tuple[int, str | None]]:
    """All calls at once, half of them through each proxy."""
    outcomes: Counter[tuple[int, str | None]] = Counter()

    async def one(session: aiohttp.ClientSession, proxy: RunningProxy) -> None:
        async with session.get(f"{proxy.url}/{api}/x") as answer:
            await answer.read()
            outcomes[answer.status, answer.headers.get("X-Spendgate-Reason")] += 1
            answered(sum(outcomes.values()))

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
        await asyncio.gather(*(one(session, pair[number % 2]) for number in range(CALLS)))
    return outcomes


def check(pair: Pair, api: str, watch: Watch, outcomes: Counter[tuple[int, str | None]], backend: Backend) -> None:
    assert outcomes[200, None] == MONEY
    assert sum(outcomes.values()) == CALLS
    assert {status for status, _ in outcomes} == {200, 503}
    assert len(backend.requests) == MONEY
    assert watch.broken == []
    assert watch.looks > 10
    assert watch.most <= (PRICE * MONEY + Decimal("0.7")) * 1_000_000
    budget = pair[0].budget(f"api:{api}")
    assert Decimal(budget["spent"]) == PRICE * MONEY
    assert budget["reserved"] == "0"
    rows = [row for row in pair[1].ledger("--last", "2000") if row["api"] == api]
    assert len(rows) == len({row["id"] for row in rows}) == MONEY
    assert sum(Decimal(row["cost"]) for row in rows) == PRICE * MONEY


async def test_exactly_137_of_500_pass_when_answers_come_at_once(pair: Pair, backend: Backend) -> None:
    with Watch(pair[2], "api:quick") as watch:
        outcomes = await race(pair, "quick", lambda _: None)
    check(pair, "quick", watch, outcomes, backend)


async def test_exactly_137_of_500_pass_when_all_of_them_stand_open(pair: Pair, backend: Backend) -> None:
    release = Signal("the refusal of all others")

    async def hold(seen: Seen, reply: Reply) -> None:
        await release.happens(60)
        await reply.json({"ok": True})

    backend.answer = hold
    with Watch(pair[2], "api:open") as watch:
        outcomes = await race(pair, "open", lambda count: release.set() if count >= CALLS - MONEY else None)
    # Nothing was spent while the others were refused: the money was only held.
    assert outcomes[503, "budget_busy"] == CALLS - MONEY
    check(pair, "open", watch, outcomes, backend)


def test_doctor_is_content_afterwards(pair: Pair) -> None:
    code, found = doctor(pair[1])
    assert code == 0, json.dumps(found, indent=1)
