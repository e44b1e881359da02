"""Decides what an amount of money is as an integer, and what it is worth in another currency.

The counted unit is the *atom*: 10^-6 of a currency without a minor unit (KRW, JPY, ...), 10^-9 of every other one.
Amounts are exact decimals until the very end, where they become atoms once. Nothing here knows rules, calls or clocks;
no float comes in or goes out.

Source of the list of currencies without a minor unit: ISO 4217, list one (exponent 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache

from proxy.core.model import FxRate

LIMIT_ATOMS = 2**53  # Redis scripts count in doubles: whole numbers are exact up to here

UNDATED = "0001-01-01"

_WITHOUT_MINOR_UNIT = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()  # noqa: SIM905 - reads as a list
)
_WIDE = Context(prec=80)  # wide enough that a product of two prices is never cut
_WITH_PART = {6: "%d.%06d", 9: "%d.%09d"}  # by the digits of an atom
_ROUNDINGS = {"up": ROUND_CEILING, "half_up": ROUND_HALF_UP, "down": ROUND_FLOOR}


class NoRate(LookupError):
    """No exchange rate leads from one currency to the other on that day."""

    def __init__(self, currency: str, base: str, local_date: str) -> None:
        super().__init__(f"no exchange rate from {currency} to {base} on {local_date}")
        self.currency = currency
        self.base = base
        self.local_date = local_date


@lru_cache(maxsize=256)
def exponent(currency: str) -> int:
    """Digits of an atom behind the decimal point: 6 for a currency without a minor unit, else 9."""
    return 6 if currency.upper() in _WITHOUT_MINOR_UNIT else 9


def to_atoms(amount: Decimal, currency: str, rounding: str = "half_up") -> int:
    """Round an exact amount to atoms: "up" (towards plus infinity), "half_up" (half away from zero) or "down".

    Raises: ValueError for an amount that is not finite, KeyError for another word.
    """
    if not amount.is_finite():
        raise ValueError(f"not an amount: {amount}")
    scaled = amount.scaleb(exponent(currency), context=_WIDE)
    return int(scaled.to_integral_value(rounding=_ROUNDINGS[rounding]))


def atoms_of(text: str, currency: str) -> int | None:
    """Atoms of a plain number that a person wrote; None for anything else, and for digits finer than an atom."""
    try:
        amount = Decimal(text.strip().replace(",", "").replace("_", ""))
    except InvalidOperation:
        return None
    if not amount.is_finite() or abs(amount) > 10**15:
        return None
    atoms = to_atoms(amount, currency)
    return atoms if from_atoms(atoms, currency) == amount else None


def from_atoms(atoms: int, currency: str) -> Decimal:
    """The exact amount of so many atoms, in the currency's major unit."""
    return Decimal(atoms).scaleb(-exponent(currency), context=_WIDE)


@lru_cache(maxsize=4096)  # one call says the same amount in its ledger entry, its headers and every budget
def format_decimal(atoms: int, currency: str) -> str:
    """A plain decimal number without exponent and without idle zeros: "1500.25", "0", "-0.000001"."""
    return write_decimal(atoms, currency)


def write_decimal(atoms: int, currency: str) -> str:
    """As `format_decimal`, for amounts that hardly come again, such as what a budget has left: none is kept."""
    if atoms < 0:
        return f"-{write_decimal(-atoms, currency)}"
    digits = exponent(currency)
    whole, part = divmod(atoms, 10**digits)
    return (_WITH_PART[digits] % (whole, part)).rstrip("0") if part else str(whole)


def format_text(atoms: int, currency: str) -> str:
    """For people and redis-cli: "1500.25 KRW"."""
    return f"{format_decimal(atoms, currency)} {currency}"


def plain(amount: Decimal) -> str:
    """An exact decimal as text without exponent and without idle zeros behind the point.

    Nothing is kept of it: to look a decimal up costs several times as much as to write it (its hash is a power).
    """
    text = str(amount)  # half as dear, and the same but for an exponent
    if "E" in text:
        text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"", "-0", "-"} else text


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """Product without loss (to 80 digits, whatever the thread's decimal context is)."""
    return _WIDE.multiply(left, right)


def divide(left: Decimal, right: Decimal) -> Decimal:
    """Quotient to 80 digits."""
    return _WIDE.divide(left, right)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Sum without loss (to 80 digits); 0 of nothing."""
    result = Decimal(0)
    for amount in amounts:
        result = _WIDE.add(result, amount)
    return result


def round_to(amount: Decimal, step: Decimal, mode: str) -> Decimal:
    """The multiple of `step` (> 0) that is next to the amount: mode "up" | "half_up" | "down"."""
    return multiply(divide(amount, step).to_integral_value(rounding=_ROUNDINGS[mode]), step)


def convert(
    amount: Decimal, src: str, dst: str, fx: tuple[FxRate, ...], base: str, local_date: str
) -> tuple[Decimal, Decimal | None, str | None]:
    """What an amount is worth in another currency, with the rate used and the date of that rate.

    fx: 1 unit of a rate's currency = rate units of `base`. Of several rates of a currency the last that holds on
    `local_date` (ISO) counts. Currencies other than the base are converted through it. The date is the rate's own one,
    or `local_date` for an undated rate; both are None when nothing had to be converted. Raises: NoRate.
    """
    if src == dst:
        return amount, None, None
    up, up_date = (Decimal(1), None) if src == base else _rate_at(src, fx, base, local_date)
    down, down_date = (Decimal(1), None) if dst == base else _rate_at(dst, fx, base, local_date)
    date = max(filter(None, (up_date, down_date)), default=local_date)
    if dst == base:
        return multiply(amount, up), up, date
    return divide(multiply(amount, up), down), divide(up, down), date


def _rate_at(currency: str, fx: tuple[FxRate, ...], base: str, local_date: str) -> tuple[Decimal, str]:
    best: FxRate | None = None
    for rate in fx:
        if rate.currency == currency and rate.since <= local_date and (best is None or rate.since >= best.since):
            best = rate
    if best is None:
        raise NoRate(currency, base, local_date)
    return best.rate, local_date if best.since == UNDATED else best.since
