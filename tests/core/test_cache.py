"""Which answers are kept, for whom and for how long: tables over RFC 9111, and what enters the key."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from proxy.core import cache
from proxy.core.cache import Kept, Lifetime, Question, Verdict
from proxy.core.handling_model import CachePolicy
from proxy.core.http1 import Field
from proxy.core.model import Outbound

NOW = 1_795_700_000_000
DAY = 86_400
PRIVATE = CachePolicy(ttl_ms=600_000, stale_ms=60_000)
SHARED = CachePolicy(ttl_ms=600_000, stale_ms=60_000, shared=True)


def call(body: bytes = b'{"a":1,"b":2}', method: str = "POST", **headers: str) -> Outbound:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Outbound(method, "https", "api.example.com", 443, "/v1/x", "", named, body, len(body))


def asked(policy: CachePolicy = PRIVATE, outbound: Outbound | None = None, **more: Any) -> Question | None:
    values: dict[str, Any] = {"rule": "a/1", "caller": "anonymous", "url": "https://api.example.com/v1/x?", **more}
    return cache.question(policy, outbound or call(), **values)


def question(policy: CachePolicy = PRIVATE, outbound: Outbound | None = None, **more: Any) -> Question:
    found = asked(policy, outbound, **more)
    assert found is not None
    return found


def fields(**headers: str) -> list[Field]:
    return [(name.replace("_", "-").title().encode(), value.encode()) for name, value in headers.items()]


# --- the key ---------------------------------------------------------------------------------------------------------


def test_the_same_question_has_one_key() -> None:
    assert question().key == question(outbound=call(b'{ "b": 2,\n "a": 1 }')).key


@pytest.mark.parametrize(
    "other",
    [
        {"outbound": call(b'{"a":1,"b":3}')},
        {"outbound": call(b'{"a":1,"b":2}', "GET")},
        {"url": "https://api.example.com/v1/y?"},
        {"url": "https://api.example.com/v1/x?n=1"},
        {"rule": "a/2"},
        {"outbound": call(accept="text/event-stream")},
        {"outbound": call(openai_organization="org-b")},
    ],
    ids=["body", "method", "path", "query", "rule", "accept", "organization"],
)
def test_another_question_has_another_key(other: dict[str, Any]) -> None:
    assert question(**other).key != question().key
    assert question(SHARED, **other).key != question(SHARED).key


@pytest.mark.parametrize("header", ["authorization", "x_api_key", "api_key", "x_goog_api_key", "cookie"])
def test_other_credentials_are_another_caller(header: str) -> None:
    mine, theirs = call(**{header: "Bearer mine"}), call(**{header: "Bearer theirs"})
    assert question(outbound=mine).key != question(outbound=theirs).key
    assert question(outbound=mine).key != question().key
    assert question(SHARED, mine).key == question(SHARED, theirs).key
    assert "mine" not in question(outbound=mine).key


def test_callers_with_a_name_are_apart() -> None:
    assert question(caller="batch").key != question(caller="web").key
    assert question(SHARED, caller="batch").key == question(SHARED, caller="web").key


def test_only_the_headers_that_the_rule_names_count() -> None:
    policy = CachePolicy(ttl_ms=1000, vary=("x-tenant",))
    assert question(policy, call(accept="a")).key == question(policy, call(accept="b")).key
    assert question(policy, call(x_tenant="a")).key != question(policy, call(x_tenant="b")).key


def test_accepting_anything_is_saying_nothing() -> None:
    assert question(outbound=call(accept="*/*")).key == question().key


def test_parts_of_a_key_cannot_run_into_each_other() -> None:
    policy = CachePolicy(ttl_ms=1000, vary=("x-a", "x-b"))
    assert question(policy, call(x_a="1", x_b="23")).key != question(policy, call(x_a="12", x_b="3")).key


# --- the request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outbound",
    [
        call(method="PUT"),
        call(method="DELETE"),
        call(cache_control="no-store"),
        call(cache_control='private="a,b", no-store'),
        call(range="bytes=0-1"),
        call(if_match='"x"'),
        Outbound("POST", "https", "h", 443, "/", body=None, body_size=None),
    ],
    ids=["put", "delete", "no-store", "no-store after a quoted list", "range", "if-match", "body not read"],
)
def test_what_goes_past_the_cache(outbound: Outbound) -> None:
    assert asked(outbound=outbound) is None


@pytest.mark.parametrize(
    ("headers", "use", "only"),
    [
        ({}, True, False),
        ({"cache_control": "no-cache"}, False, False),
        ({"cache_control": "max-age=0"}, False, False),
        ({"pragma": "no-cache"}, False, False),
        ({"pragma": "no-cache", "cache_control": "max-age=10"}, True, False),
        ({"cache_control": "Only-If-Cached"}, True, True),
    ],
)
def test_what_a_client_asks(headers: dict[str, str], use: bool, only: bool) -> None:
    found = question(outbound=call(**headers))
    assert (found.use, found.only_kept) == (use, only)


# --- the answer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "private_s", "shared_s"),
    [
        ({}, 600, 600),
        ({"cache_control": "max-age=60"}, 60, 60),
        ({"cache_control": "max-age=6000"}, 600, 600),  # the rule's ttl is the longest
        ({"cache_control": "max-age=60, s-maxage=30"}, 60, 30),
        ({"cache_control": 'max-age="60"'}, 60, 60),
        ({"cache_control": "max-age=soon"}, 0, 0),
        ({"cache_control": "max-age=-1"}, 0, 0),
        ({"cache_control": "max-age=60, max-age=90"}, 60, 60),
        ({"cache_control": "MAX-AGE=60"}, 60, 60),
        ({"cache_control": "no-cache"}, 0, 0),
        ({"cache_control": "no-store"}, None, None),
        ({"cache_control": "private"}, 600, None),
        ({"cache_control": "private, max-age=60"}, 60, None),
        ({"cache_control": "public"}, 600, 600),
        ({"expires": formatdate(NOW / 1000 + 60, usegmt=True), "date": formatdate(NOW / 1000, usegmt=True)}, 60, 60),
        ({"expires": formatdate(NOW / 1000 - 60, usegmt=True), "date": formatdate(NOW / 1000, usegmt=True)}, 0, 0),
        ({"expires": "0"}, 0, 0),
        ({"expires": "0", "cache_control": "max-age=60"}, 60, 60),
        ({"vary": "*"}, None, None),
        ({"vary": "accept-language"}, 600, 600),
        ({"content_range": "bytes 0-1/2"}, None, None),
    ],
)
def test_how_long_an_answer_is_fresh(headers: dict[str, str], private_s: int | None, shared_s: int | None) -> None:
    for policy, wanted in ((PRIVATE, private_s), (SHARED, shared_s)):
        life = cache.lifetime(policy, question(policy), call(), 200, fields(**headers), NOW)
        assert (life and life.fresh_ms) == (wanted if wanted is None else wanted * 1000)


@pytest.mark.parametrize("status", [100, 206, 301, 304, 400, 404, 429, 500, 503])
def test_only_whole_good_answers_are_kept(status: int) -> None:
    assert cache.lifetime(PRIVATE, question(), call(), status, [], NOW) is None


def test_a_rule_may_overrule_the_api() -> None:
    policy = CachePolicy(ttl_ms=600_000, obey=False)
    headers = fields(cache_control="no-cache, no-store, private", expires="0")
    assert cache.lifetime(policy, question(policy), call(), 200, headers, NOW) == Lifetime(600_000)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, False),
        ({"cache_control": "public"}, True),
        ({"cache_control": "must-revalidate"}, True),
        ({"cache_control": "s-maxage=5"}, True),
        ({"cache_control": "max-age=5"}, False),
    ],
)
def test_an_answer_to_the_clients_own_credential_is_shared_only_where_the_api_allows_it(
    headers: dict[str, str], kept: bool
) -> None:
    outbound = call(authorization="Bearer mine")
    shared = cache.lifetime(SHARED, question(SHARED, outbound), outbound, 200, fields(**headers), NOW)
    assert (shared is not None) == kept
    assert cache.lifetime(PRIVATE, question(PRIVATE, outbound), outbound, 200, fields(**headers), NOW) is not None
    # What the proxy replaces, or keeps for itself, the API never sees.
    for replaced in ({"injected": frozenset({"x-api-key"})}, {"key_header": "authorization"}):
        found = question(SHARED, outbound, **replaced)
        assert cache.lifetime(SHARED, found, outbound, 200, fields(**headers), NOW) is not None


@pytest.mark.parametrize(
    ("control", "private", "shared"),
    [
        ("max-age=1", False, False),
        ("must-revalidate", True, True),
        ("proxy-revalidate", False, True),
        ("s-maxage=1", False, True),
        ("no-cache", True, True),
    ],
)
def test_who_must_ask_again(control: str, private: bool, shared: bool) -> None:
    for policy, wanted in ((PRIVATE, private), (SHARED, shared)):
        life = cache.lifetime(policy, question(policy), call(), 200, fields(cache_control=control), NOW)
        assert life is not None
        assert life.must_revalidate == wanted


def test_an_answer_may_have_an_age_when_it_comes() -> None:
    told = cache.lifetime(PRIVATE, question(), call(), 200, fields(age="30"), NOW)
    assert told is not None
    assert told.age_ms == 30_000
    dated = cache.lifetime(PRIVATE, question(), call(), 200, fields(date=formatdate(NOW / 1000 - 90, usegmt=True)), NOW)
    assert dated is not None
    assert dated.age_ms == 90_000
    skewed = cache.lifetime(PRIVATE, question(), call(), 200, fields(date=formatdate(NOW / 1000 - 1, usegmt=True)), NOW)
    assert skewed is not None
    assert skewed.age_ms == 0


# --- may it stand in? ------------------------------------------------------------------------------------------------

FRESH, STALE, USELESS = Verdict.FRESH, Verdict.STALE, Verdict.USELESS


@pytest.mark.parametrize(
    ("age_s", "request_says", "life", "wanted"),
    [
        (0, "", Lifetime(60_000), FRESH),
        (59, "", Lifetime(60_000), FRESH),
        (60, "", Lifetime(60_000), STALE),
        (120, "", Lifetime(60_000), STALE),
        (121, "", Lifetime(60_000), USELESS),
        (61, "", Lifetime(60_000, must_revalidate=True), USELESS),
        (31, "", Lifetime(60_000, age_ms=30_000), STALE),
        (10, "max-age=9", Lifetime(60_000), USELESS),
        (9, "max-age=9", Lifetime(60_000), FRESH),
        (50, "min-fresh=11", Lifetime(60_000), USELESS),
        (49, "min-fresh=11", Lifetime(60_000), FRESH),
        (500, "max-stale", Lifetime(60_000), STALE),
        (500, "max-stale=10", Lifetime(60_000), USELESS),
        (500, "max-stale", Lifetime(60_000, must_revalidate=True), USELESS),
    ],
)
def test_a_kept_answer_ages(age_s: int, request_says: str, life: Lifetime, wanted: Verdict) -> None:
    outbound = call(cache_control=request_says)
    found = cache.verdict(PRIVATE, question(outbound=outbound), outbound, Kept(NOW, life), NOW + age_s * 1000)
    assert found is wanted


def test_what_the_api_chose_by_must_be_the_same() -> None:
    english, korean = call(accept_language="en"), call(accept_language="ko")
    policy = CachePolicy(ttl_ms=60_000, vary=())
    life = cache.lifetime(policy, question(policy, english), english, 200, fields(vary="Accept-Language"), NOW)
    assert life is not None
    kept = Kept(NOW, life)
    assert cache.verdict(policy, question(policy, english), english, kept, NOW) is FRESH
    assert cache.verdict(policy, question(policy, korean), korean, kept, NOW) is USELESS
    assert cache.verdict(policy, question(policy), call(), kept, NOW) is USELESS


@pytest.mark.parametrize(
    ("accept", "encoding", "read"),
    [
        (None, "", True),
        (None, "gzip", False),
        ("gzip, br", "gzip", True),
        ("x-gzip", "gzip", False),
        ("gzip;q=0", "gzip", False),
        ("gzip; q=0.5", "gzip", True),
        ("br", "gzip", False),
        ("*", "zstd", True),
        ("*;q=0, gzip", "br", False),
        ("identity;q=0", "", False),
        ("*;q=0", "", False),
        ("gzip", "gzip, br", False),
        ("GZIP", "gzip", True),
    ],
)
def test_an_encoding_is_given_to_those_who_read_it(accept: str | None, encoding: str, read: bool) -> None:
    assert cache.accepts(accept, encoding) == read


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"if_none_match": '"a"'}, True),
        ({"if_none_match": 'W/"a", "b"'}, True),
        ({"if_none_match": "*"}, True),
        ({"if_none_match": '"b"', "if_modified_since": formatdate(NOW / 1000, usegmt=True)}, False),
        ({"if_modified_since": formatdate(NOW / 1000, usegmt=True)}, True),
        ({"if_modified_since": formatdate(NOW / 1000 - 2 * DAY, usegmt=True)}, False),
        ({}, False),
    ],
)
def test_a_client_that_has_it_is_told_so(headers: dict[str, str], same: bool) -> None:
    kept = Kept(NOW, Lifetime(1), etag='"a"', last_modified=formatdate(NOW / 1000 - DAY, usegmt=True))
    assert cache.not_modified(call(method="GET", **headers), kept) == same


def test_how_long_it_is_kept() -> None:
    assert cache.keep_ms(PRIVATE, Kept(NOW, Lifetime(50_000, age_ms=10_000))) == 40_000 + 60_000
    assert cache.keep_ms(PRIVATE, Kept(NOW, Lifetime(50_000, must_revalidate=True))) == 50_000
    assert cache.keep_ms(PRIVATE, Kept(NOW, Lifetime(0, must_revalidate=True))) == 0
    assert cache.keep_ms(PRIVATE, Kept(NOW, Lifetime(0, must_revalidate=True), etag='"a"')) == 600_000


def test_a_head_that_was_confirmed_is_brought_up_to_date() -> None:
    old = fields(etag='"a"', cache_control="max-age=1", content_type="text/plain")
    new = fields(etag='"a"', cache_control="max-age=9", content_length="0", age="3")
    assert cache.freshened(old, new) == [
        (b"Content-Type", b"text/plain"),
        (b"Etag", b'"a"'),
        (b"Cache-Control", b"max-age=9"),
    ]


def test_cookies_and_age_are_not_kept() -> None:
    headers = fields(set_cookie="a=1", age="3", x_spendgate_cost="1", content_type="text/plain")
    assert cache.kept_headers(headers) == [(b"Content-Type", b"text/plain")]


@pytest.mark.parametrize(
    ("method", "status", "fields", "forgotten"),
    [
        ("GET", 200, [], []),
        ("HEAD", 200, [], []),
        ("DELETE", 204, [], [""]),
        ("PUT", 200, [], [""]),
        ("POST", 404, [], []),
        ("POST", 500, [], []),
        ("POST", 303, [(b"location", b"/things/7")], ["", "/things/7?"]),
        ("POST", 201, [(b"Content-Location", b"https://api.example.com/things/7?full")], ["", "/things/7?full"]),
        ("POST", 201, [(b"Location", b"https://api.example.com:443/x")], ["", "/x?"]),
        ("POST", 201, [(b"Location", b"https://other.example.com/x")], [""]),
        ("POST", 201, [(b"Location", b"http://api.example.com/x")], [""]),
        ("POST", 201, [(b"Location", b"https://[x")], [""]),
        ("POST", 201, [(b"Location", b"/things?a=1"), (b"Content-Location", b"/things?a=1")], [""]),
    ],
)
def test_what_a_call_makes_untrue(method: str, status: int, fields: list[Field], forgotten: list[str]) -> None:
    outbound = Outbound(method, "https", "api.example.com", 443, "/things", "a=1", (), b"")
    told = cache.made_untrue("https://api.example.com:443/things?a=1", outbound, status, fields)
    assert told == [f"https://api.example.com:443{path or '/things?a=1'}" for path in forgotten]
