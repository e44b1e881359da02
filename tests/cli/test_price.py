"""price: one call, explained by the functions that the proxy uses, in whatever form it is handed over."""

from __future__ import annotations

import base64
import contextlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.init import template
from proxy.core.recording import Unreadable, parse_exchanges, parse_request, parse_response, request_of
from tests.cli.conftest import Spendgate

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
}
EXCHANGE: dict[str, Any] = {
    "host": "api.openai.com",
    "method": "POST",
    "path": "/v1/chat/completions",
    "request_headers": {"content-type": "application/json"},
    "request_body": json.dumps(BODY),
    "request_body_encoding": "utf8",
    "status": 200,
    "response_headers": {"Content-Type": "application/json"},
    "response_body": base64.b64encode(json.dumps(ANSWER).encode()).decode(),
    "response_body_encoding": "base64",
}
# 8 tokens at 0.15 and 2 at 0.60 US dollars a million, 1 USD = 1390 KRW.
USD, KRW = Decimal("0.0000024"), Decimal("0.003336")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(template("en"), encoding="utf-8")
    (tmp_path / "exchange.json").write_text(json.dumps(EXCHANGE))
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n\r\n"
    (tmp_path / "request.http").write_bytes(head.encode() + json.dumps(BODY).encode())
    head = "HTTP/1.1 200 OK\nContent-Type: application/json\n\n"
    (tmp_path / "response.http").write_bytes(head.encode() + json.dumps(ANSWER).encode())
    request = {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "body": BODY}
    (tmp_path / "request.json").write_text(json.dumps(request))
    (tmp_path / "response.json").write_text(json.dumps({"status": 200, "headers": {}, "body": ANSWER}))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--exchange", "exchange.json"],
        ["--request", "request.http", "--response", "response.http"],
        ["--request", "request.json", "--response", "response.http"],
        ["https://api.openai.com/v1/chat/completions", "-d", json.dumps(BODY), "--response", "response.http"],
        [
            *("-X", "POST", "http://127.0.0.1:8080/openai/v1/chat/completions"),
            *("-d", json.dumps(BODY), "--response", "response.http"),
        ],
    ],
    ids=["exchange", "raw", "json", "flags", "through the proxy"],
)
def test_one_call_in_many_forms_is_one_price(arguments: list[str], quick: Spendgate, folder: Path) -> None:
    done = quick("price", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert {
        "api",
        "rule",
        "estimate",
        "cost",
        "currency",
        "original_cost",
        "original_currency",
        "state",
        "terms",
    } <= set(found)
    assert (found["api"], found["rule"], found["state"]) == ("openai", "openai/generation", "settled")
    assert (Decimal(found["original_cost"]), found["original_currency"]) == (USD, "USD")
    assert (Decimal(found["cost"]), found["currency"]) == (KRW, "KRW")
    assert sum(Decimal(term["amount"]) for term in found["terms"]) == USD
    assert Decimal(found["estimate"]) >= KRW


def test_the_page_says_why_the_other_rules_did_not_match(quick: Spendgate, folder: Path) -> None:
    done = quick("price", "--request", "request.http", "--response", "response.http", COLUMNS="80")
    assert done.returncode == 0
    assert "openai/models" in done.stdout
    assert "The method is POST, not GET." in done.stdout
    assert "=>  openai/generation" in done.stdout
    assert "Before the call: 0.1042 KRW, at the most" in done.stdout
    assert "Actual cost: 0.003336 KRW  settled" in done.stdout
    assert "x 1390" in done.stdout
    assert all(len(line.rstrip()) <= 80 for line in done.stdout.splitlines())


def test_the_page_speaks_korean(quick: Spendgate, folder: Path) -> None:
    done = quick("price", "--request", "request.http", "--response", "response.http", "--lang", "ko")
    assert "실제 비용: 0.003336원  확정" in done.stdout


def test_without_a_response_there_is_an_estimate_and_no_cost(quick: Spendgate, folder: Path) -> None:
    found = json.loads(quick("price", "--request", "request.http", "--json").stdout)
    assert found["cost"] is None
    assert found["state"] is None
    assert Decimal(found["estimate"]) > 0


@pytest.mark.parametrize(("used", "estimate"), [("0", "0"), ("29999", "0"), ("30000", "0.5")])
def test_an_allowance_counts_what_was_used_before(used: str, estimate: str, quick: Spendgate, folder: Path) -> None:
    url = "https://dapi.kakao.com/v2/local/search/keyword.json?query=cafe"
    found = json.loads(quick("price", url, "--used", used, "--json").stdout)
    assert (found["rule"], found["estimate"]) == ("kakao-map/search", estimate)


@pytest.mark.parametrize(
    ("url", "api"), [("https://api.openai.com/v2/else", "openai"), ("https://nowhere.example.com/", None)]
)
def test_a_call_without_a_rule_is_told_and_exits_1(url: str, api: str | None, quick: Spendgate, folder: Path) -> None:
    done = quick("price", url, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["api"], found["rule"], found["state"]) == (1, api, None, "no_rule")
    done = quick("price", url)
    assert done.returncode == 1
    assert "403 no_rule" in done.stdout


def test_many_exchanges_give_a_line_each(quick: Spendgate, folder: Path) -> None:
    (folder / "many.jsonl").write_text("\n".join([json.dumps(EXCHANGE)] * 3))
    lines = quick("price", "--exchange", "many.jsonl", "--json").stdout.splitlines()
    assert [json.loads(line)["cost"] for line in lines] == [format(KRW, "f")] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--exchange", "missing.json"], "there is no such file"),
        (["--request", "rules.yaml"], "does not begin with a line like"),
        (["--exchange", "response.json"], "at least host, method and path"),
        (["--request", "request.http", "--response", "request.http"], "HTTP/1.1 200 OK"),
        (["ftp://example.com/"], "not an http or https URL"),
        (["https://api.openai.com/", "-H", "nonsense"], "is not a header"),
        (["https://api.openai.com/", "--at", "yesterday"], "is not a time"),
        (["https://api.openai.com/", "--used", "many"], "--used cannot be “many”"),
        (["https://api.openai.com/", "--rules", "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_understood_is_told_in_a_sentence(
    arguments: list[str], words: str, quick: Spendgate, folder: Path
) -> None:
    done = quick("price", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("spendgate: ")
    assert words in done.stderr


# --- reading messages -----------------------------------------------------------------------------------------------


def test_a_raw_request_keeps_its_bytes() -> None:
    text = b"PUT /a%2Fb/../c?x=1&x=%20 HTTP/1.1\r\nHost: example.com:8443\r\nX-A: 1\r\nX-A: 2\r\n\r\n\r\nbody\n"
    found = parse_request(text)
    assert (found.method, found.host, found.port) == ("PUT", "example.com", 8443)
    assert (found.path, found.query) == ("/a%2Fb/../c", "x=1&x=%20")
    assert [value for name, value in found.headers if name == "x-a"] == ["1", "2"]
    assert found.body == b"\r\nbody\n"


def test_content_length_cuts_what_an_editor_added() -> None:
    found = parse_request(b"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody\n")
    assert found.body == b"body"


def test_an_interim_answer_is_passed_over() -> None:
    found = parse_response(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nA: b\r\n\r\nx")
    assert (found.status, found.body) == (201, b"x")


def test_a_recorded_path_is_taken_as_it_stands() -> None:
    row = {"host": "h.example.com", "path": "/a b/<x>?q=1?2#3"}
    request, response = next(parse_exchanges(json.dumps(row).encode()))
    assert (request.method, request.path, request.query) == ("GET", "/a b/<x>", "q=1?2#3")
    assert response is None


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(text: bytes) -> None:
    for reader in (parse_request, parse_response, lambda given: list(parse_exchanges(given))):
        with contextlib.suppress(Unreadable):
            reader(text)


@given(st.text(max_size=100))
def test_no_url_breaks_the_reader(url: str) -> None:
    try:
        found = request_of(None, url, (), b"")
    except Unreadable:
        return
    assert found.host
    assert found.path.startswith("/") or found.path


LADDER = """
version: 1
currency: KRW
fx: {USD: 1390}
budgets: [{name: monthly, limit: 15000}]
apis:
  - name: openai
    upstream: https://api.openai.com
    prices:
      - match: {path: /v1/*}
        catalog: openai
        cache: {ttl: 10m, stale: 1d}
        degrade:
          - {at: 80%, set: {model: gpt-4o, max_tokens: 20}}
          - {at: 90%, set: {model: gpt-4o-mini}, serve_stale: true}
"""


def test_the_page_tells_what_each_rung_makes_of_the_call(quick: Spendgate, tmp_path: Path) -> None:
    rules = tmp_path / "ladder.yaml"
    rules.write_text(LADDER)

    def rungs(**more: Any) -> list[str]:
        body = json.dumps({**BODY, **more})
        url = "https://api.openai.com/v1/chat/completions"
        done = quick("price", "-X", "POST", url, "-d", body, "--rules", str(rules))
        assert done.returncode == 0, done.stderr
        text = " ".join(done.stdout.split())
        return text[text.index("From 80 %") : text.index("input_tokens")].split("From ")[1:]

    first, second = rungs(model="gpt-5-nano")  # far cheaper than gpt-4o, whatever the length
    assert first.startswith("80 % of the budget on: set=max_tokens, then ")
    assert second.startswith("90 % of the budget on: set=model,max_tokens, then ")
    assert "even a stale one" in second
    first, second = rungs(max_tokens=5)
    assert first.startswith("80 % of the budget on: as asked")
    assert second.startswith("90 % of the budget on: as asked")


def test_the_rungs_of_a_ladder_are_told_to_programs(quick: Spendgate, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("""
version: 1
fx: {USD: 1390}
apis:
  - name: openai
    upstream: https://api.openai.com
    prices:
      - match: {method: POST, path: /v1/**}
        catalog: openai
        cache: {ttl: 1h, stale: 1h}
        degrade: [{at: 70%, serve_stale: true}, {at: 80%, set: {max_tokens: 50}}]
""")
    url = "https://api.openai.com/v1/chat/completions"
    body = {**BODY, "max_tokens": 1000}
    found = json.loads(quick("price", url, "-d", json.dumps(body), "--json", cwd=tmp_path).stdout)
    stale, shorter = found["ladder"]
    assert stale == {"at_percent": 70.0, "changes": None, "serve_stale": True, "estimate": None}
    assert (shorter["at_percent"], shorter["changes"], shorter["serve_stale"]) == (80.0, "set=max_tokens", True)
    fewer = 950 * Decimal("0.6") / 1_000_000 * 1390
    # And a byte or two less of the body, which is counted by its size.
    assert fewer <= Decimal(found["estimate"]) - Decimal(shorter["estimate"]) < fewer * Decimal("1.01")
