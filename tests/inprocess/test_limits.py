"""How often a function may run: alone, with a budget, over processes, and what the rules and the API itself add."""

from __future__ import annotations

import asyncio
import functools
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import proxy
from proxy import (
    BudgetExceededException,
    CircuitOpenException,
    RateLimitedException,
    api_rate_limited,
    budget_controlled_api,
)
from proxy.inprocess import host as hosts
from tests.inprocess.conftest import Books, Run, finished


def outcomes(call: Callable[[], object], times: int) -> str:
    """A letter for each call: p passed, r rate limited, b refused by a budget."""
    letters = ""
    for _ in range(times):
        try:
            call()
            letters += "p"
        except RateLimitedException:
            letters += "r"
        except BudgetExceededException:
            letters += "b"
    return letters


def test_a_function_runs_so_often_and_no_more(books: Books) -> None:
    @api_rate_limited("map", per_hour=3)
    def look() -> int:
        return 1

    assert outcomes(look, 5) == "ppprr"
    with pytest.raises(RateLimitedException) as refused:
        look()
    error = refused.value
    assert (error.reason, error.api, error.budget) == ("rate_limited", "map", None)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 3660
    assert "limit" in str(error)
    assert "제한" in error.message("ko")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_alone_it_counts_no_money_and_the_ledger_says_so(books: Books) -> None:
    @api_rate_limited("somewhere-else", per_day=3)
    def look() -> int:
        return 1

    look()
    entry = books.only()
    assert (entry["api"], entry["rule"], entry["cost"], entry["state"], entry["note"]) == (
        "somewhere-else",
        "somewhere-else/limited",
        "0",
        "unpriced",
        "limits_only",
    )


@pytest.mark.parametrize("outermost", ["limit", "budget"])
def test_with_a_budget_on_one_function_both_are_one_question(books: Books, outermost: str) -> None:
    def send() -> int:
        return 1

    limit, budget = api_rate_limited("small", per_hour=4), budget_controlled_api("small", cost=4)
    one = limit(budget(send)) if outermost == "limit" else budget(limit(send))
    # The third call does not fit in the budget of ten: it takes nothing from the limit either.
    assert outcomes(one, 4) == "ppbb"
    cheaper = api_rate_limited("small", per_hour=4)(budget_controlled_api("small", cost=0.5)(send))
    assert outcomes(cheaper, 3) == "ppr"
    assert len(books.entries()) == 4
    assert {entry["state"] for entry in books.written()} == {"settled"}


def test_a_decorator_of_somebody_else_between_ours_stays(books: Books) -> None:
    seen: list[str] = []

    def noted(function: Callable[[], int]) -> Callable[[], int]:
        @functools.wraps(function)
        def wrapper() -> int:
            seen.append("between")
            return function()

        return wrapper

    @api_rate_limited("map", per_hour=2)
    @noted
    @budget_controlled_api("map")
    def look() -> int:
        return 1

    assert outcomes(look, 3) == "ppr"
    assert seen == ["between"] * 2
    assert sorted(entry["state"] for entry in books.entries()) == ["settled", "settled", "unpriced", "unpriced"]


def test_functions_of_one_api_count_together_unless_they_have_a_name(books: Books) -> None:
    @api_rate_limited("map", per_hour=2)
    def first() -> int:
        return 1

    @api_rate_limited("map", per_hour=2)
    def second() -> int:
        return 1

    @api_rate_limited("map", per_hour=2, name="third")
    def third() -> int:
        return 1

    assert outcomes(first, 1) + outcomes(second, 2) + outcomes(third, 3) == "p" + "pr" + "ppr"


def test_several_limits_are_all_or_nothing(books: Books) -> None:
    @api_rate_limited("map", per_minute=100, per_hour=2, concurrent=50)
    def look() -> int:
        return 1

    assert outcomes(look, 4) == "pprr"
    with books.client() as store:
        (key,) = store.scan_iter("spendgate:*:limits:program:map")
        counted = store.hgetall(key)
    assert counted, key
    assert outcomes(look, 1) == "r"


async def test_at_most_so_many_at_once_and_the_place_is_free_again(books: Books) -> None:
    go_on, inside = asyncio.Event(), []

    @api_rate_limited("map", concurrent=3)
    async def look() -> int:
        inside.append(1)
        await go_on.wait()
        return 1

    tasks = [asyncio.create_task(look()) for _ in range(10)]
    done, waiting = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 7:
        more, waiting = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert more
        done |= more
    assert all(isinstance(task.exception(), RateLimitedException) for task in done)
    go_on.set()
    assert [await task for task in waiting] == [1, 1, 1]
    proxy.flush()
    assert await look() == 1


def test_a_generator_holds_its_place_until_it_ends(books: Books) -> None:
    @api_rate_limited("map", concurrent=1)
    def stream() -> Iterator[int]:
        yield 1
        yield 2

    first = stream()
    next(first)
    with pytest.raises(RateLimitedException):
        next(stream())
    first.close()  # type: ignore[attr-defined]
    assert list(stream()) == [1, 2]


RACER = """
import sys, threading
from proxy import RateLimitedException, api_rate_limited
from proxy.inprocess.host import host
@api_rate_limited("map", per_hour=5)
def call():
    return 1
won = []
def one():
    try:
        won.append(call())
    except RateLimitedException:
        pass
host()
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=one) for _ in range(50)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(won))
"""


def test_of_a_hundred_calls_from_two_processes_exactly_five_pass(books: Books, run: Run) -> None:
    racers = [run(RACER) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    assert sum(int(finished(racer)) for racer in racers) == 5


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"per_minute": 0}, ValueError),
        ({"per_minute": 1.5}, TypeError),
        ({"per_minute": True}, TypeError),
        ({"concurrent": -1}, ValueError),
    ],
)
def test_a_limit_that_is_none_is_said_where_it_is_written(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"rate limit|at least one"):
        api_rate_limited("map", **arguments)


# --- what the rules and the API say ----------------------------------------------------------------------------------


def test_the_rate_limits_of_the_rules_hold_for_programs(books: Books) -> None:
    @budget_controlled_api("guarded")
    def call() -> int:
        return 1

    @api_rate_limited("guarded", per_hour=100)
    def other() -> int:
        return 1

    assert outcomes(call, 2) + outcomes(other, 2) == "pppr"


class ApiError(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status_code = status
        self.response = self
        self.headers = headers


def test_an_api_that_fails_opens_its_circuit_for_programs_too(books: Books) -> None:
    @budget_controlled_api("fragile")
    def call(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 1

    for _ in range(2):
        with pytest.raises(LookupError):  # the program's own mistake says nothing of the API
            call(LookupError())
    for _ in range(2):
        with pytest.raises(ApiError):
            call(ApiError(500))
    with pytest.raises(CircuitOpenException) as refused:
        call(None)
    assert refused.value.reason == "circuit_open"
    assert refused.value.retry_after is not None
    assert "fragile" in str(refused.value)


def test_a_pause_that_the_api_asked_for_holds_for_every_call_of_it(books: Books) -> None:
    @budget_controlled_api("map")
    def call(error: Exception | None = None) -> int:
        if error is not None:
            raise error
        return 1

    with pytest.raises(ApiError):
        call(ApiError(429, **{"Retry-After": "20"}))
    with pytest.raises(RateLimitedException) as refused:
        call()
    assert refused.value.retry_after is not None
    assert 10 < refused.value.retry_after <= 20
    assert "pause" in str(refused.value)


def test_threads_share_a_limit_of_calls_at_once(books: Books) -> None:
    hold, refused = threading.Event(), threading.Semaphore(0)

    @api_rate_limited("map", concurrent=4)
    def look() -> int:
        hold.wait(20)
        return 1

    def one() -> int:
        try:
            return look()
        except RateLimitedException:
            refused.release()
            return 0

    with ThreadPoolExecutor(20) as pool:
        results = [pool.submit(one) for _ in range(20)]
        for _ in range(16):
            assert refused.acquire(timeout=20)
        hold.set()
    assert sum(result.result() for result in results) == 4


# --- waiting for room -------------------------------------------------------------------------------------------------


def waiting() -> int:
    """How many calls of this process wait for room."""
    found = hosts.running()
    return len(found.gate.waiting) if found is not None else 0


def until(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.005)


def test_a_function_waits_for_room_where_the_rules_let_it(books: Books) -> None:
    hold, order = threading.Event(), []

    @budget_controlled_api("patient")
    def call(name: str) -> str:
        if name == "first":
            hold.wait(60)
        order.append(name)
        return name

    with ThreadPoolExecutor(4) as pool:
        results = []
        for number, name in enumerate(("first", "second", "third", "fourth")):
            results.append(pool.submit(call, name))
            until(lambda number=number: books.in_flight() + waiting() == number + 1)  # type: ignore[misc]
        assert order == []
        hold.set()
        assert [result.result(60) for result in results] == order == ["first", "second", "third", "fourth"]
    assert len(books.entries()) == 4


async def test_coroutines_wait_too_hold_up_nobody_and_leave_when_they_are_cancelled(books: Books) -> None:
    go = asyncio.Event()

    @budget_controlled_api("patient")
    async def call() -> int:
        await go.wait()
        return 1

    @budget_controlled_api("map")
    async def other() -> int:
        return 2

    # More than the store is asked at once: who waits is no question before it.
    tasks = [asyncio.create_task(call()) for _ in range(140)]
    await asyncio.to_thread(until, lambda: waiting() == 139)
    assert await other() == 2
    for task in tasks[1:131]:
        task.cancel()
    await asyncio.to_thread(until, lambda: waiting() == 9)
    go.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in done if one == 1] == [1] * 10
    assert sum(isinstance(one, asyncio.CancelledError) for one in done) == 130
    assert len(books.entries()) == 11
    assert books.in_flight() == 0


def test_a_program_may_let_its_own_limits_wait(books: Books) -> None:
    @api_rate_limited("map", concurrent=1, wait=60)
    @api_rate_limited("map", per_second=2)
    def look() -> int:
        return 1

    @api_rate_limited("map", per_day=1, wait=5, name="hopeless")
    def hopeless() -> int:
        return 1

    assert outcomes(look, 4) == "pppp"  # the third waited until a second had passed
    assert outcomes(hopeless, 2) == "pr"  # there is no room in five seconds: it is refused at once
    for wrong, kind in ((-1, ValueError), (3601, ValueError), (True, TypeError), ("5", TypeError)):
        with pytest.raises(kind):
            api_rate_limited("map", per_day=1, wait=wrong)  # type: ignore[arg-type]
