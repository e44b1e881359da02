"""Hostile YAML: refused quickly, with a place and a sentence, and never with a stack trace."""

from __future__ import annotations

import json
import resource
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import rules_file, rules_schema

PRICE_KEYS = rules_schema.known_keys(("apis", 0, "prices", 0))
API_KEYS = rules_schema.known_keys(("apis", 0))
RULES = "version: 1\napis: [{name: a, upstream: 'https://a.example.com', prices: [{per_request: 1}]}]\n"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[" * 100_000, "too_deep"),
        ("{a: " * 100_000, "too_deep"),
        ("? " * 50_000, "key_not_text"),
        ("- " * 50_000, "too_deep"),
        ("".join(" " * depth + "a:\n" for depth in range(600)), "too_deep"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias"),
        ("&a [*a]", "alias"),
        ("a: *nothing", "alias"),
        ("&k key: 1", "alias"),
        ("*k : 1", "alias"),
        ("!!python/object/apply:os.system ['id']", "tag"),
        ("a: !!python/name:os.system x", "tag"),
        ("a: !<tag:yaml.org,2002:int> 1", "tag"),
        ("!t a: 1", "tag"),
        ("<<: {version: 1}", "merge"),
        ("version: 1\n--- \nversion: 1\n", "two_documents"),
        ("? [a, b]\n: 1", "key_not_text"),
        ("? {a: b}\n: 1", "key_not_text"),
        ("a: [1", "syntax"),
        ("a:\n\t- 1\n", "syntax"),
        ("%YAML 9.9\n---\na: 1", "syntax"),
        ("a: \x07", "syntax"),
        ("a: \x85\ud800", "not_utf8"),
        ("version: 1\nservices: [" + "1," * 100_001 + "]", "too_many"),
        ("version: 1\nx: " + "a" * 999_990, "too_large"),
        ("just text", "root_not_mapping"),
        ("- a", "root_not_mapping"),
        ("# nothing", "empty_file"),
        ("null", "empty_file"),
    ],
    ids=range(29),
)
def test_it_is_refused_at_once(text: str, key: str) -> None:
    began = time.process_time()
    loaded = rules_file.load_text(text)
    assert time.process_time() - began < 1
    assert loaded.rules is None
    assert [mistake.key for mistake in loaded.mistakes] == [key]
    assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in loaded.mistakes)


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\n" + "".join(f"k{i}: 1\n" for i in range(49_000)),
        "version: 1\noptimize: [" + "1," * 99_000 + "]",
        "version: 1\napis: [" + "{}," * 49_000 + "]",
        "version: 1\nfx: {" + ",".join(f"X{i}: -1" for i in range(40_000)) + "}",
        "version: 1\nversion: 1\n" * 20_000,
        "version: 1\nbudgets: [" + "{name: b, limit: 1}," * 15_000 + "]",
        "version: 1\napis: [{name: a, upstream: 'https://a', prices: ["
        + "{match: {path: /a/*/b*}, free: true}," * 1000
        + "]}]",
        "version: 1\napis: [{name: a, upstream: 'https://a', prices: ["
        + ",".join(f"{{match: {{path: /a/*/b{i}**c*/**/d}}, free: true}}" for i in range(500))
        + "]}]",
        "version: 1\napis: [{name: a, upstream: 'https://a', prices: ["
        + ",".join(f"{{match: {{path: /**a*{'b*c**' * 4}{i}}}, free: true}}" for i in range(900))
        + "]}]",
    ],
    ids=range(9),
)
def test_large_but_lawful_yaml_is_judged_in_bounded_time(text: str) -> None:
    began = time.process_time()
    loaded = rules_file.load_text(text)
    assert time.process_time() - began < 6
    assert len(loaded.mistakes) <= rules_file.MAX_MISTAKES


def test_words_that_yaml_would_turn_into_something_else_stay_text() -> None:
    reader = rules_file._Reader(
        "a: no\nb: 1:30\nc: 0o17\nd: 1.0\ne: 2026-01-01\nf: 'true'\ng: 010\nh: ~\ni: .inf\n", "x"
    )
    assert reader.read() == {
        "a": "no",
        "b": "1:30",
        "c": "0o17",
        "d": "1.0",
        "e": "2026-01-01",
        "f": "true",
        "g": "010",
        "h": None,
        "i": ".inf",
    }


def _cases(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "cases.open.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def test_collected_bad_yaml(material: Path) -> None:
    folder = material / "yaml"
    if not folder.is_dir():
        pytest.skip(f"no collected YAML in {folder}")
    cases = _cases(folder)
    assert cases
    most_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # whatever other tests of this process needed
    for case in cases:
        path = folder / str(case["file"])
        expected = str(case["expected"])
        began = time.process_time()
        status, mistakes = rules_file.check_report(path, {})
        assert time.process_time() - began < 1, case["id"]
        # none of them is a rules file, so each must be refused whatever else holds; a place and a sentence always
        assert status in (1, 2), (case["id"], expected)
        assert all(mistake.line >= 1 and mistake.column >= 1 and mistake.message for mistake in mistakes), case["id"]
        assert mistakes, case["id"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < max(600_000, most_before + 300_000)


def test_collected_numbers_as_prices(material: Path) -> None:
    """The odd numbers of the collection, put where a price stands: taken exactly or refused, never guessed."""
    folder = material / "yaml"
    if not folder.is_dir():
        pytest.skip(f"no collected YAML in {folder}")
    numbers = [case for case in _cases(folder) if case["category"] == "number"]
    assert numbers
    for case in numbers:
        text = (folder / str(case["file"])).read_text(encoding="utf-8")
        value = text.rpartition(":")[2].strip().strip("{}").strip()
        loaded = rules_file.load_text(RULES.replace("per_request: 1", f"per_request: {value}"))
        expected = str(case["expected"])
        if expected == "reject":
            assert loaded.mistakes, (case["id"], value)
        elif expected.startswith("accept as "):
            exact = expected.removeprefix("accept as ").split(" ")[0]
            assert loaded.rules is not None, (case["id"], value)
            assert loaded.rules.apis[0].rules[0].price.per_request == Decimal(exact)


EXAMPLE = (Path(__file__).parent / "rules" / "example.yaml").read_text(encoding="utf-8")
ODD = [
    "",
    "~",
    "{}",
    "[]",
    "-1",
    "true",
    "'",
    '"',
    "{",
    "[",
    ":",
    "- ",
    "\n",
    "\t",
    "&a ",
    "*a",
    "!t ",
    "é",
    "\x85",
    "$",
    "${X}",
]


@given(
    st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 30), st.sampled_from(ODD)), min_size=1, max_size=4)
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_gives_mistakes_and_never_a_stack_trace(damage: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for at, length, put in damage:
        text = text[:at] + put + text[at + length :]
    loaded = rules_file.load_text(text, "rules.yaml", {"OPENAI_API_KEY": "hidden", "SPENDGATE_KEY_BATCH": "hidden"})
    assert (loaded.rules is None) == bool(loaded.mistakes)
    for mistake in (*loaded.mistakes, *loaded.warnings):
        assert mistake.render("en")
        assert mistake.render("ko")
        assert "hidden" not in mistake.render("en")


VALUES = st.recursive(
    st.sampled_from(
        [None, True, False, 0, -1, 1, "", "x", "~(", "1", "2xx", "month", "10s", "${A}", "USD", "https://a"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "limit", "price", "count", "per", "x", "api", "free"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(PRICE_KEYS), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(API_KEYS), VALUES, max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_any_value_under_any_key_is_taken_or_refused(price: dict[str, object], api: dict[str, object]) -> None:
    whole = {"name": "a", "upstream": "https://a.example.com", "prices": [{"per_request": 1, **price}], **api}
    document = json.dumps({"version": 1, "apis": [whole, {**whole, "name": "b"}]})
    loaded = rules_file.load_text(document, env={"A": "a"})
    assert (loaded.rules is None) == bool(loaded.mistakes)
    assert all(mistake.render("ko") for mistake in loaded.mistakes)
