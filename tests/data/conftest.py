"""The wire's tests run on both event loops: they differ in what they tell about a connection's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_ON_BOTH = ("test_server", "test_upstream", "test_tunnel", "test_wire")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, which the proxy runs on; for the wire's own tests also the standard loop."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.name.startswith(_ON_BOTH):
        factories["asyncio"] = asyncio.SelectorEventLoop
    return factories
