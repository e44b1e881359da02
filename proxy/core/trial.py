"""What one call would cost and why: the request as the rules see it, by the very functions that the proxy uses.

Pure, and makes no call: `spendgate price` and the dashboard's "try a request" show what is worked out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from proxy.core import ladder, match, meter, money, price, quota
from proxy.core.model import Api, Bill, Estimate, Outbound, Policy, Rule, RuleSet
from proxy.core.recording import Request, Response


@dataclass(frozen=True, slots=True)
class Priced:
    """One call as the rules see it. bill is None without a response; rule is None when nothing matched."""

    request: Request
    api: Api | None
    tried: tuple[tuple[Rule, str | None], ...]
    rule: Rule | None
    estimate: Estimate | None
    bill: Bill | None
    observed: bool  # no rule, but the rules let such calls pass
    rungs: tuple[Rung, ...] = ()


@dataclass(frozen=True, slots=True)
class Rung:
    """What the call becomes on one rung of its rule's ladder.

    told: as X-Spendgate-Degraded says it. estimate None: it is made as asked, because nothing cheaper comes of it.
    """

    at_bp: int
    told: str
    stale: bool
    estimate: Estimate | None


def work_out(
    rules: RuleSet,
    request: Request,
    response: Response | None,
    now_ms: int,
    used_units: int,
    seconds: Decimal,
    language: str,
) -> Priced:
    """Match, estimate and, with a response, the actual price. used_units: thousandths drawn from the quota before."""
    api, path = _destination(rules, request)
    observed = rules.unknown is Policy.OBSERVE
    if api is None:
        return Priced(request, None, (), None, None, None, observed)
    outbound = Outbound(
        method=request.method,
        scheme=api.scheme,
        host=api.host,
        port=api.port,
        path=path,
        query=request.query,
        headers=request.headers,
        body=request.body,
        body_size=len(request.body),
    )
    tried = tuple(match.explain(api, outbound, language))
    rule = match.match(api, outbound)
    if rule is None:
        return Priced(request, api, tried, None, None, None, observed)
    estimate = price.estimate(rules, rule, outbound, now_ms, None)
    bill = None
    if response is not None:
        reader = meter.Meter(rule, outbound)
        reader.head(
            response.status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        )
        reader.feed(response.body)
        usage = replace(
            reader.finish(True),
            sent=True,
            seconds=seconds,
            bytes_up=len(request.body),
            bytes_down=len(response.body),
        )
        position = used_units if estimate.quota is not None else None
        bill = price.actual(rules, rule, outbound, estimate, usage, position, now_ms)
    return Priced(request, api, tried, rule, estimate, bill, observed, _rungs(rules, rule, outbound, estimate, now_ms))


def _rungs(rules: RuleSet, rule: Rule, outbound: Outbound, asked: Estimate, now_ms: int) -> tuple[Rung, ...]:
    rungs = rule.handling.ladder if rule.handling is not None else ()
    out: list[Rung] = []
    for number in range(1, len(rungs) + 1):
        step = ladder.together(rungs[:number])
        if step is None:
            continue
        told, found = ladder.told(step.at_bp, ()), None
        for other, changed, names in ladder.candidates(rule, outbound, step):
            estimate = price.estimate(rules, other, changed, now_ms, None)
            if ladder.cheaper(asked, estimate, rules.currency):
                told, found = ladder.told(step.at_bp, names, elsewhere=step.elsewhere is not None), estimate
                break
        out.append(Rung(step.at_bp, told, step.serve_stale, found))
    return tuple(out)


def _destination(rules: RuleSet, request: Request) -> tuple[Api | None, str]:
    """By the API's own URL, or by the proxy's: whichever the rules know."""
    api = match.destination_forward(rules, request.scheme, request.host, request.port)
    if api is not None:
        return api, request.path
    found = match.destination_reverse(rules, request.host, request.path)
    return found if found is not None else (None, request.path)


def as_json(rules: RuleSet, priced: Priced, used_units: int) -> dict[str, object]:
    """The stable form (docs/interfaces.md): amounts as decimal strings, cost None without a response."""
    bill, estimate = priced.bill, priced.estimate
    cost = bill.cost if bill is not None else None
    state = bill.state.value if bill is not None else None
    if priced.rule is None:
        state = "unpriced" if priced.observed else "no_rule"
    return {
        "api": priced.api.name if priced.api else None,
        "rule": priced.rule.id if priced.rule else None,
        "estimate": money.format_decimal(quota.cost_at(estimate, used_units).atoms[rules.currency], rules.currency)
        if estimate
        else None,
        "cost": money.format_decimal(cost.atoms[rules.currency], rules.currency) if cost else None,
        "currency": rules.currency,
        "original_cost": money.plain(cost.original) if cost else None,
        "original_currency": cost.original_currency if cost else None,
        "state": state,
        "terms": [
            {
                "name": term.name,
                "quantity": money.plain(term.quantity),
                "unit_price": money.plain(term.unit_price),
                "amount": money.plain(term.amount),
            }
            for term in (cost.terms if cost else ())
        ],
        "fx_rate": money.plain(cost.fx_rate) if cost and cost.fx_rate is not None else None,
        "fx_date": cost.fx_date if cost else None,
        "ladder": [
            {
                "at_percent": float(rung.at_bp) / 100,
                "changes": rung.told.partition("; ")[2] or None,
                "serve_stale": rung.stale,
                "estimate": money.format_decimal(rung.estimate.cost.atoms[rules.currency], rules.currency)
                if rung.estimate is not None
                else None,
            }
            for rung in priced.rungs
        ],
        "usage": dict(bill.usage) if bill else None,
        "note": bill.note if bill else (estimate.problem if estimate else None),
    }
