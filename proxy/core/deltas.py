"""Finds the text that a model wrote in one event of a stream, for the running count of an unfinished answer.

Knows the events of OpenAI (chat, completions, responses), Anthropic, Gemini, Cohere, Bedrock and Ollama by their
members, not by who sent them, because many providers speak another one's shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from proxy.core import reading

_decode = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)

_TEXT_MEMBERS = (
    "content",
    "text",
    "reasoning_content",
    "reasoning",
    "thinking",
    "partial_json",
    "refusal",
    "arguments",
    "input",
    "name",
    "tool_plan",
    "transcript",
    "outputText",
    "generation",
)
_HOLDERS = (
    "message",
    "function",
    "function_call",
    "tool_calls",
    "toolUse",
    "reasoningContent",
    "audio",
    "parts",
    "content",
)
_DEPTH = 6


def texts_of(data: bytes) -> list[str]:
    """The pieces of model output in one event's JSON; empty when it has none or is not JSON."""
    try:
        event = _decode(data)
    except _UNREADABLE:
        event = reading.value(data)
    if not isinstance(event, Mapping):
        return []
    return [text for text in _of_event(event) if text]


def _of_event(event: Mapping[str, Any]) -> Iterator[str]:
    kind = event.get("type")
    choices = event.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, Mapping):
                delta = choice.get("delta")
                found = list(_texts(delta, 0)) if isinstance(delta, Mapping) else []
                if found:
                    yield from found
                elif isinstance(choice.get("text"), str):
                    yield choice["text"]
        return
    candidates = event.get("candidates")
    if isinstance(candidates, list):
        for candidate in candidates:
            if isinstance(candidate, Mapping):
                yield from _of_parts(candidate.get("content"))
        return
    delta = event.get("delta")
    if isinstance(delta, str):
        yield delta  # OpenAI responses: response.output_text.delta and its kin
    elif isinstance(delta, Mapping):
        if kind != "message-end":
            yield from _texts(delta, 0)
    elif event.get("event_type") in ("text-generation", "tool-calls-chunk"):
        yield from _texts(event, 0)
    elif isinstance(event.get("contentBlockDelta"), Mapping):
        yield from _texts(event["contentBlockDelta"].get("delta"), 0)
    elif kind is None and "event_type" not in event:
        for name in ("message", "response", "generation", "outputText"):
            found_here = event.get(name)
            if isinstance(found_here, str):
                yield found_here
            elif isinstance(found_here, Mapping):
                yield from _texts(found_here, 0)


def _of_parts(content: Any) -> Iterator[str]:
    parts = content.get("parts") if isinstance(content, Mapping) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping):
            if isinstance(part.get("text"), str):
                yield part["text"]
            for name in ("functionCall", "executableCode", "codeExecutionResult"):
                if name in part:
                    yield msgspec.json.encode(part[name]).decode()


def _texts(holder: Any, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        return
    if isinstance(holder, list):
        for item in holder:
            yield from _texts(item, depth + 1)
    elif isinstance(holder, Mapping):
        said = False
        for name in _TEXT_MEMBERS:
            text = holder.get(name)
            if isinstance(text, str) and text:
                if (
                    said
                    and name in ("reasoning", "reasoning_content")
                    and text
                    in (
                        holder.get("reasoning"),
                        holder.get("reasoning_content"),
                    )
                ):
                    continue
                said = said or name in ("reasoning", "reasoning_content")
                yield text
        for name in _HOLDERS:
            if isinstance(holder.get(name), Mapping | list):
                yield from _texts(holder[name], depth + 1)
