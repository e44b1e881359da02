"""How a call's values become the keys and arguments of the scripts in lua/.

A `Plan` is what all calls with the same budgets, in the same windows, have in common; it is made once and used until
the first of its windows ends. Within it, what calls of one caller to one endpoint say alike is encoded once too. The
rest is filled in per call. Decides nothing and sends nothing: the order of arguments here and the headers of the Lua
files are two sides of one contract.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from proxy.core import money, quota
from proxy.core.guards import AMOUNTS, BREAKER_BUCKETS, WINDOWS, Breaker, Counts, Guards, Limit, Limited
from proxy.core.model import (
    Admitted,
    Ask,
    Bill,
    Budget,
    Cost,
    Estimate,
    Extra,
    Level,
    Period,
    PeriodUnit,
    Priority,
    Quota,
    State,
    Window,
)
from proxy.core.outcome import Outcome, Verdict
from proxy.core.threshold import percent_text, threshold_atoms
from proxy.core.windows import iso, window_at
from proxy.state import keys as k
from proxy.state import resp
from proxy.state.keys import Keys
from proxy.state.record import BudgetFacts, QuotaFacts, noted
from proxy.state.resp import Packed

_DAY = Period(PeriodUnit.DAY)
_MONTH = Period(PeriodUnit.MONTH)
_PATH_KEPT: Final = 500  # characters of a path that the ledger keeps
_ERRANDS_KEPT: Final = 1024
_encode = msgspec.json.Encoder(decimal_format="string").encode

# The ledger's fields: those that calls of one errand share, then each call's own.
_SHARED_FIELDS: Final = (
    *("api", "rule", "caller", "method", "path", "model"),
    *("currency", "original_currency", "fx_rate", "fx_date"),
)
_OWN_FIELDS: Final = (
    *("status", "state", "cost", "original_cost", "estimate"),
    *("usage", "terms", "budgets", "note", "question"),
)
LEDGER_FIELDS: Final = (*_SHARED_FIELDS, *_OWN_FIELDS)  # behind `id` and `at`
EXTRA_FIELDS: Final = (
    "saved",
    "asked_cost",
    "degraded",
    "attempts",
)  # only of calls whose rule asks for more than counting
_SETTLE, _VOID, _RECLAIM = 1, 2, 3  # how a call ends, as settle.lua is told
_SHARED_ZEROS: Final = len(_SHARED_FIELDS) - 1
_NO_ZERO: Final = "\ufffd"  # for a zero in a text, which is the end of one for the scripts
_STATES: Final = {state: state.value for state in State}
_ESSENTIAL: Final = Priority.ESSENTIAL
_RESULTS: Final = {Verdict.EXCLUDED: 0, Verdict.SUCCESS: 1, Verdict.FAILURE: 2}


_MS: Final = tuple(f".{ms:03d}" for ms in range(1000))


@dataclass(slots=True)
class _Now:
    """ISO text of an instant, with the part up to the second kept: most calls share it. For any number of threads."""

    known: tuple[int, str, str, str] = (-1, "", "", "")  # second, time zone, what stands before and behind the ms

    def text(self, now_ms: int, timezone: str) -> str:
        second, ms = divmod(now_ms, 1000)
        known = self.known
        if second != known[0] or timezone != known[1]:
            head, _, rest = iso(second * 1000, timezone).partition(".")
            known = self.known = (second, timezone, head, rest[3:])
        return known[2] + _MS[ms] + known[3]


_now = _Now()


class Billed(msgspec.Struct, frozen=True, gc=False):
    """What a settlement says of a bill: all but its times.

    texts: as settle.lua takes them, from the shared fields of the ledger's entry on.
    """

    bill: Bill
    admitted: Admitted
    status: int | None
    charges: Sequence[int]
    texts: str

    def holds_for(self, admitted: Admitted, status: int | None) -> bool:
        """Whether another call with this very bill says the same."""
        known = self.admitted
        return (
            known.ask.estimate is admitted.ask.estimate
            and known.position == admitted.position
            and known.bypassed == admitted.bypassed
            and known.reserved == admitted.reserved
            and self.status == status
        )


@dataclass(slots=True)
class Errand:
    """What the calls of one caller to one endpoint and model say alike, at one exchange rate.

    facts: the end of the reservation's facts, as JSON. entry: the shared fields of the ledger's entry, as settle.lua
    takes them. learned: the key of learned costs, as a word. estimated, billed: what the last call said, since calls of
    a fixed price have the very same estimate and bill all day. For any number of threads.
    """

    fx_rate: Decimal | None
    facts: str
    entry: str
    learned: bytes
    estimated: tuple[Estimate, str] | None = None
    billed: Billed | None = None


class Plan:
    """Keys and arguments of all calls with these budgets, names and guards while `from_ms` <= now < `until_ms`.

    names: API, rule and caller, whose switches an admission obeys.
    """

    def __init__(
        self,
        keys: Keys,
        budgets: tuple[Budget, ...],
        timezone: str,
        drawn: tuple[str, Period] | None,
        now_ms: int,
        names: tuple[str, str, str],
        guards: Guards,
    ) -> None:
        windows = tuple(window_at(b.period, b.timezone, now_ms) for b in budgets)
        drawn_window = window_at(drawn[1], timezone, now_ms) if drawn else None
        named = (drawn[0], drawn_window) if drawn and drawn_window else None
        self._fill(keys, budgets, windows, timezone, named, now_ms, names, guards)

    @classmethod
    def of_windows(
        cls,
        keys: Keys,
        budgets: tuple[Budget, ...],
        windows: tuple[Window, ...],
        timezone: str,
        drawn: tuple[str, Window] | None,
        now_ms: int,
        guards: Guards,
    ) -> Plan:
        """The plan of a call admitted earlier: its own windows hold, whatever the time is now."""
        plan = cls.__new__(cls)
        plan._fill(keys, budgets, windows, timezone, drawn, now_ms, ("", "", ""), guards)
        return plan

    def _fill(
        self,
        keys: Keys,
        budgets: tuple[Budget, ...],
        windows: tuple[Window, ...],
        timezone: str,
        drawn: tuple[str, Window] | None,
        now_ms: int,
        names: tuple[str, str, str],
        guards: Guards,
    ) -> None:
        day = window_at(_DAY, timezone, now_ms)
        month = window_at(_MONTH, timezone, now_ms)
        bounds = [*windows, day, *([drawn[1]] if drawn else [])]
        self.from_ms = max(w.start_ms for w in bounds)
        self.until_ms = min(w.end_ms for w in bounds)
        self.keys = keys
        self.budgets = budgets
        self.windows = windows
        self.guards = guards
        self._guarded = guards.holds
        self.currencies = tuple(b.currency for b in budgets)
        self.counted = (*self.currencies, *guards.currencies)  # of budgets, then of cost limits
        self.distinct = tuple(dict.fromkeys(self.currencies))
        self.timezone = timezone
        self.quota = drawn
        self._errands: dict[tuple[object, ...], Errand] = {}
        self.percents = {percent_text(bp): bp for b in budgets for bp in b.thresholds_bp()}
        heads = [  # of the ledger's `budgets`, up to the charge
            _encode((b.name, w.label, b.currency)).decode()[:-1] for b, w in zip(budgets, windows, strict=True)
        ]
        self._charged = "[" + ",".join([head.replace("%", "%%") + ',"%s"]' for head in heads]) + "]"
        self._fill_keys(day, month)
        self._fill_arguments(day, month, names)

    def _fill_keys(self, day: Window, month: Window) -> None:
        keys = self.keys
        in_flight = (keys.reservations, keys.leases)
        budget_keys = [keys.budget(b.name, w.label) for b, w in zip(self.budgets, self.windows, strict=True)]
        quota_keys = [keys.quota(self.quota[0], self.quota[1].label)] if self.quota else []
        extend = (*in_flight, keys.switches, *budget_keys)
        guard_keys = [keys.limits(one.place) for one in self._scopes()]
        guard_keys += [keys.breaker(one.name) for one in self.guards.breakers]
        admit = (*extend, *quota_keys, *guard_keys)
        settle = (
            *(*in_flight, keys.settled(day.label), keys.ledger(month.label), keys.day(day.label)),
            *(keys.day_callers(day.label), keys.thresholds, keys.switches, *budget_keys, *quota_keys, *guard_keys),
        )
        self._admit_keys = resp.words(len(admit), *admit)
        self._extend_keys = resp.words(len(extend), *extend)
        self._settle_keys = resp.words(len(settle) + 2, *settle)  # and two that are the call's own

    def _scopes(self) -> list[Limited]:
        return [one for one in self.guards.limited if one.limits]

    def _fill_arguments(self, day: Window, month: Window, names: tuple[str, str, str]) -> None:
        counted, drawn = len(self.counted), 1 if self.quota else 0
        guarded = 1 if self._guarded else 0
        quota_keep = self.quota[1].end_ms + k.QUOTA_KEPT_S * 1000 if self.quota else 0
        admit_all = [struct.pack("<ddHHB", self.from_ms, self.until_ms, len(self.budgets), counted, guarded)]
        settle_all = [struct.pack("<HB", len(self.budgets), drawn)]
        admit, extend, settle, facts = [], [], [], []
        for b, w in zip(self.budgets, self.windows, strict=True):
            digits, keep = money.exponent(b.currency), w.end_ms + k.BUDGET_KEPT_S * 1000
            limit_text = money.format_text(b.limit_atoms, b.currency)
            starts, resets = iso(w.start_ms, b.timezone), iso(w.end_ms, b.timezone)
            marks: list[str | int] = []
            for bp in b.thresholds_bp():
                marks += [percent_text(bp), threshold_atoms(b.limit_atoms, bp)]
            restrict, stop = (threshold_atoms(b.limit_atoms, bp) for bp in (b.restrict_bp, b.stop_bp))
            unit = struct.pack("BB", digits, len(b.currency)) + b.currency.encode()
            admit_all.append(struct.pack("<ddd", b.limit_atoms, restrict, stop))
            admit.append((b.restrict_bp, b.stop_bp, keep, limit_text, starts, resets, b.name, digits, b.currency))
            extend.append(b.limit_atoms)
            settle_all.append(struct.pack("<dd", b.limit_atoms, marks[1]) + unit)
            settle.append((b.name, w.label, keep, limit_text, marks))
            thresholds = list(b.thresholds_bp())
            facts.append(
                BudgetFacts(b.name, w.label, b.currency, b.limit_atoms, w.start_ms, w.end_ms, b.timezone, thresholds)
            )
        api, rule, caller = names
        pause = k.pause_of(api)
        limits = [[self._limit(one) for one in limited.limits] for limited in self._scopes()]
        admit_few = {
            "keep_quota": quota_keep,
            "budgets": admit,
            "switches": (*k.switches_of(api, rule, caller), pause if self.guards.obey else ""),
            "limits": limits,
            "breakers": [(one.probes,) for one in self.guards.breakers],
        }
        settle_few = {
            "keep_settled": day.end_ms + k.SETTLED_KEPT_S * 1000,
            "keep_ledger": month.end_ms + k.LEDGER_KEPT_S * 1000,
            "keep_days": day.end_ms + k.ROLLUP_KEPT_S * 1000,
            "keep_quota": quota_keep,
            "budgets": settle,
            "pause": pause,
            "limits": limits,
            "breakers": [_circuit(one) for one in self.guards.breakers],
        }
        self._admit_call = struct.Struct(f"<ddBBd{counted}d").pack
        self._admit_static = resp.word(b"".join(admit_all)) + resp.word(resp.encode(admit_few))
        self._extend_static = resp.word(resp.encode(extend))
        self._settle_call = struct.Struct(f"<BdddB{len(self.budgets)}d").pack
        self._settle_static = resp.word(b"".join(settle_all)) + resp.word(resp.encode(settle_few))
        self._budget_facts = _encode(facts).decode()
        self._guard_facts = ""
        if self._guarded:
            names_held = [limited.place for limited in self._scopes() if any(not one.per for one in limited.limits)]
            self._guard_facts = f',"concurrent":{_encode(names_held).decode()}'
            self._guard_facts += f',"breakers":{_encode([one.name for one in self.guards.breakers]).decode()}'

    def _limit(self, limit: Limit) -> tuple[str, int, int, int, int]:
        """One limit for the scripts: name, which amount, most, bucket (ms), buckets."""
        if limit.counts is Counts.COST:
            which = len(AMOUNTS) + 1 + self.guards.currencies.index(limit.currency)
        else:
            which = AMOUNTS.index(limit.counts) + 1
        return limit.name, which, limit.amount, limit.bucket_ms, WINDOWS[limit.per][1] if limit.per else 0

    def errand(self, ask: Ask, cost: Cost) -> Errand:
        """What this call has in common with those before it."""
        names = (ask.api, ask.rule, ask.caller, ask.method, ask.path, ask.estimate.model)
        key = (names, ask.currency, cost.original_currency, cost.fx_date)
        found = self._errands.get(key)
        # By identity first: a rate is found once a day, and decimals are slow to compare.
        if found is not None and (cost.fx_rate is found.fx_rate or cost.fx_rate == found.fx_rate):
            return found
        if len(self._errands) >= _ERRANDS_KEPT:
            self._errands.clear()
        found = self._errands[key] = self._new_errand(ask, cost)
        return found

    def _new_errand(self, ask: Ask, cost: Cost) -> Errand:
        shared = {
            "api": ask.api,
            "rule": ask.rule,
            "caller": ask.caller,
            "method": ask.method,
            "path": ask.path[:_PATH_KEPT],
            "model": ask.estimate.model or "",
            "currency": ask.currency,
            "original_currency": cost.original_currency,
            "fx_rate": money.plain(cost.fx_rate) if cost.fx_rate is not None else "",
            "fx_date": cost.fx_date or "",
        }
        alike = _encode({**shared, "timezone": self.timezone}).decode()[1:-1]
        return Errand(
            fx_rate=cost.fx_rate,
            facts=f',{alike},"budgets":{self._budget_facts}{self._guard_facts}}}',
            entry="\0".join([shared[name].replace("\0", _NO_ZERO) for name in _SHARED_FIELDS]),
            learned=_word(self.keys.learned(ask.rule, ask.estimate.model or "-")),
        )

    # --- admit

    def admit_parts(self, ask: Ask, given_now: int, now_ms: int, lease_ms: int) -> Packed:
        """What admit.lua is given. Raises KeyError when the estimate lacks a budget's currency."""
        estimate, drawn = ask.estimate, ask.estimate.quota
        atoms = estimate.cost.atoms
        amounts = self._by_budget([atoms[currency] for currency in self.distinct])
        if self.guards.limited:
            amounts = [*amounts, *(atoms[currency] for currency in self.guards.currencies)]
        units = -1 if drawn is None else drawn.units
        essential, free = 1 if ask.priority is _ESSENTIAL else 0, 1 if ask.free else 0
        own = self._admit_call(given_now, lease_ms, essential, free, units, *amounts) + ask.id.encode()
        facts = self._facts(ask, now_ms) if ask.holds else b""
        keys = self._admit_keys
        data = b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n%b" % (keys.data, len(own), own, len(facts), facts, self._admit_static)
        if drawn is None and not self._guarded:
            return Packed(keys.count + 4, data)
        return Packed(keys.count + 5, data + resp.word(resp.encode(self._rarely_asked(estimate))))

    def _rarely_asked(self, estimate: Estimate) -> tuple[object, ...]:
        """What a call says that draws from a quota or has limits."""
        drawn = estimate.quota
        steps: list[tuple[int, ...]] = []
        free_steps = 0
        if drawn is not None:
            steps = [(s.from_position, *(s.cost.atoms[c] for c in self.counted)) for s in drawn.steps]
            free_steps = sum(1 for _ in itertools.takewhile(lambda s: not s.cost.original, drawn.steps))
        return steps, free_steps, (1, *tokens_of(estimate.usage), 1) if self._guarded else ()

    def _facts(self, ask: Ask, now_ms: int) -> bytes:
        """The JSON of a reservation's `Facts`."""
        estimate = ask.estimate
        errand = self.errand(ask, estimate.cost)
        said = errand.estimated
        if said is None or said[0] is not estimate:
            said = errand.estimated = (estimate, self._estimated(estimate, ask.currency))
        at = _now.text(now_ms, self.timezone)
        return f'{{"at":"{at}","at_ms":{now_ms}{said[1]}{errand.facts}'.encode()

    def _estimated(self, estimate: Estimate, currency: str) -> str:
        """What facts say of an estimate."""
        cost = estimate.cost
        held, usage = money.format_decimal(cost.atoms[currency], currency), _usage_text(estimate.usage)
        text = f',"estimate":"{held}","original":"{money.plain(cost.original)}","usage":{usage}'
        if self.quota is not None and estimate.quota is not None:
            text += f',"quota":{_quota_facts(*self.quota, estimate.quota, currency)}'
        return text

    def level(self, index: int, spent: int, reserved: int, limit: int) -> Level | None:
        """The budget that a script counts as number `index` (from 1; 0 = none), with the limit that holds."""
        if index == 0:
            return None
        b, w = self.budgets[index - 1], self.windows[index - 1]
        return Level(b.name, w.label, b.currency, limit, spent, reserved, w.end_ms)

    # --- extend

    def extend_parts(self, ask: Ask, given_now: int, lease_ms: int, totals: Sequence[int]) -> Packed:
        """What extend.lua is given."""
        essential = 1 if ask.priority is _ESSENTIAL else 0
        own = resp.word(resp.encode((ask.id, given_now, lease_ms, essential, totals)))
        return Packed(self._extend_keys.count + 2, self._extend_keys.data + own + self._extend_static)

    # --- tell

    def tell_parts(self, ask: Ask, given_now: int, outcome: Outcome, chance: int) -> Packed:
        """What tell.lua is given. chance: 0 to 1000."""
        named = [self.keys.reservations, *(self.keys.breaker(one.name) for one in self.guards.breakers)]
        own = (ask.id, given_now, _RESULTS[outcome.verdict], outcome.took_ms, chance)
        circuits = [_circuit(one) for one in self.guards.breakers]
        return resp.words(len(named), *named, resp.encode(own), resp.encode(circuits))

    # --- settle, void, reclaim

    def settle_parts(
        self,
        ask: Ask,
        admitted: Admitted,
        bill: Bill,
        status: int | None,
        given_now: int,
        now_ms: int,
        learn: bool,
        outcome: Outcome,
        chance: int,
    ) -> Packed:
        """What settle.lua is given to charge a call that ended with this bill. chance: 0 to 1000."""
        errand, timezone, currency = self.errand(ask, bill.cost), self.timezone, ask.currency
        said = errand.billed
        if said is None or said.bill is not bill or not said.holds_for(admitted, status):
            said = errand.billed = self._billed(ask, admitted, bill, status, errand.entry)
        amount, units = bill.cost.atoms[currency], bill.quota_units
        own = self._settle_call(
            _SETTLE, given_now, -1 if units is None else units, amount, 1 if learn else 0, *said.charges
        )
        texts = f"{ask.id}\0{_now.text(now_ms, timezone)}\0{_now.text(admitted.now_ms, timezone)}\0{said.texts}"
        guard, extra = self._guard(bill, outcome, chance), bill.extra
        rare = b""
        if guard or extra is not None:
            saved, more = (extra.saved_atoms, extra_fields(extra, currency)) if extra is not None else (0, ())
            rare = resp.encode((guard, saved, more))
        return self._settle(ask.id, errand.learned, own + texts.encode(), rare)

    def _billed(self, ask: Ask, admitted: Admitted, bill: Bill, status: int | None, entry: str) -> Billed:
        """What settle.lua is told of a bill. entry: of the errand."""
        cost, currency = bill.cost, ask.currency
        spent = cost.atoms
        fallback: Mapping[str, int] = {} if not cost.original else admitted.reserved
        charges = self._by_budget([spent[c] if c in spent else fallback.get(c, 0) for c in self.distinct])
        held = quota.cost_at(ask.estimate, admitted.position).atoms
        texts = (
            entry,
            "" if status is None else str(status),
            _STATES[bill.state],
            money.format_decimal(spent[currency], currency),
            money.plain(cost.original),
            money.format_decimal(held.get(currency, 0), currency),
            _usage_text(bill.usage),
            terms_text(cost),
            self.charged(charges),
            noted(bill.note, bypassed=admitted.bypassed),
            bill.question,
        )
        return Billed(bill, admitted, status, charges, _texts(texts, entry))

    def _guard(self, bill: Bill, outcome: Outcome, chance: int) -> tuple[object, ...] | bool:
        """How limits and circuits take the end of a call; False where there are none and no pause was asked for."""
        pause_ms = outcome.pause_until_ms or 0
        if not self._guarded:
            return (False, 0, 0, 0, pause_ms) if pause_ms else False
        atoms = bill.cost.atoms
        actual: tuple[int, ...] | bool = False
        if bill.state is not State.ESTIMATED:
            actual = (1, *tokens_of(bill.usage), 0, *(atoms.get(c, 0) for c in self.guards.currencies))
        told = (actual, _RESULTS[outcome.verdict], outcome.took_ms, chance, pause_ms)
        if not outcome.earlier:
            return told
        return (*told, [(_RESULTS[verdict], took_ms) for verdict, took_ms in outcome.earlier])

    def void_parts(self, call_id: str, given_now: int, now_ms: int) -> Packed:
        """What settle.lua is given to release a reservation whose call was never made."""
        own = self._settle_call(_VOID, given_now, -1, 0, 0, *[0] * len(self.budgets))
        texts = _texts((call_id, _now.text(now_ms, self.timezone)))
        return self._settle(call_id, _word(self.keys.learned("-", "-")), own + texts.encode())

    def reclaim_parts(
        self,
        call_id: str,
        given_now: int,
        now_ms: int,
        raw: bytes,
        cost: int,
        charges: Sequence[int],
        entry: dict[str, str],
    ) -> Packed:
        """What settle.lua is given to charge an abandoned reservation; raw: its record, entry: by LEDGER_FIELDS."""
        own = self._settle_call(_RECLAIM, given_now, -1, cost, 0, *charges)
        fields = [entry[name] for name in LEDGER_FIELDS]
        texts = _texts((call_id, _now.text(now_ms, self.timezone), entry["at"], *fields))
        learned = _word(self.keys.learned(entry["rule"], entry["model"] or "-"))
        return self._settle(call_id, learned, own + texts.encode(), b"", raw)

    def _settle(self, call_id: str, learned: bytes, call: bytes, rare: bytes = b"", record: bytes = b"") -> Packed:
        keys, unconfirmed = self._settle_keys, self.keys.unconfirmed(call_id).encode()
        data = b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n" % (
            *(keys.data, len(unconfirmed), unconfirmed, learned),
            *(len(call), call, self._settle_static, len(rare), rare),
        )
        if record:
            return Packed(keys.count + 7, data + resp.word(record))
        return Packed(keys.count + 6, data)

    def _by_budget(self, values: list[Any]) -> Sequence[Any]:
        """What there is of each currency, for each budget: mostly all of them count in the same one."""
        if len(values) == 1:
            return values * len(self.budgets)
        found = dict(zip(self.distinct, values, strict=True))
        return [found[currency] for currency in self.currencies]

    def charged(self, charges: Sequence[int]) -> str:
        """The ledger's `budgets`: [["monthly","2026-11","KRW","1500.25"], ...]."""
        if len(self.distinct) == 1 and charges.count(charges[0]) == len(charges):
            return self._charged % ((money.format_decimal(charges[0], self.distinct[0]),) * len(charges))
        return self._charged % tuple(map(money.format_decimal, charges, self.currencies))


def _texts(values: tuple[str, ...], shared: str | None = None) -> str:
    """Texts with a zero behind each, as settle.lua takes them apart: a zero inside one would shift all that follow.

    shared: the one of them that is several (`Errand.entry`).
    """
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1 + (_SHARED_ZEROS if shared is not None else 0):
        joined = "\0".join([value if value is shared else value.replace("\0", _NO_ZERO) for value in values])
    return f"{joined}\0"


def _usage_text(usage: Mapping[str, int]) -> str:
    return _encode(usage if type(usage) is dict else dict(usage)).decode()


def _word(text: str) -> bytes:
    return resp.word(text.encode())


def tokens_of(usage: Mapping[str, int]) -> tuple[int, int, int]:
    """All tokens, input tokens, output tokens: as limits count them."""
    asked, answered = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return asked + answered, asked, answered


def _circuit(breaker: Breaker) -> tuple[object, ...]:
    """A breaker for settle.lua."""
    reasons = (breaker.failures_bp, breaker.consecutive, breaker.slow_ms, breaker.slow_bp)
    failures, consecutive, slow_ms, slow_bp = (-1 if reason is None else reason for reason in reasons)
    return (
        *(breaker.name, breaker.window_ms // BREAKER_BUCKETS, BREAKER_BUCKETS, breaker.of_at_least),
        *(failures, consecutive, slow_ms, slow_bp, breaker.open_ms, breaker.open_at_most_ms, breaker.probes),
    )


def _quota_facts(name: str, window: Window, drawn: Quota, currency: str) -> str:
    steps = [
        (
            step.from_position,
            money.plain(step.cost.original),
            money.format_decimal(step.cost.atoms[currency], currency),
        )
        for step in drawn.steps
    ]
    return _encode(QuotaFacts(name, window.label, window.end_ms, steps)).decode()


def terms_text(cost: Cost) -> str:
    """The ledger's `terms`: the lines of the sum as JSON, amounts as plain decimals."""
    said = cost.said
    if said:
        return said if isinstance(said, str) else said()
    plain = money.plain
    lines = [
        f'{{"name":"{term.name}","quantity":"{plain(term.quantity)}","unit_price":"{plain(term.unit_price)}",'
        f'"amount":"{plain(term.amount)}"}}'
        for term in cost.terms
    ]
    return f"[{','.join(lines)}]"


def extra_fields(extra: Extra, currency: str) -> tuple[str, ...]:
    """Names and values of those EXTRA_FIELDS that a call has."""
    fields: list[str] = []
    if extra.saved_atoms:
        fields += ("saved", money.format_decimal(extra.saved_atoms, currency))
    if extra.asked_atoms is not None:
        fields += ("asked_cost", money.format_decimal(extra.asked_atoms, currency))
    if extra.degraded:
        fields += ("degraded", extra.degraded)
    if extra.attempts:
        lines = [
            {"status": status, "seconds": money.plain(seconds), "cost": money.format_decimal(atoms, currency)}
            for status, seconds, atoms in extra.attempts
        ]
        fields += ("attempts", _encode(lines).decode())
    return tuple(fields)


def held_by_currency(plan: Plan, ask: Ask, position: int | None) -> Mapping[str, int]:
    """What a call holds that drew this position, in the currencies of its budgets and of the ledger."""
    estimate = ask.estimate
    atoms = (estimate.cost if estimate.quota is None else quota.cost_at(estimate, position)).atoms
    if len(atoms) == 1:  # the ledger's, which is then that of all
        return atoms
    return {currency: atoms[currency] for currency in (*plan.distinct, ask.currency)}
