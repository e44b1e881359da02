"""One leader at a time, by a lease on Redis's clock, with a fencing token that only grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.state.client import Client, Stale
from proxy.state.keys import Keys
from proxy.state.leader import Election, Term, current
from tests.state.conftest import Server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as one:
        yield one


async def test_the_first_leads_and_the_second_waits(client: Client, keys: Keys) -> None:
    one, two = Election(client, keys, "one", "h:1"), Election(client, keys, "two", "h:2")
    assert await one.ask(1_000) == Term(True, 1, 7_000)
    assert await two.ask(2_000) == Term(False, 1, 7_000)
    assert await one.ask(3_000) == Term(True, 1, 9_000)
    assert await two.ask(8_999) == Term(False, 1, 9_000)


async def test_a_lease_that_ran_out_is_taken_with_a_larger_token(client: Client, keys: Keys) -> None:
    one, two = Election(client, keys, "one", "h:1"), Election(client, keys, "two", "h:2")
    await one.ask(1_000)
    assert await two.ask(7_000) == Term(True, 2, 13_000)
    assert await one.ask(7_001) == Term(False, 2, 13_000)
    # Even the same holder gets a new token when its lease had ended: somebody may have led in between.
    assert (await two.ask(20_000)).fence == 3


async def test_who_resigns_is_followed_at_once(client: Client, keys: Keys) -> None:
    one, two = Election(client, keys, "one", "h:1"), Election(client, keys, "two", "h:2")
    await one.ask(1_000)
    await two.resign(1_500)  # not the leader: changes nothing
    assert not (await two.ask(1_600)).leads
    await one.resign(2_000)
    assert await two.ask(2_000) == Term(True, 2, 8_000)


async def test_of_many_who_ask_at_once_exactly_one_leads(client: Client, keys: Keys) -> None:
    elections = [Election(client, keys, f"p{n}", f"h:{n}") for n in range(40)]
    terms = await asyncio.gather(*(election.ask() for election in elections))
    assert sum(term.leads for term in terms) == 1
    assert {term.fence for term in terms} == {1}
    found = await current(client, keys)
    assert found is not None
    assert found.place == f"h:{[term.leads for term in terms].index(True)}"


async def test_nobody_leads_before_the_first_and_after_the_last(client: Client, keys: Keys) -> None:
    assert await current(client, keys) is None
    one = Election(client, keys, "one", "h:1")
    await one.ask()
    assert await current(client, keys) is not None
    await one.resign()
    assert await current(client, keys) is None
    assert await client.ask("PTTL", keys.leader) > 30 * 86_400_000, "the token outlives the lease"


async def test_a_reply_that_says_stale_is_an_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.state.client.source", lambda *_names: "return {-9}")
    with pytest.raises(Stale):
        await client.script("anything", [], [])
