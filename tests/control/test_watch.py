"""The leader's watch on a real server: what is told, once, and what is resolved; the clock is the test's."""

from __future__ import annotations

import itertools
import json

import pytest

from proxy.control.status import BudgetStatus
from proxy.control.watch import Watcher
from proxy.state import forecasts
from proxy.state.client import Stale
from proxy.state.outbox import Outbox, Record
from proxy.state.proxies import ProxyInfo, publish
from proxy.state.watching import Watching
from tests.control.conftest import RULES, Lead
from tests.state.calls import SEOUL, at, won


def watcher(lead: Lead, fence: int | None = None, **more: object) -> Watcher:
    numbers = itertools.count(1)
    return Watcher(lead.context(fence), new_id=lambda: f"f{fence or lead.fence}-{next(numbers)}", **more)  # type: ignore[arg-type]


async def history(lead: Lead) -> list[Record]:
    """Alerts in the order in which they were raised."""
    return list(reversed(await Outbox(lead.client, lead.keys).history(100)))


async def keys(lead: Lead) -> list[str]:
    return [record.key for record in await history(lead)]


async def test_each_threshold_is_told_once_a_period(lead: Lead) -> None:
    one = watcher(lead)
    for amount in ("10500", "1500", "1500", "750", "750"):
        await lead.spend(amount)
        lead.clock.pass_s(1)
        await one.step(lead.clock())
        await one.step(lead.clock())
    found = [record for record in await history(lead) if record.kind.value == "threshold"]
    assert [record.facts["percent"] for record in found] == ["70", "80", "90", "95", "100"]
    assert [record.severity.value for record in found] == ["warning"] * 3 + ["critical"] * 2
    assert [record.facts["left"] for record in found] == ["4500", "3000", "1500", "750", "0"]
    lead.clock.now_ms = at("2026-12-02T12:00:00+09:00")
    await lead.spend("10500")
    await one.step(lead.clock())
    assert [record.facts["period"] for record in await history(lead) if record.facts.get("percent") == "70"] == [
        "2026-11",
        "2026-12",
    ]


async def test_a_new_leader_goes_on_where_the_old_one_died_and_tells_nothing_twice(lead: Lead) -> None:
    first = watcher(lead)
    await lead.spend("10500")
    await first.step(lead.clock())
    await lead.spend("1500")
    await lead.elect(2)
    second = watcher(lead)
    await second.load()
    await second.step(lead.clock())
    await lead.spend("1500")
    with pytest.raises(Stale):
        await first.step(lead.clock() + 10_000)
    await second.step(lead.clock() + 10_000)
    told = [record.facts["percent"] for record in await history(lead) if record.kind.value == "threshold"]
    assert told == ["70", "80", "90"]


async def test_a_crossing_that_nobody_looked_at_for_long_is_told_late_but_not_after_its_day(lead: Lead) -> None:
    lead.clock.now_ms = at("2026-11-30T23:59:59+09:00")
    await lead.spend("10500")
    late = watcher(lead)
    await late.step(at("2026-12-01T00:00:30+09:00"))
    assert "threshold:monthly:2026-11:70:15000" in await keys(lead)
    lead.clock.now_ms = at("2026-12-31T23:59:59+09:00")
    await lead.spend("10500")
    await late.step(at("2027-01-02T00:00:00+09:00"))
    assert "threshold:monthly:2026-12:70:15000" not in await keys(lead)


async def test_status_is_published_for_everybody_and_kept_once_an_hour(lead: Lead) -> None:
    one, watching = watcher(lead), Watching(lead.client, lead.keys)
    for minutes, amount in ((0, "1000"), (20, "500"), (60, "250")):
        lead.clock.now_ms = at("2026-11-23T12:00:00+09:00") + minutes * 60_000
        await lead.spend(amount)
        await one.step(lead.clock())
    ((refreshed, document),) = (await watching.published(["monthly"])).values()
    assert (refreshed, document["spent"], document["state"]) == (lead.clock(), "1750", "ok")
    kept = await watching.snapshots("monthly", 10)
    assert [(one["hour"], one["spent"]) for one in kept] == [
        ("2026-11-23T13+0900", "1750"),
        ("2026-11-23T12+0900", "1000"),
    ]
    fields = await lead.client.ask("HGETALL", lead.keys.status("monthly"))
    assert fields["usage_rate"] == "0.116667"
    assert json.loads(fields["document"]) == document


async def test_a_fire_is_told_once_and_resolved_when_it_is_out(lead: Lead) -> None:
    one = watcher(lead)
    for _ in range(15):
        await lead.spend("20")  # 300 won in a quarter of an hour: 14 times what the limit bears in an hour
        lead.clock.pass_s(60)
        await one.step(lead.clock())
    burns = [record for record in await history(lead) if record.kind.value == "burn"]
    assert [record.state for record in burns] == ["open"]
    lead.clock.pass_s(600)
    await one.step(lead.clock())
    burns = [record for record in await history(lead) if record.kind.value == "burn"]
    assert [record.state for record in burns] == ["resolved"]


async def test_an_expected_overrun_stays_until_it_is_clearly_over(lead: Lead) -> None:
    one = watcher(lead)
    states = []
    for amount in (16000, 15100, 14900, 14600, 14500, 16000):
        lead.clock.pass_s(10)
        told = {"kind": "budget", "name": "monthly", "currency": "KRW", "period": "2026-11", "end": "2026-11-30"}
        told |= {"month_end": str(amount), "interval80": ["15000", "17000"], "interval95": ["14000", "18000"]}
        told |= {"basis": "history", "daily": [str(amount), *["0"] * 7], "limit": "15000", "over": True}
        told |= {"reaches_limit": None, "past_error_percent": None}
        await forecasts.keep(lead.client, lead.keys, [told], lead.clock(), SEOUL, "2026-11-23")
        await one.step(lead.clock())
        states.append([record.state for record in await history(lead)])
    assert states == [["open"], ["open"], ["open"], ["open"], ["resolved"], ["resolved", "open"]]
    assert (await history(lead))[0].facts["over"] == "1000"


async def test_calls_without_a_price_are_told_once_a_day_and_api(lead: Lead) -> None:
    one = watcher(lead)
    for _ in range(3):
        await lead.spend("1", note="unpriced_model")
        lead.clock.pass_s(10)
        await one.step(lead.clock())
    assert await keys(lead) == ["unpriced:openai:2026-11-23"]
    lead.clock.pass_s(86_400)
    await lead.spend("1", note="unpriced_model")
    await one.step(lead.clock())
    assert await keys(lead) == ["unpriced:openai:2026-11-23", "unpriced:openai:2026-11-24"]


async def test_an_hour_far_out_of_its_band_is_told_for_the_api_and_the_caller(lead: Lead) -> None:
    watching = Watching(lead.client, lead.keys)
    for week in range(1, 6):
        day = f"2026-{10 if week > 3 else 11}-{(23 - 7 * week) if week <= 3 else (54 - 7 * week):02d}"
        await watching.write_hour(day, 12, {"api|openai": won(100), "caller|batch": won(100)})
    one = watcher(lead)
    await one.step(lead.clock())  # looked before anything was spent
    await lead.spend("290")
    lead.clock.pass_s(10)
    await one.step(lead.clock())
    assert not [key for key in await keys(lead) if key.startswith("anomaly")]
    await lead.spend("20")
    lead.clock.pass_s(10)
    await one.step(lead.clock())
    assert {key.split(":")[1] for key in await keys(lead) if key.startswith("anomaly")} == {
        "api|openai",
        "caller|batch",
    }
    (fact,) = {record.facts["usual"] for record in await history(lead) if record.kind.value == "anomaly"}
    assert fact == "100"


async def test_what_the_rules_switch_off_is_not_told(lead: Lead) -> None:
    lead.use(f"{RULES}watch: {{burn: {{off: true}}, anomalies: {{off: true}}}}\n")
    watching = Watching(lead.client, lead.keys)
    for day in ("2026-11-16", "2026-11-09", "2026-11-02", "2026-10-26"):
        await watching.write_hour(day, 12, {"api|openai": won(1)})
    one = watcher(lead)
    for _ in range(12):
        await lead.spend("50")
        lead.clock.pass_s(60)
        await one.step(lead.clock())
    assert not [key for key in await keys(lead) if key.startswith(("burn", "anomaly"))]
    lead.use(RULES)
    lead.clock.pass_s(60)
    await one.step(lead.clock())
    assert {key.partition(":")[0] for key in await keys(lead)} >= {"burn", "anomaly"}


async def test_an_open_circuit_is_told_until_it_closes(lead: Lead) -> None:
    one, states = watcher(lead), []
    for state in ("closed", "open", "open", "half_open", "open", "closed"):
        until = lead.clock() + 30_000
        await lead.client.ask("HSET", lead.keys.breaker("openai"), "state", state, "until", until)
        lead.clock.pass_s(5)
        await one.step(lead.clock())
        states.append([record.state for record in await history(lead)])
    assert states == [[], ["open"], ["open"], ["open"], ["open"], ["resolved"]]
    assert (await history(lead))[0].facts["until"] == "2026-11-23T12:00:35.000+09:00"


async def test_a_service_that_fails_twice_is_told_until_it_is_as_wanted(lead: Lead) -> None:
    lead.use(RULES + "services: [{name: gpu, priority: optional, command: {stop: [/bin/false], start: [/bin/true]}}]\n")
    one, seen = watcher(lead), []
    for runs, tries, error in ((True, 1, "exit 1"), (True, 2, "exit 1"), (True, 3, "exit 1"), (False, 0, "")):
        state = {"runs": runs, "tries": tries, "error": error}
        await lead.client.ask("HSET", lead.keys.services, "gpu", json.dumps(state))
        lead.clock.pass_s(5)
        await one.step(lead.clock())
        seen.append([record.state for record in await history(lead)])
    assert seen == [[], ["open"], ["open"], ["resolved"]]
    facts = (await history(lead))[0].facts
    assert (facts["service"], facts["wanted"], facts["error"]) == ("gpu", "stopped", "exit 1")
    assert one.statuses["monthly"].services_limited == ("gpu",)


def proxy_info(pid: int) -> ProxyInfo:
    texts = ("version", "started_at", "admin", "rules_file", "rules_digest", "rules_loaded_at", "rules_errors")
    return ProxyInfo(  # type: ignore[arg-type]
        **dict.fromkeys(texts, ""),
        host="box",
        listen="127.0.0.1:8080",
        pid=pid,
        pending_settlements=0,
        calls_in_flight=0,
    )


async def test_a_proxy_that_vanished_is_told_and_one_that_stopped_is_not(lead: Lead) -> None:
    one = watcher(lead)
    for pid in (7, 8):
        await publish(lead.store, lead.keys, proxy_info(pid))
    await one.step(lead.clock())
    await lead.client.ask("DEL", lead.keys.proxy("box", 8))  # as a proxy does when it stops
    await lead.client.ask("PEXPIRE", lead.keys.proxy("box", 7), 4000)  # not renewed for eleven seconds
    lead.clock.pass_s(5)
    await one.step(lead.clock())
    assert await keys(lead) == []
    await lead.client.ask("DEL", lead.keys.proxy("box", 7))  # ran out
    lead.clock.pass_s(5)
    await one.step(lead.clock())
    assert [(record.key, record.state) for record in await history(lead)] == [("proxy:box:7", "open")]
    lead.clock.pass_s(60)
    await one.step(lead.clock())
    assert [record.state for record in await history(lead)] == ["open"]
    await publish(lead.store, lead.keys, proxy_info(9))
    lead.clock.pass_s(5)
    await one.step(lead.clock())
    assert [record.state for record in await history(lead)] == ["resolved"]


async def test_lifts_and_stops_in_force_are_part_of_the_status(lead: Lead) -> None:
    later = lead.clock() + 60_000
    await lead.client.ask(
        *("HSET", lead.keys.switches, "api:openai", f"{later} a1", "lift:budget:monthly", f"{later} a2"),
        *("lift:budget:other", f"{later} a3", "lift:all", f"{lead.clock() - 1} a4"),
    )
    one = watcher(lead)
    await one.step(lead.clock())
    status: BudgetStatus = one.statuses["monthly"]
    assert status.services_limited == ("openai",)
    assert status.lifts == {"lift:budget:monthly": later}
