"""What the meter does with answers that are cut, huge, packed, hostile or not its business."""

from __future__ import annotations

import gzip
import itertools
import json
import tracemalloc
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import meter as meter_module
from proxy.core import reading
from proxy.core.expression import compile_expression
from proxy.core.meter import BODY_CAP, STREAM_CAP, Meter
from proxy.core.model import OnExhausted, Outbound, PerUnit, Price, Usage
from tests.core.exchanges import catalog_rule, rule
from tests.core.shapes import ANTHROPIC_STREAM, CHAT_COUNTS, CHAT_USAGE, GEMINI_STREAM, SSE, frames, js, sse

CHAT = Outbound(
    "POST", "https", "api.openai.com", 443, "/v1/chat/completions", "", (), js({"model": "gpt-4o", "messages": []})
)
MESSAGES = Outbound(
    "POST", "https", "api.anthropic.com", 443, "/v1/messages", "", (), js({"model": "claude-sonnet-4-5"})
)
GEMINI = Outbound("POST", "https", "g", 443, "/v1beta/models/gemini-2.5-flash:streamGenerateContent", "", (), b"{}")


def run(
    body: bytes, *, provider: str = "openai", call: Outbound = CHAT, media: str = "application/json", **more
) -> Usage:
    complete = more.pop("complete", True)
    status = more.pop("status", 200)
    headers = [(b"Content-Type", media.encode()), *((k.encode(), v.encode()) for k, v in more.items())]
    meter = Meter(catalog_rule(provider), call)
    meter.head(status, headers)
    meter.feed(body)
    return meter.finish(complete)


def chunk(text: str) -> dict:
    return {"model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def test_stream_cut_in_the_middle_counts_what_was_seen() -> None:
    usage = run(sse(chunk("The"), chunk(" sea"), chunk(" is")) + b'data: {"mod', media=SSE, complete=False)
    assert (usage.found, usage.complete, usage.streamed) == (False, False, True)
    assert usage.tokens_seen == 3
    assert usage.model == "gpt-4o-2024-08-06"


def test_cut_after_the_usage_is_as_good_as_whole() -> None:
    usage = run(sse(chunk("The"), {"model": "gpt-4o", "choices": [], "usage": CHAT_USAGE}), media=SSE, complete=False)
    assert usage.found
    assert usage.counts == CHAT_COUNTS


def test_cut_anthropic_stream_knows_its_input() -> None:
    usage = run(sse(*ANTHROPIC_STREAM[:5]), provider="anthropic", call=MESSAGES, media=SSE, complete=False)
    assert not usage.found
    assert usage.counts["input_tokens"] == 2711
    assert usage.tokens_seen == 3 + 3  # "The tide" is 8 bytes, " turns." 7: a third, rounded up


def test_anthropic_stream_that_ends_without_its_last_count_is_not_found() -> None:
    """The count at its beginning says 1 token of output: to settle by it would be too cheap."""
    usage = run(sse(*ANTHROPIC_STREAM[:5]), provider="anthropic", call=MESSAGES, media=SSE)
    assert (usage.complete, usage.found) == (True, False)


def test_cut_anthropic_stream_after_its_last_count_is_found() -> None:
    usage = run(sse(*ANTHROPIC_STREAM[:7]), provider="anthropic", call=MESSAGES, media=SSE, complete=False)
    assert usage.found
    assert usage.counts["output_tokens"] == 90


def test_cut_gemini_stream_has_counts_but_not_the_last_ones() -> None:
    usage = run(sse(*GEMINI_STREAM[:2]), provider="google", call=GEMINI, media=SSE, complete=False)
    assert not usage.found
    assert usage.counts["output_tokens"] == 110
    whole = run(sse(*GEMINI_STREAM), provider="google", call=GEMINI, media=SSE, complete=False)
    assert whole.found


def test_cut_gemini_array_keeps_its_whole_elements() -> None:
    body = b"[" + js(GEMINI_STREAM[0]) + b",\n" + js(GEMINI_STREAM[1]) + b',\n{"candidates": [{"cont'
    usage = run(body, provider="google", call=GEMINI, complete=False)
    assert usage.counts["output_tokens"] == 110
    assert usage.tokens_seen > 0


def test_stream_without_usage_is_not_found() -> None:
    usage = run(sse(chunk("The"), end=b"data: [DONE]\n\n"), media=SSE)
    assert not usage.found
    assert usage.counts == {}


def test_stream_without_a_last_blank_line_is_read_to_its_end() -> None:
    body = sse({"model": "gpt-4o", "choices": [], "usage": CHAT_USAGE}).rstrip(b"\n")
    assert run(body, media=SSE).found


def test_an_error_is_not_read_at_all() -> None:
    usage = run(js({"usage": CHAT_USAGE}), status=429)
    assert (usage.status, usage.found, usage.counts) == (429, False, {})


@pytest.mark.parametrize(
    ("media", "read"),
    [
        ("application/json; charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("", True),
        ("text/plain", True),
        ("application/octet-stream", False),
        ("audio/mpeg", False),
    ],
)
def test_media_types(media: str, *, read: bool) -> None:
    assert run(js({"model": "gpt-4o", "usage": CHAT_USAGE}), media=media).found is read


def test_a_stream_without_a_media_type_is_recognised_by_its_first_byte() -> None:
    meter = Meter(catalog_rule("openai"), CHAT)
    meter.head(200, [])
    for piece in (b"\n ", b"data", b": ", js({"choices": [], "usage": CHAT_USAGE}), b"\n", b"\n"):
        meter.feed(piece)
    usage = meter.finish(True)
    assert usage.counts == CHAT_COUNTS
    assert usage.streamed


def test_a_body_over_the_cap_is_given_up_but_still_counted() -> None:
    meter = Meter(catalog_rule("openai"), CHAT)
    meter.head(200, [(b"content-type", b"application/json")])
    piece = b" " * 65536
    tracemalloc.start()
    for _ in range(BODY_CAP // len(piece) * 3):
        meter.feed(piece)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    usage = meter.finish(True)
    assert (usage.found, usage.detail) == (False, "too_large")
    assert usage.bytes_down == BODY_CAP * 3
    assert held < BODY_CAP


@pytest.mark.parametrize("media", ["application/json", SSE])
def test_a_decompression_bomb_is_given_up(media: str) -> None:
    bomb = gzip.compress(b"data: " + b"a" * (STREAM_CAP + BODY_CAP + 10))
    assert len(bomb) < 200_000
    tracemalloc.start()
    usage = run(bomb, media=media, **{"Content-Encoding": "gzip"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (usage.found, usage.detail) == (False, "too_large")
    assert peak < 3 * BODY_CAP


def test_an_event_over_the_cap_is_left_out_and_the_stream_goes_on() -> None:
    meter = Meter(catalog_rule("openai"), CHAT)
    meter.head(200, [(b"content-type", SSE.encode())])
    for _ in range(meter_module.EVENT_CAP // 65536 + 2):
        meter.feed(b"x" * 65536)
    meter.feed(b"\n\n" + sse({"choices": [], "usage": CHAT_USAGE}))
    usage = meter.finish(True)
    assert usage.counts == CHAT_COUNTS
    assert usage.detail == "too_large"


def test_an_unknown_encoding_is_named() -> None:
    usage = run(js({"usage": CHAT_USAGE}), **{"Content-Encoding": "snappy"})
    assert (usage.found, usage.detail) == (False, "content_encoding")


def test_bytes_that_do_not_decode_are_named() -> None:
    usage = run(b"not gzip at all", **{"Content-Encoding": "gzip"})
    assert (usage.found, usage.detail) == (False, "not_decodable")


def test_broken_frames_are_named() -> None:
    body = bytearray(frames(("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1}})))
    body[30] ^= 1
    call = Outbound("POST", "https", "b", 443, "/model/us.amazon.nova-lite-v1:0/converse-stream", "", (), b"{}")
    usage = run(bytes(body), provider="aws", call=call, media="application/vnd.amazon.eventstream")
    assert (usage.found, usage.detail) == (False, "not_decodable")


def test_a_free_endpoint_is_not_read() -> None:
    call = Outbound("POST", "https", "a", 443, "/v1/messages/count_tokens", "", (), b"{}")
    usage = run(js({"input_tokens": 9}), provider="anthropic", call=call)
    assert (usage.found, usage.counts) == (False, {})


def test_a_rule_without_tokens_keeps_nothing() -> None:
    plain = rule(Price(currency="KRW", per_request=D(1)), needs_response=False)
    meter = Meter(plain, CHAT)
    meter.head(200, [(b"content-type", b"application/json")])
    meter.feed(js({"usage": CHAT_USAGE}))
    usage = meter.finish(True, bytes_up=7, seconds=D("0.25"))
    assert usage.response is None
    assert (usage.bytes_up, usage.bytes_down, usage.seconds) == (7, len(js({"usage": CHAT_USAGE})), D("0.25"))


def test_a_rule_over_the_answer_gets_it_decoded_with_exact_numbers() -> None:
    units = (PerUnit(D(1), "response.n", compile_expression("response.n")),)
    counting = rule(Price(currency="KRW", per_unit=units))
    meter = Meter(counting, CHAT)
    meter.head(200, [(b"content-type", b"application/json")])
    meter.feed(b'{"n": 0.1000000000000000000001}')
    assert meter.finish(True).response == {"n": D("0.1000000000000000000001")}


def test_what_the_caller_put_into_the_metadata_is_no_usage() -> None:
    """OpenAI repeats the request's metadata in its answer: nobody may write his own bill there."""
    told = {"usage": {"input_tokens": 0, "output_tokens": 0}, "model": "gpt-4.1-nano", "tokens": "x"}
    answer = {
        "object": "response",
        "model": "gpt-5",
        "usage": {"input_tokens": 50, "output_tokens": 60},
        "metadata": told,
    }
    call = Outbound("POST", "https", "api", 443, "/v1/responses", "", (), js({"model": "gpt-5"}))
    stream = sse({"type": "response.completed", "response": answer})
    for body, media in ((js(answer), "application/json"), (stream, SSE)):
        usage = run(body, call=call, media=media)
        assert (usage.model, usage.counts) == ("gpt-5", {"input_tokens": 50, "output_tokens": 60})


def test_half_a_surrogate_pair_hides_nothing() -> None:
    """Some servers cut an emoji in two; a strict decoder refuses the whole answer for it."""
    half = rb'{"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "\ud83d"}}], "usage": '
    told = half + js(CHAT_USAGE) + b"}"
    assert run(told).counts == CHAT_COUNTS
    assert run(b"\xef\xbb\xbf" + told).counts == CHAT_COUNTS
    cut = run(b"data: " + half + b"null}\n\n", media=SSE, complete=False)
    assert cut.tokens_seen >= 1


@pytest.mark.parametrize("count", [10**12 + 1, 10**30, -1, 1e300])
def test_a_count_beyond_reason_is_no_count(count: object) -> None:
    assert (
        run(js({"model": "gpt-4o", "usage": {**CHAT_USAGE, "prompt_tokens": count}})).counts.get("input_tokens", 0) == 0
    )


# --- hostile input ----------------------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**20), st.floats(allow_nan=False), st.text(max_size=3))
NAMES = st.sampled_from(
    "usage usageMetadata model modelVersion type message message_start response response.completed delta "  # noqa: SIM905
    "input_tokens "
    "output_tokens prompt_tokens completion_tokens prompt_tokens_details cached_tokens meta billed_units choices cost "
    "candidates content parts text metrics result results x_groq event_type cost_in_usd_ticks total_cost "
    "usage_info".split()
)
VALUES = st.recursive(
    NUMBERS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=5), st.sampled_from(["openai", "anthropic", "google", "aws", "cohere", "perplexity"]))
@settings(max_examples=300, deadline=None)
def test_any_json_is_survived(values: list, provider: str) -> None:
    events = sse(*values)
    for body, media in ((events, SSE), (json.dumps(values).encode(), "application/json"), (events, "text/plain")):
        for complete in (True, False):
            usage = run(body, provider=provider, media=media, complete=complete)
            assert all(type(count) is int and count >= 0 for count in usage.counts.values())
            assert usage.reported_cost is None or usage.reported_cost >= 0


@given(st.dictionaries(NAMES, VALUES, max_size=5))
@settings(max_examples=200, deadline=None)
def test_an_answer_of_usual_members_is_read_as_if_it_had_others(answer: dict) -> None:
    short, long = reading.Document(), reading.Document()
    data = json.dumps(answer).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading.Head, "tells_usage_alone", lambda _: False)
        read = long.add(data)
    assert (short.add(data), short) == (read, long)


@given(
    st.binary(max_size=300),
    st.sampled_from(
        ["application/json", SSE, "", "application/vnd.amazon.eventstream", "application/x-ndjson", "text/html"]
    ),
    st.sampled_from(["identity", "gzip", "deflate", "br", "zstd", "gzip, br"]),
    st.lists(st.integers(0, 300), max_size=5),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_survived(body: bytes, media: str, coding: str, cuts: list[int]) -> None:
    meter = Meter(catalog_rule("openai", on_exhausted=OnExhausted.TRUNCATE), CHAT)
    meter.head(200, [(b"content-type", media.encode()), (b"content-encoding", coding.encode())])
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    for start, end in itertools.pairwise(edges):
        meter.feed(body[start:end])
        assert meter.tokens_seen >= 0
        meter.safe_length, meter.trace()
    assert meter.finish(True).bytes_down == len(body)


def test_deeply_nested_json_is_survived() -> None:
    body = b'{"usage": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001
    assert not run(body).found
    assert not run(b"[" * 100_000, provider="google", call=GEMINI).found
