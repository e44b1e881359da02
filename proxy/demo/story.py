"""The demonstration's plot: a budget of 1,000 won, three paid APIs, and calls that spend exactly all of it.

Pure: rules as text and steps as values, with what each must cost and how it must end. The driver plays it and compares.

    ten rounds of chat (25 won), streamed chat (25), a map search (0.5) and SMS (9.9 a part)   -> 950.50 won
    then SMS only, which are essential: three parts, then two                                   -> 1,000.00 won
    then free calls of an API that fails, recovers and is called too often: its circuit and its rate limit
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

LIMIT = Decimal(1000)
INPUT_TOKENS, OUTPUT_TOKENS = 100, 480
MODEL = "demo-model"
PROMPT = " ".join(["please"] * (INPUT_TOKENS - 3))  # the simulator counts words, and three for the message
CHAT, MAP, SMS_PART = Decimal(25), Decimal("0.5"), Decimal("9.9")
ROUNDS = 10

RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
language: {language}
budgets:
  - {{name: demo, limit: 1000, period: month, warn: [70, 80, 90], restrict: 95, stop: 100}}
apis:
  - name: chat
    upstream: {chat}
    priority: important
    speaks: openai
    prices:
      - {{name: models, match: {{method: GET, path: /v1/models}}, free: true}}
      - name: completions
        match: {{method: POST, path: /v1/chat/completions}}
        tokens: {{input: 10000, output: 50000}}
  - name: map
    upstream: {map}
    priority: optional
    prices:
      - {{name: search, match: {{path: /v2/local/**}}, per_request: 0.5}}
  - name: news
    upstream: {chat}
    priority: optional
    rate_limits: 5/minute
    breaker: {{consecutive: 3, window: 60s, open_for: 2s, probes: 1}}
    prices:
      - {{name: read, free: true}}
  - name: sms
    upstream: {sms}
    priority: essential
    prices:
      - name: send
        match: {{method: POST, path: /messages}}
        per_unit: {{price: 9.9, count: "length(request.to) * ceil(len(request.text) / 70)"}}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One call. label: a text key. cost: what it must cost. reason: how it must be refused (None: it passes)."""

    label: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cost: Decimal = Decimal(0)
    reason: str | None = None
    status: int = 200
    ends_round: bool = False  # the driver writes a line for the calls since the last one


def chat(*, stream: bool = False, max_tokens: int = OUTPUT_TOKENS, chunk_delay_ms: int = 0) -> dict[str, Any]:
    """The request of a chat: body and headers."""
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": max_tokens,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"X-Sim-Output-Tokens": str(OUTPUT_TOKENS), "X-Sim-Chunk-Delay-Ms": str(chunk_delay_ms)}
    return {"method": "POST", "path": "/chat/v1/chat/completions", "body": body, "headers": headers}


def sms(recipients: int) -> dict[str, Any]:
    to = [f"+8210000000{number:02d}" for number in range(recipients)]
    body = {"to": to, "text": "Your order is on its way."}
    return {"method": "POST", "path": "/sms/messages", "body": body}


SEARCH: dict[str, Any] = {"method": "GET", "path": "/map/v2/local/search/keyword.json?query=cafe"}
MODELS: dict[str, Any] = {"method": "GET", "path": "/chat/v1/models"}


def opening() -> Iterator[Step]:
    yield Step("free", **MODELS)
    yield Step("unknown", "GET", "/chat/v1/files", reason="no_rule", status=403)


def round_of(number: int) -> Iterator[Step]:
    """The calls of one round, 1 to ROUNDS; even ones send two SMS. The last round's stream is the driver's (`held`)."""
    if number == ROUNDS - 1:
        yield Step("too_large", **chat(max_tokens=8000), reason="budget_insufficient", status=402)
    yield Step("chat", **chat(), cost=CHAT)
    if number < ROUNDS:
        yield Step("stream", **chat(stream=True), cost=CHAT)
    else:
        yield Step("held", **chat(max_tokens=2400), reason="budget_busy", status=402)
    yield Step("map", **SEARCH, cost=MAP)
    for _ in range(2 - number % 2):
        yield Step("sms", **sms(3), cost=3 * SMS_PART, status=201)


def restricted() -> Iterator[Step]:
    """At 95 %: only what is essential passes, and what is free."""
    yield Step("chat", **chat(), reason="budget_restricted", status=402)
    yield Step("map", **SEARCH, reason="budget_restricted", status=402)
    yield Step("free", **MODELS)
    yield Step("essential", **sms(3), cost=3 * SMS_PART, status=201)
    yield Step("essential", **sms(3), reason="budget_stopped", status=503)
    yield Step("essential", **sms(2), cost=2 * SMS_PART, status=201)


def stopped() -> Iterator[Step]:
    """At 100 %: nothing that costs money."""
    yield Step("essential", **sms(1), reason="budget_stopped", status=503)
    yield Step("chat", **chat(), reason="budget_stopped", status=503)
    yield Step("free", **MODELS)


NEWS: dict[str, Any] = {"method": "GET", "path": "/news/v1/models"}


def failing() -> Iterator[Step]:
    """An API that fails three times in a row: its circuit opens (no traffic)."""
    for _ in range(3):
        yield Step("fails", **NEWS, headers={"X-Sim-Status": "500"}, status=500)
    yield Step("circuit", **NEWS, reason="circuit_open", status=503)


def recovered() -> Iterator[Step]:
    """Half-open (one probe), and closed again (traffic flows); then one call more than its limit."""
    yield Step("probe", **NEWS)
    yield Step("news", **NEWS)
    yield Step("too_often", **NEWS, reason="rate_limited", status=429)
