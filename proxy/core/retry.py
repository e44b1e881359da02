"""When a failed call may be made again, after how long, and how much of an API's traffic repeats may be.

Decides over values; time and randomness are arguments. A call may be repeated when that cannot do anything twice: its
method is idempotent (RFC 9110 §9.2.2), it carries an Idempotency-Key, nothing of it was sent, or the rule says so. The
pause grows with decorrelated jitter (each between the least and three times the one before), and is never shorter than
the API's Retry-After.

The budget of an API: each call adds a share of a repeat (10 % of one), each repeat takes a whole one; beside that a few
come back in every window, so that a lone call can be repeated at all. While an API is down, repeats are therefore at
most that share of its calls, plus those few, over all proxies: the account is the store's (state/lua/repeat.lua).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime

from msgspec.structs import replace

from proxy.core.handling_model import RetryPolicy
from proxy.core.http1 import Field
from proxy.core.model import Bill, Cost, State
from proxy.core.outcome import Verdict

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
WINDOW_MS = 60_000
_WHOLE = 1000  # tokens are in thousandths of a repeat
MOST = 10 * _WHOLE  # how many repeats can be saved up
# What SDKs tell of their own patience, in seconds.
_PATIENCE = (b"x-stainless-timeout", b"x-stainless-read-timeout")


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. status None: no answer. timeout: the API was silent too long. sent: it may have it."""

    status: int | None = None
    timeout: bool = False
    sent: bool = True
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt of a call, as the ledger keeps it, and what it says of its API."""

    status: int | None
    seconds: Decimal
    bill: Bill
    verdict: Verdict = Verdict.EXCLUDED


# --- may it be made again? -------------------------------------------------------------------------------------------


def counts(policy: RetryPolicy, failure: Failure) -> bool:
    """Whether the rule wants a call that failed like this to be made again."""
    if failure.status is not None:
        return failure.status in policy.statuses
    if failure.timeout and failure.sent:
        return policy.timeout
    return policy.connect


def safe(policy: RetryPolicy, method: str, has_key: bool, body_kept: bool, failure: Failure) -> bool:
    """Whether making the call again can do nothing twice. has_key: it carries an Idempotency-Key."""
    if failure.sent and not body_kept:
        return False
    return not failure.sent or method in IDEMPOTENT or has_key or policy.repeatable


def pause_ms(policy: RetryPolicy, before_ms: int, chance: float) -> int:
    """The next pause by decorrelated jitter; before_ms: the last one (0 = none), chance: in [0, 1)."""
    low, high = policy.backoff_ms, max(policy.backoff_ms, 3 * max(before_ms, policy.backoff_ms))
    return min(policy.max_backoff_ms, low + int((high - low + 1) * chance))


def wait_ms(policy: RetryPolicy, pause: int, failure: Failure, left_ms: int | None) -> int | None:
    """How long to wait before the next attempt; None: there is no sense in one.

    An API that asks for more patience than the rule has is not asked again, and no attempt begins after the call's own
    time is over. left_ms: of that time; None = no end.
    """
    asked = failure.retry_after_ms or 0
    if asked > policy.max_backoff_ms:
        return None
    wait = max(pause, asked)
    return wait if left_ms is None or wait < left_ms else None


def retry_after_ms(headers: Iterable[Field], now_ms: int) -> int | None:
    """Retry-After (RFC 9110 §10.2.3: seconds or a date) and the finer retry-after-ms of some APIs, in milliseconds."""
    found: int | None = None
    for name, value in headers:
        key, text = name.lower(), value.decode("latin-1").strip()
        if key == b"retry-after-ms" and text.isascii() and text.isdigit():
            return int(text[:12])
        if key == b"retry-after":
            if text.isascii() and text.isdigit():
                found = int(text[:9]) * 1000
            else:
                try:
                    found = max(0, round(parsedate_to_datetime(text).timestamp() * 1000) - now_ms)
                except (ValueError, TypeError, OverflowError):
                    continue
    return found


def patience_s(headers: Iterable[Field]) -> float | None:
    """How long the client itself says that it waits, where it is an SDK that tells."""
    for name, value in headers:
        if name.lower() in _PATIENCE:
            try:
                told = float(value)
            except ValueError:
                continue
            if 0 < told < 1e6:
                return told
    return None


# --- the budget of an API --------------------------------------------------------------------------------------------


def earns(policy: RetryPolicy) -> int:
    """What a call adds to the repeats of its API, in thousandths of one."""
    return policy.budget_bp * _WHOLE // 10_000


def comes_back(policy: RetryPolicy) -> int:
    """Up to how many repeats a window brings back without calls, in thousandths: as many as a lone call needs."""
    return min(MOST, (policy.attempts - 1) * _WHOLE)


# --- what they cost together -----------------------------------------------------------------------------------------


def together(earlier: Sequence[Tried], last: Bill, drawn: int | None) -> Bill:
    """One bill for all attempts of a call. drawn: units of its quota that one attempt draws (None = no quota).

    It is as sure as its least sure part.
    """
    bills = [*(tried.bill for tried in earlier), last]
    paid = [bill for bill in bills if bill.cost.original or bill is last]
    cost = last.cost
    atoms = {currency: sum(bill.cost.atoms.get(currency, 0) for bill in paid) for currency in cost.atoms}
    terms = tuple(term for bill in paid for term in bill.cost.terms)
    whole: Cost = replace(
        cost, original=sum((bill.cost.original for bill in paid), Decimal(0)), atoms=atoms, terms=terms, said=""
    )
    states = {bill.state for bill in paid}
    state = next((one for one in (State.UNPRICED, State.ESTIMATED) if one in states), last.state)
    usage: dict[str, int] = {}
    for bill in paid:
        for name, count in bill.usage.items():
            usage[name] = usage.get(name, 0) + count
    units = last.quota_units
    if drawn is not None:
        units = sum(drawn if bill.quota_units is None else bill.quota_units for bill in bills)
    note = last.note or next((bill.note for bill in bills if bill.note and bill.state is not State.SETTLED), None)
    return replace(last, cost=whole, state=state, usage=usage, quota_units=units, note=note)
