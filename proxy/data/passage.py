"""One admitted request on its way to the API and back: forwarded, metered, and paid for in every end.

Decides how an answer is passed on (whole, with its cost in the head, or piece by piece as it arrives) and how a stream
ends whose budget ran out. Must not know how a price is made or how Redis decides.

Settlement comes before the last byte: whoever has seen the end of an answer finds it in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache

import structlog

from proxy.core import headers, question, ratelimit
from proxy.core.http1 import Field, Malformed
from proxy.core.meter import Meter
from proxy.core.model import Denied, OnExhausted, Reason, RuleSet, Trust, Usage
from proxy.core.outcome import End, Outcome, judge
from proxy.core.text import say
from proxy.core.truncate import truncation
from proxy.data.charge import Charge
from proxy.data.inbound import Call
from proxy.data.server import Exchange
from proxy.data.upstream import Attempt, Origin, Pool, UpstreamAnswer, UpstreamError, UpstreamTimeout

log = structlog.get_logger()

# Output tokens that an API may produce between a piece of a stream and the moment it notices that nobody listens. The
# reservation is kept ahead by them and by the largest piece so far; a stream that is cut short is billed for them too.
LOOKAHEAD_TOKENS = 4

COST = b"X-Spendgate-Cost"

_ANSWERED, _ABORTED = End.ANSWERED, End.ABORTED  # looked up with every call
_END_WITHIN_S = 1.0  # after an API's last word: longer is no end that is on its way


class Passage:
    """The way of one call to the API and back. `await run()`, then always `await settle()`."""

    # What handled.py does beside carrying, for rules that ask for more; for all others there is nothing.
    _tap: Callable[[bytes], None] | None = None  # sees each piece of the answer as it is passed on

    __slots__ = (
        "_attempt",
        "_charge",
        "_complete",
        "_end",
        "_exchange",
        "_growing",
        "_largest_piece",
        "_meter",
        "_pause_until_ms",
        "_pool",
        "_rules",
        "_status",
        "_tokens_checked",
        "_took_ms",
    )

    def __init__(self, pool: Pool, exchange: Exchange, rules: RuleSet, charge: Charge) -> None:
        self._pool = pool
        self._exchange = exchange
        self._rules = rules
        self._charge = charge
        self._attempt = Attempt()
        self._complete = False  # the API's answer came to its announced end
        self._end = _ABORTED  # until it is known better, the client went away
        self._status: int | None = None
        self._took_ms: int | None = None  # until the answer began
        self._pause_until_ms: int | None = None  # the API asked for a pause
        prices = charge.call.rule.price
        # A stream may outgrow its reservation unless the request itself bounds the answer.
        by_tokens = prices.tokens is not None or prices.catalog is not None
        self._growing = by_tokens and not charge.ticket.ask.estimate.bounded
        self._tokens_checked = 0
        self._largest_piece = 0  # output tokens
        self._meter = Meter(charge.call.rule, charge.call.outbound, count_tokens=by_tokens)

    async def run(self) -> Denied | None:
        """Forward the call and answer the client. A `Denied` is the refusal to send when the API failed us."""
        try:
            answer = await self._send()
        except UpstreamTimeout as error:
            self._end = End.TIMED_OUT
            return self._failed(Reason.UPSTREAM_TIMEOUT, 504, error)
        except UpstreamError as error:
            self._end = End.UNREACHABLE
            return self._failed(Reason.UPSTREAM_UNREACHABLE, 502, error)
        except Malformed as problem:
            # The client's own body broke while it was on its way to the API.
            text = say(f"wire.{problem.code}", self._rules.language)
            return Denied(Reason.BAD_REQUEST, problem.status, detail={"problem": text})
        self._status, self._took_ms = answer.status, self._charge.elapsed_ms()
        if self._charge.call.api.obey and (told := ratelimit.pauses(answer.status, answer.headers)):
            self._pause_until_ms = ratelimit.latest(told, self._charge.now_ms())
        try:
            self._meter.head(answer.status, answer.headers)
            await self._pass_on(answer)
        finally:
            answer.close()
        return None

    def _pass_on(self, answer: UpstreamAnswer) -> Awaitable[None]:
        if answer.whole is not None:
            return self._answer_whole(answer, answer.whole)
        return self._answer_as_it_comes(answer)

    @property
    def size(self) -> int:
        """Bytes of both bodies."""
        return self._exchange.body.received + self._meter.bytes_down

    async def settle(self) -> None:
        """Charge the call for what became of it."""
        if not self._charge.settled:
            await self._charge.settle(self._usage(), outcome=self._outcome())

    def _outcome(self) -> Outcome:
        took_ms = self._took_ms if self._took_ms is not None else self._charge.elapsed_ms()
        end = _ANSWERED if self._complete else self._end
        return Outcome(judge(end, self._status), took_ms, self._pause_until_ms)

    def _usage(self) -> Usage:
        body = self._charge.call.payload
        return self._meter.finish(
            self._complete,
            bytes_up=len(body) if body is not None else self._exchange.body.received,
            seconds=self._charge.seconds,
            sent=self._attempt.sent,
        )

    # --- out -----------------------------------------------------------------------------------------------------

    def _send(self) -> Awaitable[UpstreamAnswer]:
        call, exchange = self._charge.call, self._exchange
        api, outbound = call.api, call.outbound
        body: bytes | AsyncIterator[bytes]
        length: int | None
        if call.payload is not None:
            body, length = call.payload, len(call.payload)
        else:
            worth = outbound.method == "POST" and (exchange.body.length or 0) <= question.LONGEST
            body, length = self._passing() if worth else exchange.body.chunks(), exchange.body.length
        origin, head = request_to(exchange, call, length)
        return self._pool.exchange(
            origin,
            outbound.method,
            head,
            body,
            chunked=length is None,
            connect_timeout_s=api.connect_timeout_s,
            read_timeout_s=api.read_timeout_s,
            total_timeout_s=api.total_timeout_s,
            attempt=self._attempt,
        )

    async def _passing(self) -> AsyncIterator[bytes]:
        """The client's body as it comes; what it asked is known once all of it has passed."""
        passing = question.Passing(self._charge.call.outbound)
        async for data in self._exchange.body.chunks():
            passing.feed(data)
            yield data
        self._charge.passing = passing

    def _failed(self, reason: Reason, status: int, error: UpstreamError) -> Denied:
        name = self._charge.call.api.name
        log.warning("upstream.failed", id=self._exchange.id, api=name, reason=error.detail, sent=self._attempt.sent)
        return Denied(reason, status, detail={"api": name, "problem": error.detail})

    # --- back ----------------------------------------------------------------------------------------------------

    async def _answer_whole(self, answer: UpstreamAnswer, body: bytes) -> None:
        """The complete answer is here: settle it first, so that its head can tell what it cost."""
        self._meter.feed(body)
        if self._tap is not None:
            self._tap(body)
        self._complete = True
        await self.settle()
        fields = self._fields(answer, with_cost=True)
        if self._exchange.method == "HEAD" or answer.status == 304:
            await self._exchange.start(answer.status, fields, answer.length, answer.reason)
            await self._exchange.finish()
        else:
            await self._exchange.respond(answer.status, fields, body, answer.reason)

    async def _answer_as_it_comes(self, answer: UpstreamAnswer) -> None:
        exchange, meter, rule = self._exchange, self._meter, self._charge.call.rule
        # An announced length can neither be shortened nor followed by an end of our own.
        truncates = rule.on_exhausted is OnExhausted.TRUNCATE and answer.length is None
        fields = self._fields(answer, with_cost=False)
        wants_cost = answer.length is None and b"trailers" in (headers.first(exchange.headers, b"te") or b"").lower()
        if wants_cost:
            fields.append((b"Trailer", COST))
        await exchange.start(answer.status, fields, answer.length, answer.reason)
        exhausted, tap = False, self._tap
        try:
            while piece := await answer.next():
                meter.feed(piece)
                if tap is not None:
                    tap(piece)
                if self._growing and meter.streamed and not exhausted:
                    exhausted = not await self._stay_ahead()
                    if exhausted:
                        log.info("stream.exhausted", id=exchange.id, rule=rule.id, then=rule.on_exhausted.value)
                if exhausted and truncates and (keep := meter.safe_length) is not None:
                    await self._truncate(answer, piece[:keep])
                    return
                await exchange.write(piece)
        except (UpstreamError, Malformed) as error:
            self._end = End.CUT if isinstance(error, UpstreamError) else End.ABORTED
            # Nothing can be taken back; the client must see that the answer is not whole.
            log.warning("upstream.answer_cut", id=exchange.id, api=rule.api, reason=str(error))
            exchange.abort()
            return
        except asyncio.CancelledError:
            if meter.said_all:
                await self._hear_the_end(answer)
            raise
        self._complete = True
        await self.settle()
        trailers = headers.trailer_fields(answer.trailers)
        if wants_cost:
            trailers.append((COST, self._charge.cost_text().encode()))
        await exchange.finish(trailers or None)

    async def _hear_the_end(self, answer: UpstreamAnswer) -> None:
        """The client left at the API's last word, as many do, a moment before the end of the answer was here.

        It has all of it: with its end the call is complete, and can be kept.
        """
        with contextlib.suppress(UpstreamError, Malformed, TimeoutError):
            async with asyncio.timeout(_END_WITHIN_S):
                while piece := await answer.next():
                    self._meter.feed(piece)
                    if self._tap is not None:
                        self._tap(piece)
            self._complete = True

    async def _stay_ahead(self) -> bool:
        """Keep the reservation ahead of what the stream consumes. False: there is no more money."""
        usage = self._meter.so_far()
        seen = usage.tokens_seen
        if seen == self._tokens_checked:
            return True
        self._largest_piece = max(self._largest_piece, seen - self._tokens_checked)
        self._tokens_checked = seen
        return await self._charge.keep_ahead(usage, self._largest_piece + LOOKAHEAD_TOKENS)

    async def _truncate(self, answer: UpstreamAnswer, rest: bytes) -> None:
        """End a stream early in the API's own way. `rest` completes the event that was on its way."""
        answer.close()
        self._end = End.ANSWERED  # as far as we let it
        await self._charge.settle(self._usage(), outcome=self._outcome(), unseen=self._largest_piece + LOOKAHEAD_TOKENS)
        await self._exchange.write(rest + truncation(self._meter, self._charge.call.outbound))
        await self._exchange.finish()

    def _fields(self, answer: UpstreamAnswer, *, with_cost: bool) -> list[Field]:
        fields = headers.response_headers(answer.headers, minor=answer.version[1])
        fields.append((b"X-Spendgate-Request-Id", self._exchange.id.encode()))
        if with_cost:
            fields.append((COST, self._charge.cost_text().encode()))
        if self._charge.ticket.used:
            fields += [(name.encode(), value.encode()) for name, value in self._charge.limit_fields()]
        left = self._charge.remaining_text()
        if left is not None:
            fields.append((b"X-Spendgate-Budget-Remaining", left.encode()))
        return fields


def request_to(exchange: Exchange, call: Call, length: int | None, websocket: bool = False) -> tuple[Origin, bytes]:
    """Where a call goes, and its whole head. length: of the body, None for chunked."""
    heading = call.heading
    if heading is not None and (
        length is None or websocket or heading.rule is not call.rule or heading.api is not call.api
    ):
        heading = None  # not what its head asked for, or of unknown length
    frame = heading.frame if heading is not None else None
    if frame is None:
        frame = _frame(exchange, call, length, websocket)
        if heading is not None and (frame[2] is not None or exchange.body.length == 0):
            heading.frame = frame
    origin, head, rest = frame
    return origin, head if rest is None else b"%b%d%b" % (head, length or 0, rest)


def _frame(exchange: Exchange, call: Call, length: int | None, websocket: bool) -> tuple[Origin, bytes, bytes | None]:
    """Where the request goes, and its head; in two pieces around the body's length where the client told it."""
    api, outbound = call.api, call.outbound
    if call.forward:
        origin, host = _origin(outbound.scheme, outbound.host, outbound.port, call.named, api.trust)
        path = outbound.path
    else:
        origin, host = _origin(api.scheme, api.host, api.port, True, api.trust)
        path = outbound.path if outbound.path == "*" else api.base_path + outbound.path
    if outbound.query or exchange.target.endswith("?"):
        path = f"{path}?{outbound.query}"
    drop = _dropped(call.key_header, call.rule.on_exhausted is OnExhausted.TRUNCATE)
    credentials = [(one.header.encode("latin-1"), one.value.encode("latin-1")) for one in api.credentials]
    before, after = headers.request_frame(
        outbound.method,
        path,
        headers.max_forwards(outbound.method, exchange.headers)[1],
        host=host,
        length=length,
        minor=exchange.minor,
        drop=drop | call.dropped if call.dropped else drop,
        credentials=[*credentials, *call.added] if call.added else credentials,
        websocket=websocket,
    )
    return origin, before, after


@lru_cache(maxsize=1024)
def _origin(scheme: str, host: str, port: int, allow_private: bool, trust: Trust | None) -> tuple[Origin, bytes]:
    """Where a connection goes, and its name in a Host header."""
    name = f"[{host}]" if ":" in host else host
    usual = (scheme, port) in (("http", 80), ("https", 443))
    return Origin(scheme, host, port, allow_private, trust), (name if usual else f"{name}:{port}").encode("ascii")


@lru_cache(maxsize=64)
def _dropped(key_header: str | None, truncates: bool) -> frozenset[bytes]:
    """Request headers that the API must not see, in lower case."""
    names = {key_header.encode("latin-1")} if key_header else set()
    if truncates:
        names.add(b"accept-encoding")  # a compressed stream cannot be ended early and cleanly
    return frozenset(names)
