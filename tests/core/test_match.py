"""Which API, which rule, which budgets; and never by a trick in the path."""

from __future__ import annotations

import re
import timeit
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import match
from proxy.core.model import (
    Api,
    Budget,
    Caller,
    EstimateMode,
    FieldTest,
    Match,
    OnExhausted,
    Outbound,
    Period,
    PeriodUnit,
    PerKb,
    Policy,
    Price,
    Priority,
    Rule,
    RuleSet,
    Speaks,
)
from proxy.core.pattern import compile_host, compile_path


def rule(id: str, wanted: Match | None = None, **more: Any) -> Rule:
    values: dict[str, Any] = {
        "id": id,
        "api": id.split("/")[0],
        "match": wanted or Match(),
        "price": Price("KRW", per_request=Decimal(1)),
        "priority": Priority.IMPORTANT,
        "estimate": EstimateMode.WORST_CASE,
        "on_exhausted": OnExhausted.FINISH,
        "max_output_tokens": 100,
        "max_input_tokens": None,
        "max_seconds": 300,
        "max_kb": 1024,
        "where": "rules.yaml:1",
        "needs_body": False,
        "needs_response": False,
    }
    return Rule(**{**values, **more})


def api(name: str = "a", *rules: Rule, **more: Any) -> Api:
    values: dict[str, Any] = {
        "name": name,
        "scheme": "https",
        "host": f"{name}.example.com",
        "port": 443,
        "base_path": "",
        "hosts": (),
        "mount": name,
        "credentials": (),
        "speaks": Speaks.PROBLEM,
        "rules": rules,
        "connect_timeout_s": 10.0,
        "read_timeout_s": 300.0,
        "total_timeout_s": None,
    }
    return Api(**{**values, **more})


def rule_set(*apis: Api, **more: Any) -> RuleSet:
    values: dict[str, Any] = {
        "currency": "KRW",
        "timezone": "Asia/Seoul",
        "language": "en",
        "fx": (),
        "unknown": Policy.DENY,
        "on_store_error": "deny",
        "budgets": (),
        "callers": (),
        "require_caller": False,
        "apis": apis,
        "source": "rules.yaml",
        "digest": "0",
    }
    return RuleSet(**{**values, **more})


def call(method: str = "GET", path: str = "/", **more: Any) -> Outbound:
    return Outbound(method, "https", "a.example.com", 443, path, **more)


def paths(*patterns: str) -> Match:
    return Match(paths=tuple(compile_path(pattern) for pattern in patterns))


def chosen(outbound: Outbound, *rules: Rule) -> str | None:
    found = match.match(api("a", *rules), outbound)
    explained = [told.id for told, why in match.explain(api("a", *rules), outbound) if why is None]
    assert explained == ([found.id] if found else []), "explain tells what match does"
    return found.id if found else None


# --- the path, in one form ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("", "/"),
        ("/", "/"),
        ("//a//b/", "//a//b/"),
        ("/v1/gpt-4.1", "/v1/gpt-4.1"),
        ("/%41%7E%2d", "/A~-"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/%E2%82%ac", "/%E2%82%AC"),
        ("/검색", "/%EA%B2%80%EC%83%89"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a/..b", "/a/..b"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/a;x=1", "/a;x=1"),
        ("/models/x:generateContent", "/models/x:generateContent"),
    ],
)
def test_one_form(path: str, normal: str) -> None:
    assert match.normal_path(path) == normal


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../chat/completions",
        "/v1/models/%2e%2e/chat",
        "/v1/models/%2E./chat",
        "/v1/models/.%2e/chat",
        "/..",
        "/.",
        "/a/./b",
        "/a/%2e",
        "/v1/models/..%2fchat",
        "/v1/models%2f..%2fchat",
        "/v1/models%5c..%5cchat",
        "/v1/models\\..\\chat",
        "/v1/models/..;/chat",
        "/v1/models/..;a=b/chat",
        "/v1/models/%2e%2e;/chat",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a b",
        "/a\tb",
        "/a\x00b",
        "/a\x7f",
        "/a#b",
        "/a?b",
        "a/b",
        "*",
        "http://x/y",
    ],
)
def test_paths_that_cannot_be_judged_are_refused(path: str) -> None:
    assert match.normal_path(path) is None
    assert chosen(call(path=path), rule("a/all")) is None


SEGMENT = st.text(alphabet="ab./%2eEfF5cC;~-é\\", max_size=12)


@given(st.lists(SEGMENT, max_size=5))
def test_the_normal_path_is_a_fixed_point_and_has_no_dot_segments(segments: list[str]) -> None:
    normal = match.normal_path("/" + "/".join(segments))
    if normal is not None:
        assert match.normal_path(normal) == normal
        plain = re.sub("%2F|%5C", "/", normal)
        assert not any(segment.split(";")[0] in (".", "..") for segment in plain.split("/"))
        assert normal.isascii()


@given(st.lists(st.sampled_from(["models", "chat", "..", ".", "%2e%2e", "..%2f", "%2f", "a%2F..%2fb", ""]), max_size=6))
def test_no_spelling_of_a_path_reaches_another_rule(segments: list[str]) -> None:
    """What a server that decodes everything would see must not be elsewhere than where the rule was looked up."""
    path = "/v1/models/" + "/".join(segments)
    if match.normal_path(path) is None:
        return
    decoded = re.sub("%2e", ".", re.sub("%2f", "/", path, flags=re.IGNORECASE), flags=re.IGNORECASE)
    resolved: list[str] = []
    for segment in decoded.split("/")[1:]:
        if segment == "..":
            resolved = resolved[:-1]
        elif segment != ".":
            resolved.append(segment)
    assert resolved[:2] == ["v1", "models"]


# --- which rule ----------------------------------------------------------------------------------------------------


def test_the_first_rule_that_matches_wins() -> None:
    rules = (rule("a/models", paths("/v1/models*")), rule("a/v1", paths("/v1/*")), rule("a/all"))
    assert chosen(call(path="/v1/models"), *rules) == "a/models"
    assert chosen(call(path="/v1/models/gpt-4"), *rules) == "a/models"
    assert chosen(call(path="/v1/chat/completions"), *rules) == "a/v1"
    assert chosen(call(path="/v2"), *rules) == "a/all"
    assert chosen(call(path="/v2"), *rules[:2]) is None
    assert chosen(call(path="/%761/models"), *rules) == "a/models"


def test_methods_and_hosts() -> None:
    rules = (
        rule("a/get", Match(methods=frozenset({"GET", "HEAD"}))),
        rule("a/sub", Match(hosts=(compile_host("*.a.example.com"), compile_host("~^b[0-9]+\\.")))),
        rule("a/rest", Match(methods=frozenset({"POST"}))),
    )
    assert chosen(call("HEAD"), *rules) == "a/get"
    assert chosen(call("POST"), *rules) == "a/rest"
    assert chosen(call("PUT"), *rules) is None
    assert chosen(msgspec.structs.replace(call("PUT"), host="x.a.example.com"), *rules) == "a/sub"
    assert chosen(msgspec.structs.replace(call("PUT"), host="b17.example.com"), *rules) == "a/sub"


def equals(name: str, *texts: str) -> FieldTest:
    return FieldTest(name, equals=texts)


def looks(name: str, pattern: str) -> FieldTest:
    return FieldTest(name, pattern=re.compile(pattern))


def there(name: str, present: bool = True) -> FieldTest:
    return FieldTest(name, present=present)


@pytest.mark.parametrize(
    ("test", "headers", "holds"),
    [
        (equals("x-kind", "a", "b"), (("x-kind", "b"),), True),
        (equals("x-kind", "a"), (("x-kind", "A"),), False),
        (equals("x-kind", "a"), (), False),
        (equals("x-kind", "a"), (("x-kind", "z"), ("x-kind", "a")), True),
        (looks("x-kind", "^a+$"), (("x-kind", "aaa"),), True),
        (looks("x-kind", "b"), (("x-kind", "abc"),), True),
        (looks("x-kind", "b"), (("x-kind", "a" * 9000 + "b"),), True),
        (looks("x-kind", "^a*b"), (("x-kind", "a" * 9000 + "b"),), True),
        (looks("x-kind", "a*b"), (("x-kind", "a" * 9000 + "b"),), False),
        (there("x-kind"), (("x-kind", ""),), True),
        (there("x-kind"), (), False),
        (there("x-kind", False), (), True),
        (there("x-kind", False), (("x-kind", "1"),), False),
    ],
)
def test_headers(test: FieldTest, headers: tuple[tuple[str, str], ...], holds: bool) -> None:
    assert (chosen(call(headers=headers), rule("a/1", Match(headers=(test,)))) is not None) == holds


@pytest.mark.parametrize(
    ("test", "query", "holds"),
    [
        (equals("q", "a b"), "q=a+b", True),
        (equals("q", "가"), "q=%EA%B0%80", True),
        (equals("q", "2"), "q=1&q=2", True),
        (there("q"), "q", True),
        (there("q"), "p=q", False),
        (there("q", False), "", True),
        (looks("q", "^x"), "q=xy", True),
    ],
)
def test_query(test: FieldTest, query: str, holds: bool) -> None:
    assert (chosen(call(query=query), rule("a/1", Match(query=(test,)))) is not None) == holds


@pytest.mark.parametrize(
    ("test", "body", "holds"),
    [
        (equals("model", "gpt-4"), b'{"model":"gpt-4"}', True),
        (looks("model", "^gpt"), b'{"model":"gpt-4"}', True),
        (looks("model", "^gpt"), b'{"model":["gpt-4"]}', True),
        (equals("stream", "true"), b'{"stream":true}', True),
        (equals("stream", "true"), b'{"stream":1}', False),
        (equals("n", "2"), b'{"n":2}', True),
        (equals("n", "2"), b'{"n":2.0}', True),
        (equals("n", "1.5"), b'{"n":1.50}', True),
        (equals("a.b", "x"), b'{"a":{"b":"x"}}', True),
        (equals("a.b", "x"), b'{"a":"b"}', False),
        (equals("m[0].role", "user"), b'{"m":[{"role":"user"}]}', True),
        (
            equals("m[].content[].type", "image_url"),
            b'{"m":[{"content":[{"type":"text"},{"type":"image_url"}]}]}',
            True,
        ),
        (equals("m[].content[].type", "image_url"), b'{"m":[{"content":"text"}]}', False),
        (equals("length(m)", "2"), b'{"m":[1,2]}', True),
        (equals("length(m)", "2"), b'{"m":2}', False),
        (there("tools"), b'{"tools":[]}', False),
        (there("tools"), b'{"tools":[{}]}', False),
        (there("tools"), b'{"tools":[{"a":1}]}', True),
        (there("tools", False), b'{"tools":null}', True),
        (there("tools", False), b"not json", True),
        (there("tools", False), b"", True),
        (equals("a", "1"), b"[" * 100_000, False),
        (equals("a", "1"), b"\xff\xfe", False),
    ],
)
def test_json(test: FieldTest, body: bytes, holds: bool) -> None:
    assert (chosen(call("POST", body=body), rule("a/1", Match(json=(test,)))) is not None) == holds


def test_a_body_that_was_not_read_fits_no_test_on_it() -> None:
    wanted = Match(json=(there("tools", False),))
    assert chosen(call("POST", body=None, body_size=10_000_000), rule("a/1", wanted)) is None
    assert chosen(call("POST", headers=(("transfer-encoding", "chunked"),)), rule("a/1", wanted)) is None
    assert chosen(call("GET"), rule("a/1", wanted)) == "a/1"


def test_the_body_is_decoded_only_when_a_rule_that_could_match_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Outbound] = []
    real = match.decode_json

    def counted(outbound: Outbound) -> Any:
        decoded.append(outbound)
        return real(outbound)

    monkeypatch.setattr(match, "decode_json", counted)
    looks_inside = Match(paths=(compile_path("/x"),), json=(equals("a", "1"),))
    rules = (rule("a/1", looks_inside), rule("a/2", replace(looks_inside, json=(equals("b", "1"),))), rule("a/3"))
    assert match.match(api("a", *rules), call(path="/y", body=b'{"a":1}')) == rules[2]
    assert decoded == []
    assert match.match(api("a", *rules), call(path="/x", body=b'{"c":1}')) == rules[2]
    assert len(decoded) == 1


def test_of_a_tunnel_nothing_is_seen_inside() -> None:
    tunnel = Outbound("CONNECT", "connect", "a.example.com", 443, "")
    rules = (
        rule("a/path", paths("/**")),
        rule("a/header", Match(headers=(there("x", False),))),
        rule("a/tokens", needs_body=True, needs_response=True),
        rule("a/post", Match(methods=frozenset({"POST"}))),
        rule("a/tunnel", Match(methods=frozenset({"CONNECT"}))),
    )
    assert chosen(tunnel, *rules) == "a/tunnel"
    assert chosen(tunnel, *rules[:4]) is None


ONE = Decimal(1)
NAMED = Match(methods=frozenset({"CONNECT", "GET"}))


@pytest.mark.parametrize(
    ("wanted", "price", "sold"),
    [
        (Match(), Price("KRW", per_request=ONE), False),
        (Match(), Price("KRW", free=True), False),
        (Match(), Price("KRW", per_second=ONE), False),
        (Match(hosts=(compile_host("a.example.com"),)), Price("KRW", per_request=ONE), False),
        (Match(), Price("KRW", per_connection=ONE), True),
        (Match(), Price("KRW", per_kb=PerKb(ONE, ONE)), True),
        (NAMED, Price("KRW", per_request=ONE), True),
        (NAMED, Price("KRW", per_second=ONE), True),
        (NAMED, Price("KRW", free=True), True),
    ],
)
def test_a_tunnel_is_sold_only_by_a_rule_that_means_tunnels(wanted: Match, price: Price, sold: bool) -> None:
    """Many calls pass through one tunnel: a price for each call, or none, must not cover them all by accident."""
    tunnel = Outbound("CONNECT", "connect", "a.example.com", 443, "")
    assert chosen(tunnel, rule("a/1", wanted, price=price)) == ("a/1" if sold else None)
    assert chosen(call(), rule("a/1", wanted, price=price)) == "a/1"


def test_why_a_rule_does_not_sell_a_tunnel_is_told() -> None:
    tunnel = Outbound("CONNECT", "connect", "a.example.com", 443, "")
    (_, why), (_, inside) = match.explain(api("a", rule("a/1"), rule("a/2", paths("/x"))), tunnel)
    assert why == inside
    assert why is not None
    assert "CONNECT" in why
    assert "per_connection" in why


def test_reasons_are_sentences_in_both_languages() -> None:
    rules = (
        rule("a/1", Match(methods=frozenset({"POST"}))),
        rule("a/2", paths("/x")),
        rule("a/3", Match(json=(equals("model", "x"),))),
        rule("a/4"),
        rule("a/5"),
    )
    assert [why for _, why in match.explain(api("a", *rules), call(path="/y"))] == [
        "The method is GET, not POST.",
        "The path /y does not fit.",
        "The test on json “model” does not hold.",
        None,
        "An earlier rule (a/4) matched already.",
    ]
    assert match.explain(api("a", *rules), call(path="/y"), "ko")[0][1] == "메서드가 POST이(가) 아니라 GET입니다."


def test_it_is_quick_enough_for_every_request() -> None:
    rules = (
        rule("a/1", replace(paths("/v1/models*"), methods=frozenset({"GET"}))),
        rule("a/2", paths("/v1/files/**/content")),
        rule("a/3", replace(paths("/v1/*"), methods=frozenset({"POST"}))),
    )
    one, outbound = api("a", *rules), call("POST", "/v1/chat/completions")
    assert match.match(one, outbound) == rules[2]
    best = min(timeit.repeat(lambda: match.match(one, outbound), number=2000, repeat=5)) / 2000
    assert best < 20e-6  # about 2 µs where it was measured; the margin is for a loaded machine


# --- which API ------------------------------------------------------------------------------------------------------

OPENAI = api("openai", hosts=("api.openai.com", "*.openai.com", "special.openai.com:8443"), host="api.openai.com")
MAPS = api("Maps", host="maps.example.com", port=8443, hosts=("*.eu.openai.com",))
LOCAL = api("local", scheme="http", host="127.0.0.1", port=9000)
RULES = rule_set(OPENAI, MAPS, LOCAL)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("localhost:8080", "/openai/v1/chat", ("openai", "/v1/chat")),
        (None, "/openai/v1/chat", ("openai", "/v1/chat")),
        ("localhost", "/openai", ("openai", "/")),
        ("localhost", "/openai/", ("openai", "/")),
        ("localhost", "/openai//v1", ("openai", "//v1")),
        ("localhost", "/Maps/x", ("Maps", "/x")),
        ("localhost", "/maps/x", None),
        ("localhost", "/openaix/v1", None),
        ("localhost", "/", None),
        ("localhost", "//openai/v1", None),
        ("localhost", "/other/v1", None),
        ("openai.spendgate.local", "/v1/chat", ("openai", "/v1/chat")),
        ("OpenAI.Spendgate.LOCAL:8080", "/v1/chat", ("openai", "/v1/chat")),
        ("maps.spendgate.local.", "/openai/v1", ("Maps", "/openai/v1")),
        ("other.spendgate.local", "/openai/v1", None),
        ("openai.spendgate.local", "", ("openai", "/")),
        ("x.openai.spendgate.local", "/v1", None),
        ("spendgate.local", "/openai/v1", ("openai", "/v1")),
        ("openai.spendgate.localhost", "/openai/v1", ("openai", "/v1")),
    ],
)
def test_reverse(host: str | None, path: str, found: tuple[str, str] | None) -> None:
    got = match.destination_reverse(RULES, host, path)
    assert (got and (got[0].name, got[1])) == found


@pytest.mark.parametrize(
    ("scheme", "host", "port", "found"),
    [
        ("https", "api.openai.com", 443, "openai"),
        ("http", "API.OpenAI.com.", 80, "openai"),
        ("connect", "api.openai.com", 443, "openai"),
        ("https", "api.openai.com", 8443, None),
        ("https", "eu.openai.com", 443, "openai"),
        ("https", "a.b.openai.com", 443, "openai"),
        ("https", "openai.com", 443, None),
        ("https", "notopenai.com", 443, None),
        ("https", "x.eu.openai.com", 443, "Maps"),
        ("https", "x.eu.openai.com", 8443, "Maps"),
        ("https", "x.eu.openai.com", 9, None),
        ("https", "special.openai.com", 8443, "openai"),
        ("https", "maps.example.com", 8443, "Maps"),
        ("https", "maps.example.com", 443, None),
        ("http", "127.0.0.1", 9000, "local"),
        ("http", "127.0.0.1", 80, None),
    ],
)
def test_forward(scheme: str, host: str, port: int, found: str | None) -> None:
    got = match.destination_forward(RULES, scheme, host, port)
    assert (got.name if got else None) == found


def test_each_rule_set_has_its_own_tables() -> None:
    sets = [rule_set(api(f"api{i}", mount="m")) for i in range(9)]
    for _ in range(2):
        for i, rules in enumerate(sets):
            found = match.destination_reverse(rules, None, "/m/x")
            assert found is not None
            assert found[0].name == f"api{i}"


# --- which budgets --------------------------------------------------------------------------------------------------


def budget(name: str, **scope: str | None) -> Budget:
    return Budget(name, 1, "KRW", Period(PeriodUnit.MONTH), "Asia/Seoul", **scope)  # type: ignore[arg-type]


def test_the_chain_is_every_budget_whose_scope_holds() -> None:
    budgets = (
        budget("all"),
        budget("api", api="a"),
        budget("other", api="b"),
        budget("rule", api="a", rule="a/1"),
        budget("caller", caller="batch"),
        budget("both", api="a", caller="batch"),
    )
    one, two = rule("a/1"), rule("a/2")
    rules = rule_set(api("a", one, two), budgets=budgets)

    def names(chosen_rule: Rule, caller: str) -> list[str]:
        return [found.name for found in match.chain(rules, rules.apis[0], chosen_rule, Caller(caller))]

    assert names(one, "anonymous") == ["all", "api", "rule"]
    assert names(two, "anonymous") == ["all", "api"]
    assert names(two, "batch") == ["all", "api", "caller", "both"]
    assert names(two, "batch") == ["all", "api", "caller", "both"]
