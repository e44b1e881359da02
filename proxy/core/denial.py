"""A refusal as it goes over the wire: status, headers and body from a `Denied` value.

The body is RFC 9457 problem details. Where an API speaks OpenAI's, Anthropic's or Google's error shape, the same facts
stand beside an `error` member of that shape, so that the SDK raises its own clean error. Knows nothing of sockets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from proxy.core import money, ratelimit
from proxy.core.guards import Pressed
from proxy.core.model import Denied, Level, Reason, Speaks
from proxy.core.text import say

# A client told to come back in three weeks would rather be told to look again within the hour:
# limits can be raised meanwhile.
RETRY_AFTER_CAP_S = 3600


def _guard_values(denied: Denied, language: str) -> dict[str, object]:
    """Placeholders of the sentences about rate limits and circuits."""
    values: dict[str, object] = {}
    if denied.retry_after_s is not None:
        values["retry"] = say("denial.seconds", language, number=f"{denied.retry_after_s:,}")
    pressed = denied.pressed
    if pressed is not None and pressed.limited is not None and pressed.limit is not None:
        limit = pressed.limit
        values |= {
            "limit": limit.name,
            "scope": f"“{pressed.limited.label}”" if language == "en" else f"‘{pressed.limited.label}’",
            "window": say(f"denial.per.{limit.per}", language) if limit.per else "",
        }
        for name, number in (("used", pressed.used), ("most", limit.amount), ("asked", pressed.asked)):
            values[name] = _amount(number, limit.currency, language) if limit.currency else f"{number:,}"
    return values


def _guard_facts(pressed: Pressed) -> dict[str, object]:
    """Which limit refused, and how full it is; amounts of a cost are decimals in its currency."""
    if pressed.limited is None or pressed.limit is None:
        return {"limit_name": "upstream"}
    limit = pressed.limit

    def shown(amount: int) -> object:
        return money.format_decimal(amount, limit.currency) if limit.currency else amount

    facts: dict[str, object] = {"limit_name": limit.name, "limit_of": pressed.limited.place}
    facts |= {"limit": shown(limit.amount), "used": shown(pressed.used), "asked": shown(pressed.asked)}
    if limit.per:
        facts["window_seconds"] = limit.window_ms // 1000
    return facts


# A failing API is for the client to judge; these refusals give no advice.
_RETRY_IS_THE_CLIENTS = frozenset({Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TIMEOUT})

_OPENAI_TYPES = {
    402: "insufficient_quota",
    429: "rate_limit_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    429: "RESOURCE_EXHAUSTED",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Ready to send: headers are (name, value) without framing headers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def iso(ms: int, timezone: str) -> str:
    """Unix milliseconds as ISO 8601 with the zone's offset, to the second."""
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(timezone)).isoformat(timespec="seconds")


def _amount(atoms: int, currency: str, language: str) -> str:
    """ "1,500.25 KRW", and as Koreans write their own money: "1,500.25원"."""
    number = f"{money.from_atoms(atoms, currency).normalize():,f}"
    return f"{number}원" if language == "ko" and currency == "KRW" else f"{number} {currency}"


def _retry_after(denied: Denied, now_ms: int) -> int | None:
    if denied.retry_after_s is not None:
        return min(denied.retry_after_s, RETRY_AFTER_CAP_S)
    if denied.level is not None:
        return max(1, min(RETRY_AFTER_CAP_S, -(-(denied.level.resets_at_ms - now_ms) // 1000)))
    return None


def sentence(denied: Denied, language: str, timezone: str, restrict_bp: int = 9500) -> str:
    """The refusal in one or two whole sentences."""
    values: dict[str, object] = dict(denied.detail)
    key = f"denial.{values.pop('text', denied.reason.value)}"
    values |= _guard_values(denied, language)
    level = denied.level
    if denied.until_ms is not None:
        values["until"] = iso(denied.until_ms, timezone)
    if level is not None:
        left = max(0, level.limit_atoms - level.spent_atoms)
        values |= {
            "budget": level.budget,
            "period": level.period,
            "limit": _amount(level.limit_atoms, level.currency, language),
            "spent": _amount(level.spent_atoms, level.currency, language),
            "reserved": _amount(level.reserved_atoms, level.currency, language),
            "left": _amount(left, level.currency, language),
            "estimate": _amount(denied.estimate_atoms or 0, level.currency, language),
            "resets_at": iso(level.resets_at_ms, timezone),
            "restrict": f"{restrict_bp / 100:g} %",
        }
    return say(key, language, **values)


def _facts(level: Level, denied: Denied, timezone: str) -> dict[str, object]:
    facts: dict[str, object] = {
        "budget": level.budget,
        "period": level.period,
        "currency": level.currency,
        "limit": money.format_decimal(level.limit_atoms, level.currency),
        "spent": money.format_decimal(level.spent_atoms, level.currency),
        "reserved": money.format_decimal(level.reserved_atoms, level.currency),
        "resets_at": iso(level.resets_at_ms, timezone),
    }
    if denied.estimate_atoms is not None:
        facts["estimate"] = money.format_decimal(denied.estimate_atoms, level.currency)
    return facts


def render(
    denied: Denied,
    *,
    request_id: str,
    now_ms: int,
    language: str,
    timezone: str,
    speaks: Speaks = Speaks.PROBLEM,
    restrict_bp: int = 9500,
) -> Refusal:
    """The whole refusal. `timezone` (IANA) and `restrict_bp` are those of the budget that refused, if one did."""
    status, reason = denied.status, denied.reason.value
    detail = sentence(denied, language, timezone, restrict_bp)
    retry_after = _retry_after(denied, now_ms)
    body: dict[str, object] = {
        "type": f"urn:spendgate:problem:{reason}",
        "title": say(f"denial.{reason}.title", language),
        "status": status,
        "detail": detail,
        "instance": f"urn:spendgate:request:{request_id}",
        "reason": reason,
    }
    if denied.level is not None:
        body |= _facts(denied.level, denied, timezone)
    if denied.pressed is not None:
        body |= _guard_facts(denied.pressed)
    if denied.until_ms is not None:
        body["until"] = iso(denied.until_ms, timezone)
    if retry_after is not None:
        body["retry_after"] = retry_after
    if speaks is Speaks.OPENAI:
        kind = _OPENAI_TYPES.get(status, "spendgate_error")
        body["error"] = {"message": detail, "type": kind, "param": None, "code": reason}
    elif speaks is Speaks.ANTHROPIC:
        # Anthropic's own "type" member must read "error"; the problem's type moves aside.
        body["problem_type"] = body["type"]
        body["type"] = "error"
        body["error"] = {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": detail}
        body["request_id"] = request_id
    elif speaks is Speaks.GOOGLE:
        body["error"] = {"code": status, "message": detail, "status": _GOOGLE_STATUSES.get(status, "UNAVAILABLE")}

    headers = [
        ("Content-Type", "application/problem+json"),
        ("Cache-Control", "no-store"),
        ("X-Spendgate-Request-Id", request_id),
        ("X-Spendgate-Reason", reason),
    ]
    if denied.reason not in _RETRY_IS_THE_CLIENTS:
        # SDKs retry 5xx, 409 and 429 on their own unless told; a budget does not refill by asking again.
        headers.append(("X-Should-Retry", "true" if denied.should_retry else "false"))
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    if denied.level is not None:
        left = denied.level.limit_atoms - denied.level.spent_atoms - denied.level.reserved_atoms
        headers.append(("X-Spendgate-Budget-Remaining", money.format_decimal(max(0, left), denied.level.currency)))
    if denied.used:
        headers += ratelimit.fields(denied.guards, denied.used, now_ms, denied.pressed)
    if status == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="spendgate"'))
    elif status == 407:
        headers.append(("Proxy-Authenticate", 'Basic realm="spendgate"'))
    return Refusal(status, tuple(headers), json.dumps(body, ensure_ascii=False).encode())
