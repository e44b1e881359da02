"""What of a message is for the next hop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.headers import (
    first,
    max_forwards,
    named_by_connection,
    request_frame,
    request_head,
    response_headers,
    trailer_fields,
    wants_websocket,
)

Fields = list[tuple[bytes, bytes]]


def sent(headers: Fields, **options: object) -> list[bytes]:
    head = request_head("POST", "/x", headers, host=b"api.example", **options)  # type: ignore[arg-type]
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_order_case_and_repetition_are_kept() -> None:
    headers = [(b"hOST", b"old"), (b"X-A", b"1"), (b"x-a", b"2"), (b"COOKIE", b"c"), (b"X-A", b"\xff")]
    assert sent(headers, length=0) == [
        b"POST /x HTTP/1.1",
        b"Host: api.example",
        b"X-A: 1",
        b"x-a: 2",
        b"COOKIE: c",
        b"X-A: \xff",
        b"Content-Length: 0",
        b"Via: 1.1 spendgate",
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade", b"Proxy-Connection"),
        *(
            b"Proxy-Authorization",
            b"Proxy-Anything",
            b"X-Spendgate-Key",
            b"x-spendgate-cost",
            b"Expect",
            b"HTTP2-Settings",
        ),
    ],
)
def test_what_never_goes_out(name: bytes) -> None:
    for spelling in (name, name.lower(), name.upper()):
        assert not any(line.lower().startswith(name.lower() + b":") for line in sent([(spelling, b"x")]))


def test_what_connection_names_stays_here() -> None:
    headers = [(b"Connection", b"X-One, keep-alive"), (b"X-One", b"1"), (b"connection", b" x-TWO"), (b"X-Two", b"2")]
    assert sent(headers, length=0)[2:] == [b"Content-Length: 0", b"Via: 1.1 spendgate"]
    assert response_headers(headers) == [(b"Via", b"1.1 spendgate")]


@pytest.mark.parametrize("name", [b"Content-Length", b"Host", b"Authorization", b"Content-Type", b"Via"])
def test_connection_cannot_take_away_what_the_message_needs(name: bytes) -> None:
    headers = [(b"Connection", name), (b"Content-Type", b"a"), (b"Authorization", b"b"), (b"Content-Length", b"5")]
    lines = sent(headers, length=5)
    assert lines == [
        b"POST /x HTTP/1.1",
        b"Host: api.example",
        b"Content-Type: a",
        b"Authorization: b",
        b"Content-Length: 5",
        b"Via: 1.1 spendgate",
    ]


@pytest.mark.parametrize(
    ("told", "length", "line"),
    [
        (b"5", 5, b"content-length: 5"),
        (b"005", 5, b"content-length: 5"),
        (b"5", 9, b"content-length: 9"),
        (None, 9, b"Content-Length: 9"),
        (b"5", None, b"Transfer-Encoding: chunked"),
        (None, None, b"Transfer-Encoding: chunked"),
    ],
)
def test_the_framing_is_told_once(told: bytes | None, length: int | None, line: bytes) -> None:
    headers = [(b"content-length", told)] if told is not None else [(b"Transfer-Encoding", b"chunked")]
    lines = sent(headers, length=length)
    framing = [each for each in lines if each.lower().startswith((b"content-length", b"transfer-encoding"))]
    assert framing == [line]


def test_a_get_without_a_body_says_nothing_of_one() -> None:
    assert b"ontent-" not in request_head("GET", "/", [], host=b"h")


def test_the_apis_own_key_replaces_the_programs() -> None:
    headers = [(b"AUTHORIZATION", b"Bearer virtual"), (b"authorization", b"Bearer second"), (b"X-A", b"1")]
    lines = sent(headers, credentials=[(b"Authorization", b"Bearer real")])
    assert [line for line in lines if line.lower().startswith(b"authorization")] == [b"Authorization: Bearer real"]


def test_the_callers_key_for_us_is_dropped() -> None:
    headers = [(b"X-Api-Key", b"virtual"), (b"Authorization", b"kept")]
    lines = sent(headers, drop=frozenset((b"x-api-key",)))
    assert b"X-Api-Key: virtual" not in lines
    assert b"Authorization: kept" in lines


@pytest.mark.parametrize(("minor", "via"), [(0, b"1.0 spendgate"), (1, b"1.1 spendgate")])
def test_via_is_added_after_those_that_are_there(minor: int, via: bytes) -> None:
    headers = [(b"Via", b"1.1 first")]
    assert sent(headers, minor=minor)[-1] == b"Via: " + via
    assert response_headers(headers, minor=minor) == [(b"Via", b"1.1 first"), (b"Via", via)]


def test_what_comes_back() -> None:
    headers = [
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Spendgate-Cost", b"0"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Content-Encoding", b"gzip"),
    ]
    assert response_headers(headers)[:-1] == [
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"Content-Encoding", b"gzip"),
    ]


def test_trailers_of_ours_are_dropped() -> None:
    assert trailer_fields([(b"X-Sum", b"1"), (b"x-Spendgate-Cost", b"0"), (b"Proxy-X", b"1")]) == [(b"X-Sum", b"1")]


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], False),
        ([(b"Upgrade", b"websocket")], True),
        ([(b"upgrade", b"h2c, WebSocket")], True),
        ([(b"Upgrade", b"h2c")], False),
        ([(b"X-Upgrade", b"websocket")], False),
    ],
)
def test_who_wants_a_websocket(headers: Fields, wanted: bool) -> None:
    assert wants_websocket(headers) is wanted


@pytest.mark.parametrize(
    ("method", "value", "left", "forwarded"),
    [
        ("OPTIONS", b"5", 5, b"4"),
        ("OPTIONS", b"0", 0, b"0"),
        ("TRACE", b"1", 1, b"0"),
        ("GET", b"5", None, b"5"),
        ("OPTIONS", b"x", None, b"x"),
        ("OPTIONS", b"-1", None, b"-1"),
    ],
)
def test_max_forwards_counts_down(method: str, value: bytes, left: int | None, forwarded: bytes) -> None:
    found, headers = max_forwards(method, [(b"A", b"1"), (b"Max-Forwards", value)])
    assert found == left
    assert headers == [(b"A", b"1"), (b"Max-Forwards", forwarded)]


def test_first_and_named() -> None:
    headers = [(b"Connection", b"a,B"), (b"X", b"1"), (b"x", b"2"), (b"Proxy-Connection", b"c")]
    assert first(headers, b"x") == b"1"
    assert first(headers, b"y") is None
    assert named_by_connection(headers) == {b"a", b"b", b"c"}


@given(st.integers(0, 10**9), st.booleans())
def test_a_frame_around_a_length_is_the_same_head(length: int, told: bool) -> None:
    fields = [
        (b"Accept", b"*/*"),
        *([(b"content-length", b"1")] if told else []),
        (b"Authorization", b"x"),
        (b"B", b"2"),
    ]
    given_to: dict[str, Any] = {
        "host": b"h",
        "minor": 1,
        "drop": frozenset(),
        "credentials": [(b"Authorization", b"k")],
    }
    before, after = request_frame("POST", "/p?q", fields, length=length, **given_to)
    whole = request_head("POST", "/p?q", fields, length=length, **given_to)
    assert (after is not None) == told
    assert whole == (before if after is None else b"%b%d%b" % (before, length, after))
    if told:
        other = request_frame("POST", "/p?q", fields, length=length + 1, **given_to)
        assert other == (before, after)
