"""Several processes and threads, forks, kills and exits: exact winners, and nothing lost."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

import proxy
from proxy import BudgetExceededException, budget_controlled_api
from proxy.inprocess import host as hosts
from tests.e2e.support import eventually
from tests.inprocess.conftest import Books, Run, finished
from tests.state.conftest import a_server

RACER = """
import sys, threading, asyncio
from proxy import BudgetExceededException, budget_controlled_api, flush
gate = threading.Barrier(25)
@budget_controlled_api("small")
def call():
    return 1
@budget_controlled_api("small")
async def acall():
    return 1
won = []
def one():
    gate.wait()
    try:
        won.append(call())
    except BudgetExceededException as error:
        assert error.budget == "small"
async def both():
    results = await asyncio.gather(*(acall() for _ in range(25)), return_exceptions=True)
    won.extend(r for r in results if r == 1)
from proxy.inprocess.host import host
host()
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=one) for _ in range(25)]
for thread in threads: thread.start()
asyncio.run(both())
for thread in threads: thread.join()
print(len(won))
"""


def test_of_a_hundred_calls_from_two_processes_exactly_ten_pass(books: Books, run: Run) -> None:
    # One won each, a budget of ten won, from threads and from event loops. The tenth begins below the restrict
    # threshold of 95 %; from then on nothing fits.
    racers = [run(RACER) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    passed = sum(int(finished(racer)) for racer in racers)
    assert passed == 10
    assert books.level("small") == {"spent": 10, "reserved": 0}
    assert len(books.written()) == 10


def test_of_a_hundred_threads_exactly_as_many_pass_as_the_money_allows(books: Books) -> None:
    @budget_controlled_api("small", estimate=3, cost=3)
    def call() -> int:
        hold.wait(20)
        return 1

    def one() -> int:
        try:
            return call()
        except BudgetExceededException as error:
            later.append(error.should_retry)
            refused.release()
            return 0

    later: list[bool] = []
    hold, refused = threading.Event(), threading.Semaphore(0)
    with ThreadPoolExecutor(100) as pool:
        results = [pool.submit(one) for _ in range(100)]
        for _ in range(97):
            assert refused.acquire(timeout=20)
        hold.set()
    assert sum(result.result() for result in results) == 3
    assert later == [True] * 97  # the money is only held
    proxy.flush()
    assert books.level("small") == {"spent": 9, "reserved": 0}


KILLED = """
import os, sys
from proxy import budget_controlled_api
@budget_controlled_api("map")
def call():
    print("inside", flush=True)
    sys.stdin.readline()
call()
"""


def test_a_process_killed_in_a_call_is_charged_when_its_lease_has_run_out(run: Run, books: Books) -> None:
    killed = run(KILLED, SPENDGATE_LEASE="1")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "inside\n"
    assert books.level() == {"spent": 0, "reserved": 2}
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(10) == -signal.SIGKILL
    hosts.host()  # any other program on the store charges it
    (entry,) = eventually(books.written, "the entry of the killed call", 20)
    assert (entry["state"], entry["cost"], entry["path"]) == ("unconfirmed", "2", "__main__.call")
    assert books.level() == {"spent": 2, "reserved": 0}


def test_a_program_that_just_ends_has_written_everything(books: Books, run: Run) -> None:
    code = """
import asyncio
from proxy import budget_controlled_api
@budget_controlled_api("map")
def call():
    return 1
@budget_controlled_api("map")
async def acall():
    return 1
async def many():
    await asyncio.gather(*(acall() for _ in range(50)))
asyncio.run(many())
for _ in range(50):
    call()
"""
    assert finished(run(code)) == ""
    assert len(books.written()) == 100
    assert books.in_flight() == 0


def test_a_program_that_ends_in_an_exception_says_only_that(books: Books, run: Run) -> None:
    code = """
from proxy import budget
with budget("small", estimate=11):
    pass
"""
    process = run(code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert (
        err.rstrip().splitlines()[-1].startswith("proxy.inprocess.errors.BudgetExceededException: This call may cost")
    )
    assert "Exception ignored" not in err


# --- fork ------------------------------------------------------------------------------------------------------------


def _in_child(results: multiprocessing.Queue[object]) -> None:
    @budget_controlled_api("map")
    def call() -> int:
        return os.getpid()

    inherited = open_sockets()
    results.put([call() for _ in range(5)])
    results.put(proxy.flush())
    results.put(inherited)


def open_sockets() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in found if name.startswith("socket:")}


def to_the_store() -> set[str]:
    """This process's connections to the store: the threads' and the background thread's."""
    known = hosts.host()
    line, link = known.direct._line, known.store._link
    assert line is not None
    assert link is not None
    assert link._transport is not None
    numbers = (line._socket.fileno(), link._transport.get_extra_info("socket").fileno())
    return {os.readlink(f"/proc/self/fd/{number}") for number in numbers}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection_and_leaves_the_parents_alone(books: Books) -> None:
    @budget_controlled_api("map")
    def call() -> str:
        return "ran"

    @budget_controlled_api("map")
    def across() -> object:
        yield 1
        yield 2

    parents = across()
    assert next(parents) == 1  # type: ignore[call-overload]
    assert call() == "ran"
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[object] = context.Queue()
    children = [context.Process(target=_in_child, args=(results,)) for _ in range(2)]
    for child in children:
        child.start()
    answers = [results.get(timeout=30) for _ in range(6)]
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    pids = {pid for answer in answers if isinstance(answer, list) for pid in answer}
    assert pids == {child.pid for child in children}
    assert [answer for answer in answers if isinstance(answer, int)] == [0, 0]
    ours = to_the_store()
    assert len(ours) == 2
    assert all(ours.isdisjoint(answer) for answer in answers if isinstance(answer, set))
    assert call() == "ran"  # the parent's connection still works
    assert list(parents) == [2]  # type: ignore[call-overload]
    assert len(books.entries()) == 2 * 5 + 3  # the child did not end the parent's generator
    assert books.level() == {"spent": 26, "reserved": 0}


def test_a_child_forked_before_the_first_call_works(books: Books, run: Run) -> None:
    code = """
import os
from proxy import budget_controlled_api
@budget_controlled_api("map")
def call():
    return 1
child = os.fork()
call()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    finished(run(code))
    assert len(books.written()) == 2
    assert books.in_flight() == 0


# --- the store comes and goes ----------------------------------------------------------------------------------------


AWAY = """
import sys, time
from proxy import BudgetExceededException, StoreUnavailableException, budget_controlled_api, flush
@budget_controlled_api("map")
def call():
    return 1
@budget_controlled_api("map")
def long():
    print("inside", flush=True)
    sys.stdin.readline()
    return 1
call()
long()                       # its settlement finds no store
print("left", flush())
began = time.monotonic()
try:
    call()
except StoreUnavailableException as error:
    assert isinstance(error, BudgetExceededException) and error.reason == "store_unavailable" and error.should_retry
    print("refused", time.monotonic() - began < 3, flush=True)
sys.stdin.readline()
while True:
    try:
        call()
        break
    except StoreUnavailableException:
        time.sleep(0.05)
print("left", flush())
"""


def test_without_the_store_calls_are_refused_and_what_ran_is_written_when_it_is_back(
    tmp_path: Path, run: Run, rules_file: Path
) -> None:
    # Without fsync every write reaches the kernel before its reply; with it a slow disk may put one off, and a kill
    # loses it.
    with a_server("valkey", tmp_path / "server", "--appendfsync", "no") as server:
        program = run(AWAY, SPENDGATE_REDIS=server.url)
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "inside\n"
        server.kill()
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "left 1\n"
        assert program.stdout.readline() == "refused True\n"
        server.start()
        assert finished(program, "\n") == "left 0\n"
        books = Books(server.url, rules_file)
        assert [(entry["path"], entry["cost"]) for entry in books.written()] == [
            ("__main__.call", "2"),
            ("__main__.long", "2"),
            ("__main__.call", "2"),
        ]
        assert books.in_flight() == 0


# --- where the rules and the store are -------------------------------------------------------------------------------

ONE_CALL = """
from proxy import budget_controlled_api
@budget_controlled_api("map")
def call():
    return 1
call()
"""


def test_the_environment_says_where_and_the_ledger_command_shows_the_call(books: Books, run: Run) -> None:
    finished(run(ONE_CALL))
    shown = subprocess.run(
        [sys.executable, "-m", "proxy", "ledger", "--json", "--redis", books.url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (entry,) = map(json.loads, shown.splitlines())
    assert (entry["method"], entry["path"], entry["api"], Decimal(entry["cost"])) == ("CALL", "__main__.call", "map", 2)


def test_without_a_redis_the_embedded_store_is_shared_and_stops_with_its_last_user(
    rules_file: Path, tmp_path: Path, run: Run
) -> None:
    environ = {"SPENDGATE_REDIS": "", "REDIS_URL": "", "SPENDGATE_DATA": str(tmp_path / "d")}
    code = ONE_CALL + "print('called', flush=True)\nimport sys\nsys.stdin.readline()\n"
    first, second = run(code, **environ), run(code, **environ)
    for program in (first, second):
        assert program.stdout is not None
        assert program.stdout.readline() == "called\n"
    finished(first, "\n")
    facts = json.loads((tmp_path / "d" / "embedded.json").read_text())
    assert Path(f"/proc/{facts['pid']}").exists()  # the second one still uses it
    finished(second, "\n")
    eventually(lambda: not Path(f"/proc/{facts['pid']}").exists(), "the end of the store")
    shown = subprocess.run(
        [sys.executable, "-m", "proxy", "ledger", "--json", "--data", str(tmp_path / "d")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(shown.splitlines()) == 2


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SPENDGATE_RULES": "/nowhere/rules.yaml"}, "The rules cannot be used"),
        ({"SPENDGATE_REDIS": "http://x"}, "begins with redis://"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_first_call(
    books: Books, run: Run, environ: dict[str, str], words: str
) -> None:
    process = run(ONE_CALL, **environ)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ConfigurationError" in err.splitlines()[-1] or "ConfigurationError" in err
    assert words in err


def test_a_caller_that_the_rules_ask_for(tmp_path: Path, books: Books, run: Run) -> None:
    rules = tmp_path / "rules.yaml"
    extra = "callers:\n  - {name: batch, key_env: BATCH_KEY, budget: {limit: 3, period: month}}\n"
    rules.write_text(books.rules.read_text() + extra)
    environ = {"SPENDGATE_RULES": str(rules), "BATCH_KEY": "k-12345678"}
    code = """
import proxy
from proxy import UnknownCallerException, BudgetExceededException, budget_controlled_api
@budget_controlled_api("map")
def call():
    return 1
try:
    call()
except UnknownCallerException as error:
    print(error)
proxy.configure(caller="bathc")
try:
    call()
except UnknownCallerException as error:
    print(error)
proxy.configure(caller="batch")
call()
try:
    call()
except BudgetExceededException as error:
    print(error.budget, error.caller)
"""
    first, second, third = finished(run(code, **environ)).splitlines()
    assert "SPENDGATE_CALLER" in first
    assert "no caller named “bathc”" in second
    assert third.endswith(" batch")


def test_saved_rules_hold_without_a_restart(tmp_path: Path, books: Books, run: Run) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(books.rules.read_text())
    code = """
import sys
from proxy import budget_controlled_api, flush
from proxy.inprocess.host import host
@budget_controlled_api("map")
def call():
    return 1
call()
for line in sys.stdin:
    print(host().rules.digest, flush=True)
    call()
    flush()
"""
    program = run(code, SPENDGATE_RULES=str(rules))
    assert program.stdin is not None
    assert program.stdout is not None

    def digest() -> str:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("\n")
        program.stdin.flush()
        return program.stdout.readline()

    before = digest()
    rules.write_text(books.rules.read_text().replace("per_request: 2}", "per_request: 3}"))
    eventually(lambda: digest() != before, "the new rules", 20)
    after = digest()
    rules.write_text("version: nonsense")
    digest()
    assert digest() == after
    finished(program, "")
    assert {entry["cost"] for entry in books.written()} == {"2", "3"}
    assert books.written()[-1]["cost"] == "3"


def test_importing_proxy_costs_nothing_and_the_decorators_bring_no_client(run: Run) -> None:
    code = """
import sys
import proxy
assert not any(name.startswith("proxy.") for name in sys.modules), sorted(sys.modules)
from proxy import BudgetExceededException
heavy = {"redis", "aiohttp", "pydantic", "uvloop"} & set(sys.modules)
assert not heavy, heavy
try:
    proxy.nothing
except AttributeError as error:
    print(error)
print(sorted(name for name in proxy.__all__ if getattr(proxy, name, None) is None))
"""
    assert finished(run(code)).splitlines() == ["module 'proxy' has no attribute 'nothing'", "[]"]
