"""The page: what happens to a request, in order.

    accept → identify → match → estimate → (kept answer?) → ADMIT → forward + meter → SETTLE

A refusal at any step is a value that is rendered and sent; nothing on this page raises for one. Whatever happens after
the admission, the call is settled. Which rules are current is the page's only mutable state: a reload swaps them, a
request in flight keeps those it began with.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from proxy.core import denial, match, price, shortfall
from proxy.core.http1 import Field
from proxy.core.ids import RequestIds
from proxy.core.model import Admitted, Ask, Budget, Denied, Estimate, EstimateMode, Reason, RuleSet, Speaks
from proxy.core.text import say
from proxy.data import inbound
from proxy.data.charge import Charge
from proxy.data.crossing import Crossing
from proxy.data.handled import Handled
from proxy.data.inbound import Call, Inside, Opening, Refused
from proxy.data.intercept import Interceptor
from proxy.data.passage import Passage
from proxy.data.server import BadRequest, Exchange
from proxy.data.stepping import Levels
from proxy.data.upstream import Pool
from proxy.data.websocket import WebSocketPassage
from proxy.state.cache import Answers
from proxy.state.gate import Gate
from proxy.state.hosts import OBSERVED, REFUSED, TUNNEL
from proxy.state.repeats import Repeats

log = structlog.get_logger()

# The estimate does not fit in what is left, whatever the calls in flight release.
_LEARNED = EstimateMode.LEARNED  # looked up once: that is slow of an enum
_DOES_NOT_FIT = (Reason.BUDGET_INSUFFICIENT, Reason.BUDGET_STOPPED)
_ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT"  # what passes here; TRACE does not
_REASON_OF_STATUS = {413: Reason.BODY_TOO_LARGE, 414: Reason.HEAD_TOO_LARGE, 431: Reason.HEAD_TOO_LARGE}


Noted = Callable[..., None]
"""(host, caller, outcome, bytes)"""


def _not_noted(_host: str, _caller: str, _outcome: str, _size: int = 0) -> None:
    """Where nobody wants to know."""


class Page:
    """The request path of one worker."""

    def __init__(
        self, rules: RuleSet, gate: Gate, pool: Pool, answers: Answers, interceptor: Interceptor | None = None
    ) -> None:
        """interceptor: without one, every CONNECT passes as a tunnel or not at all."""
        self._interceptor = interceptor or Interceptor()
        self.noted: Noted = _not_noted  # told of every host beside what the rules price call by call
        self.rules = rules
        self.gate = gate
        self.pool = pool
        self.answers = answers
        self.repeats = Repeats(gate.store, gate.keys)
        self.levels = Levels()
        self._ids = RequestIds(int.from_bytes(os.urandom(8), "big"))

    def swap(self, rules: RuleSet) -> None:
        """Make these rules current for requests that begin from now on."""
        self.rules = rules

    async def handle(self, exchange: Exchange, inside: Inside | None = None) -> None:
        """One request from its head to its settlement. inside: the intercepted tunnel that it came through."""
        rules, now_ms = self.rules, self.gate.now_ms()
        exchange.id = self._ids.new(now_ms)

        if exchange.method == "OPTIONS" and inbound.ends_here(exchange):
            await exchange.respond(200, [(b"Allow", _ALLOW), (b"X-Spendgate-Request-Id", exchange.id.encode())])
            return
        call = await inbound.read(rules, exchange, inside, self._interceptor.opens)  # 400 401 403 407 421
        if not isinstance(call, Call):
            if isinstance(call, Opening):
                call = await self._interceptor.open(exchange, call, self.handle) or call
            if isinstance(call, Refused):
                if call.unknown is not None:
                    self.noted(call.unknown, call.caller, REFUSED)
                await self._refuse(exchange, rules, call.denied, call.speaks)
        if not isinstance(call, Call):
            return
        estimate = self._estimate(rules, call, now_ms)
        ask = _question(exchange.id, now_ms, rules, call, estimate)
        if call.rule.handling is None or call.outbound.websocket:  # a conversation is no answer
            await self._carry(exchange, rules, call, ask)
            return

        handled = Handled(
            self.answers,
            self.repeats,
            self.levels,
            self.gate,
            exchange,
            rules,
            call,
            ask,
            lambda other: self._estimate(rules, other, now_ms),
        )
        try:
            kept = await handled.from_cache()  # 504
            if isinstance(kept, Denied):
                await self._refuse(exchange, rules, kept, call.api.speaks, call)
            elif not kept:
                await self._carry(exchange, rules, call, ask, handled)
        finally:
            await handled.close()

    async def _carry(
        self, exchange: Exchange, rules: RuleSet, call: Call, ask: Ask, handled: Handled | None = None
    ) -> None:
        """From the admission to the settlement."""
        ticket: Admitted | Denied | None
        if handled is None:
            ticket = await self.gate.admit(ask)  # 402 429 503
            if isinstance(ticket, Denied):
                ticket = await self._admit_less(rules, call, ask, ticket)
        else:
            ticket = await handled.admit(lambda other, asked: self._admit(rules, other, asked))
            call = handled.call
        if ticket is None:
            return  # answered from the cache
        if isinstance(ticket, Denied):
            await self._refuse(exchange, rules, ticket, call.api.speaks, call, ask.budgets)
            return
        charge = Charge(self.gate, rules, call, ticket)
        passage: Crossing | WebSocketPassage | Passage
        if call.outbound.scheme == "connect":
            passage = Crossing(exchange, charge)
        elif call.outbound.websocket:
            passage = WebSocketPassage(self.pool, exchange, rules, charge)
        elif handled is not None:
            passage = handled.passage(self.pool, charge)
        else:
            passage = Passage(self.pool, exchange, rules, charge)
        try:
            failure = await passage.run()  # 502 504
            if failure is not None:
                await self._refuse(exchange, rules, failure, call.api.speaks, call)
        finally:
            if isinstance(passage, Crossing) or call.observed:
                outbound = call.outbound
                name = inbound.host_name(outbound.scheme, outbound.host, outbound.port)
                self.noted(name, call.caller.name, OBSERVED if call.observed else TUNNEL, passage.size)
            await passage.settle()

    def _estimate(self, rules: RuleSet, call: Call, now_ms: int) -> Estimate:
        """The worst case; where the rule says so and enough was seen, what such calls cost lately instead."""
        estimate = price.estimate(rules, call.rule, call.outbound, now_ms, explain=False)
        if call.rule.estimate is _LEARNED and estimate.basis == "worst_case":
            learned = self.gate.learned_costs.of(call.rule.id, estimate.model)
            if learned is not None and learned < estimate.cost.atoms[rules.currency]:
                return price.estimate(rules, call.rule, call.outbound, now_ms, learned)
        return estimate

    async def _admit(self, rules: RuleSet, call: Call, ask: Ask) -> Admitted | Denied:
        """The one question; asked again for less where a stream that may be cut short can begin with what is left."""
        ticket = await self.gate.admit(ask)
        return await self._admit_less(rules, call, ask, ticket) if isinstance(ticket, Denied) else ticket

    async def _admit_less(self, rules: RuleSet, call: Call, ask: Ask, denied: Denied) -> Admitted | Denied:
        ticket: Admitted | Denied = denied
        if denied.reason in _DOES_NOT_FIT:
            for less in shortfall.lesser(rules, call.rule, call.outbound, ask.estimate, denied.level, ask.at_ms):
                ticket = await self.gate.admit(replace(ask, estimate=less))
                if not isinstance(ticket, Denied) or ticket.reason not in _DOES_NOT_FIT:
                    break
        return ticket

    async def _refuse(
        self,
        exchange: Exchange,
        rules: RuleSet,
        denied: Denied,
        speaks: Speaks,
        call: Call | None = None,
        budgets: tuple[Budget, ...] = (),
    ) -> None:
        """Send a refusal in the shape that the API's own clients understand, and leave a trace of it."""
        named = denied.level.budget if denied.level else None
        budget = next((one for one in budgets if one.name == named), None)
        refusal = denial.render(
            denied,
            request_id=exchange.id,
            now_ms=self.gate.now_ms(),
            language=rules.language,
            timezone=budget.timezone if budget else rules.timezone,
            speaks=speaks,
            restrict_bp=budget.restrict_bp if budget else 9500,
        )
        log.info(
            "request.denied",
            id=exchange.id,
            reason=denied.reason.value,
            status=refusal.status,
            api=call.api.name if call else None,
            rule=call.rule.id if call else None,
            caller=call.caller.name if call else None,
            budget=named,
        )
        self.gate.count_denied(denied.reason, call.api.name if call else "-")
        if not exchange.started:
            await exchange.respond(refusal.status, _raw(refusal.headers), refusal.body)
        elif not exchange.finished:
            exchange.abort()

    def on_bad_request(self, request: BadRequest, status: int, code: str) -> tuple[list[Field], bytes]:
        """The answer to a request that was too broken to be shown to the page."""
        rules, now_ms = self.rules, self.gate.now_ms()
        request_id = self._ids.new(now_ms)
        denied = Denied(
            _REASON_OF_STATUS.get(status, Reason.BAD_REQUEST),
            status,
            detail={"problem": say(f"wire.{code}", rules.language)},
        )
        refusal = denial.render(
            denied, request_id=request_id, now_ms=now_ms, language=rules.language, timezone=rules.timezone
        )
        log.info("request.rejected", id=request_id, peer=request.peer, status=status, code=code)
        return _raw(refusal.headers), refusal.body


def _question(request_id: str, now_ms: int, rules: RuleSet, call: Call, estimate: Estimate) -> Ask:
    outbound, heading = call.outbound, call.heading
    free = call.observed or estimate.basis == "free"
    if heading is not None and heading.rule is call.rule and heading.api is call.api:
        budgets, guards = heading.budgets, heading.guards
    else:
        budgets = match.chain(rules, call.api, call.rule, call.caller)
        guards = match.guards(rules, call.api, call.rule, call.caller)
    return Ask(
        id=request_id,
        at_ms=now_ms,
        api=call.api.name,
        rule=call.rule.id,
        caller=call.caller.name,
        method=outbound.method,
        path=outbound.path or f"{outbound.host}:{outbound.port}",
        priority=call.rule.priority,
        budgets=() if free else budgets,
        estimate=estimate,
        currency=rules.currency,
        timezone=rules.timezone,
        free=free,
        guards=guards,
    )


def _raw(headers: tuple[tuple[str, str], ...]) -> list[Field]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
