"""What a decorated call costs a Python program: 1 000 of them in one process, one after the other and at once.

The store is the embedded one on its Unix socket, as programs without a Redis have it, append-only file and all; the
rules are those of a small team (a month's budget, a day's budget of the API). The function itself does nothing, so what
is measured is the asking and the settling. "returned" is when the program has its last result, "confirmed" when the
store has confirmed the last settlement. The check alone is the time from the call to the function's first line.

    python bench/inprocess.py [--calls 1000] [--rounds 5] [--promise-s 0.44] [--promise-us 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis
import rig

import proxy
from proxy import budget_controlled_api
from proxy.core import price
from proxy.core.model import Admitted, Ask, Bill, Outbound, State
from proxy.inprocess.host import host

PROMISED_S = 0.44  # 1 000 calls
PROMISED_CHECK_P99_US = 1000
AT_ONCE = 100

RULES = """
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {USD: 1390}
budgets:
  - {name: monthly, limit: 15000000, period: month}
  - {name: daily, limit: 15000000, period: day, applies_to: {api: map}}
apis:
  - name: map
    upstream: https://map.example.com
    prices:
      - {name: search, match: {path: /v2/**}, per_request: 0.5}
  - name: openai
    upstream: https://api.openai.com
    prices:
      - {name: models, match: {method: POST, path: /v1/*}, catalog: openai}
"""
MESSAGES = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": "Say hello to everybody here."},
]
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
}

began_us: list[float] = []  # of the functions that measure the check


@budget_controlled_api("map")
def search(query: str) -> str:
    return query


@budget_controlled_api("map")
def checked(query: str) -> None:
    began_us.append(time.perf_counter())


@budget_controlled_api("map")
async def search_async(query: str) -> str:
    return query


@budget_controlled_api("map")
async def checked_async(query: str) -> None:
    began_us.append(time.perf_counter())


@budget_controlled_api("openai")
def chat(messages: list[dict[str, str]], model: str = "gpt-4o-mini", max_tokens: int = 64) -> dict[str, Any]:
    return COMPLETION


@dataclass(slots=True)
class Figure:
    way: str
    calls: int
    promised: bool = False  # whether the promise is about this one
    booked: bool = True  # whether its calls are in the ledger
    returned_s: list[float] = field(default_factory=list)  # one a round
    confirmed_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)  # of this process


def one_after_the_other(call: Callable[..., object], argument: object, calls: int) -> None:
    for _ in range(calls):
        call(argument)


def from_threads(threads: int, calls: int) -> None:
    def work() -> None:
        one_after_the_other(search, "cafe", calls // threads)

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


async def one_after_the_other_async(calls: int) -> None:
    for _ in range(calls):
        await search_async("cafe")


async def at_once(calls: int) -> None:
    results = await asyncio.gather(*(search_async("cafe") for _ in range(calls)), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        raise rig.BenchError(f"{len(failed)} of {calls} calls at once failed: {failed[0]!r}")


def measured(figure: Figure, work: Callable[[], object], rounds: int) -> Figure:
    for number in range(rounds + 1):
        cpu_s, began_s = time.process_time(), time.perf_counter()
        work()
        returned_s = time.perf_counter() - began_s
        if left := proxy.flush():
            raise rig.BenchError(f"{figure.way}: {left} settlements are not confirmed")
        confirmed_s = time.perf_counter() - began_s
        if number:  # the first one warms up
            figure.returned_s.append(returned_s)
            figure.confirmed_s.append(confirmed_s)
            figure.cpu_s.append(time.process_time() - cpu_s)
    return figure


async def bare(calls: int) -> None:
    """The same questions and statements on the connection's own thread, each waited for: what the decorators add to."""
    known = host()
    rules, gate = known.rules, known.gate
    rule = rules.apis[0].rules[0]
    outbound = Outbound("CALL", "https", "map.example.com", 443, "/v2/x", body=b"", body_size=0)
    for _ in range(calls):
        now_ms = gate.now_ms()
        estimate = price.estimate(rules, rule, outbound, now_ms)
        ask = Ask(
            id=known.ids.new(now_ms),
            at_ms=now_ms,
            api="map",
            rule=rule.id,
            caller="anonymous",
            method="CALL",
            path="bare",
            priority=rule.priority,
            budgets=rules.budgets,
            estimate=estimate,
            currency=rules.currency,
            timezone=rules.timezone,
        )
        admitted = await gate.admit(ask)
        if not isinstance(admitted, Admitted):
            raise rig.BenchError(f"refused: {admitted}")
        await gate.settle(admitted, Bill(estimate.cost, State.SETTLED, {}), 200)


def on_the_hosts_thread(calls: int) -> None:
    host()._run_there(bare(calls)).result()


def plainly(url: str, calls: int) -> None:
    """The least that a budget could cost with redis-py: read it before each call, add to it after. Races and all."""
    with redis.Redis.from_url(url) as client:
        for _ in range(calls):
            client.hmget("bench", "spent", "limit")
            client.hincrby("bench", "spent", 1)
        client.delete("bench")


def checks_us(calls: int) -> list[float]:
    """Microseconds from the call to the function's first line."""
    began_us.clear()
    asked = []
    for _ in range(calls):
        asked.append(time.perf_counter())
        checked("cafe")
    return [(began - at) * 1e6 for at, began in zip(asked, began_us, strict=True)]


async def checks_async_us(calls: int) -> list[float]:
    began_us.clear()
    asked = []
    for _ in range(calls):
        asked.append(time.perf_counter())
        await checked_async("cafe")
    return [(began - at) * 1e6 for at, began in zip(asked, began_us, strict=True)]


def run(url: str, calls: int, rounds: int) -> tuple[list[Figure], dict[str, list[float]], int]:
    """(figures, checks by way, how many decorated calls there were)."""
    loop = asyncio.new_event_loop()

    def in_loop(work: Callable[[int], Awaitable[Any]], count: int) -> Any:
        return loop.run_until_complete(work(count))

    search("warm")
    chat(MESSAGES)
    ways: list[tuple[Figure, Callable[[], object]]] = [
        (Figure("(the gate alone)", calls), lambda: on_the_hosts_thread(calls)),
        (Figure("(redis-py, read and add)", calls, booked=False), lambda: plainly(url, calls)),
        (Figure("sync, one after the other", calls, True), lambda: one_after_the_other(search, "cafe", calls)),
        (Figure("sync, a model's price", calls), lambda: one_after_the_other(chat, MESSAGES, calls)),
        (Figure("sync, 8 threads", calls // 8 * 8), lambda: from_threads(8, calls)),
        (Figure("async, one after the other", calls, True), lambda: in_loop(one_after_the_other_async, calls)),
        (Figure(f"async, {AT_ONCE} at once", AT_ONCE), lambda: in_loop(at_once, AT_ONCE)),
        (Figure("async, all at once", calls, True), lambda: in_loop(at_once, calls)),
    ]
    figures = [measured(figure, work, rounds) for figure, work in ways]
    checks = {"sync": checks_us(calls), "async": in_loop(checks_async_us, calls)}
    loop.close()
    return figures, checks, 2 + sum(figure.calls for figure in figures if figure.booked) * (rounds + 1) + 2 * calls


def check_books(url: str, calls: int) -> None:
    """Every call once in the ledger, nothing held. Raises BenchError."""
    if left := proxy.flush():
        raise rig.BenchError(f"{left} settlements are not confirmed")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        entries = sum(client.xlen(key) for key in client.scan_iter("spendgate:*:ledger:*", count=1000))
        held = client.hlen("spendgate:{main}:reservations")
    if entries != calls or held:
        raise rig.BenchError(f"{calls} calls, but {entries} ledger entries and {held} reservations")


def report(figures: list[Figure], checks: dict[str, list[float]]) -> str:
    def middle(values: list[float]) -> str:
        return f"{statistics.median(values):.3f}"

    alone = statistics.median(figures[0].confirmed_s) / figures[0].calls
    rows = [
        [
            figure.way,
            figure.calls,
            middle(figure.returned_s),
            middle(figure.confirmed_s),
            f"{min(figure.confirmed_s):.3f} to {max(figure.confirmed_s):.3f}",
            f"{statistics.median(figure.confirmed_s) / figure.calls / alone:.2f}",
            f"{statistics.median(figure.cpu_s) / figure.calls * 1e6:.0f}",
        ]
        for figure in figures
    ]
    head = ["decorated calls", "calls", "returned s", "confirmed s", "range", "ratio", "own CPU µs/call"]
    lines = [rig.table(head, rows), ""]
    for way, found in checks.items():
        numbers = ", ".join(f"p{share * 100:g} {rig.percentile(found, share):,.0f} µs" for share in (0.5, 0.99))
        lines.append(f"The check alone, {way}: {numbers}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a decorated call costs a Python program.")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5, help="the middle one counts")
    parser.add_argument("--promise-s", type=float, default=PROMISED_S, help="for 1 000 calls")
    parser.add_argument("--promise-us", type=float, default=PROMISED_CHECK_P99_US, help="for the check's p99")
    options = parser.parse_args()
    facts = rig.announce("Decorated calls in one Python process, embedded store, two budgets on the chain")
    try:
        with rig.workspace() as folder:
            late = measure(options, folder, facts)
    except rig.BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    if late:
        raise SystemExit("bench: " + "; ".join(late))


def measure(options: argparse.Namespace, folder: Path, facts: Any) -> list[str]:
    """Print and save the figures; returns what does not hold."""
    (folder / "rules.yaml").write_text(RULES)
    proxy.configure(rules=folder / "rules.yaml", data=folder / "data")
    try:
        url = f"unix://{folder / 'data' / 'valkey.sock'}"
        figures, checks, calls = run(url, options.calls, options.rounds)
        check_books(url, calls)
    finally:
        proxy.configure()
    print(report(figures, checks))
    rig.save("inprocess", facts, [asdict(figure) for figure in figures])
    late = [
        f"{figure.way}: {statistics.median(figure.confirmed_s):.3f} s, promised {options.promise_s:g} s for 1 000 calls"
        for figure in figures
        if figure.promised and statistics.median(figure.confirmed_s) * 1000 / figure.calls > options.promise_s
    ]
    late += [
        f"the check's p99 is above {options.promise_us:.0f} µs ({way})"
        for way, found in checks.items()
        if rig.percentile(found, 0.99) > options.promise_us
    ]
    return late


if __name__ == "__main__":
    main()
