"""What a status is made of, on a real server: a fresh process reads finished days as one number a day."""

from __future__ import annotations

from datetime import date, timedelta

from proxy.control.gather import Gatherer
from proxy.control.status import document
from proxy.core.windows import local_day
from proxy.state.keys import STATUS_KEPT_S
from tests.control.conftest import Lead

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
budgets:
  - {name: yearly, limit: 1000000, period: year}
  - {name: maps, limit: 1000000, period: year, applies_to: {api: maps}}
apis:
  - {name: openai, upstream: "https://a.example.com", prices: [{name: x, per_request: 1}]}
  - {name: maps, upstream: "https://b.example.com", prices: [{name: x, per_request: 1}]}
"""
DAYS = 60
WON = 10**6


async def days(lead: Lead) -> date:
    """Sixty days of 7 won for openai and 3 for maps, today included; which day today is."""
    today = date.fromisoformat(local_day(lead.clock(), "Asia/Seoul"))
    fields = ("cost|openai|openai/x|a", 7 * WON, "cost|maps|maps/x|a", 3 * WON)
    keys = [lead.keys.day((today - timedelta(days=back)).isoformat()) for back in range(DAYS)]
    await lead.client.ask_all([("HSET", key, *fields) for key in keys])
    return today


async def told(lead: Lead, gatherer: Gatherer) -> dict[str, object]:
    found, _ = await gatherer.statuses(lead.rules, lead.rules.budgets, lead.clock())
    return {name: document(status, "Asia/Seoul") for name, status in found.items()}


async def test_a_fresh_process_reads_what_the_leader_added_up(lead: Lead) -> None:
    lead.use(RULES)
    today = await days(lead)
    leader = Gatherer(lead.client, lead.keys, writes=True)
    first = await told(lead, leader)
    assert await told(lead, leader) == first
    kept = await lead.client.ask("HGETALL", lead.keys.status_days("maps"))
    old = [day for day in kept if day not in ("rules", today.isoformat()) and int(kept[day])]
    assert len(old) == DAYS - 9  # the last eight days may still change, and today is not over
    assert {int(kept[day]) for day in old} == {3 * WON}
    assert 0 < await lead.client.ask("TTL", lead.keys.status_days("maps")) <= STATUS_KEPT_S
    await lead.client.ask("DEL", *[lead.keys.day(day) for day in old])  # not looked at again
    assert await told(lead, Gatherer(lead.client, lead.keys)) == first


async def test_other_rules_add_up_anew(lead: Lead) -> None:
    lead.use(RULES)
    await days(lead)
    leader = Gatherer(lead.client, lead.keys, writes=True)
    first = await told(lead, leader)
    lead.use(RULES.replace("{api: maps}", "{api: openai}"))
    second = await told(lead, leader)
    assert second != first
    assert await told(lead, Gatherer(lead.client, lead.keys)) == second
    assert {
        int(v) for k, v in (await lead.client.ask("HGETALL", lead.keys.status_days("maps"))).items() if k != "rules"
    } == {
        0,
        7 * WON,
    }


async def test_days_before_the_period_are_forgotten(lead: Lead) -> None:
    lead.use(RULES.replace("period: year", "period: 30 days"))
    today = await days(lead)
    leader = Gatherer(lead.client, lead.keys, writes=True)
    await told(lead, leader)
    lead.clock.now_ms += 31 * 86_400_000
    later = today + timedelta(days=31)
    key = lead.keys.day((later - timedelta(days=10)).isoformat())
    await lead.client.ask("HSET", key, "cost|maps|maps/x|a", 5 * WON)
    await told(lead, leader)
    kept = await lead.client.ask("HKEYS", lead.keys.status_days("maps"))
    assert all(day == "rules" or date.fromisoformat(day) > later - timedelta(days=31) for day in kept)
    assert len(kept) > 1
