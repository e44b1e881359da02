"""What is remembered of the past says the same as reading all of it, and asks the store for less."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from proxy.state import usage
from proxy.state.keys import Keys
from proxy.state.past import Past
from proxy.state.reading import Reader
from tests.state.conftest import Server

TODAY = "2026-11-26"
NOW_MS = 1_795_690_000_000  # that day
DAYS = usage.span("2026-10-20", TODAY)
ENTRY = {"model": "", "status": "200", "note": "", "cost": "5"}


@pytest.fixture
async def reader(server: Server) -> AsyncIterator[Reader]:
    async with Reader(server.url) as reader:
        for number, day in enumerate(DAYS):
            await _add(reader, day, number + 1)
        yield reader


async def _add(reader: Reader, day: str, atoms: int) -> None:
    key, who = Keys().day(day), ("map|map/1|web", "chat|chat/1|batch")
    for name in who:
        await reader.ask_all([("HINCRBY", key, f"cost|{name}", atoms), ("HINCRBY", key, f"calls|{name}", 1)])
    more = {"saved": f"saved|{who[0]}", "denied": "denied|map|no_rule", "note": "note|chat|cache_hit"}
    await reader.ask_all([("HINCRBY", key, field, 2) for field in more.values()])


async def test_days_add_up_as_if_all_were_read(reader: Reader) -> None:
    clock = [0.0]
    past = Past(reader, Keys(), lambda: clock[0])
    for span in (DAYS, DAYS[:20], DAYS[-3:], DAYS):
        assert await past.days(span, TODAY) == await usage.read_days(reader, Keys(), span)
    await _add(reader, TODAY, 7)
    await _add(reader, "2026-11-20", 7)
    assert await past.days(DAYS, TODAY) == await usage.read_days(reader, Keys(), DAYS), "a late settlement is seen"
    await _add(reader, DAYS[0], 7)
    assert (await past.days(DAYS, TODAY)).days[DAYS[0]].cost_atoms == 2, "what is over is not read again"
    clock[0] += 600
    assert await past.days(DAYS, TODAY) == await usage.read_days(reader, Keys(), DAYS), "but once in a while"


async def test_of_the_newest_calls_only_those_are_read_that_came_since(reader: Reader) -> None:
    past, keys = Past(reader, Keys()), Keys()

    async def entered(month: str, at_ms: int, count: int, **fields: str) -> None:
        flat = [word for pair in {**ENTRY, **fields}.items() for word in pair]
        await reader.ask_all(
            [("XADD", keys.ledger(month), f"{at_ms}-{number}", *flat) for number in range(1, count + 1)]
        )

    assert (await past.sample(NOW_MS)).seen == 0
    await entered("2026-10", NOW_MS - 40 * 86_400_000, 1000, api="old")
    await entered("2026-11", NOW_MS - 9000, 450, api="map", status="500")
    seen = await past.sample(NOW_MS)
    assert (seen.seen, seen.apis["old"].calls, seen.apis["map"].failed) == (1450, 1000, 450)
    await reader.ask("CONFIG", "RESETSTAT")
    await entered("2026-11", NOW_MS - 8000, 3, api="chat", model="m", status="", note="cache_hit", cost="0.25")
    seen = await past.sample(NOW_MS)
    assert (seen.seen, seen.apis["chat"].cached, seen.models["chat", "m"].costs) == (1453, 3, [Decimal("0.25")] * 3)
    assert (seen.apis["chat"].failed, seen.model_cost["map", ""]) == (3, 2250)
    asked = (await reader.ask("INFO", "commandstats"))["cmdstat_xrevrange"]
    assert asked["calls"] <= 4
    await entered("2026-11", NOW_MS - 7000, 5000, api="flood")
    seen = await past.sample(NOW_MS)
    assert (seen.seen, list(seen.apis)) == (2000, ["flood"]), "more than are kept came at once"
    assert (await past.sample(NOW_MS)).seen == 2000
