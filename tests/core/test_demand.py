"""The most that a request can use, read from the request."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import demand
from proxy.core.endpoint import Billing, Endpoint, classify
from proxy.core.model import Outbound, Rule
from tests.core.exchanges import catalog_rule
from tests.core.shapes import SHAPES, js

HELLO = [{"role": "user", "content": "hello"}]
WINDOW = 200_000


def demanded(call: Outbound, endpoint: Endpoint, rule: Rule, window: int | None = WINDOW) -> demand.Demand:
    request = demand.read(call)
    return demand.of(call, endpoint, rule, window, demand.model_of(call, endpoint, request), request)


def wanted(
    body: object, path: str = "/v1/chat/completions", provider: str = "openai", **changes: object
) -> dict[str, int]:
    raw = body if isinstance(body, bytes) else js(body)
    call = Outbound("POST", "https", "api", 443, path, "", (), raw, len(raw))
    chosen = catalog_rule(provider, **changes)
    return dict(demanded(call, classify(provider, "POST", path), chosen).counts)


@pytest.mark.parametrize(
    ("limits", "output"),
    [
        ({}, 16384),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 100}, 100),
        ({"max_output_tokens": 100}, 100),
        ({"max_tokens": 10, "max_completion_tokens": 100}, 100),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 2, "best_of": 4}, 400),
        ({"max_tokens_to_sample": 100}, 100),
        ({"generationConfig": {"maxOutputTokens": 100, "candidateCount": 2}}, 200),
        ({"inferenceConfig": {"maxTokens": 100}}, 100),
        ({"textGenerationConfig": {"maxTokenCount": 100}}, 100),
        ({"options": {"num_predict": 100}}, 100),
        ({"parameters": {"max_new_tokens": 100}}, 100),
        ({"max_gen_len": 100}, 100),
        ({"max_tokens": None}, 16384),
        ({"max_tokens": "100"}, 16384),
        ({"max_tokens": -1}, 16384),
        ({"max_tokens": 100.0}, 100),
        ({"n": None, "generationConfig": [1]}, 16384),
    ],
)
def test_output_is_bounded_by_the_request(limits: dict[str, object], output: int) -> None:
    assert wanted({"model": "gpt-4o", "messages": HELLO, **limits})["output_tokens"] == output


NUMBERS = st.one_of(st.integers(-3, 2000), st.none(), st.booleans(), st.sampled_from([7.0, 7.5, "7", [7]]))
LIMITS = st.dictionaries(
    st.sampled_from(
        [
            *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample"),
            *("max_new_tokens", "max_gen_len", "num_predict", "maxOutputTokens"),
        ]
    ),
    NUMBERS,
)
TIMES = st.dictionaries(st.sampled_from(["n", "best_of", "num_generations", "candidateCount"]), NUMBERS)


@given(LIMITS, TIMES)
@settings(deadline=None)
def test_the_largest_bound_and_the_most_answers_count(limits: dict[str, object], times: dict[str, object]) -> None:
    def largest(named: dict[str, object], otherwise: int) -> int:
        whole = [int(x) for x in named.values() if type(x) in (int, float) and x == int(x) and x > 0]  # type: ignore[call-overload, operator]
        return max(whole, default=otherwise)

    expected = largest(limits, 16384) * min(largest(times, 1), 1000)
    assert wanted({"model": "gpt-4o", "messages": HELLO, **limits, **times})["output_tokens"] == expected


@pytest.mark.parametrize("name", ["audio", "IMAGE", "Video", "modalities"])
@pytest.mark.parametrize("where", ['"%s": 1', '"said": "%s"', '"said": "KR\u00d6N\u0130 %s"'])
def test_what_speaks_of_media_may_use_dearer_units(name: str, where: str) -> None:
    body = ('{"model": "gpt-4o", "messages": [], ' + where % name + "}").encode()
    call = Outbound("POST", "https", "api", 443, "/v1/chat/completions", "", (), body, len(body))
    endpoint = classify("openai", "POST", call.path)
    assert demanded(call, endpoint, catalog_rule("openai")).media
    silent = body.replace(name.encode(), b"words")
    assert not demanded(msgspec.structs.replace(call, body=silent), endpoint, catalog_rule("openai")).media


def test_output_is_bounded_by_the_rule_where_the_request_does_not() -> None:
    assert wanted({"model": "gpt-4o", "messages": HELLO}, max_output_tokens=5)["output_tokens"] == 5


def test_what_is_thought_is_not_bounded_everywhere() -> None:
    assert wanted({"model": "grok-4", "max_tokens": 9}, provider="x-ai")["output_tokens"] == 16384


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": {"id": "conv_1"}},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "input_image", "image_url": "https://example.com/a.png"}]},
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]},
        {"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}]},
        {"messages": [{"content": [{"type": "document", "source": {}}]}]},
        {"messages": [{"content": [{"image": {"format": "png"}}]}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}]},
        {"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/a"}}]}]},
        {"cachedContent": "cachedContents/1"},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "file_search", "vector_store_ids": []}]},
        {"tools": [{"type": "mcp", "server_url": "u"}]},
        {"tools": [{"google_search": {}}]},
        {"file_id": "file-1"},
    ],
)
def test_what_the_body_does_not_show_counts_as_a_full_window(more: dict[str, object]) -> None:
    assert wanted({"model": "gpt-4o", **more})["input_tokens"] == WINDOW
    assert wanted({"model": "gpt-4o", **more}, max_input_tokens=500)["input_tokens"] == 500


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": None},
        {"messages": [{"role": "user", "content": 'say "image_url": or "previous_response_id": "x"'}]},
        {"messages": [{"content": [{"type": "text", "text": "hi", "image_url": None}]}]},
        {"tools": [{"type": "function", "function": {"name": "web_search"}}]},
    ],
)
def test_what_only_looks_like_it_does_not(more: dict[str, object]) -> None:
    assert wanted({"model": "gpt-4o", "messages": HELLO, **more})["input_tokens"] < 2000


def test_searches_are_bounded() -> None:
    search = {"model": "gpt-5", "tools": [{"type": "web_search"}]}
    assert wanted(search, "/v1/responses")["web_searches"] == demand.SEARCHES
    assert wanted({**search, "max_tool_calls": 2}, "/v1/responses")["web_searches"] == 2
    assert "web_searches" not in wanted({"model": "gpt-5", "input": "hi"}, "/v1/responses")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank"])
def test_what_writes_nothing_has_no_output(path: str) -> None:
    assert "output_tokens" not in wanted({"model": "m", "input": "hello"}, path)


def test_a_body_that_was_not_read_counts_as_a_full_window() -> None:
    call = Outbound("POST", "https", "api", 443, "/v1/chat/completions", "", (), None, 10**8)
    found = demanded(call, classify("openai", "POST", call.path), catalog_rule("openai"))
    assert found.counts["input_tokens"] == WINDOW
    assert found.media


def test_a_form_names_its_model() -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n'
        b"Content-Type: audio/mpeg\r\n\r\n\x00\xff\r\n--x--"
    )
    call = Outbound("POST", "https", "api", 443, "/v1/audio/transcriptions", "", (), form, len(form))
    endpoint = classify("openai", "POST", call.path)
    assert demand.model_of(call, endpoint, demand.read(call)) == "whisper-1"
    assert demanded(call, endpoint, catalog_rule("openai"), None).counts["audio_seconds"] == 300


def test_half_a_surrogate_pair_does_not_hide_the_model() -> None:
    body = rb'{"model": "gpt-4o", "max_tokens": 7, "messages": [{"content": "\ud83d"}]}'
    assert wanted(body)["output_tokens"] == 7
    call = Outbound("POST", "https", "api", 443, "/v1/chat/completions", "", (), body, len(body))
    assert demand.model_of(call, classify("openai", "POST", call.path), demand.read(call)) == "gpt-4o"


def test_escapes_do_not_inflate_the_bound() -> None:
    text = {"model": "gpt-4o", "messages": [{"role": "user", "content": "안녕하세요 " * 50}]}
    escaped = json.dumps(text).encode()
    plain = json.dumps(text, ensure_ascii=False).encode()
    assert abs(wanted(escaped)["input_tokens"] - wanted(plain)["input_tokens"]) < 10


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_body_is_survived(body: bytes) -> None:
    counts = wanted(body)
    assert all(type(count) is int and count >= 0 for count in counts.values())


@pytest.mark.parametrize(
    ("method", "path", "name", "billing", "model"),
    [
        ("GET", "/v1/chat/completions", "free", Billing.FREE, None),
        ("POST", "/v1/messages/count_tokens", "count_tokens", Billing.FREE, None),
        ("POST", "/v1/messages/batches", "batch", Billing.SEPARATE, None),
        ("POST", "/v1beta/models/gemini-x:countTokens", "count_tokens", Billing.FREE, "gemini-x"),
        ("POST", "/v1beta/models/gemini-x:generateContent", "generate_content", Billing.USAGE, "gemini-x"),
        ("POST", "/v1beta/models/veo-3:predictLongRunning", "other", Billing.SEPARATE, "veo-3"),
        ("POST", "/v1beta/cachedContents", "other", Billing.UNKNOWN, None),
        ("POST", "/openai/deployments/my-gpt/embeddings", "embeddings", Billing.USAGE, "my-gpt"),
        ("POST", "/model/a.b-v1%3A0/converse-stream", "converse", Billing.USAGE, "a.b-v1:0"),
        ("POST", "/v1/threads/t/messages", "manage", Billing.FREE, None),
        ("POST", "/v1/responses/resp_1/cancel", "cancel", Billing.FREE, None),
        ("POST", "/v1/chat/completions/", "chat", Billing.USAGE, None),
        ("PUT", "/v1/files/1", "other", Billing.UNKNOWN, None),
        ("POST", "/v1/audio/speech", "speech", Billing.USAGE, None),
    ],
)
def test_endpoints(method: str, path: str, name: str, billing: Billing, model: str | None) -> None:
    found = classify("openai", method, path)
    assert (found.name, found.billing, found.model) == (name, billing, model)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_every_shape_is_covered(shape: object) -> None:
    found = wanted(shape.request or b"", shape.path, shape.provider)  # type: ignore[attr-defined]
    assert found
