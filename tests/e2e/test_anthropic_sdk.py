"""Anthropic's own Python SDK, pointed at the proxy by its base URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import anthropic
import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal, message_answer, message_events
from tests.e2e.support import InThread, entry, eventually, krw, log_events, request_id_of, terms_sum, usd
from tests.harness import RunningProxy, running_proxy

MODEL = "claude-sonnet-4-6"

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: anthropic
    upstream: {url}
    credentials: {{header: X-Api-Key, value: "${{E2E_REAL_KEY}}"}}
    prices:
      - {{name: llm, match: {{method: POST, path: /v1/messages}}, catalog: anthropic}}
  - name: restricted
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /v1/messages}}, catalog: anthropic}}
      - {{match: {{path: /spend}}, per_request: 95}}
  - name: stopped
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /v1/messages}}, catalog: anthropic}}
      - {{match: {{path: /spend}}, per_request: 100}}
  - name: busy
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /v1/messages}}, catalog: anthropic}}
      - {{match: {{path: /hold}}, per_request: 95, charge_on: 204}}
"""


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    rules = RULES.format(url=module_backend.url)
    env = {"E2E_REAL_KEY": "the-real-one"}
    with running_proxy(rules, folder("anthropic"), "--log-format", "json", env=env) as running:
        yield running


async def answer_message(seen: Seen, reply: Reply) -> None:
    if seen.target == "/v1/messages":
        await reply.json(message_answer(MODEL, {"input_tokens": 120, "output_tokens": 30}))
    else:
        await reply.json({"ok": True})


def sdk(proxy: RunningProxy, mount: str = "anthropic", retries: int = 5) -> anthropic.Anthropic:
    plain = anthropic.DefaultHttpxClient(trust_env=False, timeout=20)
    return anthropic.Anthropic(
        base_url=f"{proxy.url}/{mount}", api_key="of-the-program", max_retries=retries, http_client=plain
    )


ASK = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello."}]}


def test_a_message_is_priced_to_the_atom(proxy: RunningProxy, backend: Backend) -> None:
    backend.answer = answer_message
    with sdk(proxy) as client:
        raw = client.messages.with_raw_response.create(**ASK)
    answer = raw.parse()
    assert answer.content[0].text == "Hello."
    row = entry(proxy, request_id_of(raw))
    dollars = usd(MODEL, 120, 30)
    assert (row["api"], row["rule"], row["state"]) == ("anthropic", "anthropic/llm", "settled")
    assert Decimal(row["original_cost"]) == dollars == terms_sum(row) == Decimal("0.00081")
    assert Decimal(row["cost"]) == krw(dollars) == Decimal("1.1259")
    (seen,) = backend.requests
    assert seen.all("x-api-key") == ["the-real-one"]
    assert b"of-the-program" not in seen.raw


def test_tokens_from_and_to_the_cache_have_their_own_prices(proxy: RunningProxy, backend: Backend) -> None:
    usage = {
        "input_tokens": 100,
        "cache_creation_input_tokens": 2000,
        "cache_read_input_tokens": 3000,
        "output_tokens": 50,
    }

    async def cached(seen: Seen, reply: Reply) -> None:
        await reply.json(message_answer(MODEL, usage))

    backend.answer = cached
    with sdk(proxy) as client:
        raw = client.messages.with_raw_response.create(**ASK)
    row = entry(proxy, request_id_of(raw))
    # 3 USD in, 3.75 written to the cache for five minutes, 0.30 read from it, 15 out: each per million.
    dollars = (Decimal(3) * 100 + Decimal("3.75") * 2000 + Decimal("0.3") * 3000 + Decimal(15) * 50) / 1_000_000
    assert Decimal(row["original_cost"]) == dollars == Decimal("0.00945")
    assert Decimal(row["cost"]) == krw(dollars)


def test_a_streamed_message_is_settled_from_its_last_event(proxy: RunningProxy, backend: Backend) -> None:
    async def stream(seen: Seen, reply: Reply) -> None:
        await reply.events(*message_events(["Hel", "lo."], MODEL, 120, 30))

    backend.answer = stream
    with sdk(proxy) as client, client.messages.stream(**ASK) as running:
        assert running.get_final_text() == "Hello."
        request_id = request_id_of(running.response)
    row = entry(proxy, request_id)
    assert row["state"] == "settled"
    assert Decimal(row["original_cost"]) == usd(MODEL, 120, 30)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, anthropic.BadRequestError), (429, anthropic.RateLimitError), (529, anthropic.InternalServerError)],
)
def test_an_error_of_the_api_arrives_as_it_is_and_costs_nothing(
    proxy: RunningProxy, backend: Backend, status: int, error: type[anthropic.APIStatusError]
) -> None:
    sent = {"type": "error", "error": {"type": "overloaded_error", "message": "No."}, "request_id": "req_1"}

    async def fail(seen: Seen, reply: Reply) -> None:
        await reply.json(sent, status)

    backend.answer = fail
    with sdk(proxy, retries=0) as client, pytest.raises(error) as caught:
        client.messages.create(**ASK)
    assert caught.value.status_code == status
    assert caught.value.body == sent
    row = entry(proxy, request_id_of(caught.value.response))
    assert (row["status"], row["state"], Decimal(row["cost"])) == (status, "settled", 0)


@pytest.mark.parametrize(
    ("mount", "status", "reason", "kind"),
    [("restricted", 402, "budget_restricted", "billing_error"), ("stopped", 503, "budget_stopped", "api_error")],
)
def test_a_budget_refusal_raises_cleanly_and_is_asked_exactly_once(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, mount: str, status: int, reason: str, kind: str
) -> None:
    assert client.get(f"{proxy.url}/{mount}/spend").status_code == 200
    backend.reset()
    with sdk(proxy, mount) as anthropic_client, pytest.raises(anthropic.APIStatusError) as caught:
        anthropic_client.messages.create(**ASK)
    assert caught.value.status_code == status
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["reason"] == reason
    assert f"api:{mount}" in body["error"]["message"]
    assert backend.requests == []
    assert len(log_events(proxy, "request.denied", api=mount, reason=reason)) == 1


def test_a_busy_budget_is_tried_again_by_the_sdk_and_then_passes(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    release = Signal("the test's release")

    async def hold(seen: Seen, reply: Reply) -> None:
        if seen.target == "/hold":
            await release.happens()
        await answer_message(seen, reply)

    backend.answer = hold
    holding = InThread(lambda: client.get(f"{proxy.url}/busy/hold"))
    backend.wait_requests(1)
    with sdk(proxy, "busy", retries=2) as anthropic_client:
        asking = InThread(lambda: anthropic_client.messages.create(**ASK))
        eventually(lambda: log_events(proxy, "request.denied", api="busy", reason="budget_busy"), "a busy refusal")
        release.set()
        assert holding.result().status_code == 200
        assert asking.result().content[0].text == "Hello."
    assert len(log_events(proxy, "request.denied", api="busy")) == 1
