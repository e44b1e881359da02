"""What passes and what is refused as a budget fills, and what a refusal says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.e2e.backend import Backend, Reply, Seen, Signal
from tests.e2e.stores import PREFIX, budget_key, connected, doctor, embedded_url
from tests.e2e.support import InThread, chat_body, entry, eventually, http, request_id_of
from tests.harness import RunningProxy, running_proxy

NAMES = ("climb", "essential", "busy", "held", "small", "percent", "english", "reserve")

HEAD = """
version: 1
currency: KRW
timezone: Asia/Seoul
language: ko
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 1000000, period: month}}
  - {{name: dollars, limit: 100, currency: USD, period: day, timezone: America/New_York, applies_to: {{api: reserve}}}}
apis:
  - name: openai
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /v1/models*}}, free: true}}
      - {{match: {{path: /spend}}, per_request: 95}}
      - {{match: {{path: /v1/*}}, catalog: openai}}
  - name: anthropic
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 95}}
      - {{match: {{path: /v1/*}}, catalog: anthropic}}
  - name: google
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 95}}
      - {{match: {{path: /v1beta/*}}, catalog: google}}
"""

API = """
  - name: {name}
    upstream: {url}
    budget: {{limit: 100, period: {period}}}
    prices:
      - {{name: free, match: {{path: /free}}, free: true}}
      - {{name: one, match: {{path: /one}}, per_request: 1}}
      - {{name: ten, match: {{path: /ten}}, per_request: 10}}
      - {{name: ninety-five, match: {{path: /95}}, per_request: 95}}
      - {{name: urgent, match: {{path: /urgent}}, per_request: 1, priority: essential}}
      - {{name: urgent-ten, match: {{path: /urgent-ten}}, per_request: 10, priority: essential}}
      - {{name: hold, match: {{path: /hold}}, per_request: 95, charge_on: 204}}
      - {{name: hold-half, match: {{path: /hold-half}}, per_request: 50, charge_on: 204}}
"""


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    url = module_backend.url
    rules = HEAD.format(url=url) + "".join(API.format(name=name, url=url, period="month") for name in NAMES)
    with running_proxy(rules, folder("budgets"), "--log-format", "json") as running:
        yield running


@pytest.fixture
def store(proxy: RunningProxy) -> Iterator[redis.Redis]:
    """A connection of the test's own to the embedded store."""
    with connected(embedded_url(proxy)) as connection:
        yield connection


class Way:
    """Calls to one API."""

    def __init__(self, proxy: RunningProxy, client: httpx.Client, api: str) -> None:
        self.proxy, self.client, self.api = proxy, client, api

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"{self.proxy.url}/{self.api}/{path}")

    def outcome(self, path: str) -> tuple[int, str | None]:
        answer = self.get(path)
        return answer.status_code, answer.headers.get("X-Spendgate-Reason")


PASSED = (200, None)


def test_what_passes_at_every_level(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    """The table of the product: free, essential and other calls at 94, 95, 99 and 100 of 100."""
    way = Way(proxy, client, "climb")
    for _ in range(9):
        assert way.outcome("ten") == PASSED
    for _ in range(4):
        assert way.outcome("one") == PASSED
    assert way.outcome("ten") == (402, "budget_insufficient")  # 94 + 10 > 100
    assert way.outcome("urgent-ten") == (503, "budget_stopped")
    assert way.outcome("one") == PASSED  # at 95 from here on
    assert way.outcome("one") == (402, "budget_restricted")
    assert way.outcome("ten") == (402, "budget_restricted")
    for _ in range(5):
        assert way.outcome("urgent") == PASSED
    for path in ("one", "urgent"):  # at 100
        assert way.outcome(path) == (503, "budget_stopped")
    assert way.outcome("free") == PASSED
    level = proxy.budget("api:climb")
    assert (level["spent"], level["reserved"], level["ratio"], level["state"]) == ("100", "0", 1, "stopped")
    assert level["thresholds_crossed"] == [70, 80, 90, 95, 100]


def test_a_refused_call_never_reaches_the_api_and_leaves_no_entry(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    way = Way(proxy, client, "small")
    assert way.outcome("95") == PASSED
    backend.reset()
    answer = way.get("one")
    assert answer.status_code == 402
    assert backend.requests == []
    assert proxy.ledger("--id", request_id_of(answer)) == []


def test_the_refusal_is_a_problem_with_all_the_facts_in_korean(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    way = Way(proxy, client, "percent")
    assert way.outcome("95") == PASSED
    answer = way.get("one")
    problem = answer.json()
    request_id = request_id_of(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["cache-control"] == "no-store"
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    resets_at = datetime.fromisoformat(problem["resets_at"])
    assert resets_at.utcoffset() == timedelta(hours=9)
    assert (resets_at.day, resets_at.hour, resets_at.minute, resets_at.second) == (1, 0, 0, 0)
    assert resets_at > datetime.now(resets_at.tzinfo)
    detail = problem.pop("detail")
    assert "예산" in detail
    assert "api:percent" in detail
    assert "95 %" in detail
    assert problem.pop("title") == "예산 제한"
    assert problem == {
        "type": "urn:spendgate:problem:budget_restricted",
        "status": 402,
        "instance": f"urn:spendgate:request:{request_id}",
        "reason": "budget_restricted",
        "budget": "api:percent",
        "period": (resets_at - timedelta(days=1)).strftime("%Y-%m"),
        "currency": "KRW",
        "limit": "100",
        "spent": "95",
        "reserved": "0",
        "resets_at": problem["resets_at"],
        "estimate": "1",
        "retry_after": int(answer.headers["retry-after"]),
    }


def test_each_api_refuses_in_the_shape_of_its_own_errors(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    errors = {}
    for api, path in (
        ("openai", "v1/chat/completions"),
        ("anthropic", "v1/messages"),
        ("google", "v1beta/models/gemini-2.5-flash:generateContent"),
    ):
        assert Way(proxy, client, api).outcome("spend") == PASSED
        model = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-6", "google": "gemini-2.5-flash"}[api]
        answer = client.post(f"{proxy.url}/{api}/{path}", json=chat_body(model))
        assert (answer.status_code, answer.json()["reason"]) == (402, "budget_restricted"), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        errors[api] = answer.json()["error"]
        detail = answer.json()["detail"]
    assert errors["openai"]["type"] == "insufficient_quota"
    assert errors["openai"]["code"] == "budget_restricted"
    assert errors["anthropic"]["type"] == "billing_error"
    assert (errors["google"]["status"], errors["google"]["code"]) == ("RESOURCE_EXHAUSTED", 402)
    assert errors["google"]["message"] == detail


@pytest.fixture
def holding(backend: Backend) -> Iterator[Signal]:
    """Calls to /hold... stay open until this is set; they come back uncharged."""
    release = Signal("the test's release")

    async def hold(seen: Seen, reply: Reply) -> None:
        if seen.target.startswith("/hold"):
            await release.happens()
        await reply.json({"ok": True})

    backend.answer = hold
    yield release
    release.set()


def test_money_that_is_only_held_makes_a_budget_busy(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, holding: Signal
) -> None:
    way = Way(proxy, client, "busy")
    held = InThread(lambda: Way(proxy, http(), "busy").get("hold"))
    backend.wait_requests(1)
    answer = way.get("one")  # 95 held: at the restrict line, though nothing is spent
    assert (answer.status_code, answer.json()["reason"]) == (402, "budget_busy")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-should-retry"] == "true"
    assert (answer.json()["spent"], answer.json()["reserved"]) == ("0", "95")
    assert way.outcome("urgent-ten") == (503, "budget_busy")
    assert way.outcome("urgent") == PASSED
    assert way.outcome("free") == PASSED
    assert proxy.budget("api:busy")["reserved"] == "95"
    holding.set()
    assert held.result().status_code == 200
    assert way.outcome("one") == PASSED
    assert proxy.budget("api:busy")["reserved"] == "0"


def test_a_call_that_would_not_fit_anyway_is_insufficient_and_not_busy(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, holding: Signal
) -> None:
    way = Way(proxy, client, "held")
    for _ in range(6):
        assert way.outcome("ten") == PASSED
    held = InThread(lambda: Way(proxy, http(), "held").get("ten"))
    held.result()
    assert way.outcome("hold-half") == (402, "budget_insufficient")  # 70 + 50 > 100, whatever is released
    assert way.outcome("95") == (402, "budget_insufficient")


def test_what_is_left_is_told_on_every_answer(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    way = Way(proxy, client, "english")
    left = [Decimal(way.get("ten").headers["x-spendgate-budget-remaining"]) for _ in range(3)]
    assert left == [90, 80, 70]


def test_a_budget_in_another_currency_and_zone_counts_too(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    assert Way(proxy, client, "reserve").outcome("ten") == PASSED
    level = proxy.budget("dollars")
    assert level["currency"] == "USD"
    assert Decimal(level["spent"]) == (Decimal(10) / 1390).quantize(Decimal("0.000000001"), "ROUND_HALF_UP")
    resets_at = datetime.fromisoformat(level["resets_at"])
    assert resets_at.utcoffset() in (timedelta(hours=-5), timedelta(hours=-4))
    assert (resets_at.hour, resets_at.minute) == (0, 0)


def test_status_has_the_documented_shape(proxy: RunningProxy) -> None:
    status = proxy.status()
    assert {"budgets", "apis", "rules", "store"} <= status.keys()
    for budget in status["budgets"]:
        assert list(budget)[:10] == [
            "name",
            "period",
            "currency",
            "limit",
            "spent",
            "reserved",
            "ratio",
            "state",
            "resets_at",
            "thresholds_crossed",
        ]
        for field in ("limit", "spent", "reserved"):
            assert isinstance(budget[field], str)
            Decimal(budget[field])
        assert budget["ratio"] == pytest.approx(float(Decimal(budget["spent"]) / Decimal(budget["limit"])), abs=1e-4)
        assert datetime.fromisoformat(budget["resets_at"]).tzinfo is not None
        assert isinstance(budget["thresholds_crossed"], list)
    rules = status["rules"]
    assert len(rules["hash"]) == 12
    assert datetime.fromisoformat(rules["loaded_at"]).tzinfo is not None
    assert rules["errors"] == []
    assert status["store"]["reachable"] is True


def test_ledger_has_the_documented_shape(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    answer = Way(proxy, client, "english").get("one")
    row = entry(proxy, request_id_of(answer))
    documented = (
        "id at api rule caller method path status state cost currency original_cost original_currency fx_rate estimate "
        "usage terms"
    )
    assert set(documented.split()) <= row.keys()
    assert datetime.fromisoformat(row["at"]).tzinfo is not None
    assert (row["caller"], row["method"], row["path"], row["fx_rate"]) == ("anonymous", "GET", "/one", None)
    assert row["terms"] == [{"name": "per_request", "quantity": "1", "unit_price": "1", "amount": "1"}]
    newest = proxy.ledger("--last", "3")
    assert len(newest) == 3
    assert newest[0]["id"] == row["id"]
    assert [one["id"] for one in newest] == sorted((one["id"] for one in newest), reverse=True)


def test_thresholds_are_recorded_exactly_once_under_concurrency(
    module_backend: Backend, folder: Callable[[str], Path], backend: Backend
) -> None:
    """100 calls of 1 won at once against 100 won: each of the five lines is crossed once, and written once."""
    api = API.format(name="race", url=backend.url, period="month")
    api = api.replace("per_request: 1}", "per_request: 1, priority: essential}")
    rules = HEAD.format(url=backend.url).replace("api: reserve", "api: race") + api
    with running_proxy(rules, folder("crossing"), "--log-format", "json", "--workers", "2") as proxy:
        with ThreadPoolExecutor(20) as pool, http() as client:
            answers = list(pool.map(lambda _: client.get(f"{proxy.url}/race/one").status_code, range(130)))
        counts = Counter(answers)
        assert counts[200] == 100
        assert set(counts) == {200, 503}
        with connected(embedded_url(proxy)) as store:
            records = [fields for _, fields in store.xrange(f"{PREFIX}thresholds")]
        crossed: list[dict[str, Any]] = [one for one in records if one.get("budget") == "api:race"]
        assert sorted(int(float(one["threshold"])) for one in crossed) == [70, 80, 90, 95, 100]
        assert proxy.budget("api:race")["thresholds_crossed"] == [70, 80, 90, 95, 100]
        assert eventually(lambda: proxy.budget("api:race")["reserved"] == "0", "every reservation's end")


def test_the_counters_are_the_sum_of_the_ledger(proxy: RunningProxy) -> None:
    rows = proxy.ledger("--last", "10000")
    by_api: Counter[str] = Counter()
    for row in rows:
        by_api[f"api:{row['api']}"] += Decimal(row["cost"])  # type: ignore[assignment]
    for budget in proxy.status()["budgets"]:
        if budget["name"].startswith("api:"):
            assert Decimal(budget["spent"]) == by_api[budget["name"]], budget["name"]
        elif budget["name"] == "monthly":
            assert Decimal(budget["spent"]) == sum((Decimal(row["cost"]) for row in rows), Decimal(0))


def test_doctor_is_content_and_finds_a_cooked_counter(proxy: RunningProxy, store: redis.Redis) -> None:
    code, found = doctor(proxy)
    assert (code, found["healthy"]) == (0, True), found
    key = budget_key(store, "api:climb")
    store.hincrby(key, "spent", 1)
    code, found = doctor(proxy)
    assert (code, found["healthy"]) == (1, False)
    (failed,) = [one for one in found["findings"] if one["severity"] == "fail"]
    assert "api:climb" in json.dumps(failed)
    assert failed["remedy"]
    store.hincrby(key, "spent", -1)
    assert doctor(proxy)[0] == 0
