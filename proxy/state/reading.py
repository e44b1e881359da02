"""A plain client for reports: redis-py's own, slower than the store's connection and free of its promises.

Every error of the network or the server leaves here as StoreUnavailable, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.state.store import StoreUnavailable

_ANSWER_WITHIN_S: Final = 5.0
_CONNECT_WITHIN_S: Final = 0.9

Command = Sequence[str | int]


class Reader:
    """A connection for reading, made at the first question. Texts come as str. Raises ValueError for a bad URL."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_timeout=_ANSWER_WITHIN_S,
            socket_connect_timeout=_CONNECT_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
        )

    async def ask(self, *command: str | int) -> Any:
        """One command's reply, in redis-py's shape (HGETALL gives a dict). Raises StoreUnavailable."""
        try:
            return await self._redis.execute_command(*command)
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    async def ask_all(self, commands: Sequence[Command], *, at_once: bool = False) -> list[Any]:
        """Replies in order, in one round trip; at_once: of one instant (MULTI). Raises StoreUnavailable."""
        if not commands:
            return []
        pipeline = self._redis.pipeline(transaction=at_once)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            replies: list[Any] = await pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        return replies

    async def scan(self, prefix: str, rest: str = "*") -> list[str]:
        """Keys that begin with `prefix` exactly and go on like the pattern `rest`, sorted. Raises StoreUnavailable."""
        match = "".join("\\" + c if c in "*?[]\\" else c for c in prefix) + rest
        found: set[str] = set()
        cursor = 0
        while True:
            cursor, keys = await self.ask("SCAN", cursor, "MATCH", match, "COUNT", 1000)
            found.update(keys)
            if int(cursor) == 0:
                return sorted(found)

    async def close(self) -> None:
        await self._redis.aclose()

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
