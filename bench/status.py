"""What a budget's status costs with a long past: thirteen months of days, and a ledger of a million calls beside them.

The days are written as the settlement script writes them (five APIs, three rules each, eight callers), the ledger as
a stream of entries. The leader then computes the status of four budgets, one of them of the whole year: the very first
time, when no leader has added up finished days yet (once for a rules.yaml), in a fresh process after that, and then as
it does every few seconds. CPU is this process's own, which a busy machine does not change. Promised are 100 ms for a
status, of a fresh process too, and 1 s for the very first one.

    python bench/status.py [--entries 1000000] [--days 395] [--promise-ms 100]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import redis
import rig

from proxy import rules_file
from proxy.control.gather import Gatherer
from proxy.state.keys import Keys
from proxy.state.reading import Reader

PROMISED_MS = 100.0
FIRST_MS = 1000.0
RULES = """
version: 1
budgets:
  - {name: monthly, limit: 15000}
  - {name: yearly, limit: 200000, period: year}
  - {name: weekly, limit: 4000, period: week, applies_to: {api: api-1}}
  - {name: daily, limit: 1000, period: day}
apis:
"""
ENTRY = 400  # bytes of an entry, about what a call with its terms takes
NOW_MS = 1_795_780_800_000  # 2026-11-27 12:00 in Seoul: far into a month, so that its days count


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    p50_ms: float
    worst_ms: float
    cpu_ms: float  # the median


def fill(client: redis.Redis, keys: Keys, days: int, entries: int) -> None:
    dice = random.Random(1)
    today = date(2026, 11, 27)
    pipe = client.pipeline(transaction=False)
    for back in range(days):
        fields: dict[str, int] = {}
        for api in range(5):
            for rule in range(3):
                for caller in range(8):
                    who = f"api-{api}|api-{api}/{rule}|caller-{caller}"
                    fields[f"calls|{who}"] = dice.randrange(1, 40)
                    fields[f"cost|{who}"] = dice.randrange(1, 8_000_000)
        pipe.hset(keys.day((today - timedelta(days=back)).isoformat()), mapping=fields)
    pipe.execute()
    body = "x" * ENTRY
    for start in range(0, entries, 10_000):
        for _ in range(start, min(start + 10_000, entries)):
            pipe.execute_command("XADD", keys.ledger("2026-11"), "*", "id", "x", "terms", body)
        pipe.execute()


async def measure(url: str, keys: Keys, rounds: int) -> list[Figure]:
    loaded = rules_file.load_text(
        RULES
        + "".join(
            f"  - {{name: api-{api}, upstream: 'https://a{api}.example.com', prices: [{{per_request: 1}}]}}\n"
            for api in range(5)
        )
    )
    assert loaded.rules is not None, loaded.mistakes
    rules = loaded.rules
    figures = []
    async with Reader(url) as reader:
        await reader.ask("PING")

        async def timed(gatherer: Gatherer, now_ms: int) -> tuple[float, float]:
            began, worked = time.perf_counter(), time.process_time()
            found, _ = await gatherer.statuses(rules, rules.budgets, now_ms)
            assert len(found) == len(rules.budgets)
            return (time.perf_counter() - began) * 1000, (time.process_time() - worked) * 1000

        first = [await timed(Gatherer(reader, keys), NOW_MS) for _ in range(5)]
        figures.append(Figure("four budgets, the very first time (330 days)", *_of(first)))
        await timed(Gatherer(reader, keys, writes=True), NOW_MS)
        fresh = [await timed(Gatherer(reader, keys), NOW_MS) for _ in range(rounds)]
        figures.append(Figure("a fresh process, once a leader has run", *_of(fresh)))
        kept = Gatherer(reader, keys)
        await timed(kept, NOW_MS)
        again = [await timed(kept, NOW_MS + number) for number in range(rounds)]
        figures.append(Figure("again, as every few seconds", *_of(again)))
    return figures


def _of(times: list[tuple[float, float]]) -> tuple[float, float, float]:
    walls, works = zip(*times, strict=True)
    return rig.percentile(sorted(walls), 0.5), max(walls), rig.percentile(sorted(works), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a budget's status costs with a long past.")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the ledger")
    parser.add_argument("--days", type=int, default=395)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--promise-ms", type=float, default=PROMISED_MS, help="what a status may take")
    options = parser.parse_args()
    facts = rig.announce(f"budget status: {options.days} days of roll-ups, {options.entries} ledger entries")
    try:
        with rig.workspace() as folder, rig.store(folder, unix=True) as store:
            keys = Keys()
            with redis.Redis.from_url(store.url) as client:
                fill(client, keys, options.days, options.entries)
                entries = client.xlen(keys.ledger("2026-11"))
            figures = asyncio.run(measure(store.unix_url, keys, options.rounds))
    except rig.BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    rows = [[one.what, f"{one.p50_ms:.1f}", f"{one.worst_ms:.1f}", f"{one.cpu_ms:.1f}"] for one in figures]
    print(f"ledger entries: {entries}")
    print(rig.table(["status of", "p50 ms", "worst ms", "CPU p50 ms"], rows))
    rig.save("status", facts, [asdict(one) for one in figures])
    allowed = (FIRST_MS / PROMISED_MS * options.promise_ms, options.promise_ms, options.promise_ms)
    slow = [one.what for one, most_ms in zip(figures, allowed, strict=True) if one.p50_ms > most_ms]
    if slow:
        raise SystemExit(f"bench: slower than promised: {', '.join(slow)}")


if __name__ == "__main__":
    main()
