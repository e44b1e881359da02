"""What is remembered of heads is what the strict parser says of them, whatever came before."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core import heads
from proxy.core.heads import HeadReader, read_head
from proxy.core.http1 import Malformed, RequestHead, parse_request

LINES = st.sampled_from(
    [
        b"Host: api.example.com",
        b"Host: other.example.com",
        b"Content-Length: 0",
        b"Content-Length: 7",
        b"content-length:12",
        b"CONTENT-LENGTH:   451  ",
        b"Content-Length: 0012",
        b"Content-Length: 1,1",
        b"Content-Length: x",
        b"Content_Length: 5",
        b"X-Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Expect: 100-continue",
        b"Authorization: Bearer a",
        b"X-Text: Content-Length: 5",
        b"Content-Length : 5",
        b" Content-Length: 5",
    ]
)
HEADS = st.tuples(
    st.sampled_from([b"POST", b"GET", b"CONNECT", b"TRACE"]),
    st.sampled_from([b"/a", b"host:443", b"/content-length:5"]),
    st.sampled_from([b"1.1", b"1.0"]),
    st.lists(LINES, max_size=5),
).map(lambda made: b"\r\n".join([b"%b %b HTTP/%b" % made[:3], *made[3], b""]))


def judged(block: bytes, reader: object) -> RequestHead | tuple[str, int]:
    try:
        head = reader(block)  # type: ignore[operator]
    except Malformed as problem:
        return problem.code, problem.status
    return replace(head, key=None)


@given(st.lists(HEADS, min_size=1, max_size=6))
@settings(max_examples=400, deadline=None)
def test_a_head_means_the_same_whatever_came_before(blocks: list[bytes]) -> None:
    one_connection = HeadReader(128)
    for block in [*blocks, *blocks]:
        assert judged(block, read_head) == judged(block, parse_request)
        assert judged(block, one_connection.read) == judged(block, parse_request)


@given(HEADS, st.lists(st.binary(max_size=20) | st.from_regex(rb"[0-9]{1,20}", fullmatch=True), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_on_one_connection_only_digits_may_differ_from_the_head_before(block: bytes, lengths: list[bytes]) -> None:
    one_connection = HeadReader(128)
    for length in [b"7", *lengths]:
        like = block.replace(b"Content-Length: 7", b"Content-Length: " + length)
        assert judged(like, one_connection.read) == judged(like, parse_request)


def head(length: int, key: str = "k") -> bytes:
    return b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n" % (
        key.encode(),
        length,
    )


def test_only_the_length_may_differ() -> None:
    first, longer, other = read_head(head(7)), read_head(head(451)), read_head(head(7, "other"))
    assert first.key == longer.key != other.key
    assert (first.length, longer.length) == (7, 451)
    assert longer.headers[2] == (b"Content-Length", b"451")
    assert first.headers[2] == (b"Content-Length", b"7"), "what is shared was not changed"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_a_method_that_may_have_no_body_is_judged_every_time(method: str) -> None:
    block = f"{method} host:443 HTTP/1.1\r\nHost: host:443\r\nContent-Length: %d\r\n"
    assert read_head((block % 0).encode()).key is None
    with pytest.raises(Malformed, match="body_not_allowed"):
        read_head((block % 5).encode())


def test_a_stricter_limit_of_fields_holds_for_known_heads() -> None:
    read_head(head(7))
    with pytest.raises(Malformed, match="too_many_headers"):
        read_head(head(8), 2)


def test_it_is_bounded() -> None:
    for number in range(2000):
        read_head(head(7, f"key-{number}"))
    assert len(heads._known) <= 512
    assert read_head(head(7, "k" * 5000)).key is None
