"""Facts of alerts and incidents as people read them.

Pure: facts are texts as the store kept them; amounts and instants become what people read here and nowhere before.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from proxy.core.figures import moment, number, with_unit
from proxy.core.text import CATALOGUE, say

_AMOUNTS: Final = (
    *("limit", "spent", "left", "next_after", "expected", "over", "low", "high", "burnt", "usual", "upper", "took"),
)
_INSTANTS: Final = ("resets_at", "next_at", "empty_at", "hour", "until", "last", "raised_at", "resolved_at")


def shown(facts: Mapping[str, str], language: str) -> dict[str, str]:
    """The same facts, to be put into sentences."""
    told = dict(facts)
    currency = told.get("currency", "")
    for name in _AMOUNTS:
        if told.get(name):
            told[name] = _amount(told[name], currency, language)
    for name in _INSTANTS:
        if told.get(name):
            told[name] = moment(told[name])
    for name in ("sort", "basis", "wanted"):
        if f"alert.{name}.{told.get(name)}" in CATALOGUE:
            told[name] = say(f"alert.{name}.{told[name]}", language)
    if made_by := told.get("made_by"):
        key = f"alert.made_by.{made_by}"
        known = key in CATALOGUE and made_by != "other"
        told["made_by"] = say(key, language) if known else say("alert.made_by.other", language, name=made_by)
    return told


def _amount(text: str, currency: str, language: str) -> str:
    try:
        return with_unit(number(Decimal(text)), currency, language)
    except InvalidOperation:
        return text
