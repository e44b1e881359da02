"""The start page: short, true, and three lines that can be pasted."""

from __future__ import annotations

import io
from typing import Any

import pytest

from proxy.cli.help import cells
from proxy.cli.init import template
from proxy.cli.levels import Level
from proxy.cli.startpage import paste_lines, render
from proxy.core.figures import moment, number
from proxy.core.model import RuleSet
from proxy.rules_file import load_text
from proxy.started import Facts


@pytest.fixture
def rules() -> RuleSet:
    loaded = load_text(template("en")).rules
    assert loaded is not None
    return loaded


def budget(**changed: Any) -> dict[str, Any]:
    return {
        "name": "monthly",
        "period": "2026-11",
        "currency": "KRW",
        "limit": "15000",
        "increase": "0",
        "spent": "14250.5",
        "reserved": "12.5",
        "state": "restricted",
        "resets_at": "2026-12-01T00:00:00.000+09:00",
        **changed,
    }


def facts(rules: RuleSet, *budgets: dict[str, Any], **changed: Any) -> Facts:
    given: dict[str, Any] = {
        "version": "0.1.0",
        "rules": rules,
        "levels": budgets,
        "listen": "127.0.0.1:8080",
        "admin": "127.0.0.1:8081",
        "store": ".spendgate",
        "redis_cli": "redis-cli -s .spendgate/valkey.sock",
    }
    return Facts(**{**given, **changed})


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["14,250.5 KRW / 15,000 KRW", "restricted", "12.5 KRW held", "resets 2026-12-01 00:00 +09:00"]),
        ("ko", ["14,250.5원 / 15,000원", "제한", "12.5원", "2026-12-01 00:00 +09:00 초기화"]),
    ],
)
def test_the_page_says_where_it_is_and_where_the_money_stands(
    language: str, words: list[str], rules: RuleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = render(facts(rules, budget()), language, io.StringIO())
    for word in [*words, "http://127.0.0.1:8080", "95.0 %", "redis-cli -s .spendgate/valkey.sock", rules.digest]:
        assert word in page
    for line in paste_lines(rules, "127.0.0.1:8080"):
        for part in line.splitlines():
            assert part in page
    assert max(cells(line) for line in page.splitlines()) <= 80
    assert "\x1b" not in page
    assert not [line for line in page.splitlines() if line != line.rstrip()]


def test_a_terminal_gets_colours_unless_somebody_minds(rules: RuleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in render(facts(rules, budget()), "en", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    plain = render(facts(rules, budget()), "en", Terminal())
    assert "\x1b" not in plain
    assert "█" in plain


def test_an_address_for_everybody_is_pasted_as_loopback(rules: RuleSet) -> None:
    curl, base, proxy = paste_lines(rules, "0.0.0.0:9000")
    assert curl.startswith("curl -i http://127.0.0.1:9000/openai/v1/models")
    assert base == "export OPENAI_BASE_URL=http://127.0.0.1:9000/openai/v1"
    assert proxy.startswith("export HTTP_PROXY=http://127.0.0.1:9000 ")


def test_without_openai_the_first_api_is_shown() -> None:
    text = "version: 1\ncurrency: KRW\ntimezone: UTC\napis:\n"
    text += "  - {name: my-map, upstream: 'https://map.example.com', prices: [{per_request: 1}]}\n"
    loaded = load_text(text).rules
    assert loaded is not None
    curl, base, _ = paste_lines(loaded, "127.0.0.1:8080")
    assert curl == "curl -i http://127.0.0.1:8080/my-map/"
    assert base == "export MY_MAP_BASE_URL=http://127.0.0.1:8080/my-map"


def test_no_budgets_is_said_in_words(rules: RuleSet) -> None:
    assert "nothing is limited" in render(facts(rules), "en", io.StringIO())


def test_many_budgets_are_cut(rules: RuleSet) -> None:
    page = render(facts(rules, *[budget(name=f"b{index}") for index in range(9)]), "en", io.StringIO())
    assert "and 3 more: spendgate status" in page


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("1234.5", "1,234.5"),
        ("1234.567", "1,234.57"),
        ("15000", "15,000"),
        ("0.003336", "0.003336"),
        ("0.00000012345", "0.0000001234"),
        ("0.5", "0.5"),
        ("-0.25", "-0.25"),
    ],
)
def test_amounts_are_short_and_never_0_00(amount: str, text: str) -> None:
    from decimal import Decimal

    assert number(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("spent", "percent"),
    [("0", "0.0 %"), ("949.99", "94.9 %"), ("950", "95.0 %"), ("999.99", "99.9 %"), ("1000", "100.0 %")],
)
def test_a_percent_is_cut_so_that_a_threshold_is_not_shown_too_early(spent: str, percent: str) -> None:
    assert Level.of(budget(spent=spent, limit="1000")).percent == percent


def test_moments_keep_their_zone() -> None:
    assert moment("2026-12-01T00:00:00.000+09:00") == "2026-12-01 00:00 +09:00"
    assert moment("no time") == "no time"
