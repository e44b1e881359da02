"""One call of a function that was let through: watched while it runs, and settled whatever ends it.

The page of the in-process API, as data/handler.py is that of the proxy:

    arguments → question → ADMIT → the function runs, its results are metered → SETTLE

The first half is control.py's.

A call may be handed from thread to thread (a stream is read where the program likes), but is not used by two at once.
"""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

import structlog
from msgspec.structs import replace

from proxy.core import price, ratelimit
from proxy.core.meter import Meter
from proxy.core.model import (
    Admitted,
    Bill,
    Denied,
    OnExhausted,
    Reason,
    State,
    Usage,
)
from proxy.core.outcome import End, Outcome, Verdict, judge
from proxy.data.charge import Charge
from proxy.data.inbound import Call as PricedCall
from proxy.inprocess import answers
from proxy.inprocess.answers import Headers
from proxy.inprocess.errors import BudgetExceededException, refusal
from proxy.inprocess.errors import amount as amount_of
from proxy.inprocess.host import Host
from proxy.inprocess.question import (
    ENDED_WELL,
    Amount,
    Question,
    Terms,
    cost_of,
)
from proxy.inprocess.reading import Reading
from proxy.state.line import Line

S = TypeVar("S")
log = structlog.get_logger()

_SUCCESS: Final = Verdict.SUCCESS  # kept: an enum looks its members up slowly
LOOKAHEAD_TOKENS: Final = 4  # that an API may produce between a piece of a stream and its end
BILLED_WITHIN_S: Final = 2.0
LIMITS_ONLY: Final = "limits_only"
NOT_STATED: Final = "cost_not_stated"
COST_FAILED: Final = "cost_failed"


class Call:
    """An admitted call. It ends once, by `end`, `fail` or `cut`; what comes later changes nothing.

    id: of its ledger entry. reserved: what it holds, in `currency`. rule: which rule prices it.
    """

    _seen: Reading | None = None
    _charge: Charge | None = None
    _stated: Amount | None = None
    _tokens_checked = 0
    _largest_piece = 0
    _held: int | None = None  # atoms, once it has grown
    _growing: threading.Event | None = None
    _exhausted: Denied | None = None
    _how = End.ANSWERED
    _took_ms: int | None = None  # until a stream began
    _pause_until_ms: int | None = None
    _bill: Bill | None = None

    def __init__(self, host: Host, terms: Terms, asked: Question, ticket: Admitted, line: Line | None) -> None:
        self._host = host
        self._terms = terms
        self._question = asked
        self._ticket = ticket
        self._line = line  # that asked, and states the end
        self._began_s = time.monotonic()
        self._ended = threading.Lock()  # taken by whoever ends the call

    @property
    def id(self) -> str:
        return self._ticket.ask.id

    @property
    def currency(self) -> str:
        return self._ticket.ask.currency

    @property
    def reserved(self) -> Decimal:
        return amount_of(self._reserved_atoms, self.currency)

    @property
    def _reserved_atoms(self) -> int:
        return self._held if self._held is not None else self._ticket.reserved.get(self.currency, 0)

    @property
    def rule(self) -> str:
        return self._question.rule.id

    @property
    def charged(self) -> Decimal | None:
        """What the call cost, in `currency`, as its ledger entry says; 0 if it was released, None before its end."""
        if not self.settled:
            return None
        bill = self._bill
        return amount_of(bill.cost.atoms[self.currency], self.currency) if bill is not None else Decimal(0)

    @property
    def state(self) -> str | None:
        """How sure the cost is: "settled", "estimated" or "unpriced"; "released" without one, None before the end."""
        if not self.settled:
            return None
        bill = self._bill
        return bill.state.value if bill is not None else "released"

    @property
    def settled(self) -> bool:
        """Whether the call has ended, and its bill is on the way to the store."""
        return self._ended.locked()

    # --- what the program says itself ----------------------------------------------------------------------------

    def cost(self, amount: Amount) -> None:
        """State what the call cost: a number in the rules' currency, or text like "0.02 USD". The last word counts.

        It stands whatever ends the call. Raises ConfigurationError for what is no amount.
        """
        cost_of(self._question.subject.rules, amount, self._ticket.now_ms)
        self._stated = amount

    def response(self, result: Any) -> None:
        """Show the API's answer: the rule prices what it tells."""
        self._reading.show(result)

    def watch(self, stream: S) -> S:
        """A stream of the API whose items are shown to the rule as the program reads them; they end nothing."""
        from proxy.inprocess.streams import watched

        return cast(S, watched(stream, self, ends=False))

    # --- the ends ------------------------------------------------------------------------------------------------

    def end(self, result: Any = None) -> None:
        """The function returned. Raises nothing: whoever has a result gets it."""
        if not self._ended.acquire(blocking=False):
            return
        usual = bill = usage = None
        try:
            usual = self._usual_bill(result)
            if usual is None:
                bill = self._own_bill(result)
                usage = self._usage_of(result) if bill is None else None
        except Exception:  # the program's own function: its call was made, and is charged all the same
            log.exception("cost.failed", function=self._terms.name, api=self._terms.api)
            bill = self._estimate_stands(COST_FAILED)
        if usual is not None:
            self._settle_as_usual(usual)
        else:
            self._settle(usage or Usage(status=ENDED_WELL, sent=True, seconds=self._seconds), bill)

    def end_of_stream(self) -> None:
        """The stream that the function returned has come to its end."""
        self.end(self._reading.items if callable(self._terms.cost) else None)

    def fail(self, error: BaseException) -> None:
        """The function raised."""
        if isinstance(error, BudgetExceededException):
            self.release()  # a refusal further inside: nothing was called
            return
        if not self._ended.acquire(blocking=False):
            return
        if self._stated is not None:
            self._settle(Usage(status=answers.status_of(error), sent=True), self._own_bill(None))
            return
        status = answers.status_of(error)
        self._how = answers.end_of(error, status)
        self._heed(status, answers.headers_of(error))
        if status is None and self._reading.meter is not None:
            self._settle(self._reading.finish(self._seconds, complete=False), None)
            return
        sent = self._how is not End.UNREACHABLE
        bill = self._estimate_stands("no_response") if sent and status is None else None
        if bill is None and status is not None and status in self._question.rule.price.charge_on:
            bill = self._estimate_stands("no_response")
        self._settle(Usage(status=status, sent=sent, complete=False, seconds=self._seconds), bill)

    def cut(self) -> None:
        """Nobody reads the stream any further: what has come is charged."""
        if not self._ended.acquire(blocking=False):
            return
        self._how = End.ABORTED
        if self._terms.cost is not None or self._stated is not None or self._question.stated:
            try:
                bill: Bill | None = self._own_bill(self._reading.items)
            except Exception:  # as in `end`
                log.exception("cost.failed", function=self._terms.name, api=self._terms.api)
                bill = self._estimate_stands(COST_FAILED)
            self._settle(Usage(status=200, sent=True, complete=False, seconds=self._seconds), bill)
        elif self._reading.meter is not None:
            self._settle(self._reading.finish(self._seconds, complete=False), None)
        else:
            usage = Usage(status=200, sent=True, complete=False, seconds=self._seconds)
            self._settle(usage, self._estimate_stands("cut") if self._reading.needs_answer else None)

    def release(self) -> None:
        """The API was not called: nothing is charged, and no ledger entry is written."""
        if self._ended.acquire(blocking=False):
            self._host.void(self._ticket.ask, self._line)

    # --- streams -------------------------------------------------------------------------------------------------

    def saw(self, item: Any) -> None:
        """One item of a stream. Raises BudgetExceededException where the money ran out and the rule ends streams."""
        if self.settled:
            return
        if self._took_ms is None:
            self._took_ms = self._elapsed_ms
        meter = self._reading.saw(item)
        if meter is not None and self._ticket.windows and not self._ticket.ask.estimate.bounded:
            self._stay_ahead(meter)

    def _stay_ahead(self, meter: Meter) -> None:
        """Let the reservation grow with the stream. Only a rule that may end the stream waits for the answer."""
        seen = meter.tokens_seen
        if seen == self._tokens_checked:
            return
        self._largest_piece = max(self._largest_piece, seen - self._tokens_checked)
        self._tokens_checked = seen
        usage, known, rule = meter.so_far(), self._question.subject, self._question.rule
        ahead = self._largest_piece + LOOKAHEAD_TOKENS
        estimate, now_ms = self._ticket.ask.estimate, self._ticket.now_ms
        if (
            price.running(known.rules, rule, self._reading.outbound, estimate, usage, now_ms, ahead)
            <= self._reserved_atoms
        ):
            return
        last = self._growing
        if last is not None and not last.is_set() and rule.on_exhausted is OnExhausted.FINISH:
            return  # one question at a time
        done = self._growing = threading.Event()
        self._host.spawn(self._grow(usage, ahead, done))
        if rule.on_exhausted is OnExhausted.TRUNCATE:
            done.wait()
            if self._exhausted is not None and self._ended.acquire(blocking=False):
                self._settle(self._reading.finish(self._seconds, complete=False), None, ahead)
                raise self._ran_out(self._exhausted)

    async def _grow(self, usage: Usage, ahead: int, done: threading.Event) -> None:
        try:
            charge = self._charge = self._charge or self._new_charge()
            if not await charge.keep_ahead(usage, ahead):
                detail = {"text": "stream_ran_out", "function": self._terms.name}
                self._exhausted = Denied(Reason.BUDGET_INSUFFICIENT, 402, charge.ticket.tightest, detail=detail)
            self._held = charge.ticket.reserved.get(self.currency, 0)
        finally:
            done.set()

    def _ran_out(self, denied: Denied) -> BudgetExceededException:
        ask, rules = self._ticket.ask, self._question.subject.rules
        return refusal(
            denied,
            call_id=ask.id,
            api=ask.api,
            rule=ask.rule,
            caller=ask.caller,
            budgets=ask.budgets,
            language=rules.language,
            timezone=rules.timezone,
        )

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def _reading(self) -> Reading:
        """What results have told; of an ordinary call nobody asks."""
        reading = self._seen
        if reading is None:
            reading = self._seen = Reading(self._question, self._terms)
        return reading

    @property
    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began_s) * 1000)

    @property
    def _seconds(self) -> Decimal:
        return Decimal(self._elapsed_ms) / 1000

    def _usual_bill(self, result: Any) -> Bill | None:
        """The bill of every such call, where this one ended as they do; None: look at what became of it."""
        bill, ticket = self._question.usual, self._ticket
        if bill is None or self._stated is not None or self._charge is not None or self._took_ms is not None:
            return None
        if not self._question.holds_at(ticket.now_ms) or answers.status_of(result) is not None:
            return None
        return bill

    def _settle_as_usual(self, bill: Bill) -> None:
        outcome = Outcome(_SUCCESS, self._elapsed_ms)
        self._bill = bill
        try:
            self._host.settle(self._ticket, self._line, bill, ENDED_WELL, learn=False, outcome=outcome)
        except Exception:  # a mistake of ours must not leave the money held
            self._bill = bill = self._new_charge().failed()
            self._host.settle(self._ticket, self._line, bill, ENDED_WELL, learn=False, outcome=outcome)

    def _usage_of(self, result: Any) -> Usage:
        """What the rule needs of a result that came whole."""
        reading = self._reading
        if reading.meter is not None:
            return reading.finish(self._seconds, complete=True)
        told = reading.told(result)
        self._heed(told.status, told.headers)
        return reading.usage(told, self._seconds)

    def _own_bill(self, result: Any) -> Bill | None:
        """What the program itself says that the call cost; None: the rule knows. Raises what its functions raise."""
        amount: Any = self._stated if self._stated is not None else self._terms.cost
        if callable(amount):
            amount = amount(result)
        if amount is None:
            return self._estimate_stands(NOT_STATED) if self._question.stated else None
        cost = cost_of(self._question.subject.rules, amount, self._ticket.now_ms)
        return Bill(cost, State.SETTLED, {})

    def _estimate_stands(self, note: str) -> Bill | None:
        """Nobody knows what the call cost: what it holds is charged. None: it holds nothing, and the rule says why."""
        ticket = self._ticket
        if not ticket.windows and ticket.ask.free:
            return None
        cost = ticket.ask.estimate.cost
        return Bill(replace(cost, atoms={**cost.atoms, **ticket.reserved}), State.ESTIMATED, {}, note=note)

    def _new_charge(self) -> Charge:
        known = self._question.subject
        priced = PricedCall(
            api=known.api,
            rule=self._question.rule,
            caller=known.caller,
            outbound=self._reading.outbound,
            payload=None,
            forward=False,
            key_header=None,
            observed=self._question.observed,
        )
        return Charge(self._host.gate, known.rules, priced, self._ticket)

    def _settle(self, usage: Usage, bill: Bill | None, unseen: int | None = None) -> None:
        if not self._terms.priced:
            cost = cost_of(self._question.subject.rules, 0, self._ticket.now_ms)
            bill = Bill(cost, State.UNPRICED, {}, note=LIMITS_ONLY)
        took_ms = self._took_ms if self._took_ms is not None else self._elapsed_ms
        outcome = Outcome(judge(self._how, usage.status), took_ms, self._pause_until_ms)
        charge = self._charge = self._charge or self._new_charge()
        if bill is not None:
            charge.bill = bill
        try:
            self._bill = charge.billed(usage, unseen)
            self._state(charge, usage, outcome, learn=charge.teaches)
        except Exception:  # a mistake of ours must not leave the money held
            self._bill = charge.failed()
            self._state(charge, usage, outcome)

    def _state(self, charge: Charge, usage: Usage, outcome: Outcome, *, learn: bool = False) -> None:
        bill = charge.billed(usage)
        self._host.settle(charge.ticket, self._line, bill, usage.status, learn=learn, outcome=outcome)

    def _heed(self, status: int | None, headers: Headers) -> None:
        """Take note of a pause that the API asked for: it holds for everybody."""
        if status is not None and headers and self._question.subject.api.obey:
            self._pause_until_ms = ratelimit.pause_until(status, headers, self._host.gate.now_ms())
