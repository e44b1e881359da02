"""Programs that make paid calls by the leader's rules and clock: through match, price, admission and settlement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.core import match, price
from proxy.core.identify import ANONYMOUS
from proxy.core.model import Admitted, Ask, Bill, Denied, Outbound, Rule, Usage
from proxy.core.outcome import End, Outcome, judge
from proxy.state.gate import Gate
from tests.control.conftest import Lead
from tests.state.calls import new_id


@dataclass
class Running:
    """An admitted call that has not ended."""

    rule: Rule
    outbound: Outbound
    ticket: Admitted


@dataclass
class Programs:
    """`crossed`: thresholds as their settlements crossed them: (budget, basis points)."""

    lead: Lead
    gate: Gate = field(init=False)
    crossed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        lead = self.lead
        self.gate = Gate(lead.store, lead.keys, clock=lead.clock, pinned=True, timezone=lead.rules.timezone)

    async def begin(
        self, api: str, path: str, *, body: dict[str, Any] | None = None, caller: str = ANONYMOUS.name
    ) -> Running | Denied:
        rules, now_ms = self.lead.rules, self.lead.clock()
        of = next(one for one in rules.apis if one.name == api)
        who = next((one for one in rules.callers if one.name == caller), ANONYMOUS)
        raw = msgspec.json.encode(body) if body is not None else b""
        headers = (("content-type", "application/json"),) if raw else ()
        outbound = Outbound(
            *("POST", of.scheme, of.host, of.port, path), headers=headers, body=raw or None, body_size=len(raw)
        )
        rule = match.match(of, outbound)
        assert rule is not None
        ask = Ask(
            id=new_id(now_ms),
            at_ms=now_ms,
            api=api,
            rule=rule.id,
            caller=who.name,
            method="POST",
            path=path,
            priority=rule.priority,
            budgets=() if rule.price.free else match.chain(rules, of, rule, who),
            estimate=price.estimate(rules, rule, outbound, now_ms),
            currency=rules.currency,
            timezone=rules.timezone,
            free=rule.price.free,
            guards=match.guards(rules, of, rule, who),
        )
        answer = await self.gate.admit(ask)
        if isinstance(answer, Denied):
            self.gate.count_denied(answer.reason, api, rules.timezone)
            return answer
        return Running(rule, outbound, answer)

    async def end(
        self, call: Running, status: int | None = 200, model: str | None = None, counts: dict[str, int] | None = None
    ) -> Bill:
        """status None: the API could not be reached."""
        ticket = call.ticket
        usage = Usage(status=status, model=model, counts=counts or {}, found=bool(counts), sent=status is not None)
        bill = price.actual(
            self.lead.rules, call.rule, call.outbound, ticket.ask.estimate, usage, ticket.position, ticket.now_ms
        )
        how = Outcome(judge(End.ANSWERED if status is not None else End.UNREACHABLE, status))
        settled = await self.gate.settle(ticket, bill, status, outcome=how)
        self.crossed += settled.crossed
        return bill

    async def call(
        self, api: str, path: str, *, body: dict[str, Any] | None = None, caller: str = ANONYMOUS.name,
        status: int | None = 200, model: str | None = None, counts: dict[str, int] | None = None,
    ) -> Bill | Denied:  # fmt: skip
        begun = await self.begin(api, path, body=body, caller=caller)
        return begun if isinstance(begun, Denied) else await self.end(begun, status, model, counts)

    async def written(self) -> None:
        """Wait until the store has everything, refusals too."""
        await self.gate.tidy()
        assert await self.gate.drain(5.0) == 0
