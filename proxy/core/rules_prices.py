"""Decide what one rule of an API means: which calls it holds for, and what they cost.

Compiles patterns, tests and expressions, fills in what the rule leaves to its API and to `defaults`, and reports what
does not fit together in one price. The rest of the file is core/rules.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import jmespath

from proxy.core import catalog, expression
from proxy.core.arithmetic import FUNCTIONS
from proxy.core.model import (
    Credentials,
    EstimateMode,
    FieldTest,
    FreeTier,
    Match,
    OnExhausted,
    PerKb,
    PerMessage,
    PerUnit,
    Price,
    Priority,
    Rounding,
    Rule,
    StatusSet,
    Tiers,
    TierStep,
    TimeOfDay,
    TokenPrices,
)
from proxy.core.pattern import compile_host, compile_path
from proxy.core.regex import PatternError, compile_regex
from proxy.core.rules_checks import CALL, WEBSOCKET, Path, Plain, Problem, meant_for, nearest, rule_name, unknown
from proxy.core.rules_guards import GuardCompiler
from proxy.core.rules_handling import handling

CATALOG_CURRENCY = "USD"
KINDS = (
    *("free", "per_request", "per_unit", "per_kb", "per_second", "per_minute", "per_connection", "per_message"),
    *("tokens", "catalog", "tiers"),
)
EXTRAS = ("free_tier", "minimum", "rounding", "times", "vat")  # only mean something beside a price


@lru_cache(maxsize=1)
def catalog_ids() -> frozenset[str]:
    """The price catalogue's provider ids. Loading it takes a quarter of a second, so it is asked only when needed."""
    from genai_prices.data_snapshot import get_snapshot

    return frozenset(provider.id for provider in get_snapshot().providers)


def first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


class RuleCompiler:
    """Compiles the rules of one file; `problems` collects what is wrong, in the order found."""

    def __init__(self, document: Plain, currency: str, source: str, line_of: Callable[[Path], int]) -> None:
        self.document = document
        self.defaults: Plain = document["defaults"] or {}
        self.currency = currency
        self.source = source
        self.line_of = line_of
        self.problems: list[Problem] = []
        self.guards = GuardCompiler(self.say, self.convertible, currency)
        # What the compiler of the file lends: the parts of an address, and headers with their variables filled in.
        self.place: Callable[[Path, str], tuple[str, str, int, str]] = lambda at, text: ("https", text, 443, "")
        self.keys: Callable[[Path, list[Plain] | None], tuple[Credentials, ...]] = lambda at, headers: ()

    def headers(self, at: Path, headers: list[Plain] | None) -> tuple[tuple[str, str], ...]:
        return tuple((one.header, one.value) for one in self.keys(at, headers))

    def knows(self, provider: str, model: str | None) -> bool:
        """Whether the catalogue has this provider, or a price for this model of it."""
        if provider not in catalog_ids() or model is None:
            return provider in catalog_ids()
        return catalog.find(provider, model) is not None

    def say(self, at: Path, key: str, hint: str | None = None, **values: str) -> None:
        self.problems.append(Problem(at, key, values, hint))

    def convertible(self, at: Path, currency: str) -> None:
        """A currency must be the file's own, or have an exchange rate."""
        if currency != self.currency and currency not in (self.document["fx"] or {}):
            values = {"got": currency, "own": self.currency}
            self.problems.append(Problem(at, "no_rate", values, "give_rate", refers=True))

    def rule(self, at: Path, index: int, api: Plain, price: Plain) -> Rule:
        def inherited(key: str, default: Any = None) -> Any:
            return first(price[key], api[key], self.defaults.get(key), default)

        name = f"{api['name']}/{rule_name(price, index)}"
        match = self.match((*at, "match"), price["match"])
        cost = self.price(at, price, first(price["charge_on"], api["charge_on"], self.defaults.get("charge_on")))
        roots: set[str] = set()
        for unit in cost.per_unit:
            roots |= unit.program.roots if unit.program is not None else set()
        by_tokens = cost.catalog is not None or cost.tokens is not None
        more = handling(self, at, price, inherited("retry"), match, cost)
        return Rule(
            id=name,
            api=api["name"],
            match=match,
            price=cost,
            priority=Priority(inherited("priority", "important")),
            estimate=EstimateMode(inherited("estimate", "worst_case")),
            on_exhausted=OnExhausted(inherited("on_exhausted", "finish")),
            max_output_tokens=inherited("max_output_tokens", 16384),
            max_input_tokens=inherited("max_input_tokens"),
            max_seconds=inherited("max_seconds", 300),
            max_kb=inherited("max_kb", 1024),
            max_messages=inherited("max_messages", 100),
            for_calls=CALL in meant_for(price),
            for_websockets=WEBSOCKET in meant_for(price),
            where=f"{self.source}:{self.line_of(at)}",
            needs_body=bool(match.json) or by_tokens or "request" in roots or more is not None,
            needs_response=by_tokens or "response" in roots,
            handling=more,
            limited=self.guards.limited(at, "rule", name, price),
            breaker=self.guards.breaker((*at, "breaker"), name, price["breaker"]),
        )

    def match(self, at: Path, tests: Plain | None) -> Match:
        if tests is None:
            return Match()
        return Match(
            methods=frozenset(tests["method"]) if tests["method"] else None,
            hosts=self.patterns((*at, "host"), tests["host"], compile_host),
            paths=self.patterns((*at, "path"), tests["path"], compile_path),
            headers=self.tests((*at, "header"), tests["header"], str.lower),
            query=self.tests((*at, "query"), tests["query"], str),
            json=self.tests((*at, "json"), tests["json"], str),
        )

    def patterns(
        self, at: Path, texts: list[str] | None, compiled: Callable[[str], re.Pattern[str]]
    ) -> tuple[re.Pattern[str], ...] | None:
        if not texts:
            return None
        out: list[re.Pattern[str]] = []
        for index, text in enumerate(texts):
            try:
                out.append(compiled(text))
            except PatternError as error:
                self.pattern_wrong((*at, index), text, error)
        return tuple(out)

    def pattern_wrong(self, at: Path, text: str, error: PatternError) -> None:
        self.say(at, error.key, f"{error.key}_hint", got=text[:60], detail=error.detail)

    def tests(self, at: Path, tests: Plain | None, named: Callable[[str], str]) -> tuple[FieldTest, ...]:
        out: list[FieldTest] = []
        for name, (kind, value) in (tests or {}).items():
            place = (*at, name)
            if at[-1] == "json":
                try:
                    if len(name) > expression.MAX_LENGTH:
                        raise ValueError
                    jmespath.compile(name)
                except (jmespath.exceptions.JMESPathError, ValueError, RecursionError):
                    self.say(place, "bad_jmespath", "jmespath_form", got=name[:60])
                    continue
            if kind == "matches":
                try:
                    out.append(FieldTest(named(name), pattern=compile_regex(value)))
                except PatternError as error:
                    self.pattern_wrong(place, value, error)
            elif kind == "present":
                out.append(FieldTest(named(name), present=value))
            else:
                out.append(FieldTest(named(name), equals=_text_forms(value)))
        return tuple(out)

    # --- one price ---

    def price(self, at: Path, price: Plain, charge_on: StatusSet | None) -> Price:
        kinds = [kind for kind in KINDS if price[kind] is not None]
        if not kinds:
            self.say(at, "no_price", "price_kinds", known=", ".join(KINDS))
        if price["free"]:
            for kind in (*kinds[1:], *(extra for extra in EXTRAS if price[extra] is not None)):
                self.say((*at, kind), "free_and", "free_or", got=kind)
        if price["catalog"] is not None:
            if price["tokens"] is not None:
                self.say((*at, "tokens"), "catalog_and", "catalog_or", got="tokens")
            if price["catalog"] not in catalog_ids():
                self.problems.append(
                    unknown((*at, "catalog"), "unknown_catalog", price["catalog"], list(catalog_ids()))
                )
            if price["currency"] not in (None, CATALOG_CURRENCY):
                self.say((*at, "currency"), "catalog_currency", "remove_key", got=price["currency"])
        own = CATALOG_CURRENCY if price["catalog"] is not None else self.currency
        currency = price["currency"] or own
        self.convertible((*at, "currency") if price["currency"] else (*at, kinds[0]) if kinds else at, currency)
        tiers = self.tiers((*at, "tiers"), price["tiers"], price)
        per_unit = self.per_unit((*at, "per_unit"), price["per_unit"], tiers)
        for key in ("tokens", "per_kb", "per_message"):
            if price[key] is not None and all(value is None for value in price[key].values()):
                self.say((*at, key), "price_empty", "price_parts", got=key, known=", ".join(price[key]))
        size, message = price["per_kb"], price["per_message"]
        rounding = price["rounding"]
        return Price(
            currency=currency,
            free=bool(price["free"]),
            catalog=price["catalog"],
            tokens=TokenPrices(**price["tokens"]) if price["tokens"] is not None else None,
            per_request=price["per_request"],
            per_unit=per_unit,
            per_kb=PerKb(size["up"] or Decimal(0), size["down"] or Decimal(0)) if size is not None else None,
            per_second=price["per_second"],
            per_connection=price["per_connection"],
            free_tier=self.free_tier((*at, "free_tier"), price["free_tier"], per_unit),
            tiers=tiers,
            minimum=price["minimum"],
            rounding=Rounding(rounding["to"], rounding["mode"] or "half_up") if rounding is not None else None,
            vat=first(price["vat"], self.defaults.get("vat"), self.document["vat"]),
            times=self.times((*at, "times"), price["times"]),
            charge_on=charge_on if charge_on is not None else StatusSet(),
            per_message=(
                PerMessage(message["up"] or Decimal(0), message["down"] or Decimal(0)) if message is not None else None
            ),
            per_minute=price["per_minute"],
        )

    def per_unit(self, at: Path, units: list[Plain] | None, tiers: Tiers | None) -> tuple[PerUnit, ...]:
        out: list[PerUnit] = []
        by_tiers = tiers is not None and tiers.of == "units"
        for index, unit in enumerate(units or ()):
            place = (*at, index)
            price = unit["price"]
            if price is None and not by_tiers:
                self.say((*place, "price"), "missing", got="price")
            elif price is not None and by_tiers:
                self.say((*place, "price"), "tiers_and", "tiers_or", got="per_unit.price")
            program: expression.Program | None = None
            try:
                program = expression.compile_expression(unit["count"])
            except expression.ExpressionError as error:
                self.expression_wrong((*place, "count"), error)
            if program is not None and not program.known_before and unit["max_count"] is None:
                later = ", ".join(sorted(program.roots & expression.AFTERWARDS))
                self.say((*place, "count"), "needs_max_count", "give_max_count", got=later)
            out.append(PerUnit(price if price is not None else Decimal(0), unit["count"], program, unit["max_count"]))
        return tuple(out)

    def expression_wrong(self, at: Path, error: expression.ExpressionError) -> None:
        known = FUNCTIONS if error.key == "expression_call" else expression.ROOTS
        names = error.key in ("expression_call", "expression_root")
        meant = nearest(error.found, known) if names else None
        hint = "did_you_mean" if meant else "known_are" if names else f"{error.key}_hint"
        values = {"got": error.found[:60], "column": str(error.column), "meant": meant or "", "known": ", ".join(known)}
        self.problems.append(Problem(at, error.key, values, hint))

    def tiers(self, at: Path, tiers: Plain | None, price: Plain) -> Tiers | None:
        if tiers is None:
            return None
        of = tiers["of"] or ("units" if price["per_unit"] else "requests")
        if of == "units" and len(price["per_unit"] or ()) != 1:
            self.say((*at, "of"), "units_without", "units_need")
        if of == "requests" and price["per_request"] is not None:
            self.say((*at[:-1], "per_request"), "tiers_and", "tiers_or", got="per_request")
        steps = tiers["steps"]
        last = Decimal(0)
        for index, step in enumerate(steps):
            end = step["up_to"]
            final = index == len(steps) - 1
            if end is None and not final:
                self.say((*at, "steps", index), "step_open", "step_form")
            elif end is not None and final:
                self.say((*at, "steps", index, "up_to"), "step_last", "step_form")
            elif end is not None and end <= last:
                self.say((*at, "steps", index, "up_to"), "step_order", "step_form", got=str(end), before=str(last))
            last = end if end is not None else last
        made = tuple(TierStep(step["up_to"], step["price"]) for step in steps)
        return Tiers(tiers["mode"] or "graduated", of, tiers["per"], made)

    def free_tier(self, at: Path, free: Plain | None, per_unit: tuple[PerUnit, ...]) -> FreeTier | None:
        if free is None:
            return None
        given = [kind for kind in ("requests", "units") if free[kind] is not None]
        if len(given) != 1:
            self.say(at, "free_tier_one", "free_tier_form")
            return None
        if given[0] == "units" and len(per_unit) != 1:
            self.say((*at, "units"), "units_without", "units_need")
        return FreeTier(free[given[0]], given[0], free["per"])

    def times(self, at: Path, times: list[Plain] | None) -> tuple[TimeOfDay, ...]:
        out: list[TimeOfDay] = []
        for index, time in enumerate(times or ()):
            start, end = first(time["from"], 0), first(time["to"], 24 * 60)
            if start == end:
                self.say((*at, index, "to"), "times_empty")
            days = frozenset().union(*time["days"]) if time["days"] else frozenset(range(7))
            out.append(TimeOfDay(days, start, end, time["multiplier"]))
        return tuple(out)


def _text_forms(texts: tuple[str, ...]) -> tuple[str, ...]:
    """What a value's text may be: as written, and for numbers without idle zeros (1.50 is also 1.5)."""
    numbers = [text for text in texts if re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", text, re.ASCII)]
    return tuple(dict.fromkeys([*texts, *(format(Decimal(text).normalize(), "f") for text in numbers)]))
