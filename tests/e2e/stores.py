"""The stores that tests look into: a proxy's embedded one, and Debian's redis-server on TCP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from tests.e2e.support import eventually
from tests.harness import RunningProxy, free_port, spendgate

PASSWORD = "not a secret: €"
PREFIX = "spendgate:{main}:"


def embedded_url(proxy: RunningProxy) -> str:
    """Address of the proxy's own store; it listens on nothing but a Unix socket."""
    (found,) = proxy.data.rglob("*.sock")
    return f"unix://{found}"


@contextlib.contextmanager
def connected(url: str) -> Iterator[redis.Redis]:
    """A connection of the test's own."""
    with redis.Redis.from_url(url, decode_responses=True) as connection:
        yield connection


def server_pid(url: str) -> int:
    with connected(url) as store:
        return int(store.info("server")["process_id"])


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def level(store: redis.Redis, budget: str) -> dict[str, Decimal]:
    """Spent, reserved and limit of a budget's only period, in atoms, of one instant."""
    (key,) = list(store.scan_iter(f"{PREFIX}budget:{budget}:*"))
    names = ("spent", "reserved", "limit")
    return {name: Decimal(value or 0) for name, value in zip(names, store.hmget(key, *names), strict=True)}


def budget_key(store: redis.Redis, budget: str) -> str:
    (key,) = list(store.scan_iter(f"{PREFIX}budget:{budget}:*"))
    return str(key)


class DebianRedis:
    """Debian's redis-server with a password, on a TCP port that stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("redis-server is not installed (make dev)")
        self.binary = binary
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--requirepass", PASSWORD, "--appendonly", "yes", "--save", ""),
            ],
            stdout=subprocess.DEVNULL,
        )

        def answers() -> bool:
            with contextlib.suppress(redis.exceptions.RedisError), connected(self.url()) as store:
                return bool(store.ping())
            return False

        eventually(answers, "redis-server's first answer")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            os.kill(self.process.pid, how)
            self.process.wait(10)
            self.process = None


@contextlib.contextmanager
def debian_redis(folder: Path) -> Iterator[DebianRedis]:
    server = DebianRedis(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGKILL)


def doctor(proxy: RunningProxy, *args: str) -> tuple[int, dict[str, Any]]:
    """Exit status and document of `spendgate doctor --json`."""
    done = spendgate("doctor", "--json", *proxy.store_flags, *args)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)
