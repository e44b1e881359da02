"""What a proxy that starts and has started can tell about itself; `app.py` gathers it, others show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from proxy.core.model import RuleSet


@dataclass(frozen=True, slots=True)
class Facts:
    """What app.py knows when everything has started.

    listen, admin: HOST:PORT as really bound. levels: as `status --json` has them (Ledger.levels). store: the embedded
    store's folder, or the URL of the Redis, without its password. redis_cli: the command that opens it.
    """

    version: str
    rules: RuleSet
    levels: Sequence[Mapping[str, Any]]
    listen: str
    admin: str
    store: str
    redis_cli: str
    embedded: bool = True
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` reports; ready only when every member is true."""

    rules_loaded: bool
    store_reachable: bool
    workers_running: bool

    @property
    def ready(self) -> bool:
        return self.rules_loaded and self.store_reachable and self.workers_running


def version() -> str:
    """The installed version; "0" when run from a source tree that was never installed."""
    try:
        return installed("spendgate")
    except PackageNotFoundError:
        return "0"
