"""Atoms, conversion and text of money."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import money
from proxy.core.model import FxRate

FX = (
    FxRate("USD", D(1300), "0001-01-01"),
    FxRate("USD", D(1390), "2026-11-01"),
    FxRate("USD", D(1400), "2026-12-01"),
    FxRate("EUR", D(1600), "2026-01-01"),
)


@pytest.mark.parametrize(
    ("currency", "digits"), [("KRW", 6), ("JPY", 6), ("VND", 6), ("CLP", 6), ("USD", 9), ("EUR", 9), ("KWD", 9)]
)
def test_digits_of_an_atom(currency: str, digits: int) -> None:
    assert money.exponent(currency) == digits


@pytest.mark.parametrize(
    ("amount", "currency", "up", "half_up", "down"),
    [
        ("1500.25", "KRW", 1500250000, 1500250000, 1500250000),
        ("0.0000001", "KRW", 1, 0, 0),
        ("0.0000005", "KRW", 1, 1, 0),
        ("0.00000049999", "KRW", 1, 0, 0),
        ("0.0000000005", "USD", 1, 1, 0),
        ("-0.0000005", "KRW", 0, -1, -1),
        ("0", "USD", 0, 0, 0),
    ],
)
def test_rounding_to_atoms(amount: str, currency: str, up: int, half_up: int, down: int) -> None:
    assert money.to_atoms(D(amount), currency, "up") == up
    assert money.to_atoms(D(amount), currency, "half_up") == half_up
    assert money.to_atoms(D(amount), currency, "down") == down


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        money.to_atoms(D(amount), "USD")


@given(st.integers(-(2**53), 2**53), st.sampled_from(["KRW", "USD"]))
def test_atoms_come_back(atoms: int, currency: str) -> None:
    assert money.to_atoms(money.from_atoms(atoms, currency), currency) == atoms
    assert D(money.format_decimal(atoms, currency)) == money.from_atoms(atoms, currency)
    assert "e" not in money.format_decimal(atoms, currency).lower()


@pytest.mark.parametrize(
    ("atoms", "currency", "text"),
    [
        (1500250000, "KRW", "1500.25 KRW"),
        (0, "USD", "0 USD"),
        (1, "USD", "0.000000001 USD"),
        (-1, "KRW", "-0.000001 KRW"),
        (10**15, "KRW", "1000000000 KRW"),
    ],
)
def test_text_is_plain(atoms: int, currency: str, text: str) -> None:
    assert money.format_text(atoms, currency) == text


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18).map(D))
def test_a_plain_decimal_is_the_same_number_without_an_exponent_or_idle_zeros(amount: D) -> None:
    text = money.plain(amount)
    assert D(text) == amount
    assert not set(text) - set("-.0123456789")
    assert not ("." in text and text.endswith(("0", ".")))
    assert amount or text == "0"


@pytest.mark.parametrize(
    ("src", "dst", "day", "worth", "rate", "date"),
    [
        ("KRW", "KRW", "2026-11-20", "2", None, None),
        ("USD", "KRW", "2026-10-31", "2600", "1300", "2026-10-31"),
        ("USD", "KRW", "2026-11-01", "2780", "1390", "2026-11-01"),
        ("USD", "KRW", "2026-11-30", "2780", "1390", "2026-11-01"),
        ("USD", "KRW", "2026-12-01", "2800", "1400", "2026-12-01"),
        ("KRW", "USD", "2026-12-05", "0.00142857", "0.00071428", "2026-12-01"),
        ("EUR", "USD", "2026-12-05", "2.28571428", "1.14285714", "2026-12-01"),
    ],
)
def test_conversion_by_the_rate_of_the_day(
    src: str, dst: str, day: str, worth: str, rate: str | None, date: str | None
) -> None:
    amount, used, since = money.convert(D(2), src, dst, FX, "KRW", day)
    assert str(amount.quantize(D("1e-8"), rounding="ROUND_DOWN").normalize() + 0) == str(D(worth).normalize() + 0)
    assert (used is None) is (rate is None)
    if used is not None and rate is not None:
        assert used.quantize(D("1e-8"), rounding="ROUND_DOWN") == D(rate).quantize(D("1e-8"))
    assert since == date


def test_a_missing_rate_names_both_currencies_and_the_day() -> None:
    with pytest.raises(money.NoRate, match="from EUR to KRW on 2025-12-31"):
        money.convert(D(1), "EUR", "KRW", FX, "KRW", "2025-12-31")


@pytest.mark.parametrize(
    ("amount", "step", "mode", "rounded"),
    [
        ("12.345", "0.01", "up", "12.35"),
        ("12.345", "0.01", "half_up", "12.35"),
        ("12.345", "0.01", "down", "12.34"),
        ("12.34", "0.01", "up", "12.34"),
        ("7", "10", "half_up", "10"),
        ("4", "10", "half_up", "0"),
        ("0.0001", "0.5", "up", "0.5"),
    ],
)
def test_rounding_to_a_step(amount: str, step: str, mode: str, rounded: str) -> None:
    assert money.round_to(D(amount), D(step), mode) == D(rounded)
