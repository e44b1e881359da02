"""Two calls that asked the very same thing have the same digest: how recommendations find what a cache would answer.

Over the query and the body, byte by byte: a program that repeats itself sends the same bytes. Short on purpose (48
bits): enough to tell the questions of a month apart, too little to be a fingerprint of the text. Not the key of kept
answers (core/cache.py), which must never be equal by chance.
"""

from __future__ import annotations

from hashlib import blake2b

from proxy.core.model import Outbound

LONGEST = 1024 * 1024  # bytes, about a millisecond; a longer body costs more to read than repeats of it are likely
_ASKS = frozenset({"GET", "POST"})  # what a cache keeps answers of


def digest(outbound: Outbound) -> str:
    """Twelve hex digits; "" where there is nothing to compare: other methods, a POST of nothing, a body that is long
    or was not read."""
    body = outbound.body
    if outbound.method not in _ASKS or (not body and (outbound.body_size or outbound.method == "POST")):
        return ""
    if body and len(body) > LONGEST:
        return ""
    made = _begun(outbound)
    if body:
        made.update(body)
    return made.hexdigest()


def _begun(outbound: Outbound) -> blake2b:
    """Over the query; the body comes next."""
    query = outbound.query
    return blake2b(query.encode("utf-8", "surrogateescape") + b"\n" if query else b"\n", digest_size=6)


class Passing:
    """The same of a body that streams through and that nobody keeps: `feed()` its pieces, then `digest()`."""

    __slots__ = ("_made", "_size")

    def __init__(self, outbound: Outbound) -> None:
        self._made = _begun(outbound)
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= LONGEST:
            self._made.update(data)

    def digest(self) -> str:
        """ "" of a long body."""
        return self._made.hexdigest() if self._size <= LONGEST else ""
