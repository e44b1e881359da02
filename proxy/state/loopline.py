"""One connection for the tasks of one event loop: a question is awaited there, and no other thread takes part.

The first few commands of a loop's turn are written at once, the rest of the turn together. It needs no task: the loop
tells when something can be read. A loop does not tell when it is closed: whoever keeps the lines looks for it (`ended`)
and abandons them; a loop that is dropped without being closed abandons its line itself.

Only `ended`, `waits_s`, `drain`, `abandon`, `retire`, `forget` and `give_back_unconfirmed` may be called from elsewhere
than its loop.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
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
        self._written = 0  # commands, one by one, since something was read
        self._flushing = False  # at the end of this turn of the loop
        self._stuck = False  # until the socket can be written again
        self._heard_s = time.monotonic()
        self._suspected = False
        self._busy = False  # an order is under way that nothing may come into
        self._reading = threading.Lock()
        self._watch: asyncio.TimerHandle | None = None
        loop.add_reader(self._descriptor, self._readable)
        self._end = weakref.finalize(loop, self.abandon)
        self._end.atexit = False

    def asked(self, name: str, rest: Packed) -> asyncio.Future[Reply]:
        """Run a script; its reply to come. Raises, and the reply too, as `ThreadLine.ask`, but never Unsent."""
        if self.lost is not None:
            raise StoreUnavailable(self.lost)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._send(self._store.encoded(name, rest), future, name, rest)
        return future

    def tell(self, statement: Statement) -> bool:
        """Write a statement. False: somebody else must.

        It is lost, this is not its loop, or a finalizer or signal handler has come in between.
        """
        if self._busy or self.lost is not None or asyncio._get_running_loop() is not self.loop():
            return False
        stated = self._stated(statement)
        self._send(self._store.encoded("settle", statement.parts), stated, "settle", statement.parts)
        self._write()  # not at the end of the turn: who knows what the program does until then
        return True

    def fresh(self) -> bool:
        """Whether it can be used: a line that nothing was heard of for a while is looked at."""
        if self.lost is None and time.monotonic() - self._heard_s > IDLE_S:
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

    def drain(self, until_s: float) -> None:
        """Write and read statements for a loop that cannot: this thread holds it up, or nobody runs it.

        From any thread; waits until then (`time.monotonic`) at most.
        """
        loop = self.loop()
        if loop is None or loop.is_closed():
            return
        ours = asyncio._get_running_loop() is loop
        while self.unconfirmed and self.lost is None and (left_s := until_s - time.monotonic()) > 0:
            if not self._reading.acquire(blocking=False):
                return
            try:
                # An answer to a question is for a task, which only its loop may wake.
                asked = any(isinstance(one, asyncio.Future) for one, _, _ in tuple(self._waiting))
                if not ours and (loop.is_running() or asked):
                    return
                writes = [self._socket] if self._unwritten else []
                readable, writable, _ = select.select([self._socket], writes, [], left_s)
                if writable:
                    self._push()
                if readable:
                    self._receive()
            finally:
                self._reading.release()

    def waits_s(self) -> float:
        """Since when (s ago) its loop has read nothing, although it stated something; 0 where all is confirmed."""
        return time.monotonic() - self._heard_s if self.unconfirmed else 0.0

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
            self._heard_s = time.monotonic()
            if self._watch is None:
                self._watch = loop.call_later(_WATCH_EVERY_S, self._look)
        self._busy = True
        self._waiting.append((receiver, name, rest))
        self._unwritten.append(command)
        self._busy = False
        if self._written < _WRITTEN_TOGETHER:
            self._written += 1
            self._write()
        elif len(self._unwritten) >= _WRITTEN_TOGETHER:
            self._write()
        elif not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._written = 0
        self._write()

    def _write(self) -> None:
        if not self._stuck and self._unwritten and self.lost is None and not self._push():
            self._stuck = True
            asyncio.get_running_loop().add_writer(self._descriptor, self._writable)

    def _push(self) -> bool:
        """Give the socket what it takes; whether that was all."""
        self._busy = True
        try:
            pieces, self._unwritten = self._unwritten, []
            data = b"".join(pieces)
            try:
                written = self._socket.send(data)
            except BlockingIOError:
                written = 0
            if written < len(data):
                self._unwritten.insert(0, data[written:])
        except OSError as error:
            self._lose(str(error))
        finally:
            self._busy = False
        return not self._unwritten

    def _writable(self) -> None:
        asyncio.get_running_loop().remove_writer(self._descriptor)
        self._stuck = False
        self._write()

    def _readable(self) -> bool:
        """Take what has come; whether there was something, and there may be more."""
        if not self._reading.acquire(blocking=False):
            return False  # `drain` does it
        try:
            return self._receive()
        finally:
            self._reading.release()

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(AT_ONCE)
            if data:
                self._written = 0
                self._heard_s = time.monotonic()
                self._take(data)
                return self.lost is None
            self._lose("the server closed the connection")
        except BlockingIOError:
            return False
        except (OSError, hiredis.ProtocolError, IndexError) as error:
            self._lose(str(error) or "not the Redis protocol")
        return False

    def _lose(self, reason: str) -> None:
        if asyncio._get_running_loop() is self.loop():
            self.close(reason)
        else:
            self.retire()

    def _look(self) -> None:
        """Close the connection when nothing came for too long (seen twice: not a stall of this loop)."""
        loop = asyncio.get_running_loop()
        self._watch = None
        if not self._waiting or self.lost is not None:
            self._suspected = False
            return
        late = time.monotonic() - self._heard_s > ANSWER_WITHIN_S
        if late and self._suspected:
            self.close(f"no answer within {ANSWER_WITHIN_S} s")
            return
        self._suspected = late
        self._watch = loop.call_later(0.02 if late else _WATCH_EVERY_S, self._look)
