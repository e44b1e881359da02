"""What a refused client reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.core import denial
from proxy.core.model import Denied, Level, Reason, Speaks

NOW_MS = 1_795_402_800_000  # 2026-11-23T12:00:00+09:00
RESET_MS = 1_796_050_800_000  # 2026-12-01T00:00:00+09:00
LEVEL = Level("monthly", "2026-11", "KRW", 15_000_000_000, 14_300_500_000, 200_000_000, RESET_MS)


def rendered(
    denied: Denied, speaks: Speaks = Speaks.PROBLEM, language: str = "en"
) -> tuple[dict[str, Any], dict[str, str]]:
    refusal = denial.render(
        denied, request_id="abc", now_ms=NOW_MS, language=language, timezone="Asia/Seoul", speaks=speaks
    )
    assert refusal.status == denied.status
    return json.loads(refusal.body), dict(refusal.headers)


def test_a_budget_refusal_carries_every_fact_in_major_units() -> None:
    body, headers = rendered(Denied(Reason.BUDGET_RESTRICTED, 402, LEVEL, estimate_atoms=1_500_000))
    assert body["status"] == 402
    assert body["reason"] == "budget_restricted"
    assert body["budget"] == "monthly"
    assert body["period"] == "2026-11"
    assert (body["limit"], body["spent"], body["reserved"]) == ("15000", "14300.5", "200")
    assert body["estimate"] == "1.5"
    assert body["resets_at"] == "2026-12-01T00:00:00+09:00"
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Should-Retry"] == "false"
    assert headers["X-Spendgate-Budget-Remaining"] == "499.5"


def test_retry_after_is_the_reset_but_never_more_than_an_hour() -> None:
    _, far = rendered(Denied(Reason.BUDGET_STOPPED, 503, LEVEL))
    assert far["Retry-After"] == "3600"
    near = Level("daily", "2026-11-23", "KRW", 1, 1, 0, NOW_MS + 1_500)
    _, soon = rendered(Denied(Reason.BUDGET_STOPPED, 503, near))
    assert soon["Retry-After"] == "2"


def test_money_that_is_only_held_invites_to_try_again() -> None:
    _, headers = rendered(Denied(Reason.BUDGET_BUSY, 402, LEVEL, retry_after_s=1, should_retry=True))
    assert headers["Retry-After"] == "1"
    assert headers["X-Should-Retry"] == "true"


def test_a_failing_api_gets_no_advice_about_retries() -> None:
    detail = {"api": "openai", "problem": "connection refused"}
    _, headers = rendered(Denied(Reason.UPSTREAM_UNREACHABLE, 502, detail=detail))
    assert "X-Should-Retry" not in headers


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "has spent 14,300.5 KRW of 15,000 KRW"),
        ("ko", "15,000원 중 14,300.5원을 써서"),
    ],
)
def test_the_sentence_is_in_the_language_of_the_rules(language: str, expected: str) -> None:
    body, _ = rendered(Denied(Reason.BUDGET_RESTRICTED, 402, LEVEL), language=language)
    assert expected in body["detail"]
    assert "2026-12-01T00:00:00+09:00" in body["detail"]


def test_openai_clients_find_their_error_beside_the_facts() -> None:
    body, _ = rendered(Denied(Reason.BUDGET_INSUFFICIENT, 402, LEVEL, 7), Speaks.OPENAI)
    assert body["error"] == {
        "message": body["detail"],
        "type": "insufficient_quota",
        "param": None,
        "code": "budget_insufficient",
    }
    assert body["reason"] == "budget_insufficient"


def test_anthropic_clients_find_their_error_beside_the_facts() -> None:
    body, _ = rendered(Denied(Reason.BUDGET_INSUFFICIENT, 402, LEVEL, 7), Speaks.ANTHROPIC)
    assert body["type"] == "error"
    assert body["error"] == {"type": "billing_error", "message": body["detail"]}
    assert body["request_id"] == "abc"
    assert body["problem_type"] == "urn:spendgate:problem:budget_insufficient"


def test_google_clients_find_their_error_beside_the_facts() -> None:
    body, _ = rendered(Denied(Reason.BUDGET_STOPPED, 503, LEVEL), Speaks.GOOGLE)
    assert body["error"] == {"code": 503, "message": body["detail"], "status": "UNAVAILABLE"}


@pytest.mark.parametrize(("status", "header"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
def test_an_unknown_caller_is_told_how_to_introduce_itself(status: int, header: str) -> None:
    _, headers = rendered(Denied(Reason.UNKNOWN_CALLER, status))
    assert "spendgate" in headers[header]


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_reason_has_a_title_and_a_sentence(reason: Reason, language: str) -> None:
    detail = {"api": "a", "problem": "p.", "method": "GET", "target": "t", "name": "n", "scope": "s", "window": "w"}
    detail |= {"used": "1", "most": "2", "asked": "3", "retry": "4 s"}
    body, _ = rendered(Denied(reason, 400, LEVEL, 1, detail=detail), language=language)
    assert body["title"]
    assert body["detail"].endswith(".")
