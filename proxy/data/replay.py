"""A kept answer as a client gets it: with its own head, its age, and in the pieces in which it once came.

Decides nothing: that the answer may be given was decided before.
"""

from __future__ import annotations

from proxy.core import cache
from proxy.core.http1 import Field
from proxy.core.model import Outbound
from proxy.data.exchange import Exchange
from proxy.state.cache import Answer

CACHE = b"X-Spendgate-Cache"


async def replay(
    exchange: Exchange, outbound: Outbound, answer: Answer, how: str, now_ms: int, fields: list[Field]
) -> None:
    """Answer the client. how: the value of X-Spendgate-Cache; fields: what else the head tells.

    A client that has this very answer (If-None-Match, If-Modified-Since) gets 304.
    """
    head = [
        *answer.headers,
        (b"Age", b"%d" % (answer.kept.age_ms(now_ms) // 1000)),
        (CACHE, how.encode()),
        (b"X-Spendgate-Request-Id", exchange.id.encode()),
        *fields,
    ]
    if cache.not_modified(outbound, answer.kept):
        await exchange.start(304, [field for field in head if not field[0].lower().startswith(b"content-")])
        await exchange.finish()
        return
    if answer.pieces is None:
        await exchange.respond(answer.status, head, answer.body)
        return
    await exchange.start(answer.status, head)
    at = 0
    for size in answer.pieces:
        await exchange.write(answer.body[at : at + size])
        at += size
    await exchange.finish()
