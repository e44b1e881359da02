"""A real proxy in its own process, and a real upstream whose every answer the test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests import nursery

ROOT = Path(__file__).resolve().parent.parent
Process = subprocess.Popen[bytes] | nursery.Program


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def spendgate(*args: str, env: dict[str, str] | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, in a process of its own; output as text."""
    return nursery.run(args, env={**os.environ, **(env or {})}, timeout=timeout)


@dataclass
class RunningProxy:
    """One `spendgate serve` process. `data` also finds its embedded store."""

    process: Process
    port: int
    admin_port: int
    rules: Path
    data: Path
    log: Path
    extra: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def logs(self) -> str:
        return self.log.read_text()

    @property
    def store_flags(self) -> tuple[str, ...]:
        """How other commands are told of the same store."""
        flags = ("--data", str(self.data), "--rules", str(self.rules))
        if "--redis" not in self.extra:
            return flags
        at = self.extra.index("--redis")
        return (*flags, *self.extra[at : at + 2])

    def status(self) -> dict[str, Any]:
        done = spendgate("status", "--json", *self.store_flags)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def ledger(self, *args: str) -> list[dict[str, Any]]:
        """Entries as the command prints them, newest first."""
        done = spendgate("ledger", "--json", *self.store_flags, *args)
        assert done.returncode in ((0, 1) if "--id" in args else (0,)), done.stderr  # 1: there is no such entry
        return [json.loads(line) for line in done.stdout.splitlines()]

    def budget(self, name: str = "monthly") -> dict[str, Any]:
        return next(b for b in self.status()["budgets"] if b["name"] == name)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout)


def wait_ready(url: str, process: Process, log: Path, timeout: float = 30, path: str = "readyz") -> None:
    """Return as soon as /readyz says 200. Waits on the process and the clock, not on luck."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the proxy ended with {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{url}/{path}", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            select.select([], [], [], 0.05)
    raise AssertionError(f"the proxy was not ready after {timeout} s:\n{log.read_text()}")


@contextlib.contextmanager
def running_proxy(
    rules: str | Path,
    folder: Path,
    *extra: str,
    env: dict[str, str] | None = None,
    data: Path | None = None,
    name: str = "proxy",
    until: str = "readyz",
    anew: bool = False,
) -> Iterator[RunningProxy]:
    """A proxy with these rules (text or file), its data below `folder`; stopped at the end, store and all.

    until: the health question that it must answer before the block begins. anew: start Python for it, see nursery.py.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(rules, str):
        file = folder / "rules.yaml"
        file.write_text(rules)
    else:
        file = rules
    data = data or folder / "data"
    port, admin_port = free_port(), free_port()
    log = folder / f"{name}-{port}.log"
    with log.open("wb") as sink:
        command = (
            *("serve", "--rules", str(file), "--data", str(data)),
            *("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin_port}", *extra),
        )
        environ = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        process: Process
        if anew:
            python = (sys.executable, "-m", "proxy")
            process = subprocess.Popen([*python, *command], cwd=ROOT, env=environ, stdout=sink, stderr=sink)
        else:
            process = nursery.start(command, env=environ, stdout=sink)
    proxy = RunningProxy(process, port, admin_port, file, data, log, extra)
    try:
        wait_ready(proxy.admin_url, process, log, path=until)
        yield proxy
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            proxy.stop()
        if process.poll() is None:
            process.kill()
            process.wait()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Upstream:
    """A real HTTP server; `answer` may be replaced at any time. Every request and its body is kept."""

    answer: Answer
    port: int = 0
    requests: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # a client left before its answer was whole

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def upstream(answer: Answer) -> AsyncIterator[Upstream]:
    """Serve on loopback until the block ends."""
    state = Upstream(answer)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        state.requests.append(request)
        state.bodies.append(await request.read())
        try:
            return await state.answer(request)  # type: ignore[arg-type]
        except (asyncio.CancelledError, ConnectionResetError):
            state.gone.set()
            raise

    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.port = runner.addresses[0][1]
    try:
        yield state
    finally:
        await runner.cleanup()


CHAT_USAGE = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}


def chat_answer(model: str = "gpt-4o-mini", usage: dict[str, Any] | None = None) -> dict[str, Any]:
    """An OpenAI-shaped chat completion of our own making."""
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1741569952,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": usage or CHAT_USAGE,
    }
