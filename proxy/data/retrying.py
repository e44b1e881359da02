"""The attempts of one call: made again where the rule asks for it, it is safe, and the budgets allow it.

Decides nothing of that itself (core/retry.py does, and for all workers together state/lua/repeat.lua); keeps the
order: see how it failed, find out whether it may be made again and when, hold the money for another attempt before it
is made, wait, try. Nothing of an answer has reached the client before `send` returns, so a failed attempt leaves no
trace but its price, and what circuit breakers learn from it.

Mutable state: the attempts of one call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal

import structlog
from msgspec.structs import replace

from proxy.core import headers, ratelimit, retry
from proxy.core.handling_model import RetryPolicy
from proxy.core.meter import Meter
from proxy.core.model import RuleSet, Usage
from proxy.core.outcome import End, Verdict, judge
from proxy.core.retry import Failure
from proxy.data.charge import Charge
from proxy.data.exchange import Exchange
from proxy.data.upstream import Attempt, UpstreamAnswer, UpstreamError, UpstreamTimeout
from proxy.state.repeats import Repeats

log = structlog.get_logger()

_READ = 1024 * 1024  # bytes of a failed answer that are read for its usage


class Retrying:
    """The attempts of one call. now_ms: Unix ms, for dates that an API tells and for the budget."""

    def __init__(
        self,
        policy: RetryPolicy,
        repeats: Repeats,
        exchange: Exchange,
        rules: RuleSet,
        charge: Charge,
        now_ms: Callable[[], int],
    ) -> None:
        self._policy = policy
        self._repeats = repeats
        self._exchange = exchange
        self._rules = rules
        self._charge = charge
        self._now_ms = now_ms
        self.attempt = Attempt()  # the one under way, or the last
        self.count = 0

    async def send(self, once: Callable[[], Awaitable[UpstreamAnswer]]) -> UpstreamAnswer:
        """The first good answer, or the last bad one. Raises as `once` for an attempt without an answer."""
        charge, policy, loop = self._charge, self._policy, asyncio.get_running_loop()
        api = charge.call.api
        self._repeats.called(api.name, policy)
        limits = [s for s in (api.total_timeout_s, retry.patience_s(self._exchange.headers)) if s is not None]
        deadline = loop.time() + min(limits) if limits else None
        pause_ms = 0
        while True:
            self.attempt = Attempt()
            self.count += 1
            began, error, answer = loop.time(), None, None
            try:
                answer = await once()
            except UpstreamError as failed:
                error = failed
            seconds = Decimal(round((loop.time() - began) * 1000)) / 1000
            failure = self._failure(answer, error)
            if answer is not None and failure is None:
                return answer
            left_ms = None if deadline is None else round((deadline - loop.time()) * 1000)
            pause_ms = retry.pause_ms(policy, pause_ms, random.random())
            wait_ms = self._wait_ms(failure, pause_ms, left_ms) if failure is not None else None
            if wait_ms is None or not await self._may(answer):
                if answer is not None:
                    return answer
                raise error or UpstreamError("no answer", self.attempt.sent)
            usage = await self._usage(answer, seconds)
            charge.add_attempt(usage, seconds, _verdict(answer, error))
            log.info("call.repeated", id=self._exchange.id, api=api.name, status=usage.status, wait_ms=wait_ms)
            self.attempt = Attempt()  # a client that leaves while we wait leaves no attempt under way
            await asyncio.sleep(wait_ms / 1000)
            charge.begin_attempt()
            if deadline is not None:
                left_s = max(0.001, deadline - loop.time())
                limited = dataclasses.replace(api, total_timeout_s=left_s)
                charge.call = replace(charge.call, api=limited, heading=None)

    def _failure(self, answer: UpstreamAnswer | None, error: UpstreamError | None) -> Failure | None:
        """How an attempt failed, where the rule counts that; None: it did not."""
        if answer is not None:
            failure = Failure(answer.status, retry_after_ms=retry.retry_after_ms(answer.headers, self._now_ms()))
        elif isinstance(error, UpstreamTimeout):
            failure = Failure(timeout=True, sent=self.attempt.sent)
        else:
            failure = Failure(sent=self.attempt.sent)
        return failure if retry.counts(self._policy, failure) else None

    def _wait_ms(self, failure: Failure, pause_ms: int, left_ms: int | None) -> int | None:
        """How long until the next attempt; None: there is none."""
        policy, call = self._policy, self._charge.call
        if self.count >= policy.attempts:
            return None
        kept = call.payload is not None
        has_key = headers.first(self._exchange.headers, b"idempotency-key") is not None
        if not retry.safe(policy, call.outbound.method, has_key, kept, failure):
            return None
        if not kept and (failure.status is not None or self.attempt.sent):
            return None  # the body is on its way, or gone
        return retry.wait_ms(policy, pause_ms, failure, left_ms)

    async def _may(self, answer: UpstreamAnswer | None) -> bool:
        """Whether the API may be asked again, and the money for it is held. A pause that it asked for holds for all."""
        charge, pause_ms = self._charge, None
        if answer is not None and charge.call.api.obey:
            pause_ms = ratelimit.pause_until(answer.status, answer.headers, self._now_ms())
        return await self._repeats.take(charge.ticket.ask, self._policy, pause_ms) and await self._may_be_paid(answer)

    async def _may_be_paid(self, answer: UpstreamAnswer | None) -> bool:
        """Hold the money for another attempt, where this one may have been billed."""
        billed = self.attempt.sent if answer is None else answer.status in self._charge.call.rule.price.charge_on
        return not billed or await self._charge.hold_another()

    async def _usage(self, answer: UpstreamAnswer | None, seconds: Decimal) -> Usage:
        """What a failed attempt used, as far as its answer tells."""
        call = self._charge.call
        meter = Meter(call.rule, call.outbound)
        complete = False
        if answer is not None:
            meter.head(answer.status, answer.headers)
            if answer.status in call.rule.price.charge_on:
                try:
                    body = answer.whole if answer.whole is not None else await answer.read(_READ)
                    complete = body is not None
                    meter.feed(body or b"")
                except UpstreamError:
                    pass  # cut: what is known of it stands
            answer.close()
        return meter.finish(complete, bytes_up=len(call.payload or b""), seconds=seconds, sent=self.attempt.sent)


def _verdict(answer: UpstreamAnswer | None, error: UpstreamError | None) -> Verdict:
    """What an attempt that failed says of its API."""
    if answer is not None:
        return judge(End.ANSWERED, answer.status)
    return judge(End.TIMED_OUT if isinstance(error, UpstreamTimeout) else End.UNREACHABLE, None)
