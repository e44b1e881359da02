"""Fixtures that every room uses: where the real material is, and how to say that it is absent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

ROOT = Path(__file__).resolve().parent.parent


def material_folder() -> Path:
    return Path(os.environ.get("SPENDGATE_MATERIAL", ROOT.parent / "shared" / "material"))


@pytest.fixture(scope="session")
def material() -> Path:
    """Folder of recorded real traffic; it is not part of the project, so its absence skips and says so."""
    folder = material_folder()
    if not folder.is_dir():
        pytest.skip(f"recorded material is absent: {folder} (set SPENDGATE_MATERIAL)")
    return folder


# Started in the background, a process finds Ctrl-C ignored and hands that on to its children, whom tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A command run in this process silences or redirects the log; the next test must hear it again."""
    configured, was = structlog.is_configured(), structlog.get_config()
    yield
    assert not structlog.get_config()["cache_logger_on_first_use"], "start the program in a process of its own"
    if configured:
        structlog.configure(**was)
    else:
        structlog.reset_defaults()


# Modules that start whole programs take minutes: begun first, they leave no worker idle at the end.
_SLOW_FIRST = (
    "test_project.py",
    "e2e",
    "test_docs.py",
    "bench",
    "cli",
    "inprocess",
    "data",
    "admin",
    "control",
    "state",
)


def _turn(item: pytest.Item) -> int:
    room = item.path.relative_to(ROOT / "tests").parts[0]
    return _SLOW_FIRST.index(room) if room in _SLOW_FIRST else len(_SLOW_FIRST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
