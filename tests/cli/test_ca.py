"""ca: what is made, told, and handed to shells and trust stores; check: what will be intercepted."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from proxy.cli.trust import ADDITIONAL, WHOLE_BUNDLES
from tests.cli.conftest import Spendgate

RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
budgets: [{name: monthly, limit: 15000}]
apis:
  - name: llm
    upstream: https://llm.example.com
    hosts: [llm.example.com, "*.eu.example.com"]
    intercept: true
    on_pinned: tunnel
    prices:
      - {name: tunnel, match: {method: CONNECT}, per_connection: 1}
      - {per_request: 1}
  - name: other
    upstream: https://other.example.com
    prices: [{per_request: 1}]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def test_the_authority_is_made_shown_and_kept(rules: Path, quick: Spendgate) -> None:
    none = quick("ca", "show", "--data", "d")
    assert (none.returncode, none.stdout) == (1, "")
    assert "spendgate ca init" in none.stderr
    made = quick("ca", "init", "--data", "d")
    assert made.returncode == 0
    assert "must be trusted by the programs that call eu.example.com, llm.example.com" in made.stdout
    shown = json.loads(quick("ca", "show", "--data", "d", "--json").stdout)
    assert shown["signs_for"] == shown["rules_intercept"] == ["eu.example.com", "llm.example.com"]
    kept = quick("ca", "init", "--data", "d").stdout
    assert shown["fingerprint"] in kept
    assert "must be trusted" not in kept


def test_other_hosts_say_who_must_trust_anew(rules: Path, quick: Spendgate) -> None:
    quick("ca", "init", "--data", "d")
    rules.write_text(RULES.replace("*.eu.example.com", "new.example.com"))
    assert "the rules want now" in quick("ca", "show", "--data", "d").stdout
    changed = quick("ca", "init", "--data", "d").stdout
    assert "only programs that call new.example.com must trust it anew" in changed
    assert "no longer signs for eu.example.com" in changed


def test_a_rotation_changes_the_fingerprint(rules: Path, quick: Spendgate) -> None:
    quick("ca", "init", "--data", "d")
    before = json.loads(quick("ca", "show", "--data", "d", "--json").stdout)
    assert "Everything that trusted the old" in quick("ca", "rotate", "--data", "d").stdout
    after = json.loads(quick("ca", "show", "--data", "d", "--json").stdout)
    assert before["fingerprint"] != after["fingerprint"]


def test_a_shell_gets_every_variable(rules: Path, tmp_path: Path, quick: Spendgate) -> None:
    corporate = tmp_path / "corporate.pem"
    corporate.write_text("corporate roots\n")
    done = quick("ca", "env", "--data", "d", REQUESTS_CA_BUNDLE=str(corporate))
    lines = dict(shlex.split(line)[1].split("=", 1) for line in done.stdout.splitlines())
    assert set(lines) == {*WHOLE_BUNDLES, *ADDITIONAL}
    ours = (tmp_path / "d/ca/ca.pem").read_text()
    for name, file in lines.items():
        assert Path(file).is_absolute()
        assert ours in Path(file).read_text(), name
    assert Path(lines["REQUESTS_CA_BUNDLE"]).read_text() == f"corporate roots\n{ours}"
    assert lines["NODE_EXTRA_CA_CERTS"] == str(tmp_path / "d/ca/ca.pem")
    read = subprocess.run(
        ["sh", "-c", done.stdout + 'echo "$SSL_CERT_FILE"'], capture_output=True, text=True, check=True
    )
    assert read.stdout.strip() == lines["SSL_CERT_FILE"]


def test_it_is_installed_into_a_folder_of_roots(rules: Path, tmp_path: Path, quick: Spendgate) -> None:
    (tmp_path / "roots").mkdir()
    done = quick("ca", "install", "--data", "d", "--folder", "roots")
    assert done.returncode == 0
    assert (tmp_path / "roots/spendgate.crt").read_text() == (tmp_path / "d/ca/ca.pem").read_text()


def test_a_key_that_others_can_read_is_not_used(rules: Path, tmp_path: Path, quick: Spendgate) -> None:
    quick("ca", "init", "--data", "d")
    (tmp_path / "d/ca/ca.key").chmod(0o644)
    done = quick("ca", "init", "--data", "d")
    assert done.returncode == 2
    assert "others on this machine can read the key" in done.stderr


def test_without_interception_nothing_is_made(rules: Path, tmp_path: Path, quick: Spendgate) -> None:
    rules.write_text(RULES.replace("    intercept: true\n    on_pinned: tunnel\n", ""))
    for action in ("init", "env", "install", "rotate"):
        done = quick("ca", action, "--data", "d")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no API in rules.yaml asks to be intercepted" in done.stderr
    assert not (tmp_path / "d").exists()


def test_check_tells_what_will_be_intercepted(rules: Path, quick: Spendgate) -> None:
    told = quick("check").stdout
    assert "llm.example.com, *.eu.example.com (llm)" in told
    assert "tunnels of rule llm/tunnel" in told
    assert "other.example.com" not in told
    document = json.loads(quick("check", "--json").stdout)
    assert document["intercepts"] == [
        {"api": "llm", "hosts": ["llm.example.com", "*.eu.example.com"], "on_pinned": "tunnel"}
    ]
