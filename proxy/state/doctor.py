"""Is the bookkeeping sound? Gathers facts from Redis and judges them; changes nothing.

The main question is the invariant: in every budget's current period, spent is the sum of its ledger entries and
reserved is the sum of its live reservations. The rest is what would break it one day: a store that may forget
(eviction, no persistence), clocks that disagree, rules that do not load, reservations that nobody reclaims.

Facts in, findings out: each `judge_*` is pure. The sentences are in core/text/doctor.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from proxy.core import money
from proxy.core.text import say
from proxy.core.windows import local_month
from proxy.state.keys import Keys
from proxy.state.proxies import ProxyInfo, running
from proxy.state.reading import Reader
from proxy.state.record import Record
from proxy.state.store import StoreUnavailable

SKEW_WARN_MS: Final = 1000
RECLAIM_GRACE_MS: Final = 15_000  # three rounds of reclaim
MEMORY_WARN, MEMORY_FAIL = Decimal("0.8"), Decimal("0.95")
OLDEST: Final[Mapping[str, tuple[int, int]]] = {"redis": (6, 2), "valkey": (7, 2)}
_CHUNK: Final = 2000
_TRIES: Final = 3  # a late settlement may rewrite an entry while the sums are taken
_DAY_MS: Final = 86_400_000


class Severity(StrEnum):
    OK = "ok"
    WARN = "warn"  # works now; will hurt
    FAIL = "fail"  # wrong now


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `key` names its sentences; `values` are their placeholders."""

    severity: Severity
    key: str
    values: Mapping[str, str] = field(default_factory=dict)

    def text(self, language: str) -> str:
        return say(f"doctor.{self.key}", language, **self.values)

    def remedy(self, language: str) -> str | None:
        """What to do; None where nothing has to be done."""
        return None if self.severity is Severity.OK else say(f"doctor.{self.key}.remedy", language, **self.values)


@dataclass(frozen=True, slots=True)
class Counted:
    """One budget's current period: what the counters say and what they should say, in atoms."""

    key: str
    budget: str
    period: str
    currency: str
    spent: int
    reserved: int
    ledger: int
    held: int


@dataclass(frozen=True, slots=True)
class Running:
    """Calls at once that one API, rule or caller has: as its limit counts them, and as reservations say."""

    key: str
    place: str  # "api:openai", "rule:openai/chat", "caller:batch"
    counted: int
    held: int


# --- judgements: pure ------------------------------------------------------------------------------------------------


def judge_version(server: Mapping[str, Any]) -> Finding:
    """server: INFO server."""
    name = "valkey" if "valkey_version" in server else "redis"
    version = str(server.get("valkey_version") or server.get("redis_version") or "0.0")
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    oldest = OLDEST[name]
    values = {"server": name.capitalize(), "version": version, "oldest": ".".join(map(str, oldest))}
    return Finding(
        Severity.OK if parts >= oldest else Severity.FAIL, "version_ok" if parts >= oldest else "version_old", values
    )


def judge_clock(redis_ms: int, here_ms: int) -> Finding:
    """Periods follow Redis's clock: the distance only shows in logs and ids, and hints at a wrong one."""
    skew = abs(redis_ms - here_ms)
    values = {"seconds": f"{skew / 1000:.1f}"}
    return Finding(Severity.WARN, "clock_skewed", values) if skew > SKEW_WARN_MS else Finding(Severity.OK, "clock_ok")


def judge_persistence(info: Mapping[str, Any], save: str | None) -> list[Finding]:
    """info: INFO persistence. save: CONFIG GET save; None where the server does not tell."""
    findings = []
    aof = str(info.get("aof_enabled", "0")) == "1"
    if aof:
        findings.append(Finding(Severity.OK, "persistence_ok"))
    elif save is None or save.strip():
        findings.append(Finding(Severity.WARN, "persistence_snapshots", {"save": (save or "?").strip()}))
    else:
        findings.append(Finding(Severity.FAIL, "persistence_none"))
    failing = [
        name
        for name, on in (
            ("aof_last_write_status", aof),
            ("aof_last_bgrewrite_status", aof),
            ("rdb_last_bgsave_status", True),
        )
        if on and str(info.get(name, "ok")) != "ok"
    ]
    findings += [Finding(Severity.FAIL, "persistence_failing", {"what": name}) for name in failing]
    return findings


def judge_memory(memory: Mapping[str, Any]) -> list[Finding]:
    """memory: INFO memory. Every key has a lifetime, so the volatile-* policies could drop counters too."""
    policy, limit = str(memory.get("maxmemory_policy", "?")), int(memory.get("maxmemory", 0))
    findings = []
    if policy == "noeviction":
        findings.append(Finding(Severity.OK, "eviction_ok"))
    else:
        findings.append(Finding(Severity.FAIL, "eviction", {"policy": policy}))
    if limit:
        used = Decimal(int(memory.get("used_memory", 0))) / limit
        severity = Severity.FAIL if used >= MEMORY_FAIL else Severity.WARN if used >= MEMORY_WARN else Severity.OK
        values = {"percent": f"{used * 100:.0f}", "limit": f"{limit / 2**20:.0f}"}
        findings.append(Finding(severity, "memory_full" if severity is not Severity.OK else "memory_ok", values))
    return findings


def judge_counters(counted: Sequence[Counted]) -> list[Finding]:
    findings = []
    for one in counted:
        for key, name, has, should in (
            ("spent_differs", "spent", one.spent, one.ledger),
            ("reserved_differs", "reserved", one.reserved, one.held),
        ):
            if has != should:
                values = {
                    "budget": one.budget,
                    "period": one.period,
                    "counted": money.format_text(has, one.currency),
                    "expected": money.format_text(should, one.currency),
                    "repair": f"HINCRBY '{one.key}' {name} {should - has}",
                }
                findings.append(Finding(Severity.FAIL, key, values))
    return findings or [Finding(Severity.OK, "counters_ok", {"count": str(len(counted))})]


def judge_running(running: Sequence[Running]) -> list[Finding]:
    """Findings only where a limit on calls at once is wrong: too high, it refuses calls for which there is room."""
    return [
        Finding(
            Severity.FAIL,
            "concurrent_differs",
            {
                "place": one.place,
                "counted": str(one.counted),
                "expected": str(one.held),
                "repair": f"HINCRBY '{one.key}' concurrent {one.held - one.counted}",
            },
        )
        for one in running
        if one.counted != one.held
    ]


def judge_reservations(expired: int, unreadable: int, proxies: Sequence[ProxyInfo]) -> list[Finding]:
    findings: list[Finding] = []
    if expired:
        key = "expired_unclaimed" if proxies else "expired_no_proxy"
        findings.append(Finding(Severity.WARN, key, {"count": str(expired)}))
    if unreadable:
        findings.append(Finding(Severity.FAIL, "unreadable_reservations", {"count": str(unreadable)}))
    return findings or [Finding(Severity.OK, "reservations_ok")]


def judge_proxies(proxies: Sequence[ProxyInfo]) -> list[Finding]:
    findings = [
        Finding(
            Severity.FAIL,
            "proxy_rules_refused",
            {"proxy": f"{p.host}:{p.pid}", "file": p.rules_file, "errors": p.rules_errors},
        )
        for p in proxies
        if p.rules_errors
    ]
    if len({p.rules_digest for p in proxies}) > 1:
        digests = ", ".join(sorted({p.rules_digest for p in proxies}))
        findings.append(Finding(Severity.WARN, "rules_differ", {"digests": digests}))
    waiting = sum(p.pending_settlements for p in proxies)
    if waiting:
        findings.append(Finding(Severity.WARN, "settlements_waiting", {"count": str(waiting)}))
    return findings or [Finding(Severity.OK, "proxies_ok", {"count": str(len(proxies))})]


def judge_rules(file: str, mistakes: Sequence[str]) -> list[Finding]:
    """mistakes: as `check` words them."""
    if not mistakes:
        return [Finding(Severity.OK, "rules_ok", {"file": file})]
    return [Finding(Severity.FAIL, "rules_mistake", {"file": file, "mistake": text}) for text in mistakes]


def judge_lifetimes(immortal: Sequence[str]) -> Finding:
    if not immortal:
        return Finding(Severity.OK, "lifetimes_ok")
    return Finding(Severity.WARN, "no_lifetime", {"keys": ", ".join(immortal[:5]), "count": str(len(immortal))})


# --- facts -----------------------------------------------------------------------------------------------------------


async def run(
    url: str,
    keys: Keys,
    *,
    clock: Callable[[], int],
    rules_file: str = "rules.yaml",
    mistakes: Sequence[str] = (),
) -> list[Finding]:
    """Look at everything. A store that does not answer is a finding, not an error.

    clock: this machine's, Unix ms. mistakes: of the rules file on disk, as text.
    """
    findings = judge_rules(rules_file, mistakes)
    async with Reader(url) as reader:
        try:
            async for found in _look(reader, keys, clock):
                findings += found
        except StoreUnavailable as error:
            findings.append(Finding(Severity.FAIL, "store_unreachable", {"reason": str(error)}))
    return findings


async def _look(reader: Reader, keys: Keys, clock: Callable[[], int]) -> AsyncIterator[list[Finding]]:
    """One judgement after the other, so that what was found before an error is told."""
    yield [judge_version(await reader.ask("INFO", "server"))]
    before = clock()
    seconds, micros = await reader.ask("TIME")
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    yield [judge_clock(now_ms, (before + clock()) // 2)]
    yield judge_persistence(await reader.ask("INFO", "persistence"), await _save_setting(reader))
    yield judge_memory(await reader.ask("INFO", "memory"))
    proxies = await running(reader, keys)
    yield judge_proxies(proxies)
    expired = int(await reader.ask("ZCOUNT", keys.leases, "-inf", now_ms - RECLAIM_GRACE_MS))
    _, unreadable = _held(await reader.ask("HGETALL", keys.reservations))
    yield judge_reservations(expired, unreadable, proxies)
    names = await reader.scan(keys.prefix)
    lives = await reader.ask_all([("PTTL", name) for name in names])
    yield [judge_lifetimes([name for name, left in zip(names, lives, strict=True) if left == -1])]
    yield judge_counters(await count(reader, keys, now_ms))
    yield judge_running(await count_running(reader, keys))


async def _save_setting(reader: Reader) -> str | None:
    try:
        answer: dict[str, str] = await reader.ask("CONFIG GET", "save")
    except StoreUnavailable:
        return None  # managed services hide CONFIG
    return answer.get("save")


async def count(reader: Reader, keys: Keys, now_ms: int) -> list[Counted]:
    """The invariant's two sides for every budget's current period, of one instant. Raises StoreUnavailable."""
    counted: list[Counted] = []
    for _ in range(_TRIES):
        counted = await _count_once(reader, keys, now_ms)
        if all(one.spent == one.ledger and one.reserved == one.held for one in counted):
            break
    return counted


async def count_running(reader: Reader, keys: Keys) -> list[Running]:
    """Every limit on calls at once, of one instant. Raises StoreUnavailable."""
    before = keys.prefix + "limits:"
    names = await reader.scan(before)
    asked: list[tuple[str | int, ...]] = [("HGETALL", keys.reservations)]
    reservations, *found = await reader.ask_all(
        [*asked, *(("HGET", name, "concurrent") for name in names)], at_once=True
    )
    held: dict[str, int] = {}
    for raw in reservations.values():
        try:
            places = Record.parse(raw.encode()).facts.concurrent
        except ValueError:
            continue  # told by judge_reservations
        for place in places:
            held[place] = held.get(place, 0) + 1
    counters = {name.removeprefix(before): int(value or 0) for name, value in zip(names, found, strict=True)}
    places_known = [*counters, *(place for place in held if place not in counters)]
    return [Running(before + one, one, counters.get(one, 0), held.get(one, 0)) for one in places_known]


async def _count_once(reader: Reader, keys: Keys, now_ms: int) -> list[Counted]:
    names = await reader.scan(keys.prefix + "budget:")
    months = await reader.scan(keys.prefix + "ledger:")
    # One transaction: the counters, what is reserved, and how far the ledger goes at the very same instant.
    replies = await reader.ask_all(
        [("HGETALL", keys.reservations)]
        + [("HGETALL", name) for name in names]
        + [("XREVRANGE", month, "+", "-", "COUNT", 1) for month in months],
        at_once=True,
    )
    held, _ = _held(replies[0])
    current = {
        name: fields
        for name, fields in zip(names, replies[1 : 1 + len(names)], strict=True)
        if fields.get("resets_at") and _ms(fields["resets_at"]) > now_ms
    }
    if not current:
        return []
    first_ms = min(_ms(fields["starts_at"]) for fields in current.values())
    ends = {month: last[0][0] for month, last in zip(months, replies[1 + len(names) :], strict=True) if last}
    charged = await _charged(reader, keys, ends, first_ms)
    counted = []
    for name, fields in current.items():
        budget, period = name.removeprefix(keys.prefix + "budget:").rsplit(":", 1)
        currency = fields["currency"]
        counted.append(
            Counted(
                name,
                budget,
                period,
                currency,
                int(fields.get("spent", 0)),
                int(fields.get("reserved", 0)),
                charged.get((budget, period), 0),
                held.get((budget, period), 0),
            )
        )
    return counted


async def _charged(reader: Reader, keys: Keys, ends: Mapping[str, str], first_ms: int) -> dict[tuple[str, str], int]:
    """Atoms by (budget, period) over the ledgers, each up to its given end, from the month of `first_ms` on."""
    sums: dict[tuple[str, str], int] = {}
    # A call is entered in the month of its admission, which no period that began later can hold; zones differ by a day.
    oldest = keys.ledger(local_month(first_ms - _DAY_MS, "UTC"))
    for month, end in sorted(ends.items()):
        start = "-"
        while month >= oldest:
            chunk = await reader.ask("XRANGE", month, start, end, "COUNT", _CHUNK)
            for _, fields in chunk:
                for budget, period, currency, cost in json.loads(fields.get("budgets") or "[]"):
                    place = (budget, period)
                    sums[place] = sums.get(place, 0) + money.to_atoms(Decimal(cost), currency)
            if len(chunk) < _CHUNK:
                break
            start = f"({chunk[-1][0]}"
    return sums


def _held(reservations: Mapping[str, str]) -> tuple[dict[tuple[str, str], int], int]:
    """Atoms reserved by (budget, period), and how many reservations cannot be read."""
    sums: dict[tuple[str, str], int] = {}
    unreadable = 0
    for raw in reservations.values():
        try:
            record = Record.parse(raw.encode())
            for budget, held in zip(record.facts.budgets, record.held, strict=True):
                place = (budget.name, budget.period)
                sums[place] = sums.get(place, 0) + held
        except ValueError:
            unreadable += 1
    return sums, unreadable


def _ms(text: str) -> int:
    instant = datetime.fromisoformat(text)
    return int(instant.timestamp()) * 1000 + instant.microsecond // 1000
