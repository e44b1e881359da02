"""run -- COMMAND: the program's environment, its own exit status and signals, and what it cost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.sdks import variables
from proxy.core.model import Caller, RuleSet
from proxy.rules_file import load_text
from tests.cli.conftest import BackgroundSimulator, Spendgate
from tests.harness import RunningProxy, free_port

ROOT = "http://127.0.0.1:8080"
SEARCH = "import os, urllib.request as u; u.urlopen(os.environ['SPENDGATE_URL'] + '/kakao-map/v2/local/x').read()"


def rule_set(apis: str, env: dict[str, str] | None = None, callers: str = "[]") -> RuleSet:
    text = f"version: 1\ncurrency: USD\ntimezone: UTC\ncallers: {callers}\napis:\n{apis}"
    loaded = load_text(text, "rules.yaml", env or {})
    assert loaded.rules is not None, loaded.mistakes
    return loaded.rules


def api(name: str, upstream: str, price: str = "per_request: 1", more: str = "") -> str:
    return f"  - name: {name}\n    upstream: {upstream}\n    prices:\n      - {price}\n{more}"


# --- the environment: values in, values out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "variable", "value"),
    [
        ("https://api.openai.com", "OPENAI_BASE_URL", f"{ROOT}/x/v1"),
        ("https://api.anthropic.com", "ANTHROPIC_BASE_URL", f"{ROOT}/x"),
        ("https://generativelanguage.googleapis.com", "GOOGLE_GEMINI_BASE_URL", f"{ROOT}/x"),
        ("https://team.openai.azure.com", "AZURE_OPENAI_ENDPOINT", f"{ROOT}/x"),
        ("https://api.groq.com", "GROQ_BASE_URL", f"{ROOT}/x"),
        ("https://api.cerebras.ai", "CEREBRAS_BASE_URL", f"{ROOT}/x"),
        ("https://api.together.xyz", "TOGETHER_BASE_URL", f"{ROOT}/x/v1"),
        ("https://api.cohere.com", "CO_API_URL", f"{ROOT}/x"),
    ],
)
def test_each_known_sdk_finds_its_api_behind_the_proxy(upstream: str, variable: str, value: str) -> None:
    changed = variables(rule_set(api("x", upstream)), ROOT, {}).variables
    assert changed[variable] == value
    assert [name for name in changed if name.endswith(("BASE_URL", "ENDPOINT", "API_URL"))] == [variable]


def test_a_base_url_of_the_persons_own_is_led_through_the_proxy_when_a_rule_covers_it() -> None:
    rules = rule_set(api("router", "https://openrouter.ai/api", more="    hosts: [openrouter.ai]\n"))
    environ = {"OPENAI_BASE_URL": "https://openrouter.ai/api/v1"}
    change = variables(rules, ROOT, environ)
    assert change.variables["OPENAI_BASE_URL"] == f"{ROOT}/router/v1"
    assert change.kept == ()


def test_a_base_url_without_a_rule_stays_and_is_named() -> None:
    rules = rule_set(api("openai", "https://api.openai.com"))
    change = variables(rules, ROOT, {"OPENAI_BASE_URL": "http://localhost:11434/v1"})
    assert "OPENAI_BASE_URL" not in change.variables
    assert change.kept == (("OPENAI_BASE_URL", "http://localhost:11434/v1"),)


def test_https_goes_through_the_proxy_only_where_a_tunnel_has_a_price() -> None:
    without = variables(rule_set(api("x", "https://x.example.com")), ROOT, {})
    assert without.variables["HTTP_PROXY"] == without.variables["http_proxy"] == ROOT
    assert "HTTPS_PROXY" not in without.variables
    for price in ("{match: {method: CONNECT}, per_connection: 1}", "{match: {method: CONNECT}, free: true}"):
        changed = variables(rule_set(api("x", "https://x.example.com", price)), ROOT, {}).variables
        assert changed["HTTPS_PROXY"] == changed["https_proxy"] == ROOT


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "localhost,127.0.0.1,::1"),
        ("internal.example.com", "internal.example.com,localhost,127.0.0.1,::1"),
        ("127.0.0.1, localhost", "127.0.0.1,localhost,::1"),
    ],
)
def test_loopback_is_never_led_through_the_proxy(before: str, after: str) -> None:
    changed = variables(rule_set(api("x", "https://x.example.com")), ROOT, {"NO_PROXY": before}).variables
    assert changed["NO_PROXY"] == changed["no_proxy"] == after


def test_an_sdk_gets_a_placeholder_key_where_the_rules_hold_the_real_one() -> None:
    credentials = '    credentials: {header: Authorization, value: "Bearer ${KEY}"}\n'
    rules = rule_set(api("openai", "https://api.openai.com", more=credentials), {"KEY": "real"})
    assert variables(rules, ROOT, {}).variables["OPENAI_API_KEY"] == "kept-by-spendgate"
    assert "OPENAI_API_KEY" not in variables(rules, ROOT, {"OPENAI_API_KEY": "own"}).variables


def test_a_caller_shows_its_virtual_key_everywhere() -> None:
    rules = rule_set(api("openai", "https://api.openai.com"))
    changed = variables(rules, ROOT, {"OPENAI_API_KEY": "real"}, Caller("batch", "virtual")).variables
    assert changed["OPENAI_API_KEY"] == "virtual"
    assert changed["HTTP_PROXY"] == "http://batch:virtual@127.0.0.1:8080"


# --- the program ------------------------------------------------------------------------------------------------------


def where(proxy: RunningProxy) -> tuple[str, ...]:
    return ("--rules", str(proxy.rules), "--data", str(proxy.data), "--listen", f"127.0.0.1:{proxy.port}")


def test_a_running_proxy_is_used_and_the_cost_is_told(proxy: RunningProxy, spendgate: Spendgate) -> None:
    program = f"{SEARCH}; print(os.environ['SPENDGATE_URL'], os.environ['OPENAI_BASE_URL'])"
    done = spendgate("run", *where(proxy), "--", sys.executable, "-c", program)
    assert done.returncode == 0
    assert done.stdout == f"{proxy.url} {proxy.url}/openai/v1\n"
    assert done.stderr.splitlines()[0] == "spendgate: 1 call cost 0.5 KRW"
    assert "monthly" in done.stderr


def test_calls_before_the_run_are_not_its_cost(proxy: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("run", *where(proxy), "--", "true", LANG="ko_KR.UTF-8")
    assert (done.returncode, done.stderr) == (0, "spendgate: 실행하는 동안 집계된 호출이 없습니다.\n")


def test_a_proxy_is_started_for_the_run_and_stopped_after_it(rules: str, tmp_path: Path, spendgate: Spendgate) -> None:
    (tmp_path / "rules.yaml").write_text(rules)
    port = free_port()
    done = spendgate(
        "run", "--data", "data", "--listen", f"127.0.0.1:{port}", "--", sys.executable, "-c", SEARCH + ";print('done')"
    )
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "1 call cost 0.5 KRW" in done.stderr
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))
    budgets = json.loads(spendgate("status", "--json", "--data", "data").stdout)["budgets"]
    assert {budget["name"]: budget["spent"] for budget in budgets}["tiny"] == "0.5"


def test_an_address_that_somebody_else_has_is_left_to_them(
    rules: str, tmp_path: Path, spendgate: Spendgate, simulator: BackgroundSimulator
) -> None:
    (tmp_path / "rules.yaml").write_text(rules)
    taken = simulator.urls[0].removeprefix("http://")
    program = f"{SEARCH};print(os.environ['SPENDGATE_URL'])"
    done = spendgate("run", "--data", "data", "--listen", taken, "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert taken not in done.stdout
    assert "1 call cost 0.5 KRW" in done.stderr


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        (["sh", "-c", "exit 42"], 42, ""),
        (["sh", "-c", "kill -KILL $$"], 137, ""),
        (["no-such-program"], 127, "there is no command no-such-program"),
        (["/etc/passwd"], 126, "cannot run /etc/passwd"),
    ],
)
def test_the_exit_status_is_the_programs_own(
    program: list[str], code: int, words: str, proxy: RunningProxy, spendgate: Spendgate
) -> None:
    done = spendgate("run", *where(proxy), "--", *program)
    assert done.returncode == code
    assert words in done.stderr


@pytest.mark.parametrize("given", [["--rules", "none.yaml"], ["--caller", "nobody"]])
def test_a_failure_of_spendgate_itself_is_125(given: list[str], proxy: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("run", *where(proxy), *given, "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith("spendgate: ")


def test_options_of_the_program_stay_with_the_program(proxy: RunningProxy, spendgate: Spendgate) -> None:
    done = spendgate("run", *where(proxy), "--", "echo", "--lang", "ko", "--help", "-n")
    assert done.stdout == "--lang ko --help -n\n"
    assert "no call was counted" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_reach_the_program(number: signal.Signals, proxy: RunningProxy, tmp_path: Path) -> None:
    program = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(33))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "run", *where(proxy), "--", sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(20) == 33
    process.stdout.close()


def test_node_reaches_the_api_by_the_base_url(proxy: RunningProxy, spendgate: Spendgate) -> None:
    program = "fetch(process.env.OPENAI_BASE_URL + '/models').then(a => console.log(a.status))"
    done = spendgate("run", *where(proxy), "--", "node", "-e", program)
    assert done.stdout == "200\n", done.stderr


def test_the_openai_sdk_needs_no_code_change(proxy: RunningProxy, spendgate: Spendgate) -> None:
    program = (
        "from openai import OpenAI\n"
        "said = OpenAI(api_key='any').chat.completions.create(\n"
        "    model='gpt-4o-mini', messages=[{'role': 'user', 'content': 'Hi'}], max_tokens=5)\n"
        "print(said.usage.completion_tokens)\n"
    )
    done = spendgate("run", *where(proxy), "--", sys.executable, "-c", program)
    assert done.stdout == "5\n", done.stderr
    assert "1 call cost " in done.stderr


def test_a_caller_pays_with_its_virtual_key(rules: str, tmp_path: Path, spendgate: Spendgate) -> None:
    (tmp_path / "rules.yaml").write_text(f"{rules}callers:\n  - {{name: batch, key_env: BATCH_KEY}}\n")
    program = (
        "import os, urllib.request as u\n"
        "url = os.environ['OPENAI_BASE_URL'] + '/models'\n"
        "key = {'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']}\n"
        "print(u.urlopen(u.Request(url, headers=key)).status)\n"
    )
    given = ("--data", "data", "--listen", f"127.0.0.1:{free_port()}")
    done = spendgate(
        "run",
        *given,
        "--caller",
        "batch",
        "--",
        sys.executable,
        "-c",
        program,
        BATCH_KEY="virtual",
        OPENAI_API_KEY="real",
    )
    assert done.stdout == "200\n", done.stderr
    assert done.stderr.splitlines()[0] == "spendgate: 1 call cost 0 KRW"
    done = spendgate("run", *given, "--", "true", BATCH_KEY="virtual")
    assert done.returncode == 125
    assert "--caller (batch)" in done.stderr
