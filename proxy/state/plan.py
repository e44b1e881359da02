"""How a call's values become the keys and arguments of the scripts in lua/, and come back from a reservation's record.

A `Plan` is what all calls with the same budgets, in the same windows, have in common; it is made once and used until
the first of its windows ends. The rest is filled in per call. Decides nothing and sends nothing: the order of
arguments here and the headers of the Lua files are two sides of one contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec

from proxy.core import money
from proxy.core.model import (
    Admitted,
    Ask,
    Bill,
    Budget,
    Cost,
    Estimate,
    Level,
    Period,
    PeriodUnit,
    Priority,
    Quota,
    Window,
)
from proxy.core.windows import iso, window_at
from proxy.state import keys as k
from proxy.state.keys import Keys
from proxy.state.resp import Argument, Packed

Parts = tuple[Packed, ...]  # the number of keys, the keys and the arguments of a script, some encoded beforehand

_DAY = Period(PeriodUnit.DAY)
_MONTH = Period(PeriodUnit.MONTH)
_PATH_KEPT: Final = 500  # characters of a path that the ledger keeps
_encode = msgspec.json.Encoder(decimal_format="string").encode

LEDGER_FIELDS: Final = (
    *("id", "at", "api", "rule", "caller", "method", "path", "status", "state"),
    *("cost", "currency", "original_cost", "original_currency", "fx_rate", "fx_date", "estimate"),
    *("model", "usage", "terms", "budgets", "note"),
)
_NO_ENTRY: Final = ("",) * len(LEDGER_FIELDS)


# --- the record of a reservation -------------------------------------------------------------------------------------


class BudgetFacts(msgspec.Struct):
    """One budget as it was at admission: enough to charge it without the rules."""

    name: str
    period: str
    currency: str
    limit: int  # atoms
    starts: int  # ms
    ends: int  # ms
    timezone: str
    thresholds: list[int]  # basis points


class QuotaFacts(msgspec.Struct):
    name: str
    period: str
    ends: int  # ms
    steps: list[tuple[int, str, str]]  # first position, price in its own currency, estimate in the ledger's


class Facts(msgspec.Struct):
    """What a call in flight is, for people who look at Redis and for the proxy that reclaims it."""

    at: str
    at_ms: int
    api: str
    rule: str
    caller: str
    method: str
    path: str
    model: str
    estimate: str  # "1500.25", in `currency`
    currency: str
    timezone: str
    original: str
    original_currency: str
    fx_rate: str
    fx_date: str
    usage: dict[str, int]
    budgets: msgspec.Raw
    quota: QuotaFacts | None = None


_decode_facts = msgspec.json.Decoder(Facts).decode
_decode_budgets = msgspec.json.Decoder(list[BudgetFacts]).decode


@dataclass(frozen=True, slots=True)
class Record:
    """A reservation as kept in Redis: "held by budget|quota units|position|facts"."""

    held: tuple[int, ...]  # atoms, in the order of the budgets
    units: int  # thousandths drawn from the quota
    position: int  # -1: no quota
    facts: Facts

    @classmethod
    def parse(cls, raw: bytes) -> Record:
        """Raises ValueError (msgspec.DecodeError is one) for anything else than what admit.lua writes."""
        held, units, position, facts = raw.split(b"|", 3)
        return cls(tuple(map(int, held.split())), int(units or 0), int(position), _decode_facts(facts))

    def budgets(self) -> list[BudgetFacts]:
        return _decode_budgets(self.facts.budgets)


# --- what calls have in common ---------------------------------------------------------------------------------------


def percent_text(basis_points: int) -> str:
    """7000 -> "70", 7250 -> "72.5"."""
    whole, part = divmod(basis_points, 100)
    return f"{whole}.{part:02d}".rstrip("0") if part else str(whole)


def threshold_atoms(limit_atoms: int, basis_points: int) -> int:
    """The first amount that has reached the threshold: rounded up, so never early."""
    return -(-limit_atoms * basis_points // 10_000)


@dataclass(slots=True)
class _Now:
    """ISO text of an instant, with the part up to the second kept: most calls share it."""

    second: int = -1
    timezone: str = ""
    head: str = ""
    tail: str = ""

    def text(self, now_ms: int, timezone: str) -> str:
        second, ms = divmod(now_ms, 1000)
        if second != self.second or timezone != self.timezone:
            whole = iso(second * 1000, timezone)
            self.second, self.timezone = second, timezone
            self.head, _, rest = whole.partition(".")
            self.tail = rest[3:]
        return f"{self.head}.{ms:03d}{self.tail}"


_now = _Now()


class Plan:
    """Keys and arguments of all calls with these budgets while `from_ms` <= now < `until_ms`."""

    def __init__(
        self, keys: Keys, budgets: tuple[Budget, ...], timezone: str, quota: tuple[str, Period] | None, now_ms: int
    ) -> None:
        windows = tuple(window_at(b.period, b.timezone, now_ms) for b in budgets)
        quota_window = window_at(quota[1], timezone, now_ms) if quota else None
        self._fill(
            keys, budgets, windows, timezone, (quota[0], quota_window) if quota and quota_window else None, now_ms
        )

    @classmethod
    def of_windows(
        cls,
        keys: Keys,
        budgets: tuple[Budget, ...],
        windows: tuple[Window, ...],
        timezone: str,
        quota: tuple[str, Window] | None,
        now_ms: int,
    ) -> Plan:
        """The plan of a call admitted earlier: its own windows hold, whatever the time is now."""
        plan = cls.__new__(cls)
        plan._fill(keys, budgets, windows, timezone, quota, now_ms)
        return plan

    def _fill(
        self,
        keys: Keys,
        budgets: tuple[Budget, ...],
        windows: tuple[Window, ...],
        timezone: str,
        quota: tuple[str, Window] | None,
        now_ms: int,
    ) -> None:
        day = window_at(_DAY, timezone, now_ms)
        month = window_at(_MONTH, timezone, now_ms)
        bounds = [*windows, day, *([quota[1]] if quota else [])]
        self.from_ms = max(w.start_ms for w in bounds)
        self.until_ms = min(w.end_ms for w in bounds)
        self.keys = keys
        self.budgets = budgets
        self.windows = windows
        self.currencies = tuple(b.currency for b in budgets)
        self.timezone = timezone
        self.quota = quota
        self.budget_keys = tuple(keys.budget(b.name, w.label) for b, w in zip(budgets, windows, strict=True))
        self.quota_key = keys.quota(quota[0], quota[1].label) if quota else None
        in_flight, quota_keys = (keys.reservations, keys.leases), (self.quota_key,) if self.quota_key else ()
        admit_keys = (*in_flight, *self.budget_keys, *quota_keys)
        self._admit_keys = Packed(len(admit_keys), *admit_keys)
        self._extend_keys = Packed(2 + len(budgets), *in_flight, *self.budget_keys)
        settle_keys = (
            *(*in_flight, keys.settled(day.label), keys.ledger(month.label), keys.day(day.label)),
            *(keys.day_callers(day.label), keys.thresholds, *self.budget_keys, *quota_keys),
        )
        self._settle_keys = Packed(len(settle_keys) + 2, *settle_keys)  # and two that are the call's own
        self._charge_heads = [  # of the ledger's `budgets`, up to the charge
            _encode((b.name, w.label, b.currency)).decode()[:-1] for b, w in zip(budgets, windows, strict=True)
        ]
        self.percents = {percent_text(bp): bp for b in budgets for bp in b.thresholds_bp()}
        self.budget_facts = msgspec.Raw(
            _encode(
                [
                    BudgetFacts(
                        b.name,
                        w.label,
                        b.currency,
                        b.limit_atoms,
                        w.start_ms,
                        w.end_ms,
                        b.timezone,
                        list(b.thresholds_bp()),
                    )
                    for b, w in zip(budgets, windows, strict=True)
                ]
            )
        )
        quota_keep = quota[1].end_ms + k.QUOTA_KEPT_S * 1000 if quota else 0
        admit: list[Argument] = [self.from_ms, self.until_ms, quota_keep]
        extend: list[Argument] = []
        settle: list[Argument] = [
            day.end_ms + k.SETTLED_KEPT_S * 1000,
            month.end_ms + k.LEDGER_KEPT_S * 1000,
            day.end_ms + k.ROLLUP_KEPT_S * 1000,
            quota_keep,
        ]
        for b, w in zip(budgets, windows, strict=True):
            digits, keep = str(money.exponent(b.currency)), w.end_ms + k.BUDGET_KEPT_S * 1000
            limit_text = money.format_text(b.limit_atoms, b.currency)
            starts, resets = iso(w.start_ms, b.timezone), iso(w.end_ms, b.timezone)
            restrict, stop = (threshold_atoms(b.limit_atoms, bp) for bp in (b.restrict_bp, b.stop_bp))
            admit += [b.limit_atoms, restrict, stop, keep, digits, b.currency, limit_text, starts, resets]
            extend += [b.limit_atoms, digits, b.currency]
            marks = [(percent_text(bp), threshold_atoms(b.limit_atoms, bp)) for bp in b.thresholds_bp()]
            settle += [b.name, w.label, b.limit_atoms, keep, digits, b.currency, limit_text]
            settle += [marks[0][1], " ".join(f"{name}={atoms}" for name, atoms in marks)]
        self._admit_static, self._extend_static, self._settle_static = Packed(*admit), Packed(*extend), Packed(*settle)

    # --- admit

    def admit_parts(self, ask: Ask, given_now: int, now_ms: int, lease_ms: int) -> Parts:
        """What admit.lua is given. Raises KeyError when the estimate lacks a budget's currency."""
        estimate, quota = ask.estimate, ask.estimate.quota
        steps = quota.steps if quota else ()
        essential = 1 if ask.priority is Priority.ESSENTIAL else 0
        amounts: list[int] = []
        if not steps:
            atoms = estimate.cost.atoms
            amounts = [atoms[currency] for currency in self.currencies]
        for step in steps:
            amounts.append(step.from_position)
            amounts += [step.cost.atoms[currency] for currency in self.currencies]
        own = Packed(
            *(ask.id, given_now, lease_ms, essential, len(self.budgets)),
            *(quota.units if quota else "", len(steps), self._facts(ask, now_ms), *amounts),
        )
        return self._admit_keys, own, self._admit_static

    def _facts(self, ask: Ask, now_ms: int) -> bytes:
        estimate, cost = ask.estimate, ask.estimate.cost
        facts = Facts(
            at=_now.text(now_ms, self.timezone),
            at_ms=now_ms,
            api=ask.api,
            rule=ask.rule,
            caller=ask.caller,
            method=ask.method,
            path=ask.path[:_PATH_KEPT],
            model=estimate.model or "",
            estimate=money.format_decimal(cost.atoms[ask.currency], ask.currency),
            currency=ask.currency,
            timezone=self.timezone,
            original=money.plain(cost.original),
            original_currency=cost.original_currency,
            fx_rate=money.plain(cost.fx_rate) if cost.fx_rate is not None else "",
            fx_date=cost.fx_date or "",
            usage=dict(estimate.usage),
            budgets=self.budget_facts,
            quota=self._quota_facts(estimate, ask.currency),
        )
        return _encode(facts)

    def _quota_facts(self, estimate: Estimate, currency: str) -> QuotaFacts | None:
        if self.quota is None or estimate.quota is None:
            return None
        name, window = self.quota
        steps = [
            (
                step.from_position,
                money.plain(step.cost.original),
                money.format_decimal(step.cost.atoms[currency], currency),
            )
            for step in estimate.quota.steps
        ]
        return QuotaFacts(name, window.label, window.end_ms, steps)

    def level(self, index: int, spent: int, reserved: int) -> Level | None:
        """The budget that a script counts as number `index` (from 1; 0 = none)."""
        if index == 0:
            return None
        b, w = self.budgets[index - 1], self.windows[index - 1]
        return Level(b.name, w.label, b.currency, b.limit_atoms, spent, reserved, w.end_ms)

    # --- extend

    def extend_parts(self, ask: Ask, given_now: int, lease_ms: int, totals: Sequence[int]) -> Parts:
        """What extend.lua is given."""
        own = Packed(ask.id, given_now, lease_ms, 1 if ask.priority is Priority.ESSENTIAL else 0, *totals)
        return self._extend_keys, own, self._extend_static

    # --- settle, void, reclaim

    def settle_parts(
        self,
        mode: str,
        call_id: str,
        learned: str,
        given_now: int,
        now_ms: int,
        *,
        record: bytes = b"",
        units: int | None = None,
        cost: int = 0,
        sample: int | None = None,
        entry: Sequence[str] = _NO_ENTRY,
        charges: Sequence[int],
    ) -> Parts:
        """What settle.lua is given; learned is a key, entry has the values of LEDGER_FIELDS (a void needs none)."""
        own: list[Argument] = [self.keys.unconfirmed(call_id), learned, mode, call_id, given_now, len(self.budgets)]
        own += [record, "" if units is None else units, cost, "" if sample is None else sample]
        own += [_now.text(now_ms, self.timezone), *entry, *charges]
        return self._settle_keys, Packed(*own), self._settle_static

    def charged(self, charges: Sequence[int]) -> str:
        """The ledger's `budgets`: [["monthly","2026-11","KRW","1500.25"], ...]."""
        amounts = map(money.format_decimal, charges, self.currencies)
        lines = [f'{head},"{amount}"]' for head, amount in zip(self._charge_heads, amounts, strict=True)]
        return f"[{','.join(lines)}]"


def ledger_entry(plan: Plan, admitted: Admitted, bill: Bill, status: int | None, charges: Sequence[int]) -> list[str]:
    """Values of LEDGER_FIELDS for a call that ended."""
    ask, cost = admitted.ask, bill.cost
    estimate = estimated_cost(ask.estimate, admitted.position)
    terms = [
        {
            "name": term.name,
            "quantity": money.plain(term.quantity),
            "unit_price": money.plain(term.unit_price),
            "amount": money.plain(term.amount),
        }
        for term in cost.terms
    ]
    return [
        *(ask.id, _now.text(admitted.now_ms, plan.timezone), ask.api, ask.rule, ask.caller, ask.method),
        *(ask.path[:_PATH_KEPT], "" if status is None else str(status), bill.state.value),
        *(money.format_decimal(cost.atoms[ask.currency], ask.currency), ask.currency),
        *(money.plain(cost.original), cost.original_currency),
        *(money.plain(cost.fx_rate) if cost.fx_rate is not None else "", cost.fx_date or ""),
        money.format_decimal(estimate.atoms.get(ask.currency, 0), ask.currency),
        *(ask.estimate.model or "", _encode(dict(bill.usage)).decode(), _encode(terms).decode()),
        *(plan.charged(charges), bill.note or ""),
    ]


def estimated_cost(estimate: Estimate, position: int | None) -> Cost:
    """What was reserved at admission: the cost of the last quota step that the position has reached."""
    if estimate.quota is None or not estimate.quota.steps:
        return estimate.cost
    best = estimate.quota.steps[0]
    for step in estimate.quota.steps:
        if step.from_position <= (position or 0):
            best = step
    return best.cost


def held_by_currency(plan: Plan, ask: Ask, position: int | None) -> Mapping[str, int]:
    atoms = estimated_cost(ask.estimate, position).atoms
    return {currency: atoms[currency] for currency in (*plan.currencies, ask.currency)}


def quota_name(quota: Quota | None) -> tuple[str, Period] | None:
    return (quota.name, quota.period) if quota else None


# --- a reservation whose proxy is gone -------------------------------------------------------------------------------


def reclaim_parts(keys: Keys, call_id: str, raw: bytes, given_now: int, now_ms: int) -> Parts:
    """What settle.lua is given to charge an abandoned reservation at what it holds.

    Raises ValueError for a bad record.
    """
    record = Record.parse(raw)
    facts = record.facts
    budgets, windows = [], []
    for b in record.budgets():
        # Period, restrict and stop decide admissions only: an ended call needs the window and the thresholds.
        budgets.append(
            Budget(
                b.name,
                b.limit,
                b.currency,
                _DAY,
                b.timezone,
                warn_bp=tuple(b.thresholds),
                restrict_bp=b.thresholds[-1],
                stop_bp=b.thresholds[-1],
            )
        )
        windows.append(Window(b.period, b.starts, b.ends))
    quota = (facts.quota.name, Window(facts.quota.period, 0, facts.quota.ends)) if facts.quota else None
    plan = Plan.of_windows(keys, tuple(budgets), tuple(windows), facts.timezone, quota, facts.at_ms)
    cost, original = _abandoned_cost(record, plan)
    entry = [
        *(call_id, facts.at, facts.api, facts.rule, facts.caller, facts.method, facts.path, "", "unconfirmed"),
        *(money.format_decimal(cost, facts.currency), facts.currency, original, facts.original_currency),
        *(facts.fx_rate, facts.fx_date, money.format_decimal(cost, facts.currency), facts.model),
        *(_encode(facts.usage).decode(), "[]", plan.charged(record.held), "unconfirmed"),
    ]
    return plan.settle_parts(
        "reclaim",
        call_id,
        keys.learned(facts.rule, facts.model or "-"),
        given_now,
        now_ms,
        record=raw,
        cost=cost,
        entry=entry,
        charges=record.held,
    )


def _abandoned_cost(record: Record, plan: Plan) -> tuple[int, str]:
    """Atoms of the ledger's currency, and the original amount, of what the reservation holds now."""
    facts = record.facts
    estimate, original = facts.estimate, facts.original
    if facts.quota:
        for start, step_original, step_estimate in facts.quota.steps:
            if start <= max(record.position, 0):
                estimate, original = step_estimate, step_original
    estimated = money.to_atoms(Decimal(estimate), facts.currency)
    for held, currency in zip(record.held, plan.currencies, strict=True):
        if currency == facts.currency and held != estimated:
            # The reservation has grown since: the original amount follows at the same rate.
            amount = money.from_atoms(held, facts.currency)
            if facts.fx_rate:
                amount = money.divide(amount, Decimal(facts.fx_rate)).quantize(Decimal("1e-9"))
            return held, money.plain(amount)
    return estimated, original
