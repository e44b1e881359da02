"""OpenAI's own Python SDK, pointed at the proxy by its base URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import openai
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal, answer_chat, chat_events
from tests.e2e.support import (
    InThread,
    entry,
    eventually,
    krw,
    log_events,
    request_id_of,
    terms_sum,
    usd,
)
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: openai
    upstream: {url}
    credentials: {{header: Authorization, value: "Bearer ${{E2E_REAL_KEY}}"}}
    prices:
      - {{name: models, match: {{path: /v1/models*}}, free: true}}
      - {{name: llm, match: {{method: POST, path: /v1/*}}, catalog: openai}}
  - name: restricted
    upstream: {url}
    speaks: openai
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 95}}
      - {{match: {{path: /v1/*}}, catalog: openai}}
  - name: stopped
    upstream: {url}
    speaks: openai
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 100}}
      - {{match: {{path: /v1/*}}, catalog: openai}}
  - name: tight
    upstream: {url}
    speaks: openai
    budget: {{limit: 0.05, period: month}}
    prices:
      - {{match: {{path: /v1/*}}, catalog: openai}}
  - name: busy
    upstream: {url}
    speaks: openai
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /hold}}, per_request: 95, charge_on: 204}}
      - {{match: {{path: /v1/*}}, catalog: openai}}
"""


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    rules = RULES.format(url=module_backend.url)
    env = {"E2E_REAL_KEY": "sk-the-real-one"}
    with running_proxy(rules, folder("openai"), "--log-format", "json", env=env) as running:
        yield running


def sdk(proxy: RunningProxy, mount: str = "openai", retries: int = 5) -> openai.OpenAI:
    plain = openai.DefaultHttpxClient(trust_env=False, timeout=20)
    return openai.OpenAI(
        base_url=f"{proxy.url}/{mount}/v1", api_key="sk-of-the-program", max_retries=retries, http_client=plain
    )


HELLO = [{"role": "user", "content": "Say hello."}]


def test_chat_completion_is_priced_to_the_atom(proxy: RunningProxy, backend: Backend) -> None:
    with sdk(proxy) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO, max_tokens=64)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 29

    row = entry(proxy, request_id_of(raw))
    assert (row["api"], row["rule"], row["state"], row["status"]) == ("openai", "openai/llm", "settled", 200)
    assert (row["method"], row["path"]) == ("POST", "/v1/chat/completions")
    dollars = usd("gpt-4o-mini", 19, 10)
    assert Decimal(row["original_cost"]) == dollars == Decimal("0.00000885")
    assert row["original_currency"] == "USD"
    assert Decimal(row["cost"]) == krw(dollars) == Decimal("0.012302")  # 0.0123015, half up
    assert (row["currency"], Decimal(row["fx_rate"])) == ("KRW", 1390)
    assert row["usage"]["input_tokens"] == 19
    assert row["usage"]["output_tokens"] == 10
    assert terms_sum(row) == dollars
    assert Decimal(row["estimate"]) >= Decimal(row["cost"])
    assert raw.headers["x-spendgate-cost"].split()[0] == "0.012302"


def test_the_real_key_reaches_the_api_and_the_programs_own_does_not(proxy: RunningProxy, backend: Backend) -> None:
    with sdk(proxy) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=64)
    (seen,) = backend.requests
    assert seen.all("authorization") == ["Bearer sk-the-real-one"]
    assert b"sk-of-the-program" not in seen.raw


def test_listing_models_is_free(proxy: RunningProxy, backend: Backend) -> None:
    async def models(seen: Seen, reply: Reply) -> None:
        await reply.json(
            {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "created": 1, "owned_by": "x"}]}
        )

    backend.answer = models
    with sdk(proxy) as client:
        raw = client.models.with_raw_response.list()
    assert [model.id for model in raw.parse()] == ["gpt-4o-mini"]
    row = entry(proxy, request_id_of(raw))
    assert (row["rule"], row["state"], Decimal(row["cost"])) == ("openai/models", "settled", 0)


def test_stream_with_usage_is_settled_from_it(proxy: RunningProxy, backend: Backend) -> None:
    words = [f"w{number} " for number in range(20)]

    async def stream(seen: Seen, reply: Reply) -> None:
        usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
        await reply.events(*chat_events(words, usage, "gpt-4o"))

    backend.answer = stream
    with sdk(proxy) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=HELLO, max_tokens=300, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "".join(words)
    assert chunks[-1].usage is not None
    row = entry(proxy, request_id_of(raw))
    assert row["state"] == "settled"
    assert Decimal(row["original_cost"]) == usd("gpt-4o", 1000, 200) == Decimal("0.0045")
    assert Decimal(row["cost"]) == Decimal("6.255")


def test_stream_without_usage_is_charged_at_its_estimate_and_says_so(proxy: RunningProxy, backend: Backend) -> None:
    async def stream(seen: Seen, reply: Reply) -> None:
        await reply.events(*chat_events(["Hello", "."], None))

    backend.answer = stream
    with sdk(proxy) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini", messages=HELLO, max_tokens=64, stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse()) == "Hello."
    request_id = request_id_of(raw)
    row = entry(proxy, request_id)
    assert row["state"] == "estimated"
    assert Decimal(row["cost"]) == Decimal(row["estimate"]) > 0
    (warning,) = log_events(proxy, "call.not_priced_exactly", id=request_id)
    assert warning["note"] == "usage_missing"
    notes = [(one["note"], one["api"], one["count"]) for one in proxy.status()["notes"]]
    assert notes == [("usage_missing", "openai", 1)]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_an_error_of_the_api_arrives_as_it_is_and_costs_nothing(
    proxy: RunningProxy, backend: Backend, status: int, error: type[openai.APIStatusError]
) -> None:
    async def fail(seen: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": "No.", "type": "some_error", "param": None, "code": "c"}}, status)

    backend.answer = fail
    with sdk(proxy, retries=0) as client, pytest.raises(error) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=64)
    assert caught.value.status_code == status
    assert caught.value.body == {"message": "No.", "type": "some_error", "param": None, "code": "c"}
    row = entry(proxy, request_id_of(caught.value.response))
    assert (row["status"], row["state"], Decimal(row["cost"])) == (status, "settled", 0)


def test_the_sdk_still_retries_an_overloaded_api_by_itself(proxy: RunningProxy, backend: Backend) -> None:
    async def second_time_lucky(seen: Seen, reply: Reply) -> None:
        if len(backend.requests) == 1:
            await reply.json({"error": {"message": "Busy."}}, 503, ("Retry-After-Ms", "1"))
        else:
            await answer_chat(seen, reply)

    backend.answer = second_time_lucky
    with sdk(proxy) as client:
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=64)
    assert answer.choices[0].message.content == "Hello."
    assert len(backend.requests) == 2


@pytest.mark.parametrize(
    ("mount", "status", "reason"),
    [
        ("restricted", 402, "budget_restricted"),
        ("stopped", 503, "budget_stopped"),
        ("tight", 402, "budget_insufficient"),
    ],
)
def test_a_budget_refusal_raises_cleanly_and_is_asked_exactly_once(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, mount: str, status: int, reason: str
) -> None:
    if mount != "tight":
        assert client.get(f"{proxy.url}/{mount}/spend").status_code == 200
    backend.reset()
    with sdk(proxy, mount) as openai_client, pytest.raises(openai.APIStatusError) as caught:
        openai_client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=64)
    assert caught.value.status_code == status
    assert caught.value.code == reason
    assert f"api:{mount}" in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert backend.requests == []
    assert len(log_events(proxy, "request.denied", api=mount, reason=reason)) == 1


def test_a_busy_budget_is_tried_again_by_the_sdk_and_then_passes(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    release = Signal("the test's release")

    async def hold(seen: Seen, reply: Reply) -> None:
        if seen.target == "/hold":
            await release.happens()
            await reply.json({"uncharged": True})  # 200: this rule charges 204 only, so all the money comes back
        else:
            await answer_chat(seen, reply)

    backend.answer = hold
    holding = InThread(lambda: client.get(f"{proxy.url}/busy/hold"))
    backend.wait_requests(1)
    with sdk(proxy, "busy", retries=2) as openai_client:
        asking = InThread(
            lambda: openai_client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=64)
        )
        eventually(lambda: log_events(proxy, "request.denied", api="busy", reason="budget_busy"), "a busy refusal")
        release.set()
        assert holding.result().status_code == 200
        assert asking.result().choices[0].message.content == "Hello."
    assert len(log_events(proxy, "request.denied", api="busy")) == 1
