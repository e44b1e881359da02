"""A simulated month on a real store, by the test's clock: prices, alerts, stops, forecast, increase, rollover, restore.

Calls, rent, the leader's watch, its deliveries, its forecasts and its hand on the services are the real ones; only time
and the programs are made up. What the month costs is worked out here a second time, in whole atoms, from the calls.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from proxy.control import fixed, forecasting, services
from proxy.control.watch import Watcher
from proxy.core.history import cost_days
from proxy.core.model import Denied
from proxy.state import audit, doctor, forecasts, switches
from proxy.state import services as kept
from proxy.state.audit import Who
from proxy.state.doctor import Severity
from proxy.state.gate import wall_ms
from proxy.state.history import History
from proxy.state.switches import Desk
from tests.control.conftest import Lead
from tests.control.programs import Programs
from tests.control.receivers import Webhook, webhook
from tests.control.test_delivery import Post
from tests.state.calls import at, won

# apprise imports a module of the standard library that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RULES = """
version: 1
timezone: Asia/Seoul
fx: {{USD: 1400}}
budgets:
  - {{name: monthly, limit: 15000}}
  - {{name: maps, limit: 500, applies_to: {{api: maps}}}}
  - {{name: chat-daily, limit: 2000, period: day, applies_to: {{api: chat}}}}
apis:
  - name: chat
    upstream: https://chat.example.com
    prices: [{{name: models, match: {{path: /v1/models}}, free: true}},
             {{name: talk, tokens: {{input: 2000, output: 8000}}, max_output_tokens: 14000}}]
  - name: maps
    upstream: https://maps.example.com
    priority: optional
    prices: [{{name: look, per_request: 0.5, free_tier: {{requests: 100, per: month}}}}]
  - name: sms
    upstream: https://sms.example.com
    priority: essential
    prices: [{{name: send, per_unit: {{price: 9.9, count: "length(request.to)"}}}}]
fixed_costs: [{{name: database-rent, amount: 3720}}]
services:
  - {{name: database, priority: essential, command: {{stop: [{0}, stop, database], start: [{0}, start, database]}}}}
  - {{name: worker, priority: important, depends_on: database,
     command: {{stop: [{0}, stop, worker], start: [{0}, start, worker]}}}}
  - {{name: reports, priority: optional, depends_on: worker,
     command: {{stop: [{0}, stop, reports], start: [{0}, start, reports]}}}}
alerts:
  - {{name: hook, webhook_env: HOOK, secret_env: SECRET, kinds: [threshold, forecast, service_failed]}}
"""
HOUR, DAY = 3_600_000, 86_400_000
FIRST, NEXT = at("2026-10-01T00:00:00+09:00"), at("2026-11-01T00:00:00+09:00")
RAISED = FIRST + 21 * DAY + 9 * HOUR  # the morning of the 22nd
LOOKS = 12 * HOUR
OUT_WITHIN_S, BACK_WITHIN_S = 5, 120
RENT = won(3720)


@dataclass(order=True)
class Planned:
    """One call of the month. size: tokens asked, or recipients; answered: tokens."""

    at_ms: int
    api: str
    size: int = 1
    answered: int = 0


def planned() -> list[Planned]:
    """Hundreds of calls: conversations on working days, places looked up, texts, and a campaign on the 21st."""
    chance, found = random.Random(4), []
    for number in range(31):
        busy = 0.5 if number % 7 in (2, 3) else 1.0  # October 2026 begins on a Thursday
        for api, count in (("chat", 12), ("maps", 8), ("sms", 2)):
            for _ in range(round(count * busy)):
                at_ms = FIRST + number * DAY + round(chance.uniform(8, 22) * HOUR)
                tokens = (chance.randint(1000, 6000), chance.randint(2400, 10000)) if api == "chat" else (1, 0)
                found.append(Planned(at_ms, api, *tokens))
    found += [Planned(FIRST + 20 * DAY + 15 * HOUR + minute * 60_000, "sms", 6) for minute in range(20)]
    return sorted(found)


@dataclass
class Month:
    """What happened. spent: atoms of the calls, as worked out here; missed: of those that were refused.

    looked: calls of maps that passed. forecasts: each with what had been missed by then.
    """

    lead: Lead
    post: Post
    programs: Programs
    watcher: Watcher
    calls: list[Planned]
    spent: int = 0
    missed: int = 0
    looked: int = 0
    made: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    forecasts: list[tuple[dict[str, Any], int]] = field(default_factory=list)

    def owed(self, call: Planned) -> int:
        """Atoms, by the price list."""
        if call.api == "chat":
            return call.size * 2000 + call.answered * 8000
        if call.api == "sms":
            return call.size * 9_900_000
        return 500_000 if self.looked >= 100 else 0

    async def make(self, call: Planned) -> None:
        self.lead.clock.now_ms = call.at_ms
        counts, body = {"input_tokens": call.size, "output_tokens": call.answered}, {"messages": ["hello"]}
        if call.api != "chat":
            counts, body = {}, {"to": ["+821000000000"] * call.size}
        told = len(self.programs.crossed)
        bill, owed = await self.programs.call(call.api, "/v1/go", body=body, counts=counts), self.owed(call)
        if isinstance(bill, Denied):
            self.refused[call.api, bill.reason.value] += 1
            self.missed += owed
            return
        assert bill.cost.atoms["KRW"] == owed, call
        self.made += 1
        self.looked += call.api == "maps"
        self.spent += owed
        if len(self.programs.crossed) > told:
            await self.lead_for(OUT_WITHIN_S)

    async def lead_for(self, seconds: int) -> None:
        """The leader's work at its own pace, for so long."""
        for second in range(seconds):
            self.lead.clock.pass_s(1)
            await self.watcher.step(self.lead.clock())
            await self.post.step()
            if second % 2:
                await services.tend(self.lead.context())

    async def until(self, instant: int) -> None:
        """Make the calls up to then; in between the leader does its work now and then, not every second."""
        for look in range((self.lead.clock() // LOOKS + 1) * LOOKS, instant + LOOKS, LOOKS):
            while self.calls and self.calls[0].at_ms < min(look, instant):
                await self.make(self.calls.pop(0))
            self.lead.clock.now_ms = max(self.lead.clock(), min(look, instant))
            await fixed.accrue(self.lead.context())
            await self.lead_for(2)
        self.lead.clock.now_ms = instant

    async def off(self) -> list[str]:
        states, _ = await kept.read(self.lead.client, self.lead.keys, self.lead.clock())
        return sorted(name for name, state in states.items() if state["runs"] is False)

    async def restored(self) -> None:
        """Everything runs again in time."""
        until = self.lead.clock() + BACK_WITHIN_S * 1000
        while await self.off():
            assert self.lead.clock() < until
            await self.lead_for(2)

    async def forecast(self) -> None:
        await forecasting.refresh(self.lead.context())
        (fields,) = await forecasts.read(self.lead.client, self.lead.keys, [("budget", "monthly")])
        self.forecasts.append((json.loads(fields["json"]), self.missed))

    async def counted(self, period: str = "2026-10", budget: str = "monthly") -> int:
        return int(await self.lead.client.ask("HGET", self.lead.keys.budget(budget, period), "spent") or 0)

    async def written(self) -> int:
        """The month's ledger added up, in atoms."""
        entries = await self.lead.client.ask("XRANGE", self.lead.keys.ledger("2026-10"), "-", "+")
        return int(sum(Decimal(fields["cost"]) for _, fields in entries) * 10**6)

    async def rolled_up(self) -> int:
        """The month's days added up, in atoms."""
        days = await History(self.lead.client, self.lead.keys).days(date(2026, 10, 1), date(2026, 10, 31))
        return sum(cost_days(days, lambda _: True).values())


def told_late(receiver: Webhook) -> list[float]:
    """How many seconds after its crossing each threshold reached the receiver."""
    found = []
    for headers, body in receiver.requests:
        (alert,) = json.loads(body)["data"]["alerts"]
        if alert["kind"] == "threshold":
            found.append(int(headers["webhook-timestamp"]) - datetime.fromisoformat(alert["facts"]["at"]).timestamp())
    return found


async def test_a_month_from_its_first_call_to_the_next_months(lead: Lead, tmp_path: Path) -> None:
    log, switch = tmp_path / "done", tmp_path / "switch"
    switch.write_text(f'#!/bin/sh\necho "$1 $2" >> {log}\n')
    switch.chmod(0o755)
    lead.clock.now_ms = FIRST
    async with webhook() as receiver, Post(lead) as post:
        lead.use(RULES.format(switch), HOOK=receiver.url, SECRET="of-many-characters")
        month = Month(lead, post, Programs(lead), Watcher(lead.context()), planned())
        await fixed.accrue(lead.context())

        # The money runs out on the 20th: what is optional stops first, what is important when nothing is left.
        for day in (5, 12, 19):
            await month.until(FIRST + day * DAY)
            assert await month.off() == []
            await month.forecast()
        assert [made["over"] for made, _ in month.forecasts] == [True] * 3
        assert not month.refused
        await month.until(RAISED)
        assert await month.off() == ["reports", "worker"]
        assert {reason for _, reason in month.refused} == {"budget_restricted", "budget_stopped"}
        assert {api for api, reason in month.refused if reason == "budget_restricted"} == {"chat", "maps"}
        assert month.refused["sms", "budget_stopped"] > 0
        assert await month.counted() >= won(15000)

        # More money: everything is back within two minutes, what others need first.
        desk = Desk(lead.client, lead.keys, lead.rules, Who("anna", "cli"), lead.clock())
        await switches.increase(desk, "monthly", won(7000), "campaign")
        await month.restored()
        assert log.read_text().split("\n")[:4] == ["stop reports", "stop worker", "start worker", "start reports"]
        refused = month.refused.total()
        await month.until(FIRST + 28 * DAY)
        await month.forecast()
        assert month.refused.total() == refused
        await month.until(NEXT - 60_000)
        assert await month.off() == ["reports"]

        # The ledger, the counters and the days say the same, to the atom.
        for one in await doctor.count(lead.client, lead.keys, lead.clock()):
            assert (one.spent, one.reserved) == (one.ledger, one.held), one.budget
        hours = RENT - RENT // 744  # the last hour is not over
        assert await month.counted() == month.spent + hours
        assert await month.written() == await month.rolled_up() == await month.counted()
        assert await month.counted(budget="maps") == max(0, month.looked - 100) * 500_000

        # What the month would have cost without any refusal to come was in the interval of every forecast.
        for made, missed in month.forecasts:
            (low, high), middle = made["interval95"], Decimal(made["month_end"])
            wanted = Decimal(month.spent + RENT + month.missed - missed) / 10**6
            assert Decimal(low) <= wanted <= Decimal(high), made
            assert Decimal(made["spent"]) < middle
            assert abs(wanted / middle - 1) < Decimal("0.2"), made

        # The new month: restored, counted from nothing; the old month's last hour of rent is still the old month's.
        lead.clock.now_ms = NEXT
        await month.restored()
        await fixed.accrue(lead.context())
        assert await month.counted() == month.spent + RENT
        assert await month.written() == await month.rolled_up() == month.spent + RENT
        first = await month.programs.call("chat", "/v1/go", counts={"input_tokens": 1000, "output_tokens": 100})
        free = await month.programs.call("maps", "/v1/go")
        assert not isinstance(first, Denied)
        assert not isinstance(free, Denied)
        assert free.cost.atoms["KRW"] == 0, "the free requests begin again"
        assert await month.counted("2026-11") == first.cost.atoms["KRW"]

        # Told: every threshold of either limit once, in time; the forecast overrun before the first of them.
        kinds = [(alert["kind"], alert["state"]) for alert in receiver.alerts]
        assert kinds.index(("forecast", "raised")) < kinds.index(("threshold", "raised"))
        told = [alert["facts"] for alert in receiver.alerts if alert["kind"] == "threshold"]
        assert [(one["percent"], one["limit"]) for one in told] == [
            *((percent, "15000") for percent in ("70", "80", "90", "95", "100")),
            *((percent, "22000") for percent in ("70", "80", "90", "95")),
        ]
        assert max(told_late(receiver)) <= OUT_WITHIN_S

        # And everything that was done is on the trail, which holds.
        await month.programs.written()
        trail = list(reversed(await audit.last(lead.client, lead.keys, 1000)))
        trail = [entry for entry in trail if not entry.action.startswith("incident.")]
        acts = [f"{entry.action.removeprefix('service.')} {entry.target.removeprefix('service:')}" for entry in trail]
        assert [act for act in acts if not act.startswith("increase")] == log.read_text().split("\n")[:-1]
        assert (await audit.verify(lead.client, lead.keys)).sound
        found = await doctor.run(lead.store.url, lead.keys, clock=wall_ms)
        assert [one for one in found if one.severity is not Severity.OK] == []
        assert month.made > 500
