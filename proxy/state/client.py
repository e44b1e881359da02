"""A plain client that may also change things: what the control plane and the commands use.

As `reading.Reader`, and it runs scripts of lua/ that are not on the request path. Those that must happen once take the
leader's fencing token (`fence`): a leader that was replaced while it slept changes nothing any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

import redis.asyncio

from proxy.state.reading import Reader
from proxy.state.store import StoreUnavailable

STALE: Final = -9  # first number of a script's reply: the fencing token is not the leader's any more


class Stale(Exception):
    """Somebody else leads by now: what was to happen once was not done."""


def source(name: str, shared: Sequence[str] = ()) -> str:
    """The text of lua/<name>.lua with the preludes before it: those of all scripts, then `shared`."""
    folder = resources.files("proxy.state") / "lua"
    return "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", "fence", *shared, name))


class Client(Reader):
    """A connection for reading and steering, made at the first question. Raises ValueError for a bad URL."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url
        self._sources: dict[str, tuple[str, str]] = {}

    async def script(
        self, name: str, keys: Sequence[str], args: Sequence[str | int | bytes], *, shared: Sequence[str] = ()
    ) -> Any:
        """Run lua/<name>.lua, with the files `shared` before it; its reply.

        Raises Stale for a fencing token of the past, StoreUnavailable otherwise.
        """
        if name not in self._sources:
            text = source(name, shared)
            self._sources[name] = text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        text, digest = self._sources[name]
        try:
            try:
                reply = await self._redis.evalsha(digest, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                reply = await self._redis.eval(text, len(keys), *keys, *args)
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        if isinstance(reply, list) and reply and reply[0] == STALE:
            raise Stale(name)
        return reply

    async def now_ms(self) -> int:
        """Redis's clock, Unix ms. Raises StoreUnavailable."""
        seconds, micros = await self.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def __aenter__(self) -> Client:
        return self
