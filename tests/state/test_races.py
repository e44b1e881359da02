"""Races with exact winners: many callers, several processes, one budget."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from proxy.core.model import Admitted
from proxy.state import doctor
from proxy.state.gate import Gate, wall_ms
from proxy.state.keys import Keys
from proxy.state.reading import Reader
from proxy.state.store import Store
from tests.state.calls import ask, bill, monthly, won
from tests.state.conftest import Server
from tests.state.racer import ROOM

ROOT = Path(__file__).resolve().parents[2]
CALLS_EACH, PRICE, WINNERS = 250, 100, 137
LIMIT = PRICE * WINNERS + PRICE - 1


async def test_of_500_calls_through_two_processes_exactly_137_pass(server: Server, store: Store, keys: Keys) -> None:
    command = [sys.executable, "-m", "tests.state.spender", server.url, str(CALLS_EACH), str(PRICE), str(LIMIT)]
    spenders = [
        await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        for _ in range(2)
    ]

    async def say(word: bytes = b"\n") -> None:
        for spender in spenders:
            assert spender.stdin is not None
            spender.stdin.write(word)
            await spender.stdin.drain()

    async def hear() -> list[bytes]:
        return [await spender.stdout.readline() for spender in spenders if spender.stdout is not None]

    seen: list[int] = []
    done = asyncio.Event()

    async def watch() -> None:
        """Look at the budget as fast as a third connection can."""
        while not done.is_set():
            for name in await store.call("KEYS", keys.prefix + "budget:*"):
                spent, reserved = await store.call("HMGET", name, "spent", "reserved")
                seen.append(int(spent or 0) + int(reserved or 0))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    assert await hear() == [b"ready\n"] * 2
    await say()
    admitted = [int(line) for line in await hear()]
    await say()
    crossed = [int(line) for line in await hear()]
    for spender in spenders:
        assert await spender.wait() == 0
    done.set()
    await watching

    assert sum(admitted) == WINNERS
    assert max(seen) == won(PRICE * WINNERS)
    assert max(seen) <= won(LIMIT)
    # 137 of 137.99: 70, 80 and 90 % were crossed by somebody, once each.
    assert sum(crossed) == 3
    assert await store.call("XLEN", keys.thresholds) == 3
    async with Reader(server.url) as reader:
        (counted,) = await doctor.count(reader, keys, wall_ms())
    assert (counted.spent, counted.reserved) == (counted.ledger, counted.held) == (won(PRICE * WINNERS), 0)


async def test_a_threshold_is_told_to_exactly_one_of_many(server: Server, keys: Keys) -> None:
    stores = [Store(server.url) for _ in range(3)]
    for one in stores:
        assert await one.start()
    gates = [Gate(one, keys) for one in stores]
    budget, now_ms = monthly(1000, warn_bp=tuple(range(500, 9500, 500))), wall_ms()
    calls = [
        (gate, await gate.admit(ask(5, budget, at_ms=now_ms, essential=True))) for _ in range(66) for gate in gates
    ]
    settled = await asyncio.gather(*(g.settle(call, bill(5), 200) for g, call in calls if isinstance(call, Admitted)))
    crossed = sorted(bp for one in settled for _, bp in one.crossed)
    assert crossed == list(range(500, 10000, 500))
    for one in stores:
        await one.close()


async def test_two_proxies_reclaim_one_abandoned_call_once(server: Server, keys: Keys) -> None:
    stores = [Store(server.url) for _ in range(2)]
    for one in stores:
        assert await one.start()
    dead = Gate(stores[0], keys, lease_s=-1)
    for _ in range(50):
        assert isinstance(await dead.admit(ask(5, monthly(), at_ms=wall_ms())), Admitted)
    gates = [Gate(one, keys) for one in stores]
    assert sum(await asyncio.gather(*(gate.reclaim() for gate in gates for _ in range(3)))) == 50
    (ledger,) = await stores[0].call("KEYS", keys.prefix + "ledger:*")
    assert await stores[0].call("XLEN", ledger) == 50
    for one in stores:
        await one.close()


async def test_of_100_racers_over_4_connections_from_2_processes_exactly_5_pass(
    server: Server, store: Store, keys: Keys
) -> None:
    command = [sys.executable, "-m", "tests.state.racer", server.url, "50"]
    racers = [
        await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        for _ in range(2)
    ]

    async def told(racer: asyncio.subprocess.Process) -> bytes:
        assert racer.stdout is not None
        return await racer.stdout.readline()

    async def go(racer: asyncio.subprocess.Process) -> None:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        await racer.stdin.drain()

    assert [await told(racer) for racer in racers] == [b"ready\n"] * 2
    await asyncio.gather(*map(go, racers))
    assert sum([int(await told(racer)) for racer in racers]) == ROOM
    used, tokens = await store.call("HMGET", keys.limits("api:openai"), "requests/minute", "tokens/minute")
    assert (int(used), int(tokens)) == (ROOM, ROOM * 64)  # the refused took nothing of any limit
    assert int(await store.call("HGET", keys.limits("caller:batch"), "concurrent")) == ROOM
    assert await store.call("HLEN", keys.reservations) == ROOM
    for racer in racers:
        await go(racer)
        assert await racer.wait() == 0
