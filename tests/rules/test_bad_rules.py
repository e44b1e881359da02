"""Each file in bad/ has one mistake; the message that it must give stands in its first lines, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy import rules_file

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
ENV = {"KEY_A": "hidden-a", "KEY_B": "hidden-b", "EMPTY_KEY": "", "BROKEN_KEY": "hidden\nline"}
ENV |= {"TOKEN_A": "hidden-token-of-a-person", "TOKEN_B": "hidden-token-of-another"}


def _expected(text: str, mark: str) -> list[str]:
    return [line.removeprefix(mark) for line in text.splitlines() if line.startswith(mark)]


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 45


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_the_whole_message(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    expected = _expected(text, "# expect: ")
    assert len(expected) == 1, "one mistake a file"
    loaded = rules_file.load_text(text, "rules.yaml", ENV)
    assert loaded.rules is None
    assert [mistake.render("en") for mistake in loaded.mistakes] == [f"rules.yaml:{line}" for line in expected]
    korean = _expected(text, "# expect ko: ")
    if korean:
        assert [mistake.render("ko") for mistake in loaded.mistakes] == [f"rules.yaml:{line}" for line in korean]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_no_message_repeats_a_secret(path: Path) -> None:
    loaded = rules_file.load_text(path.read_text(encoding="utf-8"), "rules.yaml", ENV)
    told = "".join(mistake.render(language) + repr(mistake) for mistake in loaded.mistakes for language in ("en", "ko"))
    assert "hidden" not in told


def test_files_in_korean_too() -> None:
    assert sum("# expect ko: " in path.read_text(encoding="utf-8") for path in BAD) >= 3
