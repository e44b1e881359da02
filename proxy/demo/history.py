"""A month and a half of calls that never were: a small team's habits, written through the very path of real calls.

`calls()` is pure: from a seed and two instants it makes the same calls every time, more on weekdays, at office hours,
slowly growing. `write()` admits and settles each at its own time, so that ledger, roll-ups, thresholds and budgets are
what they would be if the calls had been made.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from proxy.core import match, price
from proxy.core.identify import ANONYMOUS
from proxy.core.model import Ask, Denied, Outbound, RuleSet, Usage
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store

DAYS: Final = 45

RULES: Final = """\
version: 1
currency: KRW
timezone: Asia/Seoul
language: {language}
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month, warn: [70, 80, 90], restrict: 95, stop: 100}}
  - {{name: openai-daily, limit: 900, period: day, applies_to: {{api: openai}}}}
  - {{name: batch, limit: 4000, period: month, applies_to: {{caller: batch}}}}
callers:
  - {{name: web, key_env: DEMO_KEY_WEB}}
  - {{name: batch, key_env: DEMO_KEY_BATCH}}
  - {{name: bot, key_env: DEMO_KEY_BOT}}
services:
  - {{name: database, priority: essential, apis: [openai], dry_run: true}}
  - {{name: ai-worker, priority: important, depends_on: [database], apis: [openai], dry_run: true}}
  - {{name: reports, priority: optional, depends_on: [ai-worker], apis: [openai], dry_run: true}}
  - {{name: crawler, priority: optional, depends_on: [database], apis: [openai], dry_run: true}}
apis:
  - name: openai
    upstream: {chat}
    speaks: openai
    rate_limits: [60/minute, 200000 tokens/hour, 8 concurrent]
    breaker: {{failures: 50%, of_at_least: 10, window: 60s, open_for: 30s, probes: 2}}
    prices:
      - {{name: models, match: {{method: GET, path: /v1/models}}, free: true}}
      - {{name: chat, match: {{method: POST, path: /v1/chat/completions}}, catalog: openai, max_output_tokens: 4000}}
  - name: kakao-map
    upstream: {map}
    priority: optional
    prices:
      - {{name: search, match: {{path: /v2/local/**}}, per_request: 0.5}}
  - name: sms
    upstream: {sms}
    priority: essential
    prices:
      - name: send
        match: {{method: POST, path: /messages}}
        per_unit: {{price: 9.9, count: "length(request.to) * ceil(len(request.text) / 70)"}}
"""


@dataclass(frozen=True, slots=True)
class Past:
    """One call of the past. usage: what its answer told."""

    at_ms: int
    api: str
    caller: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    status: int = 200
    model: str | None = None
    counts: dict[str, int] = field(default_factory=dict)


def calls(until_ms: int, timezone: str, seed: int = 20) -> Iterator[Past]:
    """The calls of DAYS days up to an instant, oldest first."""
    chance = random.Random(seed)
    zone = ZoneInfo(timezone)
    now = datetime.fromtimestamp(until_ms / 1000, zone)
    first = (now - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(DAYS + 1):
        day = first + timedelta(days=number)
        busy = (0.42 if day.weekday() >= 5 else 1.0) * (0.8 + 0.4 * number / DAYS) * chance.uniform(0.75, 1.3)
        made = [_at(chance, day, kind) for kind, count in _MIX for _ in range(round(count * busy))]
        for at, kind in sorted(made, key=lambda one: one[0]):
            at_ms = round(at.timestamp() * 1000)
            if at_ms < until_ms:
                yield _call(chance, at_ms, kind)


_MIX: Final = (("chat", 36), ("batch", 17), ("map", 60), ("sms", 14), ("error", 1))
_MODELS: Final = (("gpt-5-mini", 0.72), ("gpt-5", 0.18), ("gpt-5-nano", 0.1))


def _at(chance: random.Random, day: datetime, kind: str) -> tuple[datetime, str]:
    """Most at office hours; what runs in batches, at night."""
    hour = chance.uniform(1.0, 4.5) if kind == "batch" else min(23.5, max(6.5, chance.gauss(14.0, 3.6)))
    return day + timedelta(hours=hour, seconds=chance.uniform(0, 59)), kind


def _call(chance: random.Random, at_ms: int, kind: str) -> Past:
    if kind == "map":
        return Past(at_ms, "kakao-map", chance.choice(("web", "web", "bot")), "GET", "/v2/local/search/keyword.json")
    if kind == "sms":
        message: dict[str, Any] = {
            "to": ["+821000000000"] * (1 + (chance.random() < 0.15)),
            "text": "Your order is on its way.",
        }
        return Past(at_ms, "sms", "web", "POST", "/messages", message, status=201)
    drawn, model = chance.random(), _MODELS[0][0]
    for name, part in _MODELS:
        if drawn < part:
            model = name
            break
        drawn -= part
    words = round(chance.lognormvariate(6.4, 0.6))
    body: dict[str, Any] = {
        "model": model,
        "max_completion_tokens": 3000,
        "messages": [{"role": "user", "content": "x" * words}],
    }
    caller = "batch" if kind == "batch" else chance.choice(("web", "web", "web", "bot"))
    if kind == "error":
        return Past(at_ms, "openai", caller, "POST", "/v1/chat/completions", body, status=500, model=model)
    counts = {"input_tokens": words // 3 + 40, "output_tokens": min(3000, round(chance.lognormvariate(6.9, 0.6)))}
    return Past(at_ms, "openai", caller, "POST", "/v1/chat/completions", body, 200, model, counts)


async def write(store: Store, keys: Keys, rules: RuleSet, past: Sequence[Past]) -> int:
    """Admit and settle every call at its own time; what its budget refused then is counted as refused.

    Returns how many passed. Raises StoreUnavailable, LookupError for a call that the rules do not know.
    """
    now = [past[0].at_ms if past else 0]
    gate = Gate(store, keys, clock=lambda: now[0], pinned=True, timezone=rules.timezone)
    apis = {api.name: api for api in rules.apis}
    callers = {caller.name: caller for caller in rules.callers}
    passed = 0
    for number, one in enumerate(past):
        now[0] = one.at_ms
        api = apis[one.api]
        body = msgspec.json.encode(one.body) if one.body is not None else None
        headers = (("content-type", "application/json"),) if body else ()
        size = len(body) if body else 0
        outbound = Outbound(
            *(one.method, api.scheme, api.host, api.port, one.path), headers=headers, body=body, body_size=size
        )
        rule = match.match(api, outbound)
        if rule is None:
            raise LookupError(one.path)
        caller = callers.get(one.caller, ANONYMOUS)
        estimate = price.estimate(rules, rule, outbound, one.at_ms)
        ask = Ask(
            id=f"{one.at_ms:012x}{number:016x}",
            at_ms=one.at_ms,
            api=api.name,
            rule=rule.id,
            caller=caller.name,
            method=one.method,
            path=one.path,
            priority=rule.priority,
            budgets=match.chain(rules, api, rule, caller),
            estimate=estimate,
            currency=rules.currency,
            timezone=rules.timezone,
        )
        ticket = await gate.admit(ask)
        if isinstance(ticket, Denied):
            gate.count_denied(ticket.reason, api.name, rules.timezone)
            continue
        usage = Usage(status=one.status, model=one.model, counts=one.counts, found=bool(one.counts), sent=True)
        bill = price.actual(rules, rule, outbound, estimate, usage, ticket.position, one.at_ms)
        await gate.settle(ticket, bill, one.status)
        passed += 1
    await gate.tidy()
    await gate.drain(5.0)
    return passed
