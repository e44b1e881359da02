"""One timer that serves many: everybody is looked at when due, nobody before, nobody who left."""

from __future__ import annotations

import asyncio

from proxy.data.deadlines import Deadlines


class Member:
    def __init__(self, due_s: float, again_s: float | None = None) -> None:
        self.due_s = due_s
        self.again_s = again_s
        self.looks: list[float] = []
        self.done = asyncio.Event()

    def look(self, now_s: float) -> None:
        self.looks.append(now_s)
        if self.again_s is not None and len(self.looks) == 1:
            self.due_s = now_s + self.again_s
            return
        self.due_s = float("inf")
        self.done.set()


async def test_members_are_looked_at_when_due_whatever_the_order_they_came_in() -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    deadlines = Deadlines(loop)
    late, early, left, twice = Member(now + 0.08), Member(now + 0.02), Member(now + 0.04), Member(now + 0.01, 0.03)
    for member in (late, early, left, twice):
        deadlines.watch(member)
    deadlines.forget(left)
    deadlines.forget(left)
    async with asyncio.timeout(5):
        await asyncio.gather(late.done.wait(), early.done.wait(), twice.done.wait())
    assert now + 0.02 <= early.looks[0] < late.looks[0]
    assert late.looks[0] >= now + 0.08
    assert len(twice.looks) == 2
    assert twice.looks[1] >= twice.looks[0] + 0.03
    assert not left.looks


async def test_one_that_is_due_for_ever_later_does_not_hold_up_one_that_comes_after() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    deadlines.watch(Member(float("inf")))
    soon = Member(loop.time())
    deadlines.watch(soon)
    async with asyncio.timeout(5):
        await soon.done.wait()
