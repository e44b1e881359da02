"""One admitted WebSocket: its handshake passed on, its messages carried byte for byte, watched and paid for.

Decides how a session ends that is ended from here: with a close frame that says why, to both sides, at the end of the
frame that is under way. What is read and counted is the business of core/websocket.py and core/conversation.py; how two
connections are joined, of tunnel.py. Must not know how a price is made.

The reservation is kept ahead of the session by what one more message, one more answer or the next few seconds may cost;
where it can grow no more, the session ends with code 4402.
"""

from __future__ import annotations

import os

import structlog

from proxy.core import headers, ratelimit, websocket
from proxy.core.conversation import Conversation
from proxy.core.http1 import Field
from proxy.core.model import Denied, Reason, RuleSet, Usage
from proxy.core.outcome import End, Outcome, Verdict, judge, judge_session
from proxy.core.websocket import BUDGET_EXHAUSTED, GOING_AWAY, PROTOCOL_ERROR, FrameReader
from proxy.data.charge import Charge
from proxy.data.passage import request_to
from proxy.data.server import Exchange
from proxy.data.tunnel import CHECK_BYTES, CHECK_S, Tunnel, adopt
from proxy.data.upstream import Attempt, Pool, UpstreamAnswer, UpstreamError, UpstreamTimeout

log = structlog.get_logger()

GOODBYE_S = 2.0  # how long the frame under way may still take, and then the client to answer our close
_REFUSAL_MOST = 1024 * 1024  # bytes of the body of an answer that is no 101


class WebSocketPassage:
    """The way of one WebSocket. `await run()`, then always `await settle()`."""

    def __init__(self, pool: Pool, exchange: Exchange, rules: RuleSet, charge: Charge) -> None:
        self._pool = pool
        self._exchange = exchange
        self._rules = rules
        self._charge = charge
        self._attempt = Attempt()
        self._status: int | None = None
        self._sizes = (0, 0)
        self._end = End.ABORTED  # of the handshake; until it is known better, the client went away
        self._took_ms: int | None = None
        self._pause_until_ms: int | None = None
        self._reason = ""  # how the session ended
        call = charge.call
        self._conversation = Conversation(call.rule, call.outbound)
        self._session: _Session | None = None
        self._ended = False

    async def run(self) -> Denied | None:
        """Shake hands with the API, then carry messages until one side ends it, or the money does."""
        api = self._charge.call.api
        try:
            origin, head = request_to(self._exchange, self._charge.call, length=0, websocket=True)
            answer = await self._pool.exchange(
                origin,
                "GET",
                head,
                connect_timeout_s=api.connect_timeout_s,
                read_timeout_s=api.read_timeout_s,
                attempt=self._attempt,
                upgrade=True,
            )
        except UpstreamTimeout as error:
            self._end = End.TIMED_OUT
            return self._failed(Reason.UPSTREAM_TIMEOUT, 504, error.detail)
        except UpstreamError as error:
            self._end = End.UNREACHABLE
            return self._failed(Reason.UPSTREAM_UNREACHABLE, 502, error.detail)
        self._status, self._took_ms = answer.status, self._charge.elapsed_ms()
        if answer.status != 101:
            if api.obey:
                self._pause_until_ms = ratelimit.pause_until(answer.status, answer.headers, self._charge.now_ms())
            await self._pass_on(answer)
            return None
        transport, early = answer.take_over()
        if not websocket.is_accepted(self._exchange.headers, answer.headers):
            transport.abort()
            self._end = End.UNREACHABLE
            return self._failed(Reason.UPSTREAM_UNREACHABLE, 502, "its 101 does not answer the WebSocket handshake")
        # A session may last for hours: where it is a probe, nobody should wait for its end to know that the API works.
        self._charge.tell(Outcome(Verdict.SUCCESS, self._took_ms))
        half_closed = self._exchange.half_closed
        try:
            client, client_early = self._exchange.take_over()
        except ConnectionResetError:
            transport.abort()
            return None
        tunnel = await adopt(transport, early)
        session = self._session = _Session(self, tunnel, answer.headers)
        price = self._charge.call.rule.price
        try:
            end = await tunnel.run(
                client,
                client_early,
                half_closed=half_closed,
                may_go_on=session.may_go_on,
                check_bytes=min(CHECK_BYTES, 64 * 1024) if price.per_kb is not None else CHECK_BYTES,
                check_s=CHECK_S,
                idle_timeout_s=api.read_timeout_s,
                status_line=self._switching(answer.headers),
            )
        finally:
            self._ended = True
        self._sizes, self._reason = (end.bytes_up, end.bytes_down), end.reason
        log.info(
            "websocket.closed",
            id=self._exchange.id,
            api=api.name,
            reason=session.why or end.reason,
            up=end.bytes_up,
            down=end.bytes_down,
            messages_up=session.up.messages,
            messages_down=session.down.messages,
        )
        return None

    @property
    def size(self) -> int:
        """Bytes both ways."""
        return sum(self._sizes)

    async def settle(self) -> None:
        """Charge the session for what passed."""
        if not self._charge.settled:
            await self._charge.settle(self.usage(), outcome=self._outcome())

    def _outcome(self) -> Outcome:
        """What circuit breakers learn: of a handshake that failed, or of a session's end."""
        session = self._session
        took_ms = self._took_ms if self._took_ms is not None else self._charge.elapsed_ms()
        if session is None:
            return Outcome(judge(self._end, self._status), took_ms, self._pause_until_ms)
        verdict = judge_session(
            self._reason,
            api_code=session.down.code,
            api_broke_rules=bool(session.down.broken),
            client_closed=session.up.closing,
        )
        return Outcome(verdict, took_ms)

    def usage(self, ahead: int = 0, seconds_ahead: float = 0.0) -> Usage:
        """What was used so far. ahead: as if so many messages more had passed each way."""
        session = self._session
        if session is None:
            return Usage(status=self._status, sent=self._attempt.sent, found=True, seconds=self._charge.seconds)
        return self._conversation.usage(
            messages=(session.up.messages, session.down.messages),
            sizes=self._sizes,
            seconds=self._charge.seconds + round(seconds_ahead),
            assumed=self._charge.ticket.ask.estimate.usage,
            ended=self._ended,
            ahead=ahead,
        )

    async def keep_ahead(self, up: int, down: int, ahead: int) -> bool:
        self._sizes = (up, down)
        return await self._charge.keep_ahead(self.usage(ahead, CHECK_S))

    @property
    def conversation(self) -> Conversation:
        return self._conversation

    @property
    def charge(self) -> Charge:
        return self._charge

    @property
    def id(self) -> str:
        return self._exchange.id

    def _switching(self, fields: list[Field]) -> bytes:
        """The 101 as the client gets it."""
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket"]
        lines += [b"%b: %b" % field for field in headers.response_headers(fields)]
        lines.append(b"X-Spendgate-Request-Id: " + self._exchange.id.encode())
        left = self._charge.remaining_text()
        if left is not None:
            lines.append(b"X-Spendgate-Budget-Remaining: " + left.encode())
        return b"\r\n".join([*lines, b"\r\n"])

    async def _pass_on(self, answer: UpstreamAnswer) -> None:
        """The API did not want to: its answer is an ordinary one."""
        exchange = self._exchange
        try:
            body = answer.whole if answer.whole is not None else await answer.read(_REFUSAL_MOST)
        except UpstreamError as error:
            self._end = End.CUT
            log.warning("upstream.answer_cut", id=exchange.id, api=self._charge.call.api.name, reason=str(error))
            exchange.abort()
            return
        finally:
            answer.close()
        self._end = End.ANSWERED
        await self.settle()
        fields = headers.response_headers(answer.headers, minor=answer.version[1])
        fields.append((b"X-Spendgate-Request-Id", exchange.id.encode()))
        if body is None:
            exchange.abort()
            return
        await exchange.respond(answer.status, fields, body, answer.reason)

    def _failed(self, reason: Reason, status: int, detail: str) -> Denied:
        name = self._charge.call.api.name
        log.warning("upstream.failed", id=self._exchange.id, api=name, reason=detail, sent=self._attempt.sent)
        return Denied(reason, status, detail={"api": name, "problem": detail})


class _Session:
    """What passes through one open WebSocket, each way, and how it is ended from here."""

    def __init__(self, passage: WebSocketPassage, tunnel: Tunnel, agreed: list[Field]) -> None:
        self._passage = passage
        self._tunnel = tunnel
        self._conversation = passage.conversation
        self._by_message = passage.charge.call.rule.price.per_message is not None
        by_tokens = self._conversation.by_tokens
        extensions = websocket.extensions(agreed)
        # The first messages of a client may name the model; those of the API tell the usage.
        self.up = FrameReader(masked=True, agreed=extensions, look=4 if by_tokens else 0)
        self.down = FrameReader(masked=False, agreed=extensions, look=-1 if by_tokens else 0)
        self._largest_read = 1  # messages in one read, each way: so many may pass before anybody is asked
        self._ending = False
        self.why = ""
        tunnel.look(self._from_client, self._from_api, self)

    def _from_client(self, data: bytes) -> bytes:
        before = self.up.messages
        passed, texts = self.up.feed(data, only_current=self._ending)
        for text in texts:
            self._conversation.said(text)
        self._counted(self.up, before, told=False)
        return passed

    def _from_api(self, data: bytes) -> bytes:
        before = self.down.messages
        passed, texts = self.down.feed(data, only_current=self._ending)
        told = False
        for text in texts:
            told = self._conversation.heard(text) or told
        if self.down.skipped:
            self.down.skipped = False
            self._conversation.missed()
        self._counted(self.down, before, told=told)
        return passed

    def _counted(self, reader: FrameReader, before: int, *, told: bool) -> None:
        new = reader.messages - before
        self._largest_read = max(self._largest_read, new)
        if self._ending:
            return
        if reader.broken and not self.why:
            self.why = "protocol_error"
            log.info("websocket.broken", id=self._passage.id, problem=reader.broken)
        if self.why or told or (self._by_message and new):
            self._tunnel.ask()

    async def may_go_on(self, up: int, down: int, _seconds: float) -> bool:
        if self.why:
            return False
        if await self._passage.keep_ahead(up, down, self._largest_read):
            return True
        self.why = "budget_exhausted"
        return False

    # --- the end, from here ----------------------------------------------------------------------------------------

    async def stop(self, reason: str) -> None:
        """Let the frames under way end, say good-bye both ways, and give the client a moment to hear it."""
        self._ending = True
        self.why = self.why or reason
        await self._tunnel.linger(lambda: self.up.between_frames and self.down.between_frames, GOODBYE_S)
        self._say()
        await self._tunnel.linger(lambda: False, GOODBYE_S)

    def cut(self) -> None:
        self.why = self.why or "going_away"
        self._say()

    def _say(self) -> None:
        code, text, told = self._goodbye()
        to_client = websocket.close_frame(code, text) if self.down.between_frames else b""
        to_api = websocket.close_frame(*told, mask=os.urandom(4)) if self.up.between_frames else b""
        self._tunnel.write(to_client, to_api)

    def _goodbye(self) -> tuple[int, str, tuple[int, str]]:
        """(code and reason for the client, both for the API). The API is not told whose money ran out."""
        if self.why == "budget_exhausted":
            level = self._passage.charge.level
            name = f": {level.budget}" if level is not None else ""
            return BUDGET_EXHAUSTED, f"spendgate: budget_exhausted{name}", (GOING_AWAY, "")
        if self.why == "protocol_error":
            problem = self.up.broken or self.down.broken
            return PROTOCOL_ERROR, problem, (PROTOCOL_ERROR, problem)
        return GOING_AWAY, f"spendgate: {self.why}", (GOING_AWAY, "")
