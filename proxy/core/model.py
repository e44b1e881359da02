"""The values that walk down the page.

Everything here is a frozen value: rules as compiled, one call as seen, what it may cost, what it did cost,
and the answer of the one question asked of Redis. No behaviour beyond trivial accessors, no clock, no I/O.

Rules are frozen dataclasses. What is made anew for every call is a frozen `msgspec.Struct`, which takes a tenth of the
time to make; change one with `msgspec.structs.replace`.

Units: ``*_atoms`` are integers (see core/money.py), ``*_ms`` are Unix milliseconds, ``*_s`` are seconds,
``*_bp`` are basis points (7000 = 70 %).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from proxy.core.admin_model import ADMIN_OF_NOBODY, Admin
from proxy.core.alert_model import LOG_CHANNEL, Channel
from proxy.core.emergency_model import EMERGENCY_BY_DEFAULT, Emergency
from proxy.core.fixed_model import FixedCost
from proxy.core.guards import NO_GUARDS, Breaker, Guards, Limited, Pressed
from proxy.core.handling_model import USUALLY_CHARGED, Handling
from proxy.core.handling_model import StatusSet as StatusSet
from proxy.core.optimize_model import Offer
from proxy.core.services_model import Service
from proxy.core.watch_model import WATCH_BY_DEFAULT, Watch


class Priority(StrEnum):
    """How much a call matters when the money is short: only ESSENTIAL passes the restrict threshold."""

    ESSENTIAL = "essential"
    IMPORTANT = "important"
    OPTIONAL = "optional"


class Reason(StrEnum):
    """Why a call was refused; the ``reason`` member of every refusal body."""

    BUDGET_RESTRICTED = "budget_restricted"
    BUDGET_INSUFFICIENT = "budget_insufficient"
    BUDGET_STOPPED = "budget_stopped"
    BUDGET_BUSY = "budget_busy"
    SERVICE_STOPPED = "service_stopped"
    RATE_LIMITED = "rate_limited"
    CIRCUIT_OPEN = "circuit_open"
    NO_RULE = "no_rule"
    UNKNOWN_CALLER = "unknown_caller"
    STORE_UNAVAILABLE = "store_unavailable"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    NOT_KEPT = "not_kept"
    BAD_REQUEST = "bad_request"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TOO_LARGE = "body_too_large"


class State(StrEnum):
    """How sure the ledger is of an entry's cost."""

    SETTLED = "settled"  # priced from what really happened
    ESTIMATED = "estimated"  # the call ended, its usage was not told; the estimate stands
    UNCONFIRMED = "unconfirmed"  # the proxy died during the call; charged at the estimate
    UNPRICED = "unpriced"  # passed without a price: no rule (observe) or the catalogue knows none


class Speaks(StrEnum):
    """Error shape of an API, so that its SDK raises a clean error."""

    PROBLEM = "problem"  # RFC 9457 only
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"


class EstimateMode(StrEnum):
    WORST_CASE = "worst_case"
    LEARNED = "learned"


class OnExhausted(StrEnum):
    FINISH = "finish"
    TRUNCATE = "truncate"


class Policy(StrEnum):
    DENY = "deny"
    OBSERVE = "observe"


# --- the call ---------------------------------------------------------------------------------------------------


class Outbound(msgspec.Struct, frozen=True, gc=False):
    """One call that a program wants to make, whichever way it came in.

    host: lower-case name of the API (the upstream's in reverse mode), no port. path: as received, percent-encoded,
    without the mount. query: raw, without "?". headers: (lower-case name, value) in order, repeated ones kept.
    body: the whole body when it is small enough to have been read before admission, else None.
    body_size: its length in bytes when known (Content-Length), else None.
    """

    method: str
    scheme: str  # "http" | "https" | "connect"
    host: str
    port: int
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    body_size: int | None = None
    websocket: bool = False  # wants to become a WebSocket

    def query_value(self, name: str) -> str | None:
        """First value of a query parameter that is not empty."""
        return next((value for key, value in parse_qsl(self.query) if key == name), None) if self.query else None

    def header(self, name: str) -> str | None:
        """First value of a header by lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a virtual key's name, or "anonymous" where keys are not required."""

    name: str = "anonymous"
    key: str | None = field(default=None, repr=False)  # the secret, from the environment
    limited: Limited | None = None


# --- rules, as compiled from rules.yaml --------------------------------------------------------------------------


class PeriodUnit(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # Monday to Sunday (ISO 8601)
    MONTH = "month"
    YEAR = "year"
    DAYS = "days"  # N days, counted from 1970-01-01 local


@dataclass(frozen=True, slots=True)
class Period:
    unit: PeriodUnit
    count: int = 1  # only DAYS uses more than 1


@dataclass(frozen=True, slots=True)
class Window:
    """One concrete period: label is human and sorts ("2026-11", "2026-11-23", "2026-11-23T09+0900", "2026-W48")."""

    label: str
    start_ms: int  # inclusive
    end_ms: int  # exclusive: the reset instant


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit over a calendar period; api/rule/caller None means any (a global budget has all three None)."""

    name: str
    limit_atoms: int
    currency: str
    period: Period
    timezone: str  # IANA name
    warn_bp: tuple[int, ...] = (7000, 8000, 9000)
    restrict_bp: int = 9500
    stop_bp: int = 10000
    api: str | None = None
    rule: str | None = None
    caller: str | None = None

    def thresholds_bp(self) -> tuple[int, ...]:
        return tuple(sorted({*self.warn_bp, self.restrict_bp, self.stop_bp}))


@dataclass(frozen=True, slots=True)
class FieldTest:
    """One test on a value. Exactly one of equals / pattern / present is set; equals compares text forms."""

    name: str  # header name, query name, or a JMESPath expression into the JSON body
    equals: tuple[str, ...] | None = None  # any of these
    pattern: re.Pattern[str] | None = None
    present: bool | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """All set tests must hold. Empty match = every call of the API."""

    methods: frozenset[str] | None = None
    hosts: tuple[re.Pattern[str], ...] | None = None
    paths: tuple[re.Pattern[str], ...] | None = None  # compiled from globs and ~regexes; tested on the normal path
    headers: tuple[FieldTest, ...] = ()
    query: tuple[FieldTest, ...] = ()
    json: tuple[FieldTest, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Explicit LLM prices per one million tokens (image: per image) in the price's currency; None = not sold."""

    input: Decimal | None = None
    cached_input: Decimal | None = None  # defaults to input
    cache_write: Decimal | None = None  # defaults to input
    output: Decimal | None = None
    reasoning: Decimal | None = None  # defaults to output
    image: Decimal | None = None
    audio: Decimal | None = None  # audio tokens in; defaults to input
    audio_output: Decimal | None = None  # defaults to output


@dataclass(frozen=True, slots=True)
class PerUnit:
    price: Decimal
    count: str  # expression text, e.g. "length(request.to) * ceil(len(request.text) / 70)"
    program: Any = None  # compiled by core/expression.py; opaque to everybody else
    max_count: Decimal | None = None  # worst case when the count needs the response


@dataclass(frozen=True, slots=True)
class PerKb:
    """Per 1024 bytes of body (tunnel: of stream), up = towards the API."""

    up: Decimal = Decimal(0)
    down: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class PerMessage:
    """Per message of a WebSocket, up = towards the API. Control frames are no messages."""

    up: Decimal = Decimal(0)
    down: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class TierStep:
    up_to: Decimal | None  # cumulative units, inclusive; None = beyond
    price: Decimal  # per unit


@dataclass(frozen=True, slots=True)
class Tiers:
    """Unit prices that depend on how much was used this period, over requests or over `per_unit` counts."""

    mode: str  # "graduated" (each unit at its own step) | "volume" (all units at the step reached)
    of: str  # "requests" | "units"
    period: Period
    steps: tuple[TierStep, ...]


@dataclass(frozen=True, slots=True)
class FreeTier:
    amount: Decimal
    of: str  # "requests" | "units"
    period: Period


@dataclass(frozen=True, slots=True)
class Rounding:
    """Round the call's price (before conversion) to a multiple of `to`: mode "up" | "half_up" | "down"."""

    to: Decimal
    mode: str = "half_up"


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A price that holds at some local times: multiplies the call's price, or replaces per_request."""

    days: frozenset[int]  # 0 = Monday
    start_minute: int  # inclusive, minutes since local midnight
    end_minute: int  # exclusive; smaller than start = over midnight
    multiplier: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """What a matching call costs: the sum of its parts, in `currency`."""

    currency: str
    free: bool = False
    catalog: str | None = None  # provider id of the price catalogue
    tokens: TokenPrices | None = None
    per_request: Decimal | None = None
    per_unit: tuple[PerUnit, ...] = ()
    per_kb: PerKb | None = None
    per_second: Decimal | None = None
    per_connection: Decimal | None = None  # CONNECT tunnels and WebSockets
    free_tier: FreeTier | None = None
    tiers: Tiers | None = None
    minimum: Decimal | None = None
    rounding: Rounding | None = None
    vat: Decimal | None = None  # 0.1 = 10 % added
    times: tuple[TimeOfDay, ...] = ()
    charge_on: StatusSet = USUALLY_CHARGED
    per_message: PerMessage | None = None
    per_minute: Decimal | None = None  # each minute begun


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry under an API's `prices`. id is stable and human: "openai/models" or "openai/2"."""

    id: str
    api: str
    match: Match
    price: Price
    priority: Priority
    estimate: EstimateMode
    on_exhausted: OnExhausted
    max_output_tokens: int  # worst case when the request names no bound of its own
    max_input_tokens: int | None  # cap of the worst case; None = the model's context window
    max_seconds: int  # worst case for per_second, and for a tunnel's length
    max_kb: int  # worst case for per_kb when the size is unknown
    where: str  # "rules.yaml:31"
    needs_body: bool  # match, estimate or price look into the request body
    needs_response: bool  # the actual price looks into the response body
    max_messages: int = 100  # worst case for per_message, each way, before the reservation grows
    for_calls: bool = True  # may hold for ordinary requests and tunnels
    for_websockets: bool = False  # may hold for WebSockets
    handling: Handling | None = None  # None: these calls are counted, and nothing else
    limited: Limited | None = None
    breaker: Breaker | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """A header that the proxy sets on the way out; the program's own value is dropped."""

    header: str
    value: str = field(repr=False)


class OnPinned(StrEnum):
    """What becomes of a program that cannot be intercepted."""

    REFUSE = "refuse"
    TUNNEL = "tunnel"  # its next connections pass unseen, at the price of a tunnel


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom an API's certificate must come from. ca: PEM text, None: the system's store. pins: of keys."""

    ca: str | None = None
    pins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Api:
    name: str
    scheme: str  # of the upstream: "http" | "https"
    host: str
    port: int
    base_path: str  # upstream's path prefix without trailing slash, "" if none
    hosts: tuple[str, ...]  # forward-mode names, exact or "*.example.com"
    mount: str  # reverse mount without slashes, defaults to the name
    credentials: tuple[Credentials, ...]
    speaks: Speaks
    rules: tuple[Rule, ...]
    connect_timeout_s: float
    read_timeout_s: float  # longest silence while waiting for the next byte
    total_timeout_s: float | None
    intercept: bool = False  # HTTPS to its hosts through the proxy is opened, and each call inside is priced
    on_pinned: OnPinned = OnPinned.REFUSE
    trust: Trust | None = None  # None: the system's store, any key
    limited: Limited | None = None
    breaker: Breaker | None = None
    obey: bool = True  # pauses that the API asks for (Retry-After, its rate-limit headers) hold for everybody


@dataclass(frozen=True, slots=True)
class FxRate:
    """1 unit of `currency` = `rate` units of the rule file's currency from `since` (ISO date, local) on."""

    currency: str
    rate: Decimal
    since: str  # "0001-01-01" for an undated rate


@dataclass(frozen=True, slots=True)
class RuleSet:
    """rules.yaml, whole and checked. Requests in flight keep the one they began with."""

    currency: str
    timezone: str
    language: str  # "ko" | "en"
    fx: tuple[FxRate, ...]
    unknown: Policy
    on_store_error: str  # "deny"; the other policies are refused by `check` until there is a journal
    budgets: tuple[Budget, ...]
    callers: tuple[Caller, ...]
    require_caller: bool  # true as soon as callers are declared, unless switched off
    apis: tuple[Api, ...]
    source: str  # file name for messages
    digest: str  # sha256 of the text, first 12 hex digits
    admin: Admin = ADMIN_OF_NOBODY
    services: tuple[Service, ...] = ()
    fixed_costs: tuple[FixedCost, ...] = ()
    offers: tuple[Offer, ...] = ()
    limit_currencies: tuple[str, ...] = ()  # of cost limits
    channels: tuple[Channel, ...] = (LOG_CHANNEL,)  # where alerts go
    emergency: Emergency = EMERGENCY_BY_DEFAULT  # what is done about incidents
    watch: Watch = WATCH_BY_DEFAULT  # when fast or unusual spending is told


# --- money of one call --------------------------------------------------------------------------------------------


class Term(msgspec.Struct, frozen=True, gc=False):
    """One line of the sum, in the price's own currency: amount = quantity * unit_price."""

    name: str  # "input_tokens", "per_request", "vat", ...
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


class Cost(msgspec.Struct, frozen=True, gc=False):
    """An exact amount in the price's currency, and what it counts for in atoms of each currency asked for."""

    original: Decimal
    original_currency: str
    atoms: Mapping[str, int]  # {"KRW": 1500250000}; always has the rule set's currency
    fx_rate: Decimal | None = None  # None when no conversion was needed
    fx_date: str | None = None
    terms: tuple[Term, ...] = ()
    # The terms as the ledger's JSON, or how to write it, where they are not made as values.
    said: str | Callable[[], str] = ""


class QuotaStep(msgspec.Struct, frozen=True, gc=False):
    """Estimate that holds when a call's first unit has this position (0-based) or later."""

    from_position: int  # in thousandths of a unit
    cost: Cost


class Quota(msgspec.Struct, frozen=True, gc=False):
    """A per-period counter that a free tier or tiers need. The admission script draws the call's position from it."""

    name: str  # rule id
    period: Period
    units: int  # drawn at admission, in thousandths of a unit (1 request = 1000)
    steps: tuple[QuotaStep, ...]  # ascending; the script reserves the cost of the last step reached


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """What a call may cost at most (worst case) or very probably (learned), rounded up."""

    cost: Cost
    basis: str  # "free" | "exact" | "worst_case" | "learned"
    model: str | None = None
    usage: Mapping[str, int] = msgspec.field(
        default_factory=dict
    )  # assumed, e.g. {"input_tokens": 120, "output_tokens": 64}
    quota: Quota | None = None
    bounded: bool = False  # the request bounds its own answer: a stream of it never needs more than this
    problem: str | None = None  # "unpriced_model" when the catalogue has no price: nothing is reserved but counted


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What the meter learned from one exchange. Token counts follow the catalogue's names (input_tokens, ...)."""

    status: int | None = None  # None: no response head arrived
    model: str | None = None
    counts: Mapping[str, int] = msgspec.field(default_factory=dict)
    reported_cost: Decimal | None = None  # the provider's own figure in USD (OpenRouter, x-ai, Perplexity), if any
    found: bool = False  # a usage block was seen
    complete: bool = True  # False: the answer was cut before its end
    streamed: bool = False
    tokens_seen: int = 0  # running count of output tokens of an unfinished stream
    bytes_up: int = 0
    bytes_down: int = 0
    messages_up: int = 0  # of a WebSocket
    messages_down: int = 0
    seconds: Decimal = Decimal(0)
    sent: bool = False  # at least the request head left for the API: it may have been billed
    response: Any = None  # decoded JSON body, when the rule needs it and it was whole
    service_tier: str | None = None
    detail: str | None = None  # why no usage was found, for the log


class Extra(msgspec.Struct, frozen=True, gc=False):
    """What the ledger keeps of a call beside its price, where its rule asks for more than counting.

    saved_atoms: what was not spent because an answer was kept, or something cheaper was asked for (ledger's currency).
    """

    saved_atoms: int = 0
    asked_atoms: int | None = None  # what the call as it was asked for would have cost
    degraded: str = ""  # what a rung of the rule's ladder changed: "at=80; set=model"
    attempts: tuple[tuple[int | None, Decimal, int], ...] = ()  # status, seconds, atoms of the ledger's currency


class Bill(msgspec.Struct, frozen=True, gc=False):
    """The actual price of a finished call."""

    cost: Cost
    state: State
    usage: Mapping[str, int]
    quota_units: int | None = None  # actual draw in thousandths, None = as estimated
    note: str | None = None  # "usage_missing", "unpriced_model", ... ; counted and logged
    extra: Extra | None = None
    question: str = ""  # digest of what was asked (core/question.py): equal ones were the same question


# --- the one question, and its answer ------------------------------------------------------------------------------


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Everything the admission script needs. `budgets` is the chain, `estimate` is rounded up."""

    id: str
    at_ms: int  # the proxy's idea of Redis's clock
    api: str
    rule: str
    caller: str
    method: str
    path: str
    priority: Priority
    budgets: tuple[Budget, ...]
    estimate: Estimate
    currency: str  # of the ledger
    timezone: str
    free: bool = False
    guards: Guards = NO_GUARDS  # rate limits and circuit breakers

    @property
    def holds(self) -> bool:
        """Whether the call holds anything while it runs, so that it must be released."""
        return not self.free or self.guards.holds


class Level(msgspec.Struct, frozen=True, gc=False):
    """One budget as the script saw it, after its decision."""

    budget: str
    period: str  # window label
    currency: str
    limit_atoms: int  # the one that holds: with what was added to it for this period
    spent_atoms: int
    reserved_atoms: int
    resets_at_ms: int


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """Permission to call once. Must be settled or voided exactly once; a lease guards it meanwhile."""

    ask: Ask
    now_ms: int  # Redis's clock
    windows: tuple[Window, ...]  # one a budget, in the order of ask.budgets
    reserved: Mapping[str, int]  # atoms by currency, as reserved now
    position: int | None  # quota position drawn, in thousandths
    tightest: Level | None  # the budget with the least left; None when no budget applies
    crossed: tuple[tuple[str, int], ...] = ()  # (budget, threshold bp) newly crossed
    bypassed: bool = False  # emergency bypass: nothing was asked, and the ledger says so
    used: tuple[int, ...] = ()  # of each limit of ask.guards, with this call


class Denied(msgspec.Struct, frozen=True, gc=False):
    """A refusal: a value, never an exception. status is the HTTP status."""

    reason: Reason
    status: int
    level: Level | None = None  # the budget that refused
    estimate_atoms: int | None = None
    retry_after_s: int | None = None
    should_retry: bool = False
    detail: Mapping[str, str] = msgspec.field(default_factory=dict)  # placeholders of the sentence
    until_ms: int | None = None  # when what stopped the call ends by itself, if that is known
    pressed: Pressed | None = None  # the rate limit that refused
    guards: Guards = NO_GUARDS  # of the call, with ...
    used: tuple[int, ...] = ()  # ... how much of each limit is used, where the limits were asked


class Settled(msgspec.Struct, frozen=True, gc=False):
    """Answer of the settlement script. done False: somebody settled this id before; nothing was changed.

    pending: the store is away; the settlement is kept in memory and written when it is back.
    """

    done: bool
    tightest: Level | None
    crossed: tuple[tuple[str, int], ...] = ()
    pending: bool = False
