"""Services on a real store: stopped at the lines, restored by an increase, a lift and the new period; retried, told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.control import services
from proxy.control.jobs import Context
from proxy.control.watch import Watcher
from proxy.core.model import Admitted, Denied, Reason, RuleSet
from proxy.rules_file import load_text
from proxy.settings import load
from proxy.state import audit, switches
from proxy.state import services as kept
from proxy.state.audit import Who
from proxy.state.client import Client, Stale
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.leader import Election
from proxy.state.outbox import Outbox
from proxy.state.store import Store
from proxy.state.switches import Desk
from tests.state.calls import Clock, ask, at, bill, won
from tests.state.conftest import Server, a_server

TEXT = """version: 1
timezone: Asia/Seoul
budgets: [{{name: monthly, limit: 1000}}]
apis:
  - {{name: openai, upstream: "https://api.openai.com", prices: [{{name: chat, per_request: 1}}]}}
services:
  - {{name: database, priority: essential, command: {{stop: [touch, {0}/database], start: [rm, {0}/database]}}}}
  - {{name: worker, priority: important, depends_on: database,
     command: {{stop: [touch, {0}/worker], start: [rm, {0}/worker]}}}}
  - {{name: reports, priority: optional, depends_on: worker,
     command: {{stop: [touch, {0}/reports], start: [rm, {0}/reports]}}}}
  - {{name: chat, priority: optional, apis: openai}}
  - {{name: rehearsed, priority: optional, dry_run: true, command: {{stop: [touch, {0}/never], start: ["false"]}}}}
"""


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server("valkey", tmp_path_factory.mktemp("v")) as server:
        yield server


@dataclass
class House:
    context: Context
    gate: Gate
    clock: Clock
    folder: Path
    desk: Desk
    spent: int = 0

    async def spend(self, amount: int) -> None:
        self.spent += 1
        asked = ask(amount, *self.context.rules.budgets, call_id=f"c{self.spent}", at_ms=self.clock())
        answer = await self.gate.admit(asked)
        assert isinstance(answer, Admitted), answer
        await self.gate.settle(answer, bill(amount), 200)

    async def tend(self, rounds: int = 4) -> set[str]:
        for _ in range(rounds):
            await services.tend(self.context)
        states, _ = await kept.read(self.context.client, self.context.keys, self.context.now_ms())
        return {name for name, state in states.items() if state["runs"] is False}

    def off(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def now(self) -> Desk:
        return replace(self.desk, now_ms=self.clock())


@pytest.fixture
async def house(valkey: Server, tmp_path: Path) -> AsyncIterator[House]:
    clock, keys = Clock(), Keys()
    async with Client(valkey.url) as client:
        await client.ask("FLUSHALL")
        store = Store(valkey.url)
        assert await store.start()
        rules = load_text(TEXT.format(tmp_path)).rules
        assert rules is not None
        term = await Election(client, keys, "one", "h:1").ask()
        context = Context(client, store, keys, load({"HOME": str(tmp_path)}), term.fence, lambda: rules, clock)
        gate = Gate(store, keys, clock=clock, pinned=True)
        yield House(context, gate, clock, tmp_path, Desk(client, keys, rules, Who("anna", "cli"), clock()))
        await store.close()


async def enter_essential(house: House, amount: int) -> None:
    """Spend what only essential calls still may."""
    asked = ask(amount, *house.context.rules.budgets, call_id="essential", at_ms=house.clock(), essential=True)
    answer = await house.gate.admit(asked)
    assert isinstance(answer, Admitted)
    await house.gate.settle(answer, bill(amount), 200)


async def calls(house: House) -> Reason | None:
    answer = await house.gate.admit(ask(1, *house.context.rules.budgets, call_id="probe", at_ms=house.clock()))
    if isinstance(answer, Denied):
        return answer.reason
    await house.gate.void(answer.ask)
    return None


async def test_stopped_at_the_lines_and_back_at_the_new_period(house: House) -> None:
    await house.spend(900)
    assert await house.tend() == set()
    await house.spend(50)
    assert await house.tend() == {"reports", "chat", "rehearsed"}
    assert house.off() == {"reports"}, "what is rehearsed is only told"
    assert [one.field for one in await switches.active(house.desk.client, house.desk.keys, house.clock())] == [
        "api:openai"
    ]
    await house.desk.client.ask("HDEL", house.desk.keys.switches, "api:openai")
    await enter_essential(house, 50)
    assert await house.tend() == {"worker", "reports", "chat", "rehearsed"}
    assert house.off() == {"worker", "reports"}
    house.clock.now_ms = at("2026-12-01T00:00:00+09:00")
    assert await house.tend() == set()
    assert house.off() == set()
    done = [(e.action, e.target) for e in reversed(await audit.last(house.desk.client, house.desk.keys, 100))]
    order = [target for action, target in done if action == "service.start"]
    assert order.index("service:worker") < order.index("service:reports")
    assert (await audit.verify(house.desk.client, house.desk.keys)).sound


async def test_an_increase_and_a_lift_bring_them_back(house: House) -> None:
    await house.spend(960)
    assert "reports" in await house.tend()
    entry = await switches.increase(house.now(), "monthly", won(500), "campaign")
    assert await house.tend() == set()
    await switches.undo(house.now(), entry.number, "over")
    assert "reports" in await house.tend()
    await switches.lift(house.now(), "all", "demo", house.clock() + 60_000)
    assert await house.tend() == set()
    assert await calls(house) is None
    house.clock.pass_s(61)
    assert "reports" in await house.tend(), "the lift ended by itself"


async def test_what_a_person_has_blocked_stays_blocked(house: House) -> None:
    mine = await switches.block(house.now(), "api:openai", "contract ended")
    await kept.by_hand(house.now(), "chat", "stop", "tidy")
    assert await house.tend() == {"chat"}
    await kept.by_hand(house.now(), "chat", "auto", "tidy")
    assert await house.tend() == set()
    held = await switches.active(house.desk.client, house.desk.keys, house.clock())
    assert [(one.field, one.entry) for one in held] == [("api:openai", mine.number)]


async def test_one_that_fails_is_retried_and_told_and_holds_up_no_other(house: House) -> None:
    await house.spend(960)
    await house.tend()
    (house.folder / "reports").unlink()  # its start will fail: there is nothing to remove
    house.clock.now_ms = at("2026-12-01T00:00:00+09:00")
    assert await house.tend() == {"reports"}
    states, _ = await kept.read(house.desk.client, house.desk.keys, house.desk.now_ms)
    assert states["reports"]["tries"] == 1
    assert "cannot remove" in states["reports"]["error"]
    house.clock.pass_s(0.5)
    assert await house.tend() == {"reports"}
    (house.folder / "reports").touch()
    house.clock.pass_s(1)
    assert await house.tend() == set(), "tried again by itself, well within two minutes"


async def test_one_that_cannot_be_stopped_is_told_with_what_it_says_while_the_others_stop(house: House) -> None:
    broken = """  - {name: broken, priority: optional, command: {stop: ["false"], start: ["true"]}}
"""
    rules = load_text(TEXT.format(house.folder) + broken).rules
    assert rules is not None
    context = replace(house.context, current_rules=lambda: rules)
    await house.spend(950)
    for _ in range(3):
        await services.tend(context)
        house.clock.pass_s(5)
    await Watcher(context).step(house.clock())
    told = [one for one in await Outbox(context.client, context.keys).history(20) if one.kind.value == "service_failed"]
    facts = [(one.facts["service"], one.facts["wanted"], one.facts["error"]) for one in told]
    assert facts == [("broken", "stopped", "false ended with 1")]
    states, _ = await kept.read(context.client, context.keys, house.clock())
    assert {name for name, state in states.items() if state["runs"] is False} == {"reports", "chat", "rehearsed"}


async def test_one_that_hangs_holds_up_neither_the_others_nor_what_depends_on_them(house: House) -> None:
    stuck = """  - {name: stuck, priority: optional, timeout: 1h, command: {stop: [sleep, "3600"], start: ["true"]}}
  - {name: strange, priority: optional, docker: {container: worker, socket: /nowhere/docker.sock}}
"""
    rules = load_text(TEXT.format(house.folder) + stuck).rules
    assert rules is not None
    context = replace(house.context, current_rules=lambda: rules)
    await house.spend(950)
    await enter_essential(house, 50)
    tender, off = services.Tender(context), set[str]()
    async with asyncio.timeout(30):
        while off != {"worker", "reports", "chat", "rehearsed"}:
            await tender.step()
            await asyncio.sleep(0.01)  # what is under way gets its turn
            states, _ = await kept.read(context.client, context.keys, context.now_ms())
            off = {name for name, state in states.items() if state["runs"] is False}
    assert states["strange"]["tries"] >= 1
    assert "stuck" not in states, "still being stopped"
    await tender.close()


async def test_a_leader_of_the_past_moves_nothing_into_the_state(house: House) -> None:
    await house.spend(960)
    old = replace(house.context, fence=house.context.fence - 1)
    with pytest.raises((Stale, ExceptionGroup)):
        await services.tend(old)
    states, _ = await kept.read(house.desk.client, house.desk.keys, house.desk.now_ms)
    assert states == {}


def rules_of(text: str) -> Any:
    return load_text(text)


def test_the_grammar_knows_every_way() -> None:
    text = """version: 1
budgets: [{name: monthly, limit: 10}]
apis: [{name: a, upstream: "https://a.example.com", prices: [{per_request: 1}]}]
services:
  - {name: one, priority: optional, http: {stop: "http://h/off", start: "http://h/on", headers: {X-Key: "${SECRET}"}}}
  - {name: two, priority: optional, docker: {container: worker}}
  - {name: three, priority: optional, systemd: {unit: worker.service, user: true}}
  - {name: four, priority: optional, kubernetes: {server: "https://k:6443", name: api, replicas: 2, token_env: SECRET}}
  - {name: five, priority: important, apis: [a], budget: monthly, timeout: 5s}
"""
    loaded = load_text(text, env={"SECRET": "hidden-value"})
    assert isinstance(loaded.rules, RuleSet), [m.render() for m in loaded.mistakes]
    assert "hidden-value" not in repr(loaded.rules.services)
    assert loaded.rules.services[0].actuator.headers == (("X-Key", "hidden-value"),)  # type: ignore[union-attr]
