"""The simulator is the truth of other tests, so it is held to its own word first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from proxy.demo.simulator import Simulator

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 5}
INPUT = 3 + 3  # three words, and three for the message


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def bill(http: aiohttp.ClientSession, simulator: Simulator) -> dict[str, Any]:
    async with http.get(f"{simulator.url}/_bill") as answer:
        found: dict[str, Any] = await answer.json()
        return found


def events(body: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_chat_is_billed_for_the_words_it_counts(http: aiohttp.ClientSession, simulator: Simulator) -> None:
    async with http.post(f"{simulator.url}/v1/chat/completions", json=CHAT) as answer:
        document = await answer.json()
    assert document["usage"]["prompt_tokens"] == INPUT
    assert document["usage"]["completion_tokens"] == len(document["choices"][0]["message"]["content"].split()) == 5
    assert document["choices"][0]["finish_reason"] == "length"
    expected = (INPUT * Decimal("0.15") + 5 * Decimal("0.6")) / 1_000_000
    assert Decimal((await bill(http, simulator))["total"]["USD"]) == expected


async def test_the_same_request_has_the_same_answer(http: aiohttp.ClientSession, simulator: Simulator) -> None:
    bodies = []
    for _ in range(2):
        async with http.post(f"{simulator.url}/v1/chat/completions", json=CHAT) as answer:
            bodies.append(await answer.read())
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("asked", [True, False])
async def test_a_stream_tells_usage_only_when_asked(
    asked: bool, http: aiohttp.ClientSession, simulator: Simulator
) -> None:
    body = {**CHAT, "stream": True, **({"stream_options": {"include_usage": True}} if asked else {})}
    async with http.post(f"{simulator.url}/v1/chat/completions", json=body) as answer:
        assert answer.content_type == "text/event-stream"
        found = events(await answer.read())
    assert found[-1] == "[DONE]"
    usages = [event["usage"] for event in found[:-1] if event.get("usage")]
    assert [usage["completion_tokens"] for usage in usages] == ([5] if asked else [])
    assert (await bill(http, simulator))["lines"][0]["quantity"]["output_tokens"] == 5


@pytest.mark.parametrize(
    ("path", "body", "input_key"),
    [
        (
            "/v1/messages",
            {"model": "claude-3-5-haiku-20241022", "messages": CHAT["messages"], "max_tokens": 5},
            "input",
        ),
        ("/v1/responses", {"model": "gpt-4o", "input": "one two three", "max_output_tokens": 5}, "input"),
    ],
)
async def test_other_shapes_say_the_same_whole_and_streamed(
    path: str, body: dict[str, Any], input_key: str, http: aiohttp.ClientSession, simulator: Simulator
) -> None:
    async with http.post(f"{simulator.url}{path}", json=body) as answer:
        whole = await answer.json()
    async with http.post(f"{simulator.url}{path}", json={**body, "stream": True}) as answer:
        found = events(await answer.read())
    assert whole["usage"]["input_tokens"] == INPUT
    assert whole["usage"]["output_tokens"] == 5
    last = next(event for event in reversed(found) if "usage" in event or "response" in event)
    usage = last.get("usage") or last["response"]["usage"]
    assert usage["output_tokens"] == 5
    lines = (await bill(http, simulator))["lines"]
    assert lines[0]["amount"] == lines[1]["amount"]
    assert all(line["complete"] for line in lines)


async def test_maps_and_sms_are_billed_by_request_and_by_part(
    http: aiohttp.ClientSession, simulator: Simulator
) -> None:
    async with http.get(f"{simulator.url}/v2/local/search/keyword.json?query=cafe") as answer:
        assert (await answer.json())["documents"][0]["place_name"] == "cafe 1"
    async with http.post(f"{simulator.url}/messages", json={"to": ["1", "2"], "text": "x" * 71}) as answer:
        assert (answer.status, (await answer.json())["segments"]) == (201, 4)
    assert Decimal((await bill(http, simulator))["total"]["KRW"]) == Decimal("0.5") + 4 * Decimal("9.9")


async def test_failures_that_were_asked_for_are_not_billed(http: aiohttp.ClientSession, simulator: Simulator) -> None:
    async with http.post(f"{simulator.url}/v1/chat/completions", json=CHAT, headers={"X-Sim-Status": "529"}) as answer:
        assert answer.status == 529
    async with http.post(f"{simulator.url}/v1/chat/completions", data=b"not json") as answer:
        assert answer.status == 400
    async with http.post(f"{simulator.url}/messages", json={"to": "1"}) as answer:
        assert answer.status == 422
    assert (await bill(http, simulator))["calls"] == 0


async def test_a_stream_that_is_cut_is_billed_for_what_had_left(
    http: aiohttp.ClientSession, simulator: Simulator
) -> None:
    headers = {"X-Sim-Cut-After": "4"}
    async with http.post(
        f"{simulator.url}/v1/chat/completions", json={**CHAT, "stream": True}, headers=headers
    ) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    line = (await bill(http, simulator))["lines"][0]
    # The first event opens the message, the next three carry a word each.
    assert (line["quantity"]["output_tokens"], line["complete"]) == (3, False)


async def test_a_client_that_goes_away_is_billed_for_what_had_left(
    http: aiohttp.ClientSession, simulator: Simulator
) -> None:
    body = {**CHAT, "max_tokens": 1000, "stream": True}
    headers = {"X-Sim-Output-Tokens": "1000", "X-Sim-Chunk-Delay-Ms": "5"}
    answer = await http.post(f"{simulator.url}/v1/chat/completions", json=body, headers=headers)
    await answer.content.readany()
    answer.close()
    async with asyncio.timeout(5):
        while not (await bill(http, simulator))["calls"]:
            pass  # each question is a turn of the loop on which the simulator may notice
    line = (await bill(http, simulator))["lines"][0]
    assert line["complete"] is False
    assert line["quantity"]["output_tokens"] < 1000


async def test_the_bill_starts_anew_when_deleted(http: aiohttp.ClientSession, simulator: Simulator) -> None:
    async with http.get(f"{simulator.url}/v2/local/x") as answer:
        await answer.read()
    async with http.delete(f"{simulator.url}/_bill") as answer:
        assert answer.status == 200
    assert (await bill(http, simulator)) == {"calls": 0, "by_api": {}, "total": {}, "lines": []}


async def test_a_mood_steers_all_answers_until_it_changes(http: aiohttp.ClientSession, simulator: Simulator) -> None:
    async def status(**headers: str) -> int:
        async with http.get(f"{simulator.url}/v1/models", headers=headers) as answer:
            return answer.status

    for mood, wanted in (({"status": 503}, 503), ({"delay-ms": 1}, 200), ({}, 200)):
        async with http.put(f"{simulator.url}/_mood", json=mood) as answer:
            assert answer.status == 200
        assert await status() == wanted
        assert await status(**{"X-Sim-Status": "429"}) == 429
