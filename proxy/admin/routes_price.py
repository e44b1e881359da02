"""The rules in words; what a call would cost, and whether it would pass now, by the functions of the request path."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from proxy.admin.problems import Problem
from proxy.admin.routes import Answer, Asks, Call, Route
from proxy.core import describe, match, money, quota, trial
from proxy.core.admin_model import Role
from proxy.core.identify import ANONYMOUS
from proxy.core.model import Priority, Rule
from proxy.core.recording import Unreadable, header_of, request_of
from proxy.core.text import say
from proxy.state.ledger import Ledger


class Trial(Asks):
    """A request as curl's flags would say it."""

    url: str = Field(min_length=1, max_length=4_000, description="The API's own address, or the proxy's.")
    method: str = Field("", max_length=20, pattern=r"^[A-Za-z]*$", description="Left out: POST with a body, else GET.")
    headers: list[str] = Field(default_factory=list, max_length=100, description='Each "Name: value".')
    body: str = Field("", max_length=200_000)
    caller: str = Field("", description="Name of the caller; left out: one without a key.")


class TriedRule(Answer):
    rule: str
    where: str
    why_not: str | None = Field(description="None: this is the rule that matches.")


class TrialTerm(Answer):
    name: str
    quantity: str
    unit_price: str
    amount: str


class TrialBudget(Answer):
    name: str
    left: str
    currency: str
    enough: bool


class Verdict(Answer):
    api: str | None
    rule: str | None
    tried: list[TriedRule]
    estimate: str | None = Field(description="The most that the call may cost: what would be reserved.")
    currency: str
    basis: str | None
    terms: list[TrialTerm]
    note: str | None
    passes: bool
    reason: str | None = Field(description="Why it would be refused now.")
    sentence: str
    budgets: list[TrialBudget]


class RuleRow(Answer):
    id: str
    where: str = Field(description="File and line.")
    match: str = Field(description="What it matches, in words of the asker's language.")
    price: str = Field(description="What it costs, in words.")
    priority: str


class ApiRow(Answer):
    name: str
    upstream: str
    mount: str
    hosts: list[str]
    rules: list[RuleRow]


class ApiRows(Answer):
    apis: list[ApiRow]
    callers: list[str]


async def apis(call: Call) -> ApiRows:
    def row(rule: Rule) -> RuleRow:
        return RuleRow(
            id=rule.id,
            where=rule.where,
            match=describe.match_text(rule, call.language),
            price=describe.price_text(rule.price, call.language),
            priority=rule.priority.value,
        )

    return ApiRows(
        apis=[
            ApiRow(
                name=api.name,
                upstream=f"{api.scheme}://{api.host}{'' if api.port in (80, 443) else f':{api.port}'}{api.base_path}",
                mount=f"/{api.mount}",
                hosts=list(api.hosts),
                rules=[row(rule) for rule in api.rules],
            )
            for api in call.rules.apis
        ],
        callers=[caller.name for caller in call.rules.callers],
    )


async def would_cost(call: Call) -> Verdict:
    rules, asked, language = call.rules, call.body, call.language
    try:
        headers = [header_of(text) for text in asked.headers]
        body = asked.body.encode()
        if body and not any(name == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/json"))
        request = request_of(asked.method or None, asked.url, headers, body)
    except Unreadable as error:
        told = say(f"cli.price.{error.key}", language, **error.values)
        raise Problem(422, "invalid", errors=[{"where": "body", "what": told}]) from None
    priced = trial.work_out(rules, request, None, call.now_ms(), 0, Decimal(0), language)
    tried = [TriedRule(rule=rule.id, where=rule.where, why_not=why) for rule, why in priced.tried]
    name = priced.api.name if priced.api else None
    if priced.api is None or priced.rule is None or priced.estimate is None:
        passes = priced.observed
        return Verdict(
            api=name,
            rule=None,
            tried=tried,
            estimate=None,
            currency=rules.currency,
            basis=None,
            terms=[],
            note=None,
            passes=passes,
            reason=None if passes else "no_rule",
            budgets=[],
            sentence=say("admin.trial.unpriced" if passes else "admin.trial.no_rule", language),
        )
    rule, estimate = priced.rule, priced.estimate
    caller = next((one for one in rules.callers if one.name == asked.caller), ANONYMOUS)
    free = estimate.basis == "free"
    chain = () if free else match.chain(rules, priced.api, rule, caller)
    cost = quota.cost_at(estimate, 0)
    budgets, reason = [], None
    essential = rule.priority is Priority.ESSENTIAL
    for level in await Ledger(call.client, call.desk.keys).levels(chain, call.now_ms()):
        currency = level["currency"]
        left = Decimal(level["limit"]) - Decimal(level["spent"]) - Decimal(level["reserved"])
        enough = cost.atoms.get(currency, 0) <= money.to_atoms(left, currency)
        if level["state"] == "stopped":
            reason = reason or "budget_stopped"
        elif level["state"] == "restricted" and not essential:
            reason = reason or "budget_restricted"
        elif not enough:
            reason = reason or "budget_insufficient"
        budgets.append(TrialBudget(name=level["name"], left=money.plain(left), currency=currency, enough=enough))
    return Verdict(
        api=name,
        rule=rule.id,
        tried=tried,
        estimate=money.format_decimal(cost.atoms[rules.currency], rules.currency),
        currency=rules.currency,
        basis=estimate.basis,
        terms=[
            TrialTerm(
                name=term.name,
                quantity=money.plain(term.quantity),
                unit_price=money.plain(term.unit_price),
                amount=money.plain(term.amount),
            )
            for term in cost.terms
        ],
        note=estimate.problem,
        passes=reason is None,
        reason=reason,
        sentence=say("admin.trial.free" if free else f"admin.trial.{reason or 'passes'}", language),
        budgets=budgets,
    )


ROUTES = [
    Route("GET", "/apis", Role.VIEWER, "The APIs and their rules, in words", apis, answers=ApiRows, tag="rules"),
    Route(
        *("POST", "/price", Role.VIEWER, "What a call would cost, and whether it would pass", would_cost),
        answers=Verdict,
        takes=Trial,
        tag="rules",
    ),
]
