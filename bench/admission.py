"""What one question and one statement cost: admit + settle through proxy/state, with nothing else around.

A ledger entry, roll-ups, thresholds: what a priced call really asks of the store. One worker (one connection) asks over
loopback TCP and over a Unix socket, from 1 and from 64 calls at a time, in three loads side by side: nothing but the
ledger, four budgets on the chain, and everything on: four budgets, six rate limits (of API, rule and caller) and two
circuit breakers. The promise is an admission p99 below 1 ms; with 64 calls in one loop turn the latency is mostly the
others' turns.

    python bench/admission.py [--seconds 5] [--calls 1,64] [--ways tcp,unix]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from dataclasses import asdict, dataclass, field
from decimal import Decimal

import rig
import structlog
import uvloop

from proxy.core.guards import Breaker, Counts, Guards, Limit, Limited
from proxy.core.model import (
    Admitted,
    Ask,
    Bill,
    Budget,
    Cost,
    Estimate,
    Period,
    PeriodUnit,
    Priority,
    State,
    Term,
)
from proxy.core.outcome import Outcome, Verdict
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store

PROMISED_ADMIT_P99_US = 1000
LIMIT = 9_000_000_000 * 10**6
HELD = 60_000
SPENT = 41_000
WORKED = Outcome(Verdict.SUCCESS, 120)


def budgets() -> tuple[Budget, ...]:
    def budget(name: str, unit: PeriodUnit, **scope: str) -> Budget:
        return Budget(name, LIMIT, "KRW", Period(unit), "Asia/Seoul", **scope)

    return (
        budget("monthly", PeriodUnit.MONTH),
        budget("openai-daily", PeriodUnit.DAY, api="openai"),
        budget("chat-hourly", PeriodUnit.HOUR, rule="openai/chat"),
        budget("caller:shop", PeriodUnit.MONTH, caller="shop"),
    )


ENOUGH = 10**11  # of anything in a day: no limit refuses during a bench


def everything() -> Guards:
    def limits(*counted: Counts, per: str = "minute") -> tuple[Limit, ...]:
        return tuple(Limit(one, ENOUGH, "" if one is Counts.CONCURRENT else per) for one in counted)

    def breaker(name: str) -> Breaker:
        return Breaker(name, 60_000, 10, 5000, 20, 5000, 8000, 30_000, 600_000, 2)

    return Guards(
        (
            Limited("api", "openai", limits(Counts.REQUESTS, Counts.TOKENS, Counts.CONCURRENT)),
            Limited("rule", "openai/chat", limits(Counts.REQUESTS, per="hour")),
            Limited("caller", "shop", (*limits(Counts.REQUESTS), Limit(Counts.COST, LIMIT, "day", "KRW"))),
        ),
        (breaker("openai"), breaker("openai/chat")),
    )


# What is asked with each call -> its chain of budgets, its guards.
LOADS: dict[str, tuple[tuple[Budget, ...], Guards]] = {
    "nothing": ((), Guards()),
    "budgets": (budgets(), Guards()),
    "everything": (budgets(), everything()),
}


def cost(atoms: int) -> Cost:
    dollars = Decimal(atoms) / 10**6 / 1390
    term = Term("output_tokens", Decimal(22), Decimal("0.0000006"), dollars)
    return Cost(dollars, "USD", {"KRW": atoms}, Decimal(1390), "2026-11-23", (term,))


@dataclass(slots=True)
class Figure:
    way: str  # "tcp" | "unix"
    calls: int  # at a time
    load: str  # a key of LOADS
    pairs: int = 0
    seconds: float = 0.0
    store_us: float = 0.0  # CPU of the store, a pair
    own_us: float = 0.0  # CPU of this process, a pair
    admit_us: list[float] = field(default_factory=list)
    settle_us: list[float] = field(default_factory=list)


async def pairs(gate: Gate, figure: Figure, ids: itertools.count[int], until_s: float) -> None:
    """One caller: admit, settle, again, until the time is over."""
    estimate = Estimate(cost(HELD), "worst_case", "gpt-4o-mini", {"input_tokens": 71, "output_tokens": 64})
    bill = Bill(cost(SPENT), State.SETTLED, {"input_tokens": 71, "output_tokens": 22})
    clock = time.perf_counter
    chain, guards = LOADS[figure.load]
    while (began := clock()) < until_s:
        now_ms = gate.now_ms()
        ask = Ask(
            id=f"{now_ms:012x}{next(ids):016x}",
            at_ms=now_ms,
            api="openai",
            rule="openai/chat",
            caller="shop",
            method="POST",
            path="/v1/chat/completions",
            priority=Priority.IMPORTANT,
            budgets=chain,
            estimate=estimate,
            currency="KRW",
            timezone="Asia/Seoul",
            guards=guards,
        )
        admitted = await gate.admit(ask)
        asked = clock()
        if not isinstance(admitted, Admitted):
            raise rig.BenchError(f"refused: {admitted}")
        settled = await gate.settle(admitted, bill, 200, outcome=WORKED)
        stated = clock()
        if not settled.done:
            raise rig.BenchError(f"not settled: {ask.id}")
        figure.pairs += 1
        figure.admit_us.append((asked - began) * 1e6)
        figure.settle_us.append((stated - asked) * 1e6)


async def measure(way: str, url: str, store: rig.Store, calls: int, load: str, seconds: float) -> Figure:
    connection = Store(url)
    await connection.start()
    gate, ids = Gate(connection, Keys("main")), itertools.count()
    try:
        await asyncio.gather(
            *(pairs(gate, Figure(way, calls, load), ids, time.perf_counter() + 0.5) for _ in range(calls))
        )
        store.client.flushall()
        figure = Figure(way, calls, load)
        own, served, began = time.process_time(), store.process.cpu_s(), time.perf_counter()
        await asyncio.gather(*(pairs(gate, figure, ids, began + seconds) for _ in range(calls)))
        figure.seconds = time.perf_counter() - began
        figure.own_us = (time.process_time() - own) * 1e6 / figure.pairs
        figure.store_us = (store.process.cpu_s() - served) * 1e6 / figure.pairs
        check(store, figure)
        return figure
    finally:
        await connection.close()


def check(store: rig.Store, figure: Figure) -> None:
    """The books after the run: every pair in the ledger, in every budget and limit, nothing held. Raises BenchError."""
    client, pairs_done = store.client, figure.pairs
    entries = sum(client.xlen(key) for key in client.scan_iter(match="spendgate:*:ledger:*", count=1000))
    levels = [client.hgetall(key) for key in client.scan_iter(match="spendgate:*:budget:*", count=1000)]
    monthly = [level for level in levels if int(level["spent"]) == pairs_done * SPENT]
    # An hour's or day's budget may have begun anew during the run; the month's two must have everything.
    least = 2 if LOADS[figure.load][0] else 0
    if entries != pairs_done or len(monthly) < least or any(int(level["reserved"]) for level in levels):
        raise rig.BenchError(f"{pairs_done} pairs, but {entries} ledger entries and budgets {levels}")
    if LOADS[figure.load][1].limited:
        used, running = client.hmget(Keys("main").limits("api:openai"), "requests/minute", "concurrent")
        # Within a minute nothing has left the window yet.
        if int(running) or (figure.seconds < 50 and int(used) != pairs_done):
            raise rig.BenchError(f"{pairs_done} pairs, but the limit counts {used}, and {running} under way")


def report(figures: list[Figure]) -> str:
    rows = [
        [
            figure.way, figure.calls, figure.load, f"{figure.pairs / figure.seconds:,.0f}",
            *(f"{rig.percentile(figure.admit_us, share):,.0f}" for share in (0.5, 0.99)),
            *(f"{rig.percentile(figure.settle_us, share):,.0f}" for share in (0.5, 0.99)),
            f"{figure.store_us:.0f}", f"{figure.own_us:.0f}",
        ]
        for figure in figures
    ]  # fmt: skip
    head = [
        "way",
        "at a time",
        "asked",
        "pairs/s",
        "admit p50 µs",
        "p99",
        "settle p50 µs",
        "p99",
        "store CPU µs/pair",
        "own CPU µs/pair",
    ]
    return rig.table(head, rows)


def ratios(figures: list[Figure]) -> str:
    """What one admission costs with everything on, against one that only writes the ledger."""
    lines = []
    for plain in (one for one in figures if one.load == "nothing"):
        beside = [one for one in figures if (one.way, one.calls) == (plain.way, plain.calls)]
        for full in (one for one in beside if one is not plain):
            asked, least = statistics.median(full.admit_us), statistics.median(plain.admit_us)
            lines.append(
                f"{full.way}, {full.calls} at a time, {full.load}: admission {asked:,.0f} µs against {least:,.0f} µs "
                f"({asked / least:.2f} times), store CPU {full.store_us:.0f} µs a pair against {plain.store_us:.0f} µs"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What one admit + settle costs.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--calls", default="1,64", help="calls at a time")
    parser.add_argument("--ways", default="tcp,unix", help="how the store is reached")
    parser.add_argument("--promise-us", type=float, default=PROMISED_ADMIT_P99_US, help="the p99 that must hold")
    options = parser.parse_args()
    facts = rig.announce("admit + settle through proxy/state, one connection")
    store_cores, _ = rig.cores()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))  # warnings only
    figures: list[Figure] = []
    try:
        with rig.workspace() as folder, rig.store(folder, cores=store_cores, unix=True) as store:
            urls = {"tcp": store.url, "unix": store.unix_url}
            for way in options.ways.split(","):
                figures += [
                    uvloop.run(measure(way, urls[way], store, int(calls), load, options.seconds))
                    for calls in options.calls.split(",")
                    for load in LOADS
                ]
    except rig.BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print(report(figures))
    print(ratios(figures))
    kept = [
        {name: value for name, value in asdict(figure).items() if name not in ("admit_us", "settle_us")}
        | {f"admit_p{share}": rig.percentile(figure.admit_us, share / 100) for share in (50, 99)}
        | {f"settle_p{share}": rig.percentile(figure.settle_us, share / 100) for share in (50, 99)}
        for figure in figures
    ]
    rig.save("admission", facts, kept)
    slow = [f for f in figures if f.calls == 1 and rig.percentile(f.admit_us, 0.99) > options.promise_us]
    if slow:
        raise SystemExit(f"bench: admission p99 above {options.promise_us:.0f} µs with one call at a time")


if __name__ == "__main__":
    main()
