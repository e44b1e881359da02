"""demo: the whole story, in both languages, to the last won."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest

from proxy.demo import story
from proxy.rules_file import load_text
from tests.cli.conftest import Spendgate


@pytest.mark.parametrize(
    ("pace", "language", "spent", "refused"),
    [
        ([], "en", "1,000 KRW / 1,000 KRW", "10 of 65 calls"),  # with its pauses, as people see it
        (["--fast"], "ko", "1,000원 / 1,000원", "호출 65건 중 10건"),
    ],
)
def test_the_demonstration_spends_all_and_shows_every_refusal(
    pace: list[str], language: str, spent: str, refused: str, spendgate: Spendgate
) -> None:
    # A folder of its own with a short name, as a temporary folder has: sockets live in it.
    with tempfile.TemporaryDirectory() as folder:
        done = spendgate("demo", *pace, "--lang", language, TMPDIR=folder, COLUMNS="80", SPENDGATE_RULES="none")
        left = list(Path(folder).iterdir())
    assert left == []
    assert (done.returncode, done.stderr) == (0, "")
    # Spent by the ledger, billed by the APIs: the same.
    assert spent in done.stdout
    assert len(re.findall("1,000(?: KRW|원)$", done.stdout, re.MULTILINE)) >= 2
    assert "70 %, 80 %, 90 %, 95 %, 100 %" in done.stdout
    assert refused in done.stdout
    for reason in ("no_rule", "budget_insufficient", "budget_busy", "budget_restricted", "budget_stopped"):
        assert len(re.findall(rf"(402|403|503) {reason}", done.stdout)) >= 1
    assert "503 circuit_open" in done.stdout
    assert "429 rate_limited" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_it_half_way_leaves_nothing_behind(number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "demo"],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "no_rule" in line:
                break
        process.send_signal(number)
        said = process.stdout.read()
        assert process.wait(20) in (128 + signal.SIGTERM, 128 + signal.SIGINT), said
        process.stdout.close()
        assert "Traceback" not in said
        assert list(Path(folder).iterdir()) == []


def test_the_plot_adds_up() -> None:
    steps = [*story.opening()]
    for number in range(1, story.ROUNDS + 1):
        steps += story.round_of(number)
    # The last round's stream runs while another call is refused; the driver makes it.
    before = sum((step.cost for step in steps), story.CHAT)
    assert before == Decimal("950.5")
    assert before + sum(step.cost for step in story.restricted()) == story.LIMIT
    assert not sum(step.cost for step in story.stopped())


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_plots_rules_are_clean(language: str) -> None:
    urls = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(("chat", "map", "sms"), 9001)}
    loaded = load_text(story.RULES.format(language=language, **urls))
    assert loaded.rules is not None, loaded.mistakes
    assert not loaded.warnings
