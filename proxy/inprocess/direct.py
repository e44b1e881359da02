"""The short way to the store: a thread, or an event loop, asks on a connection of its own and is woken by nobody else.

One connection for all threads that block (state/threadline.py), one for each event loop (state/loopline.py), each made
at the first question. The gate builds questions and statements and reads the answers, as it does for the host's thread;
here it is decided who goes the short way, and what becomes of a statement whose connection breaks: the host's gate
takes it over, and repeats it until it is written.

The long way, through the host's thread, is for what may wait there (a rate limit's queue), for TLS, and for whoever
comes in between (a signal handler inside a question). And for refusals: what was stated on another connection a moment
ago may reach the server later than the question. So nobody is refused before the question was also asked behind it.

Mutable state: the connections.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.core.model import Admitted, Ask, Denied
from proxy.state.gate import RESTLESS, ROUNDS, Gate, store_denial
from proxy.state.line import Line, dial
from proxy.state.loopline import LoopLine
from proxy.state.plan import Plan
from proxy.state.store import ANSWER_WITHIN_S, ScriptError, Store, StoreUnavailable
from proxy.state.threadline import ThreadLine, Unsent

if TYPE_CHECKING:
    from proxy.state.statements import Statement

NAME: Final = "spendgate-calls"  # of the connections, as CLIENT LIST shows them
SWEPT_EVERY_S: Final = 0.25
UNREAD_S: Final = 1.0
_DIALED_AGAIN_S: Final = 0.2

Answered = Admitted | Denied
Answer = tuple[Answered, Line | None]
HandOver = Callable[..., None]


class Direct:
    """The connections of one process's callers. hand_over: does something on the host's thread.

    elsewhere: whether something was stated on the host's connection, or is to be, that is not confirmed yet.
    """

    def __init__(self, url: str, store: Store, gate: Gate, hand_over: HandOver, elsewhere: Callable[[], bool]) -> None:
        self.possible = not url.startswith("rediss:")
        self._url = url
        self._store = store
        self._gate = gate
        self._hand_over = hand_over
        self._elsewhere = elsewhere
        self._line: ThreadLine | None = None
        self._dialing = threading.RLock()
        self._refused: tuple[float, str] = (0.0, "")  # when dialing failed last, and why
        self._loops: dict[int, LoopLine] = {}  # by identity of the loop
        self._opening: dict[int, asyncio.Future[LoopLine]] = {}

    # --- questions -----------------------------------------------------------------------------------------------

    def ask(self, ask: Ask) -> Answer | None:
        """The answer, and the line on which the call's end is to be stated; None: ask the long way. As `Gate.admit`."""
        gate, plan = self._gate, None
        try:
            line = self._of_threads()
            behind = self._behind(line)
            now_ms = ask.at_ms
            for _ in range(ROUNDS):
                plan, parts = gate.question(ask, now_ms)
                reply = line.ask("admit", parts)
                answer = gate.answer(ask, plan, reply)
                if answer is not None:
                    return None if behind and isinstance(answer, Denied) else (answer, line)
                now_ms = reply[1]
        except Unsent:
            return None
        except BaseException as error:
            return self._given_up(ask, plan, error), None
        return store_denial(RESTLESS), None

    async def ask_async(self, ask: Ask) -> Answer | None:
        """The same for a task; cancelled, what the question may have reserved is released."""
        gate, plan = self._gate, None
        try:
            loop = asyncio.get_running_loop()
            line = self._of_loop(loop) or await self._opening_for(loop)
            behind = self._behind(line)
            now_ms = ask.at_ms
            for _ in range(ROUNDS):
                plan, parts = gate.question(ask, now_ms)
                reply = await line.asked("admit", parts)
                answer = gate.answer(ask, plan, reply)
                if answer is not None:
                    return None if behind and isinstance(answer, Denied) else (answer, line)
                now_ms = reply[1]
        except BaseException as error:
            return self._given_up(ask, plan, error), None
        return store_denial(RESTLESS), None

    def _given_up(self, ask: Ask, plan: Plan | None, error: BaseException) -> Denied:
        """There is no answer, or nobody to take it. plan: as asked, None if nothing was. Raises what is no refusal."""
        if plan is not None and not isinstance(error, ScriptError):
            self._hand_over(self._gate.forget, plan, ask)
        if isinstance(error, StoreUnavailable):
            return store_denial(str(error))
        raise error

    def _behind(self, line: Line) -> bool:
        """Whether something was stated elsewhere that this question may overtake."""
        if self._elsewhere():
            return True
        threads = self._line
        if threads is not None and threads is not line and threads.unconfirmed:
            return True
        loops = tuple(self._loops.values())
        return loops != (line,) and any(other is not line and other.unconfirmed for other in loops)

    # --- statements ----------------------------------------------------------------------------------------------

    def tell(self, statement: Statement, line: Line | None) -> None:
        """State the end of a call, on the line that asked for it if that can be; nobody waits for the answer."""
        if line is None or not line.tell(statement):
            self._hand_over(self._gate.take_over, statement)

    def _given_back(self, statement: Statement) -> None:
        self._hand_over(self._gate.take_over, statement)

    # --- connections ---------------------------------------------------------------------------------------------

    def _of_threads(self) -> ThreadLine:
        """Raises StoreUnavailable."""
        line = self._line
        if line is not None and line.fresh():
            return line
        with self._dialing:
            line = self._line
            if line is not None and line.lost is None:
                return line
            opened = self._dial()
            line = self._line
            if line is not None and line.lost is None:  # a signal handler has asked meanwhile
                opened.close()
                return line
            line = self._line = ThreadLine(opened, self._store, self._gate.confirmed, self._given_back)
            return line

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> LoopLine | None:
        line = self._loops.get(id(loop))
        return line if line is not None and line.loop() is loop and line.fresh() else None

    async def _opening_for(self, loop: asyncio.AbstractEventLoop) -> LoopLine:
        """Raises StoreUnavailable."""
        opening = self._opening.get(id(loop))
        if opening is None or opening.get_loop() is not loop or opening.done():
            opening = self._opening[id(loop)] = loop.create_future()
            opening.add_done_callback(_seen)
            threading.Thread(target=self._open, args=(loop, opening), name="spendgate-dial", daemon=True).start()
        return await asyncio.shield(opening)

    def _open(self, loop: asyncio.AbstractEventLoop, opening: asyncio.Future[LoopLine]) -> None:
        """Dial, in a thread that may wait, and tell the loop, unless that was closed meanwhile."""
        opened: socket.socket | None = None
        failed: BaseException | None = None
        try:
            opened = self._dial()
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(self._opened, loop, opening, opened, failed)
        except RuntimeError:
            if opened is not None:
                opened.close()

    def _opened(
        self,
        loop: asyncio.AbstractEventLoop,
        opening: asyncio.Future[LoopLine],
        opened: socket.socket | None,
        failed: BaseException | None,
    ) -> None:
        self._opening.pop(id(loop), None)
        if opened is not None:
            line = LoopLine(opened, self._store, self._gate.confirmed, self._given_back)
            self._loops[id(loop)] = line
            if not opening.done():
                opening.set_result(line)
        elif failed is not None and not opening.done():
            opening.set_exception(failed)

    def _dial(self) -> socket.socket:
        """Raises StoreUnavailable, at once where the store is known to be away."""
        if not self._store.connected:
            raise StoreUnavailable(self._store.reason)
        failed_s, why = self._refused
        if why and time.monotonic() - failed_s < _DIALED_AGAIN_S:
            raise StoreUnavailable(why)
        try:
            return dial(self._url, NAME)
        except StoreUnavailable as error:
            self._refused = (time.monotonic(), str(error))
            raise

    # --- upkeep --------------------------------------------------------------------------------------------------

    async def maintain(self, every_s: float = SWEPT_EVERY_S) -> None:
        """On the host's thread, until cancelled: take answers that nobody came for, and let go of loops that ended."""
        while True:
            await asyncio.sleep(every_s)
            if (line := self._line) is not None:
                line.sweep()
            for key, one in tuple(self._loops.items()):
                if one.ended:
                    self._loops.pop(key, None)
                    one.abandon()
                elif one.waits_s() > UNREAD_S:
                    # Its loop does not come to read the answers. What was charged already is not charged again.
                    one.give_back_unconfirmed()

    def drain(self, within_s: float) -> None:
        """Wait until what was stated is confirmed; what then is not, the host's thread states once more."""
        until_s = time.monotonic() + min(within_s, ANSWER_WITHIN_S)
        if (line := self._line) is not None:
            line.drain()
            line.give_back_unconfirmed()
        for one in tuple(self._loops.values()):
            one.drain(until_s)
            one.give_back_unconfirmed()

    def close(self) -> None:
        """Let go of every connection. Questions that wait are unanswered."""
        if (line := self._line) is not None:
            line.close()
        for one in tuple(self._loops.values()):
            one.retire()

    def forget(self) -> None:
        """In a forked child: close its copies of the parent's connections."""
        for line in (self._line, *self._loops.values()):
            if line is not None:
                line.forget()


def _seen(opening: asyncio.Future[LoopLine]) -> None:
    """Nobody may have waited for it to the end."""
    if not opening.cancelled():
        opening.exception()
