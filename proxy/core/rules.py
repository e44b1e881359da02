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
from urllib.parse import urlsplit

from proxy.core import money
from proxy.core.model import (
    Api,
    Budget,
    Caller,
    Credentials,
    FxRate,
    OnPinned,
    Period,
    PeriodUnit,
    Policy,
    RuleSet,
    Speaks,
)
from proxy.core.rules_admin import compile_admin
from proxy.core.rules_alerts import compile_channels
from proxy.core.rules_checks import (
    Path,
    Plain,
    Problem,
    name_problems,
    nearest,
    reference_problems,
    rule_id,
    unreachable_problems,
)
from proxy.core.rules_emergency import compile_emergency
from proxy.core.rules_fixed import compile_fixed
from proxy.core.rules_handling import with_forgetting
from proxy.core.rules_https import ReadFile, interception_problems, no_files, trust
from proxy.core.rules_optimize import compile_offers
from proxy.core.rules_prices import RuleCompiler, first
from proxy.core.rules_services import compile_services
from proxy.core.rules_watch import compile_watch

DEFAULT_WARN_BP, DEFAULT_RESTRICT_BP, DEFAULT_STOP_BP = (7000, 8000, 9000), 9500, 10000
# providers whose API answers in OpenAI's way, so that its SDK is the one that reads our refusals
OPENAI_LIKE = frozenset(
    """
    openai azure groq mistral deepseek openrouter together fireworks perplexity x-ai cerebras moonshotai novita
    databricks zai zhipuai minimax ovhcloud baseten avian arcee github-copilot meta
    """.split()  # noqa: SIM905 - reads as a list
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
    read_file: ReadFile = no_files,
) -> Compiled:
    """The rule set of a document, and every problem of it in one go.

    env: variables for `${NAME}` and `key_env`. line_of: the line of a path, for `Rule.where`. read_file: gives the text
    of a file that the rules name (certificates).
    """
    compiler = _Compiler(document, env, source, line_of, read_file)
    compiler.problems += name_problems(document)
    compiler.problems += reference_problems(document)
    rules = compiler.rule_set(digest)
    compiler.problems += unreachable_problems(document)
    failed = any(not problem.warning for problem in compiler.problems)
    return Compiled(None if failed else rules, tuple(compiler.problems))


class _Compiler:
    """Carries the document and collects problems; each method compiles one part."""

    def __init__(
        self,
        document: Plain,
        env: Mapping[str, str],
        source: str,
        line_of: Callable[[Path], int],
        read_file: ReadFile = no_files,
    ) -> None:
        self.read_file = read_file
        self.document = document
        self.defaults: Plain = document["defaults"] or {}
        self.env = env
        self.source = source
        self.line_of = line_of
        self.problems: list[Problem] = []
        self.currency: str = document["currency"] or "KRW"
        self.timezone: str = document["timezone"] or "Asia/Seoul"
        self.budgets: list[Budget] = []
        self.prices = RuleCompiler(document, self.currency, source, line_of)
        self.prices.problems = self.problems  # one list, in the order of the file
        self.prices.place = self.upstream
        self.prices.keys = self.credentials

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
        language = document["language"] or "en"
        names = [budget.name for budget in self.budgets]
        channels = compile_channels(document, names, language, self.variable, self.problems.append)
        required = self.defaults.get("require_caller")
        if required and not callers:
            self.say(("defaults", "require_caller"), "require_without_callers", "declare_callers")
        return RuleSet(
            currency=self.currency,
            timezone=self.timezone,
            language=language,
            fx=fx,
            unknown=Policy(self.defaults.get("unknown") or "deny"),
            on_store_error="deny",
            budgets=tuple(self.budgets),
            callers=callers,
            require_caller=bool(callers) if required is None else required,
            apis=apis,
            source=self.source,
            digest=digest,
            fixed_costs=compile_fixed(
                document,
                self.currency,
                Period(PeriodUnit.MONTH),
                self.prices.convertible,
                self.variable,
                self.problems,
            ),
            services=compile_services(document, self.variable, tuple(b.name for b in self.budgets), self.problems),
            admin=compile_admin(document["admin"], self.variable, self.problems),
            limit_currencies=tuple(self.prices.guards.currencies),
            channels=channels,
            emergency=compile_emergency(document, self.problems),
            watch=compile_watch(document["watch"], self.problems),
            offers=compile_offers(document, self.currency, tuple(rate.currency for rate in fx), self.problems),
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
        self.prices.convertible(place, currency)
        limit = money.to_atoms(terms["limit"], currency)
        if limit > money.LIMIT_ATOMS:
            most = money.format_text(money.LIMIT_ATOMS, currency)
            self.say((*at, "limit"), "limit_large", "limit_form", got=str(terms["limit"]), most=most)
        stop = first(terms["stop"], DEFAULT_STOP_BP)
        restrict = first(terms["restrict"], min(DEFAULT_RESTRICT_BP, stop))
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
            out.append(Caller(name, key, self.prices.guards.limited(at, "caller", name, caller)))
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
        limited = self.prices.guards.limited(at, "api", name, api)
        breaker = self.prices.guards.breaker((*at, "breaker"), name, api["breaker"])
        self.budget((*at, "budget"), api["budget"], f"api:{name}", api=name)
        rules = []
        for number, price in enumerate(api["prices"]):
            place = (*at, "prices", number)
            rule = self.prices.rule(place, number, api, price)
            self.budget((*place, "budget"), price["budget"], f"rule:{rule.id}", api=name, rule=rule.id)
            rules.append(rule)
        total = first(api["total_timeout"], self.defaults.get("total_timeout"))
        self.problems += interception_problems(at, api, scheme, host)
        trusted, problems = trust(at, api, scheme, self.read_file)
        self.problems += problems
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
            rules=with_forgetting(rules),
            connect_timeout_s=first(api["connect_timeout"], self.defaults.get("connect_timeout"), 10.0),
            read_timeout_s=first(api["read_timeout"], self.defaults.get("read_timeout"), 300.0),
            total_timeout_s=total,
            intercept=bool(api["intercept"]),
            on_pinned=OnPinned(api["on_pinned"] or "refuse"),
            trust=trusted,
            limited=limited,
            breaker=breaker,
            obey=api["upstream_limits"] != "ignore",
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


_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_HOST = re.compile(
    r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*\.)*[A-Za-z0-9_-]*\.?(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?", re.ASCII
)


def _port_fits(host: str) -> bool:
    name, _, port = host.rpartition(":")
    return not port.isdigit() or not name or 0 < int(port) < 65536


def _percent(basis_points: int) -> str:
    return money.plain(Decimal(basis_points) / 100) + " %"


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
