"""What a field name means, found out once a name: the same few names come with every message.

Pure, but for what it remembers. Names come from outside, so what is kept is bounded, and emptied when it is full.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

_MAX_NAMES = 1024
_MAX_LENGTH = 64  # bytes of a name that is worth keeping

T = TypeVar("T")


class PerName(dict[bytes, T], Generic[T]):
    """`meaning(name)` for field names in any case, by subscription; `meaning` must depend on the name alone."""

    __slots__ = ("_meaning",)

    def __init__(self, meaning: Callable[[bytes], T]) -> None:
        super().__init__()
        self._meaning = meaning

    def __missing__(self, name: bytes) -> T:
        meaning = self._meaning(name)
        if len(name) <= _MAX_LENGTH:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[name] = meaning
        return meaning


_LOOKALIKE = re.compile(rb"content[-_]*length|transfer[-_]*encoding")
_NOTED_NAMES = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"expect", b"keep-alive")
)


def _noted(name: bytes) -> bytes:
    """The name in lower case if a parser looks at such fields, "?" for a look-alike of a framing header, else b"".

    Look-alikes differ only by dashes and underscores; CGI-like servers merge the two.
    """
    key = name.lower()
    if key in _NOTED_NAMES:
        return key
    return b"?" if _LOOKALIKE.fullmatch(key) else b""


NOTED = PerName(_noted)
"""What the parsers of http1.py make of a name."""
