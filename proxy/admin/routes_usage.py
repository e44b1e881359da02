"""Where the money went: usage by API, rule, caller, model and day, and the ledger's entries."""

from __future__ import annotations

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.core import money
from proxy.core.admin_model import Role
from proxy.core.windows import local_day
from proxy.state import usage
from proxy.state.ledger import Entry, Ledger

_LOOKED_THROUGH = 20_000  # ledger entries, for those that fit a filter


class UsageSpan(Asks):
    """Local days of the rules' time zone, both included. Left out: this month so far."""

    first: str = Field(
        "", alias="from", pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="First day, such as 2026-11-01."
    )
    last: str = Field("", alias="to", pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="Last day (default: today).")


class UsageRow(Answer):
    name: str
    calls: int
    cost: str = Field(description="Decimal, in `currency`.")
    saved: str = Field(description="What the cache and the ladder saved.")
    refused: int = Field(description="Calls refused; counted for APIs only.")


class DayRow(Answer):
    date: str
    calls: int
    cost: str
    saved: str
    apis: dict[str, str] = Field(description="What each API cost that day.")


class Usage(Answer):
    currency: str
    first: str = Field(serialization_alias="from")
    last: str = Field(serialization_alias="to")
    calls: int
    cost: str
    saved: str = Field(description="What was not spent because an answer was kept or something cheaper was called.")
    saved_by_cache: str = Field(description="The part of `saved` that kept answers saved; the rest is the ladder's.")
    apis: list[UsageRow]
    rules: list[UsageRow]
    callers: list[UsageRow]
    days: list[DayRow]
    refused: dict[str, dict[str, int]] = Field(description='API ("-": none) -> reason -> how often.')
    notes: dict[str, dict[str, int]] = Field(description="API -> what was not as usual -> how often.")


class SpreadRow(Answer):
    api: str
    model: str = Field(description='"" for the API as a whole, or where there is no model.')
    calls: int
    cost: str
    mean: str
    p95: str
    failed: int = Field(description="Answered with 400 or more, or not at all.")
    cached: int


class Recent(Answer):
    """The newest calls of the ledger, a bounded number of them."""

    currency: str
    seen: int
    apis: list[SpreadRow]
    models: list[SpreadRow]


class LedgerAsks(Asks):
    last: int = Field(50, ge=1, le=1_000, description="How many entries at most, the newest first.")
    api: str = ""
    caller: str = ""
    rule: str = ""
    model: str = ""
    state: str = ""


class LedgerPage(Answer):
    entries: list[dict[str, object]] = Field(description="As `spendgate ledger --json` prints them.")
    looked_through: int = Field(description="Entries that were read to find these.")
    more: bool = Field(description="Whether older entries exist.")


class OneCall(Asks):
    id: str = Field(pattern=r"^[0-9a-f]{28}$", description="X-Spendgate-Request-Id of the call's answer.")


class LedgerEntry(Answer):
    entry: dict[str, object]


async def usage_of(call: Call) -> Usage:
    rules, asked = call.rules, call.query
    today = local_day(call.now_ms(), rules.timezone)
    first, last = asked.first or f"{today[:7]}-01", asked.last or today
    try:
        days = usage.span(first, last)
    except ValueError:
        error = {"where": "query.from", "what": f"{first} .. {last}"}
        raise Problem(422, "bad_span", errors=[error], most=usage.DAYS_MOST) from None
    found = await call.desk.past.days(days, today)
    currency = rules.currency

    def text(atoms: int) -> str:
        return money.format_decimal(atoms, currency)

    def rows(sums: dict[str, usage.Sum], refused: dict[str, dict[str, int]]) -> list[UsageRow]:
        ordered = sorted(sums.items(), key=lambda one: (-one[1].cost_atoms, -one[1].calls, one[0]))
        return [
            UsageRow(
                name=name,
                calls=one.calls,
                cost=text(one.cost_atoms),
                saved=text(one.saved_atoms),
                refused=sum(refused.get(name, {}).values()),
            )
            for name, one in ordered
        ]

    of_day: dict[str, dict[str, str]] = {}
    for (api, day), atoms in found.api_days.items():
        of_day.setdefault(day, {})[api] = text(atoms)
    for api in found.denied:
        found.apis.setdefault(api, usage.Sum())
    return Usage(
        currency=currency,
        first=first,
        last=last,
        calls=found.total.calls,
        cost=text(found.total.cost_atoms),
        saved=text(found.total.saved_atoms),
        saved_by_cache=text(found.total.saved_cache_atoms),
        apis=rows(found.apis, found.denied),
        rules=rows(found.rules, {}),
        callers=rows(found.callers, {}),
        days=[
            DayRow(
                date=day,
                calls=one.calls,
                cost=text(one.cost_atoms),
                saved=text(one.saved_atoms),
                apis=of_day.get(day, {}),
            )
            for day, one in found.days.items()
        ],
        refused=found.denied,
        notes=found.notes,
    )


async def recent(call: Call) -> Recent:
    currency = call.rules.currency
    sample = await call.desk.past.sample(call.now_ms())

    def row(api: str, model: str, spread: usage.Spread) -> SpreadRow:
        exact = {name: money.plain(value) for name, value in (("mean", spread.mean()), ("p95", spread.p95()))}
        total = money.plain(money.total(spread.costs))
        return SpreadRow(
            api=api, model=model, calls=spread.calls, cost=total, failed=spread.failed, cached=spread.cached, **exact
        )

    models = sorted(sample.models.items(), key=lambda one: -sample.model_cost[one[0]])
    return Recent(
        currency=currency,
        seen=sample.seen,
        apis=[row(name, "", spread) for name, spread in sorted(sample.apis.items())],
        models=[row(api, model, spread) for (api, model), spread in models],
    )


async def ledger(call: Call) -> LedgerPage:
    asked: LedgerAsks = call.query
    wanted = {name: value for name, value in asked.model_dump().items() if name != "last" and value}
    entries: list[Entry] = []
    seen, more = 0, False
    most = _LOOKED_THROUGH if wanted else asked.last + 1
    async for entry in Ledger(call.client, call.desk.keys).last(most, call.now_ms()):
        if len(entries) == asked.last:
            more = True
            break
        seen += 1
        if all(entry[name] == value for name, value in wanted.items()):
            entries.append(entry)
    return LedgerPage(entries=entries, looked_through=seen, more=more)


async def entry(call: Call) -> LedgerEntry:
    found = await Ledger(call.client, call.desk.keys).find(call.place.id)
    if found is None:
        raise Problem(404, "no_entry", id=call.place.id)
    return LedgerEntry(entry=found)


ROUTES = [
    Route("GET", "/usage", Role.VIEWER, "Usage over some days", usage_of, answers=Usage, asks=UsageSpan, tag="usage"),
    Route("GET", "/usage/recent", Role.VIEWER, "What the newest calls were like", recent, answers=Recent, tag="usage"),
    Route(
        "GET", "/ledger", Role.VIEWER, "The newest entries", ledger, answers=LedgerPage, asks=LedgerAsks, tag="usage"
    ),
    Route(
        *("GET", "/ledger/{id}", Role.VIEWER, "One call: how it was priced", entry),
        answers=LedgerEntry,
        place=OneCall,
        problems=(404,),
        tag="usage",
    ),
]
