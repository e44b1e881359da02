"""Rungs by a budget's level, and a body changed in the named fields and in nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import ladder
from proxy.core.handling_model import Rung, Upstream
from proxy.core.jsonedit import NotAnObject, set_fields
from proxy.core.model import Level

RUNGS = (
    Rung(8000, ((("model",), "small"), (("max_tokens",), 500))),
    Rung(9000, ((("max_tokens",), 100),), serve_stale=True),
    Rung(9500, upstream=Upstream("https", "cheap.example", 443, "")),
)


def level(spent: int, reserved: int = 0, limit: int = 1000) -> Level:
    return Level("monthly", "2026-11", "KRW", limit, spent, reserved, 0)


@pytest.mark.parametrize(
    ("spent", "reserved", "own", "at"),
    [
        (799, 0, 0, None),
        (800, 0, 0, 8000),
        (700, 100, 0, 8000),
        (700, 100, 100, None),  # what the call itself holds does not count
        (899, 0, 0, 8000),
        (900, 0, 0, 9000),
        (2000, 0, 0, 9500),
    ],
)
def test_which_rungs_are_reached(spent: int, reserved: int, own: int, at: int | None) -> None:
    found = ladder.step(RUNGS, level(spent, reserved), own)
    assert (found and found.at_bp) == at


def test_rungs_add_up_and_later_ones_overrule() -> None:
    found = ladder.step(RUNGS, level(960))
    assert found is not None
    assert dict(found.sets) == {("model",): "small", ("max_tokens",): 100}
    assert found.serve_stale
    assert found.elsewhere is RUNGS[2]
    assert ladder.step(RUNGS, None) is None


@pytest.mark.parametrize(
    ("body", "sets", "wanted", "names"),
    [
        (b'{"a":1}', {("a",): 5}, b'{"a":1}', ()),  # never raised
        (b'{"a":9}', {("a",): 5}, b'{"a":5}', ("a",)),
        (b'{"a":5.5}', {("a",): 5}, b'{"a":5}', ("a",)),
        (b"{}", {("a",): 5}, b'{"a":5}', ("a",)),
        (b'{"a":null}', {("a",): 5}, b'{"a":5}', ("a",)),
        (b'{"a":true}', {("a",): False}, b'{"a":false}', ("a",)),
        (b'{"a":"x"}', {("a",): "x"}, b'{"a":"x"}', ()),
        (
            b'{ "max_completion_tokens" : 900 }',
            {("max_tokens",): 5},
            b'{ "max_completion_tokens" : 5 }',
            ("max_completion_tokens",),
        ),
        (b'{"c":{"m":9,"k":1}}', {("c", "m"): 5}, b'{"c":{"m":5,"k":1}}', ("c.m",)),
        (b'{"k":1}', {("c", "m"): 5}, b'{"c":{"m":5},"k":1}', ("c.m",)),
        (b'{"c":1}', {("c", "m"): 5}, b'{"c":1}', ()),  # its way leads through a number
        (b"[1]", {("a",): 5}, b"[1]", ()),
        (b"no json", {("a",): 5}, b"no json", ()),
    ],
)
def test_what_a_step_sets(body: bytes, sets: dict[Any, Any], wanted: bytes, names: tuple[str, ...]) -> None:
    assert ladder.rewritten(body, tuple(sets.items())) == (wanted, names)


@pytest.mark.parametrize(
    ("headers", "query", "signed"),
    [
        ((("content-digest", "x"),), "", True),
        ((("authorization", "AWS4-HMAC-SHA256 Credential=x"),), "", True),
        ((("authorization", "Bearer x"),), "", False),
        ((), "X-Amz-Signature=x", True),
        ((), "", False),
    ],
)
def test_what_is_signed_is_known(headers: tuple[tuple[str, str], ...], query: str, signed: bool) -> None:
    assert ladder.is_signed(headers, query) == signed


# --- the text around the fields --------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
objects = st.dictionaries(st.text(max_size=4), st.recursive(scalars, lambda s: st.lists(s, max_size=3)), max_size=5)
names = st.text(max_size=4)


@given(objects, names, scalars, st.sampled_from([None, 2, "\t"]))
def test_one_field_is_set_and_the_rest_means_the_same(
    document: dict[str, Any], name: str, value: Any, indent: Any
) -> None:
    try:
        body = json.dumps(document, indent=indent, ensure_ascii=False).encode()
        changed = set_fields(body, {(name,): value})
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return
    assert json.loads(changed) == {**document, name: value}


@given(objects, names, scalars)
def test_every_other_byte_stays(document: dict[str, Any], name: str, value: Any) -> None:
    """Before and behind what was set, the text is the one that came."""
    body = json.dumps({name: "MARK", **{key: item for key, item in document.items() if key != name}}, indent=1)
    try:
        wanted = body.replace('"MARK"', json.dumps(value, ensure_ascii=False), 1).encode()
        assert set_fields(body.encode(), {(name,): value}) == wanted
    except UnicodeEncodeError:
        return


def test_a_key_that_stands_twice_is_set_twice() -> None:
    assert set_fields(b'{"a":1, "b":2, "a":3}', {("a",): 0}) == b'{"a":0, "b":2, "a":0}'


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a":1,}', b'{"a" 1}', b"{1:2}", b'{"a":}', b"\xff"])
def test_what_is_no_object_is_not_touched(body: bytes) -> None:
    with pytest.raises(NotAnObject):
        set_fields(body, {("b",): 1})
