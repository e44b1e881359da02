"""The store that comes along: started once, shared, adopted after a crash, restarted on its data, private."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.state import embedded
from proxy.state.embedded import Embedded
from tests.harness import free_port
from tests.state.conftest import eventually

ROOT = Path(__file__).resolve().parents[2]

HOLD = """
import sys, time
from proxy.state import embedded
store = embedded.open(sys.argv[1])
print("pid", store.pid, flush=True)
time.sleep(60)
"""

USE = """
import sys
from proxy.state import embedded
store = embedded.open(sys.argv[1])
print(store.pid, flush=True)
sys.stdin.read()
store.close()
"""


def client(store: Embedded) -> redis.Redis:
    return redis.Redis.from_url(store.url, decode_responses=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def ask(store: Embedded, *command: str) -> object:
    with client(store) as connection:
        return connection.execute_command(*command)


def test_starts_private_and_durable_and_stops_with_its_only_user(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with embedded.open(folder) as store:
        assert not store.adopted
        assert store.url == f"unix://{folder}/valkey.sock"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(store.socket.stat().st_mode) == 0o700
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
        with client(store) as connection:
            settings = connection.config_get("*")
        assert settings["port"] == "0"
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["maxmemory"] == str(256 * 2**20)
        assert settings["save"] == ""
        ask(store, "SET", "kept", "1")
        pid = store.pid
    assert not alive(pid)
    with embedded.open(folder) as again:
        assert ask(again, "GET", "kept") == "1"


def test_the_line_to_paste_works(tmp_path: Path) -> None:
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed")
    for folder, port in ((tmp_path / "it's a folder", None), (tmp_path / "tcp", free_port())):
        with embedded.open(folder, tcp_port=port) as store:
            done = subprocess.run(["/bin/sh", "-c", f"{store.cli} PING"], capture_output=True, text=True, check=True)
            assert done.stdout == "PONG\n"
            assert "password" not in store.cli or (folder / "password").read_text().strip() not in store.cli


def test_listens_on_tcp_only_when_asked_and_then_with_a_password(tmp_path: Path) -> None:
    port = free_port()
    with embedded.open(tmp_path / "data", tcp_port=port) as store:
        assert store.tcp_port == port
        assert ask(store, "PING") is True
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger:
            stranger.ping()
        command = Path(f"/proc/{store.pid}/cmdline").read_bytes()
        assert (tmp_path / "data" / "password").read_bytes().strip() not in command


def test_two_users_share_one_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first = embedded.open(tmp_path)
    second = embedded.open(tmp_path)
    assert (first.pid, first.url) == (second.pid, second.url)
    assert second.adopted
    first.close()
    first.close()
    assert alive(second.pid)
    assert ask(second, "PING") is True
    second.close()
    assert not alive(second.pid)


def test_many_that_start_together_get_one_server(tmp_path: Path) -> None:
    users = [
        subprocess.Popen(
            [sys.executable, "-c", USE, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        for _ in range(4)
    ]
    pids = set()
    for user in users:
        assert user.stdout is not None
        pids.add(next(int(line) for line in user.stdout if line.strip().isdigit()))
    assert len(pids) == 1
    for user in users:
        user.communicate(timeout=30)
        assert user.returncode == 0
    assert not alive(pids.pop())


def test_a_killed_proxys_server_is_adopted_with_its_data(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout is not None
    pid = next(int(line.split()[1]) for line in holder.stdout if line.startswith("pid"))
    holder.kill()
    holder.communicate()
    assert alive(pid)
    with embedded.open(tmp_path) as store:
        assert store.adopted
        assert store.pid == pid
    assert not alive(pid)


async def test_a_killed_server_is_started_again_on_its_data(tmp_path: Path) -> None:
    async with embedded.open(tmp_path) as store, embedded.open(tmp_path) as other:
        watches = [asyncio.create_task(one.watch()) for one in (store, other)]
        await asyncio.to_thread(ask, store, "SET", "kept", "1")
        killed = store.pid
        os.kill(killed, signal.SIGKILL)
        began = time.monotonic()
        await eventually(lambda: store.pid == other.pid != killed)
        assert time.monotonic() - began < 5  # the promise
        assert await asyncio.to_thread(ask, other, "GET", "kept") == "1"
        for watch in watches:
            watch.cancel()


def test_a_folder_with_a_long_name_gets_a_short_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with embedded.open(folder) as store, embedded.open(folder) as other:
        assert len(os.fsencode(store.socket)) < 108
        assert other.socket == store.socket
        assert stat.S_IMODE(store.socket.parent.stat().st_mode) == 0o700
        assert ask(store, "PING") is True


def test_a_long_temporary_folder_is_passed_over_for_a_shorter_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / ("temporary" * 15)
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    with embedded.open(tmp_path / ("long" * 30)) as store:
        assert len(os.fsencode(store.socket)) < 108
        assert stat.S_IMODE(store.socket.parent.stat().st_mode) == 0o700
        assert ask(store, "PING") is True
    assert not list(elsewhere.iterdir())


def test_a_short_folder_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        folder = tmp_path / ("long" * 30)
        with embedded.open(folder) as store:
            usual = store.socket.parent
        assert not usual.exists()
        usual.mkdir(mode=0o755)
        with embedded.open(folder) as store:
            assert store.socket.parent != usual
            assert stat.S_IMODE(store.socket.parent.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(embedded.EmbeddedUnavailable, match="cannot be used"):
        embedded.open(tmp_path / "file")


def test_a_damaged_store_is_told_with_the_servers_last_words(tmp_path: Path) -> None:
    with embedded.open(tmp_path) as store:
        ask(store, "SET", "kept", "1")
    (manifest,) = (tmp_path / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(embedded.EmbeddedUnavailable, match="does not start"):
        embedded.open(tmp_path)
