"""The grammar of rules.yaml: which keys there are, what they mean, which values they take.

The models check shapes only; what the values mean together (names that refer to each other, unreachable rules, missing
exchange rates) is decided by core/rules.py. The descriptions below are what an editor shows: `json_schema()` is the
same grammar as JSON Schema (draft 2020-12) for the yaml-language-server.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, GetJsonSchemaHandler
from pydantic_core import core_schema

from proxy.rules_grammar import Model, key, must
from proxy.rules_schema_admin import AdminSpec
from proxy.rules_schema_alerts import AlertChannel
from proxy.rules_schema_emergency import EmergencySpec
from proxy.rules_schema_fixed import FixedCostSpec
from proxy.rules_schema_guards import Breaker, Waits
from proxy.rules_schema_handling import Cache, Retry, Rung
from proxy.rules_schema_optimize import OfferSpec
from proxy.rules_schema_services import ServiceSpec
from proxy.rules_schema_watch import WatchSpec
from proxy.rules_terms import (
    Clock,
    Day,
    Duration,
    FieldTestSpec,
    PeriodText,
    Seconds,
    Statuses,
    rounding_text,
)
from proxy.rules_values import (
    Amount,
    Currency,
    Date,
    EnvironmentName,
    Flag,
    HeaderName,
    Leaf,
    Many,
    Method,
    Name,
    Percent,
    PositiveNumber,
    RuleReference,
    SecretReference,
    SecretText,
    Text,
    Timezone,
    TrueOnly,
    Vat,
    Whole,
    choice,
    wrong,
)

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Priority = Annotated[str, choice("essential", "important", "optional")]
EstimateWord = Annotated[str, choice("worst_case", "learned")]
ExhaustedWord = Annotated[str, choice("finish", "truncate")]


# --- parts that occur in several places ---------------------------------------------------------------------------


class CallBounds(Model):
    """What a call may become at worst, and what happens when its reservation is used up."""

    priority: Priority = key("How much these calls matter when money is short: only `essential` passes `restrict`.")
    estimate: EstimateWord = key(
        "How much is reserved before a call: `worst_case` (never overspends) or `learned` (the 99th percentile of what "
        "such calls did cost)."
    )
    on_exhausted: ExhaustedWord = key(
        "When a stream's reservation can grow no more: `finish` the answer, or `truncate` it cleanly."
    )
    max_output_tokens: Whole = key("Output tokens assumed where the request names no limit of its own.")
    max_input_tokens: Whole = key("The most input tokens ever assumed; without it the model's context window.")
    max_seconds: Seconds = key('The longest call assumed, for prices by the second: 300 or "5m".')
    max_messages: Whole = key("Messages each way that a WebSocket reserves for at first, for prices by message.")
    max_kb: Whole = key("The largest body assumed, in KB of 1024 bytes, for prices by size.")
    retry: Retry = key("When and how often a call that failed is made again.")
    charge_on: Statuses = key("Response statuses that are charged: 2xx (default), 200, 200-299, [2xx, 404] or any.")


class Timeouts(Model):
    connect_timeout: Duration = key("How long a connection to the API may take (default 10s).")
    read_timeout: Duration = key("The longest silence while waiting for the API's next byte (default 300s).")
    total_timeout: Duration = key("How long a whole call may take; without it there is no limit.")


class Interception(Model):
    """How calls inside HTTPS are seen, and whom the API's own certificate must come from."""

    intercept: Flag = key(
        "Open HTTPS connections to this API's hosts that come through HTTPS_PROXY, so that each call inside is priced. "
        "Programs must trust the local certificate authority (`spendgate ca`)."
    )
    on_pinned: Annotated[str, choice("refuse", "tunnel")] = key(
        "A program that does not accept our certificate, or insists on HTTP/2: refuse (default), or let its next "
        "connections pass unseen as tunnels, at this API's price for tunnels."
    )
    upstream_ca: Text = key("File with the certificates that the API's own may come from, instead of the system's.")
    upstream_pin: Annotated[list[Text], Many()] = key(
        "Keys that the API's certificate may have: sha256/BASE64 of its public key (SPKI). Beside the usual checks."
    )


class BudgetTerms(Model):
    """A limit on the money spent in a calendar period."""

    limit: Amount = must("The most that may be spent in a period, in the budget's currency.")
    currency: Currency = key("The currency of the limit; without it that of the file.")
    period: PeriodText = key('hour, day, week (from Monday), month (default), year, or "30 days".')
    timezone: Timezone = key("Time zone whose calendar the periods follow; without it that of the file.")
    warn: Annotated[list[Percent], Many()] = key("Percents of the limit that are reported (default [70, 80, 90]).")
    restrict: Percent = key("From this percent on only essential calls pass (default 95).")
    stop: Percent = key("From this percent on nothing that costs money passes (default 100).")


class AppliesTo(Model):
    """What a budget counts. Several keys together must all hold; without any it counts every call."""

    api: Name = key("Name of an API.")
    rule: RuleReference = key("A rule: `api/rule-name`, or the name alone beside `api`.")
    caller: Name = key("Name of a caller.")


class Budget(BudgetTerms):
    """A budget of its own name."""

    name: Name = must("Name of the budget, unique in the file.")
    applies_to: AppliesTo = key("Counts only the calls of this API, rule or caller; without it all calls.")


class Caller(Waits):
    """A program with a virtual key: it never holds the real one."""

    name: Name = must("Name of the caller, unique in the file.")
    key_env: EnvironmentName = key("Environment variable that holds the caller's virtual key.")
    secret: SecretReference = key(
        'The same as a reference: "${BATCH_KEY}". Keys never stand in this file.', alias="key"
    )
    budget: BudgetTerms = key("What this caller may spend.")


# --- what a call must look like -------------------------------------------------------------------------------------


class MatchTests(Model):
    """What a call must look like for the rule to hold. All tests given must hold; without any every call fits."""

    method: Annotated[list[Method], Many()] = key("Request method, or a list of them.")
    host: Annotated[list[Text], Many()] = key('Host name: exact, with `*`, or "~regex". For APIs of several hosts.')
    path: Annotated[list[Text], Many()] = key(
        "Path without query: a glob (`*` inside a segment, `**` across segments, `*` at the end for all that follows) "
        'or a regular expression "~^/v1/(chat|responses)".',
        examples=["/v1/models*", "/v2/local/**", "~^/v1/(chat|responses)"],
    )
    header: dict[HeaderName, FieldTestSpec] = key("Tests on request headers, by name.")
    query: dict[str, FieldTestSpec] = key("Tests on query parameters, by name.")
    websocket: Flag = key(
        "true: only WebSockets; false: none. Without it, prices that can follow a conversation hold for both."
    )
    json_: dict[str, FieldTestSpec] = key("Tests on the JSON body, by JMESPath: {model: ~^gpt-4}.", alias="json")


# --- what it costs ---------------------------------------------------------------------------------------------------


class PerUnit(Model):
    """A price for each of something that an expression counts."""

    price: Amount = key("Price of one unit. Left out where `tiers` give the price.")
    count: Text = must(
        "Expression that counts the units, over request, query, request_headers, response, status, bytes_up, "
        "bytes_down and seconds. Functions: length, count, ceil, floor, round, int, abs, min, max, sum.",
        examples=["length(request.to) * ceil(len(request.text) / 70)", "request.n"],
    )
    max_count: Amount = key("The most units a call can have; needed where the count depends on the response.")


class PerKb(Model):
    """Prices by size, per 1024 bytes."""

    up: Amount = key("Per KB sent to the API.")
    down: Amount = key("Per KB received from it.")


class PerMessage(Model):
    """Prices of a WebSocket by message, however long; pings, pongs and closes are none."""

    up: Amount = key("Per message sent to the API.")
    down: Amount = key("Per message received from it.")


class Tokens(Model):
    """Prices of a language model per one million tokens (image: per image)."""

    input: Amount = key("Input tokens.")
    cached_input: Amount = key("Input tokens read from the provider's cache (default: as input).")
    cache_write: Amount = key("Input tokens written to the provider's cache (default: as input).")
    output: Amount = key("Output tokens.")
    reasoning: Amount = key("Reasoning tokens (default: as output).")
    image: Amount = key("Images, each.")
    audio: Amount = key("Audio tokens in (default: as input).")
    audio_output: Amount = key("Audio tokens out (default: as output).")


class FreeTier(Model):
    """Free calls or units at the beginning of each period."""

    requests: PositiveNumber = key("So many calls are free.")
    units: PositiveNumber = key("So many units of `per_unit` are free.")
    per: PeriodText = must("The period after which it begins anew: day, month, ...")


class TierStep(Model):
    """One step of a tiered price."""

    up_to: PositiveNumber = key("The step ends with this unit of the period; the last step has no end.")
    price: Amount = must("Price of one request or unit in this step.")


class Tiers(Model):
    """Prices that depend on how much was used in the period."""

    mode: Annotated[str, choice("graduated", "volume")] = key(
        "graduated (default): each unit at the price of its own step; volume: all at the price of the step reached."
    )
    of: Annotated[str, choice("requests", "units")] = key(
        "What is counted (default: units beside per_unit, else requests)."
    )
    per: PeriodText = must("The period after which counting begins anew.")
    steps: list[TierStep] = must("The steps, cheapest quantity first.", min_length=1)


class Rounding(Model):
    """Rounds the price of a call."""

    to: PositiveNumber = must("To a multiple of this.")
    mode: Annotated[str, choice("up", "half_up", "down")] = key("up, half_up (default) or down.")


class _OrText:
    """A mapping that may also be written as one text."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        text = {"type": "string", "pattern": "^((up|half_up|down) )?to [0-9.]+$", "examples": ["up to 0.01"]}
        return {"anyOf": [handler(schema), text]}


class TimeOfDay(Model):
    """A price that differs at some times of the day."""

    days: Annotated[list[Day], Many()] = key("mon to sun, weekdays, weekends (default: every day).")
    start: Clock = key('Local time from which it holds, such as "22:00" (default: midnight).', alias="from")
    end: Clock = key("Local time at which it ends; earlier than `from` means over midnight.", alias="to")
    multiplier: Amount = must("The price is multiplied by this: 0.5 is half price.")


class Price(CallBounds, Waits):
    """One rule: the calls it holds for, and what they cost. The first rule that fits wins."""

    name: Name = key("Name of the rule, for the ledger and for budgets; without it its number.")
    match: MatchTests = key("What a call must look like; without it every call of the API.")
    free: TrueOnly = key("These calls cost nothing and pass at every budget level.")
    per_request: Amount = key("Price of a call.")
    per_unit: Annotated[list[PerUnit], Many()] = key("Price for each of something counted by an expression.")
    per_kb: PerKb = key("Price by size.")
    per_second: Amount = key("Price of a second.")
    per_minute: Amount = key("Price of a minute; each minute begun counts.")
    per_connection: Amount = key("Price of a tunnel (CONNECT) or a WebSocket.")
    per_message: PerMessage = key("Price of a WebSocket by message. Such a rule holds for WebSockets alone.")
    tokens: Tokens = key("Prices per one million tokens.")
    catalog: Text = key(
        "The model's price from the maintained catalogue, by provider: openai, anthropic, google, aws ..."
    )
    free_tier: FreeTier = key("Free calls or units each period.")
    tiers: Tiers = key("Prices that fall (or rise) with the quantity of the period.")
    minimum: Amount = key("The least that a charged call costs.")
    rounding: Annotated[Rounding, BeforeValidator(rounding_text), _OrText()] = key(
        'Rounding of a call\'s price: "up to 0.01", or {to: 0.01, mode: up}.'
    )
    times: Annotated[list[TimeOfDay], Many()] = key("Other prices at some times of the day.")
    currency: Currency = key("Currency of this price; without it that of the file (of `catalog`: USD).")
    vat: Vat = key("Value-added tax on top: 0.1 or 10%.")
    budget: BudgetTerms = key("A budget for the calls of this rule alone.")
    cache: Cache = key("Keep answers and give them again to the same question.")
    degrade: Annotated[list[Rung], Many()] = key("What calls become when the budget nears its end, rung by rung.")
    breaker: Breaker = key("A circuit breaker for the calls of this rule alone.")


# --- the API ---------------------------------------------------------------------------------------------------------


class Credentials(Model):
    """A header that the proxy sets; the program's own is dropped."""

    header: HeaderName = must("Name of the header.")
    value: SecretText = must("Its value, with environment variables as ${NAME}.")


class Api(CallBounds, Timeouts, Interception, Waits):
    """A paid API."""

    name: Name = must("Name of the API, unique in the file.")
    upstream: Text = must("Address of the API: https://api.example.com, with a path if all its paths begin so.")
    hosts: Annotated[list[Text], Many()] = key(
        "Host names under which programs call it through HTTP_PROXY: api.example.com, *.example.com, host:8443."
    )
    mount: Text = key("First part of the path for programs that call the proxy itself (default: the name).")
    credentials: Annotated[list[Credentials], Many()] = key("Headers with the real key, set on the way out.")
    speaks: Annotated[str, choice("problem", "openai", "anthropic", "google")] = key(
        "Shape of refusals, so that the API's SDK understands them (default: by catalogue)."
    )
    budget: BudgetTerms = key("A budget for this API alone.")
    prices: list[Price] = must("The rules, first match wins.", min_length=1)
    breaker: Breaker = key("Stops calling the API for a while when it fails.")
    upstream_limits: Annotated[str, choice("obey", "ignore")] = key(
        "When the API says how long to wait (Retry-After, its own rate-limit headers): obey (default; nobody calls it "
        "until then) or ignore."
    )


# --- the file -------------------------------------------------------------------------------------------------------


class DatedRate(Model):
    """An exchange rate from a day on."""

    since: Date = must("First day, such as 2026-01-01.")
    rate: PositiveNumber = must("What one unit of the currency is worth in the file's currency.")


UNDATED = "0001-01-01"


def _rates(value: Any) -> Any:
    return value if isinstance(value, list) else [{"since": UNDATED, "rate": value}]


class _OrRate:
    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rate = {"type": ["number", "string"], "exclusiveMinimum": 0, "examples": [1390]}
        return {"anyOf": [rate, handler(schema)]}


Rates = Annotated[list[DatedRate], BeforeValidator(_rates), _OrRate()]


class Defaults(CallBounds, Timeouts):
    """What holds for every API and rule that says nothing else."""

    unknown: Annotated[str, choice("deny", "observe")] = key(
        "Calls that no rule prices: deny (default, 403), or observe (let them pass, recorded as unpriced)."
    )
    on_store_error: Annotated[str, choice("deny", "essential_only", "allow")] = key(
        "When Redis is away: deny (default). The other policies need the journal, which is not there yet."
    )
    vat: Vat = key("Value-added tax on top of every price: 0.1 or 10%.")
    require_caller: Flag = key("Must every call bring a caller's key? True as soon as callers are declared.")


def _version(value: Any) -> int:
    if value != 1 or isinstance(value, bool):
        raise wrong("bad_version", value)
    return 1


class RulesFile(Model):
    """Prices, budgets and policies of spendgate."""

    version: Annotated[int, Leaf(_version, {"const": 1})] = must("Version of this grammar: 1.")
    currency: Currency = key("Currency of the ledger and of everything that names no other (default KRW).")
    timezone: Timezone = key("Time zone of calendars and clocks (default Asia/Seoul).")
    language: Annotated[str, choice("en", "ko")] = key("Language of refusals and messages (default en).")
    fx: dict[Currency, Rates] = key("What one unit of another currency is worth: {USD: 1390}, or dated rates.")
    vat: Vat = key("Value-added tax on top of every price: 0.1 or 10%.")
    defaults: Defaults = key("What holds where an API or a rule says nothing else.")
    budgets: list[Budget] = key("Limits over calendar periods; every call counts for all that apply to it.")
    callers: list[Caller] = key("Programs with virtual keys.")
    apis: list[Api] = key("The paid APIs.")
    admin: AdminSpec = key("Who may use the admin port.")
    services: list[ServiceSpec] = key("What stops when the money is short, and how.")
    alerts: list[AlertChannel] = key("Who is told what happens to the money, where and when.")
    emergency: EmergencySpec = key("What counts as an incident, and what is proposed or done about it.")
    watch: WatchSpec = key("When fast or unusual spending is told.")
    fixed_costs: list[FixedCostSpec] = key("What is paid without a call: rent that accrues by the hour.")
    optimize: list[OfferSpec] = key("Subscriptions that recommendations compare with what calls cost.")


def plain(value: Any) -> Any:
    """Validated models as plain dicts under the keys of the file; what was left out is None."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {field.alias or name: plain(getattr(value, name)) for name, field in fields.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the mapping at a path of the file may have; () where any key may stand."""
    model: Any = RulesFile
    for part in path:
        if isinstance(part, int):
            continue
        field = _fields(model).get(part) if _is_model(model) else None
        if field is None:
            return ()
        model = _inner_model(field.annotation)
    return tuple(_fields(model)) if _is_model(model) else ()


def _is_model(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _inner_model(annotation: Any) -> Any:
    for argument in (annotation, *getattr(annotation, "__args__", ())):
        if _is_model(argument):
            return argument
    return None


def json_schema() -> dict[str, Any]:
    """The grammar as JSON Schema, draft 2020-12."""
    schema = RulesFile.model_json_schema(mode="validation")
    _tidy(schema)
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "spendgate rules.yaml",
        **{k: v for k, v in schema.items() if k != "title"},
    }


def _tidy(schema: Any) -> None:
    """Drop what helps no reader: generated titles, and the null default of keys that may be left out."""
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if schema.get("default", 0) is None:
            del schema["default"]
        for item in schema.values():
            _tidy(item)
