"""The single values of rules.yaml: amounts, percents, durations, periods, statuses, names.

Each is a function from what YAML gave (text, whole number, true/false, null) to the value that core/rules.py wants, and
an annotated type that pydantic can use and describe in the JSON Schema. A value that is wrong raises with the key of
the sentence that says so; nothing here knows where in the file it stood. Digits are ASCII digits: Python would also
read others as numbers.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from proxy.core.currencies import CURRENCIES
from proxy.core.model import Period, PeriodUnit, StatusSet

MAX_DIGITS = 18  # before and after the decimal point
MAX_NAME = 64


def wrong(key: str, value: object = None, **more: str) -> PydanticCustomError:
    """The error that becomes the sentence `rules.<key>`; `value` is shown, shortened."""
    return PydanticCustomError(key, "{got}", {"got": show(value), **more})  # type: ignore[arg-type]


def show(value: object) -> str:
    """A wrong value for a message: as in the file, on one line, at most 60 characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, list):
        return "[...]"
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Leaf:
    """Ties a function to a pydantic field, with the JSON Schema that an editor sees."""

    parse: Callable[[Any], Any]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)


def choice(*words: str) -> Leaf:
    """One of some words; a wrong one is answered with all of them."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise wrong("not_choice", value, choices=", ".join(words))
        return value

    return Leaf(parse, {"type": "string", "enum": list(words)})


# --- numbers ------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"([+-]?)([0-9][0-9_]*)(\.[0-9]+)?(?:[eE]([+-]?[0-9]{1,3}))?", re.ASCII)


def number(value: Any) -> Decimal | None:
    """An exact decimal out of a plain or quoted number, None if it is none (or has more than MAX_DIGITS digits)."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    found = _NUMBER.fullmatch(str(value).strip(" ")) if len(str(value)) <= 80 else None
    if found is None:
        return None
    out = Decimal("".join(part or "" for part in (found[1], found[2].replace("_", ""), found[3])))
    out = out.scaleb(int(found[4] or 0))
    if out and (out.adjusted() >= MAX_DIGITS or out.normalize().as_tuple().exponent < -MAX_DIGITS):  # type: ignore[operator]
        return None
    return abs(out) if out == 0 else out


def amount(value: Any) -> Decimal:
    found = number(value)
    if found is None:
        raise wrong("not_amount", value)
    if found < 0:
        raise wrong("negative", value)
    return found


def positive(value: Any) -> Decimal:
    found = number(value)
    if found is None:
        raise wrong("not_amount", value)
    if found <= 0:
        raise wrong("not_positive", value)
    return found


def whole(value: Any) -> int:
    found = number(value)
    if found is None or found != found.to_integral_value() or not 1 <= found < 10**12:
        raise wrong("not_whole", value)
    return int(found)


_NUMBER_SCHEMA: dict[str, Any] = {
    "type": ["number", "string"],
    "minimum": 0,
    "pattern": r"^[0-9][0-9_]*(\.[0-9]+)?([eE][+-]?[0-9]+)?$",
}
Amount = Annotated[Decimal, Leaf(amount, {**_NUMBER_SCHEMA, "examples": [15000, 0.5, "0.000002"]})]
PositiveNumber = Annotated[
    Decimal, Leaf(positive, {**_NUMBER_SCHEMA, "exclusiveMinimum": 0, "examples": [1390, "0.01"]})
]
Whole = Annotated[int, Leaf(whole, {"type": "integer", "minimum": 1})]


def percent(value: Any) -> int:
    """Basis points of "95", "95%" or 99.5."""
    text = value.removesuffix("%").rstrip(" ") if isinstance(value, str) else value
    found = number(text)
    if found is None or not 0 < found <= 100 or found * 100 != (found * 100).to_integral_value():
        raise wrong("not_percent", value)
    return int(found * 100)


Percent = Annotated[
    int,
    Leaf(
        percent,
        {
            "type": ["number", "string"],
            "exclusiveMinimum": 0,
            "maximum": 100,
            "pattern": r"^[0-9]+(\.[0-9]{1,2})? ?%?$",
        },
    ),
]


def vat(value: Any) -> Decimal:
    """A share: 0.1, or "10%"."""
    if isinstance(value, str) and value.endswith("%"):
        found = number(value[:-1].rstrip(" "))
        found = found / 100 if found is not None else None
    else:
        found = number(value)
    if found is None or not 0 <= found < 1:
        raise wrong("not_vat", value)
    return found


Vat = Annotated[
    Decimal, Leaf(vat, {"type": ["number", "string"], "minimum": 0, "exclusiveMaximum": 1, "examples": [0.1, "10%"]})
]


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong("not_flag", value)
    return value


def true_only(value: Any) -> bool:
    if value is not True:
        raise wrong("not_true", value)
    return True


Flag = Annotated[bool, Leaf(flag, {"type": "boolean"})]
TrueOnly = Annotated[bool, Leaf(true_only, {"const": True})]

# --- text -----------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong("not_text", value)
    if not value.strip():
        raise wrong("empty_text")
    return value


def scalar_text(value: Any) -> str:
    """Text to compare with: a number or true/false is taken as it would be written."""
    if value is None or isinstance(value, dict | list):
        raise wrong("not_scalar", value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_NAME or not _NAME.fullmatch(value):
        raise wrong("bad_name", value)
    return value


def rule_reference(value: Any) -> str:
    if not isinstance(value, str) or not all(_NAME.fullmatch(part) for part in value.split("/", 1)):
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise wrong("bad_name", value)
    return value


Text = Annotated[str, Leaf(text, {"type": "string", "minLength": 1})]
ScalarText = Annotated[str, Leaf(scalar_text, {"type": ["string", "number", "boolean"]})]
Name = Annotated[str, Leaf(name, {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength": MAX_NAME})]
RuleReference = Annotated[str, Leaf(rule_reference, {"type": "string", "examples": ["openai/chat", "chat"]})]


def header_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", value):
        raise wrong("bad_header", value)
    return value


HeaderName = Annotated[str, Leaf(header_name, {"type": "string", "examples": ["Authorization", "x-api-key"]})]


def environment_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", value, re.ASCII):
        raise PydanticCustomError("bad_env_name", "")  # a key pasted here by mistake is not repeated
    return value


EnvironmentName = Annotated[str, Leaf(environment_name, {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})]


def secret_reference(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\$\{[A-Za-z_][A-Za-z0-9_]{0,127}\}", value, re.ASCII):
        raise PydanticCustomError("literal_key", "")  # its value is never repeated
    return value[2:-1]


SecretReference = Annotated[
    str, Leaf(secret_reference, {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"})
]


def secret_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PydanticCustomError("not_text_secret", "")
    return value


SecretText = Annotated[str, Leaf(secret_text, {"type": "string", "examples": ["Bearer ${OPENAI_API_KEY}"]})]


def method(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z-]{0,31}", value, re.ASCII):
        raise wrong("bad_method", value)
    return value.upper()


Method = Annotated[str, Leaf(method, {"type": "string", "examples": ["GET", "POST"]})]


def currency(value: Any) -> str:
    if not isinstance(value, str) or value not in CURRENCIES:
        raise wrong("bad_currency", value)
    return value


Currency = Annotated[str, Leaf(currency, {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["KRW", "USD"]})]


@lru_cache(maxsize=256)
def _is_zone(value: str) -> bool:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", value, re.ASCII) or value in ("localtime", "posixrules"):
        return False
    try:
        zoneinfo.ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        return False
    return True


def timezone(value: Any) -> str:
    if not isinstance(value, str) or not _is_zone(value):
        raise wrong("bad_timezone", value)
    return value


Timezone = Annotated[str, Leaf(timezone, {"type": "string", "examples": ["Asia/Seoul", "UTC"]})]


def date(value: Any) -> str:
    try:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
            raise ValueError
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        raise wrong("bad_date", value) from None


Date = Annotated[str, Leaf(date, {"type": "string", "format": "date"})]

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


_RATE = re.compile(r"([1-9][0-9_]*) ?(tokens)?/(second|minute|hour|day)|([1-9][0-9_]*) concurrent", re.ASCII)


def rate_limit(value: Any) -> str:
    if not isinstance(value, str) or not _RATE.fullmatch(value):
        raise wrong("bad_rate_limit", value)
    return value


RateLimit = Annotated[
    str,
    Leaf(
        rate_limit,
        {
            "type": "string",
            "pattern": r"^[1-9][0-9_]* ?(tokens)?/(second|minute|hour|day)$|^[1-9][0-9_]* concurrent$",
            "examples": ["60/minute", "100000 tokens/minute", "8 concurrent"],
        },
    ),
]


def one_or_many(value: Any) -> Any:
    """A single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Many:
    """A list that may be written as its only item."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(one_or_many, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        many = handler(schema["schema"])  # type: ignore[typeddict-item]
        return {"anyOf": [many["items"], {**many, "minItems": 1}]}
