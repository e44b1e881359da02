"""News for open pages: each picture is drawn once, however many browsers look at it, and sent to all in one go.

One look at Redis a second or less tells whether anything moved. If so, every page that somebody has open is drawn
again, once for all who see the same, and what changed becomes one message of server-sent events: the same bytes for all
who have seen the picture before. Who reads too slowly misses pictures in between, never the last one. The more a round
has cost the longer the next one waits, within the second that numbers have to move: paid calls come first.

A browser that takes gzip gets little more than what differs: a message is compressed with the one before it as its
past, which the browser has just unpacked, so that its own decoder puts the picture together. Mutable state: who listens
to which picture, and the last picture of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

import structlog
from aiohttp import web

from proxy.admin.dashboard.session import Visitor
from proxy.state.store import StoreUnavailable

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.5
LOOK_AT_LEAST_EVERY_S: Final = 0.8
REST: Final = 40  # times what a round took, between the two
DEAR_S: Final = 0.1  # a picture that takes longer is drawn more rarely, so that it takes a tenth of a core
DRAW_AT_LEAST_EVERY_S: Final = 20.0  # words such as "in 5 minutes" move without any call
BEAT_EVERY_S: Final = 5.0
BEHIND_MOST: Final = 64 * 1024  # bytes that a watcher has not taken yet: then pictures are left out for it
_NEVER_FULL: Final = 1 << 30

Parts = Mapping[str, str]  # name of an event -> its text; "" names the message of a page
Draw = Callable[[], Awaitable[Parts]]


class Picture:
    """What some look at, kept up to date while at least one does."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.parts: dict[str, str] = {}
        self.version = 0  # 0: not drawn yet
        self.watchers: set[Watcher] = set()
        self.stale = True
        self.drawn_s = 0.0
        self.took_s = 0.0  # of the processor, the last time
        self._changed_in: dict[str, int] = {}
        self._news: dict[int, bytes] = {}  # since a version -> messages
        self._packed: dict[bool, bytes] = {}  # whether the last message is the past -> this one, compressed
        self._last = b""

    def show(self, parts: Parts) -> None:
        """What is to be seen now; nothing becomes of it where nothing changed."""
        changed = [name for name, text in parts.items() if self.parts.get(name) != text]
        if not changed:
            return
        self._last = self.news(0)
        self.version += 1
        self.parts.update(parts)
        self._changed_in |= dict.fromkeys(changed, self.version)
        self._news, self._packed = {}, {}

    def news(self, since: int) -> bytes:
        """The messages for who has seen version `since`; 0: nothing yet."""
        if since not in self._news:
            names = [name for name, version in self._changed_in.items() if version > since]
            self._news[since] = b"".join(event(self.parts[name], name) for name in names)
        return self._news[since]

    def packed(self, *, after_last: bool) -> bytes:
        """A page's message, compressed. after_last: for who has got the one before it and nothing since."""
        if after_last not in self._packed:
            self._packed[after_last] = squeezed(self.news(0), self._last if after_last else b"")
        return self._packed[after_last]


class Watcher:
    """One open page, or one program that listens. Mutable state: what it has got."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, beat: bytes, visitor: Visitor | None = None
    ) -> None:
        """response: prepared by `begin()`. visitor: whose page it is; None for a program, which has brought a token."""
        self.request = request
        self.response = response
        self.visitor = visitor
        self.gone = asyncio.Event()
        self._beat = beat
        self._packs = visitor is not None and "gzip" in request.headers.get("Accept-Encoding", "")
        self._version = 0
        self._past = False  # what the other side has got last is the picture of `_version`
        self._heard_s = 0.0

    async def begin(self, headers: Mapping[str, str], first: bytes) -> None:
        """Send the head and the first words."""
        self.response.headers.update(headers)
        if self._packs:
            self.response.headers["Content-Encoding"] = "gzip"
        await self.response.prepare(self.request)
        if self.request.transport is not None:
            # Nobody's slowness may hold up the others: writing never waits, and `_is_behind()` bounds what piles up.
            self.request.transport.set_write_buffer_limits(high=_NEVER_FULL)
        await self.response.write(_GZIP_HEAD + squeezed(first) if self._packs else first)

    async def show(self, picture: Picture) -> None:
        """Send what of the picture it has not seen yet."""
        if self._version == picture.version or self._is_behind():
            return
        if self._packs:
            after_last = self._past and self._version == picture.version - 1
            data = picture.packed(after_last=after_last)
        else:
            data = picture.news(self._version)
        self._version, self._past = picture.version, True
        await self._send(data)

    async def beat(self, now_s: float) -> None:
        """Show that the connection lives, unless it has just been seen."""
        if now_s - self._heard_s >= BEAT_EVERY_S / 2 and not self._is_behind():
            await self.say(self._beat)

    async def say(self, message: bytes) -> None:
        self._past = False
        await self._send(squeezed(message) if self._packs else message)

    async def _send(self, data: bytes) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        try:
            await self.response.write(data)
        except ConnectionError:
            self.gone.set()

    def _is_behind(self) -> bool:
        transport = self.request.transport
        return transport is not None and transport.get_write_buffer_size() > BEHIND_MOST


class Live:
    """`await run()` until cancelled; `watching()` brings one watcher its picture."""

    def __init__(
        self,
        fingerprint: Callable[[], Awaitable[str]],
        over: Callable[[Sequence[Watcher]], Awaitable[Sequence[Watcher]]],
    ) -> None:
        """fingerprint: a text that changes whenever something worth showing did. over: those of the watchers who may
        not look any more. Both may raise StoreUnavailable."""
        self._fingerprint = fingerprint
        self._over = over
        self._pictures: dict[tuple[str, ...], Picture] = {}
        self._someone = asyncio.Event()
        self._new = asyncio.Event()  # a picture that nobody looked at before
        self._seen = ""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        beaten_s = loop.time()
        while True:
            await self._someone.wait()
            began_s, before_s = loop.time(), time.thread_time()
            with contextlib.suppress(StoreUnavailable):
                await self._look(began_s)
            if began_s - beaten_s >= BEAT_EVERY_S:
                beaten_s = began_s
                await self._tend(began_s)
            worked_s = time.thread_time() - before_s
            rest_s = min(LOOK_AT_LEAST_EVERY_S, max(LOOK_EVERY_S, REST * worked_s))
            self._new.clear()
            # As much rest as work at least: pages must not take more than half of this process.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(rest_s, loop.time() - began_s)):
                    await self._new.wait()

    async def _look(self, now_s: float) -> None:
        seen = await self._fingerprint()
        moved, self._seen = seen != self._seen, seen
        for picture in tuple(self._pictures.values()):
            picture.stale |= moved or now_s - picture.drawn_s >= DRAW_AT_LEAST_EVERY_S
            if picture.stale and now_s - picture.drawn_s >= (10 * picture.took_s if picture.took_s > DEAR_S else 0):
                await self._redraw(picture, now_s)
            for watcher in tuple(picture.watchers):
                await watcher.show(picture)

    async def _redraw(self, picture: Picture, now_s: float) -> None:
        before_s = time.thread_time()
        try:
            picture.show(await picture.draw())
        except StoreUnavailable:
            raise
        except Exception:  # a mistake of ours in one page must not stop the news of all others
            log.exception("dashboard.draw_failed")
        picture.stale, picture.drawn_s, picture.took_s = False, now_s, time.thread_time() - before_s

    async def _tend(self, now_s: float) -> None:
        """Beats for who has heard nothing lately, and an end for who may not look any more."""
        watchers = [one for picture in self._pictures.values() for one in picture.watchers]
        with contextlib.suppress(StoreUnavailable):
            for one in await self._over(watchers):
                if one.visitor is not None:
                    await one.say(ENDED)
                one.gone.set()
        for one in watchers:
            if not one.gone.is_set():
                await one.beat(now_s)

    @contextlib.contextmanager
    def watching(self, key: tuple[str, ...], draw: Draw, watcher: Watcher) -> Iterator[Picture]:
        """Bring the watcher the picture `key` as long as the block lasts; `watcher.gone` says when that is over."""
        picture = self._pictures.get(key)
        if picture is None:
            picture = self._pictures[key] = Picture(draw)
            self._new.set()
        picture.watchers.add(watcher)
        self._someone.set()
        try:
            yield picture
        finally:
            picture.watchers.discard(watcher)
            if not picture.watchers and self._pictures.get(key) is picture:
                del self._pictures[key]
            if not self._pictures:
                self._someone.clear()


LIVE: Final = web.AppKey("live", Live)
STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # of a member without a name and a time
_WINDOW: Final = 32 * 1024


def event(text: str, name: str = "") -> bytes:
    """A text as one message of the stream."""
    named = f"event: {name}\n" if name else ""
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"{named}{lines}\n".encode()


def squeezed(message: bytes, past: bytes = b"") -> bytes:
    """A piece of a raw deflate stream, whole by itself. past: what the other side has unpacked just before."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, past[-_WINDOW:])
    return packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)


BEAT: Final = b"event: beat\ndata: .\n\n"
ENDED: Final = b"event: ended\ndata: .\n\n"
