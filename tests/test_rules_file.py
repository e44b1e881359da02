"""Loading rules.yaml: the grammar's example, the shipped file, several mistakes at once, unreadable files, schema."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from proxy import rules_file, rules_schema
from proxy.core import expression
from proxy.core.model import (
    EstimateMode,
    FreeTier,
    FxRate,
    OnExhausted,
    Period,
    PeriodUnit,
    PerKb,
    Policy,
    Priority,
    Rounding,
    RuleSet,
    Speaks,
    StatusSet,
    TierStep,
    TimeOfDay,
)

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = (Path(__file__).parent / "rules" / "example.yaml").read_text(encoding="utf-8")
EXAMPLE_ENV = {"OPENAI_API_KEY": "sk-real", "SPENDGATE_KEY_BATCH": "virtual-batch"}


def load(text: str, **env: str) -> RuleSet:
    loaded = rules_file.load_text(text, "rules.yaml", env)
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    return loaded.rules


def one_price(price: str, top: str = "") -> RuleSet:
    return load(
        f"version: 1\n{top}\napis: [{{name: a, upstream: 'https://a.example.com', prices: [{price}]}}]\n",
    )


def messages(text: str, **env: str) -> list[str]:
    return [mistake.render() for mistake in rules_file.load_text(text, "rules.yaml", env).mistakes]


# --- what a good file means -----------------------------------------------------------------------------------------


def test_the_example_of_the_grammar() -> None:
    loaded = rules_file.load_text(EXAMPLE, "rules.yaml", EXAMPLE_ENV)
    assert loaded.mistakes == ()
    rules = loaded.rules
    assert rules is not None
    assert (rules.currency, rules.timezone, rules.language, rules.unknown) == ("KRW", "Asia/Seoul", "en", Policy.DENY)
    assert rules.fx == (FxRate("USD", Decimal(1390), "0001-01-01"),)
    assert [(b.name, b.limit_atoms, b.period, b.api, b.caller) for b in rules.budgets] == [
        ("monthly", 15_000_000_000, Period(PeriodUnit.MONTH), None, None),
        ("openai-daily", 1_000_000_000, Period(PeriodUnit.DAY), "openai", None),
        ("caller:batch", 3_000_000_000, Period(PeriodUnit.MONTH), None, "batch"),
    ]
    assert rules.budgets[0].thresholds_bp() == (7000, 8000, 9000, 9500, 10000)
    assert [(caller.name, caller.key) for caller in rules.callers] == [("batch", "virtual-batch")]
    assert rules.require_caller
    openai, maps, sms = rules.apis
    assert (openai.scheme, openai.host, openai.port, openai.base_path) == ("https", "api.openai.com", 443, "")
    assert (openai.mount, openai.hosts, openai.speaks) == ("openai", ("api.openai.com",), Speaks.OPENAI)
    assert [(c.header, c.value) for c in openai.credentials] == [("Authorization", "Bearer sk-real")]
    assert (openai.connect_timeout_s, openai.read_timeout_s, openai.total_timeout_s) == (10.0, 300.0, None)
    free, catalog = openai.rules
    assert (free.id, free.price.free, free.needs_body, free.needs_response) == ("openai/1", True, False, False)
    assert (catalog.price.catalog, catalog.price.currency) == ("openai", "USD")
    assert (catalog.needs_body, catalog.needs_response, catalog.priority) == (True, True, Priority.IMPORTANT)
    assert maps.rules[0].price.per_request == Decimal("0.5")
    assert maps.rules[0].price.free_tier == FreeTier(Decimal(30000), "requests", Period(PeriodUnit.MONTH))
    (unit,) = sms.rules[0].price.per_unit
    assert unit.price == Decimal("9.9")
    assert expression.evaluate(unit.program, {"request": {"to": ["a", "b"], "text": "x" * 71}}) == 4
    assert sms.rules[0].needs_body
    assert not sms.rules[0].needs_response
    assert sms.rules[0].where == "rules.yaml:41"
    assert maps.speaks is Speaks.PROBLEM


def test_nothing_of_the_example_waits_for_a_later_version() -> None:
    assert rules_file.load_text(EXAMPLE, "rules.yaml", EXAMPLE_ENV).warnings == ()


def test_no_secret_shows_in_what_is_printed_of_rules() -> None:
    shown = repr(rules_file.load_text(EXAMPLE, "rules.yaml", EXAMPLE_ENV))
    assert "sk-real" not in shown
    assert "virtual-batch" not in shown


def test_the_shipped_rules_need_nothing() -> None:
    text = (ROOT / "rules.yaml").read_text(encoding="utf-8")
    loaded = rules_file.load_file(ROOT / "rules.yaml", {})
    assert loaded.mistakes == ()
    assert loaded.warnings == ()
    assert loaded.rules is not None
    assert loaded.rules.budgets[0].limit_atoms == 15_000_000_000
    assert [api.name for api in loaded.rules.apis] == ["openai", "anthropic", "gemini", "kakao-map", "sms"]
    assert [api.speaks.value for api in loaded.rules.apis[:3]] == ["openai", "anthropic", "google"]
    assert not any(api.credentials for api in loaded.rules.apis)
    assert len(text.splitlines()) <= 80
    assert text.startswith("# yaml-language-server: $schema=")


def test_everything_that_a_price_can_say() -> None:
    rule = (
        load(
            """
version: 1
currency: EUR
vat: 10%
fx:
  USD: [{since: 2026-07-01, rate: 0.9}, {since: 2026-01-01, rate: 0.95}]
defaults: {max_seconds: 5m, charge_on: [2xx, 404], estimate: learned}
apis:
  - name: a
    upstream: http://127.0.0.1:8000/base/
    on_exhausted: truncate
    max_kb: 7
    total_timeout: 1m
    prices:
      - name: all
        match: {host: ["*.example.com", a.example.com], header: {X-Kind: ["1.50", b]}, query: {q: {present: false}}}
        per_kb: {down: 0.1}
        per_second: 1e-6
        per_connection: "2"
        tiers: {mode: volume, per: 30 days, steps: [{up_to: 1_000, price: 2}, {price: 1}]}
        minimum: 0.01
        rounding: up to 0.05
        times: {days: [weekends, mon], from: "22:00", to: "06:30", multiplier: 0.5}
        currency: USD
        max_output_tokens: 100
        max_input_tokens: 200
        priority: optional
        budget: {limit: 3, currency: USD, stop: 90}
"""
        )
        .apis[0]
        .rules[0]
    )
    price = rule.price
    assert rule.id == "a/all"
    assert price.per_kb == PerKb(Decimal(0), Decimal("0.1"))
    assert (price.per_second, price.per_connection, price.minimum) == (Decimal("0.000001"), Decimal(2), Decimal("0.01"))
    assert price.tiers is not None
    assert (price.tiers.mode, price.tiers.of, price.tiers.period) == ("volume", "requests", Period(PeriodUnit.DAYS, 30))
    assert price.tiers.steps == (TierStep(Decimal(1000), Decimal(2)), TierStep(None, Decimal(1)))
    assert price.rounding == Rounding(Decimal("0.05"), "up")
    assert price.times == (TimeOfDay(frozenset((0, 5, 6)), 22 * 60, 6 * 60 + 30, Decimal("0.5")),)
    assert (price.currency, price.vat, price.charge_on) == ("USD", Decimal("0.1"), StatusSet(((200, 299), (404, 404))))
    assert (rule.estimate, rule.on_exhausted, rule.priority) == (
        EstimateMode.LEARNED,
        OnExhausted.TRUNCATE,
        Priority.OPTIONAL,
    )
    assert (rule.max_seconds, rule.max_kb, rule.max_output_tokens, rule.max_input_tokens) == (300, 7, 100, 200)
    assert rule.match.headers[0].name == "x-kind"
    assert rule.match.headers[0].equals == ("1.50", "b", "1.5")
    assert rule.match.query[0].present is False


def test_rates_are_in_the_order_of_their_days() -> None:
    rules = one_price(
        "{per_request: 1}", "fx: {USD: [{since: 2026-07-01, rate: 1400}, {since: 2026-01-01, rate: 1390}]}"
    )
    assert [rate.since for rate in rules.fx] == ["2026-01-01", "2026-07-01"]


def test_budgets_of_rules_and_apis_have_names_that_nobody_can_take() -> None:
    rules = load(
        "version: 1\napis:\n  - name: a\n    upstream: https://a.example.com\n    budget: {limit: 5, restrict: 80}\n"
        "    prices: [{name: r, per_request: 1, budget: {limit: 1, period: day, timezone: UTC, warn: 50}}]\n"
    )
    assert [(b.name, b.api, b.rule, b.timezone, b.warn_bp) for b in rules.budgets] == [
        ("api:a", "a", None, "Asia/Seoul", (7000,)),
        ("rule:a/r", "a", "a/r", "UTC", (5000,)),
    ]


@pytest.mark.parametrize("reference", ["{api: a, rule: r}", "{rule: a/r}", "{api: a, rule: a/r}"])
def test_a_budget_names_a_rule_either_way(reference: str) -> None:
    rules = load(
        f"version: 1\nbudgets: [{{name: b, limit: 1, applies_to: {reference}}}]\n"
        "apis: [{name: a, upstream: 'https://a.example.com', prices: [{name: r, per_request: 1}]}]\n"
    )
    assert (rules.budgets[0].api, rules.budgets[0].rule) == ("a", "a/r")


@pytest.mark.parametrize(
    ("upstream", "parts"),
    [
        ("https://API.example.com", ("https", "api.example.com", 443, "")),
        ("http://127.0.0.1:9000", ("http", "127.0.0.1", 9000, "")),
        ("https://a.example.com/v1/", ("https", "a.example.com", 443, "/v1")),
        ("http://[::1]:8000/x/y", ("http", "::1", 8000, "/x/y")),
    ],
)
def test_upstreams(upstream: str, parts: tuple[str, str, int, str]) -> None:
    api = load(f"version: 1\napis: [{{name: a, upstream: '{upstream}', prices: [{{per_request: 1}}]}}]\n").apis[0]
    assert (api.scheme, api.host, api.port, api.base_path) == parts


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.0e-6", "0.000001"),
        ("1e-6", "0.000001"),
        ('"0.5"', "0.5"),
        ("1_000", "1000"),
        ("+3", "3"),
        ("-0", "0"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("100000000000000000", "100000000000000000"),
        ("007", "7"),
    ],
)
def test_amounts_are_exact(text: str, amount: str) -> None:
    assert one_price(f"{{per_request: {text}}}").apis[0].rules[0].price.per_request == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        ".5",
        "5.",
        "1e400",
        "5e-324",
        "nan",
        ".inf",
        "-.inf",
        "0x10",
        "1,000",
        "٣",
        "５",
        "1 KRW",
        "true",
        "no",
        "~",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    wrong = messages(
        f"version: 1\napis: [{{name: a, upstream: 'https://a.example.com', prices: [{{per_request: '{text}'}}]}}]\n"
    )
    assert len(wrong) == 1
    assert "apis[0].prices[0].per_request" in wrong[0]


@pytest.mark.parametrize(
    ("price", "body", "response"),
    [
        ("{per_request: 1}", False, False),
        ("{match: {json: {model: x}}, per_request: 1}", True, False),
        ("{tokens: {input: 1}}", True, True),
        ("{per_unit: {price: 1, count: request.n}}", True, False),
        ("{per_unit: {price: 1, count: query.n}}", False, False),
        ("{per_unit: {price: 1, count: length(response.items), max_count: 9}}", False, True),
        ("{per_unit: {price: 1, count: seconds, max_count: 9}}", False, False),
    ],
)
def test_what_a_rule_must_see(price: str, body: bool, response: bool) -> None:
    rule = one_price(price).apis[0].rules[0]
    assert (rule.needs_body, rule.needs_response) == (body, response)


def test_callers_make_keys_required_unless_switched_off() -> None:
    callers = "callers: [{name: a, key: '${KEY}'}]"
    apis = "apis: [{name: a, upstream: 'https://a.example.com', prices: [{per_request: 1}]}]"
    assert not load(f"version: 1\n{apis}").require_caller
    assert load(f"version: 1\n{callers}\n{apis}", KEY="k").require_caller
    assert not load(f"version: 1\ndefaults: {{require_caller: false}}\n{callers}\n{apis}", KEY="k").require_caller


def test_without_budgets_a_warning_says_that_nothing_is_refused() -> None:
    warnings = rules_file.load_text("version: 1\n").warnings
    assert [warning.key for warning in warnings] == ["no_apis", "no_budgets"]


# --- several mistakes at once -----------------------------------------------------------------------------------


def test_one_run_tells_of_grammar_and_meaning() -> None:
    assert messages(
        """version: 1
colour: red
budgets:
  - {name: monthly, limit: -5}
apis:
  - name: a
    upstream: https://a.example.com
    credentials: {header: Authorization, value: "${MISSING}"}
    prices:
      - {match: {path: x}, per_request: 1}
      - {match: {path: /x}, per_request: 1, per_requst: 2}
  - name: a
    upstream: ftp://a.example.com
    prices: [{per_second: fast}, {free: true}, {free: true}]
"""
    ) == [
        "rules.yaml:2:1: colour: There is no key “colour” here. There are: version, currency, timezone, language, fx, "
        "vat, defaults, budgets, callers, apis, admin, services, alerts, emergency, watch, fixed_costs, optimize.",
        "rules.yaml:4:28: budgets[0].limit: The amount must be 0 or more, not -5.",
        "rules.yaml:8:49: apis[0].credentials.value: The environment variable MISSING is not set. Set it where the "
        "proxy starts: export MISSING=…",
        "rules.yaml:10:24: apis[0].prices[0].match.path: The path pattern “x” must begin with “/”. Write /x; a regular "
        "expression begins with “~”.",
        "rules.yaml:11:45: apis[0].prices[1].per_requst: There is no key “per_requst” here. Did you mean "
        "“per_request”?",
        "rules.yaml:12:11: apis[1].name: There is an API “a” already, at apis[0].name. Give each its own.",
        "rules.yaml:13:15: apis[1].upstream: “ftp://a.example.com” is not the address of an API. Write "
        "https://api.example.com or http://host:8000/path.",
        "rules.yaml:14:27: apis[1].prices[0].per_second: “fast” is not an amount. Write a plain number such as 15000, "
        "0.5 or 0.000002, without a currency and with at most 18 digits on each side of the point.",
    ]


def test_a_broken_part_causes_no_further_mistakes() -> None:
    told = messages(
        "version: 1\nbudgets: [{name: b, limit: 1, applies_to: {api: a}}]\n"
        "apis: [{name: a, upstream: 1, prices: [{match: {path: 7}, per_request: 1}, {free: true}]}]\n"
    )
    assert [line.split(": ")[1] for line in told] == ["apis[0].upstream", "apis[0].prices[0].match.path"]


def test_a_duplicate_key_does_not_hide_what_follows() -> None:
    told = messages("version: 1\nversion: 1\nbudjets: []\n")
    assert [line.split(": ")[0] for line in told] == ["rules.yaml:2:1", "rules.yaml:3:1"]


def test_mistakes_in_both_languages_have_a_sentence() -> None:
    loaded = rules_file.load_text("version: 1\nbudjets: []\n")
    (mistake,) = loaded.mistakes
    assert mistake.message == "There is no key “budjets” here."
    assert mistake.hint == "Did you mean “budgets”?"
    assert mistake.in_language("ko").message == "여기에는 ‘budjets’이라는 키가 없습니다."
    assert (mistake.line, mistake.column, mistake.path, mistake.severity) == (2, 1, "budjets", "error")


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_report_has_an_exit_status(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("version: 1\n", encoding="utf-8")
    bad.write_text("version: [\n", encoding="utf-8")
    assert rules_file.check_report(good, {})[0] == 0
    status, (mistake,) = rules_file.check_report(bad, {}, "ko")
    assert status == 1
    assert mistake.message.startswith("올바른 YAML이 아닙니다")
    assert (mistake.line, mistake.column) == (2, 1)


def test_unreadable_files_have_another(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # caf\xe9\n")
    (tmp_path / "nul.yaml").write_bytes(b"version: 1\na: \0\n")
    (tmp_path / "utf16.yaml").write_bytes("version: 1\n".encode("utf-16"))
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(100_000_000)
    began = time.monotonic()
    found = {
        name: rules_file.check_report(tmp_path / name, {})
        for name in ("none.yaml", ".", "latin.yaml", "nul.yaml", "utf16.yaml", "pipe.yaml", "loop.yaml", "large.yaml")
    }
    assert time.monotonic() - began < 1
    assert {status for status, _ in found.values()} == {2}
    told = {name: (mistakes[0].line, mistakes[0].column, mistakes[0].message) for name, (_, mistakes) in found.items()}
    assert told["none.yaml"] == (1, 1, "There is no such file.")
    assert told["."] == (1, 1, "This is a directory, not a file.")
    assert told["latin.yaml"] == (1, 17, "The file is not UTF-8 text.")
    assert told["nul.yaml"] == (2, 4, "The file contains a NUL byte, so it is not text.")
    assert told["pipe.yaml"] == (1, 1, "This is not an ordinary file.")
    assert told["large.yaml"] == (1, 1, "The file is larger than 1,000,000 bytes, which no rules file needs.")


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert rules_file.load_text(b"\xef\xbb\xbfversion: 1\n").mistakes == ()


def test_five_hundred_apis_load_within_a_second() -> None:
    apis = "".join(
        f"""  - name: api{i}
    upstream: https://api{i}.example.com
    budget: {{limit: 100}}
    prices:
      - match: {{method: GET, path: /v{i}/models*}}
        free: true
      - match: {{path: /v{i}/**/chat, json: {{model: "~^gpt-{i}"}}}}
        per_unit: {{price: 9.9, count: "length(request.to) * {i}"}}
"""
        for i in range(500)
    )
    load("version: 1\n")
    began = time.process_time()
    rules = load("version: 1\napis:\n" + apis)
    assert time.process_time() - began < 1
    assert len(rules.apis) == 500


# --- the schema -------------------------------------------------------------------------------------------------


def _document(text: str) -> Any:
    return yaml.safe_load(text)


SCHEMA = rules_schema.json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(SCHEMA)


def test_every_key_has_a_description() -> None:
    without = [
        f"{name}.{key}"
        for name, model in {**SCHEMA["$defs"], "": SCHEMA}.items()
        for key, field in model.get("properties", {}).items()
        if not field.get("description")
    ]
    assert without == []


@pytest.mark.parametrize(
    "text", [EXAMPLE, (ROOT / "rules.yaml").read_text(encoding="utf-8")], ids=["example", "shipped"]
)
def test_good_files_fit_the_schema(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(_document(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 2",
        "version: 1\nbudjets: []",
        "version: 1\nlanguage: kr",
        "version: 1\nbudgets: [{name: a, limit: -1}]",
        "version: 1\nbudgets: [{name: a, limit: 1, period: monthly}]",
        "version: 1\napis: [{name: a, upstream: 'https://a', prices: []}]",
        "version: 1\ndefaults: {connect_timeout: 10}",
    ],
)
def test_bad_files_do_not(text: str) -> None:
    assert list(VALIDATOR.iter_errors(_document(text)))


@pytest.mark.parametrize("limit", [15000, "15000", 0.5, "0.5"])
def test_the_schema_takes_money_as_number_or_text(limit: object) -> None:
    assert list(VALIDATOR.iter_errors({"version": 1, "budgets": [{"name": "a", "limit": limit}]})) == []
