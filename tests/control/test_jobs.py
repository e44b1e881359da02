"""The leader's loop: jobs run while the lease holds, a failing one holds up no other, a lost lease ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.control.jobs import Context, Job, Leadership
from proxy.settings import load
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.leader import Election
from proxy.state.store import Store
from tests.state.conftest import Server, a_server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with a_server("valkey", tmp_path_factory.mktemp("v")) as server:
        yield server


@pytest.fixture
async def client(valkey: Server) -> AsyncIterator[Client]:
    async with Client(valkey.url) as one:
        await one.ask("FLUSHALL")
        yield one


def leadership(client: Client, name: str, jobs: list[Job], lease_s: float = 6.0) -> Leadership:
    keys, store = Keys(), Store(client.url)
    settings = load({"HOME": str(Path.cwd())})

    def context(fence: int) -> Context:
        return Context(client, store, keys, settings, fence, lambda: None, lambda: 0)  # type: ignore[arg-type,return-value]

    return Leadership(Election(client, keys, name, name, lease_s), jobs, context)


async def test_jobs_run_for_the_leader_alone_and_a_failing_one_holds_up_nobody(client: Client) -> None:
    ran: list[tuple[str, int]] = []
    thrice = asyncio.Event()

    async def work(context: Context) -> None:
        ran.append(("work", context.fence))
        if len(ran) >= 3:
            thrice.set()

    async def fail(context: Context) -> None:
        raise RuntimeError("out of luck")

    async def never(context: Context) -> None:
        ran.append(("second", context.fence))

    first = leadership(client, "one", [Job("fail", 0.01, fail), Job("work", 0.01, work)])
    second = leadership(client, "two", [Job("never", 0.01, never)])
    leading = asyncio.create_task(first.run())
    async with asyncio.timeout(5):
        while first.fence is None:  # noqa: ASYNC110 - a poll of a plain attribute
            await asyncio.sleep(0.005)
        waiting = asyncio.create_task(second.run())
        await thrice.wait()
    assert first.fence == 1
    assert second.fence is None
    assert set(ran) == {("work", 1)}
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    async with asyncio.timeout(5):  # it resigned: the other one need not wait for the lease
        while second.fence is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert second.fence == 2
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_leader_whose_store_hangs_stops_before_its_lease_ends(client: Client, valkey: Server) -> None:
    stopped = asyncio.Event()

    async def work(context: Context) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    one = leadership(client, "one", [Job("work", 60, work)], lease_s=1.5)
    task = asyncio.create_task(one.run())
    try:
        async with asyncio.timeout(5):
            while one.fence is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            valkey.signal(19)  # SIGSTOP: connected, and no answer
            await stopped.wait()
        assert one.fence is None
    finally:
        valkey.signal(18)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
