"""One real upstream a module; each module brings the proxy that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.backend import Backend, running_backend
from tests.e2e.support import http


@pytest.fixture(scope="module")
def module_backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


@pytest.fixture
def backend(module_backend: Backend) -> Backend:
    """The module's upstream, with nothing left over from the test before."""
    module_backend.reset()
    return module_backend


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with http() as one:
        yield one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A fresh folder by name. Short, because a Unix socket lives below it."""
    return lambda name: tmp_path_factory.mktemp(name)
