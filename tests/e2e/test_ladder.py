"""The ladder near the end of a budget: cheaper calls, stale answers, a cheaper place, and both prices in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen, running_backend
from tests.e2e.stores import doctor
from tests.e2e.support import chat_body, entry, krw, request_id_of, usd
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
apis:
  - name: models
    upstream: {url}
    credentials: {{header: Authorization, value: "Bearer ${{E2E_REAL_KEY}}"}}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 80}}
      - match: {{path: /v1/*}}
        catalog: openai
        degrade:
          - {{at: 80%, set: {{model: gpt-4o-mini, max_tokens: 20}}}}
  - name: pages
    upstream: {url}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 90}}
      - match: {{path: /page}}
        per_request: 2
        priority: essential
        cache: {{ttl: 1h, stale: 1h, scope: shared}}
        degrade: [{{at: 90%, serve_stale: true}}]
  - name: places
    upstream: {url}
    breaker: {{consecutive: 1, window: 60s, open_for: 60s}}
    credentials: {{header: x-api-key, value: "${{E2E_REAL_KEY}}"}}
    budget: {{limit: 100, period: month}}
    prices:
      - {{match: {{path: /spend}}, per_request: 90}}
      - match: {{path: /draw}}
        per_request: 6
        degrade:
          - {{at: 50%, set: {{size: small}}}}
          - {{at: 90%, upstream: "{cheaper}/cheap", per_request: 1, credentials: {{header: x-key, value: "k"}}}}
"""


@pytest.fixture(scope="module")
def cheaper() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, cheaper: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    rules = RULES.format(url=module_backend.url, cheaper=cheaper.url)
    env = {"E2E_REAL_KEY": "sk-real"}
    with running_proxy(rules, folder("ladder"), "--log-format", "json", env=env) as running:
        yield running


def test_a_cheaper_model_is_asked_near_the_end(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    url = f"{proxy.url}/models/v1/chat/completions"
    before = client.post(url, json=chat_body("gpt-4o"))
    assert "x-spendgate-degraded" not in before.headers
    assert backend.requests[-1].json()["model"] == "gpt-4o"
    assert client.get(f"{proxy.url}/models/spend").status_code == 200

    text = b'{ "model" : "gpt-4o",\n  "max_tokens": 64, "user": "\xec\x9c\xa0", '
    text += b'"n": 1.0, "messages": [{"role":"user","content":"x"}]}'
    questions: set[str] = set()
    for _ in range(2):  # found out by the answer of the store, then known before it is asked
        answer = client.post(url, content=text, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
        assert answer.headers["x-spendgate-degraded"] == "at=80; set=model,max_tokens"
        sent = backend.requests[-1]
        assert sent.body == text.replace(b'"gpt-4o"', b'"gpt-4o-mini"').replace(b"64", b"20")
        assert sent.get("content-length") == str(len(sent.body))
        row = entry(proxy, request_id_of(answer))
        cost, asked = krw(usd("gpt-4o-mini", 19, 10)), krw(usd("gpt-4o", 19, 10))
        assert (Decimal(row["cost"]), Decimal(row["asked_cost"]), Decimal(row["saved"])) == (cost, asked, asked - cost)
        assert row["degraded"] == "at=80; set=model,max_tokens"
        questions.add(row["question"])
    assert [len(one) for one in questions] == [12]  # both asked the same
    (api,) = [api for api in proxy.status()["apis"] if api["name"] == "models"]
    assert Decimal(api["month"]["saved"]) == 2 * (krw(usd("gpt-4o", 19, 10)) - krw(usd("gpt-4o-mini", 19, 10)))
    assert doctor(proxy)[0] == 0


def test_what_was_asked_is_never_made_larger_or_dearer(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    url = f"{proxy.url}/models/v1/chat/completions"
    client.get(f"{proxy.url}/models/spend")  # refused or not: the level is known, and above the rung
    less = client.post(url, json=chat_body("gpt-4o-mini", max_tokens=5))
    assert backend.requests[-1].json()["max_tokens"] == 5
    assert "x-spendgate-degraded" not in less.headers
    other = client.post(url, json={**chat_body("gpt-4o-mini"), "max_tokens": None, "max_completion_tokens": 50})
    assert other.status_code == 200
    signed = client.post(url, json=chat_body("gpt-4o"), headers={"Content-Digest": "sha-256=:x:"})
    assert backend.requests[-1].json()["model"] == "gpt-4o"
    assert "x-spendgate-degraded" not in signed.headers


def test_a_stale_answer_is_given_near_the_end(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    async def page(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"news", 200, ("Age", "3600"))

    backend.answer = page
    url = f"{proxy.url}/pages/page"
    assert [client.get(url).headers["x-spendgate-cache"] for _ in range(2)] == ["miss", "miss"]
    client.get(f"{proxy.url}/pages/spend")
    for _ in range(2):
        answer = client.get(url)
        assert (answer.text, answer.headers["x-spendgate-cache"]) == ("news", "stale")
        assert answer.headers["x-spendgate-degraded"] == "at=90; serve_stale"
        row = entry(proxy, request_id_of(answer))
        assert (Decimal(row["cost"]), Decimal(row["asked_cost"]), Decimal(row["saved"])) == (0, 2, 2)
    assert len(backend.requests) == 3
    assert doctor(proxy)[0] == 0


def test_a_cheaper_place_gets_the_call_and_no_key_of_another(
    proxy: RunningProxy, backend: Backend, cheaper: Backend, client: httpx.Client
) -> None:
    client.get(f"{proxy.url}/places/spend")
    answer = client.post(
        f"{proxy.url}/places/draw?q=1",
        json={"size": "large", "what": "cat"},
        headers={"Authorization": "Bearer of the program", "x-api-key": "of the program"},
    )
    assert answer.status_code == 200
    assert answer.headers["x-spendgate-degraded"] == "at=90; set=size; upstream"
    (seen,) = cheaper.requests
    assert (seen.target, seen.json()) == ("/cheap/draw?q=1", {"size": "small", "what": "cat"})
    assert seen.get("x-key") == "k"
    assert b"of the program" not in seen.raw
    assert b"sk-real" not in seen.raw
    row = entry(proxy, request_id_of(answer))
    assert (row["cost"], row["asked_cost"], row["saved"]) == ("1", "6", "5")
    assert doctor(proxy)[0] == 0


def test_a_cheaper_place_that_fails_says_nothing_of_the_api(
    proxy: RunningProxy, cheaper: Backend, client: httpx.Client
) -> None:
    async def busy(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"slow down", 429, ("Retry-After", "120"))

    cheaper.answer = busy
    for _ in range(2):  # neither the circuit nor a pause refuses the second
        assert client.post(f"{proxy.url}/places/draw", json={"size": "large"}).status_code == 429
    api = next(one for one in proxy.status()["apis"] if one["name"] == "places")
    assert (api["breakers"][0]["state"], api["breakers"][0]["failures"], api["paused_until"]) == ("closed", 0, None)
