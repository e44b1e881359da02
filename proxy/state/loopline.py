"""One connection for the tasks of one event loop: a question is awaited there, and no other thread takes part.

The first command of a loop's turn is written at once, the rest of the turn in few writes. It needs no task: the loop
tells when something can be read. A loop does not tell when it is closed: whoever keeps the lines looks for it (`ended`)
and abandons them; a loop that is dropped without being closed abandons its line itself.

Only `ended`, `waits_s`, `abandon`, `retire`, `forget` and `give_back_unconfirmed` may be called from elsewhere than
its loop.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import Final

import hiredis

from proxy.state.line import AT_ONCE, IDLE_S, Confirmed, GivenBack, Line
from proxy.state.resp import Packed
from proxy.state.statements import Statement
from proxy.state.store import ANSWER_WITHIN_S, Receiver, Reply, Store, StoreUnavailable

_WATCH_EVERY_S: Final = 0.1
_WRITTEN_TOGETHER: Final = 4  # as Store does


class LoopLine(Line):
    """See the module. Made in its loop, while that runs."""

    def __init__(self, opened: socket.socket, store: Store, confirmed: Confirmed, given_back: GivenBack) -> None:
        super().__init__(opened, store, confirmed, given_back)
        loop = asyncio.get_running_loop()
        self.loop = weakref.ref(loop)  # not kept alive: a program may drop a loop that it never closes
        opened.setblocking(False)
        self._descriptor = opened.fileno()
        self._unwritten: list[bytes] = []
        self._turn = False  # something was written in this turn of the loop
        self._stuck = False  # until the socket can be written again
        self._heard_s = loop.time()
        self._suspected = False
        self._watch: asyncio.TimerHandle | None = None
        loop.add_reader(self._descriptor, self._readable)
        self._end = weakref.finalize(loop, self.abandon)
        self._end.atexit = False

    async def ask(self, name: str, rest: Packed) -> Reply:
        """Run a script; its reply. Raises as `ThreadLine.ask`, but never Unsent."""
        if self.lost is not None:
            raise StoreUnavailable(self.lost)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._send(self._store.encoded(name, rest), future, name, rest)
        return await future

    def tell(self, statement: Statement) -> bool:
        """Write a statement. False: somebody else must, because this is not its loop, or it is lost."""
        if self.lost is not None or asyncio._get_running_loop() is not self.loop():
            return False
        stated = self._stated(statement)
        self._send(self._store.encoded("settle", statement.parts), stated, "settle", statement.parts)
        return True

    def fresh(self) -> bool:
        """Whether it can be used: a line that nothing was heard of for a while is looked at."""
        loop = self.loop()
        if self.lost is None and loop is not None and loop.time() - self._heard_s > IDLE_S:
            while self._readable():
                continue
        return self.lost is None

    def close(self, reason: str = "closed by us") -> None:
        """In its loop: everybody who waits learns it, and what is not confirmed yet is given back."""
        self.lost = self.lost or reason
        loop = self.loop()
        if loop is not None and self._socket.fileno() >= 0:
            loop.remove_reader(self._descriptor)
            loop.remove_writer(self._descriptor)
        if self._watch is not None:
            self._watch.cancel()
        self._end.detach()
        self._socket.close()
        self._fail()

    def retire(self) -> None:
        """No use from now on: closed in its loop as soon as that runs."""
        self.lost = self.lost or "closed by us"
        self.give_back_unconfirmed()
        loop = self.loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self.close)
        except RuntimeError:
            self.abandon()

    def waits_s(self) -> float:
        """Since when (s ago) its loop has read nothing, although it stated something; 0 where all is confirmed."""
        loop = self.loop()
        return loop.time() - self._heard_s if loop is not None and self.unconfirmed else 0.0

    @property
    def ended(self) -> bool:
        """Whether nobody can use it any more."""
        loop = self.loop()
        return self.lost is not None or loop is None or loop.is_closed()

    def abandon(self) -> None:
        """Its loop is closed or gone, and with it everybody who waited."""
        self._end.detach()
        self.lost = self.lost or "its event loop is closed"
        self._socket.close()
        self.give_back_unconfirmed()

    # --- inside --------------------------------------------------------------------------------------------------

    def _send(self, command: bytes, receiver: Receiver, name: str, rest: Packed) -> None:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._heard_s = loop.time()
            if self._watch is None:
                self._watch = loop.call_later(_WATCH_EVERY_S, self._look)
        self._waiting.append((receiver, name, rest))
        self._unwritten.append(command)
        if not self._turn:
            self._turn = True
            loop.call_soon(self._end_turn)
            self._write()
        elif len(self._unwritten) >= _WRITTEN_TOGETHER:
            self._write()

    def _end_turn(self) -> None:
        self._turn = False
        self._write()

    def _write(self) -> None:
        if self._stuck or not self._unwritten or self.lost is not None:
            return
        pieces, self._unwritten = self._unwritten, []
        data = b"".join(pieces) if len(pieces) > 1 else pieces[0]
        try:
            written = self._socket.send(data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self.close(str(error))
            return
        if written < len(data):
            self._unwritten.insert(0, data[written:])
            self._stuck = True
            asyncio.get_running_loop().add_writer(self._descriptor, self._writable)

    def _writable(self) -> None:
        asyncio.get_running_loop().remove_writer(self._descriptor)
        self._stuck = False
        self._write()

    def _readable(self) -> bool:
        """Take what has come; whether there was something, and there may be more."""
        try:
            data = self._socket.recv(AT_ONCE)
            if data:
                self._heard_s = asyncio.get_running_loop().time()
                self._take(data)
                return self.lost is None
            self.close("the server closed the connection")
        except BlockingIOError:
            return False
        except (OSError, hiredis.ProtocolError, IndexError) as error:
            self.close(str(error) or "not the Redis protocol")
        return False

    def _look(self) -> None:
        """Close the connection when nothing came for too long (seen twice: not a stall of this loop)."""
        loop = asyncio.get_running_loop()
        self._watch = None
        if not self._waiting or self.lost is not None:
            self._suspected = False
            return
        late = loop.time() - self._heard_s > ANSWER_WITHIN_S
        if late and self._suspected:
            self.close(f"no answer within {ANSWER_WITHIN_S} s")
            return
        self._suspected = late
        self._watch = loop.call_later(0.02 if late else _WATCH_EVERY_S, self._look)
