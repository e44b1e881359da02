"""What a rule asks beside counting: keep answers, try again, step down near the budget's end. Frozen values.

A rule that asks for none of these has `Rule.handling` None, and the request path asks nothing else about it.
Units as in core/model.py: ``*_ms`` milliseconds, ``*_s`` seconds, ``*_bp`` basis points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

# Request headers that choose between answers where the rule names none: formats, versions, and who is billed.
USUAL_VARY = (
    *("accept", "accept-language", "anthropic-beta", "anthropic-version", "openai-beta"),
    *("openai-organization", "openai-project", "x-goog-user-project"),
)


MAX_BYTES = 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024
WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Keep answers for `ttl_ms`, and `stale_ms` longer for when there is nothing better.

    vary: lower-case request headers that belong to the key. shared: one answer for all callers. obey: what the API says
    in Cache-Control, Expires and Vary holds. wait_ms: how long an identical call waits for one that is under way.
    """

    ttl_ms: int
    stale_ms: int = 0
    vary: tuple[str, ...] = USUAL_VARY
    shared: bool = False
    obey: bool = True
    max_bytes: int = MAX_BYTES  # of one answer's body
    max_total: int = MAX_TOTAL  # of all answers of the rule
    wait_ms: int = round(WAIT_S * 1000)


@dataclass(frozen=True, slots=True)
class StatusSet:
    """Which statuses of an API are charged, or counted as failures."""

    ranges: tuple[tuple[int, int], ...] = ((200, 299),)  # inclusive

    def __contains__(self, status: int) -> bool:
        for low, high in self.ranges:  # noqa: SIM110 - a generator costs more than all the rest
            if low <= status <= high:
                return True
        return False


USUALLY_CHARGED = StatusSet()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Make a failed call again, at most so often that there are `attempts` in all.

    statuses, connect, timeout: which failures. repeatable: the rule says that nothing is done twice by it. budget_bp:
    share of an API's calls that repeats may be.
    """

    attempts: int = 3
    statuses: StatusSet = StatusSet(((429, 429), (500, 599)))
    connect: bool = True
    timeout: bool = True
    backoff_ms: int = 200
    max_backoff_ms: int = 5000
    budget_bp: int = 1000
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Upstream:
    """Another place to which calls are sent. credentials: (header, value); the caller's keys do not go there."""

    scheme: str
    host: str
    port: int
    base_path: str
    credentials: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    catalog: str | None = None  # whose prices hold there; None = those of the rule
    per_request: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """What changes once the tightest budget is used up to `at_bp`. sets: (keys to a field, value) of the JSON body."""

    at_bp: int
    sets: tuple[tuple[tuple[str, ...], str | int | bool], ...] = ()
    serve_stale: bool = False
    upstream: Upstream | None = None


@dataclass(frozen=True, slots=True)
class Handling:
    """Everything that a rule asks beside counting. ladder: its rungs, the lowest first.

    forgets: answers of the API are kept that calls of this rule may make untrue.
    """

    cache: CachePolicy | None = None
    retry: RetryPolicy | None = None
    ladder: tuple[Rung, ...] = ()
    forgets: bool = False
