"""Decide what rules.yaml means: from its values, each well-formed by itself, to the RuleSet that every request uses.

`compile_rules` fills in what was left out (rule, then API, then `defaults`), compiles patterns and expressions, expands
environment variables, and reports everything that does not fit together as Problems with their paths. Knows neither
YAML nor lines nor languages; the environment comes as an argument, and values from it never go into a Problem.

The document's shape is that of rules_schema.plain(): dicts under the file's own keys, None for what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import jmespath

from proxy.core import expression, money
from proxy.core.model import (
    Api,
    Budget,
    Caller,
    Credentials,
    EstimateMode,
    FieldTest,
    FreeTier,
    FxRate,
    Match,
    OnExhausted,
    PerKb,
    PerUnit,
    Period,
    PeriodUnit,
    Policy,
    Price,
    Priority,
    Rounding,
    Rule,
    RuleSet,
    Speaks,
    StatusSet,
    Tiers,
    TierStep,
    TimeOfDay,
    TokenPrices,
)
from proxy.core.pattern import PatternError, compile_host, compile_path, compile_regex
from proxy.core.rules_checks import (
    Path,
    Plain,
    Problem,
    name_problems,
    nearest,
    path_text,
    reference_problems,
    rule_id,
    rule_name,
    unknown,
    unreachable_problems,
)

CATALOG_CURRENCY = "USD"
KINDS = ("free", "per_request", "per_unit", "per_kb", "per_second", "per_connection", "tokens", "catalog", "tiers")
EXTRAS = ("free_tier", "minimum", "rounding", "times", "vat")  # only mean something beside a price
LATER = ("services", "alerts", "fixed_costs", "optimize")
DEFAULT_WARN_BP, DEFAULT_RESTRICT_BP, DEFAULT_STOP_BP = (7000, 8000, 9000), 9500, 10000
# providers whose API answers in OpenAI's way, so that its SDK is the one that reads our refusals
OPENAI_LIKE = frozenset(
    "openai azure groq mistral deepseek openrouter together fireworks perplexity x-ai cerebras moonshotai novita "
    "databricks zai zhipuai minimax ovhcloud baseten avian arcee github-copilot meta".split()
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """rules is None as soon as one problem is more than a warning."""

    rules: RuleSet | None
    problems: tuple[Problem, ...]


def compile_rules(
    document: Plain,
    env: Mapping[str, str],
    source: str = "rules.yaml",
    digest: str = "",
    line_of: Callable[[Path], int] = lambda at: 1,
) -> Compiled:
    """The rule set of a document, and every problem of it in one go.

    env: variables for `${NAME}` and `key_env`. line_of: the line of a path, for `Rule.where`.
    """
    compiler = _Compiler(document, env, source, line_of)
    compiler.problems += name_problems(document)
    compiler.problems += reference_problems(document)
    rules = compiler.rule_set(digest)
    compiler.problems += unreachable_problems(document)
    failed = any(not problem.warning for problem in compiler.problems)
    return Compiled(None if failed else rules, tuple(compiler.problems))


@lru_cache(maxsize=1)
def catalog_ids() -> frozenset[str]:
    """The price catalogue's provider ids. Loading it takes a quarter of a second, so it is asked only when needed."""
    from genai_prices.data_snapshot import get_snapshot

    return frozenset(provider.id for provider in get_snapshot().providers)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


class _Compiler:
    """Carries the document and collects problems; each method compiles one part."""

    def __init__(
        self, document: Plain, env: Mapping[str, str], source: str, line_of: Callable[[Path], int]
    ) -> None:
        self.document = document
        self.defaults: Plain = document["defaults"] or {}
        self.env = env
        self.source = source
        self.line_of = line_of
        self.problems: list[Problem] = []
        self.currency: str = document["currency"] or "KRW"
        self.timezone: str = document["timezone"] or "Asia/Seoul"
        self.budgets: list[Budget] = []

    def say(self, at: Path, key: str, hint: str | None = None, **values: str) -> None:
        self.problems.append(Problem(at, key, values, hint))

    def warn(self, at: Path, key: str, **values: str) -> None:
        self.problems.append(Problem(at, key, values, None, warning=True))

    # --- the whole file ---

    def rule_set(self, digest: str) -> RuleSet:
        document = self.document
        store_error = self.defaults.get("on_store_error") or "deny"
        if store_error != "deny":
            self.say(("defaults", "on_store_error"), "needs_journal", "use_deny", got=store_error)
        fx = self.exchange_rates()
        for index, budget in enumerate(document["budgets"] or ()):
            self.budget(("budgets", index), budget, budget["name"], **self.scope(budget["applies_to"]))
        callers = self.callers()
        apis = tuple(self.api(index, api) for index, api in enumerate(document["apis"] or ()))
        if not apis:
            self.warn((), "no_apis")
        if not self.budgets:
            self.warn((), "no_budgets")
        for later in LATER:
            if document[later]:
                self.warn((later,), "not_enforced", got=later)
        required = self.defaults.get("require_caller")
        if required and not callers:
            self.say(("defaults", "require_caller"), "require_without_callers", "declare_callers")
        return RuleSet(
            currency=self.currency,
            timezone=self.timezone,
            language=document["language"] or "en",
            fx=fx,
            unknown=Policy(self.defaults.get("unknown") or "deny"),
            on_store_error="deny",
            budgets=tuple(self.budgets),
            callers=callers,
            require_caller=bool(callers) if required is None else required,
            apis=apis,
            source=self.source,
            digest=digest,
        )

    def exchange_rates(self) -> tuple[FxRate, ...]:
        out: list[FxRate] = []
        for currency, rates in (self.document["fx"] or {}).items():
            at = ("fx", currency)
            if currency == self.currency:
                self.say(at, "fx_own", "remove_key", got=currency)
            days = [rate["since"] for rate in rates]
            if not days:
                self.say(at, "fx_empty", "give_rate", got=currency)
            for index, day in enumerate(days):
                if day in days[:index]:
                    self.say((*at, index, "since"), "fx_day_twice", got=day)
            ordered = sorted(rates, key=lambda rate: str(rate["since"]))
            out += [FxRate(currency, rate["rate"], rate["since"]) for rate in ordered]
        return tuple(out)

    def convertible(self, at: Path, currency: str) -> None:
        """A currency must be the file's own, or have an exchange rate."""
        if currency != self.currency and currency not in (self.document["fx"] or {}):
            problem = Problem(at, "no_rate", {"got": currency, "own": self.currency}, "give_rate", refers=True)
            self.problems.append(problem)

    def scope(self, applies_to: Plain | None) -> dict[str, str | None]:
        if applies_to is None:
            return {}
        found = rule_id(self.document, applies_to) if applies_to["rule"] is not None else None
        api, rule = found if found is not None else (applies_to["api"], None)
        return {"api": api, "rule": rule, "caller": applies_to["caller"]}

    def budget(self, at: Path, terms: Plain | None, name: str, **scope: str | None) -> None:
        if terms is None:
            return
        currency = terms["currency"] or self.currency
        place = (*at, "currency") if terms["currency"] else at
        self.convertible(place, currency)
        limit = money.to_atoms(terms["limit"], currency)
        if limit > money.LIMIT_ATOMS:
            most = money.format_text(money.LIMIT_ATOMS, currency)
            self.say((*at, "limit"), "limit_large", got=str(terms["limit"]), most=most)
        stop = _first(terms["stop"], DEFAULT_STOP_BP)
        restrict = _first(terms["restrict"], min(DEFAULT_RESTRICT_BP, stop))
        warn = terms["warn"]
        if warn is None:
            warn = [bp for bp in DEFAULT_WARN_BP if bp < restrict]
        elif warn and max(warn) >= restrict:
            index = warn.index(max(warn))
            self.say((*at, "warn", index), "warn_order", "order", got=_percent(max(warn)), bound=_percent(restrict))
        if restrict > stop:
            where = "restrict" if terms["restrict"] is not None else "stop"
            self.say((*at, where), "restrict_order", "order", got=_percent(restrict), bound=_percent(stop))
        self.budgets.append(
            Budget(
                name=name,
                limit_atoms=limit,
                currency=currency,
                period=terms["period"] or Period(PeriodUnit.MONTH),
                timezone=terms["timezone"] or self.timezone,
                warn_bp=tuple(sorted(set(warn))),
                restrict_bp=restrict,
                stop_bp=stop,
                **scope,
            )
        )

    def callers(self) -> tuple[Caller, ...]:
        out: list[Caller] = []
        owners: dict[str, str] = {}
        for index, caller in enumerate(self.document["callers"] or ()):
            at: Path = ("callers", index)
            name = caller["name"]
            given = [key for key in ("key_env", "key") if caller[key] is not None]
            if len(given) != 1:
                self.say(at, "caller_two_keys" if given else "caller_no_key", "caller_key")
                continue
            key = self.variable((*at, given[0]), caller[given[0]])
            self.budget((*at, "budget"), caller["budget"], f"caller:{name}", caller=name)
            if key is None:
                continue
            if key in owners:
                self.say((*at, given[0]), "same_key", "give_other_key", got=name, other=owners[key])
            elif any(character.isspace() or not character.isprintable() for character in key):
                self.say((*at, given[0]), "key_characters", name=caller[given[0]])
            owners.setdefault(key, name)
            out.append(Caller(name, key))
        return tuple(out)

    def variable(self, at: Path, name: str) -> str | None:
        """The value of an environment variable; missing and empty ones are the same mistake."""
        value = self.env.get(name)
        if value:
            return value
        meant = nearest(name, [other for other in self.env if self.env[other]])
        key = "env_empty" if value == "" else "env_missing"
        hint = "env_did_you_mean" if meant is not None and meant != name else "env_set"
        self.say(at, key, hint, got=name, meant=meant or "")
        return None

    # --- one API ---

    def api(self, index: int, api: Plain) -> Api:
        at: Path = ("apis", index)
        name = api["name"]
        scheme, host, port, base_path = self.upstream((*at, "upstream"), api["upstream"])
        for number, text in enumerate(api["hosts"] or ()):
            if not _HOST.fullmatch(text) or not _port_fits(text):
                self.say((*at, "hosts", number), "bad_host", "host_form", got=text[:60])
        mount = (api["mount"] or name).strip("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", mount):
            self.say((*at, "mount"), "bad_mount", "mount_form", got=mount[:60])
        if api["rate_limits"]:
            self.warn((*at, "rate_limits"), "not_enforced", got="rate_limits")
        if api["breaker"] is not None:
            self.warn((*at, "breaker"), "not_enforced", got="breaker")
        self.budget((*at, "budget"), api["budget"], f"api:{name}", api=name)
        rules = tuple(
            self.rule((*at, "prices", number), number, api, price) for number, price in enumerate(api["prices"])
        )
        total = _first(api["total_timeout"], self.defaults.get("total_timeout"))
        return Api(
            name=name,
            scheme=scheme,
            host=host,
            port=port,
            base_path=base_path,
            hosts=tuple(text.lower().rstrip(".") for text in api["hosts"] or ()),
            mount=mount,
            credentials=self.credentials(at, api["credentials"]),
            speaks=Speaks(api["speaks"]) if api["speaks"] else _speaks(api["prices"]),
            rules=rules,
            connect_timeout_s=_first(api["connect_timeout"], self.defaults.get("connect_timeout"), 10.0),
            read_timeout_s=_first(api["read_timeout"], self.defaults.get("read_timeout"), 300.0),
            total_timeout_s=total,
        )

    def upstream(self, at: Path, text: str) -> tuple[str, str, int, str]:
        """(scheme, host without brackets, port, base path) of an API's address."""
        nowhere = ("https", "invalid", 443, "")
        try:
            parts = urlsplit(text)
            port = parts.port
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            self.say(at, "bad_upstream", "upstream_form", got=text[:60])
            return nowhere
        if parts.username is not None or parts.password is not None:
            self.say(at, "upstream_userinfo", "use_credentials")  # not repeated: it may hold a password
            return nowhere
        if parts.scheme not in ("http", "https"):
            self.say(at, "bad_upstream", "upstream_form", got=text[:60])
            return nowhere
        name = re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", host)
        if not (name or (":" in host and re.fullmatch(r"[0-9a-f:.]+", host))) or ".." in host or port == 0:
            self.say(at, "bad_upstream", "upstream_form", got=text[:60])
            return nowhere
        if "?" in text or "#" in text or not re.fullmatch(r"[\x21-\x7e]+", text):
            self.say(at, "upstream_query", "upstream_form", got=text[:60])
            return nowhere
        return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")

    def credentials(self, at: Path, headers: list[Plain] | None) -> tuple[Credentials, ...]:
        out: list[Credentials] = []
        for index, entry in enumerate(headers or ()):
            place = (*at, "credentials", index)
            missing = False

            def expand(found: re.Match[str], place: Path = place) -> str:
                nonlocal missing
                value = self.variable((*place, "value"), found[1])
                missing = missing or value is None
                return value or ""

            if any(entry["header"].lower() == before.header.lower() for before in out):
                self.say((*place, "header"), "header_twice", got=entry["header"])
            if "${" in _REFERENCE.sub("", entry["value"]):
                self.say((*place, "value"), "bad_reference", "reference_form")
                continue
            value = _REFERENCE.sub(expand, entry["value"])
            if not missing and not re.fullmatch(r"[\x20-\x7e\x80-\xff]+", value):
                self.say((*place, "value"), "credential_characters")
            out.append(Credentials(entry["header"], value))
        return tuple(out)

    # --- one rule ---

    def rule(self, at: Path, index: int, api: Plain, price: Plain) -> Rule:
        def inherited(key: str, default: Any = None) -> Any:
            return _first(price[key], api[key], self.defaults.get(key), default)

        name = f"{api['name']}/{rule_name(price, index)}"
        match = self.match((*at, "match"), price["match"])
        cost = self.price(at, price, _first(price["charge_on"], api["charge_on"], self.defaults.get("charge_on")))
        self.budget((*at, "budget"), price["budget"], f"rule:{name}", api=api["name"], rule=name)
        roots: set[str] = set()
        for unit in cost.per_unit:
            roots |= unit.program.roots if unit.program is not None else set()
        by_tokens = cost.catalog is not None or cost.tokens is not None
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
            where=f"{self.source}:{self.line_of(at)}",
            needs_body=bool(match.json) or by_tokens or "request" in roots,
            needs_response=by_tokens or "response" in roots,
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
                self.problems.append(unknown((*at, "catalog"), "unknown_catalog", price["catalog"], list(catalog_ids())))
            if price["currency"] not in (None, CATALOG_CURRENCY):
                self.say((*at, "currency"), "catalog_currency", "remove_key", got=price["currency"])
        own = CATALOG_CURRENCY if price["catalog"] is not None else self.currency
        currency = price["currency"] or own
        self.convertible((*at, "currency") if price["currency"] else (*at, kinds[0]) if kinds else at, currency)
        tiers = self.tiers((*at, "tiers"), price["tiers"], price)
        per_unit = self.per_unit((*at, "per_unit"), price["per_unit"], tiers)
        for key in ("tokens", "per_kb"):
            if price[key] is not None and all(value is None for value in price[key].values()):
                self.say((*at, key), "price_empty", "price_parts", got=key, known=", ".join(price[key]))
        size = price["per_kb"]
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
            vat=_first(price["vat"], self.defaults.get("vat"), self.document["vat"]),
            times=self.times((*at, "times"), price["times"]),
            charge_on=charge_on if charge_on is not None else StatusSet(),
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
        known = expression.FUNCTIONS if error.key == "expression_call" else expression.ROOTS
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
            start, end = _first(time["from"], 0), _first(time["to"], 24 * 60)
            if start == end:
                self.say((*at, index, "to"), "times_empty")
            days = frozenset().union(*time["days"]) if time["days"] else frozenset(range(7))
            out.append(TimeOfDay(days, start, end, time["multiplier"]))
        return tuple(out)


_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_HOST = re.compile(
    r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*\.)*[A-Za-z0-9_-]*\.?(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?", re.ASCII
)


def _port_fits(host: str) -> bool:
    name, _, port = host.rpartition(":")
    return not port.isdigit() or not name or 0 < int(port) < 65536


def _percent(basis_points: int) -> str:
    return money.plain(Decimal(basis_points) / 100) + " %"


def _text_forms(texts: tuple[str, ...]) -> tuple[str, ...]:
    """What a value's text may be: as written, and for numbers without idle zeros (1.50 is also 1.5)."""
    out = list(texts)
    for text in texts:
        if re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", text, re.ASCII):
            out.append(format(Decimal(text).normalize(), "f"))
    return tuple(dict.fromkeys(out))


def _speaks(prices: list[Plain]) -> Speaks:
    """The error shape that the API's own SDK reads, by the catalogue ids of its rules."""
    for price in prices:
        catalog = price["catalog"]
        if catalog == "anthropic":
            return Speaks.ANTHROPIC
        if catalog == "google":
            return Speaks.GOOGLE
        if catalog in OPENAI_LIKE:
            return Speaks.OPENAI
    return Speaks.PROBLEM


__all__ = ["CATALOG_CURRENCY", "Compiled", "catalog_ids", "compile_rules", "path_text"]
