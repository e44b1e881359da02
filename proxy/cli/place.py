"""Where the store is, for commands that read it: a Redis by its URL, or the embedded one of the data folder.

The embedded store is adopted when a proxy runs, and opened, read and closed when none does. A data folder that does not
exist is not made: nothing was ever counted there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.cli.frame import Exit, Failure, Frame

if TYPE_CHECKING:
    from proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """url is for clients and may hold a password; `where` is for people and never does. url None: nothing there yet."""

    url: str | None
    kind: str  # "embedded" | "redis"
    where: str
    redis_cli: str | None


def without_password(url: str) -> str:
    """The URL for people: user and password replaced by nothing, query dropped (it may hold one too)."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


@contextmanager
def opened(frame: Frame, settings: Settings) -> Iterator[Place]:
    """The store while the block runs. Ends the command with UNREACHABLE when the embedded one cannot be started."""
    if settings.redis_url is not None:
        shown = without_password(settings.redis_url)
        yield Place(settings.redis_url, "redis", shown, f"redis-cli -u {shown}")
        return
    if not settings.data.exists():
        yield Place(None, "embedded", str(settings.data), None)
        return
    from proxy.state import embedded

    quiet()
    try:
        store = embedded.open(settings.data)
    except embedded.EmbeddedUnavailable as error:
        raise unreachable(frame, str(error)) from error
    try:
        yield Place(store.url, "embedded", str(settings.data), store.cli)
    finally:
        store.close()


def quiet() -> None:
    """Events of the store are for a proxy's log, not for a person who asked a question."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )


def unreachable(frame: Frame, why: str) -> Failure:
    message = frame.say("error.store", why=why.rstrip("."))
    return Failure(message, hint=frame.say("error.store_hint"), code=Exit.UNREACHABLE)
