"""One connection for all threads of a program: each asks and blocks until its answer is there.

There is no thread that reads for the others. Of those who wait, one reads, and gives the others theirs; when it has its
own, another one goes on. A thread that is alone therefore writes and reads its own socket, and nothing wakes anybody.

What one thread sends, and what any thread sends after that, the server sees in this order.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import Final

import hiredis

from proxy.state.line import AT_ONCE, IDLE_S, Confirmed, GivenBack, Line
from proxy.state.resp import Packed, words
from proxy.state.statements import Statement
from proxy.state.store import ANSWER_WITHIN_S, Receiver, Reply, Store, StoreUnavailable

_ONCE_MORE_S: Final = 0.05  # nothing came in time: was it this process that stood still?
_TURN_S: Final = 1.0
_PING: Final = b"*1\r\n$4\r\nPING\r\n"
_NOTHING: Final = words()


class Unsent(Exception):
    """Nothing was sent: the line is lost, or this thread is inside it already, and a signal handler, or a finalizer,
    has come in between."""


class _Asked:
    """Receives the answer to a thread's question. `turn` is free when there is something for the thread to do."""

    __slots__ = ("ended", "error", "reply", "turn", "unsent")

    def __init__(self) -> None:
        self.ended = False
        self.unsent = False
        self.reply: Reply = None
        self.error: BaseException | None = None
        self.turn = threading.Lock()
        self.turn.acquire()

    def done(self) -> bool:
        return self.ended

    def set_result(self, reply: Reply) -> None:
        self.reply = reply
        self.ended = True
        self.wake()

    def set_exception(self, error: BaseException) -> None:
        self.error = error
        self.ended = True
        self.wake()

    def wake(self) -> None:
        try:  # noqa: SIM105 - suppress() costs more than all the rest of an answer's way to its thread
            self.turn.release()
        except RuntimeError:
            pass  # awake already


class ThreadLine(Line):
    """See the module. Everything may be called from any thread."""

    def __init__(self, opened: socket.socket, store: Store, confirmed: Confirmed, given_back: GivenBack) -> None:
        super().__init__(opened, store, confirmed, given_back)
        opened.settimeout(None)
        # By the kernel: Python's own time-out costs one system call more for each.
        within = struct.pack("ll", int(ANSWER_WITHIN_S), int(ANSWER_WITHIN_S % 1 * 1e6))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, within)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, within)
        self._sending = threading.Lock()
        self._reading = threading.Lock()  # whoever holds it takes replies, and may take leave of a lost line
        self._inside: set[int] = set()  # threads; see Unsent
        self._heard_s = time.monotonic()  # when something came, or was waited for again

    def ask(self, name: str, rest: Packed) -> Reply:
        """Run a script and wait for its reply.

        Raises StoreUnavailable when there is none (the script may have run or not), ScriptError when the server
        refused, Unsent when it certainly has not run.
        """
        return self._ask(self._store.encoded(name, rest), name, rest)

    def tell(self, statement: Statement) -> bool:
        """Write a statement; whoever asks next takes its answer. False: this thread cannot, somebody else must."""
        me = threading.get_ident()
        if me in self._inside or self.lost is not None:
            return False
        stated = self._stated(statement)
        try:
            self._inside.add(me)
            self._send(self._store.encoded("settle", statement.parts), stated, "settle", statement.parts)
            if self._is_lost():
                with self._reading:  # whoever has it leaves at once
                    self._fail()
        finally:
            self._inside.discard(me)
        return True

    def sweep(self) -> None:
        """Take what has come meanwhile, without waiting, and see whether the server is still there."""
        me = threading.get_ident()
        if me in self._inside or not self._reading.acquire(blocking=False):
            return
        try:
            self._inside.add(me)
            while self.lost is None and self._receive(socket.MSG_DONTWAIT):
                continue
            if self.lost is not None:
                self._leave()
        except BaseException:
            self._lose("interrupted")  # what was read may be gone
            raise
        finally:
            self._inside.discard(me)
            self._reading.release()
            self._pass_on()

    def fresh(self) -> bool:
        """Whether it can be used: a line that nothing was heard of for a while is looked at."""
        if self.lost is None and time.monotonic() - self._heard_s > IDLE_S:
            self.sweep()
        return self.lost is None

    def drain(self) -> None:
        """Wait until every statement written before is answered, at most as long as for any answer."""
        if self.unconfirmed:
            with contextlib.suppress(StoreUnavailable, Unsent):
                self._ask(_PING, "", _NOTHING)

    def close(self) -> None:
        """What is not confirmed yet is given back."""
        self._lose("closed by us")
        if self._reading.acquire(timeout=_TURN_S):
            self._fail()
            self._reading.release()
        self._socket.close()
        self.give_back_unconfirmed()

    # --- inside --------------------------------------------------------------------------------------------------

    def _ask(self, command: bytes, name: str, rest: Packed) -> Reply:
        me, asked = threading.get_ident(), _Asked()
        if me in self._inside or self.lost is not None:
            raise Unsent
        try:
            self._inside.add(me)
            self._send(command, asked, name, rest)
            if asked.unsent:
                asked.ended = True
                raise Unsent
            self._wait(asked)
        finally:
            self._inside.discard(me)
            if not asked.ended:
                asked.ended = True  # interrupted: its answer is nobody's
                self._pass_on()
        if asked.error is not None:
            raise asked.error
        return asked.reply

    def _send(self, command: bytes, receiver: Receiver, name: str, rest: Packed) -> None:
        """Written at once. What cannot be written loses the line: then whoever reads fails those who wait."""
        try:
            with self._sending:
                if not self._waiting:
                    self._heard_s = time.monotonic()
                self._waiting.append((receiver, name, rest))
                self._socket.sendall(command)
        except OSError as error:
            if isinstance(receiver, _Asked):
                receiver.unsent = isinstance(error, ConnectionError)  # a part of a command at most
            self._lose(str(error))
        except BaseException:
            self._lose("interrupted")  # in the middle of a command, for all we know
            raise

    def _wait(self, asked: _Asked) -> None:
        while not asked.ended:
            if self._reading.acquire(blocking=False):
                try:
                    while not asked.ended:
                        if self.lost is None:
                            self._receive()
                        if self.lost is not None:
                            self._leave()
                except BaseException:
                    self._lose("interrupted")  # what was read may be gone
                    raise
                finally:
                    self._reading.release()
                    self._pass_on()
            else:
                asked.turn.acquire(timeout=_TURN_S)

    def _pass_on(self) -> None:
        """Wake the next one who waits: nobody reads any more."""
        for receiver, _, _ in tuple(self._waiting):
            if isinstance(receiver, _Asked) and not receiver.ended:
                receiver.wake()
                return

    def _leave(self) -> None:
        """A lost line fails everybody. Only with `_reading`."""
        self._fail()
        self._socket.close()

    def _receive(self, flags: int = 0) -> bool:
        """Wait for something and take it; whether something came. Only with `_reading`."""
        try:
            data = self._socket.recv(AT_ONCE, flags)
            if data:
                self._heard_s = time.monotonic()
                self._take(data)
                return True
            self._lose("the server closed the connection")
        except BlockingIOError:
            late = bool(self._waiting) and time.monotonic() - self._heard_s > ANSWER_WITHIN_S
            if late and not select.select([self._socket], [], [], _ONCE_MORE_S)[0]:
                self._lose(f"no answer within {ANSWER_WITHIN_S} s")
        except (OSError, hiredis.ProtocolError, IndexError) as error:
            self._lose(str(error) or "not the Redis protocol")
        return False

    def _is_lost(self) -> bool:
        return self.lost is not None

    def _lose(self, reason: str) -> None:
        """No use any more; whoever reads just now wakes up."""
        if self.lost is None:
            self.lost = reason
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
