"""What a calendar and a price list know that a series of days does not: holidays ahead, and allowances not yet used.

Decides what a holiday is worth on this series, if anything: only a series that has been through some of them, and that
behaved differently on them, is told about the next ones. The names of holidays come from the `holidays` library.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from proxy.control.forecast.models import YEAR, Task
from proxy.control.forecast.series import DailySeries

FEWEST_SEEN = 3  # holidays on working days, before any is believed to matter
PRIOR_SEEN = 2.0  # ... as if so many more had been ordinary days
CLEAR_EFFECT = 0.15  # an effect smaller than this is left alone
AGREEMENT = 0.75  # of the holidays seen, how many must lean the same way
IDLE_FACTOR = 0.3

# The table of zones and countries (zone1970.tab) is not there on every machine; these are the usual ones.
COUNTRIES = {
    "Asia/Seoul": "KR", "Asia/Tokyo": "JP", "Asia/Shanghai": "CN", "Asia/Taipei": "TW", "Asia/Singapore": "SG",
    "Asia/Hong_Kong": "HK", "Asia/Kolkata": "IN", "Asia/Ho_Chi_Minh": "VN", "Asia/Bangkok": "TH", "Asia/Jakarta": "ID",
    "Asia/Manila": "PH", "Australia/Sydney": "AU", "Pacific/Auckland": "NZ", "America/New_York": "US",
    "America/Chicago": "US", "America/Denver": "US", "America/Los_Angeles": "US", "America/Toronto": "CA",
    "America/Vancouver": "CA", "America/Sao_Paulo": "BR", "America/Mexico_City": "MX", "Europe/London": "GB",
    "Europe/Paris": "FR", "Europe/Berlin": "DE", "Europe/Madrid": "ES", "Europe/Rome": "IT", "Europe/Amsterdam": "NL",
    "Europe/Brussels": "BE", "Europe/Vienna": "AT", "Europe/Zurich": "CH", "Europe/Stockholm": "SE",
    "Europe/Oslo": "NO", "Europe/Copenhagen": "DK", "Europe/Helsinki": "FI", "Europe/Warsaw": "PL",
    "Europe/Lisbon": "PT", "Europe/Dublin": "IE", "Europe/Prague": "CZ",
}  # fmt: skip


def country_of(timezone: str) -> str | None:
    """The country whose holidays hold in a zone, ISO 3166-1 alpha-2; None where one cannot be told."""
    return COUNTRIES.get(ZoneInfo(timezone).key)


@lru_cache(maxsize=64)
def holidays_of(country: str, first_year: int, last_year: int) -> frozenset[date]:
    """Public holidays of a country in those years, observed days included. Raises ValueError: no such country."""
    import holidays  # about 30 ms, and only where somebody asks

    if country not in holidays.list_supported_countries():
        raise ValueError(f"no holidays are known of {country!r}")
    return frozenset(holidays.country_holidays(country, years=range(first_year, last_year + 1)))


def holiday_factors(series: DailySeries, days: Collection[date], ahead: Collection[date]) -> dict[date, float]:
    """What each holiday among the days ahead is worth on this series against an ordinary day of its weekday.

    days: public holidays, past and coming. Empty where the series gives no clear effect. A series with a year of
    history learns its holidays from last year's same days too; the factor is then the part that those did not tell.
    """
    coming = [day for day in ahead if day in days]
    values, _ = series.array()
    if not coming or len(values) < 28:
        return {}
    first = series.last - timedelta(days=len(values) - 1)
    task = Task(values, first.weekday(), 1)
    ratios = []
    for index in range(7, len(values)):
        day = first + timedelta(days=index)
        # A holiday on a weekday that is idle anyhow teaches nothing.
        if day not in days or task.factors[day.weekday()] < IDLE_FACTOR:
            continue
        usual = float(np.median(np.concatenate([task.even[index - 7 : index], task.even[index + 1 : index + 8]])))
        if usual > 0:
            ratios.append(float(task.even[index]) / usual)
    if len(ratios) < FEWEST_SEEN:
        return {}
    effect = (float(np.median(ratios)) * len(ratios) + PRIOR_SEEN) / (len(ratios) + PRIOR_SEEN)
    agree = sum((ratio < 1) == (effect < 1) for ratio in ratios) / len(ratios)
    if abs(effect - 1) < CLEAR_EFFECT or agree < AGREEMENT:
        return {}
    told = len(values) >= YEAR + 28
    factor = max(0.0, (1 + effect) / 2 if told else effect)
    return {day: factor for day in coming if task.factors[day.weekday()] >= IDLE_FACTOR}


def after_allowance(expected_units: float, free_units_left: float, unit_price: float) -> float:
    """The money for units still to come: nothing until the free allowance is used up, then the price for each."""
    return max(0.0, expected_units - max(0.0, free_units_left)) * unit_price
