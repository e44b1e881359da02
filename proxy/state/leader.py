"""Who does the periodic work: one leader among all control processes that share a Redis.

The lease lives in Redis and goes by Redis's clock. It carries a fencing token that grows with every change of leader;
scripts that must happen once compare it. Decides nothing about the work itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from proxy.state.client import Client
from proxy.state.keys import LEADER_KEPT_S, Keys

LEASE_S: Final = 6.0  # a killed leader is replaced after this and one round of asking: within 8 seconds
RENEW_EVERY_S: Final = 2.0
ASK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Term:
    """The answer to one asking. fence: the leader's token. until_ms: by Redis's clock."""

    leads: bool
    fence: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads now, for people. place: "host:pid"."""

    place: str
    fence: int
    since_ms: int
    until_ms: int


class Election:
    """One process's part in it. holder: unique to this process. now_ms: tests give their own clock, 0 = Redis's."""

    def __init__(self, client: Client, keys: Keys, holder: str, place: str, lease_s: float = LEASE_S) -> None:
        self._client = client
        self._keys = keys
        self._holder = holder
        self._place = place
        self.lease_s = lease_s

    async def ask(self, now_ms: int = 0) -> Term:
        """Become or stay the leader, if nobody else is. Raises StoreUnavailable."""
        return await self._ask(round(self.lease_s * 1000), now_ms)

    async def resign(self, now_ms: int = 0) -> None:
        """Let the next one lead at once. Raises StoreUnavailable."""
        await self._ask(0, now_ms)

    async def _ask(self, lease_ms: int, now_ms: int) -> Term:
        args: list[str | int] = [self._holder, lease_ms, now_ms, self._place, LEADER_KEPT_S * 1000]
        reply = await asyncio.wait_for(self._client.script("lead", [self._keys.leader], args), 2.0)
        return Term(reply[0] == 1, int(reply[1]), int(reply[2]))


async def current(client: Client, keys: Keys) -> Leader | None:
    """The leader of this moment; None when nobody leads. Raises StoreUnavailable."""
    fields = await client.ask("HGETALL", keys.leader)
    if not fields or int(fields.get("until", 0)) <= await client.now_ms():
        return None
    return Leader(fields.get("place", ""), int(fields["token"]), int(fields["since"]), int(fields["until"]))
