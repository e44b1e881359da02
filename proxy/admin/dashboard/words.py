"""How amounts, shares, times and spans read in the dashboard, in English and Korean.

Values in, text out. Amounts come as the decimal strings that the rest of the project speaks; instants as Unix
milliseconds with a time zone. Nothing here decides what is shown. What was said lately is remembered: of a page that is
drawn again most numbers are the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_decimal, format_percent

from proxy.core.text import say

_SIGNS = {"KRW": "₩", "USD": "$", "JPY": "¥", "EUR": "€"}
_REMEMBERED = 8192
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


@lru_cache(maxsize=4)
def locale_of(language: str) -> Locale:
    """The conventions behind a language of the dashboard."""
    return Locale.parse("ko_KR" if language == "ko" else "en_US")


@lru_cache(maxsize=_REMEMBERED)
def amount(text: str | Decimal | int, currency: str, language: str) -> str:
    """Money as people write it: "15,000원" in Korean, "₩15,000" in English; "$0.0042" for what is small.

    As many decimals as say something: none from 100 of a currency without a minor unit on, two below and for the
    others, and for less than one hundredth the first two digits that are not zero.
    """
    value = Decimal(text)
    number = format_decimal(value, _pattern(value, currency), locale=locale_of(language))
    if currency == "KRW" and language == "ko":
        return f"{number}원"
    sign = _SIGNS.get(currency)
    if sign is None:
        return f"{number} {currency}"
    return f"-{sign}{number[1:]}" if number.startswith("-") else f"{sign}{number}"


def _pattern(value: Decimal, currency: str) -> str:
    size = abs(value)
    whole = currency in {"KRW", "JPY"}
    if size == 0 or (whole and size >= 100):
        return "#,##0"
    if size >= Decimal("0.01"):
        return "#,##0.##" if whole else "#,##0.00"
    return f"#,##0.{'#' * min(9, 1 - value.adjusted())}"


@lru_cache(maxsize=_REMEMBERED)
def count(number: int, language: str) -> str:
    """A count with its thousands: "12,345"."""
    return format_decimal(number, "#,##0", locale=locale_of(language))


def number(value: Decimal, language: str) -> str:
    """A number with its thousands and as many decimals as it has."""
    return format_decimal(value, "#,##0.#########", locale=locale_of(language))


@lru_cache(maxsize=_REMEMBERED)
def share(ratio: Decimal | float, language: str) -> str:
    """A ratio as a percentage: "72.3%" and "4%"; never "100%" for what is below it."""
    value = Decimal(str(ratio))
    shown = value.quantize(Decimal("0.001"), rounding=ROUND_HALF_UP)
    if shown >= 1 > value:
        shown = Decimal("0.999")
    return format_percent(shown, "#,##0.#%", locale=locale_of(language))


def local(at_ms: int, timezone: str) -> datetime:
    """An instant on the clock of a zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(timezone))


@lru_cache(maxsize=_REMEMBERED)
def day_of(iso_date: str, language: str) -> str:
    """A calendar date ("2026-11-26") with its weekday, as people write it."""
    pattern = "M월 d일 (E)" if language == "ko" else "EEE, MMM d"
    return format_date(datetime.fromisoformat(iso_date).date(), pattern, locale=locale_of(language))


def clock(at_ms: int, timezone: str, language: str) -> str:
    """Hours, minutes and seconds of an instant."""
    return format_time(local(at_ms, timezone), "HH:mm:ss", locale=locale_of(language))


def moment(at_ms: int, timezone: str, language: str, now_ms: int) -> str:
    """An instant as short as it can be said: the time alone today, with its date otherwise."""
    then, now = local(at_ms, timezone), local(now_ms, timezone)
    time = format_time(then, "HH:mm", locale=locale_of(language))
    if then.date() == now.date():
        return time
    date = format_skeleton("MMMd" if then.year == now.year else "yMMMd", then, locale=locale_of(language))
    return f"{date} {time}"


def span(seconds: int, language: str) -> str:
    """How long, in its largest unit that says enough: "4 days", "5 h 20 min", "12 min", "40 s"."""
    seconds = max(0, seconds)
    if seconds >= 2 * _DAY_S:
        return say("dash.span.days", language, days=seconds // _DAY_S)
    if seconds >= _HOUR_S:
        hours, minutes = seconds // _HOUR_S, seconds % _HOUR_S // _MINUTE_S
        return say("dash.span.hours" if minutes else "dash.span.whole_hours", language, hours=hours, minutes=minutes)
    if seconds >= _MINUTE_S:
        return say("dash.span.minutes", language, minutes=seconds // _MINUTE_S)
    return say("dash.span.seconds", language, seconds=seconds)


def currency_name(currency: str, language: str) -> str:
    """The sign of a currency alone, for the axis of a chart."""
    if currency == "KRW" and language == "ko":
        return "원"
    return _SIGNS.get(currency, currency)
