"""Prices as whole numbers are the same, to the atom and to the letter, as the sums of lines that they stand for."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import msgspec
import pytest
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import price
from proxy.core.model import FxRate, Outbound, Price, Rule, RuleSet, State, Usage
from proxy.state.plan import terms_text
from tests.core.exchanges import AT_MS
from tests.core.test_price import RULES, krw

MODELS = [(provider.id, model.id) for provider in providers for model in provider.models]
KEYS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "input_audio_tokens"),
    *(
        "output_audio_tokens",
        "output_reasoning_tokens",
        "cache_audio_read_tokens",
        "web_searches",
        "input_image_tokens",
    ),
)
COUNTS = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.just(0), st.integers(0, 3_000_000)), max_size=7)
USUAL = st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 200_000), "output_tokens": st.integers(0, 50_000)},
    optional={"cache_read_tokens": st.integers(0, 1000), "output_reasoning_tokens": st.integers(0, 1000)},
)
RATES = st.sampled_from(["1390", "1390.25", "0.9137", "1e-7", "12345.678901234567"])


def rules_at(rate: str, currency: str = "KRW") -> RuleSet:
    return replace(RULES, currency=currency, fx=(FxRate("USD", D(rate), "0001-01-01"),))


def chat(provider: str, **more: object) -> Rule:
    return replace(krw(), price=Price(currency="USD", catalog=provider, **more))  # type: ignore[arg-type]


def asking(model: str, tokens: int, **more: object) -> Outbound:
    body = msgspec.json.encode({"model": model, "max_tokens": tokens, "messages": [], **more})
    return Outbound("POST", "https", "api.example.com", 443, "/v1/chat/completions", body=body, body_size=len(body))


@given(st.sampled_from(MODELS), st.integers(1, 100_000), st.booleans(), RATES)
@settings(max_examples=150, deadline=None)
def test_estimates_are_the_same(which: tuple[str, str], tokens: int, media: bool, rate: str) -> None:
    rules, rule = rules_at(rate), chat(which[0])
    call = asking(which[1], tokens, **({"modalities": ["audio"]} if media else {}))
    slow = price.estimate(rules, rule, call, AT_MS)
    quick = price.estimate(rules, rule, call, AT_MS, explain=False)
    assert (quick.cost.original, quick.cost.atoms) == (slow.cost.original, slow.cost.atoms)
    assert (quick.cost.fx_rate, quick.cost.fx_date) == (slow.cost.fx_rate, slow.cost.fx_date)
    assert terms_text(quick.cost) == terms_text(slow.cost)
    assert (quick.basis, quick.model, quick.usage, quick.bounded, quick.problem) == (
        *(slow.basis, slow.model, slow.usage, slow.bounded, slow.problem),
    )


@given(st.sampled_from(MODELS), st.one_of(USUAL, COUNTS), RATES)
@settings(max_examples=250, deadline=None)
def test_bills_are_the_same(which: tuple[str, str], counts: dict[str, int], rate: str) -> None:
    rules, rule = rules_at(rate), chat(which[0])
    call = asking(which[1], 100)
    before = price.estimate(rules, rule, call, AT_MS)
    usage = Usage(status=200, model=which[1], counts=counts, found=True, sent=True)
    slow = price.actual(rules, rule, call, before, usage, None, AT_MS)
    quick = price.actual(rules, rule, call, before, usage, None, AT_MS, explain=False)
    assert (quick.state, quick.note, quick.usage, quick.quota_units) == (
        *(slow.state, slow.note, slow.usage, slow.quota_units),
    )
    assert (quick.cost.original, quick.cost.atoms) == (slow.cost.original, slow.cost.atoms)
    assert (quick.cost.fx_rate, quick.cost.fx_date) == (slow.cost.fx_rate, slow.cost.fx_date)
    assert terms_text(quick.cost) == terms_text(slow.cost)


@pytest.mark.parametrize(
    "more",
    [
        {"per_request": D(1)},
        {"vat": D("0.1")},
        {"minimum": D("0.5")},
    ],
)
def test_a_price_of_more_parts_is_added_up_line_by_line(more: dict[str, object]) -> None:
    rule, call = chat("openai", **more), asking("gpt-4o-mini", 100)
    usage = Usage(status=200, model="gpt-4o-mini", counts={"input_tokens": 71, "output_tokens": 22}, found=True)
    slow = price.actual(RULES, rule, call, price.estimate(RULES, rule, call, AT_MS), usage, None, AT_MS)
    quick = price.actual(
        RULES, rule, call, price.estimate(RULES, rule, call, AT_MS, explain=False), usage, None, AT_MS, explain=False
    )
    assert quick == slow
    assert len(quick.cost.terms) == 3


def test_most_models_have_such_a_price() -> None:
    """Otherwise the tests above would compare the slow way with itself."""
    usage = Usage(status=200, counts={"input_tokens": 71, "output_tokens": 22}, found=True)
    quick = 0
    for provider, model in MODELS:
        rule, call = chat(provider), asking(model, 100)
        before = price.estimate(RULES, rule, call, AT_MS, explain=False)
        bill = price.actual(RULES, rule, call, before, usage, None, AT_MS, explain=False)
        quick += bill.state is State.SETTLED and bill.cost.said != ""
    assert quick > len(MODELS) // 2


def test_a_model_whose_price_follows_the_clock_is_priced_by_it() -> None:
    rule = chat("deepseek")
    usage = Usage(status=200, counts={"input_tokens": 1_000_000, "output_tokens": 0}, found=True)
    call = asking("deepseek-chat", 100)
    for hour in range(24):
        now_ms = AT_MS + hour * 3_600_000
        before = price.estimate(RULES, rule, call, now_ms)
        bills = [
            price.actual(RULES, rule, call, before, usage, None, now_ms, explain=explain) for explain in (True, False)
        ]
        assert bills[0].cost.atoms == bills[1].cost.atoms


def test_the_rate_follows_the_day() -> None:
    rules = replace(RULES, fx=(FxRate("USD", D(1000), "0001-01-01"), FxRate("USD", D(2000), "2100-01-01")))
    rule, call = chat("openai"), asking("gpt-4o-mini", 100)
    usage = Usage(status=200, model="gpt-4o-mini", counts={"input_tokens": 1_000_000, "output_tokens": 0}, found=True)
    before = price.estimate(rules, rule, call, AT_MS, explain=False)
    costs = [
        price.actual(rules, rule, call, before, usage, None, now_ms, explain=False).cost.atoms["KRW"]
        for now_ms in (AT_MS, 4_110_000_000_000, AT_MS)
    ]
    assert costs == [150_000_000, 300_000_000, 150_000_000]
