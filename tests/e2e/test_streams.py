"""Streams are passed on piece by piece, cancelled when the client goes, metered whatever their coding."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest

from tests.e2e.backend import PATIENCE_S, Backend, Reply, Seen, Signal, chat_events, data_event, first_of
from tests.e2e.support import chat_body, entry, eventually, krw, log_events, request_id_of, settled_entry, usd
from tests.harness import CHAT_USAGE, RunningProxy, chat_answer, running_proxy

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from backports import zstd

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
    prices:
      - {{name: llm, match: {{method: POST, path: /v1/*}}, catalog: openai}}
  - name: files
    upstream: {url}
    prices:
      - {{per_kb: {{up: 1, down: 1}}}}
  - name: cut
    upstream: {url}
    speaks: openai
    budget: {{limit: 3, period: month}}
    on_exhausted: truncate
    max_output_tokens: 10
    prices:
      - match: {{method: POST, path: /v1/*}}
        estimate: learned
        tokens: {{input: 0, output: 100000}}
"""

CHAT = "/openai/v1/chat/completions"
COST = krw(usd("gpt-4o-mini", 19, 10))


@pytest.fixture(scope="module")
def proxy(module_backend: Backend, folder: Callable[[str], Path]) -> Iterator[RunningProxy]:
    with running_proxy(RULES.format(url=module_backend.url), folder("streams"), "--log-format", "json") as running:
        yield running


class RawStream:
    """A client that shows what has arrived so far, and can vanish at any moment."""

    def __init__(self, proxy: RunningProxy, path: str, body: dict[str, Any], *fields: str) -> None:
        content = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}", *fields]
        self.received = b""
        self._socket = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
        self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    def until(self, mark: bytes, or_: bytes | None = None) -> bytes:
        """Read until this, or the other, has arrived, and no further than one read goes."""
        while mark not in self.received and (or_ is None or or_ not in self.received):
            piece = self._socket.recv(65536)
            assert piece, f"the answer ended before {mark!r}: {self.received[-300:]!r}"
            self.received += piece
        return self.received

    def to_the_end(self) -> bytes:
        while piece := self._socket.recv(65536):
            self.received += piece
        self._socket.close()
        return self.received

    @property
    def request_id(self) -> str:
        head = self.until(b"\r\n\r\n").split(b"\r\n\r\n")[0].decode().lower()
        return head.split("x-spendgate-request-id: ")[1].split("\r\n")[0]

    def vanish(self) -> None:
        self._socket.close()


def test_each_event_arrives_before_the_api_sends_the_next(proxy: RunningProxy, backend: Backend) -> None:
    """The API sends an event only once the client has seen the one before: gathering would stand still for ever."""
    events = chat_events([f"word{number} " for number in range(30)], CHAT_USAGE)
    seen_by_client = [Signal(f"event {number} at the client") for number in range(len(events))]

    async def one_by_one(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        for event, arrived in zip(events, seen_by_client, strict=True):
            await reply.piece(event)
            await arrived.happens()
        await reply.end()

    backend.answer = one_by_one
    stream = RawStream(proxy, CHAT, chat_body(stream=True))
    for event, arrived in zip(events, seen_by_client, strict=True):
        stream.until(event)
        arrived.set()
    stream.until(b"0\r\n\r\n")
    stream.vanish()
    row = entry(proxy, stream.request_id)
    assert (row["state"], Decimal(row["cost"])) == ("settled", COST)


def test_part_of_an_event_is_passed_on_at_once(proxy: RunningProxy, backend: Backend) -> None:
    arrived = Signal("half an event at the client")

    async def halves(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        event = chat_events([], CHAT_USAGE)[-2]
        await reply.piece(event[:25])
        await arrived.happens()
        await reply.piece(event[25:] + data_event(b"[DONE]"))
        await reply.end()

    backend.answer = halves
    stream = RawStream(proxy, CHAT, chat_body(stream=True))
    stream.until(chat_events([], CHAT_USAGE)[-2][:25])
    arrived.set()
    stream.until(b"0\r\n\r\n")
    stream.vanish()
    assert Decimal(entry(proxy, stream.request_id)["cost"]) == COST


@pytest.mark.parametrize("length", [None, 1_000_000], ids=["chunked", "with a length"])
def test_a_client_that_goes_away_cancels_the_call_and_pays_what_was_consumed(
    proxy: RunningProxy, backend: Backend, length: int | None
) -> None:
    words = [f"word{number} " for number in range(50)]
    cancelled = Signal("the end of the upstream call")

    async def endless(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"), length=length)
        for event in chat_events(words, None)[:-2]:
            await reply.piece(event)
        await seen.gone.happens()
        cancelled.set()

    backend.answer = endless
    stream = RawStream(proxy, CHAT, chat_body(stream=True, max_tokens=1000))
    stream.until(words[-1].encode())
    request_id = stream.request_id
    stream.vanish()
    cancelled.wait(2.0)
    row = settled_entry(proxy, request_id)
    assert (row["state"], row["status"]) == ("estimated", 200)
    output = row["usage"]["output_tokens"]
    assert len(words) <= output <= 6 * len(words)  # what was seen, not the thousand that were possible
    consumed = usd("gpt-4o-mini", row["usage"]["input_tokens"], output)
    assert Decimal(row["cost"]) == (consumed * 1390).quantize(Decimal("0.000001"), ROUND_UP)
    assert 0 < Decimal(row["cost"]) < Decimal(row["estimate"])


def test_a_client_that_goes_before_the_first_byte_is_charged_the_estimate(
    proxy: RunningProxy, backend: Backend
) -> None:
    async def silent(seen: Seen, reply: Reply) -> None:
        await seen.gone.happens()

    backend.answer = silent
    stream = RawStream(proxy, CHAT, chat_body())
    (seen,) = backend.wait_requests(1)
    known = {row["id"] for row in proxy.ledger("--last", "100")}
    stream.vanish()
    seen.gone.wait(2.0)

    row = eventually(
        lambda: next((one for one in proxy.ledger("--last", "1") if one["id"] not in known), None), "its ledger entry"
    )
    assert (row["state"], row["status"]) == ("estimated", None)
    assert Decimal(row["cost"]) == Decimal(row["estimate"]) > 0


def test_a_client_that_goes_after_the_usage_block_pays_the_exact_price(proxy: RunningProxy, backend: Backend) -> None:
    async def told_but_open(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        for event in chat_events(["Hello."], CHAT_USAGE)[:-1]:
            await reply.piece(event)
        await seen.gone.happens()

    backend.answer = told_but_open
    stream = RawStream(proxy, CHAT, chat_body(stream=True))
    stream.until(b'"total_tokens": 29')
    request_id = stream.request_id
    stream.vanish()
    assert Decimal(settled_entry(proxy, request_id)["cost"]) == COST


def deflate_raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two gzip members": ("gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without a wrapper": ("deflate", deflate_raw),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "br over gzip": ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
}


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("streamed", [False, True], ids=["JSON", "SSE"])
def test_a_compressed_answer_passes_byte_for_byte_and_is_metered(
    proxy: RunningProxy, backend: Backend, client: httpx.Client, name: str, streamed: bool
) -> None:
    coding, pack = CODINGS[name]
    plain = b"".join(chat_events(["Hel", "lo."], CHAT_USAGE)) if streamed else json.dumps(chat_answer()).encode()
    packed = pack(plain)

    async def answer(seen: Seen, reply: Reply) -> None:
        kind = "text/event-stream" if streamed else "application/json"
        fields = (("Content-Type", kind), ("Content-Encoding", coding))
        await reply.head(200, *fields, length=None if streamed else len(packed))
        for at in range(0, len(packed), 37):
            await reply.piece(packed[at : at + 37])
        await reply.end()

    backend.answer = answer
    with client.stream("POST", proxy.url + CHAT, json=chat_body(stream=streamed)) as got:
        assert b"".join(got.iter_raw()) == packed
        assert got.headers["content-encoding"] == coding
    row = entry(proxy, request_id_of(got))
    assert (row["state"], Decimal(row["cost"])) == ("settled", COST)


def test_a_coding_that_nobody_knows_passes_and_is_charged_at_the_estimate(
    proxy: RunningProxy, backend: Backend, client: httpx.Client
) -> None:
    async def answer(seen: Seen, reply: Reply) -> None:
        await reply.whole(b"\x01\x02\x03", 200, ("Content-Type", "application/json"), ("Content-Encoding", "rot13"))

    backend.answer = answer
    with client.stream("POST", proxy.url + CHAT, json=chat_body()) as got:
        assert b"".join(got.iter_raw()) == b"\x01\x02\x03"
    row = entry(proxy, request_id_of(got))
    assert (row["state"], row["cost"]) == ("estimated", row["estimate"])
    assert log_events(proxy, "call.not_priced_exactly", id=row["id"])


def test_uploads_stream_before_the_client_has_sent_everything(proxy: RunningProxy, backend: Backend) -> None:
    """The second half is only sent once the API has asked for it, so nothing may wait for the whole body."""
    first, second = b"a" * 100_000, b"b" * 100_000
    head = b"POST /files/x HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as connection:
        connection.sendall(head + first)
        backend.begun.wait()
        connection.sendall(second)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert backend.requests[0].body == first + second
    request_id = answer.decode().lower().split("x-spendgate-request-id: ")[1].split("\r\n")[0]
    row = entry(proxy, request_id)
    down = len(answer.split(b"\r\n\r\n", 1)[1])
    expected = (Decimal(200_000) / 1024 + Decimal(down) / 1024).quantize(Decimal("0.000001"), "ROUND_HALF_UP")
    assert Decimal(row["cost"]) == expected


def test_a_stream_that_outgrows_its_money_is_ended_in_the_apis_own_way(proxy: RunningProxy, backend: Backend) -> None:
    """3 won hold thirty tokens at 0.1 won, ten of them reserved at first; the stream has more.

    The last event says why it ended, then comes [DONE].
    """
    events = chat_events([f"word{number} " for number in range(60)], None)
    arrivals = [Signal("an event at the client") for _ in events]

    async def at_the_clients_pace(seen: Seen, reply: Reply) -> None:
        await reply.head(200, ("Content-Type", "text/event-stream"))
        for event, arrived in zip(events, arrivals, strict=True):
            await reply.piece(event)
            await first_of(arrived, seen.gone)
            if seen.gone.is_set():
                return
        await reply.end()

    backend.answer = at_the_clients_pace
    body = chat_body(stream=True)
    del body["max_tokens"]
    running = RawStream(proxy, "/cut/v1/chat/completions", body, "Connection: close")
    for event, arrived in zip(events, arrivals, strict=True):
        running.until(event, or_=b"[DONE]")
        arrived.set()
    answer = running.to_the_end()
    assert answer.endswith(b"0\r\n\r\n")
    last = [line[6:] for line in answer.decode().split("\n") if line.startswith("data: ")][-2:]
    assert last[1].strip() == "[DONE]"
    assert json.loads(last[0])["choices"][0]["finish_reason"] == "length"
    assert b"word3 " in answer
    assert b"word40 " not in answer
    assert log_events(proxy, "stream.exhausted", id=running.request_id, then="truncate")
    row = settled_entry(proxy, running.request_id)
    assert 1 < Decimal(row["cost"]) <= 3
    level = proxy.budget("api:cut")
    assert Decimal(level["spent"]) == Decimal(row["cost"])
    assert Decimal(level["reserved"]) == 0
