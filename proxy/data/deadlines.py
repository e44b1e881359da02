"""One timer for all exchanges under way, instead of one each: making and closing a timer costs more than most requests
have time for.

Decides only when to look. What an instant means for an exchange is its own business.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol


class Watched(Protocol):
    """Something with a deadline. due_s: loop time at which it wants to be looked at."""

    due_s: float

    def look(self, now_s: float) -> None:
        """Time has come: end it, or set a later `due_s`."""


class Deadlines:
    """Looks at each of its members when it is due. Mutable state: the members, and the one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._members: set[Watched] = set()
        self.forget = self._members.discard  # (member): it needs no look any more; twice is once
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = inf

    def watch(self, member: Watched) -> None:
        self._members.add(member)
        if member.due_s < self._at_s:
            self._schedule(member.due_s)

    def _schedule(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = self._loop.call_at(at_s, self._fire) if at_s < inf else None

    def _fire(self) -> None:
        self._timer, self._at_s = None, inf
        now_s = self._loop.time()
        for member in tuple(self._members):
            if member.due_s <= now_s and member in self._members:
                member.look(now_s)
        if self._members:
            self._schedule(min(member.due_s for member in self._members))
