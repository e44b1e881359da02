"""What protects an API besides money: rate limits, circuit breakers, and the pauses that the API itself asks for.

The values as compiled from rules.yaml, and what the admission script tells about them. The decisions are the scripts'
(state/lua/admit.lua, settle.lua); the guarantee of the limits is told in docs/limits.md. No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec


class Counts(StrEnum):
    """What a limit counts. The order is that of `amounts` in the scripts; each cost currency comes behind them."""

    REQUESTS = "requests"
    TOKENS = "tokens"  # input and output together
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CONCURRENT = "concurrent"
    COST = "cost"


AMOUNTS: Final = (Counts.REQUESTS, Counts.TOKENS, Counts.INPUT_TOKENS, Counts.OUTPUT_TOKENS, Counts.CONCURRENT)

# Unit of time -> (its length in ms, into how many buckets its window is cut). A window's oldest bucket counts whole
# until all of it is old, so a slot is free again at most one bucket late: 2 % of a second, 1.7 % of a minute or hour.
WINDOWS: Final[dict[str, tuple[int, int]]] = {
    "second": (1000, 50),
    "minute": (60_000, 60),
    "hour": (3_600_000, 60),
    "day": (86_400_000, 96),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` in any window of that length (`per`), or at once (CONCURRENT, `per` is empty)."""

    counts: Counts
    amount: int  # requests, tokens, calls; of a cost: atoms of `currency`
    per: str = ""  # a key of WINDOWS
    currency: str = ""  # of a cost

    @property
    def name(self) -> str:
        """ "requests/minute", "input_tokens/hour", "KRW/day", "concurrent"."""
        what = self.currency or self.counts.value
        return f"{what}/{self.per}" if self.per else what

    @property
    def window_ms(self) -> int:
        """Length of the window; 0 for calls at once."""
        return WINDOWS[self.per][0] if self.per else 0

    @property
    def bucket_ms(self) -> int:
        return WINDOWS[self.per][0] // WINDOWS[self.per][1] if self.per else 0


QUEUE: Final = 100  # calls that may wait at once, where nobody says


@dataclass(frozen=True, slots=True)
class Limited:
    """The limits of one API, rule or caller, and how long a call may wait for room instead of being refused."""

    scope: str  # "api" | "rule" | "caller"
    name: str
    limits: tuple[Limit, ...]
    wait_ms: int = 0
    queue: int = 0  # calls that may wait at once, in one worker

    @property
    def place(self) -> str:
        """Its name in Redis: "api:openai", "rule:openai/chat", "caller:batch"."""
        return f"{self.scope}:{self.name}"

    @property
    def label(self) -> str:
        """Its name for clients: "openai", "openai/chat", "caller:batch"."""
        return self.place if self.scope == "caller" else self.name


@dataclass(frozen=True, slots=True)
class Breaker:
    """When to stop calling an API (or what one rule calls) that fails, and how to find out whether it works again.

    Shares are basis points of the calls in the window, None = not a reason. A call that takes longer than slow_ms until
    its answer begins is slow.
    """

    name: str  # of the API, or the rule's id
    window_ms: int
    of_at_least: int
    failures_bp: int | None
    consecutive: int | None
    slow_ms: int | None
    slow_bp: int | None
    open_ms: int  # the first time; doubled at every failed probe
    open_at_most_ms: int
    probes: int


BREAKER_BUCKETS: Final = 20


@dataclass(frozen=True, slots=True)
class Guards:
    """Everything but budgets and switches that an admission asks for one call."""

    limited: tuple[Limited, ...] = ()  # those with limits; and an API's without, when its calls wait for a pause to end
    breakers: tuple[Breaker, ...] = ()
    obey: bool = True  # pauses that the API asked for

    def limits(self) -> Iterator[tuple[Limited, Limit]]:
        """All limits in the order in which the scripts count them."""
        for limited in self.limited:
            for limit in limited.limits:
                yield limited, limit

    @property
    def holds(self) -> bool:
        """Whether a call holds something of them while it runs."""
        return bool(self.breakers) or any(limited.limits for limited in self.limited)

    @property
    def currencies(self) -> tuple[str, ...]:
        """Those of cost limits."""
        return tuple(dict.fromkeys(limit.currency for _, limit in self.limits() if limit.currency))


NO_GUARDS: Final = Guards()


class Pressed(msgspec.Struct, frozen=True, gc=False):
    """The limit (or the API's pause) that refused a call."""

    limited: Limited | None  # None: the API itself asked for a pause
    limit: Limit | None
    used: int = 0
    asked: int = 0  # what the call would add
    retry_ms: int | None = None  # None: waiting does not help, the call alone is larger than the limit

    @property
    def wait_ms(self) -> int:
        return self.limited.wait_ms if self.limited is not None else 0
