"""Circuit breakers against a model: any order of calls, attempts, results, late ones, deaths, clock moves and hands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from proxy import rules_file
from proxy.core.guards import BREAKER_BUCKETS, Breaker, Guards
from proxy.core.model import Admitted, Denied, Reason
from proxy.core.outcome import Outcome, Verdict
from proxy.state import breakers
from proxy.state.audit import Who
from proxy.state.client import Client
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from proxy.state.switches import Desk
from tests.state.calls import Clock, ask, at, bill
from tests.state.conftest import Server

LEASE_S = 30
API = Breaker("openai", 60_000, 4, 5000, None, 3000, 7500, 30_000, 100_000, 2)
RULE = Breaker("openai/chat", 20_000, 100, None, 3, None, None, 5_000, 600_000, 1)
GUARDS = Guards((), (API, RULE))
LOADED = rules_file.load_text("""
version: 1
apis:
  - name: openai
    upstream: http://127.0.0.1:9
    breaker: {consecutive: 1, window: 1s, open_for: 1s}
    prices: [{name: chat, free: true, breaker: {consecutive: 1, window: 1s, open_for: 1s}}]
""")
assert LOADED.rules is not None
RULES = LOADED.rules


@dataclass
class Circuit:
    """One breaker, kept as plainly as possible: every result with its time."""

    breaker: Breaker
    state: str = "closed"
    generation: int = 0
    until_ms: int = 0
    openings: int = 0
    results: list[tuple[int, bool, bool]] = field(default_factory=list)  # (when, failed, slow)
    in_a_row: int = 0
    probing: set[str] = field(default_factory=set)
    passed: int = 0

    def refuses(self, now: int, alive: set[str]) -> bool:
        if self.state == "open":
            return now < self.until_ms
        if self.state == "half_open":
            return len(self.probing & alive) + self.passed >= self.breaker.probes
        return False

    def enter(self, call_id: str, alive: set[str]) -> tuple[int, bool]:
        """A call passes: its generation, and whether it is a probe."""
        if self.state == "closed":
            return self.generation, False
        if self.state == "open":
            self.state, self.passed, self.probing = "half_open", 0, set()
        self.probing = (self.probing & alive) | {call_id}
        return self.generation, True

    def open(self, now: int, chance: float) -> None:
        lasts = min(self.breaker.open_ms * 2**self.openings, self.breaker.open_at_most_ms)
        self.until_ms = now + int(lasts * (1 + round(chance * 1000) / 5000))
        self.state, self.generation, self.openings = "open", self.generation + 1, self.openings + 1
        self.results, self.in_a_row, self.probing, self.passed = [], 0, set(), 0

    def closed(self) -> None:
        self.__init__(self.breaker, generation=self.generation + 1)  # type: ignore[misc]

    def tell(self, ticket: tuple[int, bool], call_id: str, outcome: Outcome, now: int, chance: float) -> None:
        generation, probe = ticket
        if generation != self.generation:
            return
        attempts = [*outcome.earlier, (outcome.verdict, outcome.took_ms)]
        if probe and self.state == "half_open":
            self.probing.discard(call_id)
            if any(verdict is Verdict.FAILURE or self.slow(verdict, ms) for verdict, ms in attempts):
                self.open(now, chance)
            elif outcome.verdict is Verdict.SUCCESS:
                self.passed += 1
                if self.passed >= self.breaker.probes:
                    self.closed()
        elif not probe:
            for verdict, ms in attempts:
                # The first that opens it ends a generation: those behind it say nothing.
                if verdict is not Verdict.EXCLUDED and (self.state, self.generation) == ("closed", generation):
                    self.count(verdict is Verdict.FAILURE, self.slow(verdict, ms), now, chance)

    def slow(self, verdict: Verdict, took_ms: int) -> bool:
        return verdict is not Verdict.EXCLUDED and self.breaker.slow_ms is not None and took_ms > self.breaker.slow_ms

    def count(self, failed: bool, slow: bool, now: int, chance: float) -> None:
        self.results.append((now, failed, slow))
        self.in_a_row = self.in_a_row + 1 if failed else 0
        if self.opens(now, failed, slow):
            self.open(now, chance)

    def opens(self, now: int, failed: bool, slow: bool) -> bool:
        b, bucket = self.breaker, self.breaker.window_ms // BREAKER_BUCKETS
        if b.consecutive is not None and self.in_a_row >= b.consecutive:
            return True
        window = [one for one in self.results if one[0] // bucket >= now // bucket - BREAKER_BUCKETS]
        if len(window) < b.of_at_least:
            return False
        bad = b.failures_bp is not None and sum(one[1] for one in window) * 10_000 >= len(window) * b.failures_bp
        late = b.slow_bp is not None and sum(one[2] for one in window) * 10_000 >= len(window) * b.slow_bp
        return (failed and bad) or (slow and late)


@dataclass
class Call:
    ticket: Admitted
    tickets: list[tuple[int, bool]]
    lease_ms: int
    ended: bool = False


class Calls(RuleBasedStateMachine):
    server: Server
    calls = Bundle("calls")

    @initialize()
    def connect(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = Clock(at("2026-11-28T20:00:00+09:00") + 11)
        self.circuits = [Circuit(one) for one in GUARDS.breakers]
        self.known: dict[str, Call] = {}
        self.chance = 0.0
        self.runner.run(self._connect())

    async def _connect(self) -> None:
        self.store = Store(self.server.url)
        await self.store.start()
        await self.store.call("FLUSHALL")
        self.keys = Keys()
        self.gate = Gate(
            self.store, self.keys, clock=self.clock, pinned=True, lease_s=LEASE_S, chance=lambda: self.chance
        )
        self.reader = Client(self.server.url)

    def teardown(self) -> None:
        async def close() -> None:
            await self.store.close()
            await self.reader.close()

        if hasattr(self, "runner"):
            self.runner.run(close())
            self.runner.close()

    def alive(self) -> set[str]:
        return {name for name, call in self.known.items() if not call.ended and call.lease_ms > self.clock()}

    @rule(target=calls, free=st.booleans())
    def admit(self, free: bool) -> str:
        now, alive = self.clock(), self.alive()
        question = ask(0, at_ms=now, free=free, guards=GUARDS)
        answer = self.runner.run(self.gate.admit(question))
        refusing = [one for one in self.circuits if one.refuses(now, alive)]
        if refusing:
            assert isinstance(answer, Denied)
            assert (answer.reason, answer.status) == (Reason.CIRCUIT_OPEN, 503)
            first = refusing[0]
            assert answer.detail["name"] == first.breaker.name
            if first.state == "open":
                by_hand = first.until_ms == breakers.UNTIL_CLOSED_MS
                assert answer.retry_after_s == (None if by_hand else max(1, -(-(first.until_ms - now) // 1000)))
            return ""
        assert isinstance(answer, Admitted)
        tickets = [one.enter(question.id, alive) for one in self.circuits]
        self.known[question.id] = Call(answer, tickets, now + LEASE_S * 1000)
        return question.id

    @rule(
        call_id=calls,
        verdict=st.sampled_from([Verdict.SUCCESS, Verdict.FAILURE, Verdict.FAILURE, Verdict.EXCLUDED]),
        took_ms=st.sampled_from([10, 3000, 3001]),
        chance=st.sampled_from([0.0, 0.5, 1.0]),
        earlier=st.lists(
            st.tuples(st.sampled_from([Verdict.FAILURE, Verdict.SUCCESS]), st.sampled_from([10, 3001])), max_size=3
        ),
    )
    def settle(
        self, call_id: str, verdict: Verdict, took_ms: int, chance: float, earlier: list[tuple[Verdict, int]]
    ) -> None:
        call = self.known.get(call_id)
        if call is None:
            return
        self.chance = chance
        outcome = Outcome(verdict, took_ms, earlier=tuple(earlier))
        self.runner.run(self.gate.settle(call.ticket, bill(0), 200, outcome=outcome))
        if not call.ended:
            for circuit, ticket in zip(self.circuits, call.tickets, strict=True):
                circuit.tell(ticket, call_id, outcome, self.clock(), chance)
        call.ended = True

    @rule(
        call_id=calls,
        verdict=st.sampled_from([Verdict.SUCCESS, Verdict.SUCCESS, Verdict.FAILURE]),
        took_ms=st.sampled_from([10, 3001]),
    )
    def tell(self, call_id: str, verdict: Verdict, took_ms: int) -> None:
        """A long call begins: of a probe that counts at once, and its end is an ordinary result."""
        call = self.known.get(call_id)
        if call is None or call.ended:
            return
        outcome = Outcome(verdict, took_ms)
        self.runner.run(self._tell(call.ticket, outcome))
        for number, circuit in enumerate(self.circuits):
            generation, probe = call.tickets[number]
            if probe:
                circuit.tell((generation, True), call_id, outcome, self.clock(), self.chance)
                call.tickets[number] = (generation, False)

    async def _tell(self, ticket: Admitted, outcome: Outcome) -> None:
        self.gate.tell(ticket, outcome)
        await self.store.call("PING")  # whatever was written before it is done

    @rule(call_id=calls)
    def void(self, call_id: str) -> None:
        call = self.known.get(call_id)
        if call is not None and not call.ended:
            self.runner.run(self.gate.void(call.ticket.ask))
            self.end_without_a_word(call_id, call)

    @rule()
    def reclaim(self) -> None:
        self.runner.run(self.gate.reclaim())
        for name, call in self.known.items():
            if not call.ended and call.lease_ms <= self.clock():
                self.end_without_a_word(name, call)

    def end_without_a_word(self, call_id: str, call: Call) -> None:
        call.ended = True
        for circuit in self.circuits:
            circuit.probing.discard(call_id)

    @rule(ms=st.sampled_from([1, 900, 3_000, 6_000, 31_000, 63_000, 200_000]))
    def time_passes(self, ms: int) -> None:
        self.clock.now_ms += ms

    @rule(which=st.sampled_from([0, 1]), what=st.sampled_from(["open", "close", "reset"]), known_end=st.booleans())
    def somebody_sets_it(self, which: int, what: str, known_end: bool) -> None:
        circuit, now = self.circuits[which], self.clock()
        until_ms = now + 5000 if known_end else breakers.UNTIL_CLOSED_MS
        name = circuit.breaker.name
        desk = Desk(self.reader, self.keys, RULES, Who("ops", "cli"), now)
        entry = self.runner.run(breakers.by_hand(desk, name, what, "a test", until_ms if known_end else None))
        assert (entry.action, entry.before) == (f"breaker_{what}", circuit.state)
        circuit.closed()
        if what == "open":
            circuit.state, circuit.until_ms = "open", until_ms

    @invariant()
    def what_is_shown_is_the_models(self) -> None:
        if not hasattr(self, "runner"):
            return
        now = self.clock()
        shown = self.runner.run(breakers.read(self.reader, self.keys, GUARDS.breakers, now))
        for one, circuit in zip(shown, self.circuits, strict=True):
            state = "half_open" if circuit.state == "open" and circuit.until_ms <= now else circuit.state
            assert (one.state, one.generation) == (state, circuit.generation)
            assert one.consecutive == circuit.in_a_row


@pytest.fixture
def machine(server: Server) -> type[Calls]:
    return type("Calls", (Calls,), {"server": server})


def test_circuits_do_what_the_model_does(machine: type[Calls]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
