"""Rate limits against a model that keeps every call: what passes, what is told, and the promise over any window.

The promise does not come from the model: from the times at which calls passed alone it is checked that no window of a
limit's length, wherever it begins, holds more than the limit.
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

from proxy.core.guards import WINDOWS, Counts, Guards, Limit, Limited
from proxy.core.model import Admitted, Denied, Reason
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import Clock, ask, at, bill, monthly, won
from tests.state.conftest import Server

LEASE_S = 30
GUARDS = Guards(
    (
        Limited(
            "api",
            "openai",
            (
                Limit(Counts.REQUESTS, 4, "second"),
                Limit(Counts.TOKENS, 600, "minute"),
                Limit(Counts.OUTPUT_TOKENS, 900, "hour"),
                Limit(Counts.CONCURRENT, 5),
            ),
        ),
        Limited(
            "caller", "batch", (Limit(Counts.REQUESTS, 12, "minute"), Limit(Counts.COST, won(700), "minute", "KRW"))
        ),
    )
)
LIMITS = [limit for _, limit in GUARDS.limits()]


@dataclass
class Passed:
    """A call that was let through: when, and what each limit counts of it."""

    call: Admitted
    at_ms: int
    amounts: dict[str, int]
    lease_ms: int
    running: bool = True
    reserved: dict[str, int] = field(default_factory=dict)


def amounts(tokens: tuple[int, int], cost: int) -> dict[str, int]:
    return {
        "requests": 1,
        "tokens": sum(tokens),
        "output_tokens": tokens[1],
        "concurrent": 1,
        "cost": won(cost),
    }


class Model:
    def __init__(self) -> None:
        self.passed: dict[str, Passed] = {}

    def used(self, limit: Limit, now: int) -> int:
        if not limit.per:
            return sum(one.running for one in self.passed.values())
        bucket, oldest = limit.bucket_ms, now // limit.bucket_ms - WINDOWS[limit.per][1]
        return sum(one.amounts[limit.counts.value] for one in self.passed.values() if one.at_ms // bucket >= oldest)

    def fits(self, limit: Limit, asked: int, now: int) -> bool:
        return asked == 0 or self.used(limit, now) + asked <= limit.amount


class Calls(RuleBasedStateMachine):
    server: Server
    running = Bundle("running")

    @initialize()
    def connect(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = Clock(at("2026-11-28T20:00:00+09:00") + 7)
        self.model = Model()
        self.runner.run(self._connect())

    async def _connect(self) -> None:
        self.store = Store(self.server.url)
        await self.store.start()
        await self.store.call("FLUSHALL")
        self.gate = Gate(self.store, Keys(), clock=self.clock, pinned=True, lease_s=LEASE_S)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.store.close())
            self.runner.close()

    @rule(
        target=running,
        tokens=st.tuples(st.integers(0, 200), st.sampled_from([0, 10, 100, 400])),
        cost=st.sampled_from([0, 1, 90, 300, 800]),
        free=st.booleans(),
    )
    def admit(self, tokens: tuple[int, int], cost: int, free: bool) -> str:
        now, wanted = self.clock(), amounts(tokens, 0 if free else cost)
        budgets = [] if free else [monthly(1_000_000)]
        question = ask(
            0 if free else cost, *budgets, at_ms=now, essential=True, free=free, guards=GUARDS, tokens=tokens
        )
        answer = self.runner.run(self.gate.admit(question))
        refusing = [one for one in LIMITS if not self.model.fits(one, wanted[one.counts.value], now)]
        if refusing:
            assert isinstance(answer, Denied)
            assert answer.reason is Reason.RATE_LIMITED
            self.check_refusal(answer, refusing, wanted, now)
            assert list(answer.used) == [self.model.used(one, now) for one in LIMITS]
            return ""
        assert isinstance(answer, Admitted), answer
        self.model.passed[question.id] = Passed(answer, now, dict(wanted), now + LEASE_S * 1000, reserved=wanted)
        assert list(answer.used) == [self.model.used(one, now) for one in LIMITS]
        return question.id

    def check_refusal(self, answer: Denied, refusing: list[Limit], wanted: dict[str, int], now: int) -> None:
        pressed = answer.pressed
        assert pressed is not None
        assert pressed.limit in refusing
        assert pressed.asked == wanted[pressed.limit.counts.value]
        hopeless = any(wanted[one.counts.value] > one.amount for one in refusing)
        assert (pressed.retry_ms is None) is hopeless
        if pressed.retry_ms is not None and all(one.per for one in refusing):
            # Nobody else calling, there is room for it exactly then and no moment earlier.
            later = now + pressed.retry_ms
            assert all(self.model.fits(one, wanted[one.counts.value], later) for one in LIMITS if one.per)
            assert not all(self.model.fits(one, wanted[one.counts.value], later - 1) for one in LIMITS)

    @rule(
        call_id=consumes(running),
        tokens=st.tuples(st.integers(0, 250), st.sampled_from([0, 5, 100, 500])),
        cost=st.sampled_from([0, 50, 900]),
        known=st.booleans(),
    )
    def settle(self, call_id: str, tokens: tuple[int, int], cost: int, known: bool) -> None:
        held = self.model.passed.get(call_id)
        if held is None or not held.running:
            return
        from proxy.core.model import State

        state = State.SETTLED if known else State.ESTIMATED
        self.runner.run(self.gate.settle(held.call, bill(cost, state, tokens=tokens), 200))
        held.running = False
        if known:
            held.amounts = amounts(tokens, cost)

    @rule(call_id=consumes(running))
    def void(self, call_id: str) -> None:
        held = self.model.passed.get(call_id)
        if held is not None and held.running:
            self.runner.run(self.gate.void(held.call.ask))
            del self.model.passed[call_id]

    @rule(ms=st.sampled_from([1, 19, 20, 333, 999, 1000, 1021, 7_000, 59_999, 61_000, 3_600_000, 90_000_000]))
    def time_passes(self, ms: int) -> None:
        self.clock.now_ms += ms

    @rule()
    def reclaim(self) -> None:
        self.runner.run(self.gate.reclaim())
        for held in self.model.passed.values():
            if held.running and held.lease_ms <= self.clock():
                held.running = False

    @invariant()
    def no_window_ever_holds_more_than_its_limit(self) -> None:
        """With what was reserved: what a call took beyond its estimate only its settlement can know."""
        if not hasattr(self, "model"):
            return
        passed = sorted(self.model.passed.values(), key=lambda one: one.at_ms)
        for limit in (one for one in LIMITS if one.per and one.counts is Counts.REQUESTS):
            for last in passed:
                inside = [one for one in passed if last.at_ms - limit.window_ms <= one.at_ms <= last.at_ms]
                assert len(inside) <= limit.amount


@pytest.fixture
def machine(server: Server) -> type[Calls]:
    return type("Calls", (Calls,), {"server": server})


def test_limits_do_what_the_model_does(machine: type[Calls]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )


async def test_under_constant_pressure_60_of_61_parts_of_a_minutes_limit_are_used(gate: Gate, clock: Clock) -> None:
    limit = Limit(Counts.REQUESTS, 6, "minute")
    guards, passed, minutes = Guards((Limited("api", "openai", (limit,)),)), 0, 10
    for _ in range(minutes * 61):
        while isinstance(await gate.admit(ask(0, at_ms=clock(), free=True, guards=guards)), Admitted):
            passed += 1
        clock.pass_s(1)
    assert passed == minutes * limit.amount
