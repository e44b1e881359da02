"""Collects a request head that arrives in pieces, and gives up on it as early as it can be known to be hopeless.

Pure: bytes in, a whole head out. A head that comes in one piece, as nearly all do, is passed through without a copy.
"""

from __future__ import annotations

from proxy.core.http1 import Malformed, check_partial

_MAX_EMPTY_LINES = 8  # before a request line; RFC 9112 §2.2 asks for at least one to be skipped


class HeadBuffer:
    """State between two pieces of one head; ready for the next head as soon as one is whole.

    max_head: bytes of request line and headers (431). max_target: of the target alone (414).
    begun: a part of a head is waiting for the rest.
    """

    __slots__ = ("_buffer", "_checked", "_empty_lines", "_first_line", "_max_head", "_max_target", "_scanned", "begun")

    def __init__(self, max_head: int, max_target: int) -> None:
        self._max_head = max_head
        self._max_target = max_target
        self._buffer = bytearray()
        self._clear()

    def _clear(self) -> None:
        self._buffer.clear()
        self.begun = False
        self._scanned = 0  # how much was searched for the end
        self._checked = 0  # how much was judged line by line
        self._first_line = True
        self._empty_lines = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take the next bytes. (head, what follows it) once the head is whole, else None.

        The head ends with the CRLF of its last line, without the empty line: what `parse_request` takes.
        Raises Malformed when it is too large, or when what is here can never become a good request.
        """
        buffer = self._buffer
        if not self.begun and data[0] > 0x20:
            end = data.find(b"\r\n\r\n")
            if 0 <= end <= self._max_head:
                return data[: end + 2], data[end + 4 :]
        buffer += data
        self.begun = True
        if self._first_line and buffer[0] <= 0x20:
            self._skip_empty_lines()
            if not buffer:
                self.begun = False
                return None
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end > self._max_head or (end < 0 and len(buffer) > self._max_head):
            raise Malformed("head_too_large", 431)
        if end < 0:
            self._judge()
            return None
        head, rest = bytes(buffer[: end + 2]), bytes(buffer[end + 4 :])
        self._clear()
        return head, rest

    def _skip_empty_lines(self) -> None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise Malformed("bad_request_line")
            del buffer[:2]
        if buffer and buffer[0] <= 0x20 and buffer != b"\r":
            raise Malformed("bad_request_line")

    def _judge(self) -> None:
        """Look at each line once, as soon as it is whole."""
        buffer = self._buffer
        self._scanned = len(buffer)
        if self._first_line and buffer != b"\r" and not 0x20 < buffer[0] < 0x7F:
            raise Malformed("bad_request_line")  # a TLS hello, for one, never has a line end
        while (end := buffer.find(b"\n", self._checked)) >= 0:
            line = bytes(buffer[self._checked : end])
            if not line.endswith(b"\r"):
                raise Malformed("bare_line_break")
            problem = check_partial(line[:-1], self._first_line)
            if problem is not None:
                raise problem
            self._checked = end + 1
            self._first_line = False
        if self._first_line and len(buffer) > self._max_target + 64:
            raise Malformed("target_too_long", 414)
