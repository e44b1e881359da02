"""Processes of the program that begin where loading it ends: a process that has loaded it forks one for each start.

Starting Python and loading the libraries takes seconds of a slow machine, and most tests ask what the program does once
it runs. What they get here is a process like any other, with files, folder, environment, signals and children of its
own; only what none of them asks, the interpreter's start, was done once. Tests of the start itself (`anew` in
harness.py), and of every documented command, start Python.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_MOST_BYTES: Final = 1 << 20


class Program:
    """One start, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, args: Sequence[str], report: int) -> None:
        self.args = args
        self.returncode: int | None = None
        self._report = report  # the pid, then the exit status, a line each
        self._lines = b""
        while b"\n" not in self._lines:
            self._read()
        self.pid = int(self._lines.partition(b"\n")[0])

    def _read(self) -> None:
        found = os.read(self._report, 100)
        if not found:
            raise RuntimeError("the nursery's guard of a process is gone")
        self._lines += found

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            while self._lines.count(b"\n") < 2:
                if not select.select([self._report], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
                self._read()
            self.returncode = os.waitstatus_to_exitcode(int(self._lines.split(b"\n")[1]))
            os.close(self._report)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdin: IO[Any] | None = None,
    stdout: IO[Any],
    stderr: IO[Any] | None = None,
) -> Program:
    """`spendgate ARGS` in a process of its own. stdin None: empty; stderr None: where stdout goes."""
    told = json.dumps({"args": list(args), "env": dict(env), "cwd": str(cwd)}).encode()
    report, reporter = os.pipe()
    try:
        with open(os.devnull, "rb") as nothing:
            files = [(stdin or nothing).fileno(), stdout.fileno(), (stderr or stdout).fileno(), reporter]
            socket.send_fds(_nursery(), [told], files)
    finally:
        os.close(reporter)
    return Program(args, report)


def run(
    args: Sequence[str], *, env: Mapping[str, str], cwd: Path = ROOT, input: str | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """`spendgate ARGS` to its end; output as text. Raises subprocess.TimeoutExpired after killing it."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((input or "").encode())
        given.seek(0)
        program = start(args, env=env, cwd=cwd, stdin=given, stdout=out, stderr=err)
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait(10)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(args), code, out.read().decode(), err.read().decode())


def shim(path: Path) -> None:
    """Make a program at `path` that is `spendgate` for shells, which must have `door()` open and as NURSERY_DOOR.

    The first time that it is asked for a command it starts Python, as anybody's `spendgate` does; later, the nursery.
    """
    real, known = shlex.join([sys.executable, "-m", "proxy"]), shlex.quote(f"{path}.known")
    again = shlex.join([sys.executable, "-IS", __file__, "start"])
    Path(f"{path}.known").mkdir()
    path.write_text(
        f'#!/bin/sh\nif mkdir {known}/"$1" 2>/dev/null; then exec {real} "$@"; fi\nexec {again} "$NURSERY_DOOR" "$@"\n'
    )
    path.chmod(0o755)


def door() -> int:
    """The file descriptor by which a child of this process reaches the nursery."""
    return _nursery().fileno()


_lock = threading.Lock()
_door: socket.socket | None = None


def _nursery() -> socket.socket:
    """The way to this process's nursery, which is started with the first question and ends with this process."""
    global _door
    with _lock:
        if _door is None:
            _door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            atexit.register(_door.close)
            with theirs:
                subprocess.Popen(
                    [sys.executable, "-m", "tests.nursery", "serve", str(theirs.fileno())],
                    cwd=ROOT,
                    # numpy may start no threads of its own
                    env={
                        **os.environ,
                        "PYTHONUNBUFFERED": "1",
                        "PYTHONIOENCODING": "utf-8",
                        "OPENBLAS_NUM_THREADS": "1",
                    },
                    pass_fds=[theirs.fileno()],
                )
        return _door


# --- the nursery's own process ----------------------------------------------------------------------------------------


def _load() -> None:
    """What any command or process of the program loads in its time, without a thread: those would not be forked."""
    from proxy import rules_file
    from proxy.admin.api import all_routes
    from proxy.cli.app import COMMANDS
    from proxy.core import price

    all_routes()
    for name in ("app", "controller", "control.forecast", "cli.startpage", "__main__"):
        importlib.import_module(f"proxy.{name}")
    for name in (*(f"proxy.cli.{command}" for command in COMMANDS), "watchfiles"):
        importlib.import_module(name)
    rules = rules_file.load_file(ROOT / "rules.yaml", {}).rules
    assert rules is not None
    price.warm(rules)
    assert os.listdir("/proc/self/task") == [str(os.getpid())], "a library started a thread"
    gc.collect()
    gc.freeze()


def _serve(door: socket.socket) -> None:
    _load()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the guards
    while True:
        told, files, _, _ = socket.recv_fds(door, _MOST_BYTES, 4)
        if not told:
            return
        if os.fork() == 0:
            door.close()
            _guard(json.loads(told), files)
        for file in files:
            os.close(file)


def _guard(told: dict[str, Any], files: list[int]) -> None:
    """Fork the program, tell its pid, wait for its end, tell that."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    report = files[3]
    pid = os.fork()
    if pid == 0:
        os.close(report)
        _live(told, files[:3])
    os.write(report, b"%d\n" % pid)
    status = os.waitpid(pid, 0)[1]
    os.write(report, b"%d\n" % status)
    os._exit(0)


def _live(told: dict[str, Any], files: list[int]) -> None:
    """The program's life, from `main` to what Python does at the end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    time.tzset()
    entrance = sys.modules["proxy.__main__"]
    sys.modules["__main__"] = entrance  # a process that it starts anew begins as it would have
    sys.argv = ["spendgate", *told["args"]]
    code = 1
    try:
        code = entrance.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _start(fd: int, args: Sequence[str]) -> int:
    """As the program itself to whoever started this: the same files and environment, its exit status, our signals."""
    global _door
    _door = socket.socket(fileno=fd)
    program = start(args, env=os.environ, cwd=Path.cwd(), stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: program.send_signal(number))
    return program.wait() % 256


if __name__ == "__main__":
    mode, fd = sys.argv[1], int(sys.argv[2])
    if mode == "serve":
        _serve(socket.socket(fileno=fd))
    else:
        sys.exit(_start(fd, sys.argv[3:]))
