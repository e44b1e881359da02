"""What the documents say is done and compared: commands are run, rules are checked, tables are held against the code.

A fence says what it is by its info string:

    sh run [proxy] [new]   every line is run, in a folder with rules.yaml and sample calls, and must end with 0
                           (`proxy`: while one runs and has been used; `new`: in an empty folder)
    sh make                lines are `make TARGET`, and the Makefile has them
    sh                     shown only, but its commands and options exist
    yaml rules | top | apis | prices    a whole rules file, or that part of one, without a mistake or a warning
    yaml mistake, text mistake          a file with mistakes, and what `check` prints of it
    json status | refusal               the very fields that the command or the proxy gives
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from proxy import settings
from proxy.cli.app import COMMANDS, main
from proxy.cli.frame import Exit
from proxy.cli.init import template
from proxy.core import denial, money
from proxy.core.model import Denied, Level, Reason, State
from proxy.rules_file import Loaded, load_text
from tests import nursery
from tests.cli.conftest import BackgroundSimulator, proxy, rules, simulator  # noqa: F401 - fixtures
from tests.harness import RunningProxy

ROOT = Path(__file__).resolve().parent.parent
OURS = (
    "README.md",
    "docs/README.ko.md",
    "docs/cli.md",
    "docs/control.md",
    "docs/rules.md",
    "docs/wire.md",
    "docs/https.md",
    "docs/python.md",
    "docs/alerts.md",
    "docs/emergency.md",
    "docs/interfaces.md",
    "docs/forecast.md",
    "docs/limits.md",
)
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    file: str
    line: int
    info: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def fences(*kinds: str) -> Iterator[Fence]:
    for file in OURS:
        content = (ROOT / file).read_text(encoding="utf-8")
        for found in FENCE.finditer(content):
            info = tuple(found[1].split())
            if info[: len(kinds)] == kinds:
                yield Fence(file, content[: found.start()].count("\n") + 1, info, found[2])


def each(*kinds: str) -> pytest.MarkDecorator:
    found = list(fences(*kinds))
    assert found, kinds
    return pytest.mark.parametrize("fence", found, ids=str)


def read(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


# --- commands ---------------------------------------------------------------------------------------------------------

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
SAID = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9},
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with `spendgate` and `python`, as an installed environment has them."""
    folder = tmp_path_factory.mktemp("bin")
    nursery.shim(folder / "spendgate")
    (folder / "python").write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable])} "$@"\n')
    (folder / "python").chmod(0o755)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """rules.yaml and one call in the forms that the documents name."""
    (tmp_path / "rules.yaml").write_text(template("en"), encoding="utf-8")
    url = "https://api.openai.com/v1/chat/completions"
    head = "POST /v1/chat/completions HTTP/1.1\nHost: api.openai.com\nContent-Type: application/json\n\n"
    (tmp_path / "request.http").write_text(head + json.dumps(CHAT))
    (tmp_path / "response.http").write_text("HTTP/1.1 200 OK\nContent-Type: application/json\n\n" + json.dumps(SAID))
    (tmp_path / "request.json").write_text(json.dumps({"method": "POST", "url": url, "headers": {}, "body": CHAT}))
    exchange = {
        "host": "api.openai.com",
        "method": "POST",
        "path": "/v1/chat/completions",
        "request_headers": {},
        "request_body": json.dumps(CHAT),
        "status": 200,
        "response_headers": {},
        "response_body": base64.b64encode(json.dumps(SAID).encode()).decode(),
        "response_body_encoding": "base64",
    }
    (tmp_path / "exchange.json").write_text(json.dumps(exchange))
    return tmp_path


def bash(text: str, cwd: Path, programs: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPENDGATE_", "LC_", "OPENAI_")) and name not in {"LANG", "REDIS_URL"}
    }
    path = f"{programs}{os.pathsep}{clean['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=cwd,
        env={
            **clean,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "NURSERY_DOOR": str(nursery.door()),
            **environ,
        },
        pass_fds=[nursery.door()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def used(proxy: RunningProxy) -> RunningProxy:  # noqa: F811
    """A proxy through which a call has gone."""
    with urllib.request.urlopen(f"{proxy.url}/kakao-map/v2/local/x", timeout=10) as answer:
        assert answer.status == 200
    return proxy


def beside(used: RunningProxy) -> dict[str, str]:
    return {
        "SPENDGATE_RULES": str(used.rules),
        "SPENDGATE_DATA": str(used.data),
        "SPENDGATE_LISTEN": f"127.0.0.1:{used.port}",
        "OPENAI_API_KEY": "any",
    }


def with_port(text: str, used: RunningProxy) -> str:
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{used.port}")


@each("sh", "run")
def test_a_command_of_the_documents_does_what_it_should(
    fence: Fence, folder: Path, used: RunningProxy, programs: Path
) -> None:
    text, environ = fence.text, {}
    if "proxy" in fence.info:
        text, environ = with_port(text, used), beside(used)
    if "new" in fence.info:
        for path in folder.iterdir():
            path.unlink()
    done = bash(text, folder, programs, **environ)
    assert done.returncode == 0, f"{fence}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    if text.lstrip().startswith("curl"):
        assert done.stdout.startswith("HTTP/1.1 200"), done.stdout


def test_the_pasted_base_url_reaches_the_api(folder: Path, used: RunningProxy, programs: Path) -> None:
    lines = [fence.text for fence in fences("sh", "run", "proxy") if "export OPENAI_BASE_URL" in fence.text]
    assert len(lines) == 2
    for line in lines:
        program = 'python -c "from openai import OpenAI; print(OpenAI().models.list().data[0].object)"'
        done = bash(with_port(line, used) + program, folder, programs, **beside(used))
        assert done.stdout == "model\n", done.stderr


def test_the_pasted_proxy_variable_reaches_the_api(
    folder: Path,
    used: RunningProxy,
    programs: Path,
    simulator: BackgroundSimulator,  # noqa: F811
) -> None:
    lines = [fence.text for fence in fences("sh", "run", "proxy") if "export HTTP_PROXY" in fence.text]
    assert len(lines) == 2
    for line in lines:
        url = f"{simulator.urls[1]}/v2/local/x"
        program = f"python -c \"import requests; print('Via' in requests.get('{url}').headers)\""
        done = bash(with_port(line, used) + program, folder, programs, **beside(used))
        assert done.stdout == "True\n", done.stderr


@each("sh", "make")
def test_a_make_target_of_the_documents_exists(fence: Fence) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for line in fence.text.splitlines():
        make, target = line.split()
        assert (make, target in targets) == ("make", True)


def options_of(command: str, capfd: pytest.CaptureFixture[str]) -> set[str]:
    assert main([command, "--help"], {}) == 0
    return set(re.findall(r"(?<!\w)--[a-z][a-z-]*", capfd.readouterr().out))


def test_options_that_documents_name_exist(capfd: pytest.CaptureFixture[str]) -> None:
    known = {name: options_of(name, capfd) for name in COMMANDS}
    for file in OURS:
        for command, rest in re.findall(r"spendgate ([a-z]+)\b([^`\n]*)", read(file)):
            if command in COMMANDS:
                named = set(re.findall(r"(?<!\w)--[a-z][a-z-]*", rest.split(" -- ")[0]))
                assert named <= known[command], f"{file}: spendgate {command}{rest}"


def test_every_command_has_a_chapter() -> None:
    chapters = re.findall(r"^## ([a-z]+)$", read("docs/cli.md"), re.MULTILINE)
    assert sorted(chapters) == sorted(COMMANDS)


def test_the_exit_codes_are_those_of_the_code() -> None:
    table = re.findall(r"^\| (\d+) \|", read("docs/cli.md"), re.MULTILINE)
    assert [int(code) for code in table] == [code.value for code in Exit]


def test_serves_options_variables_and_defaults_are_those_of_the_settings(capfd: pytest.CaptureFixture[str]) -> None:
    rows = re.findall(r"^\| `(--[a-z-]+)[^`]*` \| (`SPENDGATE_[^|]+) \| ([^|]+) \|$", read("docs/cli.md"), re.MULTILINE)
    assert {option for option, _, _ in rows} | {"--lang", "--help"} == options_of("serve", capfd)
    plain = settings.load({"HOME": "/srv/you"})
    for option, variables, default in rows:
        field = {"redis": "redis_url", "lease": "lease_s", "drain": "drain_s"}.get(
            option[2:], option[2:].replace("-", "_")
        )
        value = getattr(plain, field)
        shown = default.strip().strip("`")
        if field == "data":
            assert str(value) == "/srv/you/.local/share/spendgate"
            assert "~/.local/share/spendgate" in shown
        elif value is None:
            assert shown in {"the embedded store", "none: Unix socket only"}
        else:
            assert str(value) in {shown, f"{shown}.0"}
        for variable in re.findall(r"[A-Z_]{8,}", variables):
            sample = {
                "redis_url": "redis://h:1/0",
                "log_format": "json",
                "log_level": "error",
                "listen": "h:1",
                "admin": "h:1",
            }.get(field, "7")
            changed = getattr(settings.load({"HOME": "/srv/you", variable: sample}), field)
            assert changed != value, variable


# --- rules ------------------------------------------------------------------------------------------------------------

HEAD = "version: 1\ncurrency: KRW\ntimezone: Asia/Seoul\n"
USUAL = {
    "fx": "fx: {USD: 1390}\n",
    "budgets": "budgets: [{name: monthly, limit: 15000, period: month}]\n",
    "apis": "apis: [{name: openai, upstream: 'https://api.openai.com', prices: [{per_request: 1}]}]\n",
}
ENVIRONMENT = {"OPENAI_API_KEY": "x", "SPENDGATE_KEY_BATCH": "y", "SPENDGATE_KEY_WEB": "z"}
ENVIRONMENT |= {"SPENDGATE_SLACK_URL": "slack://a/b/c", "SPENDGATE_HOOK_SECRET": "s"}
ENVIRONMENT |= {f"SPENDGATE_TOKEN_{name}": f"token-of-{name}-for-tests" for name in ("GRAFANA", "ONCALL", "CFO")}


def whole(kind: str, text: str) -> str:
    """A rules file around a part of one."""
    if kind == "rules":
        return text
    if kind == "prices":
        prices = textwrap.indent(text, "      ")
        api = "  - name: x\n    upstream: https://x.example.com\n"
        return f"{HEAD}{USUAL['fx']}{USUAL['budgets']}apis:\n{api}    prices:\n{prices}"
    if kind == "apis":
        return f"{HEAD}{USUAL['fx']}{USUAL['budgets']}apis:\n{textwrap.indent(text, '  ')}"
    return (
        HEAD + text + "".join(usual for key, usual in USUAL.items() if not re.search(rf"^{key}:", text, re.MULTILINE))
    )


@each("yaml")
def test_rules_of_the_documents_are_clean(fence: Fence) -> None:
    kind = fence.info[1] if len(fence.info) > 1 else None
    if kind is None or kind == "mistake":
        return
    loaded: Loaded = load_text(whole(kind, fence.text), "rules.yaml", ENVIRONMENT)
    assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
    assert not [warning.render() for warning in loaded.warnings]


def test_a_mistake_is_explained_as_the_documents_show(folder: Path, programs: Path) -> None:
    files, said = list(fences("yaml", "mistake")), list(fences("text", "mistake"))
    assert len(files) == len(said) == 1
    (folder / "rules.yaml").write_text(files[0].text)
    done = bash("spendgate check rules.yaml", folder, programs)
    assert done.returncode == 1
    assert done.stdout == said[0].text


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_shipped_rules_and_the_template_are_clean(language: str) -> None:
    for text in (read("rules.yaml"), template(language)):
        loaded = load_text(text)
        assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
        assert "$schema=" in text.splitlines()[0]
        monthly = loaded.rules.budgets[0]
        assert (monthly.limit_atoms, monthly.currency, monthly.timezone) == (15000 * 10**6, "KRW", "Asia/Seoul")


def test_every_key_of_the_grammar_is_explained() -> None:
    from proxy.rules_schema import json_schema

    text = read("docs/rules.md")
    schema = json_schema()
    keys: set[str] = set(schema["properties"])
    for definition in schema.get("$defs", {}).values():
        keys |= set(definition.get("properties", {}))
    unexplained = {key for key in keys if not re.search(rf"`[^`\n]*\b{key}\b|\b{key}:", text)}
    assert not unexplained


def test_a_receiver_that_follows_the_documents_knows_our_messages_from_others() -> None:
    from proxy.control.notify import signature

    (fence,) = fences("python", "webhook")
    names: dict[str, Any] = {}
    exec(fence.text, names)  # noqa: S102 - what readers paste
    for secret in ("any text", "whsec_" + base64.b64encode(b"raw key").decode()):
        headers = signature(secret, "a1.raised.pager", 1_795_402_800_123, b'{"a": 1}')
        assert names["ours"](secret, headers, b'{"a": 1}')
        assert not names["ours"](secret, headers, b'{"a": 2}')
        assert not names["ours"]("other", headers, b'{"a": 1}')


# --- the wire, and the documents for programs -------------------------------------------------------------------------


def test_the_refusal_in_the_documents_is_the_one_that_is_sent() -> None:
    (fence,) = fences("json", "refusal")
    shown = json.loads(fence.text)

    def atoms(name: str) -> int:
        from decimal import Decimal

        return money.to_atoms(Decimal(shown[name]), shown["currency"])

    resets_ms = int(datetime.fromisoformat(shown["resets_at"]).timestamp() * 1000)
    level = Level(
        shown["budget"],
        shown["period"],
        shown["currency"],
        atoms("limit"),
        atoms("spent"),
        atoms("reserved"),
        resets_ms,
    )
    denied = Denied(Reason(shown["reason"]), shown["status"], level, atoms("estimate"))
    sent = denial.render(
        denied,
        request_id=shown["instance"].rpartition(":")[2],
        now_ms=resets_ms - 86_400_000,
        language="en",
        timezone="Asia/Seoul",
    )
    assert json.loads(sent.body) == shown
    table = re.findall(r"^\| `([A-Z][A-Za-z-]+)` \|", read("docs/wire.md"), re.MULTILINE)
    assert {name for name, _ in sent.headers} - {"Content-Type", "Cache-Control"} <= set(table)


def test_every_reason_is_in_the_table_of_answers() -> None:
    named = set(re.findall(r"\d \| `([a-z_]+)` \|$", read("docs/wire.md"), re.MULTILINE))
    assert named == {reason.value for reason in Reason}


def test_every_header_of_ours_is_explained() -> None:
    text = read("docs/wire.md")
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        if "demo" in path.parts:
            continue
        for name in re.findall(r"X-Spendgate-[A-Za-z-]*[a-z]", path.read_text(encoding="utf-8"), re.IGNORECASE):
            explained = text + read("docs/rules.md")
            assert name.lower() in explained.lower(), f"{path}: {name}"


def test_status_in_the_documents_has_the_fields_that_are_printed(
    used: RunningProxy, folder: Path, programs: Path
) -> None:
    (fence,) = fences("json", "status")
    shown = json.loads(fence.text)
    printed = json.loads(bash("spendgate status --json", folder, programs, **beside(used)).stdout)

    def compare(shown: Any, printed: Any, place: str) -> None:
        if isinstance(shown, dict):
            assert shown.keys() <= printed.keys(), place
            for key, value in shown.items():
                compare(value, printed[key], f"{place}.{key}")
        elif isinstance(shown, list) and shown and printed:
            compare(shown[0], printed[0], f"{place}[]")
        elif shown is not None:
            assert isinstance(printed, type(shown)) or (isinstance(shown, float) and printed == 0), place

    assert shown.keys() == printed.keys()
    compare(shown, printed, "")
    assert shown["budgets"][0].keys() == printed["budgets"][0].keys()


def test_the_ledger_in_the_documents_has_the_fields_that_are_printed(
    used: RunningProxy, folder: Path, programs: Path
) -> None:
    text = read("docs/interfaces.md")
    chapter = text[text.index("## spendgate ledger") : text.index("## spendgate price")]
    named = {
        name for row in re.findall(r"^\| (`[^|]+) \|", chapter, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    printed = json.loads(bash("spendgate ledger --json --last 1", folder, programs, **beside(used)).stdout)
    assert named <= printed.keys()
    assert {state.value for state in State} <= set(re.findall(r"`(\w+)`", chapter))


def test_the_catalogue_has_as_many_providers_as_the_readme_says() -> None:
    from genai_prices.data import providers

    (said,) = re.findall(r"catalogue of (\d+) providers", read("README.md"))
    assert len(providers) >= int(said)
