"""The budget of repeats that workers share, and what else stands against making a call again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core import retry
from proxy.core.guards import Breaker, Guards
from proxy.core.handling_model import RetryPolicy
from proxy.core.model import Admitted
from proxy.core.outcome import Outcome, Verdict
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.repeats import Repeats
from proxy.state.store import Store
from tests.state.calls import NOON, Clock, ask, bill, monthly
from tests.state.conftest import Server

USUAL = RetryPolicy()
KEYS = Keys()
FOREVER = "9007199254740991 1"
BREAKER = Breaker("openai", 60_000, 100, None, 1, None, None, 30_000, 100_000, 1)


@asynccontextmanager
async def fresh_store(server: Server) -> AsyncIterator[Store]:
    store = Store(server.url)
    await store.start()
    try:
        await store.call("FLUSHALL")
        yield store
    finally:
        await store.close()


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from([100, 500, 1000, 2000]),
    st.integers(2, 5),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_repeats_of_all_workers_stay_within_their_share(
    server: Server, steps: list[tuple[int, int, int]], budget_bp: int, attempts: int
) -> None:
    """Whatever calls come when and where, repeats are at most their share of the calls and what a lone call needs."""
    policy, clock = RetryPolicy(attempts=attempts, budget_bp=budget_bp), Clock(NOON)

    async def run() -> None:
        async with fresh_store(server) as store:
            workers = [Repeats(store, KEYS, clock) for _ in range(3)]
            repeats = 0
            for calls, (later_ms, worker, wanted) in enumerate(steps, 1):
                clock.now_ms += later_ms
                workers[worker].called("openai", policy)
                for _ in range(wanted):
                    repeats += await workers[worker].take(ask(), policy)
                windows = 1 + (clock() - NOON) / retry.WINDOW_MS
                assert repeats <= calls * budget_bp / 10_000 + (attempts - 1) * windows

    asyncio.run(run())


def test_a_storm_over_two_workers_is_held_to_a_tenth(server: Server) -> None:
    async def run() -> int:
        async with fresh_store(server) as store:
            workers = [Repeats(store, KEYS, Clock(NOON)) for _ in range(2)]
            repeats = 0
            for number in range(1000):
                worker = workers[number % 2]
                worker.called("openai", USUAL)
                while await worker.take(ask(), USUAL):
                    repeats += 1
            return repeats

    assert asyncio.run(run()) == 100 + 2


def test_a_lone_call_can_always_be_repeated_after_a_window(server: Server) -> None:
    clock = Clock(NOON)

    async def run() -> list[bool]:
        async with fresh_store(server) as store:
            worker, answers = Repeats(store, KEYS, clock), []
            for later_ms in (0, 0, 0, retry.WINDOW_MS // 2 - 1, 1, 0):
                clock.now_ms += later_ms
                answers.append(await worker.take(ask(), USUAL))
            return answers

    assert asyncio.run(run()) == [True, True, False, False, True, False]


@pytest.mark.parametrize(
    ("switches", "free", "wanted"),
    [
        ({}, False, True),
        ({"stop": FOREVER}, False, False),
        ({"stop": FOREVER}, True, True),  # what costs nothing passes it
        ({"api:openai": FOREVER}, True, False),
        ({"rule:openai/chat": FOREVER}, False, False),
        ({"caller:batch": FOREVER}, False, False),
        ({"caller:other": FOREVER}, False, True),
        ({"api:openai": FOREVER, "lift:api:openai": FOREVER}, False, True),
        ({"caller:batch": FOREVER, "bypass": FOREVER}, False, True),
    ],
)
def test_what_is_switched_off_is_not_called_again(
    server: Server, switches: dict[str, str], free: bool, wanted: bool
) -> None:
    async def run() -> bool:
        async with fresh_store(server) as store:
            for name, value in switches.items():
                await store.call("HSET", KEYS.switches, name, value)
            return await Repeats(store, KEYS, Clock(NOON)).take(ask(free=free), USUAL)

    assert asyncio.run(run()) == wanted


def test_no_call_is_repeated_while_its_circuit_is_not_closed(server: Server) -> None:
    clock, guards = Clock(NOON), Guards((), (BREAKER,))

    async def run() -> list[bool]:
        async with fresh_store(server) as store:
            gate = Gate(store, KEYS, clock=clock, pinned=True, chance=lambda: 0.0)
            repeats, answers = Repeats(store, KEYS, clock), []
            question, probe = (ask(0, free=True, guards=guards) for _ in range(2))
            first = await gate.admit(question)
            assert isinstance(first, Admitted)
            answers.append(await repeats.take(question, USUAL))
            await gate.settle(first, bill(0), 503, outcome=Outcome(Verdict.FAILURE, 5))
            answers.append(await repeats.take(question, USUAL))
            clock.now_ms += 31_000
            assert isinstance(await gate.admit(probe), Admitted)
            answers.append(await repeats.take(probe, USUAL))
            return answers

    assert asyncio.run(run()) == [True, False, False]


def test_a_pause_that_the_api_asked_for_holds_for_everybody_at_once(server: Server) -> None:
    async def run() -> tuple[bool, bytes]:
        async with fresh_store(server) as store:
            taken = await Repeats(store, KEYS, Clock(NOON)).take(ask(5, monthly()), USUAL, NOON + 9000)
            return taken, await store.call("HGET", KEYS.switches, "pause:openai")

    assert asyncio.run(run()) == (True, f"{NOON + 9000} upstream".encode())


def test_a_store_that_is_away_permits_none() -> None:
    async def run() -> bool:
        store = Store("redis://127.0.0.1:1")
        await store.start()
        try:
            return await Repeats(store, KEYS, Clock(NOON)).take(ask(), USUAL)
        finally:
            await store.close()

    assert not asyncio.run(run())
