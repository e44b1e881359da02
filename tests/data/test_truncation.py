"""Streams that meet the end of their budget, through a real proxy, from an upstream that drips one token after another.

One token costs one won, so that tokens, ledger and budget are the same number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from aiohttp import web

from tests.harness import RunningProxy, Upstream, chat_answer, running_proxy, upstream

DRIP_S = 0.03
ENDLESS = 2000
LEFT = 60  # won in the short budgets
LEARNED = 200

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
callers:
  - {{name: teacher, key_env: KEY_TEACHER, budget: {{limit: 1000000, period: month}}}}
  - {{name: pupil, key_env: KEY_PUPIL, budget: {{limit: 1300, period: month}}}}
  - {{name: short, key_env: KEY_SHORT, budget: {{limit: {left}, period: month, restrict: 100}}}}
  - {{name: rich, key_env: KEY_RICH, budget: {{limit: 1000, period: month}}}}
apis:
  - name: cut
    upstream: {url}
    speaks: openai
    estimate: learned
    on_exhausted: truncate
    prices: [{{name: chat, match: {{path: /v1/*}}, tokens: {{input: 0, output: 1000000}}}}]
  - name: untaught
    upstream: {url}
    speaks: openai
    estimate: learned
    on_exhausted: truncate
    prices: [{{name: chat, match: {{path: /v1/*}}, tokens: {{input: 0, output: 1000000}}}}]
  - name: capped
    upstream: {url}
    speaks: openai
    max_output_tokens: 20
    prices: [{{name: chat, match: {{path: /v1/*}}, tokens: {{input: 0, output: 1000000}}}}]
"""
KEYS = {f"KEY_{name}": f"key-{name.lower()}" for name in ("TEACHER", "PUPIL", "SHORT", "RICH")}


class Dripping:
    """An API that streams " the" until it has said `tokens` of them or nobody listens; else it answers at once."""

    def __init__(self) -> None:
        self.tokens = ENDLESS
        self.generated = 0
        self.pause_at: int | None = None
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            return web.json_response(chat_answer(usage={"prompt_tokens": 9, "completion_tokens": LEARNED}))
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        while self.generated < self.tokens:
            if self.generated == self.pause_at:
                self.paused.set()
                await self.go_on.wait()
            self.generated += 1
            await reply.write(_event([{"index": 0, "delta": {"content": " the"}, "finish_reason": None}]))
            await asyncio.sleep(DRIP_S)
        await reply.write(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        await reply.write(_event([], {"prompt_tokens": 9, "completion_tokens": self.generated}))
        await reply.write(b"data: [DONE]\n\n")
        return reply


def _event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", "choices": choices}
    return b"data: " + json.dumps({**event, **({"usage": usage} if usage else {})}).encode() + b"\n\n"


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[RunningProxy, Upstream, Dripping]]:
    dripping = Dripping()
    async with upstream(dripping) as api:
        running = running_proxy(RULES.format(url=api.url, left=LEFT), folder, "--log-format", "json", env=KEYS)
        proxy = await asyncio.to_thread(running.__enter__)
        try:
            yield proxy, api, dripping
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


def sdk(proxy: RunningProxy, mount: str, caller: str) -> openai.AsyncOpenAI:
    plain = httpx.AsyncClient(trust_env=False, timeout=60)
    return openai.AsyncOpenAI(
        base_url=f"{proxy.url}/{mount}/v1", api_key=f"key-{caller}", max_retries=0, http_client=plain
    )


HELLO: Any = [{"role": "user", "content": "Tell a story."}]


async def streamed(client: openai.AsyncOpenAI) -> tuple[str, str | None, str]:
    """(text, finish reason, request id) of one stream, read to its end."""
    raw = await client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, max_tokens=ENDLESS
    )
    text, reason = "", None
    async for chunk in raw.parse():
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    return text, reason, str(raw.headers["x-spendgate-request-id"])


async def teach(proxy: RunningProxy) -> None:
    """Let the proxy see what calls cost until it reserves that: the pupil has too little for a worst case."""
    async with sdk(proxy, "cut", "teacher") as teacher, sdk(proxy, "cut", "pupil") as pupil:
        for _ in range(20):
            await teacher.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=ENDLESS)
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(openai.APIStatusError):
                    await pupil.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=ENDLESS)
                    return
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("mount", ["cut", "untaught"])
async def test_a_stream_begins_with_what_is_left_and_ends_where_that_ends(mount: str, tmp_path: Path) -> None:
    async with stage(tmp_path) as (proxy, api, dripping):
        if mount == "cut":
            await teach(proxy)
        async with sdk(proxy, mount, "short") as client:
            text, reason, request_id = await streamed(client)
            async with asyncio.timeout(10):
                await api.gone.wait()
            generated = dripping.generated
            with pytest.raises(openai.APIStatusError) as refused:
                await streamed(client)

        assert reason == "length"
        shown = text.count(" the")
        (row,) = await asyncio.to_thread(proxy.ledger, "--id", request_id)
        assert (row["state"], row["note"]) == ("estimated", "truncated")
        assert Decimal(row["estimate"]) == LEFT
        cost = Decimal(row["cost"])
        assert shown <= generated <= cost <= LEFT
        assert cost - shown <= 8  # no more than the allowance for what nobody has seen
        assert row["usage"]["output_tokens"] == cost
        level = await asyncio.to_thread(proxy.budget, "caller:short")
        assert (Decimal(level["spent"]), Decimal(level["reserved"])) == (cost, 0)
        # Which of the two depends on whether the cut stream left anything at all.
        assert refused.value.response.headers["x-spendgate-reason"] in ("budget_insufficient", "budget_stopped")
        assert dripping.generated == generated  # the refused call never reached the API, and the cut one has ended


async def test_a_stream_without_a_bound_grows_with_what_it_uses(tmp_path: Path) -> None:
    async with stage(tmp_path) as (proxy, _, dripping):
        dripping.tokens, dripping.pause_at = 60, 40
        async with sdk(proxy, "capped", "rich") as client:
            running = asyncio.create_task(_unbounded(client))
            async with asyncio.timeout(20):
                await dripping.paused.wait()
            # The cap of 20 tokens was all that it held at first; the 40th may still be on its way.
            level = await asyncio.to_thread(proxy.budget, "caller:rich")
            assert (Decimal(level["spent"]), Decimal(level["reserved"]) >= 39) == (0, True)
            dripping.go_on.set()
            assert await running == ("stop", 60)
        level = await asyncio.to_thread(proxy.budget, "caller:rich")
        assert (Decimal(level["spent"]), Decimal(level["reserved"])) == (60, 0)
        assert '"stream.exhausted"' not in proxy.logs()


async def test_a_stream_without_a_bound_finishes_beyond_its_budget_where_the_rule_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path) as (proxy, api, dripping):
        dripping.tokens = 80
        async with sdk(proxy, "capped", "short") as client:
            assert await _unbounded(client) == ("stop", 80)
        assert not api.gone.is_set()
        (row,) = await asyncio.to_thread(proxy.ledger)
        assert (row["state"], Decimal(row["cost"]), Decimal(row["estimate"])) == ("settled", 80, 20)
        level = await asyncio.to_thread(proxy.budget, "caller:short")
        assert (Decimal(level["spent"]), Decimal(level["reserved"])) == (80, 0)
        (line,) = [json.loads(text) for text in proxy.logs().splitlines() if '"stream.exhausted"' in text]
        assert line["then"] == "finish"


async def _unbounded(client: openai.AsyncOpenAI) -> tuple[str | None, int]:
    reason, tokens = None, 0
    async for chunk in await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True):
        for choice in chunk.choices:
            tokens += bool(choice.delta.content)
            reason = choice.finish_reason or reason
    return reason, tokens
