"""What the parts of a counting expression do with values out of JSON: picking, functions, exact arithmetic.

Values are what JSON and forms give: text, numbers, true, false, null, lists and objects. A missing value is null, null
counts as 0, and text that is a number counts as that number. Nothing here knows how expressions are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Any

FUNCTIONS: Mapping[str, str] = {
    "length": "characters of a text, items of a list or object, 0 of null",
    "len": "the same as length",
    "count": "items of a list, 1 of any single value, 0 of null",
    "ceil": "the next whole number up",
    "floor": "the next whole number down",
    "round": "the nearest whole number, or to so many places: round(x, 2); halves go up",
    "int": "the whole part",
    "abs": "without its sign",
    "min": "the smallest of its arguments or of a list",
    "max": "the largest of its arguments or of a list",
    "sum": "the sum of its arguments or of a list",
}
MAX_POWER = 64
_MAX_NUMBER_TEXT = 40

CONTEXT = Context(prec=60, Emax=999, Emin=-999)
_ZERO, _ONE = Decimal(0), Decimal(1)


class Wrong(Exception):
    """Stops an evaluation; its text is a short English phrase."""


_NUMBER_TEXT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)


def number(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise Wrong("not a finite number")
        return value
    if isinstance(value, bool):
        return _ONE if value else _ZERO
    if isinstance(value, int):
        return Decimal(value)
    if value is None:
        return _ZERO
    if isinstance(value, float):
        return number(Decimal(repr(value)))
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_TEXT and _NUMBER_TEXT.fullmatch(value.strip()):
        return Decimal(value.strip())
    kind = "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
    raise Wrong(f"{kind} where a number is needed")


def pick(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, Each):
        return Each([found for item in value if (found := pick(item, name)) is not None])
    return None


def at(value: Any, index: int) -> Any:
    if isinstance(value, Each):
        return Each([found for item in value if (found := at(item, index)) is not None])
    if isinstance(value, list) and -len(value) <= index < len(value):
        return value[index]
    return None


def each(value: Any) -> Any:
    if isinstance(value, Each):
        return Each([item for inner in value if isinstance(inner, list) for item in inner])
    return Each(value) if isinstance(value, list) else Each()


class Each(list[Any]):
    """The items of a list picked with [*]: what is picked further is picked from each of them."""


# --- functions ----------------------------------------------------------------------------------------------------


def _length(value: Any) -> Decimal:
    if value is None:
        return _ZERO
    if isinstance(value, str | list | dict):
        return Decimal(len(value))
    if isinstance(value, bool):
        raise Wrong("length of true or false")
    return Decimal(len(str(value)))


def _count(value: Any) -> Decimal:
    if value is None:
        return _ZERO
    return Decimal(len(value)) if isinstance(value, list) else _ONE


def _round(value: Any, places: Any = 0) -> Decimal:
    digits = number(places)
    if not -12 <= digits <= 12:
        raise Wrong("round to too many places")
    return number(value).quantize(Decimal(1).scaleb(-int(digits)), ROUND_HALF_UP, CONTEXT)


def _numbers(values: tuple[Any, ...]) -> list[Decimal]:
    flat = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return [number(value) for value in flat]


def _sum(*values: Any) -> Decimal:
    total = _ZERO
    for summand in _numbers(values):
        total = CONTEXT.add(total, summand)
    return total


CALLS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {  # fewest and most arguments
    "length": (1, 1, _length),
    "len": (1, 1, _length),
    "count": (1, 1, _count),
    "ceil": (1, 1, lambda value: number(value).to_integral_value(ROUND_CEILING)),
    "floor": (1, 1, lambda value: number(value).to_integral_value(ROUND_FLOOR)),
    "round": (1, 2, _round),
    "int": (1, 1, lambda value: number(value).to_integral_value(ROUND_DOWN)),
    "abs": (1, 1, lambda value: abs(number(value))),
    "min": (1, 16, lambda *values: min(_numbers(values), default=_ZERO)),
    "max": (1, 16, lambda *values: max(_numbers(values), default=_ZERO)),
    "sum": (1, 16, _sum),
}


def _power(base: Any, exponent: Any) -> Decimal:
    power = number(exponent)
    if abs(power) > MAX_POWER:
        raise Wrong("power too large")
    return CONTEXT.power(number(base), power)


def compare(left: Any, right: Any, operator: str) -> bool:
    if operator in ("==", "!="):
        same: bool
        if left is None or right is None:
            same = left is right
        elif isinstance(left, str) and isinstance(right, str):
            same = left == right
        else:
            try:
                same = number(left) == number(right)
            except Wrong:
                same = False
        return same == (operator == "==")
    a, b = number(left), number(right)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def _divisor(value: Any) -> Decimal:
    divisor = number(value)
    if not divisor:
        raise Wrong("division by zero")
    return divisor


ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: CONTEXT.add(number(a), number(b)),
    "-": lambda a, b: CONTEXT.subtract(number(a), number(b)),
    "*": lambda a, b: CONTEXT.multiply(number(a), number(b)),
    "/": lambda a, b: CONTEXT.divide(number(a), _divisor(b)),
    "//": lambda a, b: CONTEXT.divide(number(a), _divisor(b)).to_integral_value(ROUND_FLOOR),
    "%": lambda a, b: CONTEXT.remainder(number(a), _divisor(b)),
    "**": _power,
}
