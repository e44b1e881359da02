"""Doctor tells what is wrong with the books, and nothing when nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.core.guards import Counts, Guards, Limit, Limited
from proxy.core.model import Admitted
from proxy.state import doctor
from proxy.state.doctor import Counted, Finding, Severity
from proxy.state.gate import Gate, wall_ms
from proxy.state.keys import Keys
from proxy.state.proxies import ProxyInfo, publish
from proxy.state.store import Store
from tests.state.calls import ask, bill, daily_usd, monthly, won
from tests.state.conftest import Server, a_server


def problems(findings: list[Finding]) -> dict[str, str]:
    return {finding.key: finding.severity.value for finding in findings if finding.severity is not Severity.OK}


async def examine(url: str, **other: object) -> dict[str, str]:
    findings = await doctor.run(url, Keys(), clock=wall_ms, **other)  # type: ignore[arg-type]
    for finding in findings:
        for language in ("en", "ko"):
            assert finding.text(language)
            remedy = finding.remedy(language)
            assert (remedy is None) is (finding.severity is Severity.OK)
    return problems(findings)


async def some_traffic(store: Store) -> tuple[Gate, str]:
    gate = Gate(store, Keys())
    for amount in (100, 250):
        call = await gate.admit(ask(amount, monthly(), daily_usd(), at_ms=wall_ms()))
        assert isinstance(call, Admitted)
        await gate.settle(call, bill(amount), 200)
    running = await gate.admit(ask(30, monthly(), daily_usd(), at_ms=wall_ms()))
    assert isinstance(running, Admitted)
    return gate, Keys().budget("monthly", running.windows[0].label)


async def test_sound_books_give_no_findings_but_good_ones(store: Store) -> None:
    await some_traffic(store)
    assert await examine(store.url) == {}


async def test_counters_changed_by_hand_are_found_and_repaired_as_told(store: Store) -> None:
    _, key = await some_traffic(store)
    await store.call("HINCRBY", key, "spent", won(5))
    await store.call("HINCRBY", key, "reserved", -won(7))
    findings = await doctor.run(store.url, Keys(), clock=wall_ms)
    assert problems(findings) == {"spent_differs": "fail", "reserved_differs": "fail"}
    for finding in findings:
        if finding.severity is Severity.FAIL:
            command, name, field, number = finding.values["repair"].split()
            await store.call(command, name.strip("'"), field, number)
    assert await examine(store.url) == {}


async def test_a_wrong_count_of_calls_at_once_is_found_and_repaired_as_told(store: Store) -> None:
    limited = [
        Limited(scope, name, (Limit(Counts.CONCURRENT, 9), Limit(Counts.REQUESTS, 9, "minute")))
        for scope, name in (("api", "openai"), ("caller", "batch"))
    ]
    gate = Gate(store, Keys())
    for guards in (Guards(tuple(limited)), Guards((limited[0],))):
        assert isinstance(await gate.admit(ask(5, monthly(), at_ms=wall_ms(), guards=guards)), Admitted)
    assert await examine(store.url) == {}
    await store.call("HINCRBY", Keys().limits("api:openai"), "concurrent", 3)
    await store.call("DEL", Keys().limits("caller:batch"))
    findings = [one for one in await doctor.run(store.url, Keys(), clock=wall_ms) if one.severity is Severity.FAIL]
    told = {one.values["place"]: (one.key, one.values["counted"], one.values["expected"]) for one in findings}
    assert told == {"api:openai": ("concurrent_differs", "5", "2"), "caller:batch": ("concurrent_differs", "0", "1")}
    for finding in findings:
        command, name, field, number = finding.values["repair"].split()
        await store.call(command, name.strip("'"), field, number)
    assert "concurrent_differs" not in await examine(store.url)


async def test_a_dead_proxys_reservations_are_told_until_somebody_runs(store: Store) -> None:
    gate = Gate(store, Keys(), lease_s=-60)
    assert isinstance(await gate.admit(ask(30, monthly(), at_ms=wall_ms())), Admitted)
    assert await examine(store.url) == {"expired_no_proxy": "warn"}
    await Gate(store, Keys()).reclaim()
    assert await examine(store.url) == {}


async def test_other_peoples_writing_is_told(store: Store) -> None:
    await store.call("HSET", Keys().reservations, "x", "not ours")
    assert await examine(store.url) == {"unreadable_reservations": "fail", "no_lifetime": "warn"}


async def test_rules_that_a_proxy_refused_and_rules_that_differ_are_told(store: Store) -> None:
    for pid, digest, errors, pending in ((1, "aaa", "", 0), (2, "bbb", "rules.yaml:3:1: what", 4)):
        info = ProxyInfo("h", pid, "0.1.0", "t", "", "", "rules.yaml", digest, "t", errors, pending, 0)
        await publish(store, Keys(), info)
    assert await examine(store.url) == {
        "proxy_rules_refused": "fail",
        "rules_differ": "warn",
        "settlements_waiting": "warn",
    }


async def test_mistakes_of_the_rules_file_are_told(store: Store) -> None:
    assert await examine(store.url, mistakes=["rules.yaml:1:1: no"]) == {"rules_mistake": "fail"}


async def test_a_store_that_may_forget_is_told(tmp_path: Path) -> None:
    extra = ("--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
    with a_server("valkey", tmp_path / "s", *extra) as server:
        assert await examine(server.url) == {"persistence_none": "fail", "eviction": "fail"}


async def test_a_store_that_is_away_is_a_finding(tmp_path: Path) -> None:
    assert await examine(f"unix://{tmp_path}/nobody.sock") == {"store_unreachable": "fail"}


async def test_the_clocks_are_compared(server: Server) -> None:
    findings = await doctor.run(server.url, Keys(), clock=lambda: wall_ms() - 5000)
    assert problems(findings) == {"clock_skewed": "warn"}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"redis_version": "6.2.0"}, "version_ok"),
        ({"redis_version": "6.0.16"}, "version_old"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "version_ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.0"}, "version_ok"),
        ({"redis_version": "10.0"}, "version_ok"),
        ({}, "version_old"),
    ],
)
def test_versions(server: dict[str, str], expected: str) -> None:
    assert doctor.judge_version(server).key == expected


@pytest.mark.parametrize(
    ("info", "save", "expected"),
    [
        ({"aof_enabled": 1}, "", {}),
        ({"aof_enabled": 0}, "3600 1", {"persistence_snapshots": "warn"}),
        ({"aof_enabled": 0}, None, {"persistence_snapshots": "warn"}),
        ({"aof_enabled": 0}, "", {"persistence_none": "fail"}),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "", {"persistence_failing": "fail"}),
    ],
)
def test_persistence(info: dict[str, object], save: str | None, expected: dict[str, str]) -> None:
    assert problems(doctor.judge_persistence(info, save)) == expected


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"maxmemory_policy": "noeviction", "maxmemory": 0}, {}),
        ({"maxmemory_policy": "noeviction", "maxmemory": 100, "used_memory": 79}, {}),
        ({"maxmemory_policy": "noeviction", "maxmemory": 100, "used_memory": 80}, {"memory_full": "warn"}),
        ({"maxmemory_policy": "noeviction", "maxmemory": 100, "used_memory": 95}, {"memory_full": "fail"}),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, {"eviction": "fail"}),
        ({"maxmemory_policy": "volatile-ttl", "maxmemory": 0}, {"eviction": "fail"}),
    ],
)
def test_memory(memory: dict[str, object], expected: dict[str, str]) -> None:
    assert problems(doctor.judge_memory(memory)) == expected


def test_amounts_of_a_difference_are_told_as_people_read_them() -> None:
    (finding,) = doctor.judge_counters([Counted("k", "monthly", "2026-11", "KRW", won("10.5"), 0, won(10), 0)])
    assert finding.values["counted"] == "10.5 KRW"
    assert finding.values["repair"] == "HINCRBY 'k' spent -500000"
    assert "10.5 KRW" in finding.text("ko")
