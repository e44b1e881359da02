"""The grammar of rate limits, waiting and circuit breakers in rules.yaml. Shapes only; see core/rules_guards.py."""

from __future__ import annotations

from typing import Annotated

from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import Duration, RateLimit
from proxy.rules_values import Many, Percent, Whole


class Waits(Model):
    """How much may be asked of something in a time, and what happens to calls above it."""

    rate_limits: Annotated[list[RateLimit], Many()] = key(
        "The most in any second, minute, hour or day, or at once: 60/minute, 100000 tokens/minute, 500 KRW/hour, "
        "8 concurrent. A call must fit into all of them."
    )
    wait: Duration = key("How long a call may wait for room instead of being refused (429).")
    queue: Whole = key("How many calls may wait at once in a worker (default 100).")


class Slow(Model):
    """When answers that take too long count as a reason."""

    over: Duration = must("A call is slow when its answer begins later than this.")
    share: Percent = must("Share of slow calls that opens the circuit.")


class Breaker(Model):
    """When to stop calling an API that fails, and how to find out that it works again."""

    failures: Percent = key("Share of failing calls that opens the circuit.")
    of_at_least: Whole = key("Calls in the window before a share counts (default 10).")
    consecutive: Whole = key("So many failures one after the other open it, whatever the share.")
    slow: Slow = key("A share of slow calls that opens it.")
    window: Duration = must("Length of the sliding window.")
    open_for: Duration = must("How long no call passes. Doubled each time the probes fail.")
    open_at_most: Duration = key("The longest that no call passes (default 10m).")
    probes: Whole = key("Calls that then try whether it works again, and must all succeed (default 1).")
