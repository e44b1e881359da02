"""Rate limits over HTTP: how full each is now, and which APIs asked to be left alone for a while."""

from __future__ import annotations

from pydantic import Field

from proxy.admin.routes import Answer, Call, Route
from proxy.core import money
from proxy.core.admin_model import Role
from proxy.core.guards import Limited
from proxy.core.model import Api, Rule
from proxy.core.windows import iso
from proxy.state import pressure
from proxy.state.pressure import Fill


class OneLimit(Answer):
    """One limit now. Amounts are whole numbers, of a cost limit decimals of its currency."""

    api: str | None = Field(description="Whose it is; null for a caller's.")
    of: str = Field(description="The API, the rule's id, or caller:NAME.")
    name: str = Field(description="Such as requests/minute or concurrent.", examples=["requests/minute"])
    limit: str
    used: str
    left: str
    resets_in_s: int


class Paused(Answer):
    api: str
    until: str


class Limits(Answer):
    limits: list[OneLimit]
    paused: list[Paused] = Field(description="APIs that answered that they want to be left alone until then.")


async def limits(call: Call) -> Limits:
    rules, now_ms = call.rules, call.now_ms()
    owners: dict[str, str | None] = {}
    found: list[Limited] = []
    for api in rules.apis:
        owned: list[Api | Rule] = [api, *api.rules]
        for of in owned:
            if of.limited is not None and of.limited.limits:
                owners[of.limited.place] = api.name
                found.append(of.limited)
    found += [one.limited for one in rules.callers if one.limited is not None and one.limited.limits]
    fills = await pressure.fills(call.client, call.desk.keys, found, now_ms)
    paused = await pressure.pauses(call.client, call.desk.keys, [api.name for api in rules.apis], now_ms)
    return Limits(
        limits=[_told(fill, owners.get(fill.limited.place)) for fill in fills],
        paused=[Paused(api=name, until=iso(until_ms, rules.timezone)) for name, until_ms in sorted(paused.items())],
    )


def _told(fill: Fill, api: str | None) -> OneLimit:
    def shown(amount: int) -> str:
        return money.format_decimal(amount, fill.limit.currency) if fill.limit.currency else str(amount)

    return OneLimit(
        api=api,
        of=fill.limited.label,
        name=fill.limit.name,
        limit=shown(fill.limit.amount),
        used=shown(fill.used),
        left=shown(fill.left),
        resets_in_s=-(-fill.resets_ms // 1000),
    )


ROUTES = [Route("GET", "/limits", Role.VIEWER, "Rate limits and pauses as they are now", limits, answers=Limits)]
