"""For whom a page is made: language, zone, moment and theme, with the words that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from proxy.admin.dashboard import words
from proxy.core.text import LANGUAGES, say

THEMES = ("auto", "light", "dark")


@dataclass(frozen=True, slots=True)
class Look:
    """One reader's view. currency: of amounts that name no other."""

    language: str
    timezone: str
    currency: str
    now_ms: int
    theme: str = "auto"

    def t(self, key: str, **values: object) -> str:
        """A sentence of the catalogue."""
        return say(key, self.language, **values)

    def money(self, text: str | Decimal | int, currency: str | None = None) -> str:
        return words.amount(text, currency or self.currency, self.language)

    def share(self, ratio: Decimal | float) -> str:
        return words.share(ratio, self.language)

    def count(self, number: int) -> str:
        return words.count(number, self.language)

    def number(self, text: str) -> str:
        """A decimal string with its thousands."""
        return words.number(Decimal(text), self.language)

    def moment(self, at_ms: int, timezone: str | None = None) -> str:
        return words.moment(at_ms, timezone or self.timezone, self.language, self.now_ms)

    def clock(self, at_ms: int) -> str:
        return words.clock(at_ms, self.timezone, self.language)

    def day_of(self, iso_date: str) -> str:
        return words.day_of(iso_date, self.language)

    def short_day(self, iso_date: str) -> str:
        """A day as the axis of a chart says it: "11/26"."""
        return f"{int(iso_date[5:7])}/{int(iso_date[8:10])}"

    def around_amounts(self) -> tuple[str, str]:
        """What stands before and behind every amount of a chart."""
        name = words.currency_name(self.currency, self.language)
        return ("", name) if name == "원" else (name, "") if len(name) == 1 else ("", f" {name}")

    def span(self, seconds: int) -> str:
        return words.span(seconds, self.language)

    def until(self, until_ms: int | None) -> str:
        """Until when something holds; None or a time beyond all calendars: until it is undone."""
        if until_ms is None or until_ms >= 2**53 - 1:
            return self.t("dash.until_undone")
        return self.t("dash.until", time=self.moment(until_ms))


def ms_of(iso: str) -> int:
    """Unix milliseconds of an ISO 8601 instant."""
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def language_of(asked: str | None, kept: str | None, header: str) -> str:
    """Which language a browser gets: what was asked for now, what it chose before, what its settings say, English."""
    for choice in (asked, kept):
        if choice in LANGUAGES:
            return choice
    weighted: list[tuple[float, int, str]] = []
    for place, item in enumerate(header.split(",")):
        tag, _, weight = item.strip().partition(";")
        try:
            quality = float(weight.partition("=")[2]) if weight else 1.0
        except ValueError:
            quality = 0.0
        weighted.append((-quality, place, tag.partition("-")[0].lower()))
    for quality, _, tag in sorted(weighted):
        if tag in LANGUAGES and quality < 0:
            return tag
    return "en"
