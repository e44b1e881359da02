"""Reads WebSocket frames as they pass (RFC 6455), without I/O: where one ends, how many messages there were, and the
text of those that may tell a usage.

Decides what may be passed on: whole headers of valid frames, and payload byte for byte. A frame that breaks the
protocol ends the reading (`broken`) before any byte of it went on. Payload is looked at only where somebody asked for
it, up to a bound; permessage-deflate (RFC 7692) is undone for that look alone. Must not know prices or sockets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.core.http1 import Field

MESSAGE_CAP = 4 * 1024 * 1024  # bytes of a message that are kept to be looked at
INFLATED_CAP = 8 * 1024 * 1024  # of its decoded text
INFLATED_MOST = 64 * 1024 * 1024  # decoded only to stay in step; beyond, the direction is not read any more
_PIECE = 64 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8
_KNOWN = frozenset((0x0, 0x1, 0x2, 0x8, 0x9, 0xA))

# Close codes (RFC 6455 §7.4; 4000-4999 are for private use)
GOING_AWAY, PROTOCOL_ERROR = 1001, 1002
NO_CODE = 1005  # stands for a close frame without one
BUDGET_EXHAUSTED = 4402  # after the status that the same situation has in HTTP


# --- the handshake ----------------------------------------------------------------------------------------------------


def handshake_problem(method: str, minor: int, headers: Iterable[Field]) -> bool:
    """Whether a request that wants to become a WebSocket cannot (RFC 6455 §4.2.1): then nobody must see it."""
    keys = [value for name, value in headers if name.lower() == b"sec-websocket-key"]
    versions = [value for name, value in headers if name.lower() == b"sec-websocket-version"]
    try:
        key_fits = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        key_fits = False
    return method != "GET" or minor != 1 or not key_fits or versions != [b"13"]


def is_accepted(request: Iterable[Field], response: Iterable[Field]) -> bool:
    """Whether a 101 answers exactly this request (RFC 6455 §4.1): an API that says 101 to anything is none."""
    key = next((value for name, value in request if name.lower() == b"sec-websocket-key"), b"")
    expected = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    upgraded = False
    accepted: list[bytes] = []
    for name, value in response:
        lower = name.lower()
        if lower == b"upgrade":
            upgraded = value.strip().lower() == b"websocket"
        elif lower == b"sec-websocket-accept":
            accepted.append(value.strip())
    return upgraded and accepted == [expected]


@dataclass(frozen=True, slots=True)
class Extensions:
    """What both sides agreed on. opaque: an extension that is not known here; its bits mean what they like.
    up_fresh, down_fresh: each message of that direction is compressed by itself."""

    deflate: bool = False
    up_fresh: bool = False
    down_fresh: bool = False
    opaque: bool = False


def extensions(response: Iterable[Field]) -> Extensions:
    """Read from the API's 101."""
    deflate = up_fresh = down_fresh = opaque = False
    for name, value in response:
        if name.lower() != b"sec-websocket-extensions":
            continue
        for extension in value.lower().split(b","):
            token, *parameters = [part.strip() for part in extension.split(b";")]
            if token == b"permessage-deflate":
                deflate = True
                up_fresh = b"client_no_context_takeover" in parameters
                down_fresh = b"server_no_context_takeover" in parameters
            elif token:
                opaque = True
    return Extensions(deflate, up_fresh, down_fresh, opaque)


# --- frames -----------------------------------------------------------------------------------------------------------


class FrameReader:
    """One direction of one connection.

    masked: frames from a client are, frames from a server are not (§5.1). look: messages to give out as text; 0 none,
    -1 all, else the first so many. fresh: compressed messages do not refer to earlier ones.
    messages: whole data messages so far. closing: a close frame went by. code: what a server's said, None without one.
    broken: what was wrong, "" while nothing is.
    skipped: a message that should have been looked at could not be.
    """

    __slots__ = (
        "_compressed",
        "_deflate",
        "_fresh",
        "_head",
        "_inflater",
        "_inside",
        "_kept",
        "_key",
        "_left",
        "_look",
        "_looking",
        "_masked",
        "_opaque",
        "_opcode",
        "_size",
        "broken",
        "closing",
        "code",
        "messages",
        "skipped",
    )

    def __init__(self, *, masked: bool, agreed: Extensions | None = None, look: int = 0) -> None:
        agreed = agreed or Extensions()
        self._masked = masked
        self._deflate = agreed.deflate
        self._fresh = agreed.up_fresh if masked else agreed.down_fresh
        self._opaque = agreed.opaque
        self._look = look
        self._head = b""
        self._left = 0  # payload bytes of the current frame still to come
        self._opcode = 0
        self._inside = False  # a data message has begun and not ended
        self._compressed = False
        self._key = b""
        self._looking = False
        self._kept: list[bytes] = []
        self._size = 0
        self._inflater: zlib._Decompress | None = None
        self.messages = 0
        self.closing = False
        self.code: int | None = None
        self.broken = ""
        self.skipped = False

    @property
    def between_frames(self) -> bool:
        """Whether everything passed on so far ends with a whole frame: only then may another one follow."""
        return self._left == 0

    def feed(self, data: bytes, *, only_current: bool = False) -> tuple[bytes, list[bytes]]:
        """(what to pass on, texts of messages that ended here and were to be looked at).

        only_current: pass on no more than the rest of the current frame.
        """
        passed: list[bytes] = []
        texts: list[bytes] = []
        data = self._head + data if self._head else data
        self._head = b""
        at, end = 0, len(data)
        while at < end and not self.broken:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                passed.append(piece)
                self._payload(piece)
                if not self._left:
                    self._frame_ended(texts)
                continue
            if only_current:
                break
            size = self._header(data, at, end)
            if size == 0:
                if not self.broken:
                    self._head = data[at:]
                break
            passed.append(data[at : at + size])
            at += size
            if not self._left:
                self._frame_ended(texts)
        return b"".join(passed) if len(passed) != 1 else passed[0], texts

    def _header(self, data: bytes, at: int, end: int) -> int:
        """Take in the frame header at a place: its size, or 0 where it is not whole yet (or `broken`)."""
        if end - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        length = second & 0x7F
        size = 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if second & 0x80 else 0)
        opcode, final, control = first & 0x0F, bool(first & 0x80), bool(first & 0x08)
        self.broken = self._wrong(first, bool(second & 0x80), opcode, final, control, length)
        if self.broken or end - at < size:
            return 0
        if length == 126:
            (length,) = struct.unpack_from("!H", data, at + 2)
            self.broken = "" if length > 125 else "length_not_minimal"
        elif length == 127:
            (length,) = struct.unpack_from("!Q", data, at + 2)
            self.broken = "" if 0xFFFF < length < 1 << 63 else "length_not_minimal"
        if self.broken:
            return 0
        self._left = length
        self._opcode = opcode
        if control:
            self._looking = False
            if opcode == CLOSE:
                self.closing, self._kept = True, []
            self._head = b""
        else:
            if opcode != CONTINUATION:
                self._compressed = self._deflate and bool(first & 0x40)
                self._kept, self._size = [], 0
            self._inside = not final
            self._looking = self._look != 0
            self._key = data[at + size - 4 : at + size] if second & 0x80 else b""
        return size

    def _wrong(self, first: int, masked: bool, opcode: int, final: bool, control: bool, length: int) -> str:
        if masked is not self._masked:
            return "not_masked" if self._masked else "masked"
        if opcode not in _KNOWN and not self._opaque:
            return "unknown_opcode"
        if control:
            return "" if final and length <= 125 else "bad_control_frame"
        if not self._opaque:
            compressed = first & 0x70
            if compressed not in (0, 0x40 if self._deflate and opcode != CONTINUATION else 0):
                return "reserved_bits"
        if self._inside is not (opcode == CONTINUATION):
            return "message_not_ended" if self._inside else "nothing_to_continue"
        return ""

    def _payload(self, piece: bytes) -> None:
        if not self._looking:
            if self._opcode == CLOSE and not self._masked:
                self._kept.append(piece)  # nothing follows a close frame that could still want the room
            return
        self._size += len(piece)
        if self._size > MESSAGE_CAP:
            self._kept = []
            return
        if self._key:
            piece, self._key = _unmask(piece, self._key)
        self._kept.append(piece)

    def _frame_ended(self, texts: list[bytes]) -> None:
        if self._opcode == CLOSE and not self._masked:
            said = b"".join(self._kept)
            self.code = int.from_bytes(said[:2]) if len(said) >= 2 else NO_CODE
        if self._opcode & 0x08 or self._inside:
            return
        self.messages += 1
        if not self._look:
            return
        text = self._text()
        if text is not None:
            texts.append(text)
        self._kept, self._size = [], 0
        if self._look > 0:
            self._look -= 1

    def _text(self) -> bytes | None:
        """The message that has just ended. None: it is too large, or cannot be decoded; then `skipped` is set."""
        if self._size > MESSAGE_CAP:
            self.skipped = True
            if self._compressed and not self._fresh:
                self._look = 0  # what follows refers to it
            return None
        whole = b"".join(self._kept)
        if not self._compressed:
            return whole
        if self._inflater is None or self._fresh:
            self._inflater = zlib.decompressobj(-15)
        text = self._inflated(self._inflater, whole + b"\x00\x00\xff\xff")
        self.skipped = self.skipped or text is None
        return text

    def _inflated(self, inflater: zlib._Decompress, data: bytes) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        try:
            while data:
                piece = inflater.decompress(data, _PIECE)
                data = inflater.unconsumed_tail
                size += len(piece)
                if size <= INFLATED_CAP:
                    pieces.append(piece)
                if not piece or size > INFLATED_MOST:
                    break
        except zlib.error:
            self._look = 0
            return None
        if data:
            self._look = 0  # it unpacks to more than anybody says
        return None if size > INFLATED_CAP else b"".join(pieces)


def _unmask(data: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Payload without its mask, and the key as the next piece of the frame needs it (§5.3)."""
    size = len(data)
    repeated = (key * (size // 4 + 1))[:size]
    plain = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
    turn = size % 4
    return plain, key[turn:] + key[:turn]


def close_frame(code: int, reason: str, mask: bytes = b"") -> bytes:
    """A close frame; `mask` (4 random bytes) where it goes to a server. The reason is cut to what a frame holds."""
    text = reason.encode()
    while len(text) > 123:
        reason = reason[:-1]
        text = reason.encode()
    payload = struct.pack("!H", code) + text
    if not mask:
        return bytes((0x80 | CLOSE, len(payload))) + payload
    return bytes((0x80 | CLOSE, 0x80 | len(payload))) + mask + _unmask(payload, mask)[0]
