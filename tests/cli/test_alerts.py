"""spendgate alerts without a proxy: testing channels, and what it says when there is nothing or something is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.control.receivers import verified, webhook
from tests.harness import spendgate

RULES = """
version: 1
budgets: [{name: monthly, limit: 15000}]
apis: [{name: a, upstream: "https://a.example.com", prices: [{per_request: 1}]}]
alerts:
  - {name: hook, webhook_env: HOOK, secret_env: SECRET, language: ko}
  - {name: log, log: true}
"""


@pytest.fixture
def flags(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "rules.yaml").write_text(RULES)
    return ("--rules", str(tmp_path / "rules.yaml"), "--data", str(tmp_path / "none"))


async def test_a_test_reaches_every_channel_and_says_so(flags: tuple[str, ...]) -> None:
    async with webhook() as receiver:
        env = {"HOOK": receiver.url, "SECRET": "hidden-secret"}
        done = await asyncio.to_thread(spendgate, "alerts", "test", "--lang", "en", *flags, env=env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["hook (webhook): the test arrived.", "log (log): the test arrived."]
        assert "This message tests the channel log." in done.stderr
        ((headers, body),) = receiver.requests
        assert verified("hidden-secret", headers, body)
        assert "hook 채널을 시험하는 메시지입니다." in body.decode()
        receiver.status = 500
        failed = await asyncio.to_thread(spendgate, "alerts", "test", "hook", "--lang", "en", *flags, env=env)
        assert failed.returncode == 1
        assert failed.stdout == "hook (webhook): the test did not arrive: HTTP 500.\n"
        assert "hidden" not in done.stdout + done.stderr + failed.stdout + failed.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("list",), 0, "Nothing was told yet."),
        (("dead",), 0, "Every alert was delivered or is on its way."),
        (("retry",), 0, "Deliveries that are tried again: 0."),
        (("ack", "a1"), 1, "there is no alert a1."),
        (("ack",), 2, "which alert?"),
        (("test", "nobody"), 2, "rules.yaml has no alert channel “nobody”. There are: hook, log."),
    ],
)
def test_where_nothing_was_told(flags: tuple[str, ...], words: tuple[str, ...], code: int, said: str) -> None:
    env = {"HOOK": "http://127.0.0.1:1/", "SECRET": "s"}
    done = spendgate("alerts", *words, "--lang", "en", *flags, env=env)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
