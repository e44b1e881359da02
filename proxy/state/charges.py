"""Costs without a call, entered as calls are: through settle, into every budget, roll-up, threshold and the ledger.

Each has an id; entering it twice is once. What a person or a program enters carries an idempotency key: the key's first
use fixes id and instant, so that a repeat, however late, means the same entry.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from proxy.core import money
from proxy.core.model import Admitted, Ask, Bill, Budget, Cost, Estimate, Priority, RuleSet, State, Term
from proxy.core.windows import iso, local_day, window_at
from proxy.state.client import Client
from proxy.state.gate import Gate
from proxy.state.keys import BUDGET_KEPT_S, CHARGES_KEPT_S, Keys
from proxy.state.store import StoreUnavailable

_KEEP_S: Final = CHARGES_KEPT_S


@dataclass(frozen=True, slots=True)
class Charge:
    """One cost. kind: "fixed" | "charge". api: the name in the ledger. scope: of which API's budgets it counts, too."""

    id: str
    at_ms: int
    kind: str
    api: str
    text: str
    amount: Decimal  # in `currency`
    currency: str
    scope: str | None = None


class KeyTaken(Exception):
    """The idempotency key was used for another charge."""


async def enter(client: Client, gate: Gate, rules: RuleSet, charge: Charge) -> bool:
    """Charge it, once; False: it was entered before. Raises StoreUnavailable, NoRate."""
    budgets = tuple(b for b in rules.budgets if b.rule is None and b.caller is None and b.api in (None, charge.scope))
    day = local_day(charge.at_ms, rules.timezone)
    atoms: dict[str, int] = {}
    rate = date = None
    for currency in dict.fromkeys((rules.currency, *(b.currency for b in budgets))):
        worth, used, of = money.convert(charge.amount, charge.currency, currency, rules.fx, rules.currency, day)
        atoms[currency] = money.to_atoms(worth, currency)
        if currency == rules.currency:
            rate, date = used, of
    term = Term(charge.kind, Decimal(1), charge.amount, charge.amount)
    cost = Cost(charge.amount, charge.currency, atoms, rate, date, (term,))
    windows = tuple(window_at(b.period, b.timezone, charge.at_ms) for b in budgets)
    for budget, window in zip(budgets, windows, strict=True):
        await _describe(client, gate.keys, budget, window.label, window.start_ms, window.end_ms, gate.now_ms())
    ask = Ask(
        id=charge.id,
        at_ms=charge.at_ms,
        api=charge.api,
        rule=f"{charge.kind}/{charge.api}",  # of rent: FixedCost.rule
        caller="-",
        method=charge.kind.upper(),
        path=charge.text,
        priority=Priority.IMPORTANT,
        budgets=budgets,
        estimate=Estimate(cost, "exact"),
        currency=rules.currency,
        timezone=rules.timezone,
    )
    admitted = Admitted(ask, charge.at_ms, windows, atoms, None, None)
    settled = await gate.settle(admitted, Bill(cost, State.SETTLED, {}, note=charge.kind), None)
    if settled.pending:
        raise StoreUnavailable("the charge could not be confirmed; enter it again with the same key")
    return settled.done


async def _describe(
    client: Client, keys: Keys, budget: Budget, label: str, start_ms: int, end_ms: int, now_ms: int
) -> None:
    """Give a budget's period that no call has opened yet what an admission would have written."""
    key = keys.budget(budget.name, label)
    if await client.ask("HEXISTS", key, "resets_at"):
        return
    digits = money.exponent(budget.currency)
    pairs = {
        "limit": str(budget.limit_atoms),
        "limit_text": money.format_text(budget.limit_atoms, budget.currency),
        "currency": budget.currency,
        "unit": "0.000001" if digits == 6 else "0.000000001",
        "starts_at": iso(start_ms, budget.timezone),
        "resets_at": iso(end_ms, budget.timezone),
    }
    fields = [text for pair in pairs.items() for text in pair]
    keep_ms = max(end_ms - now_ms, 0) + BUDGET_KEPT_S * 1000
    await client.ask_all([("HSET", key, *fields), ("PEXPIRE", key, keep_ms)], at_once=True)


async def enter_keyed(
    client: Client, gate: Gate, rules: RuleSet, *, key: str, api: str, text: str, amount: Decimal, currency: str,
    scope: str | None = None,
) -> tuple[str, bool]:  # fmt: skip
    """Enter an outside cost under an idempotency key: (id of its ledger entry, False if it was there before).

    Raises KeyTaken when the key stands for another amount, currency or name; StoreUnavailable, NoRate.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    said = f"{money.plain(amount)} {currency} {api}"
    now_ms = gate.now_ms()
    wanted = json.dumps({"id": f"{now_ms:012x}{digest[:16]}", "at_ms": now_ms, "said": said, "done": False})
    hash_key, field = gate.keys.charges, f"key:{digest}"
    await client.ask_all([("HSETNX", hash_key, field, wanted), ("EXPIRE", hash_key, _KEEP_S)], at_once=True)
    kept = json.loads(await client.ask("HGET", hash_key, field))
    if kept["said"] != said:
        raise KeyTaken(key)
    if kept["done"]:
        return kept["id"], False
    charge = Charge(kept["id"], kept["at_ms"], "charge", api, text, amount, currency, scope)
    new = await enter(client, gate, rules, charge)
    await client.ask("HSET", hash_key, field, json.dumps({**kept, "done": True}))
    return kept["id"], new
