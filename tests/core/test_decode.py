"""Undoing Content-Encoding within bounds."""

from __future__ import annotations

import gzip
import random
import zlib

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decode import PIECE, decoder

PACK = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "gzip, zstd": lambda body: zstd.compress(gzip.compress(body)),
    " GZIP , identity ": gzip.compress,
}


def unpack(coding: str, pieces: list[bytes], allowance: int = 10**7) -> bytes:
    found = decoder(coding, allowance)
    assert found is not None
    out = [piece for data in pieces for piece in found.feed(data)]
    assert all(len(piece) <= 2 * PIECE for piece in out)
    assert not found.broken
    assert not found.full
    return b"".join(out)


@pytest.mark.parametrize("coding", PACK)
@given(body=st.binary(max_size=500), size=st.integers(1, 50), times=st.sampled_from([1, 40, 2000]))
def test_comes_back_in_any_chunks(coding: str, body: bytes, size: int, times: int) -> None:
    body = body * times
    packed = PACK[coding](body)
    assert unpack(coding, [packed[at : at + size] for at in range(0, len(packed), size)]) == body
    assert unpack(coding, [packed]) == body


@pytest.mark.parametrize("coding", PACK)
def test_bodies_larger_than_a_piece_come_back_whole(coding: str) -> None:
    body = random.Random(1).randbytes(700) * 2000
    assert unpack(coding, [PACK[coding](body)]) == body


def test_members_and_frames_follow_each_other() -> None:
    for coding in ("gzip", "zstd"):
        packed = PACK[coding](b"one") + PACK[coding](b"two")
        for size in (1, 5, 1000):
            assert unpack(coding, [packed[at : at + size] for at in range(0, len(packed), size)]) == b"onetwo"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, zstd"])
def test_no_more_comes_out_than_allowed(coding: str) -> None:
    found = decoder(coding, 100_000)
    assert found is not None
    total = sum(len(piece) for piece in found.feed(PACK[coding](b"\0" * 50_000_000)))
    assert found.full
    assert total <= 100_000
    assert list(found.feed(b"more")) == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_garbage_is_broken_not_raised(coding: str) -> None:
    found = decoder(coding, 1000)
    assert found is not None
    assert list(found.feed(b"\xff\x00garbage that is no archive" * 10)) == []
    assert found.broken


@pytest.mark.parametrize("coding", ["snappy", "gzip, snappy", "gzip, gzip, gzip, gzip"])
def test_what_is_not_known_has_no_decoder(coding: str) -> None:
    assert decoder(coding, 1000) is None
