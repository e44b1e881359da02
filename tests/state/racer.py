"""A process of its own that races for a limit's room over two connections: `racer URL CALLS`.

Says "ready", waits for a line, asks for all calls at once, says how many passed; waits for a line and ends.
"""

from __future__ import annotations

import asyncio
import secrets
import sys

import structlog

from proxy.core.guards import Counts, Guards, Limit, Limited
from proxy.core.model import Admitted
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import ask

ROOM = 5
RACE = Guards(
    (
        Limited("api", "openai", (Limit(Counts.REQUESTS, ROOM, "minute"), Limit(Counts.TOKENS, 10_000, "minute"))),
        Limited("caller", "batch", (Limit(Counts.CONCURRENT, ROOM + 1),)),
    )
)


async def race(url: str, calls: int) -> None:
    stores = [Store(url), Store(url)]
    for store in stores:
        assert await store.start()
    gates = [Gate(store, Keys()) for store in stores]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    now_ms = gates[0].now_ms()
    ids = [f"{now_ms:012x}{secrets.token_hex(8)}" for _ in range(calls)]
    asked = [gates[n % 2].admit(ask(0, at_ms=now_ms, call_id=ids[n], guards=RACE)) for n in range(calls)]
    answers = await asyncio.gather(*asked)
    print(sum(isinstance(answer, Admitted) for answer in answers), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for store in stores:
        await store.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(race(sys.argv[1], int(sys.argv[2])))
