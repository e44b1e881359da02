"""Prices that are no tokens, from rules.yaml to the ledger: each call's cost worked out by hand."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen
from tests.e2e.stores import doctor
from tests.e2e.support import entry, request_id_of, terms_sum
from tests.harness import RunningProxy, running_proxy

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx:
  USD: [{{since: 2020-01-01, rate: 1200}}, {{since: 2025-01-01, rate: 1390.5}}]
  JPY: 9.5
budgets:
  - {{name: monthly, limit: 1000000, period: month}}
apis:
  - name: sms
    upstream: {url}
    prices:
      - match: {{method: POST, path: /messages}}
        per_unit: {{price: 9.9, count: "length(request.to) * ceil(len(request.text) / 70)"}}
      - match: {{method: POST, path: /found}}
        per_unit: {{price: 2, count: "length(response.items)", max_count: 50}}
  - name: map
    upstream: {url}
    prices:
      - {{name: free-three, match: {{path: /three}}, per_request: 0.5, free_tier: {{requests: 3, per: month}}}}
      - {{name: race, match: {{path: /race}}, per_request: 2, free_tier: {{requests: 40, per: month}}}}
      - match: {{path: /steps}}
        tiers: {{mode: graduated, per: month, steps: [{{up_to: 2, price: 10}}, {{up_to: 4, price: 5}}, {{price: 1}}]}}
  - name: extras
    upstream: {url}
    prices:
      - {{match: {{path: /vat}}, per_request: 10, vat: 10%}}
      - {{match: {{path: /minimum}}, per_kb: {{down: 1}}, minimum: 3}}
      - {{match: {{path: /round}}, per_request: 1.234, rounding: up to 0.01}}
      - {{match: {{path: /yen}}, per_request: 3, currency: JPY}}
      - {{match: {{path: /dollars}}, per_request: 0.0000001, currency: USD}}
      - {{match: {{path: /double}}, per_request: 4, times: [{{multiplier: 2}}]}}
      - {{match: {{path: /sum}}, per_request: 1, per_kb: {{up: 1024}}, per_unit: {{price: 3, count: "query.n"}}}}
  - name: choose
    upstream: {url}
    prices:
      - {{name: by-method, match: {{method: [PUT, PATCH]}}, per_request: 1}}
      - {{name: by-header, match: {{header: {{X-Tier: gold}}}}, per_request: 2}}
      - {{name: by-query, match: {{query: {{size: ~^big}}}}, per_request: 3}}
      - {{name: by-body, match: {{json: {{"options.mode": fast}}}}, per_request: 4}}
      - {{name: by-regex, match: {{path: "~^/v[0-9]+/x$"}}, per_request: 5}}
      - {{name: rest, per_request: 6}}
"""


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    with running_proxy(RULES.format(url=module_backend.url), folder("prices"), "--log-format", "json") as running:
        yield running


def cost(proxy: RunningProxy, answer: httpx.Response) -> Decimal:
    """What the ledger says, which the answer's head said before."""
    assert answer.status_code == 200, answer.text
    row = entry(proxy, request_id_of(answer))
    assert row["state"] == "settled"
    if row["terms"]:
        assert terms_sum(row) == Decimal(row["original_cost"])
    assert Decimal(answer.headers["x-spendgate-cost"].split()[0]) == Decimal(row["cost"])
    return Decimal(row["cost"])


def test_units_are_counted_over_the_request(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    body = {"to": ["01012345678", "01087654321"], "text": "가" * 71}
    assert cost(proxy, client.post(f"{proxy.url}/sms/messages", json=body)) == Decimal("39.6")  # 2 × 2 × 9.9


def test_units_are_counted_over_the_answer_and_estimated_at_their_most(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def found(seen: Seen, reply: Reply) -> None:
        await reply.json({"items": [1, 2, 3]})

    backend.answer = found
    answer = client.post(f"{proxy.url}/sms/found", json={})
    assert cost(proxy, answer) == 6
    assert entry(proxy, request_id_of(answer))["estimate"] == "100"


def test_a_count_that_cannot_be_worked_out_is_charged_at_the_estimate_and_marked(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def no_json(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"<html>", 200, ("Content-Type", "text/html"))

    backend.answer = no_json
    answer = client.post(f"{proxy.url}/sms/found", json={})
    row = entry(proxy, request_id_of(answer))
    assert (row["state"], row["cost"]) == ("estimated", "100")


@pytest.mark.parametrize("kind", ["compressed in an unknown way", "larger than is read", "no JSON"])
def test_a_request_that_cannot_be_counted_is_not_free(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, kind: str
) -> None:
    body = json.dumps({"to": ["01012345678"], "text": "x" * (21_000_000 if kind.startswith("larger") else 70)}).encode()
    headers = {"Content-Type": "application/json"}
    if kind.startswith("compressed"):
        headers |= {"Content-Encoding": "x-unheard-of"}
    elif kind == "no JSON":
        body = b"to: 01012345678"
    answer = client.post(f"{proxy.url}/sms/messages", content=body, headers=headers)
    row = entry(proxy, request_id_of(answer))
    assert (row["state"], row["cost"], row["estimate"]) == ("estimated", "9.9", "9.9")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_request_is_counted_and_passed_on_as_it_came(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, coding: str
) -> None:
    plain = json.dumps({"to": ["01012345678", "01087654321"], "text": "x" * 71}).encode()
    body = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}[coding](
        plain
    )
    answer = client.post(f"{proxy.url}/sms/messages", content=body, headers={"Content-Encoding": coding})
    assert entry(proxy, request_id_of(answer))["state"] == "settled"
    assert cost(proxy, answer) == Decimal("39.6")
    assert backend.requests[-1].body == body


def test_the_first_calls_of_a_free_tier_cost_nothing(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    costs = [cost(proxy, client.get(f"{proxy.url}/map/three")) for _ in range(5)]
    assert costs == [0, 0, 0, Decimal("0.5"), Decimal("0.5")]


def test_a_free_tier_is_used_up_exactly_under_concurrency(proxy: RunningProxy, backend: Backend) -> None:
    limits = httpx.Limits(max_connections=20)
    with httpx.Client(trust_env=False, timeout=20, limits=limits) as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.get(f"{proxy.url}/map/race"), range(100)))
    told = Counter(Decimal(answer.headers["x-spendgate-cost"].split()[0]) for answer in answers)
    assert told == {Decimal(0): 40, Decimal(2): 60}


def test_an_uncharged_call_gives_its_place_in_the_free_tier_back(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def fail(seen: Seen, reply: Reply) -> None:
        await reply.json({}, 500)

    steps = [cost(proxy, client.get(f"{proxy.url}/map/steps")) for _ in range(2)]
    backend.answer = fail
    assert client.get(f"{proxy.url}/map/steps").status_code == 500
    backend.reset()
    steps += [cost(proxy, client.get(f"{proxy.url}/map/steps")) for _ in range(3)]
    assert steps == [10, 10, 5, 5, 1]


SIMPLE = {
    "vat": Decimal(11),
    "minimum": Decimal(3),
    "round": Decimal("1.24"),
    "yen": Decimal("28.5"),
    "dollars": Decimal("0.000139"),  # 0.00013905 won, rounded half up once
    "double": Decimal(8),
    "sum?n=2": Decimal(1 + 6),
}


@pytest.mark.parametrize("path", SIMPLE)
def test_each_kind_of_price_to_the_atom(proxy: RunningProxy, backend: Backend, client: httpx.Client, path: str) -> None:
    assert cost(proxy, client.get(f"{proxy.url}/extras/{path}")) == SIMPLE[path]


def test_the_rate_of_the_day_is_kept_with_the_entry(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    row = entry(proxy, request_id_of(client.get(f"{proxy.url}/extras/dollars")))
    assert (row["original_currency"], Decimal(row["original_cost"])) == ("USD", Decimal("0.0000001"))
    assert Decimal(row["fx_rate"]) == Decimal("1390.5")


CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/x", {"method": "PUT"}, "by-method"),
    ("/v1/x", {"headers": {"X-Tier": "gold"}}, "by-header"),
    ("/v1/x?size=bigger", {}, "by-query"),
    ("/v1/x", {"method": "POST", "json": {"options": {"mode": "fast"}}}, "by-body"),
    ("/v1/x", {"method": "POST", "json": {"options": {"mode": "slow"}}}, "by-regex"),
    ("/v12/x", {}, "by-regex"),
    ("/v1/x/y", {}, "rest"),
]


@pytest.mark.parametrize(("path", "call", "rule"), CALLS)
def test_the_first_rule_that_fits_is_the_one(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, path: str, call: dict[str, Any], rule: str
) -> None:
    answer = client.request(call.pop("method", "GET"), f"{proxy.url}/choose{path}", **call)
    assert entry(proxy, request_id_of(answer))["rule"] == f"choose/{rule}"


def test_doctor_is_content_afterwards(proxy: RunningProxy) -> None:
    code, found = doctor(proxy)
    assert code == 0, found
