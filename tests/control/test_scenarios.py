"""The specification's eight integration scenarios, by name: on a real server, with the clock as an argument.

Each uses the real admission and settlement, the leader's own jobs, and what a person does at the emergency desk. Their
parts are tested on their own elsewhere; here they work together.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy
from proxy import BudgetExceededException, RateLimitedException, api_rate_limited, budget_controlled_api
from proxy.control import services
from proxy.control.gather import Gatherer
from proxy.control.outlook import outlooks
from proxy.control.status import BudgetStatus
from proxy.control.watch import Watcher
from proxy.core.model import Bill, Denied
from proxy.state import audit, breakers, doctor, history, switches
from proxy.state import services as kept
from proxy.state.audit import Refused, Who
from proxy.state.outbox import Outbox
from proxy.state.switches import Desk
from tests.control.conftest import Lead
from tests.control.programs import Programs, Running
from tests.state.calls import at, won

RULES = """
version: 1
timezone: Asia/Seoul
budgets: [{{name: monthly, limit: 15000}}]
apis:
  - name: ai
    upstream: https://ai.example.com
    prices: [{{name: ask, per_request: 10}}]
  - name: map
    upstream: https://map.example.com
    priority: optional
    rate_limits: [3/minute, 5/hour, 6/day]
    breaker: {{failures: 50%, of_at_least: 2, window: 60s, open_for: 30s, probes: 1}}
    prices: [{{name: look, per_request: 1}}]
  - name: sms
    upstream: https://sms.example.com
    priority: essential
    prices: [{{name: send, per_unit: {{price: 1, count: request.amount}}}}]
services:
  - {{name: database, priority: essential, command: {{stop: [touch, {0}/database], start: [rm, {0}/database]}}}}
  - {{name: ai_processing, priority: important, depends_on: database,
     command: {{stop: [touch, {0}/ai_processing], start: [rm, {0}/ai_processing]}}}}
  - {{name: auto_scaling, priority: optional, depends_on: ai_processing,
     command: {{stop: [touch, {0}/auto_scaling], start: [rm, {0}/auto_scaling]}}}}
  - {{name: analytics, priority: optional, apis: map}}
"""


@pytest.fixture
async def programs(lead: Lead, tmp_path: Path) -> Programs:
    lead.use(RULES.format(tmp_path))
    return Programs(lead)


async def spend(programs: Programs, amount: int) -> None:
    """One essential call of so many won."""
    assert isinstance(await programs.call("sms", "/send", body={"amount": amount}), Bill)


async def said(programs: Programs, api: str) -> str:
    """What a call of the API meets: "passed", or the reason of its refusal."""
    answer = await programs.call(api, "/go")
    return answer.reason.value if isinstance(answer, Denied) else "passed"


async def status(lead: Lead) -> BudgetStatus:
    found, _ = await Gatherer(lead.client, lead.keys).statuses(lead.rules, lead.rules.budgets, lead.clock())
    return found["monthly"]


async def tend(lead: Lead) -> set[str]:
    """Services that are off after the leader has looked often enough for all of their order."""
    for _ in range(3):
        await services.tend(lead.context())
        lead.clock.pass_s(2)
    states, _ = await kept.read(lead.client, lead.keys, lead.clock())
    return {name for name, state in states.items() if state["runs"] is False}


async def told(lead: Lead, kind: str) -> list[str]:
    """Alerts of a kind, oldest first: their percents, or their keys."""
    records = reversed(await Outbox(lead.client, lead.keys).history(100))
    return [record.facts.get("percent", record.key) for record in records if record.kind.value == kind]


def desk(lead: Lead) -> Desk:
    return Desk(lead.client, lead.keys, lead.rules, Who("anna", "cli"), lead.clock())


async def test_1_budget_thresholds(lead: Lead, programs: Programs) -> None:
    """예산 임계값 감지 테스트: 70, 80, 90, 95 and 100 % are seen, named, and told once."""
    watcher, seen = Watcher(lead.context()), []
    for amount in (10499, 1, 1500, 1500, 749, 1, 750):
        await spend(programs, amount)
        lead.clock.pass_s(4)
        await watcher.step(lead.clock())
        now = await status(lead)
        seen.append((now.threshold_bp, now.state))
    assert seen == [
        (None, "ok"),
        (7000, "warning"),
        (8000, "warning"),
        (9000, "warning"),
        (9000, "warning"),
        (9500, "restricted"),
        (10000, "stopped"),
    ]
    assert await told(lead, "threshold") == ["70", "80", "90", "95", "100"]
    assert (now.left_atoms, now.days_left) == (0, pytest.approx(7.5, abs=0.01))


async def test_2_api_limiting(lead: Lead, programs: Programs) -> None:
    """API 제한 시스템 테스트: limits a minute, hour and day; a circuit's three states; block and bypass."""
    assert [await said(programs, "map") for _ in range(4)] == ["passed"] * 3 + ["rate_limited"]
    lead.clock.pass_s(61)
    assert [await said(programs, "map") for _ in range(3)] == ["passed"] * 2 + ["rate_limited"], "five an hour"
    lead.clock.pass_s(3601)
    assert [await said(programs, "map") for _ in range(2)] == ["passed", "rate_limited"], "six a day"
    assert await said(programs, "ai") == "passed", "another API is not limited"

    lead.clock.pass_s(86_400)
    seen = []
    for answered, after_s in ((500, 0), (500, 0), (200, 0), (200, 60)):
        lead.clock.pass_s(after_s)
        (circuit,) = await breakers.read(lead.client, lead.keys, breakers.all_of(lead.rules), lead.clock())
        answer = await programs.call("map", "/go", status=answered)
        seen.append((circuit.state, answer.reason.value if isinstance(answer, Denied) else "passed"))
    (circuit,) = await breakers.read(lead.client, lead.keys, breakers.all_of(lead.rules), lead.clock())
    assert seen == [("closed", "passed"), ("closed", "passed"), ("open", "circuit_open"), ("half_open", "passed")]
    assert circuit.state == "closed", "the probe has shown that it works again"

    lead.clock.pass_s(86_400)
    blocked = await switches.block(desk(lead), "api:ai", "contract ended")
    assert await said(programs, "ai") == "service_stopped"
    await switches.bypass(desk(lead), "the demonstration", lead.clock() + 60_000)
    assert await said(programs, "ai") == "passed"
    lead.clock.pass_s(61)
    assert await said(programs, "ai") == "service_stopped", "the bypass has ended by itself"
    await switches.undo(desk(lead), blocked.number, "renewed")
    assert await said(programs, "ai") == "passed"


async def test_3_service_control(lead: Lead, programs: Programs, tmp_path: Path) -> None:
    """서비스 제어 자동화 테스트: optional ones stop at 95 %, important ones at 100 %, essential ones never."""
    await spend(programs, 14249)
    assert await tend(lead) == set()
    await spend(programs, 1)
    assert await tend(lead) == {"auto_scaling", "analytics"}
    await spend(programs, 750)
    assert await tend(lead) == {"auto_scaling", "analytics", "ai_processing"}
    assert set(os.listdir(tmp_path)) == {"auto_scaling", "ai_processing"}
    lead.clock.now_ms = at("2026-12-01T00:00:00+09:00")
    assert await tend(lead) == set()
    assert lead.clock() - at("2026-12-01T00:00:00+09:00") <= 120_000
    entries = [entry for entry in reversed(await audit.last(lead.client, lead.keys, 50)) if "service." in entry.action]
    order = [f"{entry.action.removeprefix('service.')} {entry.target.removeprefix('service:')}" for entry in entries]
    assert order.index("stop auto_scaling") < order.index("stop ai_processing")
    assert order.index("start ai_processing") < order.index("start auto_scaling")
    assert not [act for act in order if "database" in act]


async def test_4_cost_forecast(lead: Lead, programs: Programs) -> None:
    """비용 예측 시스템 테스트: the daily average, the models and their intervals, by budget and by API."""
    for day in range(1, 21):
        lead.clock.now_ms = at(f"2026-11-{day:02d}T12:00:00+09:00")
        await spend(programs, 500)
        for _ in range(10):
            await programs.call("ai", "/go")
    lead.clock.now_ms = at("2026-11-21T00:00:00+09:00")
    now = await status(lead)
    assert (now.spent_atoms, now.daily_average_atoms) == (won(12000), won(600))
    days = await history.days(lead.client, lead.keys, lead.rules.timezone, lead.clock())
    found = {(one.kind, one.name): one for one in outlooks(lead.rules, days, lead.clock(), backtests=False)}
    total, ai, sms = found["budget", "monthly"], found["api", "ai"], found["api", "sms"]
    assert [round(one.projection.month_end / 10**6) for one in (total, ai, sms)] == [18000, 3000, 15000]
    assert {"daily_average", "linear", "seasonal"} <= set(total.projection.models)
    for one in (total, ai, sms):
        low95, high95 = one.projection.interval95
        low80, high80 = one.projection.interval80
        assert low95 <= low80 <= one.projection.month_end <= high80 <= high95
    assert total.over
    assert str(total.reaches_limit) == "2026-11-25"


async def test_5_emergency_response(lead: Lead, programs: Programs) -> None:
    """긴급 대응 시스템 테스트: seen by itself, answered by hand, obeyed by the next call, undone, on the trail."""
    watcher = Watcher(lead.context())
    for _ in range(20):
        await spend(programs, 100)  # a hundred won a minute: the month would last two and a half hours
        lead.clock.pass_s(60)
        await watcher.step(lead.clock())
    assert await told(lead, "burn") == ["burn:monthly:2026-11"]
    stopped = await switches.stop(desk(lead), "runaway")
    assert [await said(programs, api) for api in ("ai", "map", "sms")] == ["service_stopped"] * 3
    await switches.undo(desk(lead), stopped.number, "found it")
    assert await said(programs, "ai") == "passed"

    left = 15000 - int((await status(lead)).spent_atoms / 10**6)
    await spend(programs, left - 500)
    assert await said(programs, "ai") == "budget_restricted"
    await switches.lift(desk(lead), "all", "until the meeting", lead.clock() + 60_000)
    assert await said(programs, "ai") == "passed"
    lead.clock.pass_s(61)
    assert await said(programs, "ai") == "budget_restricted", "the lift has ended by itself"
    more = await switches.increase(desk(lead), "monthly", won(5000), "campaign")
    assert await said(programs, "ai") == "passed"
    await switches.undo(desk(lead), more.number, "no campaign")
    assert await said(programs, "ai") == "budget_restricted"
    with pytest.raises(Refused, match="no_reason"):
        await switches.bypass(desk(lead), " ", lead.clock() + 60_000)
    with pytest.raises(Refused, match="needs_until"):
        await switches.bypass(desk(lead), "no end", None)
    trail = reversed(await audit.last(lead.client, lead.keys, 50))
    acts = [entry.action for entry in trail if not entry.action.startswith("incident.")]
    assert acts == ["stop", "undo", "lift", "increase", "undo"]
    assert (await audit.verify(lead.client, lead.keys)).sound


@pytest.fixture
def decorated(tmp_path: Path, lead: Lead) -> Iterator[None]:
    """This process's decorators, pointed at the leader's store and rules."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES.format(tmp_path))
    proxy.configure(rules=file, redis=lead.server.url)
    yield
    proxy.configure()


async def test_6_decorators(lead: Lead, decorated: None) -> None:
    """데코레이터 기능 테스트: refused is what the budget refuses, and what is too much. By the server's own clock."""

    @budget_controlled_api("ai")
    async def process(text: str) -> str:
        return text.upper()

    @budget_controlled_api("ai", essential=True)
    async def must(text: str) -> str:
        return text

    @api_rate_limited("map", per_minute=2)
    async def look() -> int:
        return 1

    assert await process("hello") == "HELLO"
    assert proxy.flush() == 0
    (budget,) = await lead.client.scan(f"{lead.keys.prefix}budget:monthly:")
    assert await lead.client.ask("HGET", budget, "spent_text") == "10 KRW"
    await lead.client.ask("HINCRBY", budget, "spent", won(14300))
    with pytest.raises(BudgetExceededException) as refused:
        await process("hello")
    assert (refused.value.reason, refused.value.budget) == ("budget_restricted", "monthly")
    assert await must("hello") == "hello"
    assert [await look(), await look()] == [1, 1]
    with pytest.raises(RateLimitedException):
        await look()


async def test_7_integrated(lead: Lead, programs: Programs) -> None:
    """통합 시나리오 테스트: a month that runs out, an emergency increase, and the month after it."""
    watcher, met = Watcher(lead.context()), dict[str, tuple[str, str, set[str]]]()
    for amount in (12000, 2250, 740):
        await spend(programs, amount)
        lead.clock.pass_s(4)
        await watcher.step(lead.clock())
        level, off = await status(lead), await tend(lead)
        essential = await programs.begin("sms", "/send", body={"amount": 1})
        if isinstance(essential, Running):
            await programs.gate.void(essential.ticket.ask)
        passes = "passed" if isinstance(essential, Running) else essential.reason.value
        met[level.state] = (await said(programs, "ai"), passes, off)
    optional = {"auto_scaling", "analytics"}
    assert met == {
        "warning": ("passed", "passed", set()),
        "restricted": ("budget_restricted", "passed", optional),
        "stopped": ("budget_stopped", "budget_stopped", {*optional, "ai_processing"}),
    }
    assert await told(lead, "threshold") == ["70", "80", "90", "95", "100"]
    await switches.increase(desk(lead), "monthly", won(3000), "campaign")
    assert (await said(programs, "ai"), await tend(lead)) == ("passed", set())
    await spend(programs, 1500)
    lead.clock.pass_s(4)
    await watcher.step(lead.clock())
    assert (await told(lead, "threshold"))[5:] == ["90"], "of the larger limit"
    lead.clock.now_ms = at("2026-12-01T00:00:00+09:00")
    assert (await said(programs, "ai"), (await status(lead)).spent_atoms) == ("passed", won(10))
    for one in await doctor.count(lead.client, lead.keys, lead.clock()):
        assert (one.spent, one.reserved) == (one.ledger, one.held)


async def test_8_many_calls(lead: Lead, programs: Programs) -> None:
    """성능 및 확장성 테스트: a thousand calls, and a hundred at once, all counted; speed is the benches' business."""
    for _ in range(10):
        await asyncio.gather(*(spend(programs, 1) for _ in range(100)))
    begun = await asyncio.gather(*(programs.begin("ai", "/go") for _ in range(100)))
    assert all(isinstance(one, Running) for one in begun), "a hundred calls at the same time"
    now = await status(lead)
    assert (now.spent_atoms, now.reserved_atoms) == (won(1000), won(1000))
    await asyncio.gather(*(programs.end(one) for one in begun if isinstance(one, Running)))
    (counted,) = await doctor.count(lead.client, lead.keys, lead.clock())
    assert (counted.spent, counted.ledger, counted.reserved, counted.held) == (won(2000), won(2000), 0, 0)
