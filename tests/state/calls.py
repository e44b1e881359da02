"""Calls, budgets and bills for the tests of the store: amounts in won or dollars, a clock that only tests move."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from proxy.core import money
from proxy.core.guards import NO_GUARDS, Guards
from proxy.core.model import (
    Ask,
    Bill,
    Budget,
    Cost,
    Estimate,
    Period,
    PeriodUnit,
    Priority,
    Quota,
    QuotaStep,
    State,
)

SEOUL = "Asia/Seoul"
RATE = Decimal(1390)  # won a dollar
MONTH, DAY, HOUR = Period(PeriodUnit.MONTH), Period(PeriodUnit.DAY), Period(PeriodUnit.HOUR)

_numbers = itertools.count(1)


def at(text: str) -> int:
    """ISO 8601 with zone -> Unix ms."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOON = at("2026-11-23T12:00:00+09:00")


@dataclass
class Clock:
    """Time as the test says."""

    now_ms: int = NOON

    def __call__(self) -> int:
        return self.now_ms

    def pass_s(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


def won(amount: str | int | Decimal) -> int:
    return money.to_atoms(Decimal(amount), "KRW")


def dollars(amount: str | int | Decimal) -> int:
    return money.to_atoms(Decimal(amount), "USD")


def monthly(limit: str | int = 15000, **other: object) -> Budget:
    return Budget(
        **{"name": "monthly", "limit_atoms": won(limit), "currency": "KRW", "period": MONTH, "timezone": SEOUL} | other
    )  # type: ignore[arg-type]


def daily_usd(limit: str | int = 10, **other: object) -> Budget:
    return Budget(
        **{"name": "daily-usd", "limit_atoms": dollars(limit), "currency": "USD", "period": DAY, "timezone": SEOUL}
        | other
    )  # type: ignore[arg-type]


def cost(amount: str | int | Decimal, **other: object) -> Cost:
    """A price in won, counted in won and dollars."""
    value = Decimal(amount)
    atoms: Mapping[str, int] = {"KRW": won(value), "USD": money.to_atoms(money.divide(value, RATE), "USD", "up")}
    return Cost(value, "KRW", atoms, **other)  # type: ignore[arg-type]


def new_id(now_ms: int = NOON) -> str:
    return f"{now_ms:012x}{next(_numbers):016x}"


def ask(
    amount: str | int | Decimal = 100,
    *budgets: Budget,
    call_id: str | None = None,
    at_ms: int = NOON,
    essential: bool = False,
    quota: Quota | None = None,
    caller: str = "batch",
    api: str = "openai",
    free: bool = False,
    model: str | None = "gpt-5",
    guards: Guards = NO_GUARDS,
    tokens: tuple[int, int] = (0, 64),
) -> Ask:
    return Ask(
        id=call_id or new_id(at_ms),
        at_ms=at_ms,
        api=api,
        rule=f"{api}/chat",
        caller=caller,
        method="POST",
        path="/v1/chat/completions",
        priority=Priority.ESSENTIAL if essential else Priority.IMPORTANT,
        budgets=budgets,
        estimate=Estimate(cost(amount), "worst_case", model=model, usage=_usage(*tokens), quota=quota),
        currency="KRW",
        timezone=SEOUL,
        free=free,
        guards=guards,
    )


def _usage(asked: int, answered: int) -> dict[str, int]:
    usage = {"input_tokens": asked, "output_tokens": answered}
    return {name: count for name, count in usage.items() if count}


def bill(
    amount: str | int | Decimal,
    state: State = State.SETTLED,
    units: int | None = None,
    note: str | None = None,
    tokens: tuple[int, int] = (0, 12),
) -> Bill:
    return Bill(cost(amount), state, _usage(*tokens), units, note)


def free_tier(requests: int, price: str | int, period: Period = MONTH) -> Quota:
    """So many requests free, then a price each."""
    steps = (QuotaStep(0, cost(0)), QuotaStep(requests * 1000, cost(price)))
    return Quota("kakao-map/search", period, 1000, steps)
