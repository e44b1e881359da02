"""Decides what a request may use at most: input and output tokens and what else its API bills, before it is sent.

An upper bound, so that a reservation covers the call: where the body does not show what the model will read (a
picture, an earlier answer, a tool that searches), the model's whole context window is assumed. Knows no prices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from proxy.core import reading, tokens
from proxy.core.endpoint import Endpoint
from proxy.core.model import Outbound, Rule

DEFAULT_WINDOW = 128_000  # tokens, where neither the catalogue nor the rule says how much a model can read
SEARCHES = 10  # calls of a hosted tool that are assumed where the request does not bound them
IMAGE_TOKENS = 8192  # output tokens of one generated picture: the largest size in the best quality needs fewer
MARGIN = 64  # tokens that an API adds around the messages
TOOLS_MARGIN = 1024  # and for the instructions that it adds for tools

_NOTHING = msgspec.Raw(b"")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


class _Request(msgspec.Struct, gc=False):
    """What of a request bounds its answer. Members that may be large stay encoded."""

    model: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    max_tokens_to_sample: Any = None
    max_new_tokens: Any = None
    max_gen_len: Any = None
    num_predict: Any = None
    maxOutputTokens: Any = None
    generationConfig: msgspec.Raw = _NOTHING
    generation_config: msgspec.Raw = _NOTHING
    inferenceConfig: msgspec.Raw = _NOTHING
    textGenerationConfig: msgspec.Raw = _NOTHING
    options: msgspec.Raw = _NOTHING
    parameters: msgspec.Raw = _NOTHING
    n: Any = None
    best_of: Any = None
    num_generations: Any = None
    candidateCount: Any = None
    max_tool_calls: Any = None

    def limits(self) -> tuple[Any, ...]:
        """What may say how many tokens the answer may have; None where it does not."""
        return (
            *(self.max_tokens, self.max_completion_tokens, self.max_output_tokens, self.max_tokens_to_sample),
            *(self.max_new_tokens, self.max_gen_len, self.num_predict, self.maxOutputTokens),
        )

    def holders(self) -> tuple[msgspec.Raw, ...]:
        """Members inside which bounds may stand."""
        return (
            *(self.generationConfig, self.generation_config, self.inferenceConfig, self.textGenerationConfig),
            *(self.options, self.parameters),
        )


_decode_request = msgspec.json.Decoder(_Request, float_hook=Decimal).decode
_LIMITS = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens_to_sample",
        "max_new_tokens",
        "max_gen_len",
        "num_predict",
        "maxOutputTokens",
        "maxTokens",
        "maxTokenCount",
    }
)
_TIMES = frozenset({"n", "best_of", "num_generations", "candidateCount", "candidate_count"})
_NO_HOLDERS = (_NOTHING,) * 6

# what the model reads beyond the body's own text; the first letters alone spare most names the long comparison
_ELSEWHERE = re.compile(
    rb'"(?=[acdefgipstuvw])(?:(?:previous_response_id|file_id|file_data|file_url|cachedContent|cached_content|container|assistant_id)"\s*:\s*"'
    rb'|(?:conversation|image_url|prompt_id|fileData|file_data|inlineData|inline_data|s3Location|web_search_options)"\s*:\s*["{]'
    rb'|prompt"\s*:\s*\{'
    rb'|type"\s*:\s*"(?:image|input_image|input_file|document|file|video|video_url|mcp|computer|code_|web_|file_search|image_gen'
    rb"|search|openrouter:|x_search|advisor|tool_search|bash_|text_editor|memory)"
    rb"|(?:googleSearch|google_search|googleSearchRetrieval|urlContext|url_context|codeExecution|code_execution|fileSearch"
    rb'|googleMaps|enterpriseWebSearch|systemTool|connectors|documents|search_parameters|plugins)"\s*:'
    rb'|(?:image|video|document)"\s*:\s*\{)'
)
_SEARCHES = re.compile(
    rb"web_search|search_parameters|googleSearch|google_search|:online|google_search_retrieval", re.IGNORECASE
)
_MEDIA_MODEL = re.compile(r"audio|image|video|realtime|transcribe|tts|whisper")
_TOOLS = re.compile(rb'"(?:tools|functions|toolConfig|tool_config)"\s*:')
_FORM_MODEL = re.compile(rb'name="model"[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]{1,256})')
_FORM_TIMES = re.compile(rb'name="n"[^\r\n]*\r?\n\r?\n(\d{1,4})')

_WITHOUT_OUTPUT = frozenset({"embeddings", "embed_content", "rerank", "speech", "transcription", "ocr", "moderation"})
_UNBOUNDED_REASONING = frozenset({"x-ai", "perplexity"})  # their max_tokens does not hold for what is thought


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What to reserve for. counts: by the catalogue's names. The flags say which dearer units may apply."""

    model: str | None
    counts: Mapping[str, int]
    writes_cache: bool = False
    writes_long_cache: bool = False
    media: bool = False  # sound or pictures may be read or made
    bounded: bool = False  # the request itself says how much the answer may be


def model_of(outbound: Outbound, endpoint: Endpoint) -> str | None:
    """The model that the request asks for: in the path, the JSON body or a form field."""
    if endpoint.model is not None:
        return endpoint.model
    if outbound.websocket:
        return outbound.query_value("model") or outbound.query_value("deployment")
    body = outbound.body
    if not body:
        return None
    request = _decoded(body)
    if request is None:
        found = _FORM_MODEL.search(body[:65536])
        return found.group(1).decode("utf-8", "replace").strip() if found else None
    model = request.model
    return model if isinstance(model, str) and model else None


def of(outbound: Outbound, endpoint: Endpoint, rule: Rule, window: int | None, model: str | None = None) -> Demand:
    """The most that this request can use.

    window: the model's context window as the catalogue knows it. model: the name where it is already known.
    """
    body = outbound.body
    model = model or model_of(outbound, endpoint)
    most = rule.max_input_tokens or window or DEFAULT_WINDOW
    if body is None:
        size = outbound.body_size
        least_known = most if size is None or size > 0 else 0
        return Demand(model, _counts(least_known, rule, endpoint, rule.max_output_tokens, 0, None), True, True, True)
    request = _decoded(body)
    output = rule.max_output_tokens
    if request is None:
        times = _FORM_TIMES.search(body)
        if endpoint.name == "images":
            output = IMAGE_TOKENS * (int(times.group(1)) if times else 1)
        return Demand(model, _counts(most, rule, endpoint, output, len(body), request), True, True, True)
    asked, repeats = _asked(request)
    if asked is not None:
        output = max(asked, output) if rule.price.catalog in _UNBOUNDED_REASONING else asked
    if endpoint.name == "images":
        output = IMAGE_TOKENS
    output *= repeats
    elsewhere = _ELSEWHERE.search(body) is not None
    input_tokens = most if elsewhere else _input_tokens(body, model)
    if rule.max_input_tokens is not None or window is not None:
        input_tokens = min(input_tokens, most)
    searches = 0
    if (elsewhere and _SEARCHES.search(body)) or (model is not None and ("search" in model or ":online" in model)):
        limit = request.max_tool_calls
        searches = limit if type(limit) is int and limit > 0 else SEARCHES
    counts = _counts(input_tokens, rule, endpoint, output, len(body), request)
    if searches:
        counts["web_searches"] = searches
    writes = b"cache_control" in body or b"cachePoint" in body
    media = elsewhere or _speaks_of_media(body) or (model is not None and _is_media(model))
    bounded = asked is not None and rule.price.catalog not in _UNBOUNDED_REASONING
    return Demand(model, counts, writes, writes and b'"1h"' in body, media, bounded)


def _counts(
    input_tokens: int, rule: Rule, endpoint: Endpoint, output: int, size: int, request: _Request | None
) -> dict[str, int]:
    counts = {"input_tokens": input_tokens}
    if endpoint.name not in _WITHOUT_OUTPUT:
        counts["output_tokens"] = output
    elif endpoint.name == "speech":
        counts["input_characters"] = size
        counts["output_tokens"] = rule.max_output_tokens
    elif endpoint.name == "transcription":
        counts["audio_seconds"] = counts["input_audio_seconds"] = rule.max_seconds
        counts["output_tokens"] = rule.max_output_tokens
    elif endpoint.name == "ocr":
        counts["input_document_pages"] = counts["input_annotated_document_pages"] = 1000
    elif endpoint.name == "rerank":
        counts["rerank_searches"] = 1 + size // 1024
    return counts


def _input_tokens(body: bytes, model: str | None) -> int:
    if b"\\u" in body:
        try:
            body = msgspec.json.encode(msgspec.json.decode(reading.mend(body) or body))  # an escape is one character
        except _UNREADABLE:
            return len(body) + MARGIN
    bound = tokens.bound(body, model)
    tools = (b"tool" in body or b"functions" in body) and _TOOLS.search(body) is not None
    return bound + MARGIN + (TOOLS_MARGIN if tools else 0) + bound // 16


def _speaks_of_media(body: bytes) -> bool:
    small = body.lower()  # far quicker than a search that ignores case
    return b"audio" in small or b"image" in small or b"video" in small or b"modalit" in small


@lru_cache(maxsize=1024)
def _is_media(model: str) -> bool:
    return _MEDIA_MODEL.search(model) is not None


def _asked(request: _Request) -> tuple[int | None, int]:
    """The request's own bound of output tokens, None without one, and how many answers it wants."""
    limits = [number for item in request.limits() if item is not None and (number := _whole(item)) is not None]
    repeats = 1
    for item in (request.n, request.best_of, request.num_generations, request.candidateCount):
        if item is not None and (number := _whole(item)) is not None:
            repeats = max(repeats, number)
    holders = request.holders()
    if holders != _NO_HOLDERS:
        for raw in holders:
            holder = reading.value(raw) if raw is not _NOTHING else None
            for key, item in holder.items() if isinstance(holder, dict) else ():
                if type(item) is int and item > 0:
                    if key in _LIMITS:
                        limits.append(item)
                    elif key in _TIMES:
                        repeats = max(repeats, item)
    return (max(limits) if limits else None), min(repeats, 1000)


def _whole(found: Any) -> int | None:
    if isinstance(found, Decimal) and found.is_finite() and found == found.to_integral_value():
        found = int(found)
    return found if type(found) is int and found > 0 else None


_LAST_KEPT = 256 * 1024  # bytes
_last: tuple[bytes, _Request | None] = (b"", None)  # every body is looked at twice: for its model, and for its bounds


def _decoded(body: bytes) -> _Request | None:
    global _last
    known, request = _last
    if known is body and body:
        return request
    try:
        request = _decode_request(body)
    except _UNREADABLE:
        mended = reading.mend(body)
        request = None if mended is None else _decoded(mended)
    if len(body) <= _LAST_KEPT:
        _last = (body, request)
    return request
