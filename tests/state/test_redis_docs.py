"""docs/redis.md is true: every line runs against a real server with data, and the list of keys is complete."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from proxy.core.alert_model import Alert, Kind, Severity
from proxy.core.cache import Kept, Lifetime
from proxy.core.emergency_model import Action, Grade, Incident, Remark, Sort, Taken
from proxy.core.guards import Breaker, Counts, Guards, Limit, Limited
from proxy.core.handling_model import RetryPolicy
from proxy.core.model import Admitted, Reason
from proxy.core.outcome import Outcome, Verdict
from proxy.core.windows import local_day, local_month
from proxy.rules_file import load_text
from proxy.state import advice, audit, forecasts, incidents
from proxy.state.cache import About, Answer, Answers
from proxy.state.client import Client
from proxy.state.gate import Gate, wall_ms
from proxy.state.hosts import TUNNEL, Hosts
from proxy.state.keys import PATTERNS, Keys
from proxy.state.leader import Election
from proxy.state.outbox import Outbox
from proxy.state.proxies import ProxyInfo, publish
from proxy.state.repeats import Repeats
from proxy.state.store import Store
from proxy.state.switches import Desk
from proxy.state.watching import FinishedDays, PaceSample, Watching
from tests.state.calls import SEOUL, ask, bill, free_tier, monthly, won
from tests.state.conftest import Server

DOC = Path(__file__).resolve().parents[2] / "docs" / "redis.md"
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL) for line in block.splitlines()
]

# A piece of each command -> what its answer must contain, with the data made below.
EXPECTED = {
    "HMGET 'KEY:limits": ["1", "76"],
    "HMGET 'KEY:breaker": ["open", "consecutive"],
    "--pattern 'KEY:limits": ["spendgate:{main}:limits:api:openai"],
    "--pattern 'KEY:breaker": ["spendgate:{main}:breaker:openai"],
    "HGET 'KEY:switches": [" upstream"],
    "HGET 'KEY:repeats": ["1000"],
    "HGETALL 'KEY:switches": ["api:kakao-map", "9007199254740991 17-0"],
    " limit_text increase_text": ["2000 KRW", "500 KRW"],
    "spent_text limit_text": ["1400.5 KRW", "2000 KRW"],
    "reserved unit resets_at": ["150000000", "0.000001", "T00:00:00.000+09:00"],
    "HGETALL KEY:budget": ["spent_text", "reserved", "limit_text", "currency", "unit", "crossed", "70"],
    "--pattern 'KEY:budget:": ["spendgate:{main}:budget:monthly:"],
    "callers": ["batch", str(won("1300.5")), "web", str(won(100))],
    "HGETALL KEY:day": [
        "calls|openai|openai/chat|batch",
        "denied|openai|budget_insufficient",
        "note|openai|usage_missing",
    ],
    "HGETALL KEY:hosts": [
        "calls|tunnel|api.example.com",
        "caller|batch|api.example.com",
        "bytes|api.example.com",
        "4096",
    ],
    "HGETALL 'KEY:reservations": ["150000000||-1|||{", '"caller":"web"', '"path":"/v1/chat/completions"'],
    "ZCARD": ["1"],
    "ZRANGE 'KEY:leases": ["0000000000000000000000000abc"],
    "XREVRANGE KEY:ledger": ["batch", "settled", "1300.5", "unconfirmed", "100"],
    "XLEN KEY:ledger": ["3"],
    "XREVRANGE 'KEY:thresholds": ["monthly", "70", "1400.5 KRW", "2000 KRW"],
    "HGET KEY:quota": ["1000"],
    "unconfirmed:*": ["spendgate:{main}:unconfirmed:00000000000000000000000dead"],
    "SISMEMBER": ["1"],
    "LRANGE": [str(won("1300.5"))],
    "ZRANGE 'KEY:proxies": ["x:1"],
    "proxy:*": ["spendgate:{main}:proxy:"],
    "SMEMBERS 'KEY:forecasts": ["budget:monthly"],
    "HMGET 'KEY:leader": ["host:1", "1"],
    "--pattern 'KEY:session": ["spendgate:{main}:session:0abc"],
    "HMGET 'KEY:forecast": ["12000 KRW", "11000 KRW", "13000 KRW", "4.2"],
    "HGET 'KEY:advice' at": ["2026-11-26T12:00:00.000+09:00"],
    "HGETALL 'KEY:recommendations": ["batch:openai", "9007199254740991 anna"],
    "--pattern 'KEY:cache:": ["spendgate:{main}:cache:0abc", "spendgate:{main}:cache:flight:0def"],
    "HGET 'KEY:cache:sizes": ["15"],
    "HGETALL 'KEY:charges": ["fixed:database", "1795402800000"],
    "HGETALL 'KEY:services": ["hand:reports", "stop"],
    "XREVRANGE 'KEY:audit": ["noted", "anna", "first of all"],
    "HGETALL 'KEY:audit:head": ["count", "1", "hash"],
    "HMGET 'KEY:status:monthly' spent": ["1400.5", "1099.5", "ok", "50.25"],
    "HGET 'KEY:status:monthly' document": ['"daily_average": "50.25"'],
    "HGETALL 'KEY:status:monthly:days": ["2026-11-25", "1400500000"],
    "XREVRANGE 'KEY:status:monthly:hours": ["2026-11-26T21+0900", '"spent": "1400.5"'],
    "XREVRANGE 'KEY:alerts": ["a1b2c3d4e5"],
    "HGETALL 'KEY:alerts:open": ["open|breaker:openai", "a1b2c3d4e5", "at|thresholds", "7-0"],
    "HGETALL 'KEY:alert:a1b2": ["breaker", "warning", '"api": "openai"', "delivery|gone|raised", '"state": "dead"'],
    "XREVRANGE 'KEY:incidents": ["0a1b2c3d"],
    "HGETALL 'KEY:incidents:open": ["open|runaway:batch", "0a1b2c3d"],
    "HGETALL 'KEY:incident:0a1b": ["runaway:batch", "caller:batch", "high", '"action": "block_caller"', "first seen"],
    "XLEN 'KEY:outbox": ["1"],
    "ZRANGE 'KEY:outbox:later": ["asleep"],
    "XREVRANGE 'KEY:outbox:dead": ["gone", "HTTP 500"],
    "ZREVRANGE 'KEY:alerts:told": ["threshold:monthly:70"],
    "HGETALL KEY:hours": ["21|api|openai", "1400500000", "21|seen"],
    "XREVRANGE 'KEY:pace": ["monthly", "1400500000"],
    "TTL": ["3"],
    "DEL": ["1"],
    "UNLINK": ["1"],
}


@pytest.fixture
async def filled(server: Server) -> AsyncIterator[Server]:
    """Calls ended, abandoned and in flight; a threshold crossed; refusals; a running proxy."""
    store = Store(server.url)
    assert await store.start()
    keys, budget = Keys(), monthly(2000)
    gate, dead = Gate(store, keys), Gate(store, keys, lease_s=-1)

    async def admitted(by: Gate, amount: int, call_id: str, caller: str, tiered: bool = False) -> Admitted:
        quota = free_tier(0, amount) if tiered else None
        answer = await by.admit(ask(amount, budget, call_id=call_id, at_ms=wall_ms(), caller=caller, quota=quota))
        assert isinstance(answer, Admitted)
        return answer

    first = await admitted(gate, 1400, "000000000000000000000000000f", "batch", tiered=True)
    await gate.settle(first, bill("1300.5", note="usage_missing"), 200, learn=True)
    await admitted(dead, 100, "00000000000000000000000dead", "web")
    assert await gate.reclaim() == 1
    await admitted(gate, 150, "0000000000000000000000000abc", "web")
    limits = (Limit(Counts.REQUESTS, 9, "minute"), Limit(Counts.TOKENS, 999, "minute"), Limit(Counts.CONCURRENT, 9))
    circuit = Breaker("openai", 60_000, 10, None, 1, None, None, 30_000, 60_000, 1)
    guards = Guards((Limited("api", "openai", limits),), (circuit,))
    limited = await gate.admit(ask(0, at_ms=wall_ms(), free=True, guards=guards))
    assert isinstance(limited, Admitted)
    outcome = Outcome(Verdict.FAILURE, 5, wall_ms() + 60_000)
    assert await Repeats(store, keys).take(ask(0, free=True), RetryPolicy())
    await gate.settle(limited, bill(0, tokens=(12, 64)), 429, outcome=outcome)
    gate.count_denied(Reason.BUDGET_INSUFFICIENT, "openai")
    await gate.tidy()
    hosts = Hosts(keys, wall_ms, lambda: SEOUL)
    hosts.count("api.example.com", "batch", TUNNEL, 4096)
    await hosts.write(store)
    texts = ("host", "version", "started_at", "listen", "admin", "rules_file", "rules_digest", "rules_loaded_at")
    info = ProxyInfo(**dict.fromkeys(texts, "x"), rules_errors="", pid=1, pending_settlements=0, calls_in_flight=1)  # type: ignore[arg-type]
    await publish(store, keys, info)
    async with Client(server.url) as client:
        assert (await Election(client, keys, "one", "host:1").ask()).leads
        who = audit.Who("anna", "cli")
        await audit.record(client, keys, audit.draft(who, "noted", "all", "first of all", wall_ms(), SEOUL))
        told = {"kind": "budget", "name": "monthly", "currency": "KRW", "period": "2026-11", "end": "2026-11-30"}
        told |= {"month_end": "12000", "interval80": ["11000", "13000"], "limit": "15000", "over": False}
        told |= {"reaches_limit": None, "past_error_percent": 4.2}
        await forecasts.keep(client, keys, [told], wall_ms(), SEOUL, "2026-11-26")
        await advice.keep(client, keys, {}, advice.Look(1_795_662_000_000, "0", 20), SEOUL)
        opened = Incident(
            *("0a1b2c3d", "runaway:batch", Sort.RUNAWAY, "caller:batch", Grade.HIGH, Grade.HIGH, {}, "now"),
            actions=(Taken(Action.BLOCK_CALLER, "caller:batch", 7, wall_ms(), "now", "anna", False),),
            remarks=(Remark("now", "anna", "acknowledge", "first seen"),),
        )
        rules = load_text("version: 1\n", "rules.yaml", {}).rules
        assert rules is not None
        assert await incidents.begin(Desk(client, keys, rules, who, wall_ms()), opened, "too much")
        await forecasts.set_aside(client, keys, "batch:openai", forecasts.FOR_GOOD, "anna")
        await _told(client, keys)
    answers = Answers(store, keys)
    kept = Answer(Kept(wall_ms(), Lifetime(60_000)), 200, [(b"Content", b"type")], b"body", None, 1, "KRW")
    about = About("openai", "openai/chat", "*", "GET", "/v1/models", "https://api.openai.com:443/v1/models?")
    await answers.keep("0abc", "", kept, about, keep_ms=60_000, most=1000)
    assert await answers.join("0def", "a call", None) == "a call"
    assert await store.call("PEXPIRE", keys.prefix + "cache:flight:0def", 600_000) == 1  # a slow machine reads it too
    await store.call("XADD", keys.ledger("2025-11"), "*", "id", "old")
    await store.call("HSET", keys.session("0abc"), "token", "0def")
    await store.call("SET", keys.login("127.0.0.1"), 1)
    await store.call("HSET", keys.charges, "fixed:database", "1795402800000")
    await store.call("HSET", keys.services, "hand:reports", "stop")
    await store.call("HSET", keys.switches, "api:kakao-map", "9007199254740991 17-0")
    (month,) = await store.call("KEYS", keys.prefix + "budget:monthly:*")
    await store.call("HSET", month, "increase", won(500), "increase_text", "500 KRW")
    yield server
    await store.close()


async def _told(client: Client, keys: Keys) -> None:
    """An open alert that waits for one channel, was given up for another, and is to be made for a third."""
    outbox, now, facts = Outbox(client, keys), wall_ms(), {"api": "openai", "until": ""}
    open_ = Alert(Kind.BREAKER, Severity.WARNING, "breaker:openai", None, facts)
    due = [("gone", now), ("asleep", now + 3_600_000), ("hook", now)]
    assert await outbox.raise_alert(
        open_, "a1b2c3d4e5", due, now, SEOUL, resolvable=True, position=("thresholds", "7-0")
    )
    once = Alert(Kind.THRESHOLD, Severity.WARNING, "threshold:monthly:70", "monthly", {})
    assert await outbox.raise_alert(once, "f1", [], now, SEOUL, resolvable=False)
    first, _ = await outbox.take("one")
    assert await outbox.note(first, "dead", now, SEOUL, error="HTTP 500")
    watching = Watching(client, keys)
    status = {"spent": "1400.5", "left": "1099.5", "state": "ok", "daily_average": "50.25"}
    await watching.publish("monthly", status, now)
    assert await watching.snapshot("monthly", status, "2026-11-26T21+0900")
    await FinishedDays(client, keys).write("monthly", "0abc", {date(2026, 11, 25): won("1400.5")}, [])
    await watching.write_hour(local_day(now, SEOUL), 21, {"api|openai": won("1400.5")})
    spent = {"monthly": (local_month(now, SEOUL), won("1400.5"))}
    await watching.sample(PaceSample(now, local_day(now, SEOUL), spent, {"api|openai": won("1400.5")}))


async def test_every_line_of_the_page_answers_what_it_promises(filled: Server, tmp_path: Path) -> None:
    cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if cli is None:
        pytest.skip("redis-cli is not installed: apt-get install redis-tools")
    (tmp_path / "redis-cli").write_text(f'#!/bin/sh\nexec {cli} -s {filled.socket} "$@"\n')
    (tmp_path / "redis-cli").chmod(0o755)
    assert len(LINES) >= 20
    used = set()
    for line in LINES:
        plain = line.replace("spendgate:{main}", "KEY").replace('"', "")
        (piece,) = [key for key in EXPECTED if re.search(rf"(?<![A-Z]){re.escape(key)}", plain)] or [None]
        assert piece is not None, f"no expectation for: {line}"
        used.add(piece)
        done = await asyncio.to_thread(
            subprocess.run,
            ["/bin/sh", "-c", line],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        for text in EXPECTED[piece]:
            assert text in done.stdout, line
    assert used == set(EXPECTED)


def test_the_page_lists_exactly_the_keys_there_are() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (\w+) \|", DOC.read_text("utf-8"), re.MULTILINE))
    assert rows == PATTERNS


async def test_every_key_that_is_written_has_a_documented_shape_and_type(filled: Server) -> None:
    shapes = {
        re.compile(re.escape(Keys().prefix) + re.sub(r"<\w+>", "[^:]+", pattern)): kind
        for pattern, kind in PATTERNS.items()
    }
    client = filled.client()
    seen = set()
    for key in client.keys("*"):
        (kind,) = {kind for shape, kind in shapes.items() if shape.fullmatch(key)} or {None}
        assert client.type(key) == kind, key
        seen.update(shape.pattern for shape in shapes if shape.fullmatch(key))
    client.close()
    assert len(seen) == len(PATTERNS), "every kind of key was made and found"


def test_a_month_and_a_day_are_the_shells_own() -> None:
    """`TZ=Asia/Seoul date` in the page names the same periods as the keys."""
    for form, name in (("+%Y-%m", local_month), ("+%F", local_day)):
        said = subprocess.run(
            ["date", form], env={"TZ": SEOUL, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == name(wall_ms(), SEOUL)
