"""The digest by which the ledger tells repeated questions apart."""

from __future__ import annotations

import pytest

from proxy.core.model import Outbound
from proxy.core.question import LONGEST, Passing, digest


def asked(method: str = "POST", query: str = "", body: bytes | None = b"{}", body_size: int | None = 2) -> str:
    return digest(Outbound(method, "https", "api.example.com", 443, "/v1/x", query, (), body, body_size))


def test_the_same_bytes_are_the_same_question_and_others_are_not() -> None:
    all_of_them = [
        asked(),
        asked(body=b"{ }"),
        asked(query="a=1"),
        asked(query="a=1", body=b"\n"),
        asked("GET", "a=1", None, None),
        asked(query="\udcff"),
    ]
    assert asked() == all_of_them[0]
    assert len(set(all_of_them)) == len(all_of_them)
    assert all(len(one) == 12 for one in all_of_them)


@pytest.mark.parametrize(
    "made",
    [
        asked("DELETE"),
        asked(body=None, body_size=9_000_000),
        asked(body=None, body_size=None),  # a function whose arguments nobody looked at
        asked(body=b"", body_size=0),
        asked(body=b"x" * (LONGEST + 1), body_size=LONGEST + 1),
    ],
)
def test_what_cannot_be_compared_has_none(made: str) -> None:
    assert made == ""


def test_a_body_that_passes_in_pieces_is_the_same_question() -> None:
    outbound = Outbound("POST", "https", "api.example.com", 443, "/v1/x", "a=1", (), None, 6)
    passing = Passing(outbound)
    for piece in (b"ab", b"c", b"def"):
        passing.feed(piece)
    assert passing.digest() == asked(query="a=1", body=b"abcdef")
    passing.feed(b"x" * LONGEST)
    assert passing.digest() == ""
