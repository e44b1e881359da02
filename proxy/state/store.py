"""One connection to Redis for a whole worker: the calls of a loop turn leave in few writes.

redis-py opens the connection (TCP, TLS, Unix socket; AUTH, SELECT, client name) from a URL; then this module's own
protocol takes the transport over, because the client layers above a connection cost several times what the call does.
Replies come back in order, read by hiredis.

Decides when the store counts as away: at once when there is no connection, and within a second when a server that
still holds the connection no longer answers. It reconnects by itself. It must not know what the scripts mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable
from importlib import resources
from typing import Any, Final, Protocol

import hiredis
import structlog
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import RedisError

from proxy.state import resp
from proxy.state.resp import Argument, Packed

log = structlog.get_logger()

ANSWER_WITHIN_S: Final = 0.8
CONNECT_WITHIN_S: Final = 0.9
BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
_WATCH_EVERY_S: Final = 0.1
_WRITTEN_TOGETHER: Final = 4  # bench/throughput.py at 16 connections: a quarter more than one write a turn

# Answers of a server that is there but cannot serve: the same as being away, with the reason told.
_UNABLE: Final = ("LOADING", "READONLY", "OOM", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY", "NOAUTH")
_UNABLE_INSIDE: Final = ("-OOM ", "-READONLY ", "-MISCONF ")  # Redis 6.2 wraps what a script's command met

URL_OPTIONS: Final = frozenset(
    {"host", "port", "path", "db", "username", "password"}
    | {"ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_check_hostname"}
    | {"ssl_min_version", "ssl_ciphers", "ssl_password"}
)

_PARTS: Final = {
    "admit": ("windows",),
    "extend": ("record",),
    "settle": ("record", "money", "circuits"),
    "tell": ("record", "circuits"),
}
SCRIPTS: Final = (
    *("admit", "extend", "tell", "settle", "reclaim", "repeat"),
    *("cache_join", "cache_keep", "cache_end", "cache_forget"),
)

_ReplyError: Final = hiredis.ReplyError
Reply = Any  # int | bytes | None | list[Reply], as hiredis gives it


class StoreUnavailable(Exception):
    """Redis did not do what was asked, or nobody knows whether it did. `str()` is the reason."""


class ScriptError(Exception):
    """Redis refused a command: a mistake of ours, not of the network."""


def script_source(name: str) -> str:
    """The text of lua/<name>.lua with what it needs before it: the prelude and, for some, parts more."""
    folder = resources.files("proxy.state") / "lua"
    return "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", *_PARTS.get(name, ()), name))


class Receiver(Protocol):
    """Whoever waits for a reply; a Future is one."""

    def done(self) -> bool:
        """Whether nobody wants the reply any more."""
        ...

    def set_result(self, reply: Any, /) -> None: ...

    def set_exception(self, error: BaseException, /) -> None: ...


_ScriptCall = tuple[str, Packed]  # a script's text and what it was given: to run it where the server has forgotten it


def with_its_text(source: str, rest: Packed) -> bytes:
    """Somebody flushed the script cache: EVAL runs a script and loads it again."""
    return resp.command(resp.words("EVAL", source), rest)


def refusal(text: str) -> StoreUnavailable | ScriptError:
    """What an error that the server answered means."""
    unable = text.startswith(_UNABLE) or any(mark in text for mark in _UNABLE_INSIDE)
    return StoreUnavailable(text) if unable else ScriptError(text)


class _Link(asyncio.Protocol):
    """The protocol on an open connection. Mutable state: calls not yet written, calls not yet answered."""

    def __init__(self, store: Store, keep: object) -> None:
        self._store = store
        self._keep = keep  # redis-py's writer closes the transport when it is collected
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._buffer: list[bytes] = []
        self._turn_s = 0.0
        self.waiting: deque[tuple[Receiver, float, _ScriptCall | None]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._suspect: float | None = None
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def take_over(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_protocol(self)

    def send(self, command: bytes, receiver: Receiver, call: _ScriptCall | None) -> None:
        """Queue one encoded command. A few are written together, or what there is when the loop's turn ends."""
        buffer = self._buffer
        if not buffer:
            self._turn_s = self._loop.time()
            self._loop.call_soon(self._flush)
        buffer.append(command)
        self.waiting.append((receiver, self._turn_s, call))
        if len(buffer) >= _WRITTEN_TOGETHER:
            # Not all of a turn: the server would have nothing to do until then, and this loop nothing after it.
            self._flush()
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_EVERY_S, self._look)

    def _flush(self) -> None:
        buffer, self._buffer = self._buffer, []
        if self._transport is not None and buffer:
            self._transport.write(b"".join(buffer) if len(buffer) > 1 else buffer[0])

    def _look(self) -> None:
        """Close the connection when the oldest call has waited too long (seen twice: not a stall of this loop)."""
        if not self.waiting:
            self._watch = self._suspect = None
            return
        oldest = self.waiting[0][1]
        late = self._loop.time() - oldest > ANSWER_WITHIN_S
        if late and self._suspect == oldest:
            self.close(f"no answer within {ANSWER_WITHIN_S} s")
            return
        self._suspect = oldest if late else None
        self._watch = self._loop.call_later(0.02 if late else _WATCH_EVERY_S, self._look)

    def data_received(self, data: bytes) -> None:
        next_reply = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not False:
                receiver, _, call = self.waiting.popleft()
                if isinstance(reply, _ReplyError):
                    self._refused(reply, receiver, call)
                elif not receiver.done():
                    receiver.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.close(f"not the Redis protocol: {error}")

    def _refused(self, error: Exception, receiver: Receiver, call: _ScriptCall | None) -> None:
        text = str(error)
        if text.startswith("NOSCRIPT") and call is not None:
            self.send(with_its_text(*call), receiver, None)
        elif not receiver.done():
            receiver.set_exception(refusal(text))

    def forget(self) -> None:
        """The descriptor stays taken: the parent's transport, which is here too, would close somebody else's."""
        if self._transport is not None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self._transport.get_extra_info("socket").fileno())
            os.close(nothing)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(str(exc) if exc else "the server closed the connection")

    def close(self, reason: str) -> None:
        """Give up the connection: everybody who waits learns it now. Twice is once."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._store._link_lost(self, reason)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        self._buffer = []
        waiting, self.waiting = self.waiting, deque()
        for receiver, _, _ in waiting:
            if not receiver.done():
                receiver.set_exception(StoreUnavailable(reason))
        self._keep = None


class Store:
    """The worker's one connection to Redis. `await start()`, call, `await close()`; works on asyncio and uvloop.

    url: redis://[user:password@]host:port/db, rediss://... (with ssl_ca_certs=FILE and the like in the query), or
    unix://path?db=0&password=... Raises ValueError for another scheme.
    """

    def __init__(self, url: str, client_name: str = "spendgate") -> None:
        options: dict[str, Any] = dict(parse_url(url))
        self._make: Callable[..., Any] = options.pop("connection_class", Connection)
        self._options = {key: value for key, value in options.items() if key in URL_OPTIONS}
        self._client_name = client_name
        self.url = url
        self.on_connected: list[Callable[[], None]] = []  # called in order at every (re)connection
        self.reason = "not connected yet"  # why the store is away, while it is
        self.server: str | None = None  # which run of which server it is; None where it does not say
        self._link: _Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.sources = {name: script_source(name) for name in SCRIPTS}
        self._evalsha = {
            name: resp.words("EVALSHA", hashlib.sha1(text.encode()).hexdigest()) for name, text in self.sources.items()
        }
        self._first_try = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def start(self) -> bool:
        """Begin to connect and return after the first attempt: True when it succeeded. Never raises for the network."""
        self._loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = self._loop.create_task(self._stay_connected())
        await self._first_try.wait()
        return self.connected

    async def close(self) -> None:
        """Close the connection; calls that still wait get StoreUnavailable."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._link is not None:
            self._link.close("closed by us")

    def forget(self) -> None:
        """In a forked child: close its copy of the parent's connection, without a word on it."""
        if self._link is not None:
            self._link.forget()

    def call(self, *args: Argument) -> asyncio.Future[Reply]:
        """Send one command; the awaited reply has bytes for strings.

        Raises StoreUnavailable at once without a connection, and from the await when the connection is lost (the
        command may or may not have been done) or the server cannot serve; ScriptError for a refused command.
        """
        link = self._link
        if link is None:
            raise StoreUnavailable(self.reason)
        future: asyncio.Future[Reply] = link._loop.create_future()
        link.send(resp.pack_command(args), future, None)
        return future

    def script(self, name: str, rest: Packed) -> asyncio.Future[Reply]:
        """Run lua/<name>.lua by its digest (and once more with its text where the server does not know it).

        rest: the number of keys, the keys and the arguments. Raises as `call`.
        """
        link = self._link
        if link is None:
            raise StoreUnavailable(self.reason)
        future: asyncio.Future[Reply] = asyncio.Future(loop=link._loop)
        link.send(resp.command(self._evalsha[name], rest), future, (self.sources[name], rest))
        return future

    def script_for(self, receiver: Receiver, name: str, rest: Packed) -> None:
        """As `script`, but the reply (or what went wrong) is given to this receiver as soon as it is here."""
        link = self._link
        if link is None:
            raise StoreUnavailable(self.reason)
        link.send(resp.command(self._evalsha[name], rest), receiver, (self.sources[name], rest))

    def encoded(self, name: str, rest: Packed) -> bytes:
        """The command that runs lua/<name>.lua by its digest."""
        return resp.command(self._evalsha[name], rest)

    def _link_lost(self, link: _Link, reason: str) -> None:
        if self._link is link:
            self._link = None
            self.reason = reason

    async def _stay_connected(self) -> None:
        attempt = 0
        while True:
            try:
                link = await self._connect()
            except (RedisError, StoreUnavailable, ScriptError, OSError, TimeoutError) as error:
                if self.reason != str(error):
                    log.warning("store.connect_failed", reason=str(error))
                self.reason = str(error)
                self._first_try.set()
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._link = link
            log.info("store.connected")
            for hook in self.on_connected:
                hook()
            self._first_try.set()
            reason = await asyncio.shield(link.lost)  # our own cancellation is not the connection's end
            log.warning("store.lost", reason=reason)

    async def _connect(self) -> _Link:
        opened: list[asyncio.WriteTransport] = []

        async def introduce(connection: Any) -> None:
            opened.append(connection._writer.transport)
            await connection.on_connect()

        connection = self._make(
            **self._options,
            redis_connect_func=introduce,
            protocol=2,
            client_name=self._client_name,
            socket_connect_timeout=CONNECT_WITHIN_S,
            socket_timeout=CONNECT_WITHIN_S,
        )
        try:
            async with asyncio.timeout(3 * CONNECT_WITHIN_S):
                await connection.connect()
        except BaseException:
            # At once: a TLS connection that says good-bye first, as redis-py's does, may outlive the loop.
            for transport in opened:
                transport.abort()
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)
            raise
        # redis-py gives no public way to the transport of a connection that it opened.
        writer, connection._writer, connection._reader = connection._writer, None, None
        link = _Link(self, writer)
        link.take_over(writer.transport)
        try:
            futures = []
            for source in self.sources.values():
                future: asyncio.Future[Reply] = link._loop.create_future()
                link.send(resp.pack_command(("SCRIPT", "LOAD", source)), future, None)
                futures.append(future)
            await asyncio.gather(*futures)
            self.server = await _run_of(link)
        except BaseException:
            link.close("the handshake failed")
            raise
        return link


async def _run_of(link: _Link) -> str | None:
    """The random name that a server gives itself at each start."""
    asked: asyncio.Future[Reply] = link._loop.create_future()
    link.send(resp.pack_command(("INFO", "server")), asked, None)
    try:
        found = re.search(r"^run_id:(\w+)", (await asked).decode(), re.MULTILINE)
    except ScriptError:  # a user that may not ask
        return None
    return found[1] if found else None
