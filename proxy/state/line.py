"""A connection to the store on which callers wait themselves, with no thread in between: what its two kinds share.

`ThreadLine` (threadline.py) is for threads that may block, `LoopLine` (loopline.py) for the tasks of one event loop.
They are beside a `Store`, which is connected to the same server, knows whether that is there, and has given it the
scripts. A line that breaks is not mended: its owner dials another.

Two kinds of things travel on it, in the order in which they are sent: questions, which somebody waits for, and
statements (state/statements.py), which nobody waits for. A statement that is not answered is given back.

Mutable state: who waits for which reply, and the statements not yet confirmed.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
from hiredis import ReplyError
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry

from proxy.state.resp import Packed
from proxy.state.statements import Statement
from proxy.state.store import (
    CONNECT_WITHIN_S,
    URL_OPTIONS,
    Receiver,
    Reply,
    Store,
    StoreUnavailable,
    refusal,
    with_its_text,
)

AT_ONCE: Final = 65536  # bytes read in one go
IDLE_S: Final = 0.05  # after which a line is looked at before it is used: its server may have gone

GivenBack = Callable[[Statement], None]
Confirmed = Callable[[Statement, list[Reply]], None]


def dial(url: str, client_name: str) -> socket.socket:
    """Connect and introduce ourselves, waiting for it; takes at most two seconds. Raises StoreUnavailable.

    redis:// and unix:// only: on a TLS connection two threads cannot send and receive at once.
    """
    options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    make: Callable[..., Any] = options.pop("connection_class", Connection)
    connection = make(
        **{key: value for key, value in options.items() if key in URL_OPTIONS},
        protocol=2,
        client_name=client_name,
        socket_connect_timeout=CONNECT_WITHIN_S,
        socket_timeout=CONNECT_WITHIN_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        connection.connect()
    except (RedisError, OSError) as error:
        raise StoreUnavailable(str(error)) from error
    # redis-py gives no public way to the socket of a connection that it opened.
    opened: socket.socket
    opened, connection._sock = connection._sock, None
    return opened


class _Stated:
    """Receives the answer to a statement."""

    __slots__ = ("line", "statement")

    def __init__(self, line: Line, statement: Statement) -> None:
        self.line = line
        self.statement = statement

    def done(self) -> bool:
        return False

    def set_result(self, reply: list[Reply]) -> None:
        if self.line.unconfirmed.pop(id(self.statement), None) is not None:
            self.line.confirmed(self.statement, reply)

    def set_exception(self, error: BaseException) -> None:
        if self.line.unconfirmed.pop(id(self.statement), None) is not None:
            self.line.given_back(self.statement)


class Line(ABC):
    """One open connection. confirmed, given_back: told what became of each statement, one of them, once."""

    def __init__(self, opened: socket.socket, store: Store, confirmed: Confirmed, given_back: GivenBack) -> None:
        self.lost: str | None = None  # why it is of no use any more
        self.unconfirmed: dict[int, Statement] = {}  # by identity
        self.confirmed = confirmed
        self.given_back = given_back
        self._socket = opened
        self._store = store
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[Receiver, str, Packed]] = deque()

    @abstractmethod
    def tell(self, statement: Statement) -> bool:
        """Write a statement and wait for nothing. False: nothing was written, and somebody else must."""

    def give_back_unconfirmed(self) -> None:
        """Whoever stands behind this line makes its statements once more; each is charged once all the same."""
        for key in tuple(self.unconfirmed):
            if (statement := self.unconfirmed.pop(key, None)) is not None:
                self.given_back(statement)

    def forget(self) -> None:
        """In a forked child: let go of the parent's connection without a word on it."""
        self.lost = "it is the parent process's"
        self.unconfirmed.clear()
        self._socket.close()

    def _stated(self, statement: Statement) -> _Stated:
        self.unconfirmed[id(statement)] = statement
        return _Stated(self, statement)

    def _take(self, data: bytes) -> None:
        """Give replies to those who wait for them. One at a time may do it. Raises ProtocolError, IndexError."""
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            receiver, name, rest = waiting.popleft()
            if isinstance(reply, ReplyError):
                text = str(reply)
                if text.startswith("NOSCRIPT") and name:
                    self._send(with_its_text(self._store.sources[name], rest), receiver, "", rest)
                elif not receiver.done():
                    receiver.set_exception(refusal(text))
            elif not receiver.done():
                receiver.set_result(reply)

    @abstractmethod
    def _send(self, command: bytes, receiver: Receiver, name: str, rest: Packed) -> None:
        """Write a command whose reply is this receiver's. name: of the script, which the server may have forgotten."""

    def _fail(self) -> None:
        """Everybody who waits learns that the line is lost."""
        waiting, reason = self._waiting, self.lost or "closed by us"
        while waiting:
            receiver, _, _ = waiting.popleft()
            if not receiver.done():
                receiver.set_exception(StoreUnavailable(reason))
