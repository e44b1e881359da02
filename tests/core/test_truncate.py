"""A stream that is ended early ends as its API would have ended it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.eventstream import FrameReader
from proxy.core.meter import Meter
from proxy.core.model import OnExhausted, Outbound
from proxy.core.sse import data_of
from proxy.core.truncate import truncation
from tests.core.exchanges import catalog_rule
from tests.core.shapes import ANTHROPIC_STREAM, GEMINI_STREAM, SHAPES, SSE, Shape, chunk, frames, js, sse

FRAMES = "application/vnd.amazon.eventstream"
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def running(
    provider: str, path: str, body: bytes, media: str = SSE, request: Any = None, headers: tuple[Any, ...] = ()
) -> tuple[Meter, Outbound]:
    call = Outbound("POST", "https", "api", 443, path, "", (), js(request or {}))
    meter = Meter(catalog_rule(provider, on_exhausted=OnExhausted.TRUNCATE), call)
    meter.head(200, [(b"content-type", media.encode()), *headers])
    meter.feed(body)
    return meter, call


def events(raw: bytes) -> list[Any]:
    assert raw.endswith((b"\n\n", b"\r\n\r\n"))
    blocks = [data_of(block) for block in raw.replace(b"\r\n", b"\n").split(b"\n\n")]
    return [data.decode() if data == b"[DONE]" else json.loads(data) for data in blocks if data]


def delta(text: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "gpt-4o", "choices": [choice]}


def test_openai_chat() -> None:
    meter, call = running("openai", "/v1/chat/completions", sse(delta("The"), delta(" sea")))
    last, done = events(truncation(meter, call))
    assert (last["id"], last["model"], last["created"]) == ("chatcmpl-1", "gpt-4o", 5)
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]
    assert done == "[DONE]"


def test_openai_chat_with_usage_and_several_answers() -> None:
    request = {"n": 2, "stream_options": {"include_usage": True}}
    meter, call = running("openai", "/v1/chat/completions", sse(delta("The"), delta(" sea")), request=request)
    last, told, done = events(truncation(meter, call))
    assert [choice["index"] for choice in last["choices"]] == [0, 1]
    assert (told["choices"], told["usage"]["completion_tokens"], done) == ([], 2, "[DONE]")


def test_openai_completions() -> None:
    event = {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [{"text": "a", "index": 0}]}
    last, done = events(truncation(*running("openai", "/v1/completions", sse(event))))
    assert (last["choices"][0]["text"], last["choices"][0]["finish_reason"], done) == ("", "length", "[DONE]")


def test_openai_responses() -> None:
    begun = {"id": "resp_1", "object": "response", "created_at": 1.5, "status": "in_progress", "output": []}
    body = sse(
        {"type": "response.created", "sequence_number": 0, "response": begun},
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "The sea"},
        named=True,
    )
    raw = truncation(*running("openai", "/v1/responses", body, request={"model": "gpt-4o"}))
    assert raw.startswith(b"event: response.incomplete\n")
    (event,) = events(raw)
    assert (event["type"], event["sequence_number"]) == ("response.incomplete", 2)
    response = event["response"]
    assert (response["id"], response["status"], response["created_at"]) == ("resp_1", "incomplete", 1.5)
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] >= 1


@pytest.mark.parametrize(("seen", "closes"), [(1, None), (2, 0), (3, 0), (5, 0), (6, None)])
def test_anthropic(seen: int, closes: int | None) -> None:
    meter, call = running("anthropic", "/v1/messages", sse(*ANTHROPIC_STREAM[:seen], named=True))
    raw = truncation(meter, call)
    found = events(raw)
    kinds = [event["type"] for event in found]
    assert kinds == ([] if closes is None else ["content_block_stop"]) + ["message_delta", "message_stop"]
    assert found[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert found[-2]["usage"]["output_tokens"] >= 1
    assert raw.count(b"event: ") == len(found)


def test_anthropic_event_by_event_remembers_the_open_block_over_pings() -> None:
    meter, call = running("anthropic", "/v1/messages", b"")
    for event in (*ANTHROPIC_STREAM[:2], ANTHROPIC_STREAM[2]):
        meter.feed(sse(event, named=True))
    assert events(truncation(meter, call))[0]["type"] == "content_block_stop"


def test_gemini() -> None:
    meter, call = running("google", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", sse(*GEMINI_STREAM[:2]))
    (event,) = events(truncation(meter, call))
    assert event["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert event["usageMetadata"]["promptTokenCount"] == 40
    assert event["modelVersion"] == "gemini-2.5-flash"


def test_cohere() -> None:
    body = sse(
        {"type": "message-start", "id": "1"},
        {"type": "content-start", "index": 0},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "The"}}}},
        named=True,
    )
    found = events(truncation(*running("cohere", "/v2/chat", body)))
    assert [event if isinstance(event, str) else event["type"] for event in found] == [
        "content-end",
        "message-end",
        "[DONE]",
    ]
    assert found[1]["delta"]["finish_reason"] == "MAX_TOKENS"


def test_cohere_lines() -> None:
    body = js({"event_type": "stream-start"}) + b"\n" + js({"event_type": "text-generation", "text": "a"}) + b"\n"
    raw = truncation(*running("cohere", "/v1/chat", body, "application/stream+json"))
    assert json.loads(raw)["finish_reason"] == "MAX_TOKENS"


def test_ollama_lines() -> None:
    body = (
        js({"model": "m", "created_at": "t", "message": {"role": "assistant", "content": "a"}, "done": False}) + b"\n"
    )
    raw = truncation(*running("openai", "/api/chat", body, "application/x-ndjson"))
    assert (json.loads(raw)["done"], json.loads(raw)["done_reason"]) == (True, "length")


def test_bedrock_converse() -> None:
    body = frames(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "The"}}),
    )
    raw = truncation(*running("aws", f"/model/{MODEL}/converse-stream", body, FRAMES))
    found = list(FrameReader().feed(raw))
    assert [frame.event_type for frame in found] == ["contentBlockStop", "messageStop", "metadata"]
    assert json.loads(found[1].payload) == {"stopReason": "max_tokens"}
    assert json.loads(found[2].payload)["usage"]["outputTokens"] >= 1


def test_bedrock_invoke() -> None:
    body = frames(*map(chunk, ANTHROPIC_STREAM[:5]))
    raw = truncation(*running("aws", f"/model/{MODEL}/invoke-with-response-stream", body, FRAMES))
    inner = [json.loads(base64.b64decode(json.loads(frame.payload)["bytes"])) for frame in FrameReader().feed(raw)]
    assert [event["type"] for event in inner] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("body", "media", "headers"),
    [
        (b'{"a": 1}', "application/json", ()),
        (b"data: hello\n\n", SSE, ()),
        (b"", SSE, ()),
        (sse(delta("a")), SSE, ((b"content-encoding", b"gzip"),)),
    ],
)
def test_what_cannot_be_ended_in_its_own_way_just_ends(body: bytes, media: str, headers: tuple[Any, ...]) -> None:
    meter, call = running("openai", "/v1/chat/completions", body, media, headers=headers)
    assert truncation(meter, call) == b""
    if headers:
        assert meter.safe_length is None


def test_a_rule_that_finishes_traces_nothing() -> None:
    call = Outbound("POST", "https", "api", 443, "/v1/chat/completions", "", (), b"{}")
    meter = Meter(catalog_rule("openai"), call)
    meter.head(200, [(b"content-type", SSE.encode())])
    meter.feed(sse(delta("a")))
    assert (meter.safe_length, truncation(meter, call)) == (None, b"")


STREAMS = [shape for shape in SHAPES if shape.media != "application/json"]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_after_the_safe_length_the_stream_stands_between_two_events(data: st.DataObject) -> None:
    """Cut anywhere: what was passed on plus the safe part of the next chunk holds whole events only."""
    shape: Shape = data.draw(st.sampled_from(STREAMS))
    body = shape.body
    first = data.draw(st.integers(0, len(body) - 1))
    second = data.draw(st.integers(first + 1, len(body)))
    call = Outbound("POST", "https", "api", 443, shape.path, "", (), js(shape.request))
    meter = Meter(catalog_rule(shape.provider, on_exhausted=OnExhausted.TRUNCATE), call)
    meter.head(200, [(b"content-type", shape.media.encode())])
    if first:
        meter.feed(body[:first])
    meter.feed(body[first:second])
    safe = meter.safe_length
    whole = _boundaries(shape)
    if safe is None:
        assert not any(first <= edge <= second for edge in whole)
    else:
        assert first + safe in whole
        assert not any(first <= edge < first + safe for edge in whole)


def _boundaries(shape: Shape) -> set[int]:
    if shape.media.startswith("application/vnd"):
        edges, at = {0}, 0
        while at < len(shape.body):
            at += int.from_bytes(shape.body[at : at + 4], "big")
            edges.add(at)
        return edges
    separators = (b"\n\n", b"\r\n\r\n") if "event-stream" in shape.media else (b"\n",)
    return {0} | {at for at in range(1, len(shape.body) + 1) if shape.body[:at].endswith(separators)}
