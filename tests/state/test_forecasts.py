"""Forecasts in Redis, made by the leader's job from real roll-ups, and the recommendations that were set aside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.control.advising import EVERY_MS, kept, kept_or_look, look
from proxy.control.advising import refresh as advise
from proxy.control.forecasting import refresh
from proxy.control.jobs import Context
from proxy.rules_file import load_text
from proxy.settings import load
from proxy.state import forecasts, history
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.control.test_outlook import LAST, RULES, WON, at
from tests.state.conftest import Server

KEYS = Keys("main")
NOW = at(LAST, 12)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as made:
        await made.ask("FLUSHALL")
        yield made


async def spend(client: Client, days: int) -> None:
    commands = []
    for back in range(days):
        key = KEYS.day((LAST - timedelta(days=back)).isoformat())
        part = 2 if back == 0 else 1
        commands += [
            ("HSET", key, "calls|chat|chat/ask|anonymous", 3, "cost|chat|chat/ask|anonymous", 300 * WON // part),
            ("HSET", key, "cost|maps|maps/find|a", 100 * WON // part, "saved|maps|maps/find|a", 5),
        ]
    await client.ask_all(commands)


def context(client: Client, tmp_path: Path) -> Context:
    rules = load_text(RULES).rules
    assert rules is not None
    return Context(
        client, cast("Store", None), KEYS, load({"HOME": str(tmp_path)}), 1, cast("Any", lambda: rules), lambda: NOW
    )


async def test_the_past_is_read_from_its_first_day_on(client: Client) -> None:
    await spend(client, 3)
    await client.ask("HSET", KEYS.day((LAST - timedelta(days=9)).isoformat()), "calls|chat|chat/ask|a", 1)
    found = await history.days(client, KEYS, "Asia/Seoul", NOW)
    assert [day.day for day in found] == [LAST - timedelta(days=back) for back in range(9, -1, -1)]
    assert found[-1].cost["chat", "chat/ask", "anonymous"] == 150 * WON
    assert await history.days(client, KEYS, "Asia/Seoul", NOW - 500 * 86_400_000) == []


async def test_the_leader_keeps_every_forecast_with_its_past_error(client: Client, tmp_path: Path) -> None:
    await spend(client, 80)
    await refresh(context(client, tmp_path))
    kept = {(one["kind"], one["name"]): one for one in await forecasts.all_kept(client, KEYS)}
    assert set(kept) == {("budget", n) for n in ("monthly", "dollars", "maps")} | {("api", "chat"), ("api", "maps")}
    monthly = kept["budget", "monthly"]
    assert float(monthly["month_end"]) == pytest.approx(12_000, rel=0.02)
    assert monthly["past_error_percent"] < 1
    assert kept["budget", "maps"]["over"]
    fields = await client.ask("HGETALL", KEYS.forecast("budget", "monthly"))
    assert fields["month_end_text"].endswith(" KRW")
    assert (fields["limit_text"], fields["over"], fields["past_day"]) == ("15000 KRW", "0", LAST.isoformat())
    assert 0 < await client.ask("TTL", KEYS.forecast("budget", "monthly")) <= 2 * 86_400


async def test_past_errors_are_carried_along_within_a_day(client: Client, tmp_path: Path) -> None:
    await spend(client, 80)
    await refresh(context(client, tmp_path))
    await client.ask("HSET", KEYS.forecast("api", "chat"), "past_error", "12.5")
    await refresh(context(client, tmp_path))
    assert (await client.ask("HGET", KEYS.forecast("api", "chat"), "past_error")) == "12.5"
    await client.ask("HSET", KEYS.forecast("api", "chat"), "past_day", date(2026, 1, 1).isoformat())
    await refresh(context(client, tmp_path))
    assert (await client.ask("HGET", KEYS.forecast("api", "chat"), "past_error")) != "12.5"


async def test_without_any_spend_the_budgets_still_have_a_forecast(client: Client, tmp_path: Path) -> None:
    await refresh(context(client, tmp_path))
    assert {one["name"]: one["month_end"] for one in await forecasts.all_kept(client, KEYS)} == {
        "monthly": "0",
        "dollars": "0",
        "maps": "0",
    }


async def test_recommendations_are_set_aside_and_shown_again(client: Client) -> None:
    await forecasts.set_aside(client, KEYS, "batch:openai", NOW + 1000, "anna")
    await forecasts.set_aside(client, KEYS, "idle:gpu", forecasts.FOR_GOOD, "anna")
    assert set(await forecasts.aside(client, KEYS, NOW)) == {"batch:openai", "idle:gpu"}
    assert set(await forecasts.aside(client, KEYS, NOW + 1000)) == {"idle:gpu"}
    assert await forecasts.show_again(client, KEYS, "idle:gpu")
    assert not await forecasts.show_again(client, KEYS, "idle:gpu")
    assert await client.ask("TTL", KEYS.recommendations) > 0


async def errors(client: Client) -> None:
    """Failed calls of 45, 15 and 1 day ago in the ledger, eight each, with eight good ones between them."""
    blank = dict.fromkeys(("fx_rate", "fx_date", "model", "usage", "terms", "budgets", "note"), "")
    usual = {"api": "chat", "rule": "chat/ask", "caller": "a", "method": "GET", "path": "/x", "state": "settled"}
    usual |= {"cost": "3", "currency": "KRW", "original_cost": "3", "original_currency": "KRW", "estimate": "3"}
    for back, status in ((45, 500), (15, 500), (15, 200), (1, 500)):
        day = LAST - timedelta(days=back)
        for index in range(8):
            told = {"id": f"{back}-{status}-{index}", "at": f"{day}T12:{index:02d}:00.000+09:00", "status": status}
            fields = [word for pair in (usual | blank | told).items() for word in pair]
            await client.ask("XADD", KEYS.ledger(f"{day:%Y-%m}"), "*", *fields)


async def test_recommendations_come_from_the_last_thirty_days_of_the_ledger(client: Client) -> None:
    rules = load_text(RULES).rules
    assert rules is not None
    await errors(client)
    (found,) = (await look(client, KEYS, rules, NOW)).recommendations
    assert found.id == "paid_errors:chat/ask"
    assert (found.evidence["failed"], found.evidence["calls"]) == (16, 24)
    assert found.saving_atoms == 16 * 3 * WON * 30 // 15  # the ledger's entries reach back fifteen days


async def test_the_leader_keeps_recommendations_and_makes_them_anew_when_they_are_old(
    client: Client, tmp_path: Path
) -> None:
    made = context(client, tmp_path)
    assert await kept(client, KEYS) is None
    await spend(client, 40)
    await advise(made)
    first = await kept(client, KEYS)
    assert first is not None
    assert (first.recommendations, {one.api for one in first.expected}) == ((), {"chat", "maps"})
    assert 0 < await client.ask("TTL", KEYS.advice) <= 2 * 86_400
    await errors(client)
    await advise(made)
    assert await kept(client, KEYS) == first  # it is young
    await client.ask("HSET", KEYS.advice, "took_ms", 4000)  # a look that takes so long is taken rarely
    await advise(replace(made, clock=lambda: NOW + EVERY_MS - 200_000))
    assert await kept(client, KEYS) == first
    assert await kept_or_look(client, KEYS, made.rules, NOW) == first
    later = replace(made, clock=lambda: NOW + EVERY_MS)
    await advise(later)
    second = await kept(client, KEYS)
    assert second is not None
    assert [one.id for one in second.recommendations] == ["paid_errors:chat/ask"]


async def test_other_rules_are_advised_anew_at_once(client: Client, tmp_path: Path) -> None:
    made = context(client, tmp_path)
    await advise(made)
    await errors(client)
    other = load_text(RULES.replace("15000", "16000")).rules
    assert other is not None
    (found,) = (await kept_or_look(client, KEYS, other, NOW)).recommendations  # without a leader: found on the spot
    await advise(replace(made, current_rules=lambda: other))
    now = await kept(client, KEYS)
    assert now is not None
    assert now.recommendations == (found,)
