"""Decides the bytes that end a running stream early in the API's own way: "the limit of tokens was reached".

Every client library knows that end, so a program sees a short answer, not a broken one. What is written depends on
the shape of the stream and on its first and latest events, which the meter has kept. Knows no money: when to end is
decided elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from proxy.core import eventstream, reading
from proxy.core.meter import Meter, Trace
from proxy.core.model import Outbound, Usage

_encode = msgspec.json.encode
_DONE = b"data: [DONE]\n\n"


def truncation(meter: Meter, outbound: Outbound) -> bytes:
    """What to send after the last whole event (see Meter.safe_length); b"" where the stream can only just end."""
    trace = meter.trace()
    if trace is None:
        return b""
    first = _objects(trace.first)
    latest = _objects(trace.latest)
    if not first:
        return b""
    usage = meter.so_far()
    if trace.framing == "frames":
        return _bedrock(trace, latest, usage)
    if trace.framing == "lines":
        return _lines(first, usage)
    head = latest[-1] if latest else first[0]
    if "choices" in head or "choices" in first[0]:
        return _openai_chat(head if "choices" in head else first[0], outbound, usage)
    if "candidates" in head or "usageMetadata" in head:
        return _gemini(head, usage)
    kind = str(first[0].get("type", ""))
    if kind.startswith("response."):
        return _openai_responses(first, latest, usage)
    if trace.endpoint == "cohere_chat" or kind == "message-start":
        return _cohere(latest, usage)
    if kind in ("message_start", "ping") or trace.endpoint in ("messages", "raw_predict"):
        return b"".join(_sse(event) for event in _anthropic(latest, usage))
    return b""


def _objects(texts: list[bytes]) -> list[dict[str, Any]]:
    return [found for found in map(reading.value, texts) if isinstance(found, dict)]


def _output(usage: Usage) -> int:
    return max(usage.counts.get("output_tokens", 0), usage.tokens_seen)


def _sse(event: Mapping[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + _encode(event) + b"\n\n"


def _openai_chat(head: Mapping[str, Any], outbound: Outbound, usage: Usage) -> bytes:
    """Also for `completions`: a last chunk for every choice, the usage where it was asked for, and [DONE]."""
    request = reading.value(outbound.body) if outbound.body else None
    request = request if isinstance(request, dict) else {}
    legacy = head.get("object") == "text_completion"
    wanted = request.get("n")
    many = wanted if type(wanted) is int and 0 < wanted <= 128 else 1
    last: dict[str, Any] = {"text": ""} if legacy else {"delta": {}}
    common = {name: head[name] for name in ("id", "object", "created", "model", "system_fingerprint") if name in head}
    choices = [{"index": index, **last, "logprobs": None, "finish_reason": "length"} for index in range(many)]
    ending = b"data: " + _encode({**_plain(common), "choices": choices}) + b"\n\n"
    options = request.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") is True:
        read, written = usage.counts.get("input_tokens", 0), _output(usage)
        told = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        ending += b"data: " + _encode({**_plain(common), "choices": [], "usage": told}) + b"\n\n"
    return ending + _DONE


def _openai_responses(first: list[dict[str, Any]], latest: list[dict[str, Any]], usage: Usage) -> bytes:
    begun: dict[str, Any] = next((event["response"] for event in first if isinstance(event.get("response"), dict)), {})
    numbers = [event["sequence_number"] for event in latest if type(event.get("sequence_number")) is int]
    read, written = usage.counts.get("input_tokens", 0), _output(usage)
    response = {
        **_plain(begun),
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": begun.get("output") or [],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
    }
    event = {"type": "response.incomplete", "sequence_number": max(numbers, default=0) + 1, "response": response}
    return _sse(event)


def _anthropic(latest: list[dict[str, Any]], usage: Usage) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    index = _open_block(latest, "content_block_start", "content_block_delta", "content_block_stop")
    if index is not None:
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
            "usage": {"output_tokens": _output(usage)},
        }
    )
    events.append({"type": "message_stop"})
    return events


def _open_block(latest: list[dict[str, Any]], *kinds: str) -> int | None:
    """The index of the content block that is open after these events. kinds: its start, its deltas, its stop."""
    for event in reversed(latest):
        kind = event.get("type")
        if kind in kinds and type(event.get("index")) is int:
            return None if kind == kinds[-1] else int(event["index"])
    return None


def _gemini(head: Mapping[str, Any], usage: Usage) -> bytes:
    read, written = usage.counts.get("input_tokens", 0), _output(usage)
    candidate = {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    event: dict[str, Any] = {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": read,
            "candidatesTokenCount": written,
            "totalTokenCount": read + written,
        },
    }
    for name in ("modelVersion", "responseId"):
        if isinstance(head.get(name), str):
            event[name] = head[name]
    return b"data: " + _encode(event) + b"\r\n\r\n"


def _cohere(latest: list[dict[str, Any]], usage: Usage) -> bytes:
    counts = {"input_tokens": usage.counts.get("input_tokens", 0), "output_tokens": _output(usage)}
    index = _open_block(latest, "content-start", "content-delta", "content-end")
    ending = b"" if index is None else _sse({"type": "content-end", "index": index})
    delta = {"finish_reason": "MAX_TOKENS", "usage": {"billed_units": counts, "tokens": counts}}
    return ending + _sse({"type": "message-end", "delta": delta}) + _DONE


def _lines(first: list[dict[str, Any]], usage: Usage) -> bytes:
    """Line-delimited JSON: Cohere v1 and Ollama."""
    head = first[0]
    if "event_type" in head:
        return _encode({"is_finished": True, "event_type": "stream-end", "finish_reason": "MAX_TOKENS"}) + b"\n"
    if "model" in head and "created_at" in head:
        last: dict[str, Any] = {"model": head["model"], "created_at": head["created_at"]}
        last |= {"message": {"role": "assistant", "content": ""}} if "message" in head else {"response": ""}
        counts = {"prompt_eval_count": usage.counts.get("input_tokens", 0), "eval_count": _output(usage)}
        return _encode({**last, "done": True, "done_reason": "length", **counts}) + b"\n"
    return b""


def _bedrock(trace: Trace, latest: list[dict[str, Any]], usage: Usage) -> bytes:
    read, written = usage.counts.get("input_tokens", 0), _output(usage)
    if trace.endpoint == "invoke":
        frames = [
            eventstream.event("chunk", _encode({"bytes": base64.b64encode(_encode(event)).decode()}))
            for event in _anthropic(latest, usage)
        ]
        return b"".join(frames) if any("type" in event for event in latest) else b""
    ending = b""
    if latest and type(latest[-1].get("contentBlockIndex")) is int and ("delta" in latest[-1] or "start" in latest[-1]):
        stop = {"contentBlockIndex": latest[-1]["contentBlockIndex"]}
        ending += eventstream.event("contentBlockStop", _encode(stop))
    ending += eventstream.event("messageStop", _encode({"stopReason": "max_tokens"}))
    told = {"inputTokens": read, "outputTokens": written, "totalTokens": read + written}
    return ending + eventstream.event("metadata", _encode({"usage": told, "metrics": {"latencyMs": 0}}))


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Ready to be encoded again: decimals, as which fractions were read, as the numbers that they were."""
    return {name: _number(item) for name, item in found.items()}


def _number(item: Any) -> Any:
    if isinstance(item, Decimal):
        return msgspec.Raw(str(item).encode())
    if isinstance(item, Mapping):
        return _plain(item)
    if isinstance(item, list):
        return [_number(one) for one in item]
    return item
