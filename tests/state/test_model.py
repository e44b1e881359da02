"""The scripts against a small model in plain Python: any order of calls, clock moves, changed limits and switches.

After every step the counters are what the model says, and the invariant holds: spent is the sum of the ledger, reserved
the sum of live reservations.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from proxy.core.model import Admitted, Budget, Denied, Reason
from proxy.core.windows import window_at
from proxy.state import doctor
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.reading import Reader
from proxy.state.store import Store
from tests.state.calls import DAY, MONTH, SEOUL, Clock, ask, at, bill, cost, dollars, free_tier, won
from tests.state.conftest import Server

START = at("2026-11-28T20:00:00+09:00")  # a month's end is near
LEASE_S = 30
FREE_REQUESTS, TIER_PRICE = 3, 40


@dataclass
class Counter:
    spent: int = 0
    reserved: int = 0
    crossed: set[int] = field(default_factory=set)
    crossed_limit: int | None = None
    increase: int = 0


@dataclass
class Held:
    """What the model knows of one call."""

    call: Admitted
    places: list[tuple[str, str]]  # (budget, period)
    amounts: list[int]
    lease_ms: int
    quota_place: str | None
    units: int
    ended: str = ""  # "", "settled", "voided", "reclaimed"
    charged: list[int] = field(default_factory=list)


class Model:
    """The rules of admission and settlement, said once more and as plainly as possible."""

    def __init__(self) -> None:
        self.counters: dict[tuple[str, str], Counter] = {}
        self.quota: dict[str, int] = {}
        self.held: dict[str, Held] = {}
        self.told: list[tuple[str, str, int]] = []
        self.switches: dict[str, int] = {}  # until when

    def counter(self, place: tuple[str, str]) -> Counter:
        return self.counters.setdefault(place, Counter())

    def on(self, switch: str, now: int) -> bool:
        return now < self.switches.get(switch, 0)

    def stopped(self, now: int, costs: bool) -> bool:
        """The switches of the calls below: API openai, rule openai/chat, caller batch."""
        lifted = self.on("lift:all", now) or self.on("lift:api:openai", now)
        return (
            (costs and self.on("stop", now))
            or (self.on("api:openai", now) and not lifted)
            or self.on("rule:openai/chat", now)
            or self.on("caller:batch", now)
        )

    @staticmethod
    def judge(counter: Counter, budget: Budget, amount: int, essential: bool, lifted: bool) -> tuple[int, str] | None:
        whole = budget.limit_atoms + counter.increase
        limit, stop, restrict = (whole * bp for bp in (10_000, budget.stop_bp, budget.restrict_bp))
        spent, held = counter.spent * 10_000, (counter.spent + counter.reserved) * 10_000
        amount *= 10_000
        if spent >= stop or (essential and spent + amount > limit):
            return 5, "503 budget_stopped"
        if not essential and not lifted and spent >= restrict:
            return 4, "402 budget_restricted"
        if not essential and spent + amount > limit:
            return 3, "402 budget_insufficient"
        if held >= stop:
            return 2, "503 budget_busy"
        if not essential and not lifted and held >= restrict:
            return 1, "402 budget_busy"
        if held + amount > limit:
            return (2, "503 budget_busy") if essential else (1, "402 budget_busy")
        return None

    def answer(
        self, budgets: list[Budget], places: list[tuple[str, str]], amounts: list[int], essential: bool, now: int
    ) -> str:
        ranks = []
        for budget, place, amount in zip(budgets, places, amounts, strict=True):
            lifted = self.on("lift:all", now) or self.on(f"lift:budget:{budget.name}", now)
            verdict = self.judge(self.counter(place), budget, amount, essential, lifted)
            ranks += [verdict] if verdict else []
        return max(ranks)[1] if ranks else "admitted"

    def release(self, held: Held) -> None:
        for place, amount in zip(held.places, held.amounts, strict=True):
            self.counter(place).reserved -= amount
        held.amounts = [0] * len(held.amounts)

    def charge(self, held: Held, amounts: list[int], budgets: tuple[Budget, ...]) -> None:
        before = held.charged or [0] * len(amounts)
        for place, amount, old, budget in zip(held.places, amounts, before, budgets, strict=True):
            counter = self.counter(place)
            counter.spent += amount - old
            if amount > old:
                limit, spent_before = budget.limit_atoms + counter.increase, counter.spent - amount + old
                if counter.crossed_limit not in (None, limit):  # raised: what is not reached any more is open again
                    still = {bp for bp in counter.crossed if spent_before * 10_000 >= limit * bp}
                    counter.crossed_limit = limit if still != counter.crossed else counter.crossed_limit
                    counter.crossed = still
                for bp in budget.thresholds_bp():
                    if counter.spent * 10_000 >= limit * bp and bp not in counter.crossed:
                        counter.crossed.add(bp)
                        counter.crossed_limit = limit
                        self.told.append((*place, bp))
        held.charged = amounts


class Calls(RuleBasedStateMachine):
    """Drives a real server and the model side by side."""

    server: Server
    running = Bundle("running")
    ended = Bundle("ended")

    @initialize()
    def connect(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = Clock(START)
        self.keys = Keys()
        self.model = Model()
        self.limits = {"month": won(1000), "day": dollars("0.5")}
        self.runner.run(self._connect())

    async def _connect(self) -> None:
        self.store = Store(self.server.url)
        await self.store.start()
        await self.store.call("FLUSHALL")
        self.gate = Gate(self.store, self.keys, clock=self.clock, pinned=True, lease_s=LEASE_S)
        self.reader = Reader(self.server.url)

    def teardown(self) -> None:
        async def close() -> None:
            await self.store.close()
            await self.reader.close()

        if hasattr(self, "runner"):
            self.runner.run(close())
            self.runner.close()

    def budgets(self, which: str) -> list[Budget]:
        month = Budget("month", self.limits["month"], "KRW", MONTH, SEOUL)
        day = Budget("day", self.limits["day"], "USD", DAY, SEOUL)
        return {"month": [month], "day": [day], "both": [month, day], "none": []}[which]

    @rule(
        target=running,
        amount=st.integers(0, 700),
        which=st.sampled_from(["month", "day", "both", "both", "none"]),
        essential=st.booleans(),
        tiered=st.booleans(),
    )
    def admit(self, amount: int, which: str, essential: bool, tiered: bool) -> str:
        budgets = self.budgets(which)
        now = self.clock()
        places = [(b.name, window_at(b.period, b.timezone, now).label) for b in budgets]
        quota = free_tier(FREE_REQUESTS, TIER_PRICE) if tiered else None
        quota_place = window_at(MONTH, SEOUL, now).label if tiered else None
        position = self.model.quota.get(quota_place or "", 0)
        price = amount if not tiered else 0 if position < FREE_REQUESTS * 1000 else TIER_PRICE
        amounts = [cost(price).atoms[b.currency] for b in budgets]
        costs = not tiered or price > 0
        bypassed = self.model.on("bypass", now)
        if bypassed:
            expected = "admitted"
        elif self.model.stopped(now, costs):
            expected = "503 service_stopped"
        else:
            expected = self.model.answer(budgets, places, amounts, essential, now) if costs else "admitted"
        question = ask(amount, *budgets, at_ms=now, essential=essential, quota=quota)
        answer = self.runner.run(self.gate.admit(question))
        if isinstance(answer, Denied):
            assert f"{answer.status} {answer.reason}" == expected
            return ""
        assert expected == "admitted"
        assert answer.position == (position if tiered else None)
        assert answer.bypassed is bypassed
        level = answer.tightest
        if level is not None:
            (limit,) = {b.limit_atoms for b in budgets if b.name == level.budget}
            assert level.limit_atoms == limit + self.model.counter((level.budget, level.period)).increase
        for place, held in zip(places, amounts, strict=True):
            self.model.counter(place).reserved += held
        if quota_place is not None:
            self.model.quota[quota_place] = position + 1000
        units = 1000 if tiered else 0
        self.model.held[question.id] = Held(answer, places, amounts, now + LEASE_S * 1000, quota_place, units)
        return question.id

    @rule()
    def admit_a_free_call(self) -> None:
        now = self.clock()
        answer = self.runner.run(self.gate.admit(ask(0, at_ms=now, free=True)))
        passes = self.model.on("bypass", now) or not self.model.stopped(now, costs=False)
        assert isinstance(answer, Admitted) is passes
        assert isinstance(answer, Admitted) or answer.reason is Reason.SERVICE_STOPPED

    @rule(call_id=running, total=st.integers(0, 900))
    def extend(self, call_id: str, total: int) -> None:
        held = self.model.held.get(call_id)
        if held is None or not held.places:
            return
        budgets = held.call.ask.budgets
        totals = [cost(total).atoms[b.currency] for b in budgets]
        more = [max(new - old, 0) for new, old in zip(totals, held.amounts, strict=True)]
        answer = self.runner.run(self.gate.extend(held.call, cost(total).atoms))
        if held.ended:
            assert isinstance(answer, Denied)
            assert answer.reason is Reason.STORE_UNAVAILABLE
            return
        counters = [self.model.counter(place) for place in held.places]
        fits = (held.call.bypassed or self.model.on("bypass", self.clock())) or all(
            extra == 0 or counter.spent + counter.reserved + extra <= b.limit_atoms + counter.increase
            for extra, counter, b in zip(more, counters, budgets, strict=True)
        )
        assert isinstance(answer, Admitted) is fits
        if isinstance(answer, Admitted):
            held.call = answer
            held.lease_ms = self.clock() + LEASE_S * 1000
            for index, (place, extra) in enumerate(zip(held.places, more, strict=True)):
                self.model.counter(place).reserved += extra
                held.amounts[index] += extra

    @rule(target=ended, call_id=consumes(running), amount=st.integers(0, 900), unit=st.booleans())
    def settle(self, call_id: str, amount: int, unit: bool) -> str:
        self.end(call_id, amount, unit)
        return call_id

    @rule(call_id=ended, amount=st.integers(0, 900), unit=st.booleans())
    def settle_once_more(self, call_id: str, amount: int, unit: bool) -> None:
        self.end(call_id, amount, unit)

    def end(self, call_id: str, amount: int, unit: bool) -> None:
        held = self.model.held.get(call_id)
        if held is None:
            return
        budgets = held.call.ask.budgets
        units = (1000 if unit else 0) if held.quota_place else None
        answer = self.runner.run(self.gate.settle(held.call, bill(amount, units=units), 200))
        # A voided call is unknown to the store: settled after all, it is charged.
        assert answer.done is (held.ended != "settled")
        if held.ended == "settled":
            return
        told = len(self.model.told)
        self.model.release(held)
        self.model.charge(held, [cost(amount).atoms[b.currency] for b in budgets], budgets)
        assert answer.crossed == tuple((name, bp) for name, _, bp in self.model.told[told:])
        if held.quota_place is not None and units is not None:
            self.model.quota[held.quota_place] += units - held.units
            held.units = units
        held.ended = "settled"

    @rule(target=ended, call_id=consumes(running))
    def void(self, call_id: str) -> str:
        held = self.model.held.get(call_id)
        if held is None or held.ended:
            return call_id
        self.runner.run(self.gate.void(held.call.ask))
        self.model.release(held)
        if held.quota_place is not None:
            self.model.quota[held.quota_place] -= held.units
            held.units = 0
        held.ended = "voided"
        return call_id

    @rule(seconds=st.sampled_from([1, 10, 31, 3600, 14400, 86400]))
    def time_passes(self, seconds: int) -> None:
        self.clock.pass_s(seconds)

    @rule()
    def reclaim(self) -> None:
        expired = [h for h in self.model.held.values() if not h.ended and h.lease_ms <= self.clock()]
        assert self.runner.run(self.gate.reclaim()) == len(expired)
        for held in expired:
            amounts = list(held.amounts)
            self.model.release(held)
            self.model.charge(held, amounts, held.call.ask.budgets)
            held.ended = "reclaimed"

    @rule(month=st.integers(100, 3000), day=st.integers(1, 20))
    def limits_change(self, month: int, day: int) -> None:
        self.limits = {"month": won(month), "day": dollars(day) // 10}

    @rule(
        switch=st.sampled_from(
            [
                *("bypass", "stop", "api:openai", "rule:openai/chat", "caller:batch", "api:other", "caller:other"),
                *("lift:all", "lift:budget:month", "lift:api:openai"),
            ]
        ),
        seconds=st.sampled_from([0, 20, 7200, 10**9]),
    )
    def somebody_switches(self, switch: str, seconds: int) -> None:
        until = self.clock() + seconds * 1000
        self.model.switches[switch] = until
        self.runner.run(self._write(self.keys.switches, switch, f"{until} 1764158400000-0"))

    @rule(amount=st.integers(0, 600))
    def a_limit_is_raised(self, amount: int) -> None:
        month = Budget("month", self.limits["month"], "KRW", MONTH, SEOUL)
        place = ("month", window_at(month.period, month.timezone, self.clock()).label)
        self.model.counter(place).increase = won(amount)
        self.runner.run(self._write(self.keys.budget(*place), "increase", won(amount)))

    async def _write(self, key: str, field: str, value: str | int) -> None:
        await self.store.call("HSET", key, field, value)

    @invariant()
    def counters_are_the_models(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self._compare())

    async def _compare(self) -> None:
        for (name, period), counter in self.model.counters.items():
            spent, reserved, crossed = await self.store.call(
                "HMGET", self.keys.budget(name, period), "spent", "reserved", "crossed"
            )
            assert (int(spent or 0), int(reserved or 0)) == (counter.spent, counter.reserved), (name, period)
            assert {int(p) * 100 for p in (crossed or b"").decode().split(",") if p} == counter.crossed
        for period, used in self.model.quota.items():
            assert int(await self.store.call("HGET", self.keys.quota("kakao-map/search", period), "used") or 0) == used
        assert await self.store.call("XLEN", self.keys.thresholds) == len(self.model.told)
        alive = {call_id for call_id, held in self.model.held.items() if not held.ended}
        assert {raw.decode() for raw in await self.store.call("HKEYS", self.keys.reservations)} == alive
        for one in await doctor.count(self.reader, self.keys, self.clock()):
            assert (one.spent, one.reserved) == (one.ledger, one.held), one


@pytest.fixture
def machine(server: Server) -> type[Calls]:
    return type("Calls", (Calls,), {"server": server})


def test_scripts_do_what_the_model_does(machine: type[Calls]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
