"""What the simulated APIs answer, byte for byte the same each time: chat in two shapes, a map, an SMS gateway.

Pure: a request body in, a body or the events of a stream out. Knows no sockets and no prices. A token here is a word,
so that anybody can count along.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WORDS = (
    "the",
    "budget",
    "holds",
    "because",
    "every",
    "call",
    "asks",
    "first",
    "and",
    "pays",
    "after",
    "it",
    "was",
    "counted",
)
MESSAGE_OVERHEAD = 3  # tokens that a chat format adds to each message
CREATED = 1_767_225_600  # 2026-01-01T00:00:00Z: answers carry no clock


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to one request, and what it counts."""

    id: str
    model: str
    words: tuple[str, ...]  # of one choice
    choices: int
    input_tokens: int
    cached_tokens: int
    cut: bool  # the model wanted to say more than it was allowed

    @property
    def output_tokens(self) -> int:
        return len(self.words) * self.choices


def words_in(value: Any) -> int:
    """Words of every text in a message's content, however it is nested."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(words_in(item) for item in value)
    if isinstance(value, Mapping):
        return sum(words_in(value[key]) for key in ("content", "text", "input") if key in value)
    return 0


def answer(body: Mapping[str, Any], wanted: int, cached: int) -> Answer:
    """The model's answer: `wanted` tokens, fewer if the request caps them. Same request, same answer."""
    said = body.get("messages", body.get("input", []))
    messages = said if isinstance(said, list) else [said]
    count = sum(words_in(message) + MESSAGE_OVERHEAD for message in messages) + words_in(body.get("system", ""))
    caps = [body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")]
    cap = next((value for value in caps if isinstance(value, int)), None)
    length = wanted if cap is None else max(1, min(wanted, cap))
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    start = int(digest[:4], 16)
    words = tuple(WORDS[(start + index) % len(WORDS)] for index in range(length))
    choices = body.get("n", 1) if isinstance(body.get("n", 1), int) else 1
    return Answer(
        digest[:24], str(body.get("model", "")), words, max(1, choices), count, min(cached, count), length < wanted
    )


def _text(words: tuple[str, ...]) -> str:
    return " ".join(words)


# --- OpenAI: chat completions -------------------------------------------------------------------------------------


def chat_usage(said: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
        "prompt_tokens_details": {"cached_tokens": said.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def chat(said: Answer, *, usage: bool = True) -> dict[str, Any]:
    message = {"role": "assistant", "content": _text(said.words), "refusal": None}
    reason = "length" if said.cut else "stop"
    document: dict[str, Any] = {
        "id": f"chatcmpl-{said.id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": said.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": reason}
            for index in range(said.choices)
        ],
    }
    if usage:
        document["usage"] = chat_usage(said)
    return document


def chat_events(said: Answer, *, usage: bool) -> Iterator[tuple[bytes, int]]:
    """The stream's events, each with the output tokens it carries. `usage`: stream_options.include_usage was asked."""

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {
            "id": f"chatcmpl-{said.id}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": said.model,
            "choices": choices,
            **({"usage": None} if usage else {}),
            **more,
        }
        return data(chunk)

    for index in range(said.choices):
        delta = {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        yield event([delta]), 0
        for position, word in enumerate(said.words):
            text = word if position == 0 else f" {word}"
            yield event([{"index": index, "delta": {"content": text}, "finish_reason": None}]), 1
        yield event([{"index": index, "delta": {}, "finish_reason": "length" if said.cut else "stop"}]), 0
    if usage:
        yield event([], usage=chat_usage(said)), 0
    yield b"data: [DONE]\n\n", 0


# --- OpenAI: responses ----------------------------------------------------------------------------------------------


def response(said: Answer, *, usage: bool = True) -> dict[str, Any]:
    content = [{"type": "output_text", "text": _text(said.words), "annotations": []}]
    message = {
        "id": f"msg_{said.id}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }
    counted = {
        "input_tokens": said.input_tokens,
        "input_tokens_details": {"cached_tokens": said.cached_tokens},
        "output_tokens": said.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said.input_tokens + said.output_tokens,
    }
    return {
        "id": f"resp_{said.id}",
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if said.cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if said.cut else None,
        "model": said.model,
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **({"usage": counted} if usage else {}),
    }


def response_events(said: Answer, *, usage: bool) -> Iterator[tuple[bytes, int]]:
    started = {**response(said, usage=False), "status": "in_progress", "output": [], "incomplete_details": None}
    item = {"item_id": f"msg_{said.id}", "output_index": 0, "content_index": 0}
    yield named("response.created", {"response": started, "sequence_number": 0}), 0
    for position, word in enumerate(said.words):
        text = word if position == 0 else f" {word}"
        delta = {**item, "delta": text, "sequence_number": position + 1, "logprobs": []}
        yield named("response.output_text.delta", delta), 1
    last = "response.incomplete" if said.cut else "response.completed"
    yield named(last, {"response": response(said, usage=usage), "sequence_number": len(said.words) + 1}), 0


# --- Anthropic: messages ----------------------------------------------------------------------------------------------


def anthropic_usage(said: Answer, output: int) -> dict[str, Any]:
    return {
        "input_tokens": said.input_tokens - said.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": said.cached_tokens,
        "output_tokens": output,
    }


def anthropic(said: Answer, *, usage: bool = True) -> dict[str, Any]:
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": [{"type": "text", "text": _text(said.words)}],
        "stop_reason": "max_tokens" if said.cut else "end_turn",
        "stop_sequence": None,
        **({"usage": anthropic_usage(said, said.output_tokens)} if usage else {}),
    }


def anthropic_events(said: Answer, *, usage: bool) -> Iterator[tuple[bytes, int]]:
    started = {**anthropic(said, usage=False), "content": [], "stop_reason": None}
    if usage:
        started["usage"] = anthropic_usage(said, 1)
    yield named("message_start", {"message": started}), 0
    yield named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}), 0
    for position, word in enumerate(said.words):
        text = word if position == 0 else f" {word}"
        yield named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}), 1
    yield named("content_block_stop", {"index": 0}), 0
    ended = {"delta": {"stop_reason": "max_tokens" if said.cut else "end_turn", "stop_sequence": None}}
    counted = {"usage": {"output_tokens": said.output_tokens}} if usage else {}
    yield named("message_delta", {**ended, **counted}), 0
    yield named("message_stop", {}), 0


# --- a map and an SMS gateway ---------------------------------------------------------------------------------------


def places(query: str) -> dict[str, Any]:
    documents = [
        {"id": str(number), "place_name": f"{query} {number}", "x": f"126.97{number}", "y": f"37.56{number}"}
        for number in range(1, 4)
    ]
    return {"documents": documents, "meta": {"total_count": 3, "pageable_count": 3, "is_end": True}}


def segments(text: str) -> int:
    """Parts that a text is sent in: 70 characters each."""
    return -(-len(text) // 70)


def data(document: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def named(event: str, document: Mapping[str, Any]) -> bytes:
    return b"event: " + event.encode() + b"\n" + data({"type": event, **document})
