"""What holds for a call's end although nobody waits for its answer, and for the connections that carry it."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy
from proxy import StoreUnavailableException, budget_controlled_api
from proxy.inprocess import host as hosts
from tests.e2e.support import eventually
from tests.inprocess.conftest import Books
from tests.state.conftest import Server, a_server


@budget_controlled_api("map")
def call() -> int:
    return 1


@budget_controlled_api("map")
async def call_async() -> int:
    return 1


def connections(books: Books) -> int:
    """Of callers, as the server sees them."""
    with books.client() as store:
        return sum(one["name"] == "spendgate-calls" for one in store.client_list())


# --- written before the call returns ---------------------------------------------------------------------------------


def test_whoever_looks_after_a_call_has_returned_sees_it_settled(books: Books) -> None:
    async def some() -> None:
        for number in range(10):
            await call_async()
            assert books.level() == {"spent": 42 + 2 * number, "reserved": 0}

    for number in range(20):
        call()
        assert books.level() == {"spent": 2 + 2 * number, "reserved": 0}
        assert len(books.written()) == number + 1
    asyncio.run(some())


async def test_a_refusal_is_never_for_a_call_of_this_process_that_has_ended(books: Books) -> None:
    # The whole budget each: the next one fits only if the last one is settled, on whichever connection that was.
    @budget_controlled_api("small", estimate=9, cost=0)
    async def in_the_loop() -> int:
        return 1

    @budget_controlled_api("small", estimate=9, cost=0)
    def blocking() -> int:
        return 1

    for _ in range(25):
        assert await in_the_loop() + blocking() + await asyncio.to_thread(blocking) == 3
    assert len(books.entries()) == 75


# --- the store goes away in between ----------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, books: Books) -> Iterator[Server]:
    """A server that the test may stop and kill; this process's programs use it meanwhile."""
    # Without fsync every write reaches the kernel before its reply, and a kill loses none that was answered.
    with a_server("valkey", tmp_path / "server", "--appendfsync", "no") as server:
        proxy.configure(rules=books.rules, redis=server.url)
        yield server
        proxy.configure(rules=books.rules, redis=books.url)


@pytest.mark.parametrize("way", ["thread", "loop"])
def test_a_settlement_that_a_killed_store_never_read_is_made_again(own: Server, books: Books, way: str) -> None:
    @budget_controlled_api("map")
    def stopped() -> int:
        own.signal(signal.SIGSTOP)  # what is written from here on is not read
        return 1

    @budget_controlled_api("map")
    async def stopped_async() -> int:
        return stopped.__wrapped__()  # type: ignore[attr-defined, no-any-return]

    assert (stopped() if way == "thread" else asyncio.run(stopped_async())) == 1
    own.kill()
    own.start()
    eventually(lambda: proxy.flush() == 0, "the settlement", 20)
    found = Books(own.url, books.rules)
    assert [entry["cost"] for entry in found.written()] == ["2"]
    assert found.in_flight() == 0


def test_a_store_that_hangs_refuses_soon_and_charges_once_when_it_goes_on(own: Server, books: Books) -> None:
    async def refused() -> None:
        with pytest.raises(StoreUnavailableException):
            await call_async()

    async def both() -> None:
        await call_async()
        own.signal(signal.SIGSTOP)
        call_back.append(await asyncio.gather(*(refused() for _ in range(20))))

    call_back: list[object] = []
    call()
    began_s = time.monotonic()
    asyncio.run(both())
    with pytest.raises(StoreUnavailableException):
        call()
    assert time.monotonic() - began_s < 15  # some 0.8 s each on an idle machine
    own.signal(signal.SIGCONT)

    def passes() -> bool:
        try:
            return call() == 1
        except StoreUnavailableException:
            return False

    eventually(passes, "the store", 20)
    assert proxy.flush(20) == 0
    found = Books(own.url, books.rules)
    eventually(lambda: found.in_flight() == 0, "the release of what the refused ones may have reserved", 20)
    assert len(found.written()) == 3
    assert found.level() == {"spent": 6, "reserved": 0}


def test_a_store_that_was_restarted_meanwhile_refuses_nobody(own: Server) -> None:
    call()
    own.kill()
    own.start()
    known = hosts.host().store
    eventually(lambda: known.connected, "the background connection", 20)
    assert call() == 1


# --- connections -----------------------------------------------------------------------------------------------------


def test_loops_and_threads_that_end_leave_no_connection(books: Books) -> None:
    async def many() -> None:
        await asyncio.gather(*(call_async() for _ in range(5)))

    call()
    before = connections(books)
    for _ in range(4):
        asyncio.run(many())
    loops = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(3)]
    plain = [threading.Thread(target=call) for _ in range(5)]
    for thread in (*loops, *plain):
        thread.start()
    for thread in (*loops, *plain):
        thread.join()
    eventually(lambda: connections(books) == before, "the end of the loops' connections", 20)
    assert len(books.entries()) == 1 + 7 * 5 + 5


def test_a_loop_that_reads_no_answers_holds_up_no_settlement(books: Books) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(call_async())  # the loop stands still, and its answer is never read
    assert proxy.flush() == 0
    assert books.level() == {"spent": 2, "reserved": 0}
    assert loop.run_until_complete(call_async()) == 1
    loop.close()
    assert len(books.entries()) == 2


def test_programs_that_are_pointed_elsewhere_leave_no_connection(books: Books) -> None:
    async def turned() -> None:
        await call_async()
        proxy.configure(rules=books.rules, redis=books.url)
        await call_async()

    call()
    asyncio.run(turned())
    proxy.configure(rules=books.rules, redis=books.url)
    eventually(lambda: connections(books) == 0, "the end of all of them", 20)
    assert len(books.entries()) == 3


def test_a_signal_handler_may_call_while_a_call_asks(books: Books) -> None:
    # Wherever the program is just then: also between writing a question and reading its answer.
    ran: list[int] = []

    def handler(*_: object) -> None:
        ran.append(call())
        signal.setitimer(signal.ITIMER_REAL, 0.0017)

    made = call()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while len(ran) < 30:
            made += call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(books.entries()) == made + len(ran)
    assert books.level() == {"spent": 2 * (made + len(ran)), "reserved": 0}
