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


class Request(msgspec.Struct, gc=False):
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

    def seldom(self) -> tuple[Any, ...]:
        """What few requests have, in the order of `_SELDOM`: more limits, how often to answer, and holders of both."""
        return (
            self.max_tokens_to_sample,
            self.max_new_tokens,
            self.max_gen_len,
            self.num_predict,
            self.maxOutputTokens,
            self.n,
            self.best_of,
            self.num_generations,
            self.candidateCount,
            self.generationConfig,
            self.generation_config,
            self.inferenceConfig,
            self.textGenerationConfig,
            self.options,
            self.parameters,
        )


_decode_request = msgspec.json.Decoder(Request, float_hook=Decimal).decode
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
_SELDOM = (*(None,) * 9, *(_NOTHING,) * 6)  # of a request that has nothing of it

# What the model reads beyond the body's own text. By first letters, because this is asked of every name in every body.
_ELSEWHERE = re.compile(
    rb'"(?=[acdefgipstuvw])(?:'
    rb'type"\s*:\s*"(?:image|input_(?:image|file)|document|file|video|mcp|computer|code_|web_'
    rb"|search|openrouter:|x_search|advisor|tool_search|bash_|text_editor|memory)"
    rb'|assistant_id"\s*:\s*"'
    rb'|c(?:ached(?:Content|_content)"\s*:\s*"|ontainer"\s*:\s*"|onversation"\s*:\s*["{]|onnectors"\s*:'
    rb'|ode(?:Execution|_execution)"\s*:)'
    rb'|document(?:s"\s*:|"\s*:\s*\{)'
    rb'|enterpriseWebSearch"\s*:'
    rb'|file(?:_(?:id|url)"\s*:\s*"|(?:_d|D)ata"\s*:\s*["{]|Search"\s*:)'
    rb'|google(?:Search|_search|SearchRetrieval|Maps)"\s*:'
    rb'|i(?:mage(?:_url"\s*:\s*["{]|"\s*:\s*\{)|nline(?:_d|D)ata"\s*:\s*["{])'
    rb'|p(?:revious_response_id"\s*:\s*"|rompt(?:_id"\s*:\s*["{]|"\s*:\s*\{)|lugins"\s*:)'
    rb'|s(?:3Location"\s*:\s*["{]|ystemTool"\s*:|earch_parameters"\s*:)'
    rb'|url(?:Context|_context)"\s*:'
    rb'|video"\s*:\s*\{'
    rb'|web_search_options"\s*:\s*["{])'
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


def read(outbound: Outbound) -> Request | None:
    """What the request's body says; None where there is none that was read, or it is no JSON object."""
    return _decoded(outbound.body) if outbound.body else None


def model_of(outbound: Outbound, endpoint: Endpoint, request: Request | None) -> str | None:
    """The model that the request asks for: in the path, the JSON body (as `read` it) or a form field."""
    if endpoint.model is not None:
        return endpoint.model
    if outbound.websocket:
        return outbound.query_value("model") or outbound.query_value("deployment")
    if request is not None:
        model = request.model
        return model if isinstance(model, str) and model else None
    found = _FORM_MODEL.search(outbound.body[:65536]) if outbound.body else None
    return found.group(1).decode("utf-8", "replace").strip() if found else None


def of(
    outbound: Outbound, endpoint: Endpoint, rule: Rule, window: int | None, model: str | None, request: Request | None
) -> Demand:
    """The most that this request can use.

    window: the model's context window as the catalogue knows it. model, request: as `model_of` and `read` found them.
    """
    body = outbound.body
    most = rule.max_input_tokens or window or DEFAULT_WINDOW
    if body is None:
        size = outbound.body_size
        least_known = most if size is None or size > 0 else 0
        return Demand(model, _counts(least_known, rule, endpoint, rule.max_output_tokens, 0), True, True, True)
    output = rule.max_output_tokens
    if request is None:
        times = _FORM_TIMES.search(body)
        if endpoint.name == "images":
            output = IMAGE_TOKENS * (int(times.group(1)) if times else 1)
        return Demand(model, _counts(most, rule, endpoint, output, len(body)), True, True, True)
    asked, repeats = _asked(request)
    bounded = asked is not None and rule.price.catalog not in _UNBOUNDED_REASONING
    if asked is not None:
        output = asked if bounded else max(asked, output)
    if endpoint.name == "images":
        output = IMAGE_TOKENS
    output *= repeats
    elsewhere = _ELSEWHERE.search(body) is not None
    # far quicker than searches that ignore case, or in bytes; a body of pictures is spared
    small = "" if elsewhere else body.lower().decode("latin-1")
    input_tokens = most if elsewhere else _input_tokens(body, small, model)
    if input_tokens > most and (rule.max_input_tokens is not None or window is not None):
        input_tokens = most
    counts = _counts(input_tokens, rule, endpoint, output, len(body))
    searching, media = _hints(model) if model is not None else (False, False)
    if searching or (elsewhere and _SEARCHES.search(body)):
        limit = request.max_tool_calls
        counts["web_searches"] = limit if type(limit) is int and limit > 0 else SEARCHES
    writes = (elsewhere or "cache" in small) and (b"cache_control" in body or b"cachePoint" in body)
    media = media or elsewhere or "audio" in small or "image" in small or "video" in small or "modalit" in small
    return Demand(model, counts, writes, writes and b'"1h"' in body, media, bounded)


def _counts(input_tokens: int, rule: Rule, endpoint: Endpoint, output: int, size: int) -> dict[str, int]:
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


def _input_tokens(body: bytes, small: str, model: str | None) -> int:
    """small: the body in lower case."""
    if "\\" in small and b"\\u" in body:
        try:
            body = msgspec.json.encode(msgspec.json.decode(reading.mend(body) or body))  # an escape is one character
        except _UNREADABLE:
            return len(body) + MARGIN
    bound = tokens.bound(body, model)
    tools = ("tool" in small or "functions" in small) and _TOOLS.search(body) is not None
    return bound + MARGIN + (TOOLS_MARGIN if tools else 0) + bound // 16


@lru_cache(maxsize=1024)
def _hints(model: str) -> tuple[bool, bool]:
    """Whether this model searches the web of its own accord, and whether it reads or makes sound or pictures."""
    return "search" in model or ":online" in model, _MEDIA_MODEL.search(model) is not None


def _asked(request: Request) -> tuple[int | None, int]:
    """The request's own bound of output tokens, None without one, and how many answers it wants."""
    asked, repeats = 0, 1
    for item in (request.max_tokens, request.max_completion_tokens, request.max_output_tokens):
        if item is not None and (number := _whole(item)) > asked:
            asked = number
    seldom = request.seldom()
    if seldom != _SELDOM:
        asked, repeats = _asked_seldom(seldom, asked)
    return asked or None, repeats


def _asked_seldom(seldom: tuple[Any, ...], asked: int) -> tuple[int, int]:
    """The same of what few requests have. asked: the bound so far, 0 without one."""
    limits, times, holders = seldom[:5], seldom[5:9], seldom[9:]
    asked = max(asked, *map(_whole, limits))
    repeats = max(1, *map(_whole, times))
    for raw in holders:
        holder = reading.value(raw) if raw is not _NOTHING else None
        for key, item in holder.items() if isinstance(holder, dict) else ():
            if type(item) is int and item > 0:
                if key in _LIMITS:
                    asked = max(asked, item)
                elif key in _TIMES:
                    repeats = max(repeats, item)
    return asked, min(repeats, 1000)


def _whole(found: Any) -> int:
    """A whole number above 0; 0 where it is none."""
    if type(found) is int:
        return max(0, found)
    whole = isinstance(found, Decimal) and found.is_finite() and found == found.to_integral_value()
    return max(0, int(found)) if whole else 0


def _decoded(body: bytes) -> Request | None:
    try:
        return _decode_request(body)
    except _UNREADABLE:
        mended = reading.mend(body)
        return None if mended is None else _decoded(mended)
