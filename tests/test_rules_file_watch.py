"""A running proxy sees that its rules changed: saved in place, replaced by rename, swapped by symbolic links."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy import rules_file


def in_place(path: Path, text: str = "version: 1\n") -> None:
    path.write_text(text, encoding="utf-8")


class Watching:
    """Keeps what the file held at each call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self.called = asyncio.Event()

    async def on_change(self) -> None:
        self.told.append(self.path.read_text(encoding="utf-8"))
        self.called.set()

    async def seen(self, text: str, within_s: float = 5) -> None:
        """Wait for a call that finds this text."""
        async with asyncio.timeout(within_s):
            while text not in self.told[-1:]:
                self.called.clear()
                await self.called.wait()


@contextlib.asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Watching]:
    watched = Watching(path)
    task = asyncio.create_task(rules_file.watch(path, watched.on_change))
    for number in itertools.count():
        # the watch is on when it tells of a change: until then there is another one
        in_place(path, f"# {number}\n")
        with contextlib.suppress(TimeoutError):
            await watched.seen(f"# {number}\n", 0.5)
            break
    try:
        yield watched
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def by_rename(path: Path) -> None:
    (path.parent / "new").write_text("version: 1\n", encoding="utf-8")
    (path.parent / "new").replace(path)


def deleted_and_written(path: Path) -> None:
    path.unlink()
    path.write_text("version: 1\n", encoding="utf-8")


@pytest.mark.parametrize("change", [in_place, by_rename, deleted_and_written])
async def test_a_change_is_seen_within_a_second(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "rules.yaml"
    async with watching(path) as watched:
        change(path)
        await watched.seen("version: 1\n", within_s=1)


async def test_the_same_content_again_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    async with watching(path) as watched:
        in_place(path)
        await watched.seen("version: 1\n")
        in_place(path)
        by_rename(path)
        in_place(tmp_path / "other")
        in_place(path, "version: 1 # last\n")
        await watched.seen("version: 1 # last\n")
        assert watched.told.count("version: 1\n") == 1
        assert watched.told.count("version: 1 # last\n") == 1


async def test_a_swap_of_symbolic_links_as_kubernetes_does_it(tmp_path: Path) -> None:
    for name, text in (("..one", "# one\n"), ("..two", "# two\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "rules.yaml").symlink_to("..data/rules.yaml")
    async with watching(tmp_path / "rules.yaml") as watched:
        (tmp_path / "..data_tmp").symlink_to("..two")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await watched.seen("# two\n", within_s=1)


async def test_a_file_that_goes_away_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    async with watching(path) as watched:
        before = len(watched.told)
        path.unlink()
        path.touch()
        in_place(path)
        await watched.seen("version: 1\n")
        assert len(watched.told) == before + 1


async def test_what_changed_between_reading_and_watching_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    in_place(path, "version: 1\nbudgets: []\n")
    known = rules_file.load_file(path, {}).rules
    assert known is not None
    for text, told in ((path.read_text(encoding="utf-8"), False), ("# saved meanwhile\n", True)):
        in_place(path, text)
        stop, calls = asyncio.Event(), list[str]()
        task = asyncio.create_task(rules_file.watch(path, lambda calls=calls: calls.append("told"), stop, known.digest))
        stop.set()
        await asyncio.wait_for(task, 5)
        assert bool(calls) is told


async def test_it_ends_when_told(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    in_place(path, "# first\n")
    stop = asyncio.Event()
    task = asyncio.create_task(rules_file.watch(path, lambda: None, stop))
    stop.set()
    await asyncio.wait_for(task, 5)
