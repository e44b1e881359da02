"""The compiled catalogue adds up exactly as the library itself does, and its traps are known."""

from __future__ import annotations

import ast
import inspect
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

import pytest
from genai_prices.data import providers
from genai_prices.types import Usage
from genai_prices.units import _get_registry
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import catalog, demand, meter, money, price, quota, reading, terms
from tests.core.exchanges import AT_MS

AT = datetime.fromtimestamp(AT_MS // 1000, UTC)
KEYS = [key for key in _get_registry().units if key != "requests"]
MODELS = [(provider, model) for provider in providers for model in provider.models]
COUNTS = st.dictionaries(
    st.sampled_from(KEYS), st.sampled_from([0, 1, 7, 999, 128_001, 200_001, 3_000_000]), max_size=7
)


def ours(provider_id: str, model: object, counts: dict[str, int], at_ms: int = AT_MS) -> Decimal | None:
    entry = catalog.Entry(provider_id, model.id, None, False, model, catalog._how_it_varies(model))  # type: ignore[attr-defined]
    try:
        return terms.total(entry.terms(counts, at_ms))
    except catalog.Inconsistent:
        return None


def theirs(provider: object, model: object, counts: dict[str, int], at: datetime = AT) -> Decimal | None:
    try:
        return model.calc_price(Usage(**counts), provider, genai_request_timestamp=at).total_price  # type: ignore[attr-defined,no-any-return]
    except ValueError:
        return None


def test_every_model_at_a_usual_usage() -> None:
    usual = {"input_tokens": 2000, "cache_read_tokens": 500, "cache_write_tokens": 300, "output_tokens": 700}
    for provider, model in MODELS:
        assert ours(provider.id, model, usual) == theirs(provider, model, usual), (provider.id, model.id)


@given(st.sampled_from(range(len(MODELS))), COUNTS, st.booleans())
@settings(max_examples=1500, deadline=None)
def test_any_model_at_any_usage(place: int, counts: dict[str, int], whole: bool) -> None:
    if whole:
        counts = {**counts, "input_tokens": 40_000_000, "output_tokens": 40_000_000}
    provider, model = MODELS[place]
    assert ours(provider.id, model, counts) == theirs(provider, model, counts)


TIMED = [(provider, model) for provider, model in MODELS if catalog._how_it_varies(model)]


@given(st.sampled_from(range(len(TIMED))), st.integers(1_700_000_000, 1_830_000_000))
@settings(max_examples=400, deadline=None)
def test_prices_that_change_with_time(place: int, second: int) -> None:
    provider, model = TIMED[place]
    counts = {"input_tokens": 300_000, "cache_read_tokens": 20_000, "output_tokens": 5000}
    at = datetime.fromtimestamp(second, UTC)
    assert ours(provider.id, model, counts, second * 1000) == theirs(provider, model, counts, at)


def test_one_entry_follows_the_clock() -> None:
    entry = catalog.find("deepseek", "deepseek-chat")
    assert entry is not None
    counts = {"input_tokens": 1000, "output_tokens": 1000}
    model = entry._info
    day = 86_400_000
    for at_ms in [AT_MS - 900 * day + step * 1_800_000 for step in range(96)] + [AT_MS]:
        expected = model.get_prices(datetime.fromtimestamp(at_ms // 1000, UTC)).calc_price(Usage(**counts))
        assert terms.total(entry.terms(counts, at_ms)) == expected["total_price"]


@pytest.mark.parametrize(
    ("provider", "name", "found"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "GPT-4o-mini", "gpt-4o-mini"),
        ("azure", "gpt-4o-2024-11-20", "gpt-4o"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("aws", "anthropic.claude-3-haiku-20240307-v1:0", "regional.anthropic.claude-3-haiku-20240307-v1:0"),
        ("aws", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x1y2", None),
        ("openai", "gpt-none-of-this", None),
        ("openai", "", None),
        ("openai", "gpt-4o" + "x" * 10_000, None),
        ("nobody", "gpt-4o", None),
    ],
)
def test_names_as_they_come(provider: str, name: str, found: str | None) -> None:
    entry = catalog.find(provider, name)
    assert (entry.model if entry else None) == found


def test_a_price_of_nothing_is_no_price_unless_the_name_gives_it_away() -> None:
    free = next(m.id for p in providers if p.id == "openrouter" for m in p.models if m.id.endswith(":free"))
    given_away = catalog.find("openrouter", free)
    assert given_away is not None
    assert given_away.given_away
    unpriced = catalog.find("openai", "omni-moderation-latest")
    assert unpriced is not None
    assert unpriced.price(AT_MS).is_zero
    assert not unpriced.given_away


def test_a_contradiction_is_read_in_the_dearer_way() -> None:
    entry = catalog.find("openai", "gpt-4o")
    assert entry is not None
    contradiction = {"input_tokens": 10, "cache_read_tokens": 50, "output_tokens": 1}
    with pytest.raises(catalog.Inconsistent):
        entry.terms(contradiction, AT_MS)
    lines = {line.name: line.quantity for line in entry.terms(contradiction, AT_MS, strict=False)}
    assert lines == {"cache_read_tokens": 50, "output_tokens": 1}


def test_providers_are_known_by_their_own_ids() -> None:
    assert {"openai", "anthropic", "google", "aws", "azure", "groq"} <= set(catalog.provider_ids())
    assert catalog.known("openai")
    assert not catalog.known("open-ai")


@pytest.mark.parametrize(
    "module", [money, price, terms, quota, catalog, demand, reading, meter], ids=lambda m: m.__name__
)
def test_no_float_anywhere(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), ast.dump(node)
        assert not (isinstance(node, ast.Name) and node.id == "float"), node.lineno
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _integers(node)), node.lineno


def _integers(node: ast.BinOp) -> bool:
    return all(isinstance(side, ast.Constant) and isinstance(side.value, int) for side in (node.left, node.right))
