"""Globs against a plain reference, the coverage of one glob by another, and regular expressions that stay quick."""

from __future__ import annotations

import re
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.pattern import DIRS, GLOBSTAR, compile_host, compile_path, covers
from proxy.core.pattern import parse_path_glob as parse
from proxy.core.regex import PatternError, compile_regex


def reference(glob: str, path: str) -> bool:
    """The meaning of a glob, letter by letter, as slowly as it likes."""
    parsed = parse(glob)
    tokens: list[str] = list(parsed.head)
    for star, literal in parsed.pairs:
        tokens += ["<" + star, *literal]

    @cache
    def fits(token: int, at: int) -> bool:
        if token == len(tokens):
            return at == len(path)
        now = tokens[token]
        if now == "<" + GLOBSTAR:
            return fits(token + 1, at) or (at < len(path) and fits(token, at + 1))
        if now == "<" + DIRS:
            slash = path.find("/", at)
            return fits(token + 1, at) or (slash >= 0 and fits(token, slash + 1))
        if now == "<*":
            return fits(token + 1, at) or (at < len(path) and path[at] != "/" and fits(token, at + 1))
        return at < len(path) and path[at] == now and fits(token + 1, at + 1)

    return fits(0, 0)


GLOBS = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "/**/", "ab", "/*"]), max_size=8).map(
    lambda parts: re.sub(r"\*{3,}", "**", "/" + "".join(parts))
)
PATHS = st.text(alphabet="ab/", max_size=14).map(lambda text: "/" + text)


@given(GLOBS, PATHS)
@settings(max_examples=600)
def test_a_compiled_glob_is_the_reference(glob: str, path: str) -> None:
    assert (compile_path(glob).search(path) is not None) == reference(glob, path)


@given(GLOBS, GLOBS, st.lists(PATHS, min_size=5, max_size=30))
@settings(max_examples=300)
def test_what_is_covered_never_fits_the_narrow_one_alone(wide: str, narrow: str, paths: list[str]) -> None:
    if covers(wide, narrow):
        for path in paths:
            assert not reference(narrow, path) or reference(wide, path)


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("/v1/models*", "/v1/models", True),
        ("/v1/models*", "/v1/models/gpt-4", True),
        ("/v1/models*", "/v1/model", False),
        ("/v1/*", "/v1/chat/completions", True),
        ("/v1/*", "/v1", False),
        ("/v1/*/x", "/v1/a/x", True),
        ("/v1/*/x", "/v1/a/b/x", False),
        ("/v1/**/x", "/v1/a/b/x", True),
        ("/v1/**/x", "/v1/x", True),
        ("/v2/local/**", "/v2/local/search/address.json", True),
        ("/v2/local/**", "/v2/localx", False),
        ("/v1beta/models/*:generateContent", "/v1beta/models/gemini-2.5-pro:generateContent", True),
        ("/v1beta/models/*:generateContent", "/v1beta/models/a/b:generateContent", False),
        ("/messages", "/messages", True),
        ("/messages", "/messages/", False),
        ("/a.b", "/axb", False),
        ("/검색/*", "/%EA%B2%80%EC%83%89/x", True),
        ("/%7ename", "/~name", True),
        ("**", "/x/y", True),
        ("~^/v1/(chat|responses)", "/v1/chat/completions", True),
        ("~^/v1/(chat|responses)", "/v2/chat", False),
        ("~chat$", "/v1/chat", True),
    ],
)
def test_path_patterns(glob: str, path: str, fits: bool) -> None:
    assert (compile_path(glob).search(path) is not None) == fits


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("/v1/*", "/v1/models*", True),
        ("/v1/models*", "/v1/*", False),
        ("/a/**/b", "/a/b", True),
        ("/a/**/b", "/a/*/b", True),
        ("/a/*/b", "/a/**/b", False),
        ("/a/*/c", "/a/b/c", True),
        ("/**", "/anything/*/at/all", True),
        ("/a*b", "/a*b*b", True),
        ("/a*b*b", "/a*b", False),
        ("/x", "/x", True),
        ("~^/x", "~^/x", True),
        ("~^/", "/x", False),
    ],
)
def test_coverage(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) == covered


@pytest.mark.parametrize(
    "glob", ["/**/a*b**/c*d/**/*x*y*z", "/*a*a*a*a*a*a*a*a*b", "/**a**a**a**a**a**a**b", "/**/**/**/**/**/b", "**/a*b"]
)
def test_no_path_makes_a_glob_slow(glob: str) -> None:
    pattern = compile_path(glob)
    began = time.process_time()
    for path in ("/" + "a" * 8000, "/" + "a/" * 4000, "/" + "ab" * 4000, "/" + "ax" * 4000 + "/"):
        pattern.search(path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "regex",
    [
        "^(a+)+$",
        "(a*)*",
        "(a|a)*",
        "(a|ab)*c",
        "([a-z]+)*@",
        "(x+x+)+y",
        "(a?){30}a{30}",
        "(.*a){12}",
        "^(?:.*a){3}b",
        ".*.*.*x",
        "(.)\\1",
        "(?=(a+))b",
        "((a{1,20}){1,20}){1,20}",
        "^(a|b|ab)*$",
        "(a*b*)*c",
    ],
)
def test_slow_expressions_are_refused(regex: str) -> None:
    with pytest.raises(PatternError, match="regex_slow"):
        compile_regex(regex)


@pytest.mark.parametrize(
    "regex",
    [
        "^/v1/(chat|completions)",
        "^gpt-4(o|\\.1)?(-mini)?$",
        "(?i)^claude",
        "gpt-4|o1",
        "^/v1/[^/]+/messages/[^/]+/x/[^/]+$",
        "(/[^/]+)*$",
        "^(\\d+,)*\\d+$",
        "^([a-z0-9]+-)*[a-z]+$",
        "^.*foo.*bar",
        "^\\s+|\\s+$",
        "\\bfoo\\b",
        "^(?!foo)bar",
        "(foo|bar)*",
        "^[A-Z]{2,3}-\\d{1,10}$",
        "한국어|English",
        "\\.(jpe?g|png|gif)$",
    ],
)
def test_ordinary_expressions_are_accepted(regex: str) -> None:
    compile_regex(regex)


ATOMS = st.sampled_from(["a", "b", "[ab]", ".", "\\w", "(a|b)", "(ab|b)", "a?", "(a)", "\\d"])
QUANTIFIED = st.tuples(ATOMS, st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}"])).map("".join)
GROUPED = st.tuples(st.lists(QUANTIFIED, min_size=1, max_size=3), st.sampled_from(["", "*", "+", "{2,4}"])).map(
    lambda pair: f"({''.join(pair[0])}){pair[1]}"
)


@given(st.lists(st.one_of(QUANTIFIED, GROUPED), min_size=1, max_size=3).map("".join), st.sampled_from(["", "$", "c"]))
@settings(max_examples=300, deadline=None)
def test_an_accepted_expression_is_quick(regex: str, end: str) -> None:
    try:
        pattern = compile_regex(regex + end)
    except PatternError:
        return
    began = time.process_time()
    for text in ("a" * 400 + "!", "ab" * 200 + "!", "b" * 400 + "!"):
        pattern.search(text)
    assert time.process_time() - began < 0.5, regex + end


@pytest.mark.parametrize(
    "text", ["", "v1/x", "/a?b", "/a b", "/[ab]", "/{a}", "/a\\b", "/***", "/%zz", "/a/../b", "/" + "a" * 600]
)
def test_globs_that_cannot_mean_what_they_say(text: str) -> None:
    with pytest.raises(PatternError):
        compile_path(text)


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("api.example.com", "api.example.com", True),
        ("API.example.com", "api.example.com", True),
        ("api.example.com", "apixexample.com", False),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("~^api[0-9]\\.", "api1.example.com", True),
    ],
)
def test_host_patterns(pattern: str, host: str, fits: bool) -> None:
    assert (compile_host(pattern).search(host) is not None) == fits
