"""Cuts a stream of bytes into Server-Sent Events or lines, however the network chunked it.

Knows the framing (WHATWG HTML, 9.2 "Server-sent events") and nothing about what is said in it. An event larger than
the cap is left out and the reading goes on behind it; the memory held is never more than the cap and one chunk.
"""

from __future__ import annotations

EVENT_CAP = 8 * 1024 * 1024  # bytes of one event: a whole answer with a picture in it may come as the last event


class Splitter:
    """Feed chunks, get the complete blocks so far; what is incomplete waits for more.

    separator: b"\\n\\n" for events, b"\\n" for line-delimited JSON. CR LF and CR line ends are read as LF.
    `skipped` counts blocks that were over the cap while they came; one that comes whole is the caller's to measure.
    """

    __slots__ = ("_carriage", "_parts", "_separator", "_size", "_skipping", "_tail", "cap", "skipped")

    def __init__(self, separator: bytes = b"\n\n", cap: int = EVENT_CAP) -> None:
        self._separator = separator
        self._parts: list[bytes] = []  # of the incomplete block, joined when it is complete
        self._size = 0
        self._tail = b""  # last byte of _parts: may be the first half of a separator
        self._carriage = False  # the last chunk ended in CR: an LF at the start of the next one belongs to it
        self._skipping = False
        self.cap = cap
        self.skipped = 0

    def feed(self, chunk: bytes) -> bytes:
        """All complete blocks that this chunk ends, in one piece with their separators; b"" when it ends none."""
        if chunk and (self._carriage or b"\r" in chunk):
            chunk = self._normalise(chunk)
        if not chunk:
            return b""
        separator = self._separator
        if len(separator) == 2 and self._tail == b"\n" and chunk[0] == 10:
            end = 1  # the separator lies across the chunks
            last = chunk.rfind(separator)
            if last >= 0:
                end = max(end, last + 2)
        else:
            last = chunk.rfind(separator)
            if last < 0:
                self._hold(chunk)
                return b""
            end = last + len(separator)
        whole, rest = chunk[:end], chunk[end:]
        if self._skipping:
            whole = self._behind_the_skipped(whole)
        elif self._parts:
            self._parts.append(whole)
            whole = b"".join(self._parts)
        self._parts, self._size, self._tail, self._skipping = [], 0, b"", False
        if rest:
            self._hold(rest)
        return whole

    def finish(self) -> bytes:
        """What is left when the stream ended: an unfinished last block; b"" when none, or when it was over the cap."""
        rest = b"" if self._skipping else b"".join(self._parts)
        self._parts, self._size, self._tail, self._skipping, self._carriage = [], 0, b"", False, False
        return rest

    def _hold(self, data: bytes) -> None:
        self._tail = data[-1:]
        self._size += len(data)
        if self._skipping:
            return
        if self._size > self.cap + 1:  # one more for the first half of a separator
            self._parts = []
            self._skipping = True
            self.skipped += 1
            return
        self._parts.append(data)

    def _behind_the_skipped(self, whole: bytes) -> bytes:
        if len(self._separator) == 2 and self._tail == b"\n" and whole[0] == 10:
            return whole[1:]
        return whole.partition(self._separator)[2]

    def _normalise(self, chunk: bytes) -> bytes:
        if self._carriage and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._carriage = chunk[-1:] == b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def data_of(event: bytes) -> bytes:
    """The data of one event block: its `data:` lines joined by LF; b"" when it has none."""
    if event.startswith(b"data:") and event.find(b"\n") < 0:  # the usual event: one line
        return event[6:] if event[5:6] == b" " else event[5:]
    found = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            found.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            found.append(b"")
    return b"\n".join(found)
