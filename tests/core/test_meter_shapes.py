"""Every shape in which an API tells its usage is read, whatever the network made of it."""

from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime
from decimal import Decimal

import brotli
import genai_prices
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import price
from proxy.core.meter import Meter
from proxy.core.model import Outbound, Price, State, TokenPrices, Usage
from tests.core.exchanges import AT_MS, catalog_rule, rule, rule_set
from tests.core.shapes import SHAPES, Shape, js

IDS = [shape.name for shape in SHAPES]


def outbound(shape: Shape) -> Outbound:
    body = b"" if shape.request is None else js(shape.request)
    return Outbound(shape.method, "https", "api.example.com", 443, shape.path, "", (), body, len(body))


def metered(shape: Shape, pieces: list[bytes], provider: str | None = None, coding: str | None = None) -> Usage:
    rules_provider = shape.provider if provider is None else provider
    chosen = catalog_rule(rules_provider) if rules_provider else own_prices()
    meter = Meter(chosen, outbound(shape))
    headers = {"Content-Type": shape.media, **shape.headers, **({"Content-Encoding": coding} if coding else {})}
    meter.head(200, [(name.encode(), value.encode()) for name, value in headers.items()])
    for piece in pieces:
        meter.feed(piece)
    return meter.finish(True)


def own_prices():
    return rule(Price(currency="USD", tokens=TokenPrices(input=Decimal(1), output=Decimal(2))))


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_usage_is_read(shape: Shape) -> None:
    usage = metered(shape, [shape.body])
    assert usage.found
    told = {key: count for key, count in usage.counts.items() if count}
    assert told == {key: count for key, count in shape.counts.items() if count}
    assert usage.model == shape.model
    assert (usage.detail == "usage_assumed") is shape.assumed


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_price_is_that_of_the_catalogue_itself(shape: Shape) -> None:
    """What genai-prices asks for these counts is what is booked, settled or, by an assumed reading, estimated."""
    call = outbound(shape)
    chosen = catalog_rule(shape.provider)
    rules = rule_set("USD")
    before = price.estimate(rules, chosen, call, AT_MS)
    usage = metered(shape, [shape.body])
    bill = price.actual(rules, chosen, call, before, usage, None, AT_MS)
    model = usage.model or before.model
    if shape.name == "openai transcription by duration":  # the form that names the model is not part of the shape
        assert bill.state is State.UNPRICED
        return
    expected = genai_prices.calc_price(
        genai_prices.Usage(**shape.counts),
        str(model),
        provider_id=shape.provider,
        genai_request_timestamp=datetime.fromtimestamp(AT_MS // 1000, UTC),
    )
    assert bill.cost.original == expected.total_price
    assert bill.cost.original > 0
    assert bill.state is (State.ESTIMATED if shape.assumed else State.SETTLED)
    assert bill.note == ("usage_assumed" if shape.assumed else None)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000])
def test_chunks_do_not_matter(shape: Shape, size: int) -> None:
    whole = metered(shape, [shape.body])
    assert metered(shape, [shape.body[at : at + size] for at in range(0, len(shape.body), size)]) == whole


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_split_of_the_same_bytes_gives_the_same_usage(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(SHAPES))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shape.body)), max_size=12)))
    pieces = [shape.body[start:end] for start, end in zip([0, *cuts], [*cuts, len(shape.body)], strict=True)]
    assert metered(shape, pieces) == metered(shape, [shape.body])


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def _zstd(body: bytes) -> bytes:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return zstd.compress(body)


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate without its frame": _raw_deflate,
    "br": brotli.compress,
    "zstd": _zstd,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1]], ids=["json", "stream"])
def test_compressed_bodies_are_read_too(shape: Shape, coding: str) -> None:
    packed = CODINGS[coding](shape.body)
    name = coding.partition(" without")[0]
    plain = metered(shape, [shape.body])
    for size in (1, 50, len(packed)):
        usage = metered(shape, [packed[at : at + size] for at in range(0, len(packed), size)], coding=name)
        assert usage.counts == plain.counts
        assert usage.bytes_down == len(packed)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_own_prices_read_every_shape_of_tokens(shape: Shape) -> None:
    """A rule with explicit prices knows no provider, so the common shapes must do."""
    usage = metered(shape, [shape.body], provider="")
    if "input_document_pages" in shape.counts:
        assert not usage.found
        return
    assert usage.found
    for key in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
        if shape.counts.get(key):
            assert usage.counts[key] == shape.counts[key]


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.0133176}, "0.0133176"),
        ({"cost": 6e-05}, "0.00006"),
        ({"cost": 0}, "0"),
        ({"cost": {"total_cost": 0.00502, "request_cost": 0.005}}, "0.00502"),
        ({"cost_in_usd_ticks": 160708500}, "0.01607085"),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, "0.021"),
        ({"cost": None}, None),
        ({"cost": "0.1"}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({}, None),
    ],
)
def test_the_providers_own_figure_is_read_exactly(usage: dict[str, object], cost: str | None) -> None:
    told = {"prompt_tokens": 1, "completion_tokens": 1, "input_tokens": 1, "output_tokens": 1, **usage}
    shape = Shape("", "openrouter", "/api/v1/chat/completions", {}, js({"usage": told}), {}, None)
    assert metered(shape, [shape.body]).reported_cost == (None if cost is None else Decimal(cost))
