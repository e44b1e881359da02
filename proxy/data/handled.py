"""Calls of rules that ask for more than counting: answered from the cache, or carried with what the rule asks.

Decides in which order the rule's wishes are met: a kept answer before the admission, a call to the API, its answer kept
for the next. Every answer is settled like a call, at what it really cost, and says in its head where it came from.

Mutable state: one `Handled` a call. It must be closed in the end.
"""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from proxy.core import amounts, cache, headers
from proxy.core.guards import Guards
from proxy.core.handling_model import CachePolicy
from proxy.core.http1 import Field
from proxy.core.model import Admitted, Ask, Bill, Denied, Estimate, Extra, Reason, RuleSet, State
from proxy.core.outcome import Outcome
from proxy.data.charge import Charge
from proxy.data.consultation import Consultation
from proxy.data.exchange import Exchange
from proxy.data.inbound import Call
from proxy.data.passage import COST, Passage
from proxy.data.replay import CACHE, replay
from proxy.data.retrying import Retrying
from proxy.data.stepping import Admit, Levels, Price, Stepping
from proxy.data.upstream import Pool, UpstreamAnswer
from proxy.state.cache import About, Answer, Answers
from proxy.state.gate import Gate
from proxy.state.repeats import Repeats

log = structlog.get_logger()

DEGRADED = b"X-Spendgate-Degraded"
_FAILED = frozenset((500, 502, 503, 504))  # answers for which a stale one may stand in (RFC 5861 §4)
_UNGUARDED = Guards(obey=False)  # of a call that never reaches its API
_AWAY = (Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TIMEOUT)


class Handled:
    """What is done for one call beside carrying it. `await close()` in the end, whatever happened."""

    __slots__ = (
        "_answers",
        "_ask",
        "_consultation",
        "_exchange",
        "_gate",
        "_repeats",
        "_rules",
        "_stepping",
        "call",
        "ended",
    )

    def __init__(
        self,
        answers: Answers,
        repeats: Repeats,
        levels: Levels,
        gate: Gate,
        exchange: Exchange,
        rules: RuleSet,
        call: Call,
        ask: Ask,
        estimate: Price,
    ) -> None:
        self._answers = answers
        self._repeats = repeats
        self._gate = gate
        self._exchange = exchange
        self._rules = rules
        self._ask = ask
        self.call = call
        self.ended = False  # the call came to an end of its own; else its client left, and another one may lead
        handling = call.rule.handling
        self._stepping: Stepping | None = None
        if handling is not None and handling.ladder and ask.budgets:
            self._stepping = Stepping(handling.ladder, levels, call, ask, estimate)
        policy = handling.cache if handling is not None else None
        asked = _question(policy, call) if policy is not None else None
        self._consultation: Consultation | None = None
        if policy is not None and asked is not None:
            self._consultation = Consultation(answers, policy, asked, call.outbound, exchange.id, gate.now_ms)

    async def from_cache(self) -> bool | Denied:
        """Answer the client without a call, if the rule and the client allow it. False: a call is needed."""
        consultation = self._consultation
        if self._stepping is not None:
            self._stepping.look(self._gate.now_ms())
        if consultation is None:
            return False
        answer = await consultation.answer()
        if answer is not None:
            return await self._give(answer, consultation.how)
        if consultation.only_kept:
            return Denied(Reason.NOT_KEPT, 504)
        return await self._stale_by_ladder()

    async def _stale_by_ladder(self) -> bool | Denied:
        """Give a kept answer, even if stale, where a rung says so."""
        stepping, consultation = self._stepping, self._consultation
        if stepping is None or consultation is None or not stepping.serves_stale:
            return False
        answer = consultation.stand_in()
        if answer is None:
            return False
        return await self._give(answer, "stale", stepping.stale_told)

    async def admit(self, admit: Admit) -> Admitted | Denied | None:
        """The question, for the call as it is or as a rung of the ladder makes it. None: it was answered meanwhile."""
        stepping = self._stepping
        if stepping is None:
            return await admit(self.call, self._ask)
        ticket = await stepping.admit(admit)
        if stepping.serves_stale and self._consultation is not None and self._consultation.stand_in() is not None:
            if isinstance(ticket, Admitted):
                await self._gate.void(ticket.ask)
            given = await self._stale_by_ladder()
            if given:
                return given if isinstance(given, Denied) else None
        changed = stepping.changed
        if changed is not None and self._consultation is not None:
            # Its answer is none to the question as it was asked: nobody should wait for it.
            await self._consultation.end(True)
            self._consultation = None
        if changed is not None:
            self.call = changed.call
        return ticket

    async def _give(self, answer: Answer, how: str, degraded: str = "") -> bool | Denied:
        """Settle a call that a kept answer ends, then answer it: whoever has seen it finds it in the ledger.

        It is admitted as a free call that asks nothing of its API: only what a person has switched off refuses it.
        """
        rules, gate = self._rules, self._gate
        nothing = amounts.nothing(rules, self.call.rule.price)
        estimate = Estimate(nothing, "free", self._ask.estimate.model)
        ask = replace(self._ask, budgets=(), free=True, estimate=estimate, guards=_UNGUARDED)
        ticket = await gate.admit(ask)
        if isinstance(ticket, Denied):
            return ticket
        saved = answer.cost_atoms if answer.currency == ask.currency else 0
        extra = Extra(saved_atoms=saved, degraded=degraded, asked_atoms=saved if degraded else None)
        bill = Bill(nothing, State.SETTLED, {}, note=f"cache_{how}", extra=extra)
        await gate.settle(ticket, bill, answer.status)
        await self._send(answer, how, "0", degraded)
        return True

    async def _send(self, answer: Answer, how: str, cost: str, degraded: str = "") -> None:
        fields = [(COST, cost.encode())]
        if degraded:
            fields.append((DEGRADED, degraded.encode()))
        await replay(self._exchange, self.call.outbound, answer, how, self._gate.now_ms(), fields)

    def passage(self, pool: Pool, charge: Charge) -> Passage:
        """The way to the API and back, with what the rule asks."""
        changed = self._stepping.changed if self._stepping is not None else None
        if changed is not None:
            charge.asked = (changed.asked, changed.asked_estimate, changed.told)
        return _HandledPassage(pool, self._exchange, self._rules, charge, self)

    async def close(self) -> None:
        """Let those who wait for this call know that it brought nothing for them."""
        if self._consultation is not None:
            await self._consultation.end(self.ended)

    # --- for its passage -----------------------------------------------------------------------------------------

    def retrying(self, charge: Charge) -> Retrying | None:
        """The attempts of this call, where the rule wants more than one."""
        handling = self.call.rule.handling
        if handling is None or handling.retry is None:
            return None
        return Retrying(handling.retry, self._repeats, self._exchange, self._rules, charge, self._gate.now_ms)

    async def forget(self, answer: UpstreamAnswer) -> None:
        """Forget kept answers that this call, by its answer, has made untrue. A POST that is kept is a question."""
        handling = self.call.rule.handling
        if handling is None or not handling.forgets:
            return
        if handling.cache is not None and self.call.outbound.method == "POST":
            return
        for url in cache.made_untrue(_url(self.call), self.call.outbound, answer.status, answer.headers):
            if gone := await self._answers.forget(url):
                log.info("cache.forgotten", id=self._exchange.id, rule=self.call.rule.id, answers=gone)

    @property
    def elsewhere(self) -> bool:
        """Whether a rung of the ladder sends the call to another place than its API."""
        return self._stepping is not None and self._stepping.elsewhere

    @property
    def consultation(self) -> Consultation | None:
        return self._consultation

    async def stand_in(self, passage: Passage, cost: str) -> bool:
        """Give a kept answer, perhaps a stale one, in place of one that cannot be had."""
        answer = self._consultation.stand_in() if self._consultation is not None else None
        if answer is None or self._exchange.started:
            return False
        log.info("cache.stood_in", id=self._exchange.id, rule=self.call.rule.id)
        await self._send(answer, "stale", cost)
        return True


def _url(call: Call) -> str:
    """The address at the API, with its port."""
    outbound = call.outbound
    host = f"[{outbound.host}]" if ":" in outbound.host else outbound.host
    base = "" if call.forward else call.api.base_path
    return f"{outbound.scheme}://{host}:{outbound.port}{base}{outbound.path}?{outbound.query}"


def _question(policy: CachePolicy, call: Call) -> cache.Question | None:
    outbound = call.outbound
    return cache.question(
        policy,
        outbound,
        rule=call.rule.id,
        caller=call.caller.name,
        url=_url(call),
        injected=frozenset(one.header.lower() for one in call.api.credentials),
        key_header=call.key_header.lower() if call.key_header else None,
    )


class _HandledPassage(Passage):
    """A passage whose answer may be kept, or be replaced by a kept one."""

    __slots__ = ("_answer", "_asks", "_handled", "_kept", "_pieces", "_retrying", "_size", "_tap")

    def __init__(self, pool: Pool, exchange: Exchange, rules: RuleSet, charge: Charge, handled: Handled) -> None:
        super().__init__(pool, exchange, rules, charge)
        self._handled = handled
        self._answer: UpstreamAnswer | None = None
        self._pieces: list[bytes] | None = None
        self._size = 0
        self._kept = False
        self._retrying = handled.retrying(charge)
        consultation = handled.consultation
        self._tap = None
        self._asks = consultation.validators() if consultation is not None else ()
        if self._asks:
            charge.call = replace(charge.call, added=(*charge.call.added, *self._asks), heading=None)

    async def run(self) -> Denied | None:
        failure = await super().run()
        self._handled.ended = True
        if failure is not None and failure.reason in _AWAY:
            await self.settle()
            if await self._handled.stand_in(self, self._charge.cost_text()):
                return None
        return failure

    async def _send(self) -> UpstreamAnswer:
        retrying = self._retrying
        if retrying is None:
            return await super()._send()
        try:
            return await retrying.send(self._once)
        finally:
            self._attempt = retrying.attempt

    async def _once(self) -> UpstreamAnswer:
        if self._retrying is not None:
            self._attempt = self._retrying.attempt
        return await super()._send()

    def _outcome(self) -> Outcome:
        """With what the attempts before the last one say. Another place's answers say nothing of the API."""
        told = super()._outcome()
        if self._handled.elsewhere:
            return Outcome(took_ms=told.took_ms)
        earlier = tuple((one.verdict, round(one.seconds * 1000)) for one in self._charge.earlier)
        return replace(told, earlier=earlier) if earlier else told

    async def _pass_on(self, answer: UpstreamAnswer) -> None:
        consultation = self._handled.consultation
        self._answer = answer
        if consultation is None:
            await self._handled.forget(answer)
        else:
            if answer.status == 304 and self._asks and consultation.kept is not None:
                await self._still_holds(answer, consultation.kept)
                return
            if answer.status in _FAILED and consultation.stand_in() is not None:
                if await answer.read(64 * 1024) is not None:
                    self._complete = True
                await self.settle()
                if await self._handled.stand_in(self, self._charge.cost_text()):
                    return
            if 200 <= answer.status <= 299 and consultation.lifetime(answer.status, answer.headers) is not None:
                self._pieces, self._tap = [], self._record
            else:
                await consultation.end(True)  # nobody need wait for the rest of it
        await super()._pass_on(answer)

    async def _still_holds(self, answer: UpstreamAnswer, kept: Answer) -> None:
        """The API says that the kept answer holds: it is as good as new (RFC 9111 §4.3.4)."""
        self._complete = True
        await self.settle()
        consultation = self._handled.consultation
        fresh = cache.freshened(kept.headers, headers.response_headers(answer.headers, minor=answer.version[1]))
        about, cost = self._about(), (kept.cost_atoms, kept.currency)
        again = None
        if consultation is not None:
            again = await consultation.keep(kept.status, fresh, kept.body, kept.pieces, cost, about)
        shown = again or Answer(kept.kept, kept.status, fresh, kept.body, kept.pieces, *cost)
        await self._handled._send(shown, "hit", self._charge.cost_text())

    def _record(self, piece: bytes) -> None:
        """Keep what passes, until it is too much."""
        consultation = self._handled.consultation
        if self._pieces is None or consultation is None:
            return
        self._size += len(piece)
        if self._size > consultation.most():
            self._pieces = None
        else:
            self._pieces.append(piece)

    async def settle(self) -> None:
        await super().settle()
        if self._complete and not self._kept:
            self._kept = True
            await self._keep()

    async def _keep(self) -> None:
        consultation, answer, pieces = self._handled.consultation, self._answer, self._pieces
        if consultation is None or answer is None or pieces is None or self._charge.bill is None:
            return
        sizes = None if answer.length is not None or answer.whole is not None else tuple(map(len, pieces))
        currency = self._rules.currency
        await consultation.keep(
            answer.status,
            headers.response_headers(answer.headers, minor=answer.version[1]),
            b"".join(pieces),
            sizes,
            (self._charge.bill.cost.atoms[currency], currency),
            self._about(),
        )

    def _about(self) -> About:
        call = self._charge.call
        handling = call.rule.handling
        shared = handling is not None and handling.cache is not None and handling.cache.shared
        caller = "*" if shared else call.caller.name
        outbound = call.outbound
        url = _url(call) if outbound.method == "GET" else ""
        return About(call.api.name, call.rule.id, caller, outbound.method, outbound.path[:500], url)

    def _fields(self, answer: UpstreamAnswer, *, with_cost: bool) -> list[Field]:
        fields = super()._fields(answer, with_cost=with_cost)
        if self._charge.asked is not None:
            fields.append((DEGRADED, self._charge.asked[2].encode()))
        if self._retrying is not None:
            fields.append((b"X-Spendgate-Attempts", b"%d" % self._retrying.count))
        handling = self._charge.call.rule.handling
        if handling is not None and handling.cache is not None:
            consultation = self._handled.consultation
            fields.append((CACHE, consultation.how.encode() if consultation is not None else b"bypass"))
        return fields
