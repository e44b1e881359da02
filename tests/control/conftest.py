"""A leader's context on a real server, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from proxy import rules_file
from proxy.control.jobs import Context
from proxy.core.model import Admitted, Budget, RuleSet
from proxy.settings import load
from proxy.state.client import Client
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.calls import Clock, ask, bill
from tests.state.conftest import Server, a_server

RULES = """
version: 1
budgets: [{name: monthly, limit: 15000}]
apis: [{name: openai, upstream: "https://a.example.com", prices: [{per_request: 1}]}]
"""


@dataclass
class Lead:
    """Everything a test of the leader's work needs. `spend` goes through the real admission and settlement."""

    server: Server
    client: Client
    store: Store
    keys: Keys
    clock: Clock
    fence: int = 1
    rules: RuleSet = field(init=False)

    def __post_init__(self) -> None:
        self.use(RULES)

    def use(self, text: str, **env: str) -> None:
        loaded = rules_file.load_text(text, "rules.yaml", env)
        assert loaded.rules is not None, [mistake.render() for mistake in loaded.mistakes]
        self.rules = loaded.rules

    @property
    def budget(self) -> Budget:
        return self.rules.budgets[0]

    def context(self, fence: int | None = None) -> Context:
        return Context(
            client=self.client,
            store=self.store,
            keys=self.keys,
            settings=load({}),
            fence=fence or self.fence,
            current_rules=lambda: self.rules,
            clock=self.clock,
        )

    async def elect(self, fence: int) -> None:
        self.fence = fence
        await self.client.ask("HSET", self.keys.leader, "token", fence)
        await self.client.ask("EXPIRE", self.keys.leader, 3600)

    async def spend(
        self, amount: str | int, *, api: str = "openai", caller: str = "batch", note: str | None = None
    ) -> None:
        gate = Gate(self.store, self.keys, clock=self.clock, pinned=True)
        admitted = await gate.admit(
            ask(amount, self.budget, api=api, caller=caller, at_ms=self.clock(), essential=True)
        )
        assert isinstance(admitted, Admitted), admitted
        await gate.settle(admitted, bill(amount, note=note), 200)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server("valkey", tmp_path_factory.mktemp("lead")) as server:
        yield server


@pytest.fixture
async def lead(valkey: Server) -> AsyncIterator[Lead]:
    plain = valkey.client()
    plain.flushall()
    plain.close()
    store, client = Store(valkey.url), Client(valkey.url)
    assert await store.start()
    made = Lead(valkey, client, store, Keys(), Clock())
    await made.elect(1)
    yield made
    await client.close()
    await store.close()
