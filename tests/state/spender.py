"""Many calls at once in a process of its own: waits for a line, asks for all together, tells how many passed.

python -m tests.state.spender URL CALLS WON_EACH LIMIT_WON
"""

from __future__ import annotations

import asyncio
import secrets
import sys

import structlog

from proxy.core.model import Admitted
from proxy.state.gate import Gate, wall_ms
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import ask, bill, monthly


async def spend(url: str, calls: int, each: int, limit: int) -> None:
    store = Store(url)
    assert await store.start()
    gate = Gate(store, Keys())
    budget = monthly(limit, restrict_bp=10000)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    now_ms = wall_ms()
    answers = await asyncio.gather(
        *(
            gate.admit(ask(each, budget, at_ms=now_ms, call_id=f"{now_ms:012x}{secrets.token_hex(8)}"))
            for _ in range(calls)
        )
    )
    admitted = [answer for answer in answers if isinstance(answer, Admitted)]
    print(len(admitted), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    settled = await asyncio.gather(*(gate.settle(call, bill(each), 200) for call in admitted))
    print(sum(len(one.crossed) for one in settled), flush=True)
    await store.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(spend(sys.argv[1], *map(int, sys.argv[2:5])))
