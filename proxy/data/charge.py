"""What an admitted call owes: its reservation while it runs, its bill when it ends, whichever way it was carried.

Decides when the store is asked for more and that the call is settled exactly once, whatever ended it. What was carried
and how is the business of passage.py (requests) and crossing.py (tunnels).
"""

from __future__ import annotations

import time
from decimal import Decimal

import structlog
from msgspec.structs import replace

from proxy.core import growth, money, price, question, quota, ratelimit, retry, shortfall
from proxy.core.model import (
    Admitted,
    Bill,
    Cost,
    Denied,
    Estimate,
    EstimateMode,
    Extra,
    Level,
    Reason,
    RuleSet,
    Settled,
    State,
    Usage,
)
from proxy.core.outcome import UNKNOWN, Outcome, Verdict
from proxy.core.retry import Tried
from proxy.data.inbound import Call
from proxy.state.gate import Gate

log = structlog.get_logger()

FAILED = "settlement_failed"
_NO_TIME = Decimal(0)


class Charge:
    """The money side of one admitted call. `settle()` may be called again, and be cancelled."""

    __slots__ = (
        "_began_s",
        "_between",
        "_gate",
        "_rules",
        "_settled",
        "asked",
        "bill",
        "call",
        "earlier",
        "passing",
        "ticket",
    )

    def __init__(self, gate: Gate, rules: RuleSet, call: Call, ticket: Admitted) -> None:
        self._gate = gate
        self._rules = rules
        self._settled: Settled | None = None
        self._began_s = time.monotonic()
        self._between = False  # an attempt failed, and the next one has not begun
        self.call = call
        self.ticket = ticket
        self.bill: Bill | None = None
        self.asked: tuple[Call, Estimate, str] | None = None  # what was asked for, where something cheaper was made
        self.passing: question.Passing | None = None  # what streams to the API, where its whole is known by nobody
        self.earlier: tuple[Tried, ...] = ()  # attempts that failed, and were made again

    async def hold_another(self) -> bool:
        """Hold the money for one more attempt of the same call. False: there is not enough."""
        ticket = self.ticket
        if not ticket.windows:
            return True
        atoms = quota.cost_at(ticket.ask.estimate, ticket.position).atoms
        totals = {currency: held + atoms.get(currency, 0) for currency, held in ticket.reserved.items()}
        grown = await self._gate.extend(ticket, totals)
        if isinstance(grown, Denied):
            return grown.reason is Reason.STORE_UNAVAILABLE
        self.ticket = grown
        return True

    def add_attempt(self, usage: Usage, seconds: Decimal, verdict: Verdict) -> None:
        """Price an attempt that failed and is made again: it belongs to the call's bill."""
        call, ticket = self.call, self.ticket
        estimate, position = ticket.ask.estimate, self._position()
        bill = price.actual(self._rules, call.rule, call.outbound, estimate, usage, position, ticket.now_ms)
        self.earlier = (*self.earlier, Tried(usage.status, seconds, bill, verdict))
        self._between = True

    def begin_attempt(self) -> None:
        """Another attempt begins now: `seconds` are its own."""
        self._between = False
        self._began_s = time.monotonic()

    def _position(self) -> int | None:
        """Where the attempt under way stands in the rule's quota: what earlier ones drew comes first."""
        position, drawn = self.ticket.position, self.ticket.ask.estimate.quota
        if position is None or drawn is None or not self.earlier:
            return position
        done = [tried.bill.quota_units for tried in self.earlier]
        return position + sum(drawn.units if units is None else units for units in done)

    @property
    def settled(self) -> bool:
        return self._settled is not None

    @property
    def seconds(self) -> Decimal:
        """How long the attempt under way has been running, to the millisecond; 0 where its price needs no time."""
        prices = self.call.rule.price
        if prices.per_second is None and prices.per_minute is None and not prices.per_unit:
            return _NO_TIME
        return Decimal(round((time.monotonic() - self._began_s) * 1000)) / 1000

    async def keep_ahead(self, usage: Usage, ahead: int = 0) -> bool:
        """Hold at least the bill of `usage` and of `ahead` output tokens more. False: there is no more money.

        A store that is away stops nothing that already runs.
        """
        ticket = self.ticket
        if not ticket.windows:
            return True
        currency = self._rules.currency
        needed = price.running(
            self._rules, self.call.rule, self.call.outbound, ticket.ask.estimate, usage, ticket.now_ms, ahead
        )
        for tried in self.earlier:
            needed += tried.bill.cost.atoms[currency]
        reserved = ticket.reserved.get(currency, 0)
        wanted = growth.next_reservation(needed_atoms=needed, reserved_atoms=reserved)
        if wanted is None:
            return True
        grown = await self._grow(wanted.total_atoms)
        if not isinstance(grown, Denied) or grown.reason is Reason.STORE_UNAVAILABLE:
            return True
        level = grown.level
        known = level is not None and level.currency == currency
        free = level.limit_atoms - level.spent_atoms - level.reserved_atoms if level is not None and known else None
        total = growth.second_try(wanted, reserved_atoms=reserved, free_atoms=free)
        if total is None:
            return False
        grown = await self._grow(total)
        return not isinstance(grown, Denied) or grown.reason is Reason.STORE_UNAVAILABLE

    async def _grow(self, total_atoms: int) -> Admitted | Denied:
        ticket = self.ticket
        totals = price.in_proportion(ticket.reserved, self._rules.currency, total_atoms)
        grown = await self._gate.extend(ticket, totals)
        if not isinstance(grown, Denied):
            self.ticket = grown
        return grown

    async def settle(self, usage: Usage, unseen: int | None = None, *, outcome: Outcome = UNKNOWN) -> None:
        """Charge the call for `usage`, once. The first bill stands: a repetition says the same again.

        outcome: what circuit breakers learn from it.
        unseen: we ended the stream early, and its API may have produced so many output tokens more.
        """
        if self._settled is not None:
            return
        try:
            bill = self.billed(usage, unseen)
            # No shield: the gate keeps the statement until it is written, whether or not anybody waits for it.
            self._settled = await self._gate.settle(
                self.ticket, bill, usage.status, learn=self.teaches, outcome=outcome
            )
        except Exception:  # a mistake of ours must not leave the money held
            bill = self.failed()
            self._settled = await self._gate.settle(self.ticket, bill, usage.status, outcome=outcome)

    def billed(self, usage: Usage, unseen: int | None = None) -> Bill:
        """The bill of the call, made at the first time. Raises whatever a mistake of ours raises: see `failed`."""
        if self.bill is None:
            self.bill = self._make_bill(usage, unseen)
        return self.bill

    def failed(self) -> Bill:
        """The bill, or the statement of it, could not be made: what the call holds is its bill, and the log says why.

        A mistake of ours must not leave the money held and the call out of the ledger. Called where it is caught.
        """
        log.exception("settlement.failed", id=self.ticket.ask.id, rule=self.call.rule.id)
        self.bill = Bill(self._reserved_cost(), State.ESTIMATED, {}, note=FAILED)
        return self.bill

    @property
    def teaches(self) -> bool:
        """Whether the bill is a sample for rules with `estimate: learned`."""
        known = self.bill is not None and self.bill.state is State.SETTLED
        return known and self.call.rule.estimate is EstimateMode.LEARNED

    def tell(self, outcome: Outcome) -> None:
        """Let circuit breakers hear now how a long call began, if they wait for it: see `Gate.tell`."""
        self._gate.tell(self.ticket, outcome)

    def _reserved_cost(self) -> Cost:
        """What the call holds now, as its cost."""
        cost = self.ticket.ask.estimate.cost
        return replace(cost, atoms={**cost.atoms, **self.ticket.reserved}, terms=(), said="")

    def _make_bill(self, usage: Usage, unseen: int | None) -> Bill:
        call, ticket, rules = self.call, self.ticket, self._rules
        estimate, now_ms = ticket.ask.estimate, ticket.now_ms
        position = self._position() if self.earlier else ticket.position
        if unseen is None:
            explain = bool(self.earlier)  # the lines of all attempts stand together
            bill = price.actual(rules, call.rule, call.outbound, estimate, usage, position, now_ms, explain=explain)
        else:
            held = ticket.reserved.get(rules.currency, 0)
            bill = shortfall.truncated(rules, call.rule, call.outbound, estimate, usage, held, unseen, position, now_ms)
        if self.asked is not None:
            bill = self._with_asked(bill, usage, *self.asked)
        if self.earlier:
            bill = self._with_earlier(bill, usage.status)
        if call.observed:
            bill = replace(bill, state=State.UNPRICED, note="no_rule")
        if usage.status is not None and usage.status < 400:
            asked = self.passing.digest() if self.passing is not None else question.digest(call.outbound)
            bill = replace(bill, question=asked)
        if bill.state is not State.SETTLED:
            # Loud on purpose: money that is counted by guess, or not at all, must not pass unnoticed.
            log.warning(
                "call.not_priced_exactly",
                id=ticket.ask.id,
                note=bill.note,
                state=bill.state.value,
                api=call.api.name,
                rule=call.rule.id,
                model=usage.model,
                detail=usage.detail,
            )
        return bill

    def _with_asked(self, bill: Bill, usage: Usage, call: Call, estimate: Estimate, told: str) -> Bill:
        """The bill with what the same use would have cost as it was asked for."""
        ticket, currency = self.ticket, self._rules.currency
        as_asked = replace(usage, model=estimate.model, reported_cost=None)
        whole = price.actual(
            self._rules, call.rule, call.outbound, estimate, as_asked, self._position(), ticket.now_ms, explain=False
        )
        cost = bill.cost.atoms[currency]
        asked = whole.cost.atoms[currency] if whole.state is not State.UNPRICED else None
        saved = max(0, asked - cost) if asked is not None else 0
        return replace(bill, extra=Extra(saved_atoms=saved, asked_atoms=asked, degraded=told))

    def _with_earlier(self, last: Bill, status: int | None) -> Bill:
        """The bill of all attempts, with each of them."""
        drawn = self.ticket.ask.estimate.quota
        currency = self._rules.currency
        bill = retry.together(self.earlier, last, drawn.units if drawn is not None else None)
        lines = [(tried.status, tried.seconds, tried.bill.cost.atoms[currency]) for tried in self.earlier]
        if not self._between:
            lines.append((status, Decimal(self.elapsed_ms()) / 1000, last.cost.atoms[currency]))
        return replace(bill, extra=replace(bill.extra or Extra(), attempts=tuple(lines)))

    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began_s) * 1000)

    def now_ms(self) -> int:
        """Redis's clock, as far as it is known here."""
        return self._gate.now_ms()

    def limit_fields(self) -> list[tuple[str, str]]:
        """RateLimit and RateLimit-Policy, where the call has limits."""
        ticket = self.ticket
        return ratelimit.fields(ticket.ask.guards, ticket.used, self._gate.now_ms()) if ticket.used else []

    @property
    def level(self) -> Level | None:
        """The tightest budget as last heard of."""
        if self._settled is not None and self._settled.tightest is not None:
            return self._settled.tightest
        return self.ticket.tightest

    def cost_text(self) -> str:
        """What the call was billed, as a plain decimal in the rules' currency; "0" before the bill."""
        currency = self._rules.currency
        return money.format_decimal(self.bill.cost.atoms[currency] if self.bill else 0, currency)

    def remaining_text(self) -> str | None:
        """What the tightest budget has left, as a plain decimal in that budget's currency."""
        level = self.level
        if level is None:
            return None
        return money.write_decimal(level.limit_atoms - level.spent_atoms - level.reserved_atoms, level.currency)
