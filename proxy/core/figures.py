"""Amounts, percents and instants as people read them, in a terminal, a message or a page.

Pure. Amounts are in a currency's major unit; nothing is rounded in a person's favour: a percent is cut, not rounded.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from proxy.core import money


def number(amount: Decimal) -> str:
    """1234.50 as "1,234.5"; small amounts keep four significant digits, so that a tenth of a cent is not 0.00."""
    if amount == 0:
        return "0"
    shown = round(amount, 2 if abs(amount) >= 1 else 3 - amount.adjusted())
    text = f"{shown:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(atoms: int, currency: str, language: str) -> str:
    """ "1,500.25 KRW", and as Koreans write their own money: "1,500.25원"."""
    return with_unit(number(money.from_atoms(atoms, currency)), currency, language)


def rough(atoms: int, currency: str, language: str) -> str:
    """An estimate: whole won, or hundredths of a currency with a minor unit, because more digits would claim more."""
    exact = money.from_atoms(atoms, currency)
    digits = 0 if money.exponent(currency) == 6 else 2
    text = f"{round(exact, digits):,f}" if abs(exact) >= 1 else number(exact)
    return with_unit(text, currency, language)


def with_unit(text: str, currency: str, language: str) -> str:
    return f"{text}원" if language == "ko" and currency == "KRW" else f"{text} {currency}"


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    """What `part` is of `whole`, cut and not rounded: 94.99 % is not yet 95 %."""
    if whole <= 0:
        return "100 %"
    tenths = int(part * 1000 / whole)
    return f"{tenths // 10}.{tenths % 10} %"


def moment(iso: str, *, here: bool = False) -> str:
    """ISO 8601 as "2026-12-01 00:00 +09:00", in its own zone or in this machine's."""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    at = at.astimezone() if here else at
    offset = at.strftime("%z")
    return f"{at.strftime('%Y-%m-%d %H:%M')} {offset[:3]}:{offset[3:5]}".strip(" :")
