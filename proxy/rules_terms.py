"""The small languages inside rules.yaml: lengths of time, periods, times of day, tests, statuses, roundings, limits.

Like rules_values.py: a function from what YAML gave to the value that core/rules.py wants, and an annotated type with
its JSON Schema; a wrong value raises with the key of its sentence.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from proxy.core.currencies import CURRENCIES
from proxy.core.model import Period, PeriodUnit, StatusSet
from proxy.rules_values import Leaf, flag, number, one_or_many, scalar_text, text, whole, wrong

# --- time -----------------------------------------------------------------------------------------------------------

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_DURATION_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$"}


def duration(value: Any) -> float:
    """Seconds of "500ms", "10s", "5m", "1h" or "1d"; more than nothing, at most 30 days."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) <= 20 else None
    if found is None:
        raise wrong("bad_duration", value)
    seconds = Decimal(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= 30 * 86400:
        raise wrong("bad_duration_range", value)
    return float(seconds)


def seconds_or_duration(value: Any) -> int:
    """Whole seconds: 300, or "5m"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(value)
    found = duration(value)
    return max(1, round(found))


Duration = Annotated[float, Leaf(duration, {**_DURATION_SCHEMA, "examples": ["10s", "5m", "1h"]})]
Seconds = Annotated[int, Leaf(seconds_or_duration, {**_DURATION_SCHEMA, "type": ["integer", "string"], "minimum": 1})]

PERIODS = ("hour", "day", "week", "month", "year")
_DAYS = re.compile(r"([1-9][0-9]{0,3}) days?", re.ASCII)


def period(value: Any) -> Period:
    if isinstance(value, str):
        if value in PERIODS:
            return Period(PeriodUnit(value))
        if found := _DAYS.fullmatch(value):
            return Period(PeriodUnit.DAYS, int(found[1]))
    raise wrong("bad_period", value)


PeriodText = Annotated[
    Period,
    Leaf(
        period,
        {
            "type": "string",
            "anyOf": [{"enum": list(PERIODS)}, {"pattern": "^[1-9][0-9]{0,3} days?$"}],
            "examples": ["month", "day", "30 days"],
        },
    ),
]


def clock(value: Any) -> int:
    """Minutes since midnight of "22:00"."""
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", value, re.ASCII) if isinstance(value, str) else None
    if found is None or int(found[2]) > 59 or int(found[1]) * 60 + int(found[2]) > 24 * 60:
        raise wrong("bad_clock", value)
    return int(found[1]) * 60 + int(found[2])


Clock = Annotated[
    int, Leaf(clock, {"type": "string", "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9]$|^24:00$", "examples": ["22:00"]})
]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES = (*WEEKDAYS, "weekdays", "weekends")


def day(value: Any) -> frozenset[int]:
    if value == "weekdays":
        return frozenset(range(5))
    if value == "weekends":
        return frozenset((5, 6))
    if not isinstance(value, str) or value not in WEEKDAYS:
        raise wrong("not_choice", value, choices=", ".join(DAY_NAMES))
    return frozenset((WEEKDAYS.index(value),))


Day = Annotated[frozenset[int], Leaf(day, {"enum": list(DAY_NAMES)})]

# --- tests on a value ---------------------------------------------------------------------------------------------


def field_test(value: Any) -> tuple[str, Any]:
    """("equals", texts) of a scalar, a list of scalars or {equals: ...}, ("matches", regex) of "~regex" or
    {matches: ...}, ("present", true/false) of {present: ...}."""
    if isinstance(value, dict):
        if len(value) != 1 or not set(value) <= {"equals", "matches", "present"}:
            raise wrong("bad_test", value)
        ((kind, inner),) = value.items()
        if kind == "present":
            return kind, flag(inner)
        if kind == "matches":
            return kind, text(inner).removeprefix("~")
        return kind, tuple(scalar_text(item) for item in one_or_many(inner))
    if isinstance(value, str) and value.startswith("~"):
        return "matches", text(value[1:])
    items = one_or_many(value)
    if not items:
        raise wrong("bad_test", value)
    texts = tuple(scalar_text(item) for item in items)
    if any(item.startswith("~") for item in texts):
        raise wrong("regex_in_list", value)
    return "equals", texts


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_SCALARS_SCHEMA: dict[str, Any] = {"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}]}
FieldTestSpec = Annotated[
    tuple[str, Any],
    Leaf(
        field_test,
        {
            "anyOf": [
                *_SCALARS_SCHEMA["anyOf"],
                {
                    "type": "object",
                    "properties": {
                        "equals": {**_SCALARS_SCHEMA, "description": "Holds if the value is one of these."},
                        "matches": {"type": "string", "description": "Holds if the regular expression is found in it."},
                        "present": {"type": "boolean", "description": "Holds if it is there (true) or not (false)."},
                    },
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
            "examples": ["gpt-4.1", ["gpt-4.1", "gpt-4o"], "~^gpt-4", {"present": True}],
        },
    ),
]

# --- statuses, rounding, limits -----------------------------------------------------------------------------------


def statuses(value: Any) -> StatusSet:
    """ "2xx", 200, "200-204", "any", or a list of these."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise wrong("bad_status", value)
    ranges: list[tuple[int, int]] = []
    for item in items:
        word = str(item) if isinstance(item, int | str) and not isinstance(item, bool) else ""
        if word == "any":
            ranges.append((100, 599))
        elif re.fullmatch("[1-5]xx", word, re.ASCII):
            ranges.append((int(word[0]) * 100, int(word[0]) * 100 + 99))
        elif (found := re.fullmatch("([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", word, re.ASCII)) and found[1] <= (
            found[2] or found[1]
        ):
            ranges.append((int(found[1]), int(found[2] or found[1])))
        else:
            raise wrong("bad_status", item)
    return StatusSet(tuple(ranges))


_STATUS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?|any)$"},
        {"type": "integer", "minimum": 100, "maximum": 599},
    ]
}
Statuses = Annotated[
    StatusSet,
    Leaf(
        statuses,
        {
            "anyOf": [*_STATUS_SCHEMA["anyOf"], {"type": "array", "items": _STATUS_SCHEMA, "minItems": 1}],
            "examples": ["2xx", 200, ["2xx", 404], "any"],
        },
    ),
]

ROUNDING_MODES = ("up", "half_up", "down")


def rounding_text(value: Any) -> Any:
    """ "up to 0.01" as {to: 0.01, mode: up}; anything else is left for the mapping's own checks."""
    if isinstance(value, dict):
        return value
    found = re.fullmatch(r"(?:([a-z_]+) )?to (\S+)", value) if isinstance(value, str) and len(value) < 60 else None
    if found is None or (found[1] or "half_up") not in ROUNDING_MODES or not (number(found[2]) or 0) > 0:
        raise wrong("bad_rounding", value)
    return {"to": found[2], "mode": found[1] or "half_up"}


_RATE = re.compile(
    r"([0-9][0-9_]*(?:\.[0-9]+)?)(?: (requests?|tokens|input tokens|output tokens|[A-Z]{3}))?/(second|minute|hour|day)"
    r"|([0-9][0-9_]*) concurrent",
    re.ASCII,
)


def rate_limit(value: Any) -> tuple[str, Decimal, str, str]:
    """(what is counted, how much, per which unit of time, currency): see core/guards.py."""
    found = _RATE.fullmatch(value) if isinstance(value, str) and len(value) <= 60 else None
    if found is None:
        raise wrong("bad_rate_limit", value)
    if found[4] is not None:
        return "concurrent", _limit_number(value, found[4]), "", ""
    what, per = found[2] or "requests", found[3]
    if what in CURRENCIES:
        amount = number(found[1])
        if not amount:
            raise wrong("bad_rate_limit", value)
        return "cost", amount, per, what
    if what.isupper():
        raise wrong("bad_rate_limit", value)
    counted = "requests" if what == "request" else what.replace(" ", "_")
    return counted, _limit_number(value, found[1]), per, ""


def _limit_number(value: str, text: str) -> Decimal:
    amount = number(text)
    if amount is None or amount != amount.to_integral_value() or not 1 <= amount < 10**12:
        raise wrong("bad_rate_limit", value)
    return amount


RateLimit = Annotated[
    tuple[str, Decimal, str, str],
    Leaf(
        rate_limit,
        {
            "type": "string",
            "pattern": r"^[0-9][0-9_]*(\.[0-9]+)?( (requests?|tokens|input tokens|output tokens|[A-Z]{3}))?"
            r"/(second|minute|hour|day)$|^[0-9][0-9_]* concurrent$",
            "examples": ["60/minute", "100000 tokens/minute", "500 KRW/hour", "8 concurrent"],
        },
    ),
]
