"""The store hangs, dies, or swallows an answer: callers learn it within a second, and no charge is lost or doubled."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.core.model import Admitted, Denied, Reason
from proxy.state import doctor
from proxy.state.gate import Gate, wall_ms
from proxy.state.keys import Keys
from proxy.state.reading import Reader
from proxy.state.store import Store
from tests.state.calls import ask, bill, monthly, new_id, won
from tests.state.conftest import Server, eventually


@asynccontextmanager
async def a_gate(url: str, lease_s: float = 30.0, upkeep_s: float = 0.1) -> AsyncIterator[Gate]:
    store = Store(url)
    assert await store.start()
    gate = Gate(store, Keys(), lease_s=lease_s)
    upkeep = asyncio.create_task(gate.maintain(upkeep_s))
    try:
        yield gate
    finally:
        upkeep.cancel()
        await gate.drain(1)
        await store.close()


async def admit(gate: Gate, amount: int = 10, call_id: str | None = None) -> Admitted | Denied:
    now_ms = wall_ms()
    return await gate.admit(ask(amount, monthly(1_000_000), at_ms=now_ms, call_id=call_id or new_id(now_ms)))


async def sums(url: str) -> tuple[int, int]:
    """Spent and reserved of the one budget; both agree with the ledger and the calls in flight."""
    async with Reader(url) as reader:
        counted = await doctor.count(reader, Keys(), wall_ms())
    assert all(one.spent == one.ledger and one.reserved == one.held for one in counted)
    return sum(one.spent for one in counted), sum(one.reserved for one in counted)


async def ledger_ids(gate: Gate) -> Counter[str]:
    ids: Counter[str] = Counter()
    for stream in await gate.store.call("KEYS", gate.keys.prefix + "ledger:*"):
        for _, flat in await gate.store.call("XRANGE", stream, "-", "+"):
            ids[flat[1].decode()] += 1
    return ids


async def test_without_a_server_the_answer_comes_at_once(tmp_path: Path) -> None:
    store = Store(f"unix://{tmp_path}/nobody.sock")
    assert not await store.start()
    gate = Gate(store, Keys())
    began = time.monotonic()
    answer = await admit(gate)
    assert isinstance(answer, Denied)
    assert (answer.reason, answer.status) == (Reason.STORE_UNAVAILABLE, 503)
    assert time.monotonic() - began < 0.1
    await store.close()


async def test_a_server_that_hangs_gives_an_answer_within_a_second(own_server: Server) -> None:
    async with a_gate(own_server.url) as gate:
        running = await admit(gate)
        assert isinstance(running, Admitted)
        own_server.signal(signal.SIGSTOP)
        began = time.monotonic()
        answers = await asyncio.gather(*(admit(gate) for _ in range(20)), gate.settle(running, bill(7), 200))
        assert time.monotonic() - began < 1.2
        *denied, settled = answers
        assert {answer.reason for answer in denied if isinstance(answer, Denied)} == {Reason.STORE_UNAVAILABLE}
        assert len(denied) == 20
        assert settled.pending
        assert gate.pending >= 1
        own_server.signal(signal.SIGCONT)
        began = time.monotonic()
        await eventually(lambda: gate.store.connected and not gate.pending)
        assert time.monotonic() - began < 5
        # What hung was executed by the server when it woke, and is released; the settlement is there once.
        assert isinstance(await admit(gate), Admitted)
        async with asyncio.timeout(5):
            while await sums(own_server.url) != (won(7), won(10)):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.02)
        assert await ledger_ids(gate) == {running.ask.id: 1}


async def test_a_server_killed_amid_traffic_loses_and_doubles_nothing(own_server: Server) -> None:
    async with a_gate(own_server.url) as gate:
        told: dict[str, int] = {}
        refused = 0
        stop = asyncio.Event()

        async def call_for_ever(number: int) -> None:
            nonlocal refused
            while not stop.is_set():
                answer = await admit(gate, 10)
                if isinstance(answer, Denied):
                    assert answer.reason is Reason.STORE_UNAVAILABLE
                    refused += 1
                    await asyncio.sleep(0.01)
                    continue
                await asyncio.sleep(0)
                told[answer.ask.id] = number % 9 + 1
                assert (await gate.settle(answer, bill(number % 9 + 1), 200)).done

        callers = [asyncio.create_task(call_for_ever(number)) for number in range(32)]
        for _ in range(3):
            before = len(told)
            await eventually(lambda before=before: len(told) > before + 200)  # type: ignore[misc]
            own_server.kill()
            await eventually(lambda: not gate.store.connected)
            own_server.start()
            began = time.monotonic()
            await eventually(lambda: gate.store.connected)
            assert time.monotonic() - began < 5
        stop.set()
        await asyncio.gather(*callers)
        assert await gate.drain(5) == 0
        assert refused > 0
        assert await ledger_ids(gate) == dict.fromkeys(told, 1)
        assert await sums(own_server.url) == (won(sum(told.values())), 0)


async def test_what_a_killed_server_forgot_of_the_last_seconds_is_stated_again(
    own_server: Server, tmp_path: Path
) -> None:
    """Redis answers before its append-only file is written when the disk is slow; so may a replica that takes over."""
    async with a_gate(own_server.url, upkeep_s=5) as gate:  # what is remembered goes by rounds of upkeep
        known, forgotten, released, running = [await admit(gate, 10) for _ in range(4)]
        for one in (known, forgotten, released, running):
            assert isinstance(one, Admitted)
        assert (await gate.settle(known, bill(3), 200)).done  # type: ignore[arg-type]
        disk, files = tmp_path / "as it was", own_server.folder / "appendonlydir"
        last = running.ask.id.encode()  # type: ignore[union-attr]
        await eventually(lambda: any(last in file.read_bytes() for file in files.iterdir()), within_s=20)
        shutil.copytree(files, disk)
        assert (await gate.settle(forgotten, bill(5), 200)).done  # type: ignore[arg-type]
        await gate.void(released.ask)  # type: ignore[union-attr]
        own_server.kill()
        await eventually(lambda: not gate.store.connected)
        shutil.rmtree(files)
        shutil.copytree(disk, files)
        own_server.start()
        await eventually(lambda: gate.store.connected and not gate.pending, within_s=20)
        assert await gate.drain(20) == 0
        assert await ledger_ids(gate) == {known.ask.id: 1, forgotten.ask.id: 1}  # type: ignore[union-attr]
        assert await sums(own_server.url) == (won(8), won(10))


class Line:
    """A wire between a proxy and its store that can swallow what the store answers."""

    def __init__(self, socket: Path, target: Path) -> None:
        self.socket = socket
        self.target = target
        self.swallow = False
        self.swallowed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(self.target))
        ways = [asyncio.create_task(self._requests(reader, back)), asyncio.create_task(self._answers(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, back):
                end.transport.abort()
            await asyncio.sleep(0)

    async def _requests(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            back.write(data)

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65536):
            if self.swallow:
                self.swallowed += len(data)
            else:
                writer.write(data)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def a_line(server: Server, folder: Path) -> AsyncIterator[Line]:
    line = Line(folder / "line.sock", server.socket)
    listener = await asyncio.start_unix_server(line.accept, str(line.socket))
    yield line
    listener.close()
    await line.close()


async def test_an_admission_whose_answer_is_lost_is_released(own_server: Server, tmp_path: Path) -> None:
    async with a_line(own_server, tmp_path) as line, a_gate(f"unix://{line.socket}") as gate:
        line.swallow = True
        began = time.monotonic()
        lost = await admit(gate, 500)
        assert isinstance(lost, Denied)
        assert lost.reason is Reason.STORE_UNAVAILABLE
        assert time.monotonic() - began < 1.2
        assert line.swallowed > 0
        assert await sums(own_server.url) == (0, won(500))  # it was admitted, and nobody knows
        line.swallow = False
        await eventually(lambda: gate.store.connected and not gate.pending)
        assert await sums(own_server.url) == (0, 0)
        assert await ledger_ids(gate) == {}


async def test_a_settlement_whose_answer_is_lost_is_written_once(own_server: Server, tmp_path: Path) -> None:
    async with a_line(own_server, tmp_path) as line, a_gate(f"unix://{line.socket}") as gate:
        calls = [await admit(gate, 20) for _ in range(10)]
        line.swallow = True
        settled = await asyncio.gather(*(gate.settle(c, bill(15), 200) for c in calls if isinstance(c, Admitted)))
        assert all(one.pending for one in settled)
        line.swallow = False
        await eventually(lambda: not gate.pending)
        assert await sums(own_server.url) == (won(150), 0)
        assert set((await ledger_ids(gate)).values()) == {1}


async def test_a_caller_that_leaves_while_asking_holds_nothing(own_server: Server) -> None:
    async with a_gate(own_server.url) as gate:
        own_server.signal(signal.SIGSTOP)
        asking = asyncio.create_task(admit(gate, 500))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        own_server.signal(signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: not gate.pending)
        assert await sums(own_server.url) == (0, 0)


async def test_a_caller_that_leaves_while_settling_is_charged(own_server: Server) -> None:
    async with a_gate(own_server.url) as gate:
        call = await admit(gate, 500)
        assert isinstance(call, Admitted)
        settling = asyncio.create_task(gate.settle(call, bill(450), 200))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        assert await gate.drain(5) == 0
        assert await sums(own_server.url) == (won(450), 0)


async def test_a_full_store_refuses_new_calls_and_still_takes_settlements(own_server: Server) -> None:
    async with a_gate(own_server.url) as gate:
        call = await admit(gate, 500)
        assert isinstance(call, Admitted)
        await gate.store.call("CONFIG", "SET", "maxmemory", "1")
        refused = await admit(gate)
        assert isinstance(refused, Denied)
        assert refused.reason is Reason.STORE_UNAVAILABLE
        assert "OOM" in refused.detail["cause"]
        settled = await gate.settle(call, bill(450), 200)
        assert settled.done
        assert not settled.pending
        await gate.store.call("CONFIG", "SET", "maxmemory", "0")
        await eventually(lambda: not gate.pending)
        assert await sums(own_server.url) == (won(450), 0)


async def test_a_read_only_store_counts_as_away_and_gets_the_settlement_later(own_server: Server) -> None:
    async with a_gate(own_server.url) as gate:
        call = await admit(gate, 500)
        assert isinstance(call, Admitted)
        await gate.store.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
        await gate.store.call("REPLICAOF", "127.0.0.1", "1")
        refused = await admit(gate)
        assert isinstance(refused, Denied)
        assert refused.reason is Reason.STORE_UNAVAILABLE
        assert "READONLY" in refused.detail["cause"]
        assert (await gate.settle(call, bill(450), 200)).pending
        assert gate.pending >= 1
        await gate.store.call("REPLICAOF", "NO", "ONE")
        await eventually(lambda: not gate.pending)
        assert await sums(own_server.url) == (won(450), 0)


async def test_a_killed_proxys_calls_are_charged_by_the_next_one(own_server: Server) -> None:
    store = Store(own_server.url)
    assert await store.start()
    killed = Gate(store, Keys(), lease_s=0.3)  # never maintained, as a killed one
    call = await admit(killed, 500)
    assert isinstance(call, Admitted)
    await store.close()
    async with a_gate(own_server.url, lease_s=0.3) as gate:
        async with asyncio.timeout(10):
            while await sums(own_server.url) != (won(500), 0):  # noqa: ASYNC110 - the lease runs on the server's clock
                await asyncio.sleep(0.05)
        assert await ledger_ids(gate) == {call.ask.id: 1}
