"""Who calls: virtual keys in every header that an SDK may use."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from proxy.core.identify import ANONYMOUS, Identified, carrying_header, identify, recognise
from proxy.core.model import Caller, Denied, Policy, Reason, RuleSet

BATCH, NIGHTLY = Caller("batch", "sk-batch"), Caller("nightly", "열쇠-nightly")


def rule_set(*callers: Caller, **more: Any) -> RuleSet:
    return replace(
        RuleSet("KRW", "Asia/Seoul", "en", (), Policy.DENY, "deny", (), callers, bool(callers), (), "rules.yaml", "0"),
        **more,
    )


RULES = rule_set(BATCH, NIGHTLY)


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("headers", "forward", "found"),
    [
        ((("authorization", "Bearer sk-batch"),), False, "batch"),
        ((("authorization", "bearer   sk-batch "),), False, "batch"),
        ((("authorization", "Bearer 열쇠-nightly"),), False, "nightly"),
        ((("authorization", basic("sk-batch")),), False, "batch"),
        ((("x-api-key", "sk-batch"),), False, "batch"),
        ((("api-key", "sk-batch"),), False, "batch"),
        ((("x-goog-api-key", "sk-batch"),), False, "batch"),
        ((("x-spendgate-key", "sk-batch"),), False, "batch"),
        ((("x-spendgate-key", "sk-batch"),), True, "batch"),
        ((("x-api-key", "wrong"), ("authorization", "Bearer sk-batch")), False, "batch"),
        ((("proxy-authorization", "Bearer sk-batch"),), True, "batch"),
        ((("proxy-authorization", basic("sk-batch")),), True, "batch"),
        ((("proxy-authorization", basic("anyone", "sk-batch")),), True, "batch"),
        ((("proxy-authorization", "Bearer sk-batch"),), False, None),
        ((("authorization", "Bearer sk-batch"),), True, None),
        ((("authorization", "sk-batch"),), False, None),
        ((("authorization", "Bearer sk-batc"),), False, None),
        ((("authorization", "Bearer sk-batchx"),), False, None),
        ((("authorization", "Bearer "),), False, None),
        ((("authorization", "Basic !!!"),), False, None),
        ((("proxy-authorization", "Basic /w=="),), True, None),
        ((("x-api-key", ""),), False, None),
        ((("x-api-key", "\udcff"),), False, None),
        ((), False, None),
    ],
)
def test_where_a_key_may_stand(headers: tuple[tuple[str, str], ...], forward: bool, found: str | None) -> None:
    who = identify(RULES, headers, forward)
    if found is None:
        assert who == Denied(Reason.UNKNOWN_CALLER, 407 if forward else 401)
    else:
        assert isinstance(who, Caller)
        assert who.name == found


def test_the_header_that_carried_the_key_is_told() -> None:
    headers = (("authorization", "Bearer of-somebody-else"), ("x-spendgate-key", "sk-batch"))
    assert recognise(RULES, headers, False) == Identified(BATCH, "x-spendgate-key")
    assert carrying_header(RULES, headers, False) == "x-spendgate-key"
    assert carrying_header(RULES, (), False) is None


def test_without_callers_everybody_is_anonymous_and_keeps_the_credentials() -> None:
    assert recognise(rule_set(), (("authorization", "Bearer sk-real"),), False) == Identified(ANONYMOUS, None)


def test_keys_may_be_optional() -> None:
    rules = replace(RULES, require_caller=False)
    assert recognise(rules, (("authorization", "Bearer sk-real"),), False) == Identified(ANONYMOUS, None)
    assert recognise(rules, (("authorization", "Bearer sk-batch"),), False) == Identified(BATCH, "authorization")


def test_a_new_rule_set_has_new_keys() -> None:
    for i in range(10):
        rules = rule_set(Caller("batch", f"key-{i}"))
        assert isinstance(identify(rules, (("x-api-key", f"key-{i}"),), False), Caller)
        assert isinstance(identify(rules, (("x-api-key", f"key-{i - 1}"),), False), Denied)


def test_no_key_shows_when_a_caller_is_printed() -> None:
    assert "sk-batch" not in repr(recognise(RULES, (("x-api-key", "sk-batch"),), False))
