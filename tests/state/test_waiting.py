"""Calls above a rate limit wait for room: in order, in turn, bounded, never too long, and leave when they want."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.fairqueue import FairQueue
from proxy.core.guards import Counts, Guards, Limit, Limited
from proxy.core.model import Admitted, Ask, Denied, Reason
from proxy.core.outcome import UNKNOWN
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import ask, bill
from tests.state.conftest import eventually


def guards(*limits: Limit, wait_ms: int = 60_000, queue: int = 100) -> Guards:
    return Guards((Limited("api", "openai", limits, wait_ms, queue),))


ONE_AT_ONCE = Limit(Counts.CONCURRENT, 1)


@pytest.fixture
async def real(store: Store, keys: Keys) -> Gate:
    """A gate by Redis's own clock."""
    return Gate(store, keys)


def call(gate: Gate, caller: str, held: Guards) -> Ask:
    return ask(0, at_ms=gate.now_ms(), caller=caller, guards=held)


async def passed(gate: Gate, question: Ask) -> Admitted:
    answer = await gate.admit(question)
    assert isinstance(answer, Admitted), answer
    return answer


async def test_waiting_calls_pass_in_order_and_callers_in_turn(real: Gate) -> None:
    held = guards(ONE_AT_ONCE)
    first = await passed(real, call(real, "a", held))
    order: list[str] = []

    async def one(name: str, caller: str) -> None:
        ticket = await passed(real, call(real, caller, held))
        order.append(name)
        await real.settle(ticket, bill(0), 200, outcome=UNKNOWN)

    tasks = []
    for name, caller in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")):
        tasks.append(asyncio.create_task(one(name, caller)))
        await eventually(lambda: len(real.waiting) == len(tasks))
    await real.settle(first, bill(0), 200)
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_whoever_comes_while_others_wait_goes_behind_them(real: Gate) -> None:
    held = guards(Limit(Counts.REQUESTS, 1, "second"))
    await passed(real, call(real, "a", held))
    waiting = asyncio.create_task(passed(real, call(real, "a", held)))
    await eventually(lambda: len(real.waiting) == 1)
    late = asyncio.create_task(passed(real, call(real, "a", held)))
    early, later = await asyncio.gather(waiting, late)
    # A second and at most one of its fiftieths later: no call more in any second.
    assert later.now_ms - early.now_ms >= 1000


async def test_the_queue_is_bounded(real: Gate) -> None:
    held = guards(ONE_AT_ONCE, queue=2)
    await passed(real, call(real, "a", held))
    tasks = [asyncio.create_task(real.admit(call(real, "a", held))) for _ in range(2)]
    await eventually(lambda: len(real.waiting) == 2)
    refused = await real.admit(call(real, "b", held))
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.RATE_LIMITED
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(real.waiting) == 0


async def test_nobody_waits_longer_than_allowed_and_what_is_hopeless_is_refused_at_once(real: Gate) -> None:
    held = guards(ONE_AT_ONCE, wait_ms=150)
    await passed(real, call(real, "a", held))
    refused = await real.admit(call(real, "a", held))
    assert isinstance(refused, Denied)
    hopeless = Guards((Limited("api", "maps", (Limit(Counts.REQUESTS, 1, "minute"),), 5_000, 9),))
    await passed(real, call(real, "a", hopeless))
    async with asyncio.timeout(2):  # there is room in a minute, and nobody may wait so long
        assert isinstance(await real.admit(call(real, "a", hopeless)), Denied)


async def test_a_client_that_goes_away_leaves_the_queue_and_takes_nothing(real: Gate, store: Store, keys: Keys) -> None:
    held = guards(ONE_AT_ONCE)
    first = await passed(real, call(real, "a", held))
    gone = asyncio.create_task(real.admit(call(real, "a", held)))
    stays = None
    await eventually(lambda: len(real.waiting) == 1)
    stays = asyncio.create_task(passed(real, call(real, "b", held)))
    await eventually(lambda: len(real.waiting) == 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await real.settle(first, bill(0), 200)
    async with asyncio.timeout(5):
        second = await stays
    await real.settle(second, bill(0), 200)
    assert int(await store.call("HGET", keys.limits("api:openai"), "concurrent")) == 0


async def test_a_client_that_goes_away_as_its_turn_comes_takes_nothing_either(
    real: Gate, store: Store, keys: Keys
) -> None:
    held = guards(ONE_AT_ONCE)
    first = await passed(real, call(real, "a", held))
    loop, ask_once = asyncio.get_running_loop(), real.waiting._again
    gone: asyncio.Task[object] | None = None

    async def answered(question: Ask) -> Admitted | Denied:
        answer = await ask_once(question)
        if isinstance(answer, Admitted) and gone is not None:
            loop.call_soon(gone.cancel)  # the answer is there, and nobody has taken it yet
        return answer

    real.waiting._again = answered
    gone = asyncio.create_task(real.admit(call(real, "a", held)))
    await eventually(lambda: len(real.waiting) == 1)
    await real.settle(first, bill(0), 200)
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert real.live == 0
    assert int(await store.call("HGET", keys.limits("api:openai"), "concurrent")) == 0


async def test_waiting_works_with_a_pause_that_the_api_asked_for(real: Gate, store: Store, keys: Keys) -> None:
    held = guards()
    until_ms = real.now_ms() + 200
    await store.call("HSET", keys.switches, "pause:openai", f"{until_ms} upstream")
    ticket = await passed(real, call(real, "a", held))
    assert ticket.now_ms >= until_ms
    impatient = guards(wait_ms=100)
    await store.call("HSET", keys.switches, "pause:openai", f"{real.now_ms() + 60_000} upstream")
    refused = await real.admit(call(real, "a", impatient))
    assert isinstance(refused, Denied)
    assert refused.detail["text"] == "rate_limited.paused"
    assert refused.retry_after_s in (59, 60)


def test_who_is_served_goes_behind_the_other_callers() -> None:
    queue: FairQueue[int] = FairQueue(4)
    assert [queue.join(caller, number) for number, caller in enumerate("aabbc")] == [True] * 4 + [False]
    seen = []
    while (head := queue.head()) is not None:
        seen.append(head)
        queue.served()
    assert seen == [0, 2, 1, 3]
    queue.leave("a", 0)
    assert len(queue) == 0
