"""Reads and writes frames of the AWS event stream encoding (application/vnd.amazon.eventstream).

A frame is: total length (4 bytes, big endian), length of the headers (4), CRC-32 of these eight bytes (4), headers,
payload, CRC-32 of all before it (4). Source: the "Amazon event stream encoding" pages of AWS and of the Smithy
specification. Knows nothing about models or usage.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FRAME_CAP = 16 * 1024 * 1024  # the encoding's own bound of one message
_PRELUDE = struct.Struct(">III")
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # by header type; 6 and 7 carry their length


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: the text headers (others are left out) and the payload."""

    headers: Mapping[str, str]
    payload: bytes

    @property
    def event_type(self) -> str:
        return self.headers.get(":event-type", "")


class FrameReader:
    """Feed chunks, get whole frames. `broken`: a CRC or a length was wrong; nothing comes any more.

    `lead`: how many bytes of the last chunk belong to the frame that was half read before it; None when they all do.
    """

    __slots__ = ("_buffer", "broken", "lead")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.broken = False
        self.lead: int | None = 0

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Frames that this chunk completes."""
        if self.broken:
            return
        held = len(self._buffer)
        self.lead = None if held else 0
        self._buffer += chunk
        start = 0
        while len(self._buffer) - start >= 16:
            total, header_size, crc = _PRELUDE.unpack_from(self._buffer, start)
            prelude = bytes(self._buffer[start : start + 8])
            if zlib.crc32(prelude) != crc or not 16 <= total <= FRAME_CAP or header_size > total - 16:
                self._break()
                return
            if len(self._buffer) - start < total:
                break
            frame = bytes(self._buffer[start : start + total])
            start += total
            if self.lead is None:
                self.lead = start - held
            if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
                self._break()
                return
            yield Frame(_headers(frame[12 : 12 + header_size]), frame[12 + header_size : -4])
        del self._buffer[:start]

    def _break(self) -> None:
        self.broken = True
        self._buffer = bytearray()


def _headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            name_size = block[at]
            name = block[at + 1 : at + 1 + name_size].decode("utf-8", "replace")
            kind = block[at + 1 + name_size]
            at += 2 + name_size
            if kind in (6, 7):
                size = int.from_bytes(block[at : at + 2], "big")
                if kind == 7:
                    found[name] = block[at + 2 : at + 2 + size].decode("utf-8", "replace")
                at += 2 + size
            else:
                at += _FIXED_SIZES[kind]
    except (IndexError, KeyError):
        pass  # a header of an unknown type: the ones before it stand
    return found


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message with text headers, its two checksums right."""
    block = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + block + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


def event(event_type: str, payload: bytes) -> bytes:
    """One JSON event as Bedrock sends it."""
    return frame({":event-type": event_type, ":content-type": "application/json", ":message-type": "event"}, payload)
