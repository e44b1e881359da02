"""Every recorded exchange of a provider in the catalogue costs what the independent oracle says, to the atom."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from proxy.core import catalog, money
from proxy.core.model import State
from tests.core.exchanges import CHUNKS, RATE, catalog_rule, meter_row, provider_of, rows, rule_set, settle

USD, KRW = rule_set("USD"), rule_set("KRW")


@pytest.fixture(scope="module")
def exchanges() -> list[tuple[dict[str, Any], str]]:
    found = [(row, provider_of(row)) for row in rows()]
    return [(row, provider) for row, provider in found if provider is not None and catalog.known(provider)]


def truth_of(row: dict[str, Any]) -> Decimal | None:
    text = row["provider_reported_usd"] if row["expected_trust"] == "low" else row["expected_usd"]
    return None if text is None else Decimal(str(text))


def test_cost_is_exact_in_both_currencies(exchanges: list[tuple[dict[str, Any], str]]) -> None:
    checked = 0
    for row, provider in exchanges:
        truth = truth_of(row)
        if truth is None:
            continue
        chosen = catalog_rule(provider)
        _, usage, bill = settle(row, USD, chosen)
        assert bill.cost.atoms["USD"] == money.to_atoms(truth, "USD"), row["id"]
        assert bill.cost.original == truth, row["id"]
        assert bill.state is State.SETTLED, (row["id"], bill.note)
        assert sum((line.amount for line in bill.cost.terms), Decimal(0)) == bill.cost.original
        won = settle(row, KRW, chosen)[2].cost
        assert won.atoms["KRW"] == money.to_atoms(truth * RATE, "KRW"), row["id"]
        assert won.original == truth
        assert usage.status == row["status"]
        checked += 1
    assert checked > 100


def test_chunks_do_not_matter(exchanges: list[tuple[dict[str, Any], str]]) -> None:
    for row, provider in exchanges:
        chosen = catalog_rule(provider)
        whole = meter_row(row, chosen)
        for chunk in CHUNKS[2:] if len(row["response_body"] or "") > 20_000 else CHUNKS[1:]:
            assert meter_row(row, chosen, chunk) == whole, (row["id"], chunk)


def test_the_estimate_covers_what_was_paid(exchanges: list[tuple[dict[str, Any], str]]) -> None:
    for row, provider in exchanges:
        if truth_of(row) is None or not 200 <= row["status"] <= 299:
            continue
        before, _, bill = settle(row, USD, catalog_rule(provider))
        assert before.cost.atoms["USD"] >= bill.cost.atoms["USD"], row["id"]


def test_what_has_no_oracle_is_marked(exchanges: list[tuple[dict[str, Any], str]]) -> None:
    """Without an oracle: free, not priced, estimated, or read by the catalogue's own reader for that provider."""
    for row, provider in exchanges:
        if row["expected_trust"] is not None:
            continue
        before, usage, bill = settle(row, USD, catalog_rule(provider))
        if bill.state is State.SETTLED:
            free = bill.cost.original == 0 and before.basis == "free"
            assert free or (usage.found and provider.startswith("huggingface_")), row["id"]
        else:
            assert bill.note is not None, row["id"]
            assert bill.state is State.ESTIMATED or bill.cost.original == 0


def test_a_cut_stream_never_costs_more_than_its_estimate_and_never_raises(
    exchanges: list[tuple[dict[str, Any], str]],
) -> None:
    for row, provider in exchanges:
        if not row["streaming"] or row["status"] != 200:
            continue
        chosen = catalog_rule(provider)
        short = {**row, "response_body": _cut(row)}
        before, usage, bill = settle(short, USD, chosen)
        meter_row(short, chosen, complete=False)
        assert bill.cost.atoms["USD"] <= max(before.cost.atoms["USD"], 1), (row["id"], usage)


def _cut(row: dict[str, Any]) -> str:
    body = row["response_body"]
    return str(body[: len(body) // 8 * 4])
