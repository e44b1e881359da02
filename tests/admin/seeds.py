"""Incidents and recommendations as the leader makes them, put into a running proxy's store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from proxy.control.optimize.finding import Recommendation
from proxy.control.optimize.told import Advice, packed
from proxy.core.emergency_model import Grade, Incident, Sort
from proxy.rules_file import load_file
from proxy.state import advice, incidents
from proxy.state.audit import Who
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.switches import Desk
from tests.harness import RunningProxy

FAILING = {"api": "api", "failed": "60", "calls": "100", "percent": "60", "usual_percent": "1", "minutes": "5"}
RUNAWAY = {
    "caller": "batch",
    "budget": "monthly",
    "currency": "KRW",
    "took": "420",
    "left": "940",
    "minutes": "10",
    "share": "93",
    "times": "57",
    "empty_in": "22",
}


def storm(incident_id: str, api: str = "api", cause: str = "") -> Incident:
    facts = {**FAILING, "api": api}
    cause = cause or f"errors:{api}"
    return Incident(incident_id, cause, Sort.ERRORS, f"api:{api}", Grade.HIGH, Grade.HIGH, facts, "")


def runaway(incident_id: str) -> Incident:
    grade = Grade.CRITICAL
    return Incident(incident_id, "runaway:batch", Sort.RUNAWAY, "caller:batch", grade, grade, RUNAWAY, "")


def slow_store(incident_id: str) -> Incident:
    grade, facts = Grade.MEDIUM, {"what": "slow", "ms": "140"}
    return Incident(incident_id, "store:slow", Sort.STORE, "store", grade, grade, facts, "")


def opened(proxy: RunningProxy, env: Mapping[str, str], *made: Incident, resolved: str = "") -> None:
    """Open incidents in the proxy's embedded store. resolved: the id of one that is over at once."""

    async def begin() -> None:
        loaded = load_file(str(proxy.rules), env)
        assert loaded.rules is not None
        async with Client(f"unix://{proxy.data / 'valkey.sock'}") as client:
            now_ms = await client.now_ms()
            desk = Desk(client, Keys(), loaded.rules, Who("spendgate", "automatic"), now_ms)
            for one in made:
                assert await incidents.begin(desk, replace(one, opened_at=desk.iso(now_ms)), "why")
            if resolved:
                await incidents.acknowledge(desk, resolved, "asking the team that runs it", "seen")
                await incidents.resolve(desk, resolved, "they mended it")

    _run(begin())


def advised(proxy: RunningProxy, env: Mapping[str, str]) -> None:
    """Two recommendations, as if the leader had just looked for a long time."""

    async def keep() -> None:
        rules = load_file(str(proxy.rules), env).rules
        assert rules is not None
        kept = Advice((repeats("chat/1 demo", "chat", 420), repeats("map/search", "map", 90)))
        async with Client(f"unix://{proxy.data / 'valkey.sock'}") as client:
            look = advice.Look(await client.now_ms(), rules.digest, 60_000)
            await advice.keep(client, Keys(), packed(kept), look, rules.timezone)

    _run(keep())


def repeats(about: str, api: str, won: int) -> Recommendation:
    facts: dict[str, str | int] = {"repeated": 30, "calls": 80, "about": about}
    atoms, change = won * 10**6, f"# under the rule {about.split()[0]}\ncache: {{ttl: 24h, scope: caller}}\n"
    return Recommendation(
        f"repeats:{about}".replace(" ", ":"), "repeats", about, api, atoms, atoms, 1, facts, change, {}
    )


def _run(work: Coroutine[Any, Any, None]) -> None:
    with ThreadPoolExecutor(1) as other:  # a browser's loop may run in this thread
        other.submit(lambda: asyncio.run(work)).result()
