"""The ledger's calls added up by API, rule and model: what every rule of this room looks at.

Entries come one by one and are not kept, so that a month of a million calls needs no memory to speak of. Two rules need
to recognise calls: repeats by the digest of their question, retries by who tried again; both memories are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from proxy.core import money
from proxy.core.fixed_model import FixedCost
from proxy.core.history import Drawn
from proxy.core.model import PeriodUnit, Rule, RuleSet
from proxy.core.windows import local_day, window_at

MONTH_DAYS = 30
_MONTH_MS = MONTH_DAYS * 86_400_000
REMEMBERED = 100_000  # questions, and callers' last failures
RETRY_WITHIN_S = 60
SHORT_INPUT, SHORT_OUTPUT = 1500, 300  # tokens: what a smaller model answers as well
BURST_CALLS = 20  # in one minute, by one caller: nobody is waiting for each of them
NIGHT = frozenset({22, 23, 0, 1, 2, 3, 4, 5, 6})
NO_CALLS = frozenset({"fixed", "charge"})  # notes of entries that no call made

Where = tuple[str, str, str]  # API, rule id, model ("" = none)


def where_of(cost: FixedCost) -> Where:
    """Where a fixed cost stands among the groups; its name is in the model's place, which a call cannot have there."""
    return cost.stands_under, cost.rule, cost.name


@dataclass(slots=True)
class Group:
    """The calls of one API, rule and model. Amounts are atoms of the rule set's currency."""

    calls: int = 0
    cost: int = 0
    estimate: int = 0
    failed: int = 0
    failed_cost: int = 0
    retried: int = 0
    repeated: int = 0
    repeated_cost: int = 0
    short: int = 0
    short_cost: int = 0
    short_usage: dict[str, int] = field(default_factory=dict)
    burst: int = 0
    burst_cost: int = 0
    night: int = 0
    night_cost: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    shared_prefix: int | None = None  # the fewest input tokens of any call: no constant prefix is longer


@dataclass(frozen=True, slots=True)
class Use:
    """A resource's utilisation over the last days, in its query's own unit. days: how many of them were measured."""

    mean: float
    peak: float
    days: int


@dataclass(frozen=True, slots=True)
class Growth:
    """A resource's size some days ago and now, in its query's own unit."""

    then: float
    now: float
    days: int


class Facts:
    """Mutable while `add` is called; the rules only read it.

    used, grown: what was measured, by fixed cost. drawn: what the counters of free allowances say.
    """

    def __init__(self, rules: RuleSet, days: int, now_ms: int) -> None:
        """days: how many days the entries reach back (at least 1)."""
        self.rules = rules
        self.used: Mapping[str, Use] = {}
        self.grown: Mapping[str, Growth] = {}
        self.drawn: Drawn = {}
        self.days = max(1, days)
        self.now_ms = now_ms
        self.groups: dict[Where, Group] = {}
        self._seen: dict[tuple[Any, ...], int] = {}
        self._failed_at: dict[tuple[str, str, str], float] = {}
        self._minute: dict[tuple[Where, str, str], list[int]] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """One ledger entry, as `spendgate ledger --json` prints it; newest or oldest first.

        Others' currencies pass, and what is no call: rent and outside costs.
        """
        if entry["currency"] != self.rules.currency or entry.get("note") in NO_CALLS:
            return
        cost = money.to_atoms(Decimal(entry["cost"]), entry["currency"])
        where: Where = (entry["api"], entry["rule"], entry["model"] or "")
        group = self.groups.setdefault(where, Group())
        at = datetime.fromisoformat(entry["at"])
        usage: Mapping[str, int] = {k: v for k, v in entry["usage"].items() if isinstance(v, int) and v >= 0}
        group.calls += 1
        group.cost += cost
        group.estimate += money.to_atoms(Decimal(entry["estimate"] or 0), entry["currency"])
        if at.hour in NIGHT or at.weekday() > 4:
            group.night += 1
            group.night_cost += cost
        status = entry["status"]
        caller = (where[0], where[1], entry["caller"])
        if status is None or status >= 400:
            group.failed += 1
            group.failed_cost += cost
            last = self._failed_at.get(caller)
            if last is not None and abs(at.timestamp() - last) <= RETRY_WITHIN_S:
                group.retried += 1
            if len(self._failed_at) < REMEMBERED:
                self._failed_at[caller] = at.timestamp()
            return
        for name, count in usage.items():
            group.usage[name] = group.usage.get(name, 0) + count
        read = usage.get("input_tokens", 0)
        if read:
            group.shared_prefix = read if group.shared_prefix is None else min(group.shared_prefix, read)
        if self._repeated(entry, where):
            group.repeated += 1
            group.repeated_cost += cost
            return  # counted as a repeat; the other rules look at the calls that would remain
        written = usage.get("output_tokens", 0)
        if 0 < read <= SHORT_INPUT and written <= SHORT_OUTPUT:
            group.short += 1
            group.short_cost += cost
            for name, count in usage.items():
                group.short_usage[name] = group.short_usage.get(name, 0) + count
        self._in_minute(group, where, entry, cost)

    def _repeated(self, entry: Mapping[str, Any], where: Where) -> bool:
        """Whether the same caller asked the same address the very same question on the same day."""
        if not entry.get("question"):
            return False
        like = (entry["at"][:10], where, entry["caller"], entry["method"], entry["path"], entry["question"])
        if like in self._seen:
            return True
        if len(self._seen) < REMEMBERED:
            self._seen[like] = 1
        return False

    def _in_minute(self, group: Group, where: Where, entry: Mapping[str, Any], cost: int) -> None:
        key = (where, entry["caller"], entry["at"][:16])
        if key not in self._minute and len(self._minute) >= REMEMBERED:
            return
        minute = self._minute.setdefault(key, [0, 0])
        minute[0] += 1
        minute[1] += cost
        if minute[0] == BURST_CALLS:
            group.burst += minute[0]
            group.burst_cost += minute[1]
        elif minute[0] > BURST_CALLS:
            group.burst += 1
            group.burst_cost += cost

    def monthly(self, atoms: int) -> int:
        """What an amount over the days looked at makes in a month, rounded down."""
        return atoms * MONTH_DAYS // self.days

    def rent(self, cost: FixedCost) -> int | None:
        """What a fixed cost comes to in a month, in atoms, rounded down; None: there is no rate for its currency."""
        window = window_at(cost.period, self.rules.timezone, self.now_ms)
        length_ms = window.end_ms - window.start_ms
        month = cost.amount * (1 if cost.period.unit is PeriodUnit.MONTH else Decimal(_MONTH_MS) / length_ms)
        today, base = local_day(self.now_ms, self.rules.timezone), self.rules.currency
        try:
            worth, _, _ = money.convert(month, cost.currency, base, self.rules.fx, base, today)
        except money.NoRate:
            return None
        return money.to_atoms(Decimal(worth), base, "down")

    def monthly_by_group(self) -> dict[Where, int]:
        """What every group of calls and every fixed cost comes to in a month: what savings are taken of."""
        whole = {where: self.monthly(group.cost) for where, group in self.groups.items()}
        return whole | {where_of(cost): self.rent(cost) or 0 for cost in self.rules.fixed_costs}

    def rule_of(self, where: Where) -> Rule | None:
        """The rule of a group, if the rules still have it."""
        return next((rule for api in self.rules.apis for rule in api.rules if rule.id == where[1]), None)

    def catalog_of(self, where: Where) -> str | None:
        """The provider whose catalogue prices this rule, if any."""
        rule = self.rule_of(where)
        return rule.price.catalog if rule is not None else None
