"""A rule that is called unreachable is never reached: checked against the matching itself with made-up requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import rules_file
from proxy.core import match
from proxy.core.model import Outbound

PATHS = ["/v1/*", "/v1/models*", "/v1/**/x", "/v1/a/x", "/**", "/v1/*/x", "~^/v1/a", "/v1/models"]
TESTS: dict[str, list[Any]] = {
    "method": ["GET", "POST", ["GET", "POST"], "CONNECT"],
    "path": [*PATHS, ["/v1/models*", "/v1/a/x"]],
    "host": ["a.example.com", "*.example.com"],
    "header": [{"X-A": "1"}, {"x-a": {"present": True}}, {"X-A": ["1", "2"]}, {"X-A": {"present": False}}],
    "query": [{"q": "1"}, {"q": "~1"}],
    "json": [{"model": "x"}, {"model": ["x", "y"]}, {"model": {"present": True}}],
}
MATCHES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in TESTS.items()})
PRICES = st.sampled_from(
    [
        {"per_request": 1},
        {"free": True},
        {"per_connection": 1},
        {"per_kb": {"up": 1, "down": 1}},
        {"tokens": {"input": 1}},
        {"per_unit": {"price": 1, "count": "request.n"}},
    ]
)
REQUESTS = st.builds(
    Outbound,
    method=st.sampled_from(["GET", "POST", "PUT"]),
    scheme=st.just("https"),
    host=st.sampled_from(["a.example.com", "b.example.com"]),
    port=st.just(443),
    path=st.sampled_from(["/v1/models", "/v1/models/1", "/v1/a/x", "/v1/x", "/v1/a/b/x", "/v2", "/", "/v1/models/x"]),
    query=st.sampled_from(["", "q=1", "q=12", "q=2"]),
    headers=st.sampled_from([(), (("x-a", "1"),), (("x-a", "2"),), (("x-a", "3"),)]),
    body=st.sampled_from([None, b"", b'{"model":"x"}', b'{"model":"y"}', b'{"model":"z"}']),
)
TUNNEL = Outbound("CONNECT", "connect", "a.example.com", 443, "")


def document(rules: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    import json

    prices = [{"match": wanted, **price} if wanted else dict(price) for wanted, price in rules]
    return json.dumps({"version": 1, "apis": [{"name": "a", "upstream": "https://a.example.com", "prices": prices}]})


@given(st.lists(st.tuples(MATCHES, PRICES), min_size=2, max_size=4), st.lists(REQUESTS, min_size=3, max_size=12))
@settings(max_examples=300, deadline=None)
def test_no_request_reaches_a_rule_that_is_called_unreachable(
    rules: list[tuple[dict[str, Any], dict[str, Any]]], requests: list[Outbound]
) -> None:
    loaded = rules_file.load_text(document(rules))
    lost = [mistake.path for mistake in loaded.mistakes]
    assert {mistake.key for mistake in loaded.mistakes} <= {"unreachable"}
    if not lost:
        return
    # the same rules, each in an API of its own, say which of them a request fits
    alone = [rules_file.load_text(document([rule])).rules for rule in rules]
    for outbound in [*requests, TUNNEL]:
        fits = [found is not None and match.match(found.apis[0], outbound) is not None for found in alone]
        if True in fits:
            assert f"apis[0].prices[{fits.index(True)}]" not in lost


def lost(*rules: tuple[dict[str, Any], dict[str, Any]]) -> list[str]:
    return [mistake.path for mistake in rules_file.load_text(document(list(rules))).mistakes]


PAID: dict[str, Any] = {"per_request": 1}


@pytest.mark.parametrize(
    ("earlier", "later", "found"),
    [
        ({}, {"path": "/x"}, True),
        ({"path": "/**"}, {"path": "~^/x"}, False),
        ({"path": "/v1/*"}, {"path": ["/v1/a", "/v1/b"]}, True),
        ({"path": "/v1/*"}, {"path": ["/v1/a", "/v2/b"]}, False),
        ({"path": ["/v1/a", "/v1/b"]}, {"path": "/v1/b"}, True),
        ({"method": "GET"}, {"method": ["GET", "POST"]}, False),
        ({"method": ["GET", "POST"]}, {"method": "GET", "path": "/x"}, True),
        ({"path": "/x", "query": {"q": "1"}}, {"path": "/x"}, False),
        ({"path": "/x"}, {"path": "/x", "query": {"q": "1"}}, True),
        ({"json": {"model": ["x", "y"]}}, {"json": {"model": "x"}}, True),
        ({"json": {"model": "x"}}, {"json": {"model": ["x", "y"]}}, False),
        ({"header": {"X-A": {"present": True}}}, {"header": {"x-a": "1"}}, True),
        ({"path": "/**"}, {"method": "POST"}, True),
        ({"path": "/**"}, {}, True),
        ({"path": "/**"}, {"method": ["GET", "CONNECT"]}, False),  # a tunnel has no path: the later rule is for tunnels
    ],
)
def test_what_is_found(earlier: dict[str, Any], later: dict[str, Any], found: bool) -> None:
    assert lost((earlier, PAID), (later, PAID)) == (["apis[0].prices[1]"] if found else [])


def test_a_rule_for_tunnels_after_one_that_cannot_price_them() -> None:
    assert lost(({}, {"tokens": {"input": 1}}), ({}, {"per_connection": 5})) == []
    assert lost(({}, PAID), ({}, {"per_connection": 5})) == []
    assert lost(({}, PAID), ({"method": "CONNECT"}, PAID)) == []
    assert lost(({}, {"per_kb": {"up": 1}}), ({}, {"per_connection": 5})) == ["apis[0].prices[1]"]


def test_prices_do_not_matter() -> None:
    assert lost(({"path": "/x"}, {"free": True}), ({"path": "/x"}, PAID)) == ["apis[0].prices[1]"]


def test_a_price_for_calls_hides_none_for_websockets() -> None:
    later = {"per_message": "{up: 1}", "per_connection": "1", "catalog": "openai"}
    for kind, price in later.items():
        text = (
            "version: 1\ncurrency: KRW\nfx: {USD: 1390}\napis:\n  - name: x\n    upstream: https://x.example.com\n"
            "    prices:\n      - {match: {path: /a}, per_request: 1}\n"
            f"      - {{match: {{path: /a}}, {kind}: {price}}}\n"
        )
        assert rules_file.load_text(text).mistakes == ()
    hidden = text.replace("per_request: 1", "per_kb: {up: 1}").replace("catalog: openai", "per_second: 1")
    assert [mistake.path for mistake in rules_file.load_text(hidden).mistakes] == ["apis[0].prices[1]"]
