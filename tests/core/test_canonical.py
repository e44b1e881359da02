"""Two bodies are one question when they differ in whitespace, order of keys and escapes only."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.canonical import canonical_json

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {key: shuffled(inner, chance) for key, inner in items}
    return [shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


@given(values, st.randoms(use_true_random=False), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_order_whitespace_and_escapes_do_not_matter(
    value: Any, chance: random.Random, indent: Any, ascii_only: bool
) -> None:
    one = json.dumps(value).encode()
    other = json.dumps(shuffled(value, chance), indent=indent, ensure_ascii=ascii_only)
    form = canonical_json(one)
    assert form is not None
    try:
        encoded = other.encode()
    except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
        return
    assert canonical_json(encoded) == form


@given(values, values)
def test_what_means_something_else_has_another_form(one: Any, other: Any) -> None:
    texts = json.dumps(one, sort_keys=True), json.dumps(other, sort_keys=True)
    forms = canonical_json(texts[0].encode()), canonical_json(texts[1].encode())
    assert (forms[0] == forms[1]) == (texts[0] == texts[1])


@given(values)
def test_the_form_is_json_that_means_the_same(value: Any) -> None:
    form = canonical_json(json.dumps(value).encode())
    assert form is not None
    assert json.loads(form) == value
    assert canonical_json(form) == form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"n":1}', b'{"n":1.0}'),
        (b'{"n":100}', b'{"n":1e2}'),
        (b'{"n":12345678901234567890123}', b'{"n":12345678901234567890124}'),
        (b'{"n":0.1000000000000000000001}', b'{"n":0.1}'),
        (b'{"n":1}', b'{"n":"1"}'),
        (b'{"n":null}', b"{}"),
        (b'{"n":true}', b'{"n":1}'),
        (b"[1,2]", b"[2,1]"),
    ],
)
def test_numbers_are_exact_and_kinds_differ(one: bytes, other: bytes) -> None:
    assert canonical_json(one) != canonical_json(other)
    assert canonical_json(one) is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"{",
        b"",
        b"\xff",
        b'{"n":NaN}',
        b"[Infinity]",
        b"[" * 5000 + b"]" * 5000,
    ],
    ids=["key twice", "key twice inside", "cut", "empty", "not utf-8", "NaN", "Infinity", "deep"],
)
def test_what_has_no_single_meaning_has_no_form(body: bytes) -> None:
    assert canonical_json(body) is None
