"""run -- COMMAND over HTTPS: unmodified programs trust our authority and are priced call by call."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import sdks
from proxy.cli.trust import ADDITIONAL, WHOLE_BUNDLES
from tests.certificates import TestAuthority
from tests.cli.test_run import rule_set
from tests.e2e.backend import Backend, Reply, Seen, answer_chat, chat_events, message_answer, running_backend
from tests.e2e.stores import alive, embedded_url, server_pid
from tests.e2e.support import eventually
from tests.harness import ROOT, RunningProxy, free_port, running_proxy

HOST = "127.0.0.20"  # loopback that NO_PROXY does not name
RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
budgets:
  - {{name: monthly, limit: 15000, period: month}}
apis:
  - name: llm
    upstream: https://{host}:{port}
    intercept: true
    upstream_ca: test-ca.pem
    prices:
      - {{match: {{path: /v1/chat/**}}, catalog: openai}}
      - {{match: {{path: /v1/messages}}, catalog: anthropic}}
      - {{match: {{path: /model/**}}, catalog: aws}}
      - {{match: {{path: /plain}}, per_request: 3}}
"""
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 8, "outputTokens": 3, "totalTokens": 11},
    "metrics": {"latencyMs": 5},
}


async def answer(seen: Seen, reply: Reply) -> None:
    if seen.target == "/v1/messages":
        await reply.json(message_answer("claude-sonnet-4-6", {"input_tokens": 9, "output_tokens": 4}))
    elif seen.target.startswith("/model/"):
        await reply.json(CONVERSED)
    elif b'"stream":true' in seen.body.replace(b" ", b""):
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        await reply.events(*chat_events(["Hel", "lo"], usage))
    else:
        await answer_chat(seen, reply)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[Backend]:
    with running_backend(HOST, TestAuthority(folder).server(HOST)) as running:
        running.answer = answer
        yield running


@pytest.fixture(scope="module")
def proxy(backend: Backend, folder: Path) -> Iterator[RunningProxy]:
    with running_proxy(RULES.format(host=HOST, port=backend.port), folder) as running:
        yield running


def spendgate_run(
    folder: Path, data: Path, port: int, *program: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SPENDGATE_", "OPENAI_", "LC_"))}
    return subprocess.run(
        [sys.executable, "-m", "proxy", "run", "--rules", str(folder / "rules.yaml"), "--data", str(data), "--listen",
         f"127.0.0.1:{port}", "--", *program],
        env={**clean, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(proxy: RunningProxy, backend: Backend, folder: Path) -> subprocess.CompletedProcess[str]:
    """All programs, in one run."""
    url = f"https://{HOST}:{backend.port}"
    script = (
        f"{shlex.quote(sys.executable)} {ROOT / 'tests/cli/programs/clients.py'} {url}\n"
        f'said=$(curl -sS {url}/plain)\necho "{{\\"client\\": \\"curl\\", \\"said\\": $said}}"\n'
        f"node {ROOT / 'tests/node/https.mjs'} {url}\n"
    )
    return spendgate_run(folder, proxy.data, proxy.port, "sh", "-c", script)


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("requests", 10),
        ("httpx", 10),
        ("aiohttp", 10),
        ("urllib", 10),
        ("openai", 10),
        ("openai_stream", "Hello"),
        ("anthropic", 4),
        ("boto3", 3),
        ("curl", {"ok": True}),
        ("node_fetch", 10),
        ("node_https", 10),
        ("node_openai", 10),
    ],
)
def test_an_unmodified_program_reaches_the_api_through_the_interception(
    client: str, said: Any, ran: subprocess.CompletedProcess[str]
) -> None:
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line["said"] for line in found if line["client"] == client] == [said], ran.stderr[-3000:]


def test_every_call_is_in_the_ledger_with_its_price(
    ran: subprocess.CompletedProcess[str], proxy: RunningProxy, backend: Backend
) -> None:
    rows = proxy.ledger("--last", "50")
    assert len(rows) == len(backend.requests) == 12
    assert {row["method"] for row in rows} == {"GET", "POST"}
    assert {row["state"] for row in rows} == {"settled"}
    assert all(Decimal(row["cost"]) > 0 for row in rows)


def test_the_receipt_tells_what_it_cost_by_api(ran: subprocess.CompletedProcess[str]) -> None:
    lines = ran.stderr.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("spendgate: 12 calls cost "))
    assert lines[first + 1].startswith("  llm  12 calls, ")


# --- the environment --------------------------------------------------------------------------------------------------


def test_every_ecosystems_variable_is_set(proxy: RunningProxy, folder: Path) -> None:
    done = spendgate_run(folder, proxy.data, proxy.port, "env", NODE_OPTIONS="--max-old-space-size=500")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    ours = (proxy.data / "ca" / "ca.pem").read_text()
    for name in (*WHOLE_BUNDLES, *ADDITIONAL):
        assert ours in Path(found[name]).read_text(), name
    assert found["HTTPS_PROXY"] == found["https_proxy"] == found["HTTP_PROXY"] == proxy.url
    assert found["NODE_OPTIONS"] == f"--max-old-space-size=500 --require={sdks.PRELOAD}"


def test_without_interception_nothing_is_to_be_trusted() -> None:
    changed = sdks.variables(
        rule_set("  - name: x\n    upstream: https://x.test\n    prices: [{per_request: 1}]\n"), "", {}
    )
    assert "HTTPS_PROXY" not in changed.variables
    assert not set(WHOLE_BUNDLES) & set(changed.variables)


def test_node_goes_directly_where_it_should(proxy: RunningProxy, backend: Backend, folder: Path) -> None:
    program = (
        "fetch(process.argv[1]).then(a => a.text()).then(console.log, e => console.log(String(e.cause?.message ?? e)))"
    )
    known = len(backend.requests)
    url = f"https://{HOST}:{backend.port}/plain"
    ca = str(folder / "test-ca.pem")
    done = spendgate_run(
        folder, proxy.data, proxy.port, "sh", "-c",
        f"NODE_EXTRA_CA_CERTS={ca} NO_PROXY={HOST} no_proxy={HOST} node -e {shlex.quote(program)} {url}",
    )  # fmt: skip
    assert done.stdout == '{"ok": true}\n', done.stderr
    assert "no call was counted" in done.stderr
    assert len(backend.requests) == known + 1


def test_node_is_told_why_a_connection_is_refused(proxy: RunningProxy, folder: Path) -> None:
    program = "fetch('https://unknown.invalid/').catch(e => console.log(e.cause.message))"
    done = spendgate_run(folder, proxy.data, proxy.port, "node", "-e", program)
    assert done.stdout == "the proxy refused the connection to unknown.invalid:443: 403 no_rule\n"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_killed_with_no_warning_it_leaves_no_proxy_behind(backend: Backend, folder: Path, tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "d"
    program = [sys.executable, "-c", "print('ready', flush=True); import time; time.sleep(60)"]
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "run", "--rules", str(folder / "rules.yaml"), "--data", str(data), "--listen",
         f"127.0.0.1:{port}", "--", *program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        store = server_pid(embedded_url(RunningProxy(process, port, 0, folder / "rules.yaml", data, tmp_path)))
        ours = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _serves(int(pid), port)]
        assert ours
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        eventually(lambda: not any(map(alive, [*ours, store])), "the end of the proxy and its store")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the program: it is the person's own, and goes on
        process.stdout.close()


def _serves(pid: int, port: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"serve" in words and f"127.0.0.1:{port}".encode() in words
