"""News for open pages: each picture is drawn once, however many browsers look at it.

One look at Redis a second or less tells whether anything moved. If so, every page that somebody has open is drawn
again, once for all who see the same, and sent to them by server-sent events. Who reads too slowly misses pictures in
between, never the last one. Mutable state: who listens to which picture, and the last picture of each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog
from aiohttp import web

from proxy.state.store import StoreUnavailable

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.5
DRAW_AT_LEAST_EVERY_S: Final = 20.0  # words such as "in 5 minutes" move without any call
BEAT_EVERY_S: Final = 5.0

Draw = Callable[[], Awaitable[str]]


class Picture:
    """What some browsers look at, kept up to date while at least one does."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.html = ""
        self.version = 0
        self.changed = asyncio.Event()
        self.watchers = 0

    def show(self, html: str) -> None:
        """Tell all watchers, unless nothing changed."""
        if html == self.html:
            return
        self.html = html
        self.version += 1
        self.changed.set()
        self.changed = asyncio.Event()


class Live:
    """`await run()` until cancelled; `watch()` gives one browser its pictures."""

    def __init__(self, fingerprint: Callable[[], Awaitable[str]]) -> None:
        """fingerprint: a text that changes whenever something worth showing did. It may raise StoreUnavailable."""
        self._fingerprint = fingerprint
        self._pictures: dict[tuple[str, ...], Picture] = {}
        self._someone = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        seen, drawn_s = "", 0.0
        while True:
            await self._someone.wait()
            began_s = loop.time()
            with contextlib.suppress(StoreUnavailable):
                now = await self._fingerprint()
                if now != seen or began_s - drawn_s >= DRAW_AT_LEAST_EVERY_S:
                    seen, drawn_s = now, began_s
                    for picture in tuple(self._pictures.values()):
                        await self._redraw(picture)
            # As much rest as work at least: pages must not take more than half of this process.
            await asyncio.sleep(max(LOOK_EVERY_S, loop.time() - began_s))

    async def _redraw(self, picture: Picture) -> None:
        try:
            picture.show(await picture.draw())
        except StoreUnavailable:
            raise
        except Exception:  # a mistake of ours in one page must not stop the news of all others
            log.exception("dashboard.draw_failed")

    @contextlib.contextmanager
    def watching(self, key: tuple[str, ...], draw: Draw) -> Iterator[Picture]:
        """Keep the picture `key` up to date as long as the block lasts."""
        picture = self._pictures.get(key)
        if picture is None:
            picture = self._pictures[key] = Picture(draw)
        picture.watchers += 1
        self._someone.set()
        try:
            yield picture
        finally:
            picture.watchers -= 1
            if picture.watchers == 0:
                self._pictures.pop(key, None)
            if not self._pictures:
                self._someone.clear()


LIVE: Final = web.AppKey("live", Live)
STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


def event(text: str, name: str = "") -> bytes:
    """A picture as one message of the stream."""
    named = f"event: {name}\n" if name else ""
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"{named}{lines}\n".encode()


BEAT: Final = b"event: beat\ndata: .\n\n"
ENDED: Final = b"event: ended\ndata: .\n\n"
