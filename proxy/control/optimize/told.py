"""Recommendations and plans as programs get them, and as they are kept.

For programs: money as decimal strings, sentences in the reader's language. To be kept: everything that they are made
of, without a language, so that each reader gets the own one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from proxy.control.optimize.finding import Recommendation
from proxy.control.optimize.plan import Expected, Plan
from proxy.core import money
from proxy.core.text import CATALOGUE, say


@dataclass(frozen=True, slots=True)
class Advice:
    """What was found at one moment. expected: next month by API, before anything is saved. at: ISO 8601; "" = now."""

    recommendations: tuple[Recommendation, ...] = ()
    expected: tuple[Expected, ...] = ()
    at: str = ""


def packed(advice: Advice) -> dict[str, Any]:
    """As JSON values; `unpacked` gives the same advice again."""
    return {
        "recommendations": [
            {**asdict(one), "savings": [[*where, atoms] for where, atoms in one.savings.items()]}
            for one in advice.recommendations
        ],
        "expected": [asdict(one) for one in advice.expected],
    }


def unpacked(kept: Mapping[str, Any], at: str) -> Advice:
    """The advice of `packed`, found at `at`."""
    return Advice(
        tuple(
            Recommendation(
                **{**one, "savings": {(api, rule, model): atoms for api, rule, model, atoms in one["savings"]}}
            )
            for one in kept["recommendations"]
        ),
        tuple(Expected(**one) for one in kept["expected"]),
        at,
    )


def recommendation(one: Recommendation, currency: str, language: str) -> dict[str, Any]:
    """One recommendation for programs."""
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
        "program": program(one, language),
        "evidence": dict(one.evidence),
        "change": one.change,
    }


def program(one: Recommendation, language: str) -> str | None:
    """What the program that calls has to do beside the change; None: nothing."""
    key = f"recommend.{one.rule}.program"
    return say(key, language, **one.evidence) if key in CATALOGUE else None


def plan(made: Plan) -> dict[str, Any]:
    """Next month's plan for programs."""

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
