"""Request heads that came before: a client sends nearly the same head again and again on a connection it keeps.

Remembers what the strict parser (http1.py) made of a head, by its bytes without the digits of Content-Length, so that a
repetition costs a look-up. The parser stays the one truth: only what it accepted is kept, and the one thing that may
differ between a head and its repetition is a length that it would accept too. Pure, but for what it remembers, which
is bounded and emptied when it is full.
"""

from __future__ import annotations

import re

from proxy.core.http1 import MAX_DIGITS, Malformed, RequestHead, parse_request

_KEPT = 512  # heads
_KEPT_SIZE = 4096  # bytes of a head that is worth keeping
_LENGTH = re.compile(rb"\r\n(?i:content-length):[ \t]*([0-9]{1,%d})[ \t]*\r\n" % MAX_DIGITS)
# Whether these may have a body depends on its length: they are parsed every time.
_JUDGED_BY_LENGTH = frozenset(("CONNECT", "TRACE"))

_known: dict[bytes, RequestHead] = {}


def read_head(block: bytes, max_fields: int = 128) -> RequestHead:
    """As `parse_request`; `key` is set where the head may come again. What is given is shared: nobody may change it."""
    found = _LENGTH.search(block)
    key = block if found is None else block[: found.start(1)] + block[found.end(1) :]
    known = _known.get(key)
    if known is None:
        head = parse_request(block, max_fields)
        if len(key) <= _KEPT_SIZE and head.method not in _JUDGED_BY_LENGTH:
            if len(_known) >= _KEPT:
                _known.clear()
            head.key = key
            _known[key] = head
        return head
    if len(known.headers) > max_fields:
        raise Malformed("too_many_headers", 431)
    return known if found is None else _of_length(known, found[1])


def _of_length(known: RequestHead, digits: bytes) -> RequestHead:
    """The same head with this Content-Length."""
    at = known.length_at
    name, told = known.headers[at]
    if digits == told:
        return known
    headers = known.headers.copy()
    headers[at] = (name, digits)
    return RequestHead(
        *(known.method, known.target, known.minor, headers, known.host, int(digits), known.keep_alive),
        *(known.expects_continue, at, known.key),
    )


class HeadReader:
    """Reads the heads of one connection as `read_head` does. One that only differs from the head before it by the
    digits of its length, as most do, is not even looked up."""

    __slots__ = ("_after", "_before", "_block", "_last", "_max_fields")

    def __init__(self, max_fields: int) -> None:
        self._max_fields = max_fields
        self._last: RequestHead | None = None
        self._block = self._before = self._after = b""  # of the last head: all its bytes, and those around the digits

    def read(self, block: bytes) -> RequestHead:
        """Raises Malformed."""
        last = self._last
        if last is not None:
            if block == self._block:
                return last
            before, after = self._before, self._after
            if after and block.startswith(before) and block.endswith(after):
                digits = block[len(before) : -len(after)]
                if digits.isdigit() and len(digits) <= MAX_DIGITS:
                    return _of_length(last, digits)
        head = read_head(block, self._max_fields)
        if head.key is None:
            self._last = None
        else:
            self._last, self._block = head, block
            found = _LENGTH.search(block)
            start, end = (0, len(block)) if found is None else found.span(1)
            self._before, self._after = block[:start], block[end:]  # of no length: nothing
        return head
