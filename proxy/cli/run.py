"""`spendgate run -- COMMAND`: a program, the proxy it needs, its environment, and what it cost.

The program is a plain child: same terminal, same standard streams, its own exit status. A proxy started for it lives as
long as it does. What it cost is read from the ledger: the calls that began while it ran.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import click

from proxy.cli.frame import Failure, Frame
from proxy.cli.help import Command, option

if TYPE_CHECKING:
    from proxy.core.model import Caller, RuleSet
    from proxy.settings import Settings

FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127  # as env, nohup and timeout use them
READY_WITHIN_S = 20.0
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def command(frame: Frame) -> click.Command:
    def run(program: tuple[str, ...], caller: str | None, **flags: Any) -> int:
        try:
            return _run(frame, frame.settings(**flags), list(program), caller)
        except Failure as failure:
            if failure.code not in (NOT_EXECUTABLE, NOT_FOUND):
                failure.code = FAILED
            raise

    return Command(
        "run",
        frame,
        callback=run,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        params=[
            click.Argument(["program"], nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND..."),
            option(frame, "--rules", text="rules", metavar="FILE"),
            option(frame, "--listen", text="listen", metavar="HOST:PORT"),
            option(frame, "--data", text="data", metavar="DIR"),
            option(frame, "--redis", text="redis", metavar="URL"),
            option(frame, "--caller", text="caller", metavar="NAME"),
        ],
    )


def _run(frame: Frame, settings: Settings, program: list[str], caller_name: str | None) -> int:
    from proxy.cli import receipt, sdks
    from proxy.cli.rules import load

    rules = load(frame, settings.rules)
    caller = _caller(frame, rules, caller_name)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # a proxy that was started for the run must not outlive it
    trusted = _trust(frame, settings, rules)
    with proxy_for(frame, settings) as root:
        change = sdks.variables(rules, root, frame.environ, caller)
        for name, value in change.kept:
            _note(frame, "run.kept", name=name, value=value)
        began_ms = receipt.clock_ms(frame, settings)
        status = _child(frame, program, {**frame.environ, **change.variables, **trusted})
    receipt.show(frame, settings, rules, began_ms, caller.name if caller else None)
    return status


def _trust(frame: Frame, settings: Settings, rules: RuleSet) -> dict[str, str]:
    """The variables that make the program trust our authority; none where the rules intercept nothing."""
    from proxy.core import interception

    if not interception.scope(rules):
        return {}
    from proxy.cli import ca, trust
    from proxy.data.ca import CaError

    home = settings.data / "ca"
    try:
        ca.ready(frame, home, rules)
        return trust.variables(home, frame.environ)
    except CaError as error:
        raise ca.ca_failure(frame, error) from error
    except OSError as error:
        frame.fail("error.unwritable", path=home, why=error.strerror or "?")


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _caller(frame: Frame, rules: RuleSet, name: str | None) -> Caller | None:
    if name is None:
        if rules.require_caller:
            frame.fail("run.caller_needed", names=", ".join(caller.name for caller in rules.callers) or "-")
        return None
    found = next((caller for caller in rules.callers if caller.name == name), None)
    if found is None:
        frame.fail("run.no_caller", name=name, names=", ".join(caller.name for caller in rules.callers) or "-")
    return found


# --- the proxy --------------------------------------------------------------------------------------------------------


@contextmanager
def proxy_for(frame: Frame, settings: Settings) -> Iterator[str]:
    """The base URL of a proxy: the one of this store at the configured address, else one started for the moment."""
    from proxy.cli.startpage import reachable

    host, _, port = reachable(str(settings.listen)).rpartition(":")
    taken = port != "0" and answers(host.strip("[]"), int(port))
    if taken and runs_here(frame, settings, int(port)):
        yield f"http://{host}:{port}"
        return
    if taken or port == "0":
        port = str(free_port(host.strip("[]")))
    with started(frame, settings, f"{host}:{port}"):
        yield f"http://{host}:{port}"


def answers(host: str, port: int) -> bool:
    """Whether anybody listens there."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def runs_here(frame: Frame, settings: Settings, port: int) -> bool:
    """Whether a proxy that counts in this very store listens on that port: only its calls can be told afterwards."""
    import asyncio

    from proxy.cli.place import opened
    from proxy.state import proxies
    from proxy.state.keys import Keys
    from proxy.state.reading import Reader
    from proxy.state.store import StoreUnavailable

    async def ask(url: str) -> bool:
        try:
            async with Reader(url) as reader:
                found = await proxies.running(reader, Keys(settings.tenant))
        except StoreUnavailable:
            return False
        heard = {address.strip() for info in found for address in info.listen.split(",")}
        return any(address.endswith(f":{port}") for address in heard)

    with opened(frame, settings) as place:
        return place.url is not None and asyncio.run(ask(place.url))


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Serving:
    """A proxy that was started for the moment."""

    process: subprocess.Popen[bytes]
    admin_url: str


@contextmanager
def started(frame: Frame, settings: Settings, listen: str) -> Iterator[Serving]:
    """A proxy of our own, in its own session so that Ctrl-C reaches only the program; drained at the end."""
    admin = free_port("127.0.0.1")
    arguments = ["--rules", str(settings.rules), "--listen", listen, "--admin", f"127.0.0.1:{admin}"]
    arguments += ["--data", str(settings.data), "--lease", f"{settings.lease_s:g}", "--lang", frame.lang]
    environ = dict(frame.environ)
    if settings.redis_url:
        environ["SPENDGATE_REDIS"] = settings.redis_url  # may hold a password: not for the process list
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "proxy", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            start_new_session=True,
            preexec_fn=_ends_with(os.getpid()),
        )
        try:
            _wait_until_ready(frame, process, admin, log)
            yield Serving(process, f"http://127.0.0.1:{admin}")
        finally:
            process.terminate()
            try:
                process.wait(settings.drain_s + 15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ends_with(parent: int) -> Callable[[], None]:
    """For a new process: be told to stop when this one ends, however it ends (prctl(2), PR_SET_PDEATHSIG)."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # it has ended already
            os._exit(0)

    return prepare


def _wait_until_ready(frame: Frame, process: subprocess.Popen[bytes], admin: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip().splitlines()
            own = [line.removeprefix("spendgate: ") for line in said if line.startswith("spendgate: ")]
            why = (own or said[-1:] or [f"exit {process.returncode}"])[0]
            frame.fail("run.proxy_failed", why=why)
        if _is_ready(admin):
            return
        time.sleep(0.03)
    frame.fail("run.proxy_slow", seconds=f"{READY_WITHIN_S:g}")


def _is_ready(admin: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# --- the program ------------------------------------------------------------------------------------------------------


def _child(frame: Frame, program: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs the program; its exit status, or 128 + the signal that ended it, as shells count."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        elif number != signal.SIGINT or not _terminal_told_everybody():
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (*FORWARDED, signal.SIGINT)}
    try:
        process = subprocess.Popen(list(program), env=dict(environ))  # noqa: S603 - the person's own command
        for number in early:
            process.send_signal(number)
        status = process.wait()
    except FileNotFoundError:
        frame.fail("run.not_found", name=program[0], code=NOT_FOUND)
    except OSError as error:
        why = error.strerror or str(error)
        frame.fail("run.not_executable", name=program[0], why=why, code=NOT_EXECUTABLE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _terminal_told_everybody() -> bool:
    """A Ctrl-C in the terminal goes to the whole foreground group: the program has had it already."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _note(frame: Frame, key: str, **values: object) -> None:
    click.echo(f"spendgate: {frame.say(key, **values)}", err=True)
