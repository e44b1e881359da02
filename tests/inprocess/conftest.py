"""A store, rules, and this process's programs pointed at both; what the ledger and the budgets say afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

import proxy
from proxy.inprocess import host as hosts
from proxy.log import configure_library
from tests.harness import ROOT
from tests.state.conftest import Server, a_server

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {USD: 1390}
budgets:
  - {name: monthly, limit: 15000, period: month}
  - {name: small, limit: 10, period: month, applies_to: {api: small}}
  - {name: crumbs, limit: 1, period: month, applies_to: {api: crumbs}}
apis:
  - name: openai
    upstream: https://api.openai.com
    prices:
      - {name: reading, match: {method: [GET, HEAD, DELETE]}, free: true}
      - {name: models, match: {method: POST, path: /v1/*}, catalog: openai}
  - name: anthropic
    upstream: https://api.anthropic.com
    prices:
      - {match: {method: POST, path: /v1/messages/count_tokens}, free: true}
      - {name: models, match: {method: POST, path: /v1/*}, catalog: anthropic}
  - name: map
    upstream: https://map.example.com
    prices:
      - {name: search, match: {path: /v2/**}, per_request: 2}
  - name: sms
    upstream: https://sms.example.com
    priority: essential
    prices:
      - match: {method: POST, path: /messages}
        per_unit: {price: 9.9, count: "length(request.to) * ceil(len(request.text) / 70)"}
  - name: pages
    upstream: https://pages.example.com
    prices:
      - {name: read, per_unit: {price: 3, count: response.pages, max_count: 100}}
  - name: two
    upstream: https://two.example.com
    prices:
      - {name: cheap, match: {path: /cheap}, per_request: 1}
      - {name: dear, match: {path: /dear}, per_request: 100}
      - {name: own, match: {method: CALL, path: /tests.inprocess.*.translate*}, per_request: 7}
  - name: small
    upstream: https://small.example.com
    prices:
      - {name: call, per_request: 1}
  - name: crumbs
    upstream: https://crumbs.example.com
    on_exhausted: truncate
    estimate: learned
    prices:
      - {name: llm, match: {method: POST}, tokens: {input: 1000, output: 100000}, max_output_tokens: 4}
  - name: guarded
    upstream: https://guarded.example.com
    rate_limits: [3/hour]
    prices:
      - {per_request: 1}
  - name: patient
    upstream: https://patient.example.com
    rate_limits: [1 concurrent]
    wait: 60s
    queue: 200
    prices:
      - {per_request: 1}
  - name: fragile
    upstream: https://fragile.example.com
    breaker: {failures: 50%, of_at_least: 2, window: 60s, open_for: 30s, probes: 1}
    prices:
      - {per_request: 1}
  - name: free
    upstream: https://free.example.com
    prices:
      - {free: true}
"""


@dataclass
class Books:
    """What the store holds after the calls of a test."""

    url: str
    rules: Path
    before: int = field(default_factory=int)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def entries(self) -> list[dict[str, Any]]:
        """The ledger, oldest first, once everything is written."""
        assert proxy.flush() == 0
        return self.written()

    def written(self) -> list[dict[str, Any]]:
        """The ledger as it is now."""
        found: list[dict[str, Any]] = []
        with self.client() as store:
            for key in sorted(store.scan_iter("spendgate:*:ledger:*")):
                found += [fields for _, fields in store.xrange(key)]
        return found

    def only(self) -> dict[str, Any]:
        found = self.entries()
        assert len(found) == 1, found
        return found[0]

    def level(self, budget: str = "monthly") -> dict[str, Decimal]:
        """Spent and reserved, in won."""
        with self.client() as store:
            (key,) = store.scan_iter(f"spendgate:*:budget:{budget}:*")
            found = store.hgetall(key)
        return {name: Decimal(found.get(name, "0")) / 10**6 for name in ("spent", "reserved")}

    def in_flight(self) -> int:
        with self.client() as store:
            return int(store.hlen("spendgate:{main}:reservations"))

    def wait_released(self, within_s: float = 20) -> None:
        """Return as soon as nothing is held any more."""
        deadline = time.monotonic() + within_s
        while held := self.in_flight():
            assert time.monotonic() < deadline, f"{held} reservations are still held"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server("valkey", tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(RULES)
    return file


@pytest.fixture(scope="module")
def program(store_server: Server, rules_file: Path) -> Iterator[Books]:
    """This process's programs, pointed at the store; stopped when the module ends."""
    proxy.configure(rules=rules_file, redis=store_server.url)
    yield Books(store_server.url, rules_file)
    proxy.configure()


@pytest.fixture
def books(program: Books) -> Iterator[Books]:
    """Nothing was spent yet, and nothing is left over from the test before."""
    configure_library()  # as the first call of a program does; each test ends with the log as it was before
    proxy.flush()
    with program.client() as store:
        store.flushall()
    yield program
    found = hosts.running()
    if found is not None:
        assert proxy.flush() == 0
        assert found.calls == 0, "a call was not ended"


Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(books: Books) -> Iterator[Run]:
    """Starts Python programs that use the API, with this store and these rules in their environment."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: str, **environ: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SPENDGATE_")}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            cwd=ROOT,
            env={**clean, "SPENDGATE_RULES": str(books.rules), "SPENDGATE_REDIS": books.url, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str], say: str | None = None) -> str:
    """What a program printed, after it ended well."""
    out, err = process.communicate(say, timeout=60)
    assert process.returncode == 0, err
    return out


def usage_of(entry: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = json.loads(entry["usage"])
    return found
