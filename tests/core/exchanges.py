"""Rows of recorded exchanges, and the values that the core wants for them."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.core import catalog, price
from proxy.core.meter import Meter
from proxy.core.model import (
    Bill,
    Estimate,
    EstimateMode,
    FxRate,
    Match,
    OnExhausted,
    Outbound,
    Policy,
    Price,
    Priority,
    Rule,
    RuleSet,
    Usage,
)

AT_MS = 1_795_176_000_000  # 2026-11-20T12:00:00Z
RATE = Decimal(1390)
CHUNKS = (0, 1, 7, 4096)


def material() -> Path:
    root = Path(__file__).resolve().parents[2]
    folder = root / os.environ.get("SPENDGATE_MATERIAL", "../shared/material")
    path = folder / "exchanges" / "exchanges.open.jsonl"
    if not path.exists():
        pytest.skip(f"no recorded exchanges at {path}: set SPENDGATE_MATERIAL to the material's folder")
    return path


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in material().read_text(encoding="utf-8").splitlines()]


def rule_set(currency: str = "KRW", fx: dict[str, Decimal] | None = None, **changes: Any) -> RuleSet:
    rates = {"USD": RATE} if fx is None else fx
    values: dict[str, Any] = {
        "currency": currency,
        "timezone": "Asia/Seoul",
        "language": "en",
        "fx": tuple(FxRate(name, rate, "0001-01-01") for name, rate in rates.items() if name != currency),
        "unknown": Policy.DENY,
        "on_store_error": "deny",
        "budgets": (),
        "callers": (),
        "require_caller": False,
        "apis": (),
        "source": "rules.yaml",
        "digest": "0" * 12,
    }
    return RuleSet(**{**values, **changes})


def rule(price: Price, **changes: Any) -> Rule:
    values: dict[str, Any] = {
        "id": "api/1",
        "api": "api",
        "match": Match(),
        "price": price,
        "priority": Priority.IMPORTANT,
        "estimate": EstimateMode.WORST_CASE,
        "on_exhausted": OnExhausted.FINISH,
        "max_output_tokens": 16384,
        "max_input_tokens": None,
        "max_seconds": 300,
        "max_kb": 1024,
        "where": "rules.yaml:1",
        "needs_body": True,
        "needs_response": True,
    }
    return Rule(**{**values, **changes})


def catalog_rule(provider: str, **changes: Any) -> Rule:
    return rule(Price(currency="USD", catalog=provider), **changes)


def provider_of(row: dict[str, Any]) -> str | None:
    """The catalogue's provider behind a row's host, as a rule file would name it; None for an API outside of it."""
    if (row["oracle"] or {}).get("priced_provider"):
        return str(row["oracle"]["priced_provider"])
    if row["kind"] not in ("llm", "synthetic-5xx"):
        return None
    url = f"https://{row['host']}{row['path']}"
    for provider in catalog._providers().values():
        if provider.id != "openai-decisions" and re.match(provider.api_pattern, url):
            return provider.id
    return "aws" if row["provider"].startswith("aws") else None


def body_of(row: dict[str, Any], side: str) -> bytes:
    text, coding = row[f"{side}_body"], row.get(f"{side}_body_encoding")
    if text is None:
        return b""
    return base64.b64decode(text) if coding == "base64" else text.encode()


def outbound_of(row: dict[str, Any]) -> Outbound:
    path, _, query = row["path"].partition("?")
    body = body_of(row, "request")
    headers = tuple((name.lower(), value) for name, value in (row["request_headers"] or {}).items())
    return Outbound(row["method"], "https", row["host"], 443, path, query, headers, body, len(body))


def meter_row(row: dict[str, Any], rule: Rule, chunk: int = 0, complete: bool = True) -> Usage:
    meter = Meter(rule, outbound_of(row))
    meter.head(row["status"], [(k.encode(), v.encode()) for k, v in (row["response_headers"] or {}).items()])
    body = body_of(row, "response")
    for piece in pieces(body, chunk):
        meter.feed(piece)
    return meter.finish(complete)


def pieces(body: bytes, chunk: int) -> Iterable[bytes]:
    if not chunk:
        return [body]
    return (body[at : at + chunk] for at in range(0, len(body), chunk))


def settle(row: dict[str, Any], rules: RuleSet, rule: Rule, chunk: int = 0) -> tuple[Estimate, Usage, Bill]:
    outbound = outbound_of(row)
    estimate = price.estimate(rules, rule, outbound, AT_MS)
    usage = meter_row(row, rule, chunk)
    return estimate, usage, price.actual(rules, rule, outbound, estimate, usage, None, AT_MS)


def with_usage(usage: Usage, **changes: Any) -> Usage:
    return msgspec.structs.replace(usage, **changes)
