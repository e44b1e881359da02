"""Where budgets and APIs will be at the end of their periods, as the leader last saw it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.core.admin_model import Role
from proxy.state import forecasts


class Forecast(Answer):
    """One budget's or API's period. Amounts are decimal strings in `currency`."""

    kind: str = Field(description='"budget" or "api" (its month).')
    name: str
    period: str
    currency: str
    start: str
    end: str
    spent: str
    month_end: str = Field(description="Expected total of the whole period.")
    interval80: list[str] = Field(description="Lowest and highest: holds the truth four times out of five.")
    interval95: list[str]
    models: dict[str, str] = Field(description="The period's end by each model; `ensemble` is the answer.")
    basis: str = Field(description="known, none, stopped, short, history or year.")
    days_left: int
    daily: list[str] = Field(description="Expected of each day left, the rest of today first.")
    limit: str | None
    over: bool = Field(description="The expected end is beyond the limit.")
    may_be_over: bool = Field(description="The upper end of the 80 % interval is.")
    reaches_limit: str | None = Field(description="The day on which the limit is expected to be reached.")
    past_error_percent: float | None = Field(description="Median error of this forecast at past month ends.")
    past_cover80: float | None = Field(description="How often the 80 % interval held at past month ends.")
    at: str = Field(description="When it was made.")


class Forecasts(Answer):
    forecasts: list[Forecast] = Field(description="Budgets first. Empty until the leader has made the first ones.")


class ForecastAsks(Asks):
    kind: Literal["", "budget", "api"] = Field("", description="Only of budgets, or only of APIs.")


async def forecast(call: Call) -> Forecasts:
    kept = await forecasts.all_kept(call.client, call.desk.keys, call.query.kind)
    return Forecasts(forecasts=[Forecast(**told) for told in kept])


ROUTES = [
    Route(
        "GET",
        "/forecast",
        Role.VIEWER,
        "Where the money will be",
        forecast,
        answers=Forecasts,
        asks=ForecastAsks,
        tag="forecast",
    ),
]
