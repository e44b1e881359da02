"""What was drawn of free allowances, read back from the counters that admission goes by."""

from __future__ import annotations

from proxy.core.model import Admitted
from proxy.rules_file import load_text
from proxy.state import allowances
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.reading import Reader
from tests.state.calls import Clock, ask, at, bill, free_tier, monthly
from tests.state.conftest import Server

RULES = """version: 1
timezone: Asia/Seoul
budgets: [{name: monthly, limit: 1000}]
apis:
  - name: kakao-map
    upstream: https://map.example.com
    prices:
      - {name: search, match: {path: /search}, per_request: 30, free_tier: {requests: 2, per: month}}
      - {name: other, per_request: 1}
"""


async def test_what_was_drawn_is_known_for_this_period_and_the_one_before(
    gate: Gate, server: Server, keys: Keys, clock: Clock
) -> None:
    loaded = load_text(RULES, env={})
    assert loaded.rules is not None
    async with Reader(server.url) as reader:
        assert await allowances.drawn(reader, keys, loaded.rules, clock()) == {}
        budget, quota = monthly(1000), free_tier(2, 30)
        for _ in range(3):
            admitted = await gate.admit(ask(30, budget, quota=quota))
            assert isinstance(admitted, Admitted)
        await gate.settle(admitted, bill(30, units=2500), 200)
        assert await allowances.drawn(reader, keys, loaded.rules, clock()) == {("kakao-map/search", "2026-11"): 4.5}
        clock.now_ms = at("2026-12-02T00:00:00+09:00")
        assert isinstance(await gate.admit(ask(30, budget, quota=quota, at_ms=clock())), Admitted)
        assert await allowances.drawn(reader, keys, loaded.rules, clock()) == {
            ("kakao-map/search", "2026-11"): 4.5,
            ("kakao-map/search", "2026-12"): 1.0,
        }
