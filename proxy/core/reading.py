"""Decides what a decoded answer says about its usage: model, counts by the catalogue's names, the provider's own cost.

Only the members that can carry usage are decoded; the rest of a body (an embedding's thousands of numbers, a picture)
is skipped over. The catalogue's own extractors are followed first. Where it has none that fits, the common shapes are
tried, and the reading says that it was `assumed`. Numbers with a fraction become decimals, never floats. Nothing
raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from proxy.core.catalog import Extractor

_NOTHING = msgspec.Raw(b"")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
_decode_any = msgspec.json.Decoder(float_hook=Decimal).decode
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
MOST = 10**12  # a larger count is no count
MOST_USD = 10**6  # nor is a larger cost one of a single call

COST_TICKS = Decimal(10) ** 10  # x.ai: 1 US dollar = 10^10 ticks


class Head(msgspec.Struct, gc=False):
    """The members of an answer (or of one event) that can matter; those in which others are sought stay encoded."""

    type: Any = None
    object: Any = _NOTHING  # which is not the same as null
    model: Any = None
    modelVersion: Any = None
    service_tier: Any = None
    usage: Any = _NOTHING
    usageMetadata: Any = None
    usage_info: Any = None
    tokenUsage: Any = None
    meta: Any = None
    results: msgspec.Raw = _NOTHING
    duration: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    inputTextTokenCount: Any = None
    prompt_token_count: Any = None
    generation_token_count: Any = None
    metadata: msgspec.Raw = _NOTHING
    metrics: msgspec.Raw = _NOTHING
    result: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    delta: msgspec.Raw = _NOTHING
    x_groq: msgspec.Raw = _NOTHING
    invocation: msgspec.Raw = msgspec.field(default=_NOTHING, name="amazon-bedrock-invocationMetrics")

    def tells_usage_alone(self) -> bool:
        """Whether none of `_LEAVES` but `usage`, and none of `_WRAPPERS`, is there: as in most answers."""
        return (
            self.usageMetadata is None
            and self.usage_info is None
            and self.tokenUsage is None
            and self.meta is None
            and self.results is _NOTHING
            and self.duration is None
            and self.prompt_eval_count is None
            and self.eval_count is None
            and self.inputTextTokenCount is None
            and self.prompt_token_count is None
            and self.generation_token_count is None
            and self.metadata is _NOTHING
            and self.metrics is _NOTHING
            and self.result is _NOTHING
            and self.response is _NOTHING
            and self.message is _NOTHING
            and self.delta is _NOTHING
            and self.x_groq is _NOTHING
            and self.invocation is _NOTHING
        )

    def leaves(self) -> tuple[Any, ...]:
        """The members of `_LEAVES`, in their order."""
        return (
            None if self.usage is _NOTHING else self.usage,
            *(self.usageMetadata, self.usage_info, self.tokenUsage, self.meta),
            *(None if self.results is _NOTHING else value(self.results), self.duration),
            *(self.prompt_eval_count, self.eval_count, self.inputTextTokenCount, self.prompt_token_count),
            self.generation_token_count,
        )

    def wrappers(self) -> tuple[msgspec.Raw, ...]:
        """The members of `_WRAPPERS`, in their order."""
        return (self.response, self.message, self.result, self.delta, self.x_groq, self.metadata, self.metrics)


_decode_head = msgspec.json.Decoder(Head, float_hook=Decimal).decode
_LEAVES = (
    "usage",
    "usageMetadata",
    "usage_info",
    "tokenUsage",
    "meta",
    "results",
    "duration",
    "prompt_eval_count",
    "eval_count",
    "inputTextTokenCount",
    "prompt_token_count",
    "generation_token_count",
)
# members under which some APIs wrap the answer, by event
_WRAPPERS = ("response", "message", "result", "delta", "x_groq", "metadata", "metrics")
_NO_WRAPPERS = (_NOTHING,) * len(_WRAPPERS)
_USAGE_BYTES = (b"sage", b"billed_units", b"oken", b"uration", b"eval_count")


def value(raw: bytes | msgspec.Raw) -> Any:
    """A decoded JSON value, numbers with a fraction as decimals; None when it does not decode."""
    try:
        return _decode_any(raw)
    except _UNREADABLE:
        mended = mend(raw)
    try:
        return None if mended is None else _decode_any(mended)
    except _UNREADABLE:
        return None


def mend(raw: bytes | msgspec.Raw) -> bytes | None:
    """JSON that APIs accept and the strict decoder does not: half a surrogate pair, a byte order mark.

    None: it has neither. Only for reading usage and bounds: text in it may come out changed.
    """
    data = bytes(raw)
    mended = _SURROGATE.sub(rb"\\ufffd", data.removeprefix(b"\xef\xbb\xbf"))
    return None if mended == data else mended


class Document(msgspec.Struct):
    """What has been gathered of one answer: usage members merged over its events, in the answer's own names."""

    members: dict[str, Any] = msgspec.field(default_factory=dict)
    model: str | None = None
    service_tier: str | None = None
    begun: bool = False  # usage was told at the beginning, to be corrected at the end
    final: bool = False  # the usage that stands at the end of an answer was seen

    def add(self, data: bytes | msgspec.Raw) -> bool:
        """Take in one JSON text: a whole answer or one event of a stream. False: it is not a JSON object."""
        try:
            head = _decode_head(data)
        except _UNREADABLE:
            mended = mend(data)
            return mended is not None and self.add(mended)
        self._take(head, 0)
        return True

    def _take(self, head: Head, depth: int) -> None:
        if head.object == "thread.run.step":
            return  # a part of the run, whose own event has the sum
        model = head.model
        if not model or not isinstance(model, str):
            model = _text(head.modelVersion)
        if model:
            self.model = model
        tier = head.service_tier
        if tier and isinstance(tier, str):
            self.service_tier = tier
        kind = head.type
        if kind != "message_start" and head.tells_usage_alone():
            if head.usage is not _NOTHING and head.usage is not None:
                self._merge("usage", head.usage)
                self.final = True
        else:
            self._take_all(head, kind, depth)

    def _take_all(self, head: Head, kind: Any, depth: int) -> None:
        """What usage is told in whatever member."""
        for name, found in zip(_LEAVES, head.leaves(), strict=True):
            if found is not None:
                self._merge(name, found)
                if kind == "message_start":
                    self.begun = True
                else:
                    self.final = True
        if head.invocation is not _NOTHING:
            found = value(head.invocation)
            if isinstance(found, Mapping):
                self._merge("invocation", found)
                self.final = True
        wrappers = head.wrappers()
        if depth < 2 and wrappers != _NO_WRAPPERS:
            for name, raw in zip(_WRAPPERS, wrappers, strict=True):
                if raw is _NOTHING or len(raw) < 3 or not any(mark in bytes(raw) for mark in _USAGE_BYTES):
                    continue
                if name == "metadata" and not (head.object is _NOTHING and head.usage is _NOTHING):
                    continue  # the caller's own words, repeated: they must not pass for usage
                self._unwrap(raw, kind, depth)

    def _unwrap(self, raw: msgspec.Raw, kind: Any, depth: int) -> None:
        try:
            inner = _decode_head(raw)
        except _UNREADABLE:
            return
        before = self.final
        self._take(inner, depth + 1)
        if kind == "message_start":
            self.begun, self.final = True, before

    def _merge(self, name: str, found: Any) -> None:
        """Later events correct earlier ones, member by member; a null corrects nothing."""
        kept = self.members.get(name)
        if not isinstance(kept, dict):
            self.members[name] = found
        elif isinstance(found, dict):
            kept.update({key: item for key, item in found.items() if item is not None})


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) and found else None


# --- counts ----------------------------------------------------------------------------------------------------------


class Reading(msgspec.Struct, frozen=True, gc=False):
    """counts: by the catalogue's names. assumed: no extractor of the catalogue fits, a common shape was taken."""

    counts: Mapping[str, int]
    assumed: bool
    reported_cost: Decimal | None = None


def read(members: Mapping[str, Any], extractors: Iterable[Extractor]) -> Reading | None:
    """The usage of an answer; None when it tells none."""
    if not members:
        return None
    cost = reported_cost(members.get("usage"))
    for extractor in extractors:
        counts = extract(extractor, members)
        if counts is not None:
            return Reading(counts, assumed=False, reported_cost=cost)
    counts = _assume(members)
    return None if counts is None else Reading(counts, assumed=True, reported_cost=cost)


def extract(extractor: Extractor, members: Mapping[str, Any]) -> dict[str, int] | None:
    """Follow one extractor of the catalogue; None where the answer lacks what it requires."""
    at: Any = members
    for step in extractor.root:
        if at is members and step in _WRAPPERS:
            continue  # taken off already
        at = at.get(step) if isinstance(at, dict) else None
    if not isinstance(at, dict):
        return None
    counts: dict[str, int] = {}
    for where, told in extractor.mappings:
        holder: Any = at
        if where:
            holder = at.get(where[0]) if len(where) == 1 else _follow(where, at)
        there = type(holder) is dict
        for name, key, required in told:
            found = holder.get(name) if there else None
            if found is None:
                if required:
                    return None
                continue
            if type(found) is not int:
                found = _whole(found)
                if found is None:
                    if required:
                        return None
                    continue
            elif not 0 <= found <= MOST:
                return None
            counts[key] = counts[key] + found if key in counts else found
    return counts or None


def _follow(path: Sequence[Any], at: Any) -> Any:
    for step in path:
        if isinstance(step, str):
            at = at.get(step) if isinstance(at, dict) else None
        elif isinstance(at, list):
            name, fits = step
            at = next(
                (
                    item
                    for item in at
                    if isinstance(item, dict) and isinstance(item.get(name), str) and fits(item[name])
                ),
                None,
            )
        else:
            return None
        if at is None:
            return None
    return at


def _whole(found: Any) -> int | None:
    """A count as an integer; part of a unit (a second of sound) counts as a whole one."""
    if found is None or isinstance(found, bool) or not isinstance(found, int | Decimal):
        return None
    if isinstance(found, Decimal):
        if not found.is_finite() or found < 0 or found > MOST:
            return None
        return int(found.to_integral_value(rounding="ROUND_CEILING"))
    return found if 0 <= found <= MOST else None


def reported_cost(usage: Any) -> Decimal | None:
    """What the provider itself says that the call cost, in USD: OpenRouter, Perplexity, x.ai. None: it does not say.

    With a key of one's own behind OpenRouter (is_byok), its own fee and what it passed on to that key come together.
    """
    if not isinstance(usage, dict):
        return None
    cost = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    elif cost is None:
        ticks = usage.get("cost_in_usd_ticks")
        if type(ticks) is int and 0 <= ticks <= MOST_USD * COST_TICKS:
            return Decimal(ticks) / COST_TICKS
    if cost is None or isinstance(cost, bool) or not isinstance(cost, int | Decimal):
        return None
    amount = Decimal(cost)
    details = usage.get("cost_details")
    if usage.get("is_byok") is True and isinstance(details, dict):
        passed_on = details.get("upstream_inference_cost")
        if isinstance(passed_on, int | Decimal) and not isinstance(passed_on, bool):
            amount += passed_on
    return amount if amount.is_finite() and 0 <= amount <= MOST_USD else None


# --- common shapes ---------------------------------------------------------------------------------------------------

_INPUT_NAMES = (
    "prompt_tokens",
    "input_tokens",
    "inputTokens",
    "inputTokenCount",
    "promptTokenCount",
    "input_token_count",
    "prompt_token_count",
    "inputTextTokenCount",
    "prompt_eval_count",
)
_OUTPUT_NAMES = (
    "completion_tokens",
    "output_tokens",
    "outputTokens",
    "outputTokenCount",
    "candidatesTokenCount",
    "output_token_count",
    "generated_token_count",
    "generation_token_count",
    "tokenCount",
    "eval_count",
)
_DETAILS = {
    "cache_read_tokens": (
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
        ("input_token_details", "cached_tokens"),
        ("cached_tokens",),
        ("cachedContentTokenCount",),
    ),
    "cache_write_tokens": (
        ("prompt_tokens_details", "cache_write_tokens"),
        ("input_tokens_details", "cache_write_tokens"),
    ),
    "input_audio_tokens": (
        ("prompt_tokens_details", "audio_tokens"),
        ("input_token_details", "audio_tokens"),
    ),
    "cache_audio_read_tokens": (("input_token_details", "cached_tokens_details", "audio_tokens"),),
    "output_audio_tokens": (
        ("completion_tokens_details", "audio_tokens"),
        ("output_token_details", "audio_tokens"),
    ),
    "output_reasoning_tokens": (
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
        ("reasoning_tokens",),
        ("thoughtsTokenCount",),
    ),
}
# shapes in which cached input is told beside the input, not inside it
_BESIDE_READ = ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount")
_BESIDE_WRITE = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount")


def _assume(members: Mapping[str, Any]) -> dict[str, int] | None:
    for block in _blocks(members):
        counts = _by_common_names(block)
        if counts:
            return counts
    return None


def _blocks(members: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Where usage may stand, the most telling place first."""
    meta = members.get("meta")
    for holder in (members.get("usage"), meta):
        if isinstance(holder, Mapping):
            for name in ("billed_units", "tokens"):
                if isinstance(holder.get(name), Mapping):
                    yield holder[name]
    for name in ("usage", "usageMetadata", "invocation", "tokenUsage", "headers"):
        found = members.get(name)
        if isinstance(found, Mapping):
            yield found
    results = members.get("results")
    if isinstance(results, list) and results and isinstance(results[0], Mapping):
        yield {**members, **results[0]}
    yield members


def _by_common_names(block: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    told_input = _first(block, _INPUT_NAMES)
    told_output = _first(block, _OUTPUT_NAMES)
    if told_input is None and told_output is None:
        total = _whole(block.get("total_tokens"))
        seconds = _whole(block.get("seconds", block.get("duration")))
        searches = _whole(block.get("search_units"))
        if total is not None:
            counts["input_tokens"] = total
        elif seconds is not None:
            counts["audio_seconds"] = counts["input_audio_seconds"] = seconds
        elif searches is not None:
            counts["rerank_searches"] = searches
        return counts
    for key, paths in _DETAILS.items():
        for path in paths:
            found = _whole(_follow(path, block))
            if found is not None:
                counts[key] = found
                break
    beside_read = _first(block, _BESIDE_READ)
    beside_write = _first(block, _BESIDE_WRITE)
    if beside_read is not None:
        counts["cache_read_tokens"] = beside_read
    if beside_write is not None:
        counts["cache_write_tokens"] = beside_write
    counts["input_tokens"] = (told_input or 0) + (beside_read or 0) + (beside_write or 0)
    if told_output is not None:
        thoughts = counts.get("output_reasoning_tokens", 0) if "thoughtsTokenCount" in block else 0
        counts["output_tokens"] = told_output + thoughts
    return counts


def _first(block: Mapping[str, Any], names: Iterable[str]) -> int | None:
    for name in names:
        found = _whole(block.get(name))
        if found is not None:
            return found
    return None
