"""Request heads that came before: a client sends nearly the same head again and again on a connection it keeps.

Remembers what the strict parser (http1.py) made of a head, by its bytes without the digits of Content-Length, so that a
repetition costs a look-up. The parser stays the one truth: only what it accepted is kept, and the one thing that may
differ between a head and its repetition is a length that it would accept too. Pure, but for what it remembers, which
is bounded and emptied when it is full.
"""

from __future__ import annotations

import re

from proxy.core.http1 import Malformed, RequestHead, parse_request

_KEPT = 512  # heads
_KEPT_SIZE = 4096  # bytes of a head that is worth keeping
_LENGTH = re.compile(rb"\r\n(?i:content-length):[ \t]*([0-9]{1,18})[ \t]*\r\n")
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
    if found is None or found[1] == known.headers[known.length_at][1]:
        return known
    headers = known.headers.copy()
    headers[known.length_at] = (headers[known.length_at][0], found[1])
    return RequestHead(
        *(known.method, known.target, known.minor, headers, known.host, int(found[1]), known.keep_alive),
        *(known.expects_continue, known.length_at, known.key),
    )
