"""Counting tokens: exact where the vocabulary is known, else never too few."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import deltas, tokens
from tests.core.shapes import ANTHROPIC_STREAM, GEMINI_STREAM, js


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai/gpt-4.1", "o200k_base"),
        ("gpt-5-nano", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("openai.gpt-5.6-luna", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("openai/gpt-oss-120b", "o200k_harmony"),
        ("claude-sonnet-4-5", None),
        ("gemini-2.5-flash", None),
        ("ollama", None),
        ("", None),
    ],
)
def test_encodings(model: str, encoding: str | None) -> None:
    assert tokens.encoding_of(model) == encoding


def test_exact_counts() -> None:
    assert tokens.count("hello world", "o200k_base") == 2
    assert tokens.bound("안녕하세요".encode(), "gpt-4o") < 15
    assert tokens.bound("안녕하세요".encode(), "claude-sonnet-4-5") == 15
    assert tokens.bound(b"\xff\xfe", "gpt-4o") >= 1


@given(st.text(max_size=300), st.sampled_from(["gpt-4o", "gpt-4"]))
@settings(deadline=None)  # the first use loads a vocabulary
def test_bytes_bound_the_tokens(text: str, model: str) -> None:
    raw = text.encode("utf-8", "replace")
    assert tokens.bound(raw, model) <= max(tokens.bound(raw, None), 1)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), max_size=20), st.sampled_from(["gpt-4o", "claude-opus-5", None]))
def test_pieces_are_never_fewer_than_one_each(texts: list[str], model: str | None) -> None:
    count = tokens.count_deltas(texts, model)
    assert count >= len(texts)
    if model == "gpt-4o":
        whole = "".join(texts).encode("utf-8", "replace").decode()
        assert count >= tokens.count(whole, "o200k_base") - len(texts)


@pytest.mark.parametrize(
    ("event", "texts"),
    [
        ({"choices": [{"delta": {"content": "a"}}]}, ["a"]),
        ({"choices": [{"delta": {"content": "a"}, "text": "a"}]}, ["a"]),
        ({"choices": [{"text": "a"}]}, ["a"]),
        ({"choices": [{"delta": {"reasoning": "a", "reasoning_content": "a"}}]}, ["a"]),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}}]}, ["{", "f"]),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, []),
        ({"choices": []}, []),
        ({"type": "response.output_text.delta", "delta": "a"}, ["a"]),
        ({"type": "response.completed", "response": {"output": [{"content": [{"text": "a"}]}]}}, []),
        (ANTHROPIC_STREAM[3], ["The tide"]),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}}, ["a"]),
        ({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}, ["{"]),
        ({"type": "message_start", "message": {"content": []}}, []),
        (GEMINI_STREAM[0], ["Waves "]),
        ({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]}, ['{"name":"f"}']),
        ({"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}}, ["a"]),
        ({"event_type": "text-generation", "text": "a"}, ["a"]),
        ({"event_type": "stream-end", "text": "a", "response": {"text": "a"}}, []),
        ({"contentBlockIndex": 0, "delta": {"text": "a"}}, ["a"]),
        ({"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{"}}}, ["{"]),
        ({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "a"}}}, ["a"]),
        ({"generation": "a", "generation_token_count": 1}, ["a"]),
        ({"outputText": "a"}, ["a"]),
        ({"model": "m", "message": {"role": "assistant", "content": "a"}, "done": False}, ["a"]),
        ({"model": "m", "response": "a", "done": False}, ["a"]),
        ([1], []),
    ],
)
def test_text_of_an_event(event: object, texts: list[str]) -> None:
    assert deltas.texts_of(js(event)) == texts


def test_what_is_not_json_has_no_text() -> None:
    assert deltas.texts_of(b"[DONE]") == []
