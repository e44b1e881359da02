"""What a conversation has used: the sum of its usage events, and what is not told is not guessed away."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from proxy.core import match
from proxy.core.conversation import Conversation
from proxy.core.model import Outbound, Rule, Usage
from proxy.rules_file import load_text


def rule_of(price: str) -> Rule:
    head = "version: 1\ncurrency: KRW\nfx: {USD: 1390}\napis:\n  - name: x\n    upstream: https://x.example.com\n"
    loaded = load_text(f"{head}    prices: [{{{price}}}]\n")
    assert loaded.rules is not None, loaded.mistakes
    return loaded.rules.apis[0].rules[0]


def conversation(price: str, query: str = "") -> Conversation:
    return Conversation(rule_of(price), Outbound("GET", "https", "x", 443, "/v1/realtime", query, websocket=True))


def usage(of: Conversation, *, ended: bool = True, ahead: int = 0, **assumed: int) -> Usage:
    return of.usage(messages=(1, 2), sizes=(10, 20), seconds=Decimal(3), assumed=assumed, ended=ended, ahead=ahead)


def text(**event: Any) -> bytes:
    return json.dumps(event).encode()


def done(count: int) -> bytes:
    return text(type="response.done", response={"usage": {"input_tokens": count, "output_tokens": 2 * count}})


def test_usage_events_add_up_and_the_largest_is_what_may_come_next() -> None:
    one = conversation("catalog: openai", "model=gpt-realtime")
    assert [one.heard(done(count)) for count in (10, 30, 20)] == [True, True, True]
    found = usage(one)
    assert (found.model, dict(found.counts)) == ("gpt-realtime", {"input_tokens": 60, "output_tokens": 120})
    assert dict(usage(one, ended=False, ahead=1).counts) == {"input_tokens": 90, "output_tokens": 180}
    assert (usage(one, ahead=4).messages_up, usage(one, ahead=4).messages_down) == (5, 6)


def test_an_answer_under_way_counts_as_the_largest_or_as_assumed() -> None:
    one = conversation("catalog: openai", "model=gpt-realtime")
    one.heard(text(type="response.created", response={"usage": None}))
    cut = usage(one, input_tokens=7, output_tokens=8)
    assert (dict(cut.counts), cut.detail) == ({"input_tokens": 7, "output_tokens": 8}, "answer_cut")
    one.heard(done(10))
    assert (dict(usage(one).counts), usage(one).detail) == ({"input_tokens": 10, "output_tokens": 20}, None)


def test_geminis_live_answers() -> None:
    one = conversation("catalog: google")
    one.said(text(setup={"model": "models/gemini-live-2.5-flash"}))
    details = [{"modality": "AUDIO", "tokenCount": 30}]
    event = {"promptTokenCount": 12, "responseTokenCount": 30, "responseTokensDetails": details, "totalTokenCount": 42}
    assert one.heard(text(usageMetadata=event))
    found = usage(one)
    assert found.model == "models/gemini-live-2.5-flash"
    assert (found.counts["input_tokens"], found.counts["output_tokens"]) == (12, 30)
    assert found.counts["output_audio_tokens"] == 30


def test_the_model_of_a_session_is_heard_where_the_query_names_none() -> None:
    one = conversation("catalog: openai")
    one.heard(text(type="session.created", session={"model": "gpt-realtime-mini"}))
    assert usage(one).model == "gpt-realtime-mini"


def test_usage_of_another_model_is_said_aloud_and_not_priced_as_this_one() -> None:
    one = conversation("catalog: openai", "model=gpt-realtime")
    kind = "conversation.item.input_audio_transcription.completed"
    assert not one.heard(text(type=kind, usage={"type": "tokens", "input_tokens": 900, "output_tokens": 9}))
    assert (dict(usage(one).counts), usage(one).detail) == ({}, "other_usage")


@pytest.mark.parametrize(
    "said", [b"", b"not json", b'{"usage": {', b"[1, 2]", b'{"usage": {"input_tokens": -5}}', b'\xff{"usage": {}}']
)
def test_what_tells_nothing_changes_nothing(said: bytes) -> None:
    one = conversation("catalog: openai", "model=gpt-realtime")
    assert not one.heard(said)
    assert dict(usage(one).counts) == {}


@pytest.mark.parametrize(
    ("price", "calls", "websockets"),
    [
        ("per_request: 1", True, False),
        ("free: true", True, False),
        ("per_unit: {price: 1, count: '1'}", True, False),
        ("per_connection: 1", True, True),
        ("per_minute: 1", True, True),
        ("per_kb: {up: 1}", True, True),
        ("catalog: openai", True, True),
        ("per_message: {up: 1}", False, True),
        ("match: {websocket: true}, free: true", False, True),
        ("match: {websocket: false}, catalog: openai", True, False),
    ],
)
def test_which_prices_hold_for_a_websocket(price: str, calls: bool, websockets: bool) -> None:
    rule = rule_of(price)
    assert (rule.for_calls, rule.for_websockets) == (calls, websockets)


def test_why_a_rule_does_not_hold() -> None:
    head = "version: 1\ncurrency: KRW\napis:\n  - name: x\n    upstream: https://x.example.com\n    prices:\n"
    rules = load_text(f"{head}      - per_request: 1\n      - per_message: {{up: 1}}\n").rules
    assert rules is not None
    socket = Outbound("GET", "https", "x.example.com", 443, "/", websocket=True)
    call = Outbound("GET", "https", "x.example.com", 443, "/")
    assert "not meant for a WebSocket" in str(match.explain(rules.apis[0], socket)[0][1])
    assert match.explain(rules.apis[0], socket)[1][1] is None
    assert match.match(rules.apis[0], call) is rules.apis[0].rules[0]
