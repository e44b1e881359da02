"""Two calls that asked the very same thing have the same digest: how recommendations find what a cache would answer.

Over the query and the body, byte by byte: a program that repeats itself sends the same bytes. Short on purpose (48
bits): enough to tell the questions of a month apart, too little to be a fingerprint of the text. Not the key of kept
answers (core/cache.py), which must never be equal by chance.
"""

from __future__ import annotations

from hashlib import blake2b

from proxy.core.model import Outbound

LONGEST = 64 * 1024  # bytes; a longer body costs more to read than repeats of it are likely
_ASKS = frozenset({"GET", "POST"})  # what a cache keeps answers of


def digest(outbound: Outbound) -> str:
    """Twelve hex digits; "" where there is nothing to compare: other methods, a body that is long or was not read."""
    body = outbound.body
    if outbound.method not in _ASKS or (body is None and outbound.body_size) or len(body or b"") > LONGEST:
        return ""
    made = blake2b(outbound.query.encode("utf-8", "surrogateescape"), digest_size=6)
    made.update(b"\n")
    if body:
        made.update(body)
    return made.hexdigest()
