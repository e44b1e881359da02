"""Connections on which callers wait themselves: whose answer is whose, and what becomes of all when one breaks."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from proxy.state.loopline import LoopLine
from proxy.state.resp import Packed, words
from proxy.state.statements import Statement
from proxy.state.store import ScriptError, Store, StoreUnavailable
from proxy.state.threadline import ThreadLine, Unsent

STORE = Store("unix:///nowhere")  # never connected: it knows the scripts
NUMBERED = [words(0, f"number {number}") for number in range(8)]


def command(name: str, parts: Packed) -> bytes:
    return STORE.encoded(name, parts)


@dataclass
class Far:
    """The server's end of a connection, played by the test, and what the line said of statements."""

    ours: socket.socket
    theirs: socket.socket
    confirmed: list[tuple[str, object]] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)

    def reads(self, *commands: bytes) -> None:
        wanted = b"".join(commands)
        got = b""
        while len(got) < len(wanted):
            got += self.theirs.recv(len(wanted) - len(got))
        assert got == wanted

    def says(self, data: bytes) -> None:
        self.theirs.sendall(data)

    def line(self) -> ThreadLine:
        return ThreadLine(
            self.ours,
            STORE,
            lambda statement, reply: self.confirmed.append((statement.call_id, reply)),
            lambda statement: self.given_back.append(statement.call_id),
        )

    def loop_line(self) -> LoopLine:
        return LoopLine(
            self.ours,
            STORE,
            lambda statement, reply: self.confirmed.append((statement.call_id, reply)),
            lambda statement: self.given_back.append(statement.call_id),
        )


@pytest.fixture
def far() -> Iterator[Far]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    with ours, theirs:
        yield Far(ours, theirs)


def statement(call_id: str, parts: Packed) -> Statement:
    return Statement(None, call_id, "settle", parts)  # type: ignore[arg-type]


class Asking(threading.Thread):
    """Asks one question, and keeps what came of it."""

    def __init__(self, line: ThreadLine, parts: Packed) -> None:
        super().__init__(daemon=True)
        self.line = line
        self.parts = parts
        self.came: object = None
        self.start()

    def run(self) -> None:
        try:
            self.came = self.line.ask("admit", self.parts)
        except (StoreUnavailable, ScriptError) as error:
            self.came = error

    def result(self) -> object:
        self.join(20)
        assert not self.is_alive()
        return self.came


# --- threads ---------------------------------------------------------------------------------------------------------


def test_each_thread_gets_its_own_answer_whoever_reads_it(far: Far) -> None:
    line = far.line()
    asking = []
    for number in range(4):
        asking.append(Asking(line, NUMBERED[number]))
        far.reads(command("admit", NUMBERED[number]))  # in this order
    far.says(b":0\r\n:")  # the first one reads, and leaves; half an answer is there for whoever goes on
    assert asking[0].result() == 0
    far.says(b"1\r\n:2\r\n")
    assert asking[1].result() == 1
    assert asking[2].result() == 2
    late = Asking(line, NUMBERED[4])
    far.reads(command("admit", NUMBERED[4]))
    far.says(b":3\r\n-ERR no\r\n")
    assert asking[3].result() == 3
    assert isinstance(late.result(), ScriptError)


def test_a_statement_is_written_at_once_and_confirmed_by_whoever_asks_next(far: Far) -> None:
    line = far.line()
    assert line.tell(statement("a", NUMBERED[0]))
    far.reads(command("settle", NUMBERED[0]))
    assert (next(iter(line.unconfirmed.values())).call_id, far.confirmed) == ("a", [])
    asking = Asking(line, NUMBERED[1])
    far.reads(command("admit", NUMBERED[1]))
    far.says(b"*1\r\n:7\r\n:1\r\n")
    assert asking.result() == 1
    assert far.confirmed == [("a", [7])]
    assert not line.unconfirmed


def test_a_statement_is_confirmed_when_nobody_asks_any_more(far: Far) -> None:
    line = far.line()
    line.tell(statement("a", NUMBERED[0]))
    line.tell(statement("b", NUMBERED[1]))
    far.says(b"*1\r\n:1\r\n-OOM no room\r\n")
    line.sweep()
    assert (far.confirmed, far.given_back) == ([("a", [1])], ["b"])


def test_a_script_that_the_server_forgot_is_sent_with_its_text(far: Far) -> None:
    line = far.line()
    asking = Asking(line, NUMBERED[0])
    far.reads(command("admit", NUMBERED[0]))
    far.says(b"-NOSCRIPT No matching script.\r\n")
    assert far.theirs.recv(12).startswith(b"*4\r\n$4\r\nEVAL")
    far.says(b":5\r\n")
    assert asking.result() == 5


def test_a_connection_that_breaks_fails_everybody_and_gives_statements_back_once(far: Far) -> None:
    line = far.line()
    line.tell(statement("a", NUMBERED[0]))
    far.reads(command("settle", NUMBERED[0]))
    asking = []
    for number in range(3):
        asking.append(Asking(line, NUMBERED[number]))
        far.reads(command("admit", NUMBERED[number]))
    far.theirs.close()
    assert all(isinstance(one.result(), StoreUnavailable) for one in asking)
    assert far.given_back == ["a"]
    with pytest.raises(Unsent):
        line.ask("admit", NUMBERED[0])
    assert not line.tell(statement("b", NUMBERED[1]))
    line.close()
    assert (far.given_back, far.confirmed) == (["a"], [])


def test_a_statement_that_cannot_be_written_is_given_back(far: Far) -> None:
    line = far.line()
    far.theirs.close()
    line.tell(statement("a", NUMBERED[0]))
    assert far.given_back == ["a"]
    assert line.lost is not None


def test_a_question_that_cannot_be_written_may_be_asked_another_way(far: Far) -> None:
    line = far.line()
    far.theirs.close()
    with pytest.raises(Unsent):
        line.ask("admit", NUMBERED[0])
    assert line.lost is not None


def test_a_server_that_says_nothing_loses_the_line_within_a_second(far: Far) -> None:
    line = far.line()
    asking = Asking(line, NUMBERED[0])
    failed = asking.result()
    assert isinstance(failed, StoreUnavailable)
    assert "no answer within" in str(failed)
    assert not line.fresh()


def test_a_server_that_left_while_nobody_asked_is_noticed_before_the_next_question(far: Far) -> None:
    line = far.line()
    assert line.fresh()
    line.tell(statement("a", NUMBERED[0]))
    far.says(b"*1\r\n:1\r\n")
    far.theirs.close()
    line._heard_s -= 1  # as if that had been a second ago
    assert not line.fresh()
    assert [call_id for call_id, _ in far.confirmed] == ["a"]


def test_what_comes_in_between_in_the_same_thread_is_told_to_go_another_way(far: Far) -> None:
    # As a signal handler would, or a finalizer: while this thread takes an answer it asks, and states, again.
    between: list[object] = []

    def confirmed(said: Statement, reply: object) -> None:
        with pytest.raises(Unsent):
            line.ask("admit", NUMBERED[2])
        between.append(line.tell(statement("c", NUMBERED[3])))

    line = ThreadLine(far.ours, STORE, confirmed, lambda statement: None)
    line.tell(statement("a", NUMBERED[0]))
    asking = Asking(line, NUMBERED[1])
    far.reads(command("settle", NUMBERED[0]), command("admit", NUMBERED[1]))
    far.says(b":1\r\n:2\r\n")
    assert asking.result() == 2
    assert between == [False]


# --- loops -----------------------------------------------------------------------------------------------------------


async def test_a_loop_reads_its_own_answers_and_writes_a_turn_together(far: Far) -> None:
    line = far.loop_line()
    asking = [line.asked("admit", parts) for parts in NUMBERED]
    await asyncio.sleep(0)
    asking[2].cancel()
    await asyncio.to_thread(far.reads, *(command("admit", parts) for parts in NUMBERED))
    assert line.tell(statement("a", NUMBERED[0]))
    far.says(b"".join(b":%d\r\n" % number for number in range(8)) + b"*1\r\n:9\r\n")
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [one for one in answers if isinstance(one, int)] == [0, 1, 3, 4, 5, 6, 7]
    await asyncio.sleep(0)
    assert far.confirmed == [("a", [9])]
    assert not await asyncio.to_thread(line.tell, statement("b", NUMBERED[1]))  # not from another thread
    line.close()


async def test_a_loop_writes_more_than_its_socket_takes_when_that_can_be_written(far: Far) -> None:
    line, large = far.loop_line(), words(0, "x" * 2_000_000)
    asked = line.asked("admit", large)
    behind = line.asked("admit", NUMBERED[0])
    await asyncio.to_thread(far.reads, command("admit", large), command("admit", NUMBERED[0]))
    far.says(b":1\r\n:2\r\n")
    assert (await asked, await behind) == (1, 2)
    line.close()


async def test_a_loops_connection_that_breaks_fails_everybody(far: Far) -> None:
    line = far.loop_line()
    line.tell(statement("a", NUMBERED[0]))
    asked = line.asked("admit", NUMBERED[1])
    await asyncio.sleep(0)
    far.theirs.close()
    with pytest.raises(StoreUnavailable):
        await asked
    assert far.given_back == ["a"]
    assert not line.fresh()


async def test_a_loop_does_not_wait_for_a_silent_server_longer_than_a_second_or_so(far: Far) -> None:
    line = far.loop_line()
    with pytest.raises(StoreUnavailable, match="no answer within"):
        await asyncio.wait_for(line.asked("admit", NUMBERED[0]), 20)


def test_a_loop_that_was_closed_leaves_nothing_open(far: Far) -> None:
    async def state() -> LoopLine:
        line = far.loop_line()
        line.tell(statement("a", NUMBERED[0]))
        return line

    loop = asyncio.new_event_loop()
    line = loop.run_until_complete(state())
    alive = line.ended
    loop.close()
    assert (alive, line.ended) == (False, True)
    line.abandon()
    assert (far.given_back, far.ours.fileno()) == (["a"], -1)


def test_the_answers_for_a_loop_that_stands_still_are_read_where_somebody_waits_for_them(far: Far) -> None:
    async def state() -> LoopLine:
        line = far.loop_line()
        line.tell(statement("a", NUMBERED[0]))
        return line

    async def drain() -> None:
        line.tell(statement("b", NUMBERED[1]))
        far.says(b"*1\r\n:2\r\n")
        line.drain(time.monotonic() + 20)

    loop = asyncio.new_event_loop()
    line = loop.run_until_complete(state())
    far.says(b"*1\r\n:1\r\n")
    line.drain(time.monotonic() + 20)
    assert far.confirmed == [("a", [1])]
    loop.run_until_complete(drain())  # held up by the very thread that waits
    loop.close()
    assert far.confirmed == [("a", [1]), ("b", [2])]
    line.abandon()
    assert far.given_back == []


def test_more_statements_than_the_socket_takes_are_written_where_somebody_waits_for_them(far: Far) -> None:
    async def state() -> LoopLine:
        line = far.loop_line()
        for number in range(40):
            line.tell(statement(f"call {number}", large))
        return line

    def server() -> None:
        far.reads(*[command("settle", large)] * 40)
        far.says(b"*1\r\n:1\r\n" * 40)

    large = words(0, "x" * 100_000)
    loop = asyncio.new_event_loop()
    line = loop.run_until_complete(state())  # the loop does not run any more, and most are not written
    serving = threading.Thread(target=server)
    serving.start()
    line.drain(time.monotonic() + 20)
    serving.join(20)
    assert [call_id for call_id, _ in far.confirmed] == [f"call {number}" for number in range(40)]
    loop.close()
    line.abandon()
