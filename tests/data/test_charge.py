"""An admitted call is charged, whatever goes wrong while its bill is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from proxy import rules_file
from proxy.core import match, price
from proxy.core.model import Admitted, Ask, Caller, Outbound, PerUnit, RuleSet, State, Usage
from proxy.data.charge import FAILED, Charge
from proxy.data.inbound import Call
from proxy.state import embedded
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.ledger import opened
from proxy.state.store import Store

RULES = """\
version: 1
budgets: [{name: monthly, limit: 1000, period: month}]
apis:
  - name: sms
    upstream: http://127.0.0.1:9
    prices: [{per_unit: {price: 9, count: "status / 100", max_count: 4}}]
"""
CALL = Outbound("POST", "http", "127.0.0.1", 9, "/messages", body=b"{}", body_size=2)
ANYBODY = Caller("anonymous")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    with embedded.open(tmp_path / "data") as server:
        store = Store(server.url)
        assert await store.start()
        yield store
        await store.close()


def loaded() -> RuleSet:
    rules = rules_file.load_text(RULES).rules
    assert rules is not None
    return rules


async def admitted(gate: Gate, rules: RuleSet) -> tuple[Call, Admitted]:
    api = rules.apis[0]
    rule = api.rules[0]
    now_ms = gate.now_ms()
    call = Call(api, rule, ANYBODY, CALL, CALL.body, forward=False, key_header=None)
    ask = Ask(
        id=f"{now_ms:012x}{7:016x}",
        at_ms=now_ms,
        api=api.name,
        rule=rule.id,
        caller="anonymous",
        method="POST",
        path="/messages",
        priority=rule.priority,
        budgets=match.chain(rules, api, rule, ANYBODY),
        estimate=price.estimate(rules, rule, CALL, now_ms),
        currency=rules.currency,
        timezone=rules.timezone,
    )
    ticket = await gate.admit(ask)
    assert isinstance(ticket, Admitted)
    return call, ticket


async def test_a_bill_that_cannot_be_made_is_charged_at_what_the_call_holds(store: Store) -> None:
    gate, rules = Gate(store, Keys()), loaded()
    call, ticket = await admitted(gate, rules)
    # A compiled expression that is none: the kind of mistake that only we can make.
    broken = PerUnit(Decimal(9), "status", program=object(), max_count=Decimal(4))
    object.__setattr__(call.rule.price, "per_unit", (broken,))
    await Charge(gate, rules, call, ticket).settle(Usage(status=200, sent=True))
    async with opened(store.url) as ledger:
        entry = await ledger.find(ticket.ask.id)
        (level,) = await ledger.levels(rules.budgets, gate.now_ms())
    assert entry is not None
    assert (entry["state"], entry["cost"], entry["note"]) == (State.ESTIMATED, "36", FAILED)
    assert (level["spent"], level["reserved"]) == ("36", "0")


async def test_settling_twice_charges_once(store: Store) -> None:
    gate, rules = Gate(store, Keys()), loaded()
    call, ticket = await admitted(gate, rules)
    charge = Charge(gate, rules, call, ticket)
    await charge.settle(Usage(status=200, sent=True))
    await charge.settle(Usage(status=400, sent=True))
    assert charge.cost_text() == "18"
    assert charge.remaining_text() == "982"
    async with opened(store.url) as ledger:
        (level,) = await ledger.levels(rules.budgets, gate.now_ms())
    assert level["spent"] == "18"
