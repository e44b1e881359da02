"""Calls that a rate limit holds back, and that may wait for room (`wait` in rules.yaml) instead of being refused.

Each worker keeps one queue for each API, rule or caller that lets calls wait: bounded, first come first served per
caller, callers in turn. The head of a queue asks again when the script said that there is room, or when a call of this
worker ended; whoever comes while others wait goes behind them. Nobody waits longer than allowed, and who cannot be
served in time is refused at once. The decision itself stays the admission script's.

Mutable state: the queues. One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.core.fairqueue import FairQueue
from proxy.core.guards import Limited
from proxy.core.model import Admitted, Ask, Denied

Asking = Callable[[Ask], Awaitable[Admitted | Denied]]

ROOM_SOON_S: Final = 0.1  # how often to look where nobody knows when there is room: calls at once, of other workers too
_QUEUES_KEPT: Final = 4096


class _Waiter:
    """One call in a queue. answered: what the script said at its turn."""

    __slots__ = ("answered", "ask", "due_s")

    def __init__(self, ask: Ask, due_s: float, answered: asyncio.Future[Admitted | Denied]) -> None:
        self.ask = ask
        self.due_s = due_s
        self.answered = answered


class _Queue:
    """The calls that wait for one API, rule or caller, and the task that asks for them one after the other."""

    def __init__(
        self, limited: Limited, refusal: Denied, again: Asking, release: Callable[[Ask], Awaitable[None]]
    ) -> None:
        self.limited = limited
        self.wait_s = limited.wait_ms / 1000
        self.refusal = refusal  # the last one: what those hear for whom there is no room in the queue
        self.waiting: FairQueue[_Waiter] = FairQueue(limited.queue)
        self._again = again
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()  # a call of this worker ended: there may be room
        self._task: asyncio.Task[None] | None = None

    def poke(self) -> None:
        self._ended.set()

    async def wait(self, ask: Ask, first_s: float, due_s: float, refused: Denied) -> Admitted | Denied:
        """The answer at this call's turn, at the latest at due_s. first_s: when there may be room for the head."""
        waiter = _Waiter(ask, due_s, self._loop.create_future())
        if not self.waiting.join(ask.caller, waiter):
            return refused
        if self._task is None:
            self._task = self._loop.create_task(self._serve(first_s))
        try:
            async with asyncio.timeout_at(due_s):
                return await asyncio.shield(waiter.answered)
        except TimeoutError:
            # It may have come at the very moment.
            return waiter.answered.result() if waiter.answered.done() else refused
        except asyncio.CancelledError:
            # The client is gone, and what was reserved for it at the very moment is nobody's.
            if waiter.answered.done() and isinstance(waiter.answered.result(), Admitted):
                await self._release(ask)
            raise
        finally:
            # An answer that comes from now on is nobody's: whoever asks releases it.
            self.waiting.leave(ask.caller, waiter)
            if not waiter.answered.done():
                waiter.answered.cancel()

    async def _serve(self, at_s: float) -> None:
        try:
            while (waiter := self.waiting.head()) is not None:
                await self._until(at_s)
                if self.waiting.head() is not waiter:
                    continue  # it left meanwhile
                answer = await self._again(waiter.ask)
                at_s = self._loop.time()
                if isinstance(answer, Denied) and self._still(answer):
                    self.refusal = answer
                    at_s += max(0.001, room_in_s(answer))
                    if at_s < waiter.due_s:
                        continue
                if waiter.answered.done():
                    if isinstance(answer, Admitted):
                        await self._release(waiter.ask)
                    continue
                if self.waiting.head() is waiter:
                    self.waiting.served()
                waiter.answered.set_result(answer)
        finally:
            self._task = None

    def _still(self, answer: Denied) -> bool:
        limited = may_wait(answer)
        return limited is not None and limited.place == self.limited.place

    async def _until(self, at_s: float) -> None:
        """Until then, or until a call of this worker ended."""
        self._ended.clear()
        wait_s = at_s - self._loop.time()
        if wait_s <= 0:
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._ended.wait()
        except TimeoutError:
            return


def may_wait(refused: Denied) -> Limited | None:
    """In whose queue a refused call may wait; None: in none, or waiting would not help."""
    pressed = refused.pressed
    if pressed is None or pressed.limited is None or not pressed.limited.wait_ms or pressed.retry_ms is None:
        return None
    return pressed.limited


def room_in_s(refused: Denied) -> float:
    """When it is worth asking again."""
    pressed = refused.pressed
    if pressed is None or pressed.retry_ms is None:
        return 0.0
    at_once = pressed.limit is not None and not pressed.limit.per
    return ROOM_SOON_S if at_once else pressed.retry_ms / 1000


class Waiting:
    """All queues of one worker. again: asks the script once. release: gives back what nobody wants any more."""

    def __init__(self, again: Asking, release: Callable[[Ask], Awaitable[None]]) -> None:
        self._again = again
        self._release = release
        self._queues: dict[str, _Queue] = {}

    def __len__(self) -> int:
        """How many calls wait."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def concerns(self, ask: Ask) -> bool:
        """Whether this call may wait, or its end let another one go on. From any thread."""
        return any(limited.wait_ms or limited.place in self._queues for limited in ask.guards.limited)

    def _behind(self, ask: Ask) -> _Queue | None:
        """The queue in which others wait already, so that this call must not overtake them."""
        for limited in ask.guards.limited:
            if limited.wait_ms and (queue := self._queues.get(limited.place)) is not None and len(queue.waiting):
                return queue
        return None

    def ended(self, ask: Ask) -> None:
        """A call ended: there may be room."""
        for limited in ask.guards.limited:
            if (queue := self._queues.get(limited.place)) is not None:
                queue.poke()

    async def admit(self, ask: Ask) -> Admitted | Denied:
        """The script's answer, now or as soon as there is room."""
        loop = asyncio.get_running_loop()
        began_s = first_s = loop.time()
        queue = self._behind(ask)
        refused = queue.refusal if queue is not None else await self._again(ask)
        while isinstance(refused, Denied):
            if queue is None:
                limited = may_wait(refused)
                if limited is None:
                    return refused
                queue = self._queue(limited, refused)
                first_s = loop.time() + room_in_s(refused)
            due_s = began_s + queue.wait_s
            if first_s >= due_s:
                return refused
            answer = await queue.wait(ask, first_s, due_s, refused)
            if answer is refused:
                return refused
            refused, queue = answer, None
        return refused

    def _queue(self, limited: Limited, refused: Denied) -> _Queue:
        queue = self._queues.get(limited.place)
        if queue is None or (queue.limited is not limited and not len(queue.waiting)):
            if len(self._queues) >= _QUEUES_KEPT:
                self._queues = {place: one for place, one in self._queues.items() if len(one.waiting)}
            queue = self._queues[limited.place] = _Queue(limited, refused, self._again, self._release)
        queue.refusal = refused
        return queue
