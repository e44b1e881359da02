"""Ids of calls: unique without asking anybody, and in the order of time."""

from __future__ import annotations

import itertools


class RequestIds:
    """12 hex digits of Unix ms, then 16 of chance and count. seed: chance, new for every process."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = itertools.count()

    def new(self, now_ms: int) -> str:
        own = (self._seed + next(self._count)) & 0xFFFFFFFFFFFFFFFF
        return (now_ms << 64 | own).to_bytes(14, "big").hex()
