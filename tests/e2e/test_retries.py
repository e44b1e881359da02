"""Calls that are made again: only where it is safe, within the money and the share, and all attempts on one bill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.e2e.backend import Answer, Backend, Reply, Seen, raw_exchange
from tests.e2e.stores import doctor
from tests.e2e.support import chat_body, entry, eventually, krw, request_id_of, usd
from tests.harness import RunningProxy, free_port, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets: [{{name: monthly, limit: 15000, period: month}}]
apis:
  - name: api
    upstream: {url}
    retry: {{attempts: 3, backoff: 5ms, max_backoff: 100ms, budget: 100%}}
    prices:
      - {{name: paid, match: {{path: /paid/*}}, per_request: 5, charge_on: any}}
      - {{name: never, match: {{path: /never/*}}, per_request: 1, retry: {{attempts: 1}}}}
      - {{name: model, match: {{path: /v1/*}}, catalog: openai, retry: {{repeatable: true, backoff: 5ms}}}}
      - {{name: rest, per_request: 3}}
  - name: poor
    upstream: {url}
    budget: {{limit: 8, period: month}}
    retry: {{backoff: 5ms}}
    prices: [{{per_request: 5, charge_on: any, priority: essential}}]
  - name: paced
    upstream: {url}
    retry: {{attempts: 3, backoff: 5ms, max_backoff: 100ms, budget: 100%}}
    prices: [{{per_request: 1}}]
  - name: storm
    upstream: {url}
    retry: {{attempts: 3, backoff: 1ms, max_backoff: 5ms}}
    prices: [{{per_request: 1}}]
  - name: hasty
    upstream: {url}
    total_timeout: 600ms
    retry: {{backoff: 5ms, attempts: 9, budget: 100%}}
    prices: [{{per_request: 1}}]
  - name: slowly
    upstream: {url}
    retry: {{backoff: 30s, max_backoff: 60s}}
    prices: [{{per_request: 1}}]
  - name: watched
    upstream: {url}
    breaker: {{failures: 80%, of_at_least: 6, window: 60s, open_for: 60s}}
    retry: {{attempts: 3, backoff: 5ms, budget: 100%}}
    prices: [{{free: true}}]
  - name: gone
    upstream: http://127.0.0.1:{nobody}
    retry: {{backoff: 5ms, budget: 100%}}
    prices: [{{per_request: 1}}]
"""


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    rules = RULES.format(url=module_backend.url, nobody=free_port())
    with running_proxy(rules, folder("retries"), "--log-format", "json") as running:
        yield running


def failing(backend: Backend, times: int, fail: Answer | None = None, *fields: tuple[str, str]) -> None:
    """The first answers are failures, the next are good."""

    async def answer(seen: Seen, reply: Reply) -> None:
        if len(backend.requests) > times:
            await reply.json({"ok": True})
        elif fail is not None:
            await fail(seen, reply)
        else:
            await reply.json({"error": "later"}, 503, *fields)

    backend.answer = answer


async def die(seen: Seen, reply: Reply) -> None:
    reply.die()


def test_an_api_that_recovers_is_asked_again(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    failing(backend, 2)
    answer = client.put(f"{proxy.url}/api/x", content=b"the body")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert answer.headers["x-spendgate-attempts"] == "3"
    assert [seen.body for seen in backend.requests] == [b"the body"] * 3
    row = entry(proxy, request_id_of(answer))
    assert [(one["status"], one["cost"]) for one in row["attempts"]] == [(503, "0"), (503, "0"), (200, "3")]
    assert (Decimal(row["cost"]), row["state"], row["status"]) == (3, "settled", 200)
    assert Decimal(answer.headers["x-spendgate-cost"]) == 3


def test_the_last_failure_is_passed_on(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    failing(backend, 99)
    answer = client.get(f"{proxy.url}/api/x")
    assert (answer.status_code, answer.json()) == (503, {"error": "later"})
    assert answer.headers["x-spendgate-attempts"] == "3"
    assert len(backend.requests) == 3


@pytest.mark.parametrize(
    ("method", "headers", "attempts"),
    [("POST", {}, 1), ("PATCH", {}, 1), ("POST", {"Idempotency-Key": "k"}, 2), ("DELETE", {}, 2)],
)
def test_only_what_can_do_nothing_twice(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, method: str, headers: dict[str, str], attempts: int
) -> None:
    failing(backend, 1)
    answer = client.request(method, f"{proxy.url}/api/x", headers=headers)
    assert len(backend.requests) == attempts
    assert answer.status_code == (200 if attempts == 2 else 503)


def test_a_question_to_a_model_may_be_repeated_where_the_rule_says_so(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    good = backend.answer

    async def answer(seen: Seen, reply: Reply) -> None:
        if len(backend.requests) == 1:
            reply.die()  # sent, and nobody knows whether it was billed
        else:
            await good(seen, reply)

    backend.answer = answer
    told = client.post(f"{proxy.url}/api/v1/chat/completions", json=chat_body())
    assert told.status_code == 200
    row = entry(proxy, request_id_of(told))
    price = krw(usd("gpt-4o-mini", 19, 10))
    first, second = row["attempts"]
    assert (first["status"], second["status"], Decimal(second["cost"])) == (None, 200, price)
    assert Decimal(first["cost"]) == Decimal(row["estimate"]) > price
    assert (row["state"], Decimal(row["cost"])) == ("estimated", Decimal(first["cost"]) + price)
    assert doctor(proxy)[0] == 0


def test_a_rule_may_want_no_attempts_more(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    failing(backend, 1)
    answer = client.get(f"{proxy.url}/api/never/x")
    assert (answer.status_code, len(backend.requests)) == (503, 1)
    assert "x-spendgate-attempts" not in answer.headers


def test_each_attempt_is_billed_as_the_api_bills_it(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    failing(backend, 1)
    answer = client.get(f"{proxy.url}/api/paid/x")
    row = entry(proxy, request_id_of(answer))
    assert [one["cost"] for one in row["attempts"]] == ["5", "5"]
    assert (Decimal(row["cost"]), Decimal(row["budgets"][0]["cost"])) == (10, 10)
    assert [term["name"] for term in row["terms"]] == ["per_request", "per_request"]


def test_an_attempt_that_the_budget_cannot_pay_is_not_made(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    failing(backend, 1)
    answer = client.get(f"{proxy.url}/poor/x")
    assert (answer.status_code, len(backend.requests)) == (503, 1)
    assert answer.json() == {"error": "later"}
    assert Decimal(entry(proxy, request_id_of(answer))["cost"]) == 5
    assert doctor(proxy)[0] == 0


def test_the_api_is_not_asked_before_it_wants(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    failing(backend, 1, None, ("retry-after-ms", "60"))
    answer = client.get(f"{proxy.url}/paced/x")
    assert Decimal(entry(proxy, request_id_of(answer))["attempts"][0]["seconds"]) < 5
    assert len(backend.requests) == 2
    backend.requests.clear()
    failing(backend, 1, None, ("Retry-After", "30"))  # longer than the rule's patience
    assert client.get(f"{proxy.url}/paced/x").status_code == 503
    assert len(backend.requests) == 1


def test_no_attempt_begins_after_the_calls_own_time(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def silent(seen: Seen, reply: Reply) -> None:
        await seen.gone.happens()

    backend.answer = silent
    answer = client.get(f"{proxy.url}/hasty/x")
    assert (answer.status_code, answer.json()["reason"]) == (504, "upstream_timeout")
    assert len(backend.requests) == 1


def test_an_api_that_is_not_there_is_tried_again_and_costs_nothing(proxy: RunningProxy, client: httpx.Client) -> None:
    answer = client.post(f"{proxy.url}/gone/x", content=b"x")
    assert (answer.status_code, answer.json()["reason"]) == (502, "upstream_unreachable")
    row = entry(proxy, request_id_of(answer))
    assert [(one["status"], one["cost"]) for one in row["attempts"]] == [(None, "0")] * 3
    assert Decimal(row["cost"]) == 0


def test_a_client_that_leaves_between_attempts_pays_for_those_that_were_made(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    failing(backend, 99)
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{proxy.url}/slowly/left", timeout=0.5)
    made = eventually(lambda: [row for row in proxy.ledger() if row["path"] == "/left"], "the ledger entry")[0]
    assert [(one["status"], one["cost"]) for one in made["attempts"]] == [(503, "0")]
    assert (Decimal(made["cost"]), len(backend.requests)) == (0, 1)


def test_the_breaker_hears_of_every_attempt(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    failing(backend, 2)
    assert client.get(f"{proxy.url}/watched/x").status_code == 200
    [circuit] = next(one for one in proxy.status()["apis"] if one["name"] == "watched")["breakers"]
    assert (circuit["state"], circuit["calls"], circuit["failures"]) == ("closed", 3, 2)
    backend.requests.clear()
    failing(backend, 99)
    # Of six attempts now five have failed: the circuit opens, and nothing more is sent.
    assert client.get(f"{proxy.url}/watched/x").status_code == 503
    assert client.get(f"{proxy.url}/watched/x").json()["reason"] == "circuit_open"
    assert len(backend.requests) == 3


def test_after_the_first_byte_nothing_is_repeated(proxy: RunningProxy, backend: Backend) -> None:
    async def half(seen: Seen, reply: Reply) -> None:
        await reply.head(200)
        await reply.piece(b"half")
        reply.die()

    backend.answer = half
    answer = raw_exchange(proxy.port, b"GET /api/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")
    assert len(backend.requests) == 1


def test_a_storm_of_failures_is_not_made_worse(proxy: RunningProxy, backend: Backend) -> None:
    async def down(seen: Seen, reply: Reply) -> None:
        await reply.json({"error": "down"}, 503)

    backend.answer = down

    async def storm() -> None:
        async def one(session: aiohttp.ClientSession) -> None:
            async with session.get(f"{proxy.url}/storm/x") as answer:
                assert answer.status == 503

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:
            await asyncio.gather(*[one(session) for _ in range(300)])

    asyncio.run(storm())
    # A tenth, and the two that any call may have.
    assert 300 < len(backend.requests) <= 300 + 30 + 2
