"""Rate limits as HTTP says them: our own to clients, and what APIs say about theirs.

To clients: the fields of draft-ietf-httpapi-ratelimit-headers (structured fields, RFC 9651):

    RateLimit-Policy: "openai requests/minute";q=60;w=60
    RateLimit: "openai requests/minute";r=12;t=61

From APIs: `Retry-After` (RFC 9110 §10.2.3) beside 429 and 503, and how much is left of the API's own limits, as OpenAI
(`x-ratelimit-remaining-requests`, `x-ratelimit-reset-requests: 6m0s`), Anthropic
(`anthropic-ratelimit-tokens-remaining`, `-reset` as RFC 3339) and the APIs that copy them say it. No clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from proxy.core import money
from proxy.core.fieldnames import PerName
from proxy.core.guards import WINDOWS, Counts, Guards, Limit, Pressed

LONGEST_PAUSE_MS: Final = 3_600_000  # what an API asks for beyond an hour is asked of it again then
_LARGEST: Final = 999_999_999_999_999  # of a structured field's integer
_NANO_UNITS: Final = {6: "micro", 9: "nano"}


def fields(guards: Guards, used: tuple[int, ...], now_ms: int, pressed: Pressed | None = None) -> list[tuple[str, str]]:
    """RateLimit and RateLimit-Policy of a call's limits, in their order; [] where there are none.

    used: of each limit, as the script counted. t is when all of a window's quota is back if nobody asks for more of it;
    of the limit that refused, when there is room for this call.
    """
    policies, states = [], []
    for (limited, limit), taken in zip(guards.limits(), used, strict=True):
        name = f'"{limited.label} {limit.name}"'
        policies.append(f"{name};q={min(limit.amount, _LARGEST)}{_unit(limit)}{_window(limit)}")
        refused = pressed is not None and pressed.limit is limit and pressed.limited is limited
        retry_ms = pressed.retry_ms if pressed is not None and refused else None
        states.append(
            f"{name};r={min(max(0, limit.amount - taken), _LARGEST)}{_resets(limit, taken, now_ms, retry_ms)}"
        )
    if not policies:
        return []
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))]


def _unit(limit: Limit) -> str:
    if limit.counts is Counts.REQUESTS:
        return ""  # what goes without saying
    if limit.counts is Counts.CONCURRENT:
        return ';qu="concurrent-requests"'
    if limit.currency:
        return f';qu="{_NANO_UNITS[money.exponent(limit.currency)]}-{limit.currency}"'
    return f';qu="{limit.counts.value.replace("_", "-")}"'


def _window(limit: Limit) -> str:
    return f";w={limit.window_ms // 1000}" if limit.per else ""


def _resets(limit: Limit, used: int, now_ms: int, retry_ms: int | None) -> str:
    if retry_ms is not None:
        return f";t={-(-retry_ms // 1000)}"
    return f";t={-(-reset_ms(limit, now_ms) // 1000)}" if limit.per and used else ""


def reset_ms(limit: Limit, now_ms: int) -> int:
    """How long until all that is used now is old."""
    bucket, buckets = limit.bucket_ms, WINDOWS[limit.per][1]
    return (now_ms // bucket + buckets + 1) * bucket - now_ms


# --- what APIs say ---------------------------------------------------------------------------------------------------

_REMAINING = re.compile(
    r"(?:x-|anthropic-)?ratelimit-(?:(?P<left>remaining|reset)-(?P<of>[a-z-]+)|(?P<of2>[a-z-]+)-(?P<left2>remaining|reset))"
)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNIX_S = 1_000_000_000  # a number above is a point in time, below it a number of seconds


def _says(name: bytes) -> tuple[str, str] | None:
    """What a field of this name tells: ("remaining" | "reset", of which limit), ("after", ""); None: no limit."""
    key = name.lower()
    if key == b"retry-after":
        return "after", ""
    found = _REMAINING.fullmatch(key.decode("latin-1")) if b"ratelimit-" in key else None
    return None if found is None else (found["left"] or found["left2"], found["of"] or found["of2"])


_SAYS = PerName(_says)


def pause_until(status: int, headers: Iterable[tuple[bytes, bytes]], now_ms: int) -> int | None:
    """Until when (Unix ms) the API wants to be left alone, as its answer says; None: it does not say so.

    headers: names in any case. A limit of the API's own that is used up counts with any status; `Retry-After` only
    beside 429 and 503. At most an hour ahead.
    """
    return latest(pauses(status, headers), now_ms)


def pauses(status: int, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """What the answer says of when the API may be called again, in the words of its fields; [] as a rule."""
    told = [(said, value) for name, value in headers if (said := _SAYS[name]) is not None]
    if not told:
        return []
    found = {said: value.decode("latin-1").strip() for said, value in told}
    until = []
    for (kind, of), text in found.items():
        if kind == "remaining" and text in ("0", "0.0") and (reset := found.get(("reset", of))) is not None:
            until.append(reset)
    if status in (429, 503) and (after := found.get(("after", ""))) is not None:
        until.append(after)
    return until


def latest(pauses: Iterable[str], now_ms: int) -> int | None:
    """The last of these moments (Unix ms), at most an hour ahead; None: there is none that is still to come."""
    moments = [moment for text in pauses if (moment := _moment(text, now_ms)) is not None]
    last = max(moments, default=0)
    return min(last, now_ms + LONGEST_PAUSE_MS) if last > now_ms else None


def _moment(text: str, now_ms: int) -> int | None:
    """Unix ms of "20", "0.5", "1717430400", "6m0s", "120ms", an RFC 3339 moment or an HTTP date; None: none of them."""
    if re.fullmatch(r"\d{1,13}(\.\d{1,9})?", text):
        seconds = float(text)
        return round(seconds * 1000) if seconds > _UNIX_S else now_ms + round(seconds * 1000)
    found = _DURATION.fullmatch(text) if text else None
    if found is not None:
        days, hours, minutes, whole, parts = (float(part or 0) for part in found.groups())
        return now_ms + round(((days * 24 + hours) * 60 + minutes) * 60_000 + whole * 1000 + parts)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        except ValueError:
            return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
