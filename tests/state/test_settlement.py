"""Every call ends once: settled, voided or reclaimed; and what ledger, roll-ups and thresholds say after it."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from importlib import resources

import msgspec
import pytest
from msgspec.structs import replace

from proxy.core import money
from proxy.core.model import Admitted, Extra, Reason, State, Term
from proxy.core.outcome import Outcome, Verdict
from proxy.state import usage
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader
from proxy.state.store import Store
from tests.state.calls import SEOUL, Clock, ask, at, bill, cost, daily_usd, free_tier, monthly, won


async def admitted(gate: Gate, *args: object, **other: object) -> Admitted:
    answer = await gate.admit(ask(*args, **other))  # type: ignore[arg-type]
    assert isinstance(answer, Admitted), answer
    return answer


async def level(store: Store, keys: Keys, period: str = "2026-11") -> tuple[int, int]:
    spent, reserved = await store.call("HMGET", keys.budget("monthly", period), "spent", "reserved")
    return int(spent or 0), int(reserved or 0)


async def entries(store: Store, keys: Keys, month: str = "2026-11") -> list[dict[str, str]]:
    found = []
    for _, flat in await store.call("XRANGE", keys.ledger(month), "-", "+"):
        texts = [text.decode() for text in flat]
        found.append(dict(zip(texts[::2], texts[1::2], strict=True)))
    return found


async def test_settling_releases_charges_and_writes_the_ledger(gate: Gate, store: Store, keys: Keys) -> None:
    call = await admitted(gate, 300, monthly(), caller="dashboard")
    settled = await gate.settle(call, replace(bill("250.25"), question="0123456789ab"), 200)
    assert settled.done
    assert settled.tightest is not None
    assert (settled.tightest.spent_atoms, settled.tightest.reserved_atoms) == (won("250.25"), 0)
    (entry,) = await entries(store, keys)
    assert entry == {
        "id": call.ask.id,
        "at": "2026-11-23T12:00:00.000+09:00",
        "api": "openai",
        "rule": "openai/chat",
        "caller": "dashboard",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": "200",
        "state": "settled",
        "cost": "250.25",
        "currency": "KRW",
        "original_cost": "250.25",
        "original_currency": "KRW",
        "fx_rate": "",
        "fx_date": "",
        "estimate": "300",
        "model": "gpt-5",
        "usage": '{"output_tokens":12}',
        "terms": "[]",
        "budgets": '[["monthly","2026-11","KRW","250.25"]]',
        "note": "",
        "question": "0123456789ab",
    }
    assert await store.call("HLEN", keys.reservations) == 0
    assert await store.call("ZCARD", keys.leases) == 0


async def test_a_zero_inside_a_text_moves_no_field(gate: Gate, store: Store, keys: Keys) -> None:
    call = await admitted(gate, 300, monthly(), caller="dash\0board", model="gpt\0")
    await gate.settle(call, replace(bill(250), note="odd\0note", question="0123456789ab"), 200)
    (entry,) = await entries(store, keys)
    assert (entry["caller"], entry["model"], entry["note"]) == ("dash\ufffdboard", "gpt\ufffd", "odd\ufffdnote")
    assert (entry["currency"], entry["cost"], entry["question"]) == ("KRW", "250", "0123456789ab")


@pytest.mark.parametrize("currency", ["KRW", "USD"])
async def test_the_scripts_write_money_exactly_up_to_their_largest_number(store: Store, currency: str) -> None:
    digits = money.exponent(currency)
    unit, drawn = 10**digits, random.Random(7)
    # Just below a whole unit is where a quotient of floats rounds up.
    near = [n * unit + d for n in (1, 9, 10**6 - 1, 2**53 // unit - 1) for d in (-2, -1, 0, 1, unit // 2)]
    atoms = [*near, *(drawn.randrange(2 ** drawn.randrange(1, 53)) for _ in range(500)), 2**53 - 1, 0]
    atoms += [-one for one in atoms[:50]]
    scripts = resources.files("proxy.state") / "lua"
    lua = (
        "".join((scripts / part).read_text("utf-8") for part in ("prelude.lua", "money.lua"))
        + """
        local told = {}
        for n, atoms in ipairs(cmsgpack.unpack(ARGV[1])) do told[n] = money(atoms, tonumber(ARGV[2]), ARGV[3]) end
        return told"""
    )
    told = await store.call("EVAL", lua, 0, msgspec.msgpack.encode(atoms), digits, currency)
    assert [text.decode() for text in told] == [money.format_text(one, currency) for one in atoms]


async def test_settling_twice_charges_once(gate: Gate, store: Store, keys: Keys) -> None:
    call = await admitted(gate, 300, monthly())
    assert (await gate.settle(call, bill(200), 200)).done
    again = await gate.settle(call, bill(200), 200)
    assert (again.done, again.tightest) == (False, None)
    assert await level(store, keys) == (won(200), 0)
    assert len(await entries(store, keys)) == 1


async def test_a_voided_call_leaves_no_trace(gate: Gate, store: Store, keys: Keys) -> None:
    call = await admitted(gate, 300, monthly())
    await gate.void(call.ask)
    await gate.void(call.ask)
    assert await level(store, keys) == (0, 0)
    assert await entries(store, keys) == []
    assert gate.pending == 0


async def test_an_abandoned_call_is_charged_at_its_estimate_once(
    gate: Gate, store: Store, keys: Keys, clock: Clock
) -> None:
    call = await admitted(gate, 300, monthly(), daily_usd())
    clock.pass_s(29)
    assert await gate.reclaim() == 0
    clock.pass_s(2)
    assert await gate.reclaim() == 1
    assert await gate.reclaim() == 0
    assert await level(store, keys) == (won(300), 0)
    (entry,) = await entries(store, keys)
    assert (entry["id"], entry["state"], entry["cost"], entry["note"]) == (
        call.ask.id,
        "unconfirmed",
        "300",
        "unconfirmed",
    )
    assert json.loads(entry["budgets"]) == [
        ["monthly", "2026-11", "KRW", "300"],
        ["daily-usd", "2026-11-23", "USD", "0.215827339"],
    ]


async def test_an_abandoned_stream_is_charged_at_what_it_had_grown_to(
    gate: Gate, store: Store, keys: Keys, clock: Clock
) -> None:
    call = await admitted(gate, 100, monthly())
    assert isinstance(await gate.extend(call, {"KRW": won(250)}), Admitted)
    clock.pass_s(31)
    assert await gate.reclaim() == 1
    (entry,) = await entries(store, keys)
    assert (entry["cost"], entry["original_cost"]) == ("250", "250")
    assert await level(store, keys) == (won(250), 0)


async def test_an_abandoned_call_of_a_tier_costs_what_its_position_says(
    gate: Gate, store: Store, keys: Keys, clock: Clock
) -> None:
    for _ in range(3):
        await admitted(gate, 30, monthly(), quota=free_tier(2, 30))
    clock.pass_s(31)
    assert await gate.reclaim() == 3
    assert sorted(entry["cost"] for entry in await entries(store, keys)) == ["0", "0", "30"]
    assert await level(store, keys) == (won(30), 0)


async def test_a_renewed_lease_is_not_reclaimed(gate: Gate, clock: Clock) -> None:
    call = await admitted(gate, 300, monthly())
    clock.pass_s(20)
    await gate.tidy()
    clock.pass_s(20)
    assert await gate.reclaim() == 0
    assert gate.live == 1
    assert (await gate.settle(call, bill(100), 200)).done
    assert gate.live == 0


async def test_a_settlement_after_the_reclaim_replaces_the_guess(
    gate: Gate, store: Store, keys: Keys, clock: Clock
) -> None:
    call = await admitted(gate, 300, monthly(), quota=None)
    clock.pass_s(31)
    assert await gate.reclaim() == 1
    assert (await gate.settle(call, bill(120), 200)).done
    assert not (await gate.settle(call, bill(120), 200)).done
    assert await level(store, keys) == (won(120), 0)
    (entry,) = await entries(store, keys)
    assert (entry["state"], entry["cost"]) == ("settled", "120")
    assert await store.call("EXISTS", keys.unconfirmed(call.ask.id)) == 0
    day = await store.call("HGETALL", keys.day("2026-11-23"))
    rollup = dict(zip(day[::2], day[1::2], strict=True))
    assert rollup[b"calls|openai|openai/chat|batch"] == b"1"
    assert int(rollup[b"cost|openai|openai/chat|batch"]) == won(120)
    assert int(await store.call("ZSCORE", keys.day_callers("2026-11-23"), "batch")) == won(120)


async def test_units_follow_a_late_settlement(gate: Gate, store: Store, keys: Keys, clock: Clock) -> None:
    call = await admitted(gate, 30, monthly(), quota=free_tier(2, 30))
    clock.pass_s(31)
    await gate.reclaim()
    await gate.settle(call, bill(0, units=0), 503)
    assert await store.call("HGET", keys.quota("kakao-map/search", "2026-11"), "used") == b"0"


async def test_a_settlement_whose_reservation_was_lost_is_charged_all_the_same(
    gate: Gate, store: Store, keys: Keys
) -> None:
    call = await admitted(gate, 300, monthly())
    await store.call("FLUSHALL")
    assert (await gate.settle(call, bill(120), 200)).done
    assert not (await gate.settle(call, bill(120), 200)).done
    assert await level(store, keys) == (won(120), 0)
    assert await immortal(store) == []


async def test_thresholds_are_told_once_each_and_in_order(gate: Gate, store: Store, keys: Keys) -> None:
    budget = monthly(1000, warn_bp=(7000, 7250, 9000))
    crossed = []
    for amount in (699, 1, 24, 1, 260):
        call = await admitted(gate, amount, budget, essential=True)
        crossed.append((await gate.settle(call, bill(amount), 200)).crossed)
    assert crossed == [
        (),
        (("monthly", 7000),),
        (),
        (("monthly", 7250),),
        (("monthly", 9000), ("monthly", 9500)),
    ]
    last = await admitted(gate, 15, budget, essential=True)
    assert (await gate.settle(last, bill(15), 200)).crossed == (("monthly", 10000),)
    assert await store.call("HGET", keys.budget("monthly", "2026-11"), "crossed") == b"70,72.5,90,95,100"
    told = [dict(zip(f[::2], f[1::2], strict=True)) for _, f in await store.call("XRANGE", keys.thresholds, "-", "+")]
    assert [one[b"threshold"] for one in told] == [b"70", b"72.5", b"90", b"95", b"100"]
    assert told[0] == {
        b"budget": b"monthly",
        b"period": b"2026-11",
        b"threshold": b"70",
        b"spent": b"700 KRW",
        b"limit": b"1000 KRW",
        b"currency": b"KRW",
        b"at": b"2026-11-23T12:00:00.000+09:00",
        b"call": told[0][b"call"],
    }


async def test_after_an_increase_a_threshold_that_is_reached_again_is_told_again(
    gate: Gate, store: Store, keys: Keys
) -> None:
    budget, found = monthly(1000), []
    for amount in (960, 10, 130, 240, 1):
        call = await admitted(gate, amount, budget, essential=True)
        found.append([bp for _, bp in (await gate.settle(call, bill(amount), 200)).crossed])
        await store.call("HSET", keys.budget("monthly", "2026-11"), "increase", won(500))
    # 96 % of 1000; 65, 73 and 89 % of 1500: below 70 % nothing holds any more, above it each is told once more.
    assert found == [[7000, 8000, 9000, 9500], [], [7000], [8000], []]
    told = [dict(zip(f[::2], f[1::2], strict=True)) for _, f in await store.call("XRANGE", keys.thresholds, "-", "+")]
    assert [(one[b"threshold"], one[b"limit"]) for one in told[4:]] == [(b"70", b"1500 KRW"), (b"80", b"1500 KRW")]
    assert await store.call("HGET", keys.budget("monthly", "2026-11"), "crossed") == b"70,80"


async def test_a_limit_raised_in_the_rules_opens_its_thresholds_again(gate: Gate, store: Store, keys: Keys) -> None:
    found = []
    for amount, limit in ((960, 1000), (1, 2000), (440, 2000)):
        call = await admitted(gate, amount, monthly(limit), essential=True)
        settled = await gate.settle(call, bill(amount), 200)
        marks = await store.call("HGET", keys.budget("monthly", "2026-11"), "crossed")
        found.append(([bp for _, bp in settled.crossed], marks))
    # 96 % of 1000; 48 and 70.05 % of 2000.
    assert found == [([7000, 8000, 9000, 9500], b"70,80,90,95"), ([], b""), ([7000], b"70")]


async def test_a_correction_below_a_threshold_does_not_tell_it_again(
    gate: Gate, store: Store, keys: Keys, clock: Clock
) -> None:
    budget = monthly(1000)
    call = await admitted(gate, 800, budget)
    clock.pass_s(31)
    await gate.reclaim()
    await gate.settle(call, bill(100), 200)
    again = await admitted(gate, 700, budget)
    assert (await gate.settle(again, bill(700), 200)).crossed == ()
    assert await store.call("XLEN", keys.thresholds) == 2  # 70 and 80, by the reclaim


async def test_a_day_is_rolled_up_by_api_rule_and_caller(gate: Gate, store: Store, keys: Keys, server: object) -> None:
    for caller, api, amount, note in (
        ("batch", "openai", 10, None),
        ("batch", "openai", 20, "usage_missing"),
        ("web", "openai", 5, None),
        ("web", "sms", 9, "unpriced_model"),
    ):
        call = await admitted(gate, 50, monthly(), caller=caller, api=api)
        await gate.settle(call, bill(amount, State.ESTIMATED, note=note), 200)
    failed = await admitted(gate, 50, monthly(), caller="web", api="sms")
    await gate.settle(failed, bill(0), 500, outcome=Outcome(Verdict.FAILURE))
    kept = await admitted(gate, 50, monthly(), caller="web", api="openai")
    await gate.settle(kept, replace(bill(0, note="cache_hit"), extra=Extra(saved_atoms=won(7))), 200)
    cheap = await admitted(gate, 50, monthly(), caller="web", api="openai")
    await gate.settle(cheap, replace(bill(0), extra=Extra(saved_atoms=won(3), degraded="at=80; set=model")), 200)
    gate.count_denied(Reason.BUDGET_INSUFFICIENT, "openai")
    gate.count_denied(Reason.BUDGET_INSUFFICIENT, "openai")
    gate.count_denied(Reason.NO_RULE, "-", SEOUL)
    await gate.tidy()
    async with Reader(store.url) as reader:
        ledger = Ledger(reader, keys)
        today = await ledger.today(SEOUL, at("2026-11-23T23:00:00+09:00"))
        assert (today["openai"].calls, today["openai"].cost_atoms) == (5, won(35))
        assert today["openai"].saved_atoms == won(10)
        total = (await usage.read_days(reader, keys, ["2026-11-23"])).total
        assert (total.saved_atoms, total.saved_cache_atoms) == (won(10), won(7))
        assert today["openai"].denied == {"budget_insufficient": 2}
        assert today["openai"].notes == {"usage_missing": 1, "cache_hit": 1}
        assert today["sms"].notes == {"unpriced_model": 1}
        assert today["-"].denied == {"no_rule": 1}
        assert await ledger.top_callers(SEOUL, gate.now_ms()) == [("batch", won(30)), ("web", won(14))]


async def test_learned_cost_is_the_99th_percentile_of_at_least_twenty(gate: Gate, store: Store, keys: Keys) -> None:
    budget = monthly(1000000)
    for amount in range(1, 20):
        await gate.settle(await admitted(gate, 100, budget), bill(amount), 200, learn=True)
    assert await gate.learned_costs.refresh("openai/chat", "gpt-5") is None
    for amount in range(20, 201):
        await gate.settle(await admitted(gate, 300, budget), bill(amount), 200, learn=True)
    await gate.settle(await admitted(gate, 300, budget), bill(999), 200)  # not to be learned from
    assert await gate.learned_costs.refresh("openai/chat", "gpt-5") == won(198)
    assert gate.learned_costs.of("openai/chat", "gpt-5") == won(198)
    assert await gate.learned_costs.refresh("openai/chat", "gpt-4") is None


async def test_terms_and_rates_are_kept_as_plain_decimals(gate: Gate, store: Store, keys: Keys) -> None:
    call = await admitted(gate, 300, monthly())
    term = Term("input_tokens", Decimal(12000), Decimal("1E-7"), Decimal("0.0012"))
    price = replace(cost("1.668"), original=Decimal("0.0012"), original_currency="USD", terms=(term,))
    price = replace(price, fx_rate=Decimal("1.39E+3"), fx_date="2026-11-23")
    await gate.settle(call, replace(bill(0), cost=price), 200)
    (entry,) = await entries(store, keys)
    assert (entry["fx_rate"], entry["original_cost"]) == ("1390", "0.0012")
    assert json.loads(entry["terms"]) == [
        {"name": "input_tokens", "quantity": "12000", "unit_price": "0.0000001", "amount": "0.0012"}
    ]


async def immortal(store: Store) -> list[bytes]:
    return [key for key in await store.call("KEYS", "*") if await store.call("TTL", key) < 0]


async def test_every_key_has_a_lifetime(gate: Gate, store: Store, keys: Keys, clock: Clock) -> None:
    quota = free_tier(1, 30)
    await gate.settle(await admitted(gate, 30, monthly(200), quota=quota), bill(150), 200, learn=True)
    await admitted(gate, 10, monthly(200))
    await admitted(gate, 10, monthly(200), quota=quota)
    gate.count_denied(Reason.NO_RULE, "-")
    await gate.tidy()
    assert await immortal(store) == []
    clock.pass_s(31)
    assert await gate.reclaim() == 2
    assert await immortal(store) == []
    kept = await store.call("TTL", keys.budget("monthly", "2026-11"))
    assert kept >= 400 * 86400
