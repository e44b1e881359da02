"""Frames as they pass: nothing is changed, nothing is lost, and nothing that breaks the protocol goes on."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from proxy.core import websocket
from proxy.core.websocket import Extensions, FrameReader, close_frame, extensions, handshake_problem, is_accepted

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", KEY), (b"Sec-WebSocket-Version", b"13")]


def frames(client: bool, messages: list[tuple[bytes | str, int, bool]], deflate: bool) -> tuple[bytes, list[bytes]]:
    """(bytes on the wire, texts) as a well-kept library writes them. A message: (payload, pieces, a ping inside)."""
    agreed: list[Any] = []
    if deflate:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        agreed = [extension]
    protocol = FrameProtocol(client=client, extensions=agreed)
    wire, texts = b"", []
    for payload, pieces, ping in messages:
        texts.append(payload.encode() if isinstance(payload, str) else payload)
        size = max(1, -(-len(payload) // pieces))
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [payload]
        for number, part in enumerate(parts):
            wire += protocol.send_data(part, fin=number == len(parts) - 1)
            if ping:
                wire += protocol.ping(b"are you there")
    return wire, texts


PAYLOADS = st.one_of(
    st.text(max_size=300),
    st.binary(max_size=300),
    st.integers(120, 130).map(lambda size: "x" * size),
    st.integers(65530, 65540).map(lambda size: b"y" * size),
)
MESSAGES = st.lists(st.tuples(PAYLOADS, st.integers(1, 4), st.booleans()), max_size=5)


@given(client=st.booleans(), messages=MESSAGES, deflate=st.booleans(), cuts=st.lists(st.integers(0, 4000), max_size=20))
def test_any_chunking_passes_every_byte_and_finds_every_message(
    client: bool, messages: list[tuple[bytes | str, int, bool]], deflate: bool, cuts: list[int]
) -> None:
    wire, texts = frames(client, messages, deflate)
    reader = FrameReader(masked=client, agreed=Extensions(deflate=deflate), look=-1)
    passed, found, at = b"", [], 0
    for size in [*cuts, len(wire)]:
        out, told = reader.feed(wire[at : at + size])
        at += size
        passed += out
        found += told
        assert wire.startswith(passed)
    out, told = reader.feed(wire[at:])
    assert (passed + out, found + told) == (wire, texts)
    assert (reader.messages, reader.broken, reader.between_frames) == (len(texts), "", True)


def test_byte_by_byte_only_whole_headers_go_on() -> None:
    wire, _ = frames(True, [("Hello", 1, False)], False)
    reader = FrameReader(masked=True)
    passed = [reader.feed(wire[at : at + 1])[0] for at in range(len(wire))]
    assert passed == [b"", b"", b"", b"", b"", wire[:6], *(wire[at : at + 1] for at in range(6, len(wire)))]


def test_only_the_frame_under_way_goes_on_when_it_is_to_end() -> None:
    wire = b"\x82\x04abcd\x82\x02ef"
    reader = FrameReader(masked=False)
    assert reader.feed(wire[:4])[0] == wire[:4]
    assert not reader.between_frames
    assert reader.feed(wire[4:], only_current=True)[0] == b"cd"
    assert reader.between_frames
    assert reader.feed(b"\x82\x01x", only_current=True)[0] == b""


@pytest.mark.parametrize(
    ("masked", "wire", "problem"),
    [
        (True, b"\x81\x01x", "not_masked"),
        (False, b"\x81\x81\0\0\0\0x", "masked"),
        (False, b"\x83\x00", "unknown_opcode"),
        (False, b"\x8b\x00", "unknown_opcode"),
        (False, b"\xc1\x00", "reserved_bits"),
        (False, b"\xa1\x00", "reserved_bits"),
        (False, b"\x80\x00", "nothing_to_continue"),
        (False, b"\x01\x00\x81\x00", "message_not_ended"),
        (False, b"\x09\x00", "bad_control_frame"),
        (False, b"\x89\x7e\x00\x7e", "bad_control_frame"),
        (False, b"\x81\x7e\x00\x05hello", "length_not_minimal"),
        (False, b"\x81\x7f\0\0\0\0\0\0\0\x05hello", "length_not_minimal"),
        (False, b"\x81\x7f\x80\0\0\0\0\0\0\0", "length_not_minimal"),
    ],
)
def test_what_breaks_the_protocol_goes_no_further(masked: bool, wire: bytes, problem: str) -> None:
    good = frames(masked, [("fine", 1, False)], False)[0]
    reader = FrameReader(masked=masked)
    first = wire[:2] if problem == "message_not_ended" else b""
    assert reader.feed(good + wire)[0] == good + first
    assert reader.broken == problem
    assert reader.feed(b"\x81\x00")[0] == b""


def test_compressed_only_where_it_was_agreed() -> None:
    reader = FrameReader(masked=False, agreed=Extensions(deflate=True))
    reader.feed(b"\xc1\x00\xc1\x00")
    assert (reader.messages, reader.broken) == (2, "")
    fragment = FrameReader(masked=False, agreed=Extensions(deflate=True))
    fragment.feed(b"\x41\x00\xc0\x00")  # a continuation has no such bit
    assert fragment.broken == "reserved_bits"


def test_an_unknown_extension_may_use_the_bits_and_messages_still_count() -> None:
    reader = FrameReader(masked=False, agreed=Extensions(opaque=True))
    reader.feed(b"\xf1\x00\x81\x00")
    assert (reader.messages, reader.broken) == (2, "")


def server_frame(payload: bytes, first: int) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    kind, width = (126, 2) if size < 1 << 16 else (127, 8)
    return bytes((first, kind)) + size.to_bytes(width, "big") + payload


def compressed(text: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return (engine.compress(text) + engine.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_message_too_large_to_look_at_still_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MESSAGE_CAP", 100)
    reader = FrameReader(masked=False, look=-1)
    wire = server_frame(b"x" * 101, 0x81) + server_frame(b"small", 0x81)
    assert reader.feed(wire) == (wire, [b"small"])
    assert (reader.skipped, reader.messages) == (True, 2)


def test_a_message_that_unpacks_to_very_much_is_given_up_and_passes() -> None:
    wire = server_frame(compressed(b"0" * (websocket.INFLATED_MOST + 1_000_000)), 0xC1)
    reader = FrameReader(masked=False, agreed=Extensions(deflate=True), look=-1)
    assert reader.feed(wire) == (wire, [])
    assert reader.skipped
    reader.feed(server_frame(compressed(b"later"), 0xC1))
    assert (reader.messages, reader.broken) == (2, "")


def test_what_does_not_unpack_passes_and_is_not_read() -> None:
    reader = FrameReader(masked=False, agreed=Extensions(deflate=True), look=-1)
    wire = server_frame(b"\xff\xff\xff nonsense", 0xC1)
    assert reader.feed(wire) == (wire, [])
    assert reader.skipped


@pytest.mark.parametrize(
    ("value", "agreed"),
    [
        (None, Extensions()),
        (b"permessage-deflate", Extensions(deflate=True)),
        (
            b"permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
            Extensions(deflate=True, down_fresh=True),
        ),
        (b"Permessage-Deflate; client_no_context_takeover", Extensions(deflate=True, up_fresh=True)),
        (b"x-webkit-deflate-frame, permessage-deflate", Extensions(deflate=True, opaque=True)),
    ],
)
def test_what_was_agreed(value: bytes | None, agreed: Extensions) -> None:
    assert extensions([] if value is None else [(b"Sec-WebSocket-Extensions", value)]) == agreed


@pytest.mark.parametrize(
    ("method", "minor", "headers", "problem"),
    [
        ("GET", 1, HANDSHAKE, False),
        ("POST", 1, HANDSHAKE, True),
        ("GET", 0, HANDSHAKE, True),
        ("GET", 1, HANDSHAKE[:2], True),
        ("GET", 1, [*HANDSHAKE[:2], (b"Sec-WebSocket-Version", b"8")], True),
        ("GET", 1, [*HANDSHAKE, (b"sec-websocket-key", KEY)], True),
        ("GET", 1, [HANDSHAKE[0], (b"Sec-WebSocket-Key", b"c2hvcnQ="), HANDSHAKE[2]], True),
    ],
)
def test_the_handshake(method: str, minor: int, headers: list[tuple[bytes, bytes]], problem: bool) -> None:
    assert handshake_problem(method, minor, headers) is problem


@pytest.mark.parametrize(
    ("response", "accepted"),
    [
        ([(b"Upgrade", b"WebSocket"), (b"Sec-WebSocket-Accept", ACCEPT)], True),
        ([(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", b"other")], False),
        ([(b"Upgrade", b"websocket")], False),
        ([(b"Upgrade", b"h2c"), (b"Sec-WebSocket-Accept", ACCEPT)], False),
        ([(b"Sec-WebSocket-Accept", ACCEPT)], False),
    ],
)
def test_a_101_must_answer_this_very_handshake(response: list[tuple[bytes, bytes]], accepted: bool) -> None:
    assert is_accepted(HANDSHAKE, response) is accepted


def test_a_close_frame_is_read_by_a_library() -> None:
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(close_frame(4402, "budget", mask=b"\x01\x02\x03\x04"))
    (frame,) = server.received_frames()
    assert frame.payload == (4402, "budget")
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(close_frame(1001, "예" * 100))
    (frame,) = client.received_frames()
    assert frame.payload == (1001, "예" * 41)


@pytest.mark.parametrize(("payload", "code"), [(b"\x03\xf3oops", 1011), (b"\x03\xe8", 1000), (b"", 1005)])
def test_the_code_of_a_servers_close_frame(payload: bytes, code: int) -> None:
    wire = b"\x81\x02hi" + bytes([0x88, len(payload)]) + payload
    for size in (1, 3, len(wire)):
        reader = FrameReader(masked=False, look=-1)
        texts = [text for at in range(0, len(wire), size) for text in reader.feed(wire[at : at + size])[1]]
        assert (reader.code, reader.closing, texts) == (code, True, [b"hi"])
    assert FrameReader(masked=False).code is None
