"""What a proxy that has started can tell about itself; `app.py` gathers it, whoever started the proxy shows it."""

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


def version() -> str:
    """The installed version; "0" when run from a source tree that was never installed."""
    try:
        return installed("spendgate")
    except PackageNotFoundError:
        return "0"
