"""The one question asked of Redis before a call, and the one statement made after it.

Decides what happens around the scripts: which windows to ask about, what to do when the store is away or an answer got
lost, when leases are renewed and abandoned reservations charged. What is admitted and what is charged is decided by the
scripts alone (lua/admit.lua, extend.lua, settle.lua), atomically, by Redis's own clock.

Three promises hold whatever dies when: a call that may have been billed is charged; it is charged once; a reservation
that nobody ended is charged at what it holds when its lease has run out. Must not know HTTP, prices or rules files.

Mutable state, all of it this worker's: live reservations (to renew), statements (state/statements.py), denials not yet
counted, the distance between this machine's clock and Redis's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from proxy.core.guards import Pressed
from proxy.core.model import Admitted, Ask, Bill, Denied, Level, Reason, Settled
from proxy.core.outcome import UNKNOWN, Outcome, Verdict
from proxy.core.windows import local_day, window_at
from proxy.state import plan as plans
from proxy.state import resp
from proxy.state.abandoned import reclaim_parts
from proxy.state.keys import DAY_S, ROLLUP_KEPT_S, Keys
from proxy.state.learned import LearnedCosts
from proxy.state.plan import Plan
from proxy.state.resp import Packed
from proxy.state.statements import Statement, Statements
from proxy.state.store import Reply, ScriptError, Store, StoreUnavailable
from proxy.state.waiting import Waiting

log = structlog.get_logger()

LEASE_S: Final = 30.0
RECLAIM_EVERY_S: Final = 5.0
_PLANS_KEPT: Final = 4096
ROUNDS: Final = 5  # how often windows are computed again before giving up
_RECLAIM_BATCH: Final = 100
RESTLESS: Final = "the clock of the store does not stand still"

_CODES: Final[Mapping[int, tuple[Reason, int]]] = {
    5: (Reason.BUDGET_STOPPED, 503),
    4: (Reason.BUDGET_RESTRICTED, 402),
    3: (Reason.BUDGET_INSUFFICIENT, 402),
    2: (Reason.BUDGET_BUSY, 503),
    1: (Reason.BUDGET_BUSY, 402),
}


_SWITCHED_OFF: Final = 6
_PRESSED: Final = 7
_CIRCUIT_OPEN: Final = 8
_UNTIL_UNDONE_MS: Final = 2**53 - 1


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def store_denial(reason: str) -> Denied:
    return Denied(Reason.STORE_UNAVAILABLE, 503, retry_after_s=1, should_retry=True, detail={"cause": reason})


def _stopped(ask: Ask, *, which: int, until_ms: int, now_ms: int) -> Denied:
    """Refused by a switch: of everything that costs money (1), or of the call's API (2), rule (3) or caller (4)."""
    kind, name = (("", ""), (".api", ask.api), (".rule", ask.rule), (".caller", ask.caller))[which - 1]
    ends = until_ms < _UNTIL_UNDONE_MS
    wait_s = max(1, -(-(until_ms - now_ms) // 1000)) if ends else None
    detail = {"text": f"service_stopped{kind}{'.until' if ends else ''}", "name": name}
    return Denied(Reason.SERVICE_STOPPED, 503, None, None, wait_s, detail=detail, until_ms=until_ms if ends else None)


def _pressed(ask: Ask, reply: list[int]) -> Denied:
    """Refused by a rate limit, or by the pause that the API asked for."""
    number, used, asked, wait_ms = reply[3:7]
    limited = limit = None
    if number > 0:
        limited, limit = list(ask.guards.limits())[number - 1]
    else:
        limited = next((one for one in ask.guards.limited if one.scope == "api"), None)
    retry_ms = wait_ms if wait_ms >= 0 else None
    kind = "rate_limited.paused" if limit is None else "rate_limited.alone" if retry_ms is None else "rate_limited"
    if limit is not None and not limit.per:
        kind = "rate_limited.concurrent"
    return Denied(
        Reason.RATE_LIMITED,
        429,
        retry_after_s=max(1, -(-retry_ms // 1000)) if retry_ms is not None else None,
        should_retry=retry_ms is not None,
        detail={"text": kind, "api": ask.api},
        pressed=Pressed(limited, limit, used, asked, retry_ms),
        guards=ask.guards,
        used=tuple(reply[7:]),
    )


def _circuit_open(ask: Ask, reply: list[int]) -> Denied:
    breaker, half_open, wait_ms = ask.guards.breakers[reply[3] - 1], reply[4] == 1, reply[5]
    kind = "circuit_open.by_hand" if wait_ms < 0 else "circuit_open.half" if half_open else "circuit_open"
    wait_s = max(1, -(-wait_ms // 1000)) if wait_ms >= 0 else None
    detail = {"text": kind, "name": breaker.name}
    return Denied(Reason.CIRCUIT_OPEN, 503, None, None, wait_s, wait_s is not None, detail)


class _Live(msgspec.Struct):
    """A reservation that this worker runs."""

    plan: Plan
    renewed_ms: int


class Gate:
    """Admission and settlement for one worker.

    clock: Unix ms of this machine. pinned: tests give their own clock to the scripts too, instead of Redis's TIME.
    timezone: of the day in which denials are counted, until the first call tells the rules' own. lease_s: how long a
    reservation lives without renewal. chance: from 0 to 1, spreads the moments at which open circuits try again.
    asked_at_once: questions that the store has before it, where thousands may come at once; None = as many as come.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        *,
        clock: Callable[[], int] = wall_ms,
        pinned: bool = False,
        lease_s: float = LEASE_S,
        timezone: str = "UTC",
        chance: Callable[[], float] = random.random,
        asked_at_once: int | None = None,
    ) -> None:
        self.store = store
        self.keys = keys
        self.timezone = timezone
        self.lease_ms = round(lease_s * 1000)
        self._clock = clock
        self._pinned = pinned
        self._chance = chance
        self._offset_ms = 0
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._live: dict[str, _Live] = {}
        self._statements = Statements(store, self.now_ms)
        self._counts: Counter[tuple[str, str]] = Counter()  # by day and field of its roll-up
        self._tasks: set[asyncio.Task[Any]] = set()
        self.learned_costs = LearnedCosts(store, keys, self._spawn)
        self._room = asyncio.Semaphore(asked_at_once or 1)
        self._asking = self._ask if asked_at_once is None else self._ask_in_turn
        self.waiting = Waiting(self._asking, self.void)
        self._connected_s: float | None = None
        store.on_connected.append(self._on_connected)
        if store.connected:
            self._on_connected()

    # --- the question --------------------------------------------------------------------------------------------

    def admit(self, ask: Ask) -> Coroutine[Any, Any, Admitted | Denied]:
        """Ask for permission to call once; reserves the estimate in every budget of the chain.

        A denial is a value. Without the store the answer is Denied(STORE_UNAVAILABLE), at once or within a second;
        whatever an unanswered question may have reserved is released as soon as the store is back. A free call holds
        nothing and passes at every level; only what stops its API, rule or caller stops it. A call above a rate limit
        waits for room where rules.yaml lets it.
        Raises KeyError when the estimate does not name an amount in a budget's currency.
        """
        return self.waiting.admit(ask) if ask.guards.limited else self._asking(ask)

    async def _ask_in_turn(self, ask: Ask) -> Admitted | Denied:
        """Whoever waits for room at a rate limit is no question before the store, and keeps nobody from asking."""
        async with self._room:
            return await self._ask(ask)

    async def _ask(self, ask: Ask) -> Admitted | Denied:
        """Ask the script once."""
        if not self.store.connected:
            return store_denial(self.store.reason)
        now_ms = self.now_ms()
        for _ in range(ROUNDS):
            plan, parts = self.question(ask, now_ms)
            try:
                reply = await self.store.script("admit", parts)
            except StoreUnavailable as error:
                self.forget(plan, ask)
                return store_denial(str(error))
            except asyncio.CancelledError:
                self.forget(plan, ask)
                raise
            answer = self.answer(ask, plan, reply)
            if answer is not None:
                return answer
            now_ms = reply[1]
        return store_denial(RESTLESS)

    def question(self, ask: Ask, now_ms: int) -> tuple[Plan, Packed]:
        """What admit.lua is given, at this time, whoever sends it. From any thread. Raises as `admit`."""
        self.timezone = ask.timezone
        plan = self._plan(ask, now_ms)
        return plan, plan.admit_parts(ask, self._given(), now_ms, self.lease_ms)

    def answer(self, ask: Ask, plan: Plan, reply: list[int]) -> Admitted | Denied | None:
        """What admit.lua's reply says; None: a window was over, ask again at the time that it tells (reply[1]).

        From any thread. What is admitted is this gate's to renew until its statement is made.
        """
        self._heard(reply[1])
        if reply[0] == 1:
            return self._admitted(ask, plan, reply)
        return self._denied(ask, plan, reply) if reply[0] == 0 else None

    async def extend(self, admitted: Admitted, totals: Mapping[str, int]) -> Admitted | Denied:
        """Let the reservation of a running call grow to `totals` (atoms by currency) in all its budgets, or in none.

        Smaller totals change nothing. A currency left out keeps what it holds.
        """
        ask = admitted.ask
        wanted = {c: max(atoms, totals.get(c, 0)) for c, atoms in admitted.reserved.items()}
        plan = self._plan_of(admitted)
        if ask.free or not plan.budgets:
            return replace(admitted, reserved=wanted)
        try:
            parts = plan.extend_parts(ask, self._given(), self.lease_ms, [wanted[c] for c in plan.currencies])
            reply = await self.store.script("extend", parts)
        except StoreUnavailable as error:
            return store_denial(str(error))
        self._heard(reply[1])
        if reply[0] == 0:
            return self._denied(ask, plan, reply)
        if reply[0] == -1:
            return store_denial("the reservation is gone")
        live = self._live.get(ask.id)
        if live is not None:
            live.renewed_ms = self.now_ms()
        return replace(admitted, reserved=wanted, tightest=plan.level(*reply[2:]))

    def tell(self, admitted: Admitted, outcome: Outcome) -> None:
        """Let circuit breakers hear how a long call began, while it runs, if it is a probe.

        Nobody waits for it. It is written before what is stated later; without the store it is not told at all.
        """
        ask = admitted.ask
        if not ask.guards.breakers:
            return
        parts = self._plan_of(admitted).tell_parts(ask, self._given(), outcome, round(self._chance() * 1000))
        told: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        told.add_done_callback(_log_told)
        with contextlib.suppress(StoreUnavailable):
            self.store.script_for(told, "tell", parts)

    # --- the statement -------------------------------------------------------------------------------------------

    async def settle(
        self,
        admitted: Admitted,
        bill: Bill,
        status: int | None,
        *,
        learn: bool = False,
        outcome: Outcome = UNKNOWN,
    ) -> Settled:
        """End a call with its bill: release, charge, write the ledger. Idempotent by id.

        status: of the upstream's answer, None if none came. learn: keep the cost as a sample for `learned`.
        outcome: what circuit breakers learn from the call, and a pause that the API asked for.
        The statement outlives its caller: cancelled or with the store away, it is repeated until it is written
        (Settled.pending).
        """
        ask, plan = admitted.ask, self._plan_of(admitted)
        if outcome.verdict is Verdict.FAILURE:
            self.count_failed(ask, outcome)
        reply = await self._statements.make(self._statement(plan, admitted, bill, status, learn, outcome))
        if ask.guards.limited:
            self.waiting.ended(ask)
        if reply is None:
            return Settled(True, None, pending=True)
        if reply[0] == 0:
            return Settled(False, None)
        level, pairs = plan.level(*reply[1:5]), reply[6:]
        if reply[5]:
            _log_circuits(reply[5].decode())
        if not pairs:
            return Settled(True, level)
        crossed = zip(pairs[::2], pairs[1::2], strict=True)
        return Settled(True, level, tuple((plan.budgets[i - 1].name, plan.percents[p.decode()]) for i, p in crossed))

    async def void(self, ask: Ask) -> None:
        """Release a reservation whose call was never made: no charge, no ledger entry. Of none held: nothing."""
        statement = self.release(ask)
        if statement is not None:
            await self.make(statement, ask)

    def statement(
        self, admitted: Admitted, bill: Bill, status: int | None, *, learn: bool = False, outcome: Outcome = UNKNOWN
    ) -> Statement:
        """The statement of this end of a call, whoever sends it; its lease is not renewed any more. From any thread."""
        return self._statement(self._plan_of(admitted), admitted, bill, status, learn, outcome)

    def _statement(
        self, plan: Plan, admitted: Admitted, bill: Bill, status: int | None, learn: bool, outcome: Outcome
    ) -> Statement:
        ask = admitted.ask
        chance = round(self._chance() * 1000) if ask.guards.breakers else 0
        now_ms = self.now_ms()
        parts = plan.settle_parts(ask, admitted, bill, status, self._given(), now_ms, learn, outcome, chance)
        self._live.pop(ask.id, None)
        return self._statements.new(ask.id, "settle", parts)

    def release(self, ask: Ask) -> Statement | None:
        """The statement of a call that was never made, whoever sends it; None: it holds nothing. From any thread."""
        live = self._live.pop(ask.id, None)
        if live is None and not ask.holds:
            return None
        plan = live.plan if live is not None else self._plan(ask, ask.at_ms)
        return self._statements.new(ask.id, "void", plan.void_parts(ask.id, self._given(), self.now_ms()))

    async def make(self, statement: Statement, ask: Ask) -> list[Any] | None:
        """State the end of a call and wait for settle.lua's reply; None: it is kept, and written later."""
        reply = await self._statements.make(statement)
        if ask.guards.limited:
            self.waiting.ended(ask)
        return reply

    def take_over(self, statement: Statement) -> None:
        """Make a statement that another connection did not get confirmed, until it is written."""
        self._statements.take_over(statement)

    def confirmed(self, statement: Statement, reply: list[Any]) -> None:
        """A statement was answered on another connection. From any thread."""
        self._statements.remember(statement)
        if statement.mode == "settle" and reply[0] and reply[5]:
            _log_circuits(reply[5].decode())

    def count_failed(self, ask: Ask, outcome: Outcome) -> None:
        """Count a call that its API failed in today's roll-up, if it did."""
        if outcome.verdict is Verdict.FAILURE:
            self._counts[(local_day(self.now_ms(), ask.timezone), f"failed|{ask.api}")] += 1

    def count_denied(self, reason: Reason, api: str, timezone: str | None = None) -> None:
        """Count a refusal in today's roll-up; written with the next round of `maintain`. api: "-" where none is known.

        timezone: of the day, as the rules say; None = that of the last call.
        """
        day = local_day(self.now_ms(), timezone or self.timezone)
        self._counts[(day, f"denied|{api}|{reason.value}")] += 1

    # --- upkeep --------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Settlements and releases that the store has not confirmed and nobody is waiting for on the wire."""
        return self._statements.pending

    @property
    def owes(self) -> bool:
        """Whether any statement of this gate is not confirmed yet. From any thread."""
        return self._statements.any

    @property
    def live(self) -> int:
        """Reservations that this worker runs."""
        return len(self._live)

    def now_ms(self) -> int:
        """Redis's clock as far as this worker knows it."""
        return self._clock() + self._offset_ms

    async def renew(self, ids: Iterable[str]) -> None:
        """Give reservations a new lease; those that are gone stay gone. Raises StoreUnavailable."""
        until_ms = self.now_ms() + self.lease_ms
        args: list[str | bytes | int] = []
        for call_id in ids:
            args += [until_ms, call_id]
        if args:
            await self.store.call("ZADD", self.keys.leases, "XX", "GT", *args)

    async def reclaim(self) -> int:
        """Charge reservations whose lease has run out at what they hold, marked unconfirmed. Returns how many.

        Every worker may do it at any time: the script charges each once. Raises StoreUnavailable.
        """
        count = 0
        while True:
            asked = resp.words(2, self.keys.reservations, self.keys.leases, self._given(), _RECLAIM_BATCH)
            reply = await self.store.script("reclaim", asked)
            self._heard(reply[0])
            calls: list[asyncio.Future[Reply]] = []
            for call_id, record in zip(reply[1::2], reply[2::2], strict=True):
                name = call_id.decode()
                try:
                    parts = reclaim_parts(self.keys, name, record, self._given(), self.now_ms())
                except (ValueError, LookupError) as error:
                    # Not ours to guess: look again in an hour, and let doctor tell it.
                    log.error("reservation.unreadable", id=name, error=str(error))
                    await self.store.call("ZADD", self.keys.leases, "XX", self.now_ms() + 3_600_000, name)
                    continue
                calls.append(self.store.script("settle", parts))
                log.warning("reservation.reclaimed", id=name)
            done: int = sum(answer[0] for answer in await asyncio.gather(*calls))
            count += done
            if len(reply) < 1 + 2 * _RECLAIM_BATCH or not done:
                return count

    async def maintain(self, every_s: float = 1.0) -> None:
        """Run until cancelled: renew leases, repeat statements, write counts, and now and then reclaim."""
        loop = asyncio.get_running_loop()
        next_reclaim_s = 0.0
        while True:
            await asyncio.sleep(every_s)
            if not self.store.connected:
                continue
            try:
                await self.tidy()
                # A store that was just away may hold reservations of workers that could not renew them: let them.
                settled_s = (self._connected_s or 0.0) + self.lease_ms / 3000
                if loop.time() >= max(next_reclaim_s, settled_s):
                    next_reclaim_s = loop.time() + min(RECLAIM_EVERY_S, self.lease_ms / 3000)
                    await self.reclaim()
            except StoreUnavailable:
                continue
            except ScriptError as error:
                log.error("gate.upkeep_failed", error=str(error))

    async def tidy(self) -> None:
        """One round of upkeep without reclaiming. Raises StoreUnavailable."""
        now_ms = self.now_ms()
        running = [(call_id, self._live.get(call_id)) for call_id in tuple(self._live)]  # other threads add and remove
        late_ms = now_ms - self.lease_ms // 3
        old = [call_id for call_id, live in running if live is not None and live.renewed_ms < late_ms]
        if old:
            await self.renew(old)
            for call_id in old:
                if (live := self._live.get(call_id)) is not None:
                    live.renewed_ms = now_ms
        self._statements.repeat()
        await self._write_counts()

    async def drain(self, timeout_s: float) -> int:
        """Wait until every statement is written, at most `timeout_s`; returns how many are left."""
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(timeout_s):
                if self.store.connected:
                    await self._write_counts()
                await self._statements.all_written()
        for task in tuple(self._tasks):
            task.cancel()
        return self._statements.unwritten

    # --- inside --------------------------------------------------------------------------------------------------

    def _given(self) -> int:
        return self._clock() if self._pinned else 0

    def _heard(self, redis_ms: int) -> None:
        if not self._pinned:
            self._offset_ms = redis_ms - self._clock()

    def _plan(self, ask: Ask, now_ms: int) -> Plan:
        """The plan for these budgets now. Rules are compiled once, so a chain of budgets is known by its identity."""
        budgets, guards, quota = ask.budgets, ask.guards, ask.estimate.quota
        drawn = (quota.name, quota.period) if quota is not None else None
        key = (ask.api, ask.rule, ask.caller, ask.timezone, drawn, id(guards), id(budgets))
        plan = self._plans.get(key)
        known = plan is not None and plan.budgets is budgets and plan.guards is guards
        if plan is not None and known and plan.from_ms <= now_ms < plan.until_ms:
            return plan
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.clear()
        plan = self._plans[key] = Plan(self.keys, budgets, ask.timezone, drawn, now_ms, key[:3], guards)
        return plan

    def _plan_of(self, admitted: Admitted) -> Plan:
        """The plan that the call was admitted with: its money belongs into those windows for ever."""
        ask = admitted.ask
        live = self._live.get(ask.id)
        if live is not None:
            return live.plan
        if not ask.holds:
            return self._plan(replace(ask, budgets=()), admitted.now_ms)
        quota = ask.estimate.quota
        window = window_at(quota.period, ask.timezone, admitted.now_ms) if quota else None
        named = (quota.name, window) if quota and window else None
        windows, now_ms = admitted.windows, admitted.now_ms
        return Plan.of_windows(self.keys, ask.budgets, windows, ask.timezone, named, now_ms, ask.guards)

    def _admitted(self, ask: Ask, plan: Plan, reply: list[int]) -> Admitted:
        now_ms, position, bypassed = reply[1], reply[2], reply[4] == 1
        used = tuple(reply[9:]) if len(reply) > 9 else ()
        if not ask.free or ask.guards.holds:
            self._live[ask.id] = _Live(plan, now_ms)
        if ask.free:
            return Admitted(ask, now_ms, (), {ask.currency: 0}, None, None, (), bypassed, used)
        drawn = position if position >= 0 else None
        held = plans.held_by_currency(plan, ask, drawn)
        tightest = plan.level(reply[5], reply[6], reply[7], reply[8])
        return Admitted(ask, now_ms, plan.windows, held, drawn, tightest, (), bypassed, used)

    def _denied(self, ask: Ask, plan: Plan, reply: list[int]) -> Denied:
        code = reply[2]
        if code == _SWITCHED_OFF:
            return _stopped(ask, which=reply[3], until_ms=reply[4], now_ms=reply[1])
        if code == _PRESSED:
            return _pressed(ask, reply)
        if code == _CIRCUIT_OPEN:
            return _circuit_open(ask, reply)
        _, now_ms, _, index, spent, reserved, estimate, limit = reply
        reason, status = _CODES[code]
        level: Level | None = plan.level(index, spent, reserved, limit)
        busy = reason is Reason.BUDGET_BUSY
        reset_s = 1 if busy or level is None else max(1, -(-(level.resets_at_ms - now_ms) // 1000))
        return Denied(reason, status, level, estimate, reset_s, busy)

    def forget(self, plan: Plan, ask: Ask) -> None:
        """Release what an unanswered question may have reserved, now or when the store is back.

        The question may even arrive after its release, from a connection that a stopped server reads late; therefore
        the release is repeated until it found something or a lease has passed.
        """
        if ask.holds:
            self._live.pop(ask.id, None)
            statement = self._statements.new(ask.id, "void", plan.void_parts(ask.id, self._given(), self.now_ms()))
            self._statements.make_until(statement, self.now_ms() + self.lease_ms)

    def _on_connected(self) -> None:
        self._connected_s = asyncio.get_running_loop().time()
        self._spawn(self._renew_live())
        self._statements.connected(self.store.server)

    async def _renew_live(self) -> None:
        with contextlib.suppress(StoreUnavailable, ScriptError):
            await self.renew(tuple(self._live))

    async def _write_counts(self) -> None:
        """Raises StoreUnavailable; the counts are then kept."""
        if not self._counts:
            return
        counted, self._counts = self._counts, Counter()
        days = {self.keys.day(day) for day, _ in counted}
        try:
            calls = [
                self.store.call("HINCRBY", self.keys.day(day), field, number)
                for (day, field), number in counted.items()
            ]
            calls += [self.store.call("EXPIRE", key, ROLLUP_KEPT_S + DAY_S) for key in days]
            await asyncio.gather(*calls)
        except StoreUnavailable:
            self._counts.update(counted)
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _log_circuits(changes: str) -> None:
    for change in changes.rstrip(";").split(";"):
        name, state, *why = change.split(" ", 2)
        event = "breaker.opened" if state == "open" else "breaker.closed"
        log.warning(event, name=name, why=why[0] if why else "probes succeeded")


def _log_told(told: asyncio.Future[list[Reply]]) -> None:
    if told.cancelled():
        return
    error = told.exception()
    if error is not None:
        log.warning("breaker.not_told", error=str(error))
    elif (reply := told.result())[0] == 1 and reply[1]:
        _log_circuits(reply[1].decode())
