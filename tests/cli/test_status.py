"""status, ledger and doctor over a real store: while a proxy runs, when none does, and when nothing ever did."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import termios
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Spendgate
from tests.e2e.stores import PREFIX, connected, embedded_url
from tests.e2e.support import eventually
from tests.harness import ROOT, RunningProxy, free_port, running_proxy

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 5}
STATUS_FIELDS = {
    "name", "period", "currency", "limit", "spent", "reserved", "ratio", "state", "resets_at", "thresholds_crossed",
    "increase", "outlook",
}  # fmt: skip
LEDGER_FIELDS = {
    "id", "at", "api", "rule", "caller", "method", "path", "status", "state", "cost", "currency", "original_cost",
    "original_currency", "fx_rate", "estimate", "usage", "terms",
}  # fmt: skip


def call(proxy: RunningProxy, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, str]]:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{proxy.url}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code, dict(error.headers)


@pytest.fixture(scope="module")
def spent(proxy: RunningProxy) -> RunningProxy:
    """Three calls that passed, the third at the end of its little budget, and two that did not."""
    assert call(proxy, "/openai/v1/chat/completions", CHAT)[0] == 200
    for _ in range(3):
        assert call(proxy, "/kakao-map/v2/local/search/keyword.json")[0] == 200
    assert call(proxy, "/kakao-map/v2/local/search/keyword.json")[0] == 200
    assert call(proxy, "/kakao-map/v2/local/search/keyword.json")[0] == 503
    assert call(proxy, "/openai/v2/nothing")[0] == 403
    return proxy


def where(proxy: RunningProxy) -> tuple[str, ...]:
    return ("--data", str(proxy.data), "--rules", str(proxy.rules))


def test_status_for_programs_has_the_promised_fields(spent: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("status", "--json", *where(spent))
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    monthly, tiny = document["budgets"]
    assert set(monthly) == STATUS_FIELDS
    assert (tiny["name"], tiny["currency"], tiny["limit"], tiny["spent"], tiny["reserved"]) == (
        "tiny", "KRW", "2", "2", "0",
    )  # fmt: skip
    assert (tiny["ratio"], tiny["state"], tiny["thresholds_crossed"]) == (1.0, "stopped", [70, 80, 90, 95, 100])
    # 6 input tokens at 0.15 and 5 output tokens at 0.60 US dollars a million, at 1390, and four searches.
    assert Decimal(monthly["spent"]) == Decimal("0.0000039") * 1390 + 2
    assert (monthly["state"], monthly["thresholds_crossed"]) == ("ok", [])
    projection = monthly["outlook"]["projection"]
    assert Decimal(projection["expected"]) >= Decimal(monthly["spent"])
    assert projection["made_by"] in ("pace", "daily_average", "ensemble")
    assert [one["percent"] for one in monthly["outlook"]["thresholds"]] == ["70", "80", "90", "95", "100"]
    assert monthly["resets_at"].endswith("T00:00:00.000+09:00")
    apis = {api["name"]: api for api in document["apis"]}
    assert (apis["kakao-map"]["month"]["calls"], apis["kakao-map"]["today"]["cost"]) == (4, "2")
    assert len(document["rules"]["hash"]) == 12
    assert document["rules"]["errors"] == []
    assert document["rules"]["loaded_at"]
    assert document["store"]["reachable"] is True
    assert [info["listen"] for info in document["proxies"]] == [f"127.0.0.1:{spent.port}"]


def test_the_leaders_status_from_before_the_last_calls_is_not_shown_as_the_end(
    spent: RunningProxy, spendgate: Spendgate
) -> None:
    with connected(embedded_url(spent)) as store:
        key = f"{PREFIX}status:monthly"
        before = json.loads(eventually(lambda: store.hget(key, "document"), "the leader's status"))
        before["projection"]["expected"] = "0"
        store.hset(key, mapping={"document": json.dumps(before), "refreshed_ms": int(store.time()[0]) * 1000})
    monthly = json.loads(spendgate("status", "--json", *where(spent)).stdout)["budgets"][0]
    assert Decimal(monthly["outlook"]["projection"]["expected"]) >= Decimal(monthly["spent"]) > 0


@pytest.mark.parametrize(
    ("language", "words"), [("en", ["stopped", "Budgets", "resets"]), ("ko", ["중단", "예산", "초기화", "2원 / 2원"])]
)
def test_status_for_people_fits_on_the_screen(
    language: str, words: list[str], spent: RunningProxy, spendgate: Spendgate
) -> None:
    done = spendgate("status", "--lang", language, *where(spent), COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    for word in [*words, "tiny", "100.0 %", "kakao-map", f"127.0.0.1:{spent.port}"]:
        assert word in done.stdout
    assert "\x1b" not in done.stdout


def test_the_ledger_has_a_line_a_call_the_newest_first(spent: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("ledger", "--json", *where(spent))
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["rule"] for row in rows] == ["kakao-map/search"] * 4 + ["openai/generation"]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    for row in rows:
        assert set(row) >= LEDGER_FIELDS
        assert row["state"] == "settled"
    chat = rows[-1]
    assert (chat["method"], chat["path"], chat["status"]) == ("POST", "/v1/chat/completions", 200)
    assert Decimal(chat["original_cost"]) == Decimal("0.0000039")
    assert sum(Decimal(term["amount"]) for term in chat["terms"]) == Decimal("0.0000039")
    assert (chat["usage"]["input_tokens"], chat["usage"]["output_tokens"]) == (6, 5)
    assert Decimal(chat["fx_rate"]) == 1390
    last = spendgate("ledger", "--json", "--last", "1", *where(spent)).stdout.splitlines()
    assert [json.loads(line)["id"] for line in last] == [rows[0]["id"]]


def test_an_answers_id_finds_its_entry(spent: RunningProxy, spendgate: Spendgate) -> None:
    status, headers = call(spent, "/openai/v1/models")
    assert status == 200
    call_id = headers["X-Spendgate-Request-Id"]
    done = spendgate("ledger", "--json", "--id", call_id, *where(spent))
    entry = json.loads(done.stdout)
    assert (entry["id"], entry["rule"], entry["cost"]) == (call_id, "openai/models", "0")
    for unknown in ("0" * 28, "nonsense"):
        done = spendgate("ledger", "--id", unknown, *where(spent))
        assert done.returncode == 1
        assert unknown in done.stderr


def test_the_ledger_for_people_is_a_table(spent: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("ledger", "--last", "4", *where(spent), COLUMNS="100")
    assert done.returncode == 0
    assert "kakao-map/search" in done.stdout
    assert "0.5 KRW" in done.stdout
    assert "settled" in done.stdout
    done = spendgate("ledger", "--last", "none", *where(spent))
    assert done.returncode == 2


def test_doctor_finds_a_sound_house(spent: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("doctor", "--json", *where(spent))
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["healthy"] is True
    assert "counters_ok" in {finding["check"] for finding in document["findings"]}
    for finding in document["findings"]:
        assert set(finding) == {"check", "severity", "text", "remedy", "values"}
    for language, words in (("en", "Everything adds up."), ("ko", "모두 맞습니다.")):
        done = spendgate("doctor", "--lang", language, *where(spent))
        assert done.returncode == 0
        assert words in done.stdout


def test_a_broken_file_is_told_while_the_old_rules_go_on(rules: str, tmp_path: Path, spendgate: Spendgate) -> None:
    with running_proxy(rules, tmp_path / "p") as proxy:
        assert call(proxy, "/kakao-map/v2/local/x")[0] == 200
        proxy.rules.write_text(rules.replace("per_request", "per_requst"))
        done = spendgate("status", "--json", *where(proxy))
        document = json.loads(done.stdout)
        assert done.returncode == 0
        assert document["rules"]["hash"] is None
        assert any("per_requst" in error for error in document["rules"]["errors"])
        budgets = {budget["name"]: budget for budget in document["budgets"]}
        assert budgets["tiny"]["spent"] == "0.5"
        assert set(budgets["tiny"]) == STATUS_FIELDS
        assert "per_requst" in spendgate("status", *where(proxy)).stdout
        assert spendgate("doctor", *where(proxy)).returncode == 1
        assert call(proxy, "/kakao-map/v2/local/x")[0] == 200


def test_the_counters_are_there_when_no_proxy_runs(rules: str, tmp_path: Path, spendgate: Spendgate) -> None:
    with running_proxy(rules, tmp_path / "p") as proxy:
        assert call(proxy, "/kakao-map/v2/local/x")[0] == 200
    done = spendgate("status", "--json", *where(proxy))
    document = json.loads(done.stdout)
    assert {budget["name"]: budget["spent"] for budget in document["budgets"]}["tiny"] == "0.5"
    assert document["proxies"] == []
    assert len(spendgate("ledger", "--json", *where(proxy)).stdout.splitlines()) == 1
    assert spendgate("doctor", *where(proxy)).returncode == 0
    assert "no proxy is running" in spendgate("status", *where(proxy)).stdout


def test_before_the_first_call_everything_is_zero_and_nothing_is_made(
    rules: str, tmp_path: Path, spendgate: Spendgate
) -> None:
    (tmp_path / "rules.yaml").write_text(rules)
    document = json.loads(spendgate("status", "--json", "--data", "none").stdout)
    assert {budget["spent"] for budget in document["budgets"]} == {"0"}
    assert document["store"]["reachable"] is False
    assert spendgate("ledger", "--json", "--data", "none").stdout == ""
    assert spendgate("doctor", "--data", "none").returncode == 3
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["status", "ledger", "doctor"])
def test_a_store_that_is_away_is_its_own_exit_code(name: str, rules: str, tmp_path: Path, spendgate: Spendgate) -> None:
    (tmp_path / "rules.yaml").write_text(rules)
    done = spendgate(name, "--redis", f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stdout + done.stderr


# --- kept on the screen -----------------------------------------------------------------------------------------------


def watched(spent: RunningProxy, rows: int, until: bytes) -> tuple[bytes, int]:
    """What `status --watch` draws on a terminal of 80 columns until these words come, and how it ends on Ctrl-C."""
    ours, its = os.openpty()
    termios.tcsetwinsize(ours, (rows, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "status", "--watch", "--lang", "en", *where(spent)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    drawn = b""
    try:
        while until not in drawn:
            assert select.select([ours], [], [], 30)[0], drawn
            drawn += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # how Linux tells that the other side has closed
                break
            drawn += more
        return drawn, process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_watched_status_is_drawn_on_a_screen_of_its_own_until_ctrl_c(spent: RunningProxy) -> None:
    drawn, code = watched(spent, 60, b"Ctrl-C ends")
    assert code == 130
    assert b"tiny" in drawn
    assert b"Store" in drawn
    assert drawn.index(b"\x1b[?1049h") < drawn.index(b"Budgets") < drawn.rindex(b"\x1b[?1049l")
    assert drawn.rstrip().endswith(b"\x1b[?25h\x1b[?1049l"), "the cursor is back, and nothing is said after it"


def test_what_does_not_fit_on_a_small_screen_is_told(spent: RunningProxy) -> None:
    drawn, code = watched(spent, 8, b"Enlarge the window")
    assert code == 130
    first = drawn.split(b"Enlarge the window")[0]
    assert first.count(b"\n") <= 8
    assert b"Store" not in first


def test_a_watched_status_in_a_pipe_is_a_page_a_second(spent: RunningProxy) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "status", "--watch", "--lang", "en", *where(spent)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    pages = 0
    for line in process.stdout:
        pages += b"Budgets" in line
        if pages == 2:
            break
    process.send_signal(signal.SIGINT)
    assert b"\x1b" not in process.communicate(timeout=10)[0]
    assert process.returncode == 130
