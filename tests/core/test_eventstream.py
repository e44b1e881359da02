"""Frames of the AWS event stream."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.eventstream import Frame, FrameReader, event, frame

TEXT = st.text(max_size=20)


def read(pieces: list[bytes]) -> tuple[list[Frame], FrameReader]:
    reader = FrameReader()
    return [found for piece in pieces for found in reader.feed(piece)], reader


@given(
    st.lists(st.tuples(st.dictionaries(TEXT.filter(bool), TEXT, max_size=4), st.binary(max_size=50)), max_size=5),
    st.data(),
)
def test_what_is_written_is_read_in_any_chunks(
    messages: list[tuple[dict[str, str], bytes]], data: st.DataObject
) -> None:
    body = b"".join(frame(headers, payload) for headers, payload in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    found, reader = read(pieces)
    assert [(dict(item.headers), item.payload) for item in found] == messages
    assert not reader.broken


def test_a_frame_byte_by_byte() -> None:
    written = frame({"a": "b"}, b"{}")
    assert written[:4] == (16 + 6 + 2).to_bytes(4, "big")
    assert written[4:8] == (6).to_bytes(4, "big")
    assert written[8:12] == zlib.crc32(written[:8]).to_bytes(4, "big")
    assert written[12:18] == b"\x01a\x07\x00\x01b"
    assert written[18:20] == b"{}"
    assert written[20:] == zlib.crc32(written[:20]).to_bytes(4, "big")


@pytest.mark.parametrize("place", [0, 5, 9, 14, 40, -1])
def test_a_flipped_bit_breaks_the_stream(place: int) -> None:
    body = bytearray(event("metadata", b'{"usage": {}}'))
    body[place] ^= 1
    found, reader = read([bytes(body), event("metadata", b"{}")])
    assert found == []
    assert reader.broken or place == 0


def test_headers_of_other_types_are_passed_over() -> None:
    block = b"\x01n\x00" + b"\x01i\x04\x00\x00\x00\x07" + b"\x01b\x06\x00\x02hi" + b"\x01s\x07\x00\x02ok"
    prelude = struct.pack(">II", 16 + len(block), len(block))
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + block
    found, _ = read([message + zlib.crc32(message).to_bytes(4, "big")])
    assert [dict(item.headers) for item in found] == [{"s": "ok"}]


def test_lead_is_what_completes_the_frame_that_was_open() -> None:
    body = event("a", b"1")
    reader = FrameReader()
    list(reader.feed(body))
    assert reader.lead == 0
    list(reader.feed(body[:10]))
    assert reader.lead == 0
    list(reader.feed(body[10:20]))
    assert reader.lead is None
    list(reader.feed(body[20:] + body[:5]))
    assert reader.lead == len(body) - 20
