"""Undoes Content-Encoding for the meter's copy of an answer, in bounded pieces.

The program gets the bytes as they came; this is only for reading the usage in them. A decoder gives out at most as many
bytes as it was allowed at its making and says so (`full`), whatever a hostile body would unpack to. Bytes that do not
decode end it (`broken`); nothing here raises. gzip (RFC 1952), deflate (RFC 1950, and the raw RFC 1951 that some
servers send), br (RFC 7932), zstd (RFC 8878), and several of them stacked.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import brotli

if sys.version_info >= (3, 14):  # pragma: no cover - which one is there depends on the interpreter
    from compression import zstd
else:
    from backports import zstd

PIECE = 64 * 1024  # decoded bytes handed out at a time; brotli may give half as much more
MAX_STACKED = 3  # encodings on one body; more is an attack, not a server


class _Codec(Protocol):
    def pieces(self, data: bytes) -> Iterator[bytes]: ...


class _Zlib:
    """gzip with any number of members, and deflate with or without its zlib frame."""

    def __init__(self, gzip: bool) -> None:
        self._wbits = 31 if gzip else 15
        self._gzip = gzip
        self._engine: Any = None
        self._started = b""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self._engine is None:
            self._started += data
            if not self._gzip:
                if len(self._started) < 2:
                    return
                if not _has_zlib_frame(self._started):
                    self._wbits = -15
            data, self._started = self._started, b""
            self._engine = zlib.decompressobj(self._wbits)
        while data:
            piece = self._engine.decompress(data, PIECE)
            if piece:
                yield piece
            if self._engine.eof:
                data = self._engine.unused_data
                if not self._gzip or not data.startswith(b"\x1f"):
                    return  # padding behind the last member
                self._engine = zlib.decompressobj(self._wbits)
            else:
                data = self._engine.unconsumed_tail
                if not data and len(piece) == PIECE:
                    while piece := self._engine.decompress(b"", PIECE):
                        yield piece


class _Brotli:
    def __init__(self) -> None:
        self._engine = brotli.Decompressor()

    def pieces(self, data: bytes) -> Iterator[bytes]:
        piece = self._engine.process(data, output_buffer_limit=PIECE)
        while piece:  # it says that it can take more input while it still has output to give
            yield piece
            if self._engine.is_finished():
                return
            piece = self._engine.process(b"", output_buffer_limit=PIECE)


class _Zstd:
    """Any number of frames."""

    def __init__(self) -> None:
        self._engine = zstd.ZstdDecompressor()

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._engine.eof:
                if not data:
                    return
                self._engine = zstd.ZstdDecompressor()
            piece = self._engine.decompress(data, max_length=PIECE)
            if piece:
                yield piece
            if self._engine.eof:
                data = self._engine.unused_data
            elif self._engine.needs_input:
                return
            else:
                data = b""


def _has_zlib_frame(head: bytes) -> bool:
    return head[0] & 0x0F == 8 and (head[0] << 8 | head[1]) % 31 == 0


class Decoder:
    """Decodes one body piece by piece. `full`: the allowance was used up; `broken`: the bytes made no sense."""

    __slots__ = ("_codecs", "_left", "broken", "full")

    def __init__(self, codecs: list[_Codec], allowance: int) -> None:
        self._codecs = codecs
        self._left = allowance
        self.full = False
        self.broken = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of about 64 KiB at most. Nothing comes any more once `full` or `broken`."""
        if self.full or self.broken:
            return
        try:
            for piece in self._through(0, data):
                if len(piece) > self._left:
                    self.full = True
                    return
                self._left -= len(piece)
                yield piece
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError, ValueError, MemoryError):
            self.broken = True

    def _through(self, index: int, data: bytes) -> Iterator[bytes]:
        if index == len(self._codecs):
            yield data
            return
        for piece in self._codecs[index].pieces(data):
            yield from self._through(index + 1, piece)


def decoder(content_encoding: str, allowance: int) -> Decoder | None:
    """The decoder of a Content-Encoding header, or None when it names an encoding that is not known.

    allowance: decoded bytes that may come out in all. An empty or "identity" header needs no decoder: do not ask.
    """
    codecs: list[_Codec] = []
    for name in reversed([part.strip().lower() for part in content_encoding.split(",")]):
        if name in ("", "identity"):
            continue
        if name in ("gzip", "x-gzip"):
            codecs.append(_Zlib(gzip=True))
        elif name == "deflate":
            codecs.append(_Zlib(gzip=False))
        elif name == "br":
            codecs.append(_Brotli())
        elif name == "zstd":
            codecs.append(_Zstd())
        else:
            return None
    if len(codecs) > MAX_STACKED:
        return None
    return Decoder(codecs, allowance)
