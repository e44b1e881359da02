"""Functions of every kind: asked first, run once, charged at their end, with their own results and exceptions."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from decimal import Decimal
from typing import Any

import pytest

from proxy import BudgetExceededException, budget_controlled_api
from tests.e2e.support import eventually
from tests.inprocess.conftest import Books


@budget_controlled_api("map")
def search(query: str, *, limit: int = 10) -> dict[str, Any]:
    """Look for a place."""
    return {"query": query, "limit": limit}


@budget_controlled_api("map")
async def search_async(query: str) -> str:
    await asyncio.sleep(0)
    return query


def test_a_function_runs_and_its_call_is_a_line_of_the_ledger(books: Books) -> None:
    assert search("cafe", limit=3) == {"query": "cafe", "limit": 3}
    entry = books.only()
    assert {name: entry[name] for name in ("api", "rule", "caller", "method", "path", "status", "state", "cost")} == {
        "api": "map",
        "rule": "map/search",
        "caller": "anonymous",
        "method": "CALL",
        "path": "tests.inprocess.test_functions.search",
        "status": "200",
        "state": "settled",
        "cost": "2",
    }
    assert books.level() == {"spent": 2, "reserved": 0}


def test_a_function_keeps_its_name_signature_and_kind() -> None:
    assert search.__name__ == "search"
    assert search.__doc__ == "Look for a place."
    assert list(inspect.signature(search).parameters) == ["query", "limit"]
    assert inspect.iscoroutinefunction(search_async)


async def test_a_coroutine_function_runs_and_is_charged(books: Books) -> None:
    assert await search_async("cafe") == "cafe"
    entry = books.only()
    assert (entry["path"], entry["cost"]) == ("tests.inprocess.test_functions.search_async", "2")


def test_a_plain_function_that_returns_a_coroutine_is_charged_when_that_ends(books: Books) -> None:
    @budget_controlled_api("map")
    def later(query: str) -> Any:
        return search_undecorated(query)

    async def search_undecorated(query: str) -> str:
        assert books.in_flight() == 1
        return query

    assert asyncio.run(later("x")) == "x"
    assert books.only()["cost"] == "2"


def test_methods_and_class_methods_are_functions_too(books: Books) -> None:
    class Client:
        @budget_controlled_api("sms")
        def send(self, to: list[str], text: str) -> int:
            return len(to)

        @classmethod
        @budget_controlled_api("sms")
        def broadcast(cls, to: list[str], text: str) -> int:
            return len(to)

    assert Client().send(["+821", "+822"], "x" * 71) == 2
    assert Client.broadcast(["+821"], text="hello") == 1
    costs = [(entry["path"].rpartition(".")[2], entry["cost"]) for entry in books.entries()]
    assert costs == [("send", "39.6"), ("broadcast", "9.9")]


def test_what_a_function_raises_is_the_callers_own(books: Books) -> None:
    @budget_controlled_api("map")
    def broken() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        broken()
    entry = books.only()
    assert (entry["state"], entry["note"], entry["cost"], entry["status"]) == ("estimated", "no_response", "2", "")


def test_wrong_arguments_are_the_functions_own_type_error_and_release_the_money(books: Books) -> None:
    with pytest.raises(TypeError, match="query"):
        search()  # type: ignore[call-arg]
    books.entries()
    assert books.level()["reserved"] == 0


def test_a_refused_function_is_not_run(books: Books) -> None:
    ran: list[int] = []

    @budget_controlled_api("small", estimate=11)
    def dear() -> None:
        ran.append(1)

    with pytest.raises(BudgetExceededException) as refused:
        dear()
    error = refused.value
    assert not ran
    assert (error.reason, error.budget, error.api, error.rule) == (
        "budget_insufficient",
        "small",
        "small",
        "small/call",
    )
    assert (error.limit, error.spent, error.reserved, error.estimate) == (Decimal(10), 0, 0, Decimal(11))
    assert books.entries() == []


def test_essential_calls_pass_the_restrict_threshold_and_others_do_not(books: Books) -> None:
    @budget_controlled_api("small", cost=9.5)
    def most() -> None: ...

    @budget_controlled_api("small", essential=False, cost=0.1)
    def ordinary() -> str:
        return "ran"

    @budget_controlled_api("small", essential=True, cost=0.1)
    def essential() -> str:
        return "ran"

    most()
    with pytest.raises(BudgetExceededException) as refused:
        ordinary()
    assert refused.value.reason == "budget_restricted"
    assert essential() == "ran"
    assert books.level("small")["spent"] == Decimal("9.6")


def test_free_calls_pass_an_exhausted_budget_and_are_in_the_ledger(books: Books) -> None:
    @budget_controlled_api("free")
    def look() -> int:
        return 1

    assert look() == 1
    assert (books.only()["cost"], books.only()["state"]) == ("0", "settled")


# --- generators ------------------------------------------------------------------------------------------------------


@budget_controlled_api("map")
def pages(count: int) -> Generator[int, str | None, str]:
    said = ""
    for number in range(count):
        said += f"{yield number},"
    return said


@budget_controlled_api("map")
async def pages_async(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def test_a_generator_holds_its_estimate_while_it_is_read(books: Books) -> None:
    made = pages(3)
    assert books.in_flight() == 0  # nothing was asked for yet
    assert next(made) == 0
    assert books.level() == {"spent": 0, "reserved": 2}
    assert list(made) == [1, 2]
    assert books.only()["cost"] == "2"
    assert books.level() == {"spent": 2, "reserved": 0}


def test_a_generator_can_be_sent_values_and_returns_one(books: Books) -> None:
    made = pages(2)
    next(made)
    made.send("first")
    with pytest.raises(StopIteration) as end:
        made.send("second")
    assert end.value.value == "first,second,"
    assert len(books.entries()) == 1


def test_a_generator_that_is_closed_or_forgotten_is_charged(books: Books) -> None:
    made = pages(3)
    next(made)
    made.close()
    forgotten = pages(3)
    next(forgotten)
    del forgotten
    assert [entry["cost"] for entry in books.entries()] == ["2", "2"]
    assert books.in_flight() == 0


def test_an_exception_thrown_into_a_generator_reaches_it(books: Books) -> None:
    caught: list[str] = []

    @budget_controlled_api("map")
    def careful() -> Iterator[int]:
        try:
            yield 1
        except KeyError:
            caught.append("key")
            yield 2

    made = careful()
    next(made)
    assert made.throw(KeyError("x")) == 2  # type: ignore[attr-defined]
    assert list(made) == []
    assert caught == ["key"]
    assert books.only()["cost"] == "2"


async def test_an_async_generator_is_charged_at_its_end(books: Books) -> None:
    assert [number async for number in pages_async(3)] == [0, 1, 2]
    assert books.only()["cost"] == "2"


async def test_an_async_generator_that_is_closed_is_charged(books: Books) -> None:
    made = pages_async(3)
    assert await anext(made) == 0
    await made.aclose()  # type: ignore[attr-defined]
    assert books.only()["cost"] == "2"


def test_a_function_that_returns_an_iterator_is_charged_when_that_ends(books: Books) -> None:
    @budget_controlled_api("map")
    def lines() -> Iterator[str]:
        return iter(["a", "b"])

    read = lines()
    assert books.level()["reserved"] == 2
    assert list(read) == ["a", "b"]
    assert books.only()["state"] == "settled"


# --- threads, loops, interruptions -----------------------------------------------------------------------------------


def test_threads_share_one_connection(books: Books) -> None:
    def work() -> None:
        for _ in range(20):
            search("x")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(books.entries()) == 160
    assert books.level() == {"spent": 320, "reserved": 0}

    def shared() -> bool:
        with books.client() as store:
            names = [one["name"] for one in store.client_list()]
        return (names.count("spendgate-program"), names.count("spendgate-calls")) == (1, 1)

    # The background thread's, and the threads' own; those of event loops that have ended are on their way out.
    eventually(shared, "one connection for all of them", 20)


def test_several_event_loops_use_it_one_after_the_other_and_at_once(books: Books) -> None:
    async def many() -> None:
        await asyncio.gather(*(search_async(str(number)) for number in range(10)))

    asyncio.run(many())
    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(books.entries()) == 40


async def test_a_blocking_function_works_inside_a_running_loop_as_in_a_notebook(books: Books) -> None:
    assert search("x")["query"] == "x"
    assert len(books.entries()) == 1


async def test_a_cancelled_call_is_charged_at_its_estimate(books: Books) -> None:
    began = asyncio.Event()

    @budget_controlled_api("map")
    async def slow() -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(slow())
    await began.wait()
    assert books.level()["reserved"] == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    entry = books.only()
    assert (entry["cost"], entry["state"]) == ("2", "estimated")


async def test_a_call_cancelled_while_it_asks_holds_nothing(books: Books) -> None:
    await search_async("the loop has its connection")
    tasks = [asyncio.create_task(search_async(str(number))) for number in range(20)]
    await asyncio.sleep(0)  # every question is on its way
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    assert len(books.entries()) == 1
    # A release may overtake its question, which came on another connection: then the next round of upkeep finds it.
    books.wait_released()
    assert books.level() == {"spent": 2, "reserved": 0}


def test_calls_inside_calls_are_charged_each(books: Books) -> None:
    @budget_controlled_api("small")
    def outer() -> str:
        return str(search("inner")["query"])

    assert outer() == "inner"
    assert sorted((entry["api"], entry["cost"]) for entry in books.entries()) == [("map", "2"), ("small", "1")]


def test_a_refusal_inside_releases_what_is_around_it(books: Books) -> None:
    @budget_controlled_api("small", estimate=11)
    def refused() -> None: ...

    @budget_controlled_api("map")
    def around() -> None:
        refused()

    with pytest.raises(BudgetExceededException):
        around()
    assert books.entries() == []
    assert books.level() == {"spent": 0, "reserved": 0}
