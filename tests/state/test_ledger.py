"""What was spent, read back: newest first, across months, one by id; levels for `status`; proxies that run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.core.model import Admitted
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger, opened
from proxy.state.proxies import ProxyInfo, publish, running
from proxy.state.reading import Reader
from proxy.state.store import Store, StoreUnavailable
from tests.state.calls import NOON, SEOUL, Clock, ask, at, bill, daily_usd, monthly, new_id, won


@pytest.fixture
async def reader(store: Store) -> AsyncIterator[Reader]:
    async with Reader(store.url) as reader:
        yield reader


async def spend(gate: Gate, clock: Clock, amount: int, **other: object) -> str:
    answer = await gate.admit(ask(amount, monthly(1000), daily_usd(), at_ms=clock(), **other))  # type: ignore[arg-type]
    assert isinstance(answer, Admitted)
    await gate.settle(answer, bill(amount), 200)
    return answer.ask.id


async def test_the_newest_entries_come_first_across_months(
    gate: Gate, clock: Clock, keys: Keys, reader: Reader
) -> None:
    clock.now_ms = at("2026-11-30T23:59:00+09:00")
    ids = []
    for _ in range(4):
        ids.append(await spend(gate, clock, 10))
        clock.pass_s(30)
    ledger = Ledger(reader, keys)
    last = [entry async for entry in ledger.last(3, clock())]
    assert [entry["id"] for entry in last] == ids[:0:-1]
    assert [entry["budgets"][0]["period"] for entry in last] == ["2026-12", "2026-12", "2026-11"]
    assert [entry["id"] async for entry in ledger.last(100, clock())] == ids[::-1]


async def test_more_entries_than_one_reading_takes(
    gate: Gate, clock: Clock, keys: Keys, reader: Reader, store: Store
) -> None:
    await spend(gate, clock, 1)
    (_, fields) = (await store.call("XRANGE", keys.ledger("2026-11"), "-", "+"))[0]
    for number in range(1200):
        fields[1] = f"{NOON:012x}{number:016x}".encode()
        await store.call("XADD", keys.ledger("2026-11"), "*", *fields)
    ledger = Ledger(reader, keys)
    found = [entry["id"] async for entry in ledger.last(1100, clock())]
    assert found == [f"{NOON:012x}{number:016x}" for number in range(1199, 99, -1)]
    assert (await ledger.find(f"{NOON:012x}{1150:016x}") or {})["cost"] == "1"


async def test_an_entry_is_found_by_its_id(store: Store, keys: Keys, reader: Reader) -> None:
    gate = Gate(store, keys)
    call_id = new_id(gate.now_ms())
    answer = await gate.admit(ask(25, monthly(), at_ms=gate.now_ms(), call_id=call_id))
    assert isinstance(answer, Admitted)
    ledger = Ledger(reader, keys)
    assert await ledger.find(call_id) is None
    assert list(await ledger.in_flight()) == [call_id]
    await gate.settle(answer, bill("24.5"), 201)
    entry = await ledger.find(call_id)
    assert entry is not None
    assert entry | {"at": ""} == {
        "id": call_id,
        "at": "",
        "api": "openai",
        "rule": "openai/chat",
        "caller": "batch",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 201,
        "state": "settled",
        "cost": "24.5",
        "currency": "KRW",
        "original_cost": "24.5",
        "original_currency": "KRW",
        "fx_rate": None,
        "fx_date": None,
        "estimate": "25",
        "model": "gpt-5",
        "usage": {"output_tokens": 12},
        "terms": [],
        "budgets": [{"name": "monthly", "period": entry["budgets"][0]["period"], "currency": "KRW", "cost": "24.5"}],
        "note": None,
        "question": None,
        "saved": None,
        "asked_cost": None,
        "degraded": None,
        "attempts": None,
    }
    assert await ledger.find("no id at all") is None
    assert await ledger.find("0" * 28) is None


async def test_levels_say_where_each_budget_stands(gate: Gate, clock: Clock, keys: Keys, reader: Reader) -> None:
    await spend(gate, clock, 820)
    assert isinstance(await gate.admit(ask(50, monthly(1000))), Admitted)
    ledger = Ledger(reader, keys)
    month, day, unused = await ledger.levels([monthly(1000), daily_usd(), monthly(7, name="caller:web")], clock())
    assert month == {
        "name": "monthly",
        "period": "2026-11",
        "currency": "KRW",
        "limit": "1000",
        "spent": "820",
        "reserved": "50",
        "ratio": 0.82,
        "state": "warning",
        "resets_at": "2026-12-01T00:00:00.000+09:00",
        "thresholds_crossed": [70, 80],
        "increase": "0",
    }
    assert (day["name"], day["spent"], day["state"]) == ("daily-usd", "0.589928058", "ok")
    assert (unused["spent"], unused["ratio"], unused["thresholds_crossed"]) == ("0", 0.0, [])
    states = [(await ledger.levels([monthly(limit)], clock()))[0]["state"] for limit in (820, 860, 1100, 2000)]
    assert states == ["stopped", "restricted", "warning", "ok"]
    await gate.store.call("HSET", keys.budget("monthly", "2026-11"), "increase", won(640))
    (raised,) = await ledger.levels([monthly(1000)], clock())
    assert (raised["limit"], raised["increase"], raised["ratio"], raised["state"]) == ("1640", "640", 0.5, "ok")
    await gate.store.call("HDEL", keys.budget("monthly", "2026-11"), "increase")
    (level,) = await ledger.current([monthly(1000)], clock())
    assert (level.spent_atoms, level.reserved_atoms) == (won(820), won(50))


async def test_thresholds_are_read_back(gate: Gate, clock: Clock, keys: Keys, reader: Reader) -> None:
    await spend(gate, clock, 820)
    told = await Ledger(reader, keys).thresholds(10)
    assert [(one["budget"], one["threshold"]) for one in told] == [("monthly", "80"), ("monthly", "70")]


async def test_running_proxies_are_told_until_they_fall_silent(store: Store, keys: Keys, reader: Reader) -> None:
    def info(pid: int) -> ProxyInfo:
        return ProxyInfo("a", pid, "0.1.0", "t", "127.0.0.1:8080", "", "rules.yaml", "abc", "t", "", 3, 4)

    for pid in (20, 10):
        await publish(store, keys, info(pid))
    assert await running(reader, keys) == [info(10), info(20)]
    assert 0 < await store.call("TTL", keys.proxy("a", 10)) <= 15


async def test_without_a_server_every_reader_says_so(tmp_path: Path) -> None:
    async with opened(f"unix://{tmp_path}/nobody.sock") as ledger:
        for question in (
            ledger.levels([monthly()], 0),
            ledger.today(SEOUL, 0),
            ledger.find("0" * 28),
            ledger.in_flight(),
            ledger.thresholds(1),
        ):
            with pytest.raises(StoreUnavailable):
                await question
