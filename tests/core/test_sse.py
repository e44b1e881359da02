"""Cutting a stream into events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.sse import Splitter, data_of


def events(pieces: list[bytes], separator: bytes = b"\n\n", cap: int = 1000) -> tuple[list[bytes], bytes]:
    splitter = Splitter(separator, cap)
    found = b"".join(splitter.feed(piece) for piece in pieces)
    return [block.strip(b"\n") for block in found.split(separator) if block.strip(b"\n")], splitter.finish()


@pytest.mark.parametrize(
    ("body", "found", "rest"),
    [
        (b"data: 1\n\ndata: 2\n\n", [b"data: 1", b"data: 2"], b""),
        (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"data: 1", b"data: 2"], b""),
        (b"data: 1\r\rdata: 2\r\r", [b"data: 1", b"data: 2"], b""),
        (b"\n\n\ndata: 1\n\n\n\ndata: 2\n\n", [b"data: 1", b"data: 2"], b""),
        (b"data: 1\n\ndata: 2", [b"data: 1"], b"data: 2"),
        (b"event: a\ndata: 1\ndata: 2\n\n", [b"event: a\ndata: 1\ndata: 2"], b""),
        (b"", [], b""),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_line_ends_and_chunks(body: bytes, found: list[bytes], rest: bytes, size: int) -> None:
    assert events([body[at : at + size] for at in range(0, len(body), size)]) == (found, rest)


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\n\n", b"\r\n", b"data: x"]), max_size=30), st.data())
def test_any_chunking_gives_the_same_events(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    whole, rest = events([body])
    split, split_rest = events(pieces)
    assert split == whole
    assert split_rest.strip(b"\n") == rest.strip(b"\n")


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_an_event_over_the_cap_is_skipped_and_counted(size: int) -> None:
    body = b"data: 1\n\ndata: " + b"x" * 3000 + b"\n\ndata: 2\n\n"
    splitter = Splitter(cap=1000)
    found = b"".join(splitter.feed(body[at : at + size]) for at in range(0, len(body), size))
    blocks = [block for block in found.split(b"\n\n") if block and len(block) <= 1000]
    assert blocks == [b"data: 1", b"data: 2"]
    assert splitter.skipped == (0 if size == 5000 else 1)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}", b"{}"),
        (b"data:{}", b"{}"),
        (b"data:  {}", b" {}"),
        (b"event: x\ndata: 1\nid: 7\ndata: 2", b"1\n2"),
        (b": comment", b""),
        (b"data", b""),
        (b"\ndata: 1", b"1"),
    ],
)
def test_data_of_an_event(event: bytes, data: bytes) -> None:
    assert data_of(event) == data


def test_lines() -> None:
    assert events([b'{"a"', b':1}\n{"b":2', b"}\n{"], b"\n") == ([b'{"a":1}', b'{"b":2}'], b"{")
