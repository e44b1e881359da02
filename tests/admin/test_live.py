"""News of open pages: what is sent once, to whom, and what a browser's decoder makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiohttp
import pytest
from aiohttp import web

from proxy.admin.dashboard import live
from proxy.admin.dashboard.live import Live, Picture, Watcher, event, squeezed
from proxy.admin.dashboard.session import Visitor
from proxy.admin.routes import Person
from proxy.core.admin_model import Role

ANNA = Visitor(Person("anna", Role.ADMIN), "csrf", by_token=True)
PAGE = "".join(f"<li>{number}: {number * number} won</li>\n" for number in range(400))


class House:
    """Pictures of one text that the test changes, over real sockets."""

    def __init__(self) -> None:
        self.text = "first"
        self.drawn = 0
        self.over: list[Watcher] = []
        self.live = Live(self._fingerprint, self._ended)
        self.url = ""

    async def _fingerprint(self) -> str:
        return self.text

    async def _ended(self, watchers: Sequence[Watcher]) -> list[Watcher]:
        return [one for one in watchers if one in self.over]

    async def _draw(self) -> live.Parts:
        self.drawn += 1
        return {"": self.text}

    async def stream(self, request: web.Request) -> web.StreamResponse:
        watcher = Watcher(request, web.StreamResponse(), live.BEAT, ANNA)
        await watcher.begin(live.STREAM, live.BEAT)
        if "ends" in request.query:
            self.over.append(watcher)
        with self.live.watching(("page",), self._draw, watcher):
            await watcher.gone.wait()
        return watcher.response


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    app = web.Application()
    app.router.add_get("/", made.stream)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    task = asyncio.create_task(made.live.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await runner.cleanup()


async def until(said: Callable[[], Awaitable[bytes]], wanted: bytes) -> bytes:
    """What is said up to and with `wanted`."""
    heard = b""
    async with asyncio.timeout(30):
        while wanted not in heard:
            heard += await said()
    return heard


def test_a_decoder_puts_every_picture_together_from_what_differs() -> None:
    picture = Picture(lambda: pytest.fail("nobody draws"))
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    picture.show({"": PAGE})
    whole = picture.packed(after_last=False)
    assert decoder.decompress(whole) == event(PAGE)
    for number in range(3):
        picture.show({"": PAGE.replace("399:", f"399 {number}:")})
        less = picture.packed(after_last=True)
        assert decoder.decompress(less) == event(picture.parts[""])
        assert len(less) < len(whole) / 8
    assert decoder.decompress(squeezed(live.BEAT)) == live.BEAT
    assert decoder.decompress(picture.packed(after_last=False)) == event(picture.parts[""]), "whole by itself"


def test_of_several_parts_only_those_are_told_that_changed_since() -> None:
    picture = Picture(lambda: pytest.fail("nobody draws"))
    picture.show({"levels": "1", "alerts": "a"})
    picture.show({"levels": "1", "alerts": "a"})
    assert picture.version == 1
    picture.show({"levels": "2", "alerts": "a"})
    picture.show({"levels": "2", "alerts": "b"})
    assert picture.news(2) == event("b", "alerts")
    assert picture.news(1) == picture.news(0) == event("2", "levels") + event("b", "alerts")


async def test_many_see_one_drawing_and_one_who_does_not_read_holds_up_nobody(house: House) -> None:
    big = "x" * 3_000_000  # more than two sockets hold
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        deaf = await http.get(house.url, headers={"Accept-Encoding": "identity"}, read_bufsize=1024)
        readers = [await http.get(house.url, headers={"Accept-Encoding": "gzip"}) for _ in range(5)]
        for one in readers:
            await until(one.content.readany, event("first"))
        assert house.drawn == 1
        for number in range(3):
            house.text = f"{big} {number}"
            for one in readers:
                await until(one.content.readany, f" {number}\n\n".encode())
        assert house.drawn == 4
        heard = await until(deaf.content.readany, event("first"))
        house.text = "last"
        heard += await until(deaf.content.readany, event("last"))
        assert f"{big} 2\n".encode() not in heard, "it was behind: pictures in between are left out"
        for one in (*readers, deaf):
            one.close()


async def test_a_page_ends_with_its_session_however_much_moves(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_EVERY_S", 1.0)

    async def move() -> None:
        for number in range(10_000):
            house.text = f"moving {number}"
            await asyncio.sleep(0.1)

    moving = asyncio.create_task(move())
    async with aiohttp.ClientSession() as http:
        stays, ends = await http.get(house.url), await http.get(f"{house.url}?ends=")
        await until(ends.content.readany, live.ENDED)
        assert await ends.content.read() == b""
        await until(stays.content.readany, b"moving")
        stays.close()
    moving.cancel()
