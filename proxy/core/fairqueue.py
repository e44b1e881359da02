"""Decides whose turn it is among calls that wait for room: first come first served per caller, callers in turn.

Pure bookkeeping: no clock, no event loop. Who waits is opaque to it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue with one line for each caller, at most `room` long in all."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()  # the caller whose turn it is comes first
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def join(self, caller: str, item: T) -> bool:
        """Stand at the end of the caller's line. False: there is no room."""
        if self._size >= self.room:
            return False
        self._lines.setdefault(caller, deque()).append(item)
        self._size += 1
        return True

    def head(self) -> T | None:
        """Whose turn it is; None when nobody waits."""
        for line in self._lines.values():
            return line[0]
        return None

    def served(self) -> None:
        """The head has its turn: it leaves, and its caller goes behind the others."""
        caller, line = next(iter(self._lines.items()))
        line.popleft()
        self._size -= 1
        if line:
            self._lines.move_to_end(caller)
        else:
            del self._lines[caller]

    def leave(self, caller: str, item: T) -> None:
        """Somebody gives up waiting; the others keep their places. Whoever is not there leaves nothing."""
        line = self._lines.get(caller)
        if line is None or item not in line:
            return
        line.remove(item)
        self._size -= 1
        if not line:
            del self._lines[caller]
