"""Messages as bytes: any split reads the same, what is broken is named, what is whole is never more or less."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import http1
from proxy.core.authority import Authority
from proxy.core.headbuffer import HeadBuffer
from proxy.core.http1 import (
    ChunkedDecoder,
    Framing,
    Malformed,
    chunk,
    head_end,
    last_chunk,
    parse_request,
    parse_response,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


PLACES = st.lists(st.integers(0, 10_000), max_size=12)


def test_a_request_head() -> None:
    head = parse_request(
        b"POST /a?b HTTP/1.1\r\nHost: A:80\r\nContent-Length: 007\r\nX:  y \t\r\nExpect: 100-Continue\r\n"
    )
    assert (head.method, head.target, head.minor, head.length, head.keep_alive) == ("POST", "/a?b", 1, 7, True)
    assert head.headers[2] == (b"X", b"y")
    assert head.host == Authority("a", 80)
    assert head.expects_continue


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Keep-Alive, Close", False),
        ("1.1", "closed, x-close", True),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "close, keep-alive", False),
    ],
)
def test_when_a_client_wants_to_stay(version: str, connection: str | None, kept: bool) -> None:
    line = f"Connection: {connection}\r\n" if connection else ""
    assert parse_request(f"GET / HTTP/{version}\r\nHost: h\r\n{line}".encode()).keep_alive is kept


@given(places=PLACES)
def test_a_head_in_pieces_is_the_same_head(places: list[int]) -> None:
    raw = b"\r\nPOST /x HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 300 + b"\r\n\r\nthe body\r\n\r\n"
    buffer = HeadBuffer(4096, 1024)
    whole = None
    for n, piece in enumerate(pieces := cut(raw, places)):
        whole = buffer.feed(piece)
        if whole is not None:
            head, rest = whole
            assert head == raw[2 : raw.index(b"\r\n\r\n", 2) + 2]
            assert rest + b"".join(pieces[n + 1 :]) == b"the body\r\n\r\n"
            break
    assert whole is not None
    assert not buffer.begun


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x16\x03\x01", "bad_request_line"),
        (b"\nGET", "bad_request_line"),
        (b"\r\n" * 9 + b"GET", "bad_request_line"),
        (b" GET / HTTP/1.1\r\n", "bad_request_line"),
        (b"GET / HTTP/1.1\n", "bare_line_break"),
        (b"GET / HTTP/1.1\r\nX : y\r\n", "space_before_colon"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1e3\r\n", "bad_length"),
        (b"GET /" + b"a" * 2000, "target_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 5000, "head_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 5000 + b"\r\n\r\n", "head_too_large"),
    ],
)
def test_a_hopeless_head_is_given_up_before_its_end(sent: bytes, code: str) -> None:
    for pieces in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        buffer = HeadBuffer(4096, 1024)
        with pytest.raises(Malformed) as caught:
            list(map(buffer.feed, pieces))
        assert caught.value.code == code


@given(parts=st.lists(st.binary(min_size=1, max_size=300), max_size=6), places=PLACES, after=st.binary(max_size=20))
def test_a_chunked_body_in_pieces_is_the_same_body(parts: list[bytes], places: list[int], after: bytes) -> None:
    raw = b"".join(map(chunk, parts)) + last_chunk([(b"X-Sum", b"1")]) + after
    decoder = ChunkedDecoder()
    got, rest = b"", b""
    for piece in cut(raw, places):
        if decoder.done:
            rest += piece
            continue
        data, left = decoder.feed(piece)
        got += data
        rest += left
    assert decoder.done
    assert (got, rest, decoder.trailers) == (b"".join(parts), after, [(b"X-Sum", b"1")])


@pytest.mark.parametrize(
    "raw",
    [
        *(b"x\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1_0\r\n", b" 1\r\n", b"1 \r\n", b"1\n", b"\r\n", b"1\r\r\n"),
        *(b"1\r\nab\r\n", b"1\r\na\n", b"1\r\naX", b"0" * 16 + b"\r\n", b"1;a\x00\r\n", b"1;" + b"a" * 5000),
        *(b"0\r\nX : y\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\nX: " + b"a" * 20_000, b"0\r\n\n"),
        b"0\r\n" + b"X: y\r\n" * 5000,
    ],
    ids=repr,
)
def test_broken_chunks_are_refused(raw: bytes) -> None:
    for step in (len(raw), 1):
        decoder = ChunkedDecoder()
        pieces = [raw[i : i + step] for i in range(0, len(raw), step)]
        with pytest.raises(Malformed, match="bad_chunk"):
            list(map(decoder.feed, pieces))


def test_trailers_that_would_change_the_message_are_dropped() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\nContent-Length: 5\r\nHost: x\r\nX-Ok:  1 \r\nAuthorization: y\r\n\r\n")
    assert decoder.trailers == [(b"X-Ok", b"1")]


@pytest.mark.parametrize(
    ("method", "head", "framing", "length"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Framing.LENGTH, 5),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Framing.NONE, 5),
        ("GET", b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n", Framing.NONE, 5),
        ("GET", b"HTTP/1.1 204 X\r\n", Framing.NONE, None),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", Framing.CHUNKED, None),
        ("GET", b"HTTP/1.1 200 OK\r\n", Framing.CLOSE, None),
    ],
)
def test_how_a_response_body_ends(method: str, head: bytes, framing: Framing, length: int | None) -> None:
    found = parse_response(head, method)
    assert (found.framing, found.length) == (framing, length)


RESPONSE_LINES = st.sampled_from(
    [
        *(
            b"Content-Length: 5",
            b"content-length:5 ",
            b"Content-Length: 5, 5",
            b"Content-Length: 6",
            b"Content-Length: x",
        ),
        *(b"Content-Length: ", b"Content-Length: +5", b"Content-Length: 1234567890123456789"),
        *(b"Connection: keep-alive", b"connection: Close", b"Connection: a, close", b"Connection: not-closed"),
        *(b"Connection: Keep-Alive, a", b"Keep-Alive: timeout=5", b"Transfer-Encoding: chunked"),
        *(b"Transfer-Encoding: gzip", b"X: y", b"X:", b"X:\t y z \t", b"X : y", b" folded", b"no colon", b"X: \x01"),
    ]
)


@given(
    heads=st.lists(
        st.tuples(st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"]), st.lists(RESPONSE_LINES, max_size=5)),
        min_size=1,
        max_size=4,
    )
)
def test_a_response_means_the_same_whatever_lines_came_before(heads: list[tuple[bytes, list[bytes]]]) -> None:
    def read(block: bytes) -> object:
        try:
            return parse_response(block, "POST")
        except Malformed as problem:
            return problem.code

    blocks = [b"\r\n".join([first, *lines, b""]) for first, lines in heads]
    alone = []
    for block in blocks:
        http1._known_lines.clear()
        http1._known_status.clear()
        alone.append(read(block))
    assert [read(block) for block in (*blocks, *blocks)] == [*alone, *alone]


@pytest.mark.parametrize(
    ("lines", "lives_on"),
    [
        ([b"HTTP/1.1 200 OK", b"Connection: keep-alive"], True),
        ([b"HTTP/1.1 200 OK", b"Connection: close", b"Connection: keep-alive"], False),
        ([b"HTTP/1.1 200 OK", b"Connection: a, CLOSE"], False),
        ([b"HTTP/1.1 200 OK", b"Connection: not-closed"], True),
        ([b"HTTP/1.0 200 OK", b"Connection: keep-alive"], True),
        ([b"HTTP/1.0 200 OK", b"Connection: a, Keep-Alive"], True),
        ([b"HTTP/1.0 200 OK"], False),
    ],
)
def test_whether_a_connection_lives_on_after_a_response(lines: list[bytes], lives_on: bool) -> None:
    assert parse_response(b"\r\n".join([*lines, b"Content-Length: 0", b""]), "GET").keep_alive is lives_on


@given(places=PLACES)
def test_the_end_of_a_response_head_is_found_in_pieces(places: list[int]) -> None:
    for mark in (b"\r\n\r\n", b"\n\n", b"\n\r\n"):
        raw = b"HTTP/1.1 200 OK\r\nX: y" + mark + b"body"
        data = b""
        for piece in cut(raw, places):
            start = max(0, len(data) - 3)
            data += piece
            end, after = head_end(data, start)
            if end >= 0:
                assert data[after:] == raw[len(raw) - 4 :][: len(data) - after]
                break
        else:
            pytest.fail("no end found")
