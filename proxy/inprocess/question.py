"""What a function's call asks for, in the terms of rules.yaml: which API, which rule, which caller, how much at most.

Decides how a call that has no URL finds the rule that prices it, in this order:

1. the rule that the program names (`rule=`);
2. with `path=`: as a request to that path;
3. a rule that matches the call itself: method CALL, path "/<module>.<function>";
4. as a request to the endpoint that the arguments look like (`messages` and `model` are a chat completion);
5. the API's only rule that costs money;
6. where the program states the amounts itself: none is needed.

Values in, values out: no clock, no store, no thread.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from proxy.core import match, money, price, standins
from proxy.core.currencies import CURRENCIES
from proxy.core.guards import Guards, Limit, Limited
from proxy.core.model import (
    Api,
    Bill,
    Caller,
    Cost,
    Denied,
    Estimate,
    EstimateMode,
    Outbound,
    Period,
    PeriodUnit,
    Policy,
    Reason,
    Rule,
    RuleSet,
    State,
    Usage,
    Window,
)
from proxy.core.question import digest
from proxy.core.terms import has_adjustments
from proxy.core.text import say
from proxy.core.windows import window_at
from proxy.inprocess import endpoints
from proxy.inprocess.errors import ConfigurationError

Amount = int | float | str | Decimal
Body = Mapping[str, Any]

_DAY: Final = Period(PeriodUnit.DAY)
ENDED_WELL: Final = 200  # the status of a call whose function returned something that tells none
METHOD: Final = "CALL"  # of a call that is no request; what the ledger shows


@dataclass(frozen=True, slots=True)
class Terms:
    """What a program says about its calls. Amounts are in the rules' currency unless they name another one.

    request: the request's body, or members that are laid over the arguments; or a function of the arguments that
    returns either. response: what to read the usage from, given the result. estimate: the most that a call can cost,
    or a function of the arguments. cost: what it did cost, or a function of the result. name: of the function.
    priced False: only limits are asked, and no money is counted. limited: the program's own rate limits.
    """

    api: str
    name: str = "-"
    priced: bool = True
    limited: tuple[Limited, ...] = ()
    essential: bool = False
    rule: str | None = None
    caller: str | None = None
    method: str | None = None
    path: str | None = None
    request: Body | Callable[..., Body] | None = None
    response: Callable[[Any], Any] | None = None
    estimate: Amount | Callable[..., Amount] | None = None
    cost: Amount | Callable[[Any], Amount] | None = None
    signature: inspect.Signature | None = field(default=None, compare=False)

    @property
    def states_amounts(self) -> bool:
        return self.estimate is not None or self.cost is not None


class Subject(msgspec.Struct, frozen=True):
    """What all calls on the same terms have in common, for one rule set. rule None: it depends on the arguments."""

    rules: RuleSet
    api: Api
    rule: Rule | None
    caller: Caller


class Choice(msgspec.Struct, frozen=True):
    """Which rule prices a call, and the request as which it does.

    guessed: the request's path is a guess that the answer may correct. stated: only the program can say what the call
    costs. observed: nothing prices it, and it passes all the same.
    """

    subject: Subject
    rule: Rule
    outbound: Outbound
    guessed: bool
    stated: bool
    observed: bool


class Question(msgspec.Struct, frozen=True):
    """One call as the gate is asked about it: a choice, and the most that the call can cost.

    given: that is the program's own word. day: this question is that of every call of that local day, and `usual` the
    bill of each of them that ends well, where it depends on nothing else either.
    """

    subject: Subject
    rule: Rule
    outbound: Outbound
    guessed: bool
    stated: bool
    observed: bool
    estimate: Estimate
    given: bool
    day: Window | None = None
    usual: Bill | None = None

    def holds_at(self, now_ms: int) -> bool:
        """Whether it is the question of a call of this instant too."""
        day = self.day
        return day is not None and day.start_ms <= now_ms < day.end_ms


# --- what all calls have in common -----------------------------------------------------------------------------------


def subject(rules: RuleSet, terms: Terms, default_caller: str | None) -> Subject | Denied:
    """Find the API, the caller and, where it is named, the rule."""
    caller = _caller(rules, terms.caller or default_caller)
    if isinstance(caller, Denied):
        return caller
    api = next((one for one in rules.apis if one.name == terms.api), None)
    if not terms.priced:
        rule = standins.rule(terms.api, "limited", rules.currency)
        return Subject(rules, api or standins.api(rule), rule, caller)
    if api is None:
        if rules.unknown is not Policy.OBSERVE:
            known = [one.name for one in rules.apis]
            return _no_rule("no_such_api", api=terms.api, known=_listed(known, terms.api))
        rule = standins.rule(terms.api, "stated" if terms.states_amounts else standins.OBSERVED, rules.currency)
        return Subject(rules, standins.api(rule), rule, caller)
    if terms.rule is None:
        return Subject(rules, api, None, caller)
    rule_named = next((one for one in api.rules if terms.rule in (one.id, one.id.partition("/")[2])), None)
    if rule_named is None:
        known = [one.id.partition("/")[2] for one in api.rules]
        return _no_rule("no_such_rule", api=api.name, rule=terms.rule, known=_listed(known, terms.rule))
    return Subject(rules, api, rule_named, caller)


def _caller(rules: RuleSet, name: str | None) -> Caller | Denied:
    known = [one.name for one in rules.callers]
    if name is None:
        if rules.callers and rules.require_caller:
            return Denied(
                Reason.UNKNOWN_CALLER, 401, detail={"text": "unnamed_caller", "known": ", ".join(known) or "-"}
            )
        return Caller()
    found = next((one for one in rules.callers if one.name == name), None)
    if found is None and rules.callers:
        detail = {"text": "unlisted_caller", "caller": name, "known": ", ".join(known)}
        return Denied(Reason.UNKNOWN_CALLER, 401, detail=detail)
    return found or Caller(name)


def _listed(known: list[str], wanted: str) -> str:
    """The names, the most similar one first."""
    near = difflib.get_close_matches(wanted, known, 1)
    return ", ".join([*near, *(name for name in known if name not in near)]) or "-"


def _no_rule(text: str, **detail: str) -> Denied:
    return Denied(Reason.NO_RULE, 403, detail={"text": text, **detail})


def guards(known: Subject, rule: Rule, terms: Terms) -> Guards:
    """The rate limits and circuit breakers of a call: those of the rules, and the program's own."""
    ruled = match.guards(known.rules, known.api, rule, known.caller)
    return Guards((*ruled.limited, *terms.limited), ruled.breakers, ruled.obey) if terms.limited else ruled


def joined(outer: Terms, inner: Terms) -> Terms | None:
    """The terms of two decorators on one function as one question; None: they must ask one after the other."""
    if outer.api != inner.api or (outer.priced and inner.priced):
        return None
    main = outer if outer.priced else inner
    by_place: dict[str, Limited] = {}
    for one in (*outer.limited, *inner.limited):
        other = by_place.get(one.place)
        by_place[one.place] = one if other is None else _stricter(one, other)
    caller = main.caller or outer.caller or inner.caller
    return replace(main, limited=tuple(by_place.values()), caller=caller)


def _stricter(one: Limited, other: Limited) -> Limited:
    limits: dict[str, Limit] = {}
    for limit in (*one.limits, *other.limits):
        known = limits.get(limit.name)
        limits[limit.name] = limit if known is None or limit.amount < known.amount else known
    patience = max(one, other, key=lambda limited: limited.wait_ms)
    return replace(one, limits=tuple(limits.values()), wait_ms=patience.wait_ms, queue=patience.queue)


# --- one call --------------------------------------------------------------------------------------------------------


def looks_into_arguments(subject: Subject, terms: Terms) -> bool:
    """Whether the rule, or what it makes of a call, depends on the arguments; else every call has the same choice."""
    rules, api = subject.rules, subject.api
    looks = terms.request is not None or match.looks_into_bodies(rules, api) or _counts_bytes(api)
    return looks and terms.priced


def lasts_a_day(choice: Choice, terms: Terms) -> bool:
    """Whether every call on this choice, which depends on no arguments, has the same estimate for a whole local day."""
    price = choice.rule.price
    drawn = price.tiers is not None or price.free_tier is not None
    counted = price.catalog is not None or price.tokens is not None
    return not (drawn or counted or callable(terms.estimate) or has_adjustments(price))


def question_of_the_day(choice: Choice, terms: Terms, now_ms: int) -> Question:
    """What every call of this local day asks for. Only where `lasts_a_day`; raises as `question`."""
    asked = question(choice, terms, (), {}, now_ms)
    day = window_at(_DAY, choice.subject.rules.timezone, now_ms)
    return msgspec.structs.replace(asked, day=day, usual=_usual(asked, terms, now_ms))


def _usual(asked: Question, terms: Terms, now_ms: int) -> Bill | None:
    """The bill of a call that ends well, where neither its result nor its length makes a difference to it.

    What the log should tell, and what is learned from, is none of these.
    """
    rules, rule, prices = asked.subject.rules, asked.rule, asked.rule.price
    if not terms.priced or asked.observed or rule.estimate is EstimateMode.LEARNED:
        return None
    if terms.cost is not None:
        return None if callable(terms.cost) else Bill(cost_of(rules, terms.cost, now_ms), State.SETTLED, {})
    measured = (prices.per_kb, prices.per_second, prices.per_minute, prices.per_message)
    if asked.stated or rule.needs_response or any(part is not None for part in measured):
        return None
    usage = Usage(status=ENDED_WELL, sent=True, bytes_up=asked.outbound.body_size or 0)
    bill = price.actual(rules, rule, asked.outbound, asked.estimate, usage, None, now_ms)
    if bill.state is not State.SETTLED:
        return None
    return msgspec.structs.replace(bill, question=digest(asked.outbound))


def question(choice: Choice, terms: Terms, args: tuple[Any, ...], kwargs: Mapping[str, Any], now_ms: int) -> Question:
    """What this call asks for. Raises ConfigurationError for no amount, and what the program's functions raise."""
    subject, rule, outbound = choice.subject, choice.rule, choice.outbound
    estimate, given = _estimate(subject.rules, rule, outbound, terms, args, kwargs, now_ms)
    return Question(subject, rule, outbound, choice.guessed, choice.stated, choice.observed, estimate, given)


def choose(subject: Subject, terms: Terms, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Choice | Denied:
    """Find the rule. Raises what the program's own functions raise."""
    rules, api = subject.rules, subject.api
    body = _body(terms, args, kwargs) if looks_into_arguments(subject, terms) else None
    payload = encoded(body) if body is not None else b""
    rule, outbound, guessed = subject.rule, _itself(api, terms, payload), False
    if terms.path is not None:
        outbound = _request(api, terms.method or "POST", terms.path, payload)
        rule = rule or match.match(api, outbound)
        if rule is None and not terms.states_amounts:
            target = f"{outbound.method} {outbound.path}"
            return _no_rule("no_rule_fits", api=api.name, target=target, function=terms.name, known=_rule_names(api))
    else:
        rule = rule or match.match(api, outbound)
        path = endpoints.of_arguments(api, body or {})
        if path is not None and (rule is None or _by_tokens(rule)):
            outbound, guessed = _request(api, terms.method or "POST", path, payload), True
            rule = rule or match.match(api, outbound)
        rule = rule or _only_priced(api)
    if rule is None:
        if not terms.states_amounts and rules.unknown is not Policy.OBSERVE:
            return _no_rule("no_rule_for_function", api=api.name, function=terms.name, known=_rule_names(api))
        rule = standins.rule(api.name, "stated" if terms.states_amounts else standins.OBSERVED, rules.currency)
    nothing_prices = rule.where == standins.NOWHERE and terms.priced
    stated, observed = nothing_prices and terms.states_amounts, nothing_prices and not terms.states_amounts
    return Choice(subject, rule, outbound, guessed, stated, observed)


def _estimate(
    rules: RuleSet,
    rule: Rule,
    outbound: Outbound,
    terms: Terms,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    now_ms: int,
) -> tuple[Estimate, bool]:
    """The most that the call can cost, and whether the program said so itself."""
    draws = rule.price.tiers is not None or rule.price.free_tier is not None
    amount = terms.estimate
    if callable(amount):
        amount = amount(*args, **kwargs)
    if amount is None and not callable(terms.cost):
        amount = terms.cost
    if amount is None or draws:  # an allowance that is drawn from must be drawn by the rule's own price
        return price.estimate(rules, rule, outbound, now_ms), False
    return Estimate(cost_of(rules, amount, now_ms, "up"), "worst_case"), True


def cost_of(rules: RuleSet, amount: Amount, now_ms: int, rounding: str = "half_up") -> Cost:
    """What a stated amount costs. "12.5", 12.5 and Decimal are in the rules' currency, "0.02 USD" says its own.

    Raises ConfigurationError for what is no amount, is negative, or has no exchange rate.
    """
    text, _, named = str(amount).strip().partition(" ")
    currency = named.strip().upper() or rules.currency
    try:
        value = Decimal(text) if not isinstance(amount, bool) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0 or currency not in CURRENCIES:
        shown = repr(amount)
        raise ConfigurationError(say("inprocess.bad_amount", rules.language, value=shown, currency=rules.currency))
    try:
        return price.stated(rules, value, currency, now_ms, rounding)
    except money.NoRate:
        raise ConfigurationError(
            say("inprocess.no_rate", rules.language, value=str(amount), currency=currency)
        ) from None


def _itself(api: Api, terms: Terms, payload: bytes) -> Outbound:
    """The call as rules may match it: method CALL, path "/module.function"."""
    return _request(api, METHOD, f"/{terms.name}", payload)


def _request(api: Api, method: str, path: str, payload: bytes) -> Outbound:
    path, _, query = path.partition("?")
    headers = (("content-type", "application/json"),) if payload else ()
    if not path.startswith("/"):
        path = f"/{path}"
    return Outbound(method.upper(), api.scheme, api.host, api.port, path, query, headers, payload, len(payload))


def _by_tokens(rule: Rule) -> bool:
    return rule.price.catalog is not None or rule.price.tokens is not None


def _counts_bytes(api: Api) -> bool:
    return any(rule.price.per_kb is not None for rule in api.rules)


def _only_priced(api: Api) -> Rule | None:
    priced = [rule for rule in api.rules if not rule.price.free and rule.match.methods != frozenset({"CONNECT"})]
    return priced[0] if len(priced) == 1 else None


def _rule_names(api: Api) -> str:
    return ", ".join(rule.id.partition("/")[2] for rule in api.rules) or "-"


# --- arguments as a body ---------------------------------------------------------------------------------------------


def _body(terms: Terms, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name, what **kwargs holds among them, with `request` laid over them."""
    body = _arguments(terms.signature, args, kwargs)
    over = terms.request
    if callable(over):
        return dict(over(*args, **kwargs))
    return {**body, **over} if over is not None else body


def _arguments(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if signature is None:
        return dict(kwargs)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return dict(kwargs)  # the function itself will say what is wrong with its arguments
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        elif name not in ("self", "cls"):
            found[name] = value
    return found


def encoded(body: Mapping[str, Any]) -> bytes:
    """JSON of what can be said in JSON; other arguments (clients, files, callbacks) are left out."""
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        pass
    parts = {}
    for name, value in body.items():
        try:
            parts[str(name)] = msgspec.Raw(msgspec.json.encode(value, enc_hook=_plain))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            continue
    return msgspec.json.encode(parts)


def _plain(value: Any) -> Any:
    """What pydantic's models and the like are made of. Raises TypeError for anything else."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json", by_alias=True)
    raise TypeError(type(value).__name__)
