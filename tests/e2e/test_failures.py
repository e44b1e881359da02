"""APIs that cannot be reached, are silent, lie or die: what the client gets, and what it is charged."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal, raw_exchange
from tests.e2e.support import chat_body, entry, eventually, log_events, request_id_of, settled_entry
from tests.harness import CHAT_USAGE, RunningProxy, chat_answer, free_port, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: flat
    upstream: {url}
    read_timeout: 1s
    prices:
      - {{name: any, match: {{path: /any}}, per_request: 5, charge_on: any}}
      - {{name: some, match: {{path: /some}}, per_request: 5, charge_on: [2xx, 404]}}
      - {{name: flat, per_request: 5}}
  - name: openai
    upstream: {url}
    read_timeout: 1s
    prices:
      - {{match: {{path: /v1/*}}, catalog: openai}}
  - name: down
    upstream: http://127.0.0.1:{closed}
    prices:
      - {{per_request: 5}}
  - name: nowhere
    upstream: http://nothing-of-this-name.invalid
    prices:
      - {{per_request: 5}}
  - name: total
    upstream: {url}
    total_timeout: 1s
    prices:
      - {{per_request: 5}}
"""


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    rules = RULES.format(url=module_backend.url, closed=free_port())
    with running_proxy(rules, folder("failures"), "--log-format", "json") as running:
        yield running


def problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize("api", ["down", "nowhere"])
def test_an_api_that_cannot_be_reached_is_502_and_costs_nothing(
    proxy: RunningProxy, client: httpx.Client, api: str
) -> None:
    answer = client.get(f"{proxy.url}/{api}/x")
    problem(answer, 502, "upstream_unreachable")
    row = entry(proxy, request_id_of(answer))
    assert (row["status"], row["state"], row["cost"]) == (None, "settled", "0")


def test_a_silent_api_is_504_and_charged_at_the_estimate_because_it_may_have_worked(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    hung_up = Signal("the upstream call's end")

    async def silent(seen: Seen, reply: Reply) -> None:
        await seen.gone.happens()
        hung_up.set()

    backend.answer = silent
    answer = client.post(f"{proxy.url}/openai/v1/chat/completions", json=chat_body())
    problem(answer, 504, "upstream_timeout")
    hung_up.wait(2)
    row = entry(proxy, request_id_of(answer))
    assert (row["status"], row["state"]) == (None, "estimated")
    assert Decimal(row["cost"]) == Decimal(row["estimate"]) > 0
    assert len(backend.requests) == 1  # never sent twice: it may have been billed


def test_a_call_that_takes_too_long_in_all_is_504(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    async def silent(seen: Seen, reply: Reply) -> None:
        await seen.gone.happens()

    backend.answer = silent
    problem(client.get(f"{proxy.url}/total/x"), 504, "upstream_timeout")


def test_an_api_that_hangs_up_instead_of_answering_is_502(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def die(seen: Seen, reply: Reply) -> None:
        reply.die()

    backend.answer = die
    answer = client.post(f"{proxy.url}/flat/x", content=b"x")
    problem(answer, 502, "upstream_unreachable")
    row = entry(proxy, request_id_of(answer))
    assert (row["state"], row["cost"]) == ("estimated", "5")
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    "nonsense",
    [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 abc Nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"],
)
def test_an_answer_that_is_not_http_is_502(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, nonsense: bytes
) -> None:
    async def lie(seen: Seen, reply: Reply) -> None:
        await reply.send(nonsense)
        await seen.gone.happens()

    backend.answer = lie
    answer = client.post(f"{proxy.url}/flat/x", content=b"x")
    problem(answer, 502, "upstream_unreachable")
    assert entry(proxy, request_id_of(answer))["state"] == "estimated"


@pytest.mark.parametrize("framing", ["chunked", "with a length"])
def test_an_api_that_dies_in_mid_answer_is_seen_as_broken_by_the_client(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, framing: str
) -> None:
    passed_on = Signal("the first half at the client")

    async def half(seen: Seen, reply: Reply) -> None:
        body = b'{"id": "x", "model": "gpt-4o-mini", "choices": ['
        length = None if framing == "chunked" else 1_000_000
        await reply.head(200, ("Content-Type", "application/json"), length=length)
        await reply.piece(body + b" " * 100_000)
        await passed_on.happens()
        reply.die()

    backend.answer = half
    with client.stream("POST", f"{proxy.url}/openai/v1/chat/completions", json=chat_body()) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        assert next(pieces).startswith(b'{"id": "x"')
        passed_on.set()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
    row = settled_entry(proxy, request_id_of(answer))
    assert row["state"] == "estimated"
    assert 0 < Decimal(row["cost"]) <= Decimal(row["estimate"])
    assert log_events(proxy, "upstream.answer_cut", id=row["id"])


def test_a_small_answer_that_breaks_off_is_never_passed_on_as_whole(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def cut(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "application/json"), length=100)
        await reply.send(b'{"half":')
        reply.die()

    backend.answer = cut
    try:
        answer = client.post(f"{proxy.url}/flat/x", content=b"x")
    except httpx.RemoteProtocolError:
        return
    problem(answer, 502, "upstream_unreachable")


CHARGES = [
    ("flat", 200, "5"),
    ("flat", 204, "5"),
    ("flat", 301, "0"),
    ("flat", 404, "0"),
    ("flat", 429, "0"),
    ("flat", 503, "0"),
    ("some", 404, "5"),
    ("some", 500, "0"),
    ("any", 500, "5"),
    ("any", 302, "5"),
]


@pytest.mark.parametrize(("path", "status", "cost"), CHARGES)
def test_which_answers_are_charged_is_the_rules_affair(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, path: str, status: int, cost: str
) -> None:
    async def answer(seen: Seen, reply: Reply) -> None:
        if status in (204, 304):
            await reply.send(b"HTTP/1.1 %d X\r\n\r\n" % status)
        else:
            await reply.whole(b"{}", status, ("Location", "/elsewhere"))

    backend.answer = answer
    got = client.get(f"{proxy.url}/flat/{path}")
    assert got.status_code == status
    row = entry(proxy, request_id_of(got))
    assert (row["status"], row["state"], row["cost"]) == (status, "settled", cost)
    assert Decimal(proxy.budget()["reserved"]) == 0


def test_an_interim_answer_is_not_the_answer(proxy: RunningProxy, backend: Backend, client: httpx.Client) -> None:
    async def hints(seen: Seen, reply: Reply) -> None:
        await reply.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await reply.json(chat_answer(usage=CHAT_USAGE))

    backend.answer = hints
    answer = client.post(f"{proxy.url}/openai/v1/chat/completions", json=chat_body())
    assert answer.status_code == 200
    assert answer.json()["usage"] == CHAT_USAGE
    assert entry(proxy, request_id_of(answer))["state"] == "settled"


def test_a_client_that_breaks_its_own_body_off_is_settled(proxy: RunningProxy, backend: Backend) -> None:
    """Half an upload: the API saw a request that never ended, and nothing of it may stay reserved."""
    known = {row["id"] for row in proxy.ledger("--last", "1000")}
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as connection:
        connection.sendall(b"POST /flat/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
    eventually(lambda: proxy.status()["in_flight"] == 0 and proxy.budget()["reserved"] == "0", "the settlement")
    for row in proxy.ledger("--last", "5"):
        if row["id"] not in known:
            assert row["state"] in ("settled", "estimated")


def test_a_model_without_a_price_is_shown_as_unpriced(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def unheard_of(seen: Seen, reply: Reply) -> None:
        await reply.json(chat_answer("gpt-99-imaginary"))

    backend.answer = unheard_of
    answer = client.post(f"{proxy.url}/openai/v1/chat/completions", json=chat_body("gpt-99-imaginary"))
    assert answer.status_code == 200
    row = entry(proxy, request_id_of(answer))
    assert (row["state"], row["cost"]) == ("unpriced", "0")
    assert any(note["note"] == "unpriced_model" for note in proxy.status()["notes"])
    assert log_events(proxy, "call.not_priced_exactly", id=row["id"])


def test_unknown_destinations_pass_and_are_recorded_where_the_rules_only_observe(
    backend: Backend, folder: Callable[[str], Path]
) -> None:
    rules = f"""
version: 1
currency: KRW
defaults: {{unknown: observe}}
budgets:
  - {{name: monthly, limit: 100, period: month}}
apis:
  - name: known
    upstream: {backend.url}
    prices:
      - {{match: {{path: /paid}}, per_request: 1}}
"""
    with running_proxy(rules, folder("observe"), "--log-format", "json") as proxy:
        with httpx.Client(trust_env=False, proxy=proxy.url) as client:
            answer = client.get(f"{backend.url}/unknown")
            assert answer.status_code == 200
            row = entry(proxy, request_id_of(answer))
            assert (row["api"], row["state"], row["cost"], row["status"]) == ("known", "unpriced", "0", 200)
            # An address of this machine that no rule names stays out of reach even so.
            private = client.get(f"http://127.0.0.9:{backend.port}/x")
            assert (private.status_code, private.json()["reason"]) == (403, "no_rule")
        assert proxy.budget()["spent"] == "0"
        nowhere = raw_exchange(proxy.port, b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert nowhere.startswith(b"HTTP/1.1 403 ")
