"""A folder with rules, a simulator of paid APIs, and the command line as a person runs it."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.cli.app import main
from proxy.demo.simulator import Simulator
from tests import nursery
from tests.harness import RunningProxy, running_proxy

RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
emergency: {{detect: [store]}}  # one call takes a quarter of the budget `tiny`, which is a fire elsewhere
budgets:
  - {{name: monthly, limit: 15000, period: month}}
  - {{name: tiny, limit: 2, period: month, applies_to: {{api: kakao-map}}}}
apis:
  - name: openai
    upstream: {chat}
    hosts: [api.openai.com]
    prices:
      - {{name: models, match: {{method: GET, path: /v1/models*}}, free: true}}
      - {{name: generation, match: {{method: POST, path: /v1/*}}, catalog: openai}}
  - name: kakao-map
    upstream: {map}
    hosts: [dapi.kakao.com]
    prices:
      - {{name: search, match: {{path: /v2/local/**}}, per_request: 0.5}}
"""

Spendgate = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class BackgroundSimulator:
    """A simulator on a loop of its own, so that tests may block."""

    simulator: Simulator
    loop: asyncio.AbstractEventLoop

    @property
    def urls(self) -> list[str]:
        return self.simulator.urls


@pytest.fixture(scope="module")
def simulator() -> Iterator[BackgroundSimulator]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Simulator()

    def on_loop(coroutine: object) -> object:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)  # type: ignore[arg-type]

    on_loop(made.start())
    on_loop(made.open_port("127.0.0.2"))  # loopback that NO_PROXY does not name
    yield BackgroundSimulator(made, loop)
    on_loop(made.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def rules(simulator: BackgroundSimulator) -> str:
    """Rules of two APIs that the simulator plays, with the real APIs' host names."""
    chat, maps = simulator.urls
    return RULES.format(chat=chat, map=maps)


@pytest.fixture(scope="module")
def proxy(rules: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy(rules, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Spendgate:
    """As `spendgate`, in this process: for commands that start nothing and touch no store."""

    def run(*arguments: str, input: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        if input is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(input.encode())))
        capfd.readouterr()
        code = main(arguments, environ)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(code), out, err)

    return run


@pytest.fixture
def spendgate(tmp_path: Path) -> Spendgate:
    """Runs one command in an empty folder and an environment without anybody's settings."""

    def run(
        *arguments: str, cwd: Path = tmp_path, input: str | None = None, timeout: float = 60, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SPENDGATE_", "LC_", "OPENAI_", "ANTHROPIC_")) and name not in {"LANG", "REDIS_URL"}
        }
        return nursery.run(arguments, cwd=cwd, env={**clean, **environ}, input=input, timeout=timeout)

    return run
