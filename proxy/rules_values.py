"""The single values of rules.yaml: amounts, percents, names, currencies, time zones, references to secrets.

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

MAX_DIGITS = 18  # before and after the decimal point
MAX_NAME = 64


def wrong(key: str, value: object = None, **more: str) -> PydanticCustomError:
    """The error that becomes the sentence `rules.<key>`; `value` is shown, shortened."""
    return PydanticCustomError(key, "{got}", {"got": show(value), **more})


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


# --- lists ------------------------------------------------------------------------------------------


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
        many = handler(schema["schema"])
        return {"anyOf": [many["items"], {**many, "minItems": 1}]}
