"""Recommendations and next month's plan, as the leader last found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.core.admin_model import Role
from proxy.core.windows import iso
from proxy.state import forecasts

if TYPE_CHECKING:
    from proxy.control.optimize.told import Advice


class Recommended(Answer):
    """One recommendation. Savings are decimal strings in `currency`, a month."""

    id: str
    rule: str
    api: str
    about: str
    monthly_saving: str = Field(description="What it saves after the better recommendations: never counted twice.")
    monthly_saving_alone: str = Field(description="What it would save if it were the only one.")
    currency: str
    effort: int = Field(description="1 (a line) to 3 (work).")
    text: str
    evidence: dict[str, str | int]
    program: str | None = Field(description="What the calling program has to do itself; null where rules.yaml is all.")
    change: str = Field(description="Lines of rules.yaml that do it, or that keep the saving of what the program does.")


class PutOff(Answer):
    """A recommendation that somebody dismissed or put off."""

    id: str
    text: str = Field(description="What it says; its id where it would not be found any more.")
    until: str | None = Field(description="When it is shown again; null: not by itself.")


class Recommendations(Answer):
    at: str | None = Field(description="When they were found; null until the leader has looked for the first time.")
    recommendations: list[Recommended] = Field(description="The best first.")
    set_aside: list[str] = Field(description="Ids that somebody dismissed or put off.")
    put_off: list[PutOff] = Field(description="The same, in the same order, in words.")


class PlanLine(Answer):
    api: str
    expected: str
    interval80: list[str]
    saving: str
    limit: str


class NextMonth(Answer):
    """What next month's limits should be, by API."""

    at: str | None = Field(description="When it was found; null until the leader has looked for the first time.")
    month: str
    currency: str
    budget: str | None = Field(description="The present monthly budget over everything.")
    fits: bool
    total: str
    apis: list[PlanLine]
    change: str | None


class WhichRecommendation(Answer):
    id: str = Field(min_length=1, max_length=400)


class Aside(Asks):
    id: str = Field(min_length=1, max_length=400)
    days: int | None = Field(None, ge=1, le=3650, description="For so many days; without it for good.")


async def _kept(call: Call) -> Advice:
    from proxy.control.advising import kept
    from proxy.control.optimize.told import Advice

    return await kept(call.client, call.desk.keys) or Advice()


async def recommendations(call: Call) -> Recommendations:
    from proxy.control.optimize.told import recommendation

    found = await _kept(call)
    aside = await forecasts.aside(call.client, call.desk.keys, call.now_ms())
    told = [recommendation(one, call.rules.currency, call.language) for one in found.recommendations]
    texts = {one["id"]: one["text"] for one in told}
    return Recommendations(
        at=found.at or None,
        recommendations=[Recommended(**one) for one in told if one["id"] not in aside],
        set_aside=sorted(aside),
        put_off=[
            PutOff(
                id=name,
                text=texts.get(name, name),
                until=None if until_ms >= forecasts.FOR_GOOD else iso(until_ms, call.rules.timezone),
            )
            for name, until_ms in sorted(aside.items())
        ],
    )


async def set_aside(call: Call) -> WhichRecommendation:
    asked: Aside = call.body
    until_ms = forecasts.FOR_GOOD if asked.days is None else call.now_ms() + asked.days * 86_400_000
    await forecasts.set_aside(call.client, call.desk.keys, asked.id, until_ms, call.person.name)
    return WhichRecommendation(id=asked.id)


async def show_again(call: Call) -> WhichRecommendation:
    asked: Aside = call.body
    if not await forecasts.show_again(call.client, call.desk.keys, asked.id):
        raise Problem(404, "not_found")
    return WhichRecommendation(id=asked.id)


async def plan(call: Call) -> NextMonth:
    from proxy.control.optimize.plan import next_month
    from proxy.control.optimize.told import plan as told

    found, now_ms = await _kept(call), call.now_ms()
    aside = await forecasts.aside(call.client, call.desk.keys, now_ms)
    advice = [one for one in found.recommendations if one.id not in aside]
    return NextMonth(at=found.at or None, **told(next_month(call.rules, found.expected, advice, now_ms)))


ROUTES = [
    Route(
        "GET",
        "/recommendations",
        Role.VIEWER,
        "Where money could be saved",
        recommendations,
        answers=Recommendations,
        tag="forecast",
    ),
    Route(
        "POST",
        "/recommendations/set-aside",
        Role.OPERATOR,
        "Dismiss or put off a recommendation",
        set_aside,
        answers=WhichRecommendation,
        takes=Aside,
        tag="forecast",
    ),
    Route(
        "POST",
        "/recommendations/show-again",
        Role.OPERATOR,
        "Show a recommendation again",
        show_again,
        answers=WhichRecommendation,
        takes=Aside,
        problems=(404,),
        tag="forecast",
    ),
    Route("GET", "/plan", Role.VIEWER, "Next month's limits by API", plan, answers=NextMonth, tag="forecast"),
]
