"""A body that came whole reads like one that arrived piece by piece and had ended before anybody read it."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.data.body import Body, WholeBody

READS = st.lists(
    st.sampled_from(["next", "whole", "discard", "chunks"]) | st.integers(min_value=0, max_value=12), max_size=5
)


async def told(body: Body, reads: list[str | int]) -> list[object]:
    seen: list[object] = [body.length, body.received, body.complete, body.trailers]
    for read in reads:
        if isinstance(read, int):
            seen.append(await body.read(read))
        elif read == "next":
            seen.append(await body.next())
        elif read == "whole":
            seen.append(body.take_whole())
        elif read == "chunks":
            seen.append([piece async for piece in body.chunks()])
        else:
            body.discard()
        seen.append((body.paused, body.waited_for, body.complete, body.received))
    body.fail(ConnectionResetError())  # too late to matter
    seen.append(await body.next())
    return seen


@given(data=st.binary(max_size=10), reads=READS)
@settings(max_examples=200, deadline=None)
def test_whole_or_in_pieces_a_body_reads_the_same(data: bytes, reads: list[str | int]) -> None:
    loop = asyncio.new_event_loop()
    try:
        pieces = Body(loop, len(data), lambda: None, lambda: None)
        if data:
            pieces.feed(data)
        pieces.end()
        assert loop.run_until_complete(told(WholeBody(data), reads)) == loop.run_until_complete(told(pieces, reads))
    finally:
        loop.close()
