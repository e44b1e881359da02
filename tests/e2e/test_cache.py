"""Kept answers through two proxies on one store: the same question costs once, however often it is asked at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from tests.e2e.backend import Backend, Reply, Seen, Signal, chat_events, raw_exchange
from tests.e2e.stores import PREFIX, connected, doctor, embedded_url
from tests.e2e.support import InThread, chat_body, entry, krw, request_id_of, usd
from tests.harness import RunningProxy, running_proxy

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets: [{{name: monthly, limit: 15000, period: month}}]
apis:
  - name: openai
    upstream: {url}
    prices:
      - {{name: llm, match: {{method: POST, path: /v1/*}}, catalog: openai, cache: {{ttl: 10m, max_bytes: 64KB}}}}
      - name: pages
        match: {{method: GET, path: /pages/**}}
        per_request: 3
        cache: {{ttl: 10m, stale: 1h, scope: shared, wait: 20s}}
      - {{name: few, match: {{path: /few/*}}, per_request: 1, cache: {{ttl: 10m, max_bytes: 2KB, max_total: 5KB}}}}
      - {{name: change, match: {{method: [PUT, DELETE], path: /pages/**}}, per_request: 1}}
      - {{name: brief, match: {{path: /brief/*}}, per_request: 1, cache: {{ttl: 10m, scope: shared, wait: 300ms}}}}
"""

Pair = tuple[RunningProxy, RunningProxy]


@pytest.fixture(scope="module")
def pair(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[Pair]:
    rules = RULES.format(url=module_backend.url)
    with running_proxy(rules, folder("cache"), "--log-format", "json") as first:
        flags = ("--log-format", "json", "--redis", embedded_url(first))
        with running_proxy(first.rules, folder("cache"), *flags) as second:
            yield first, second


@pytest.fixture(autouse=True)
def nothing_kept(pair: Pair) -> None:
    with connected(embedded_url(pair[0])) as store:
        if found := list(store.scan_iter(f"{PREFIX}cache:*")):
            store.delete(*found)


def how(answer: Any) -> str:
    return str(answer.headers["x-spendgate-cache"])


def sdk(proxy: RunningProxy) -> openai.OpenAI:
    plain = openai.DefaultHttpxClient(trust_env=False, timeout=20)
    return openai.OpenAI(base_url=f"{proxy.url}/openai/v1", api_key="sk-one", max_retries=0, http_client=plain)


def test_the_second_answer_costs_nothing_and_says_what_it_saved(
    pair: Pair, backend: Backend, client: httpx.Client
) -> None:
    first, second = pair
    body = chat_body()
    paid = client.post(f"{first.url}/openai/v1/chat/completions", json=body)
    turned = json.dumps(dict(reversed(body.items())), indent=2)
    kept = client.post(f"{second.url}/openai/v1/chat/completions", content=turned)
    assert (how(paid), how(kept)) == ("miss", "hit")
    assert kept.content == paid.content
    assert (kept.headers["x-spendgate-cost"], kept.headers["age"]) == ("0", "0")
    assert len(backend.requests) == 1
    price = krw(usd("gpt-4o-mini", 19, 10))
    row = entry(second, request_id_of(kept))
    assert (row["state"], row["note"], Decimal(row["cost"]), Decimal(row["saved"])) == (
        "settled",
        "cache_hit",
        0,
        price,
    )
    assert (row["model"], row["budgets"], row["status"]) == ("gpt-4o-mini", [], 200)
    assert entry(first, request_id_of(paid))["saved"] is None
    (api,) = [api for api in second.status()["apis"] if api["name"] == "openai"]
    assert Decimal(api["month"]["saved"]) == Decimal(api["today"]["saved"]) >= price
    assert doctor(first)[0] == 0


def test_openais_own_sdk_gets_answers_and_streams_from_the_cache(pair: Pair, backend: Backend) -> None:
    words = [f"w{number} " for number in range(5)]
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}

    async def stream(seen: Seen, reply: Reply) -> None:
        await reply.events(*chat_events(words, usage, "gpt-4o"))

    hello: Any = [{"role": "user", "content": "Say hello."}]
    texts, ids = [], []
    for proxy in pair:
        with sdk(proxy) as client:
            raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=hello, max_tokens=64)
            assert raw.parse().choices[0].message.content == "Hello."
    backend.answer = stream
    for proxy in pair:
        with sdk(proxy) as client:
            streamed = client.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=hello, stream=True, stream_options={"include_usage": True}
            )
            ids.append((how(streamed), request_id_of(streamed)))
            texts.append("".join(c.choices[0].delta.content or "" for c in streamed.parse() if c.choices))
    assert texts == ["".join(words)] * 2
    assert [kind for kind, _ in ids] == ["miss", "hit"]
    assert len(backend.requests) == 2
    assert Decimal(entry(pair[1], ids[1][1])["saved"]) == krw(usd("gpt-4o", 1000, 200))


def test_a_stream_is_replayed_in_its_pieces(pair: Pair, backend: Backend) -> None:
    events = [b"data: %d\n\n" % number for number in range(6)]
    next_piece = [Signal(f"piece {number}") for number in range(6)]

    async def stream(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        for number, event in enumerate(events):
            await reply.piece(event)
            await next_piece[number].happens()
        await reply.end()

    backend.answer = stream
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", f"{pair[0].url}/openai/pages/s") as live,
    ):
        for number, piece in enumerate(live.iter_raw()):
            assert piece == events[number]
            next_piece[number].set()
    request = b"GET /openai/pages/s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, body = raw_exchange(pair[1].port, request).partition(b"\r\n\r\n")
    assert b"X-Spendgate-Cache: hit" in head
    assert body == b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


@pytest.mark.parametrize("told", [True, False], ids=["usage", "no usage"])
def test_a_stream_whose_client_leaves_at_its_last_word_is_kept(pair: Pair, backend: Backend, told: bool) -> None:
    left = Signal("the client's leaving")
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200} if told else None
    events = chat_events(["A ", "word."], usage, "gpt-4o")

    async def stream(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        for event in events:
            await reply.piece(event)
        await left.happens()
        await reply.end()

    backend.answer = stream
    body = chat_body(model="gpt-4o", stream=True, seed=int(told))
    url = "/openai/v1/chat/completions"
    with httpx.Client(trust_env=False, timeout=20) as client:
        with client.stream("POST", f"{pair[0].url}{url}", json=body) as live:
            seen = b""
            for piece in live.iter_raw():
                seen += piece
                if seen.endswith(b"data: [DONE]\n\n"):
                    break
        left.set()
        kept = client.post(f"{pair[1].url}{url}", json=body)
    assert how(kept) in ("hit", "collapsed")  # the second: it came while the end was still waited for
    assert kept.content == seen
    assert len(backend.requests) == 1
    row = entry(pair[0], request_id_of(live))
    assert row["state"] == ("settled" if told else "estimated")


def test_a_hundred_identical_calls_at_once_cost_one(pair: Pair, backend: Backend) -> None:
    release = Signal("the answer's release")

    async def slow(seen: Seen, reply: Reply) -> None:
        await release.happens()
        await reply.json({"ok": True})

    backend.answer = slow

    async def race() -> list[tuple[str, Decimal]]:
        async def one(session: aiohttp.ClientSession, number: int) -> tuple[str, Decimal]:
            async with session.get(f"{pair[number % 2].url}/openai/pages/race") as answer:
                assert await answer.json() == {"ok": True}
                return answer.headers["X-Spendgate-Cache"], Decimal(answer.headers["X-Spendgate-Cost"])

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            calls = [asyncio.ensure_future(one(session, number)) for number in range(100)]
            await asyncio.to_thread(backend.wait_requests, 1)
            release.set()
            return await asyncio.gather(*calls)

    told = asyncio.run(race())
    assert len(backend.requests) == 1
    kinds = Counter(kind for kind, _ in told)
    assert kinds["miss"] == 1
    assert kinds["collapsed"] + kinds["hit"] == 99
    assert sum(cost for _, cost in told) == 3
    newest = pair[0].ledger("--last", "100")
    assert sum(Decimal(row["cost"]) for row in newest) == 3
    assert sum(Decimal(row["saved"] or 0) for row in newest) == 99 * 3


def test_a_leader_whose_answer_is_not_kept_lets_all_go_at_once(pair: Pair, backend: Backend) -> None:
    release = Signal("the first answer's release")

    async def fail_once(seen: Seen, reply: Reply) -> None:
        if len(backend.requests) == 1:
            await release.happens()
            await reply.json({"error": "broken"}, 500)
        else:
            await reply.json({"ok": True}, 200, ("Cache-Control", "no-store"))

    backend.answer = fail_once
    calls = [InThread(lambda n=n: httpx.get(f"{pair[n % 2].url}/openai/pages/fail")) for n in range(6)]
    backend.wait_requests(1)
    release.set()
    answers = [call.result() for call in calls]
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [500]
    assert len(backend.requests) == 6


def test_waiting_has_an_end(pair: Pair, backend: Backend) -> None:
    release = Signal("the first answer's release")

    async def first_hangs(seen: Seen, reply: Reply) -> None:
        if len(backend.requests) == 1:
            await release.happens()
        await reply.json({"ok": True})

    backend.answer = first_hangs
    first = InThread(lambda: httpx.get(f"{pair[0].url}/openai/brief/x"))
    backend.wait_requests(1)
    second = httpx.get(f"{pair[1].url}/openai/brief/x")  # goes by itself after the rule's 300 ms
    assert how(second) == "miss"
    assert not first.done
    release.set()
    assert first.result().status_code == 200


def test_when_the_leaders_proxy_is_killed_another_call_takes_over(
    pair: Pair, backend: Backend, folder: Callable[[str], Path]
) -> None:
    async def first_hangs(seen: Seen, reply: Reply) -> None:
        if len(backend.requests) == 1:
            await seen.gone.happens()
            return
        await reply.json({"ok": True})

    backend.answer = first_hangs
    flags = ("--log-format", "json", "--redis", embedded_url(pair[0]))
    with running_proxy(pair[0].rules, folder("doomed"), *flags) as doomed:
        lost = InThread(lambda: httpx.get(f"{doomed.url}/openai/pages/kill", timeout=20))
        backend.wait_requests(1)
        waiting = [
            InThread(lambda n=n: httpx.get(f"{pair[n % 2].url}/openai/pages/kill", timeout=20)) for n in range(8)
        ]
        doomed.stop(signal.SIGKILL)
        answers = [call.result() for call in waiting]
        with pytest.raises(httpx.HTTPError):
            lost.result()
    assert [answer.json() for answer in answers] == [{"ok": True}] * 8
    assert len(backend.requests) == 2
    assert Counter(map(how, answers))["miss"] == 1


def test_callers_do_not_see_each_others_answers(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    async def who(seen: Seen, reply: Reply) -> None:
        await reply.json({"you": seen.get("authorization"), "model": "gpt-4o-mini", "usage": {"prompt_tokens": 1}})

    backend.answer = who
    url = f"{pair[0].url}/openai/v1/chat/completions"
    for key in ("Bearer mine", "Bearer theirs", "Bearer mine"):
        answer = client.post(url, json=chat_body(), headers={"Authorization": key})
        assert answer.json()["you"] == key
    assert len(backend.requests) == 2
    with connected(embedded_url(pair[0])) as store:
        for key in store.scan_iter(f"{PREFIX}cache:*"):
            assert "Bearer" not in key
            told = store.hgetall(key) if store.type(key) == "hash" else {}
            assert "Bearer" not in "".join(value for name, value in told.items() if name != "body")


def test_a_compressed_answer_is_for_those_who_read_it(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    async def zipped(seen: Seen, reply: Reply) -> None:
        if "gzip" in (seen.get("accept-encoding") or ""):
            await reply.whole(gzip.compress(b"page"), 200, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
        else:
            await reply.whole(b"page", 200, ("Vary", "Accept-Encoding"))

    backend.answer = zipped
    url = f"{pair[0].url}/openai/pages/zip"
    told = []
    for accept in ("gzip", "gzip, br", "identity", "gzip"):
        answer = client.get(url, headers={"Accept-Encoding": accept})
        assert answer.text == "page"
        told.append((how(answer), answer.headers.get("content-encoding")))
    # The plain answer took the place of the compressed one, and everybody reads it.
    assert told == [("miss", "gzip"), ("hit", "gzip"), ("miss", None), ("hit", None)]


def test_what_the_api_says_about_keeping_holds(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    said: list[tuple[str, str]] = []

    async def page(seen: Seen, reply: Reply) -> None:
        if seen.get("if-none-match") == '"v1"':
            await reply.head(304, ("ETag", '"v1"'), length=0)
        else:
            await reply.whole(b"page", 200, *said)

    backend.answer = page

    def twice(path: str, *fields: tuple[str, str], **headers: str) -> list[str]:
        said[:] = fields
        url = f"{pair[0].url}/openai/pages/{path}"
        return [how(client.get(url, headers=headers)) for _ in range(2)]

    assert twice("a", ("Cache-Control", "no-store")) == ["miss", "miss"]
    assert twice("b", ("Cache-Control", "private")) == ["miss", "miss"]
    assert twice("c", ("Vary", "*")) == ["miss", "miss"]
    assert twice("d", ("Cache-Control", "max-age=60")) == ["miss", "hit"]
    assert twice("e", ("Cache-Control", "max-age=60"), **{"Cache-Control": "no-cache"}) == ["miss", "miss"]
    assert twice("f", ("Cache-Control", "max-age=60"), **{"Cache-Control": "no-store"}) == ["bypass", "bypass"]
    before = len(backend.requests)
    assert twice("g", ("Cache-Control", "no-cache"), ("ETag", '"v1"')) == ["miss", "hit"]
    assert backend.requests[-1].get("if-none-match") == '"v1"'  # the API was asked, and said that it still holds
    assert len(backend.requests) == before + 2
    only = client.get(f"{pair[0].url}/openai/pages/h", headers={"Cache-Control": "only-if-cached"})
    assert (only.status_code, only.json()["reason"]) == (504, "not_kept")
    same = client.get(f"{pair[0].url}/openai/pages/d", headers={"If-None-Match": "*"})
    assert same.status_code == 200  # without a tag there is nothing to compare
    aged = client.get(f"{pair[0].url}/openai/pages/i", headers={"Accept": "x"})
    assert how(aged) == "miss"


def test_a_stale_answer_stands_in_for_a_failing_api(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    url = f"{pair[0].url}/openai/pages/weather"

    async def page(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"sunny", 200, ("Age", "600"))  # it comes as old as the rule's ttl: never fresh

    async def broken(seen: Seen, reply: Reply) -> None:
        await reply.json({"error": "broken"}, 503)

    async def dead(seen: Seen, reply: Reply) -> None:
        reply.die()

    backend.answer = page
    assert how(client.get(url)) == "miss"
    for answer in (broken, dead):
        backend.answer = answer
        stale = client.get(url)
        assert (stale.status_code, stale.text, how(stale)) == (200, "sunny", "stale")
        assert int(stale.headers["age"]) >= 600
        assert entry(pair[0], request_id_of(stale))["status"] == (503 if answer is broken else None)
    backend.answer = broken
    refused = client.get(f"{pair[0].url}/openai/pages/other")
    assert refused.status_code == 503


def test_all_answers_of_a_rule_keep_to_its_size(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    async def page(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"x" * (3000 if seen.target.endswith("large") else 1500))

    backend.answer = page
    url = f"{pair[0].url}/openai/few"
    assert [how(client.get(f"{url}/large")) for _ in range(2)] == ["miss", "miss"]
    assert [how(client.get(f"{url}/{name}")) for name in "abcd"] == ["miss"] * 4  # three have room
    assert [how(client.get(f"{url}/{name}")) for name in "dcb"] == ["hit"] * 3
    assert how(client.get(f"{url}/a")) == "miss"  # it went first
    with connected(embedded_url(pair[0])) as store:
        sizes = {name: int(size) for name, size in store.hgetall(f"{PREFIX}cache:sizes:openai/few").items()}
        total = sizes.pop("total")
        kept = {key.rpartition(":")[2] for key in store.scan_iter(f"{PREFIX}cache:*") if key.count(":") == 3}
        assert total == sum(sizes.values()) <= 5 * 1024
        assert set(sizes) == set(store.zrange(f"{PREFIX}cache:ends:openai/few", 0, -1)) <= kept
        assert all(store.ttl(key) > 0 for key in store.scan_iter(f"{PREFIX}cache:*"))


def test_a_change_at_an_address_forgets_what_is_kept_for_it(pair: Pair, backend: Backend, client: httpx.Client) -> None:
    async def page(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"page", 404 if seen.get("x-fail") else 200)

    def kept() -> list[str]:
        return [how(client.get(f"{proxy.url}/openai/pages/{name}")) for proxy in pair for name in "ab"]

    backend.answer = page
    assert kept() == ["miss", "miss", "hit", "hit"]
    assert client.put(f"{pair[1].url}/openai/pages/a", content=b"new", headers={"X-Fail": "yes"}).status_code == 404
    assert kept() == ["hit"] * 4
    assert client.put(f"{pair[1].url}/openai/pages/a", content=b"new").status_code == 200
    assert kept() == ["miss", "hit", "hit", "hit"]


def test_a_kept_answer_passes_when_money_is_stopped_but_not_what_a_person_blocked(
    pair: Pair, backend: Backend, client: httpx.Client
) -> None:
    url = f"{pair[0].url}/openai/pages/stopped"
    assert [how(client.get(url)) for _ in range(2)] == ["miss", "hit"]
    with connected(embedded_url(pair[0])) as store:
        for field, refused in (
            ("stop", False),
            ("pause:openai", False),
            ("api:openai", True),
            ("rule:openai/pages", True),
        ):
            store.hset(f"{PREFIX}switches", field, "9007199254740991 1")
            answer = client.get(url)
            assert (answer.status_code, field) == (503 if refused else 200, field)
            assert (answer.json()["reason"] == "service_stopped") if refused else (how(answer) == "hit")
            store.hdel(f"{PREFIX}switches", field)
    assert how(client.get(url)) == "hit"
