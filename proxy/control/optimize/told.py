"""Recommendations and plans as programs get them: money as decimal strings, sentences in the reader's language."""

from __future__ import annotations

from typing import Any

from proxy.control.optimize.finding import Recommendation
from proxy.control.optimize.plan import Plan
from proxy.core import money
from proxy.core.text import say


def recommendation(one: Recommendation, currency: str, language: str) -> dict[str, Any]:
    return {
        "id": one.id,
        "rule": one.rule,
        "api": one.api,
        "about": one.about,
        "monthly_saving": money.format_decimal(one.saving_atoms, currency),
        "monthly_saving_alone": money.format_decimal(one.alone_atoms, currency),
        "currency": currency,
        "effort": one.effort,
        "text": say(f"recommend.{one.rule}", language, **one.evidence),
        "evidence": dict(one.evidence),
        "change": one.change or None,
    }


def plan(made: Plan) -> dict[str, Any]:
    def amount(atoms: int) -> str:
        return money.format_decimal(atoms, made.currency)

    return {
        "month": made.month,
        "currency": made.currency,
        "budget": None if made.budget is None else amount(made.budget),
        "fits": made.fits,
        "total": amount(made.total),
        "apis": [
            {
                "api": line.api,
                "expected": amount(line.expected),
                "interval80": [amount(line.low80), amount(line.high80)],
                "saving": amount(line.saving),
                "limit": amount(line.limit),
            }
            for line in made.lines
        ],
        "change": made.change or None,
    }
