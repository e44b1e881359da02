"""Fixed and outside costs on a real store: exact over a month, once per hour and key, and the ledger adds up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.fixed import accrue
from proxy.control.jobs import Context
from proxy.core.accrual import slices
from proxy.core.fixed_model import FixedCost
from proxy.core.model import Period, PeriodUnit
from proxy.rules_file import load_text
from proxy.settings import load
from proxy.state import doctor
from proxy.state.charges import KeyTaken, enter_keyed
from proxy.state.client import Client
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.leader import Election
from proxy.state.ledger import Ledger
from proxy.state.store import Store
from tests.state.calls import SEOUL, Clock, at
from tests.state.conftest import Server, a_server

TEXT = """version: 1
timezone: Asia/Seoul
fx: {USD: 1390}
budgets:
  - {name: monthly, limit: 15000}
  - {name: dollars, limit: 50, currency: USD}
  - {name: gpu-only, limit: 9000, applies_to: {api: gpu}}
apis:
  - {name: gpu, upstream: "https://gpu.example.com", prices: [{per_request: 1}]}
fixed_costs:
  - {name: database, amount: 10000}
  - {name: gpu-rent, amount: 2.4, per: day, currency: USD, api: gpu}
"""
MONTH = Period(PeriodUnit.MONTH)
START, END = at("2026-11-01T00:00:00+09:00"), at("2026-12-01T00:00:00+09:00")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server("valkey", tmp_path_factory.mktemp("v")) as server:
        yield server


@dataclass
class House:
    context: Context
    gate: Gate
    clock: Clock

    async def spent(self) -> dict[str, str]:
        context = self.context
        levels = await Ledger(context.client, context.keys).levels(context.rules.budgets, self.clock())
        return {level["name"]: level["spent"] for level in levels}

    async def sound(self) -> bool:
        counted = await doctor.count(self.context.client, self.context.keys, self.clock())
        return bool(counted) and all(one.spent == one.ledger and one.reserved == 0 for one in counted)


@pytest.fixture
async def house(valkey: Server, tmp_path: Path) -> AsyncIterator[House]:
    clock, keys = Clock(START), Keys()
    async with Client(valkey.url) as client:
        await client.ask("FLUSHALL")
        store = Store(valkey.url)
        assert await store.start()
        rules = load_text(TEXT).rules
        assert rules is not None
        term = await Election(client, keys, "one", "h:1").ask()
        context = Context(client, store, keys, load({"HOME": str(tmp_path)}), term.fence, lambda: rules, clock)
        yield House(context, Gate(store, keys, clock=clock, pinned=True, timezone=SEOUL), clock)
        await store.close()


@given(st.decimals("0.01", "999999", places=2), st.sampled_from(["KRW", "USD"]))
def test_the_hours_of_a_month_add_up_to_its_rent_exactly(amount: Decimal, currency: str) -> None:
    found = list(slices(FixedCost("x", amount, currency, MONTH), SEOUL, START, END))
    assert len(found) == 30 * 24
    assert sum(one.atoms for one in found) == amount.scaleb(6 if currency == "KRW" else 9)
    assert max(one.atoms for one in found) - min(one.atoms for one in found) <= 1


def test_a_day_with_a_clock_change_costs_a_day() -> None:
    day = FixedCost("x", Decimal(24), "EUR", Period(PeriodUnit.DAY))
    found = list(slices(day, "Europe/Berlin", at("2026-10-25T00:00:00+02:00"), at("2026-10-26T00:00:00+01:00")))
    assert len(found) == 25
    assert sum(one.atoms for one in found) == 24 * 10**9


async def test_rent_is_charged_hour_by_hour_and_caught_up_after_a_pause(house: House) -> None:
    await accrue(house.context)
    assert await house.spent() == {"monthly": "0", "dollars": "0", "gpu-only": "0"}
    house.clock.now_ms = START + 3_600_000
    await accrue(house.context)
    await accrue(house.context)
    first = await house.spent()
    assert first["gpu-only"] == "139"  # a tenth of a dollar
    assert Decimal(first["monthly"]) == Decimal("13.888888") + 139
    house.clock.now_ms = START + 24 * 3_600_000
    await asyncio.gather(accrue(house.context), accrue(house.context))  # two at once: still once an hour
    day = await house.spent()
    assert day["gpu-only"] == "3336"  # 2.4 dollars
    assert Decimal(day["monthly"]) == Decimal("333.333333") + 3336
    assert await house.sound()
    entries = [entry async for entry in Ledger(house.context.client, house.context.keys).last(100, house.clock())]
    assert len(entries) == 48
    assert {(e["api"], e["rule"], e["note"]) for e in entries} == {
        ("database", "fixed/database", "fixed"),
        ("gpu", "fixed/gpu", "fixed"),
    }


async def test_a_charge_with_a_key_counts_once_however_often_and_late(house: House) -> None:
    async def enter(amount: str, key: str = "invoice-1", name: str = "domain") -> tuple[str, bool]:
        context = house.context
        return await enter_keyed(
            *(context.client, house.gate, context.rules),
            key=key, api=name, text="renewed", amount=Decimal(amount), currency="KRW",
        )  # fmt: skip

    found = await asyncio.gather(*(enter("1200") for _ in range(10)))
    assert len({entry for entry, _ in found}) == 1
    assert sum(new for _, new in found) == 1
    assert (await house.spent())["monthly"] == "1200"
    house.clock.pass_s(20 * 86_400)
    assert await enter("1200") == (found[0][0], False)
    assert (await house.spent())["monthly"] == "1200"
    with pytest.raises(KeyTaken):
        await enter("1300")
    assert (await enter("300", key="invoice-2"))[1] is True
    assert (await house.spent())["monthly"] == "1500"
    assert await house.sound()


async def test_charges_cross_thresholds_like_calls(house: House) -> None:
    context = house.context
    await enter_keyed(
        *(context.client, house.gate, context.rules),
        key="big", api="server", text="", amount=Decimal(14_300), currency="KRW",
    )  # fmt: skip
    crossed = await Ledger(context.client, context.keys).thresholds(10)
    assert {one["threshold"] for one in crossed if one["budget"] == "monthly"} == {"70", "80", "90", "95"}
