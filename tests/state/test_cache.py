"""Kept answers and flights in a real store: one leader at a time, sizes that add up, and nobody waits for the dead."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.cache import Kept, Lifetime
from proxy.state.cache import About, Answer, Answers
from proxy.state.keys import Keys
from proxy.state.store import Store
from tests.state.conftest import Server

ABOUT = About("maps", "maps/1", "*", "GET", "/x")
NOW = 1_795_700_000_000


def an_answer(size: int = 10, stored_ms: int = NOW) -> Answer:
    return Answer(Kept(stored_ms, Lifetime(60_000)), 200, [], b"x" * size, (size,), 7, "KRW")


async def keep(answers: Answers, digest: str, answer: Answer, token: str = "", keep_ms: int = 60_000) -> None:
    await answers.keep(digest, token, answer, ABOUT, keep_ms=keep_ms, most=100, given_now=NOW)


@pytest.fixture
def pair(store: Store, keys: Keys) -> tuple[Answers, Answers]:
    """Two workers."""
    return Answers(store, keys), Answers(store, keys)


async def test_an_answer_comes_back_as_it_was(pair: tuple[Answers, Answers]) -> None:
    whole = Answer(
        Kept(NOW, Lifetime(5, 6, True, (("accept", "x"),)), '"tag"', "yesterday", "gzip"),
        201,
        [(b"Content-Type", b"text/plain; charset=\xe9"), (b"X", b"")],
        bytes(range(256)),
        (200, 56),
        2**52,
        "USD",
    )
    await pair[0].keep("d", "", whole, ABOUT, keep_ms=60_000, most=1000)
    assert await pair[1].look("d") == whole
    assert await pair[1].look("e") is None


async def test_one_of_many_leads(pair: tuple[Answers, Answers]) -> None:
    told = await asyncio.gather(*[pair[n % 2].join("d", f"call-{n}", None) for n in range(100)])
    assert told == ["call-0"] * 100
    assert pair[0].led_here("call-0")
    assert not pair[1].led_here("call-0")


async def test_a_flight_ends_with_its_answer(pair: tuple[Answers, Answers]) -> None:
    assert await pair[0].join("d", "one", None) == "one"
    await keep(pair[0], "d", an_answer(), token="one")
    assert await pair[1].leader("d") is None
    # A call that looked before the answer was kept must look again, and one that has seen it may lead.
    assert await pair[1].join("d", "two", None) == ""
    assert await pair[1].join("d", "two", an_answer()) == "two"


async def test_a_flight_that_is_over_says_so_and_the_next_may_lead(pair: tuple[Answers, Answers]) -> None:
    assert await pair[0].join("d", "one", None) == "one"
    await pair[0].end("d", "one", "over")
    assert await pair[1].leader("d") == "over:one"
    assert await pair[1].join("d", "two", None) == "two"
    await pair[0].end("d", "one", "free")  # it is not its flight any more
    assert await pair[1].leader("d") == "two"
    await pair[1].end("d", "two", "free")
    assert await pair[0].leader("d") is None


async def test_a_leader_that_is_gone_is_followed_when_its_lease_has_run_out(
    pair: tuple[Answers, Answers], server: Server, keys: Keys
) -> None:
    assert await pair[0].join("d", "one", None) == "one"
    client = server.client()
    assert 0 < client.pttl(keys.flight("d")) <= 3000
    client.pexpire(keys.flight("d"), 500)
    await pair[0].renew()
    assert client.pttl(keys.flight("d")) > 2000
    client.delete(keys.flight("d"))  # what Redis does when nobody renews it
    client.close()
    assert await pair[1].join("d", "two", None) == "two"
    await pair[0].renew()
    assert await pair[0].leader("d") == "two"


async def test_those_who_wait_here_are_told_at_once(pair: tuple[Answers, Answers]) -> None:
    await pair[0].join("d", "one", None)
    waiting = [asyncio.ensure_future(pair[0].wait("d", 10)) for _ in range(3)]
    await asyncio.sleep(0)
    await keep(pair[0], "d", an_answer(), token="one")
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_a_store_that_is_away_keeps_nothing_and_fails_nothing(store: Store, keys: Keys) -> None:
    answers = Answers(store, keys)
    await store.close()
    assert await answers.look("d") is None
    assert await answers.join("d", "one", None) is None
    await keep(answers, "d", an_answer())
    await answers.end("d", "one", "over")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 60), st.integers(1, 9)), max_size=12))
async def test_sizes_add_up_and_what_ends_soonest_goes_first(
    server: Server, store: Store, keys: Keys, steps: list[tuple[str, int, int]]
) -> None:
    client = server.client()
    client.flushall()
    answers = Answers(store, keys)
    model: dict[str, tuple[int, int]] = {}  # digest -> (end, size)
    for digest, size, minutes in steps:
        await keep(answers, digest, an_answer(size), keep_ms=minutes * 60_000)
        model.pop(digest, None)
        while sum(other for _, other in model.values()) + size > 100:
            del model[min(model, key=lambda name: (model[name][0], name))]
        model[digest] = (NOW + minutes * 60_000, size)
    sizes = {name: int(value) for name, value in client.hgetall(keys.cache_sizes(ABOUT.rule)).items()}
    ends = dict(client.zrange(keys.cache_ends(ABOUT.rule), 0, -1, withscores=True))
    kept = {digest for digest in "abcde" if client.exists(keys.cached(digest))}
    client.close()
    assert sizes.pop("total", 0) == sum(size for _, size in model.values()) <= 100
    assert sizes == {name: size for name, (_, size) in model.items()}
    assert ends == {name: end for name, (end, _) in model.items()}
    assert kept == set(model)


async def test_what_is_kept_for_an_address_can_be_forgotten(pair: tuple[Answers, Answers], keys: Keys) -> None:
    here, elsewhere = (replace(ABOUT, url=f"https://api.example.com:443/{name}?") for name in ("here", "elsewhere"))
    other_rule = replace(here, rule="maps/2")
    for digest, about in (("a", here), ("b", here), ("c", other_rule), ("d", elsewhere), ("e", ABOUT)):
        await pair[0].keep(digest, "", an_answer(), about, keep_ms=60_000, most=1000)
    assert await pair[1].forget(here.url) == 3
    assert [await pair[0].look(digest) is not None for digest in "abcde"] == [False, False, False, True, True]
    store = pair[0]._store
    sizes = {rule: await store.call("HGETALL", keys.cache_sizes(rule)) for rule in ("maps/1", "maps/2")}
    assert dict(zip(sizes["maps/1"][::2], sizes["maps/1"][1::2], strict=True)) == {
        b"total": b"20",
        b"d": b"10",
        b"e": b"10",
    }
    assert sizes["maps/2"] == [b"total", b"0"]
    assert await store.call("ZRANGE", keys.cache_ends("maps/1"), 0, -1) == [b"d", b"e"]
    assert await pair[1].forget(here.url) == 0
