"""Every sentence exists in both languages, with the same placeholders, as a whole sentence."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from proxy.core.text import CATALOGUE, LANGUAGES, say

PACKAGE = Path(__file__).resolve().parent.parent / "proxy"
HANGUL = re.compile("[가-힣]")
# Where a text is the same in both languages on purpose: words of a program, not of a person.
NOT_TRANSLATED = re.compile(r"\.examples$|\.why\.other$")


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("key", sorted(CATALOGUE))
def test_both_languages_say_the_same(key: str) -> None:
    texts = CATALOGUE[key]
    assert set(texts) == set(LANGUAGES)
    assert placeholders(texts["en"]) == placeholders(texts["ko"])
    for language, text in texts.items():
        assert text.strip(), language
    assert not HANGUL.search(texts["en"])
    words = "".join(literal for literal, _, _, _ in string.Formatter().parse(texts["ko"]))
    if not NOT_TRANSLATED.search(key):
        assert HANGUL.search(words) or not re.search("[a-z]{3}", words), "not in Korean"


def test_an_unknown_language_reads_english() -> None:
    assert say("cli.help.usage", "fr") == say("cli.help.usage", "en")


def test_an_unknown_key_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        say("no.such.key", "en")


def _literal_keys() -> dict[str, str]:
    """Keys that the code asks for by a literal: frame.say("x") means cli.x, say("x", ...) the key itself."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            first = node.args[0]
            if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
                continue
            place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            if (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in {"say", "fail"}
                and "frame" in ast.dump(node.func)
            ):
                found[f"cli.{first.value}"] = place
                for keyword in node.keywords:
                    if keyword.arg == "hint" and isinstance(keyword.value, ast.Constant):
                        found[f"cli.{keyword.value.value}"] = place
            elif isinstance(node.func, ast.Name) and node.func.id == "say" and "." in first.value:
                own = f"cli.{first.value}"  # where `say` is short for frame.say
                found[own if own in CATALOGUE else first.value] = place
    return found


def test_every_key_that_the_code_names_exists() -> None:
    keys = _literal_keys()
    assert len(keys) > 50
    missing = {key: place for key, place in keys.items() if key not in CATALOGUE and key != "cli."}
    assert not missing
