"""Decide how many units a call counts for, from an expression in the rules.

    length(request.to) * ceil(len(request.text) / 70)

Text becomes a tree of small Python functions once; evaluating walks them with exact decimals. Nothing of Python is
reachable from an expression: no attributes, no calls but the functions listed here, no strings that grow. Knows nothing
of prices. A mistake in the text is an ExpressionError with its column; a failing evaluation is a value.

Grammar: numbers, 'strings', true, false, null; a root and what is picked from it (``request.items[0].name``,
``request["odd key"]``, ``response.items[*].size``); ``+ - * / // % **``, comparisons, ``and or not``,
``x if condition else y``, parentheses, and the functions of FUNCTIONS. Missing values are null, null counts as 0,
and text that is a number counts as that number (form fields and query parameters are text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal, DecimalException
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from proxy.core.model import Outbound, Usage

ROOTS: Mapping[str, str] = {
    "request": "the request's body: JSON, or the fields of a form",
    "query": "the parameters of the request's URL",
    "request_headers": "the request's headers by lower-case name",
    "response": "the response's JSON body",
    "status": "the response's status code",
    "bytes_up": "bytes of the request's body",
    "bytes_down": "bytes of the response's body",
    "seconds": "how long the call took",
}
AFTERWARDS = frozenset(("response", "status", "bytes_down", "seconds"))  # known only when the call is over
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
MAX_LENGTH = 500
MAX_DEPTH = 32
MAX_POWER = 64
MAX_RESULT = Decimal(10) ** 15
_MAX_NUMBER_TEXT = 40

Values = Mapping[str, Any]
_Node = Callable[[Values], Any]

_CONTEXT = Context(prec=60, Emax=999, Emin=-999)
_ZERO, _ONE = Decimal(0), Decimal(1)


class ExpressionError(ValueError):
    """An expression that is no expression. `key` names the reason, `column` is 1-based."""

    def __init__(self, key: str, column: int, found: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.column = column
        self.found = found


@dataclass(frozen=True, slots=True)
class ExpressionFailed:
    """An evaluation that gave no usable number: `reason` is a short English phrase for logs and explanations."""

    reason: str


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. `roots` are the names of ROOTS that it reads."""

    text: str
    roots: frozenset[str]
    run: _Node

    @property
    def needs_request(self) -> bool:
        return "request" in self.roots

    @property
    def needs_response(self) -> bool:
        return "response" in self.roots

    @property
    def known_before(self) -> bool:
        """Can it be evaluated before the call?"""
        return not self.roots & AFTERWARDS


class _Wrong(Exception):
    """Stops an evaluation; becomes an ExpressionFailed."""


def evaluate(program: Program, values: Values) -> Decimal | ExpressionFailed:
    """The number of units, finite and at least 0, or why there is none. Never raises."""
    try:
        number = _number(program.run(values))
        if number < 0:
            return ExpressionFailed("negative result")
        if number > MAX_RESULT:
            return ExpressionFailed("result too large")
        return number
    except _Wrong as wrong:
        return ExpressionFailed(str(wrong))
    except ZeroDivisionError:
        return ExpressionFailed("division by zero")
    except (DecimalException, RecursionError, OverflowError, ValueError):
        return ExpressionFailed("not computable")


# --- values ---------------------------------------------------------------------------------------------------------

_JSON = msgspec.json.Decoder(float_hook=Decimal)


def request_values(outbound: Outbound) -> dict[str, Any]:
    """What is known before the call: decoded body (JSON or a URL-encoded form), query, headers, body size."""
    body: Any = None
    if outbound.body:
        kind = (outbound.header("content-type") or "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            body = _fields(outbound.body.decode("utf-8", "replace"))
        else:
            try:
                body = _JSON.decode(outbound.body)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, DecimalException):
                body = None
    headers: dict[str, str] = {}
    for name, value in outbound.headers:
        headers.setdefault(name, value)
    size = outbound.body_size if outbound.body_size is not None else len(outbound.body or b"")
    return {"request": body, "query": _fields(outbound.query), "request_headers": headers, "bytes_up": size}


def call_values(outbound: Outbound, usage: Usage) -> dict[str, Any]:
    """What is known after the call: `request_values` and the response's body, status, sizes and time."""
    return {
        **request_values(outbound),
        "response": usage.response,
        "status": usage.status,
        "bytes_up": usage.bytes_up,
        "bytes_down": usage.bytes_down,
        "seconds": usage.seconds,
    }


def _fields(text: str) -> dict[str, str | list[str]]:
    """Form or query fields: a text each, a list where a name is repeated."""
    out: dict[str, str | list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        before = out.get(name)
        if before is None:
            out[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            out[name] = [before, value]
    return out


_NUMBER_TEXT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)


def _number(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise _Wrong("not a finite number")
        return value
    if isinstance(value, bool):
        return _ONE if value else _ZERO
    if isinstance(value, int):
        return Decimal(value)
    if value is None:
        return _ZERO
    if isinstance(value, float):
        return _number(Decimal(repr(value)))
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_TEXT and _NUMBER_TEXT.fullmatch(value.strip()):
        return Decimal(value.strip())
    kind = "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
    raise _Wrong(f"{kind} where a number is needed")


def _truth(value: Any) -> bool:
    return bool(value)


def _pick(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, _Each):
        return _Each([found for item in value if (found := _pick(item, name)) is not None])
    return None


def _at(value: Any, index: int) -> Any:
    if isinstance(value, _Each):
        return _Each([found for item in value if (found := _at(item, index)) is not None])
    if isinstance(value, list) and -len(value) <= index < len(value):
        return value[index]
    return None


def _each(value: Any) -> Any:
    if isinstance(value, _Each):
        return _Each([item for inner in value if isinstance(inner, list) for item in inner])
    return _Each(value) if isinstance(value, list) else _Each()


class _Each(list[Any]):
    """The items of a list picked with [*]: what is picked further is picked from each of them."""


# --- functions ----------------------------------------------------------------------------------------------------


def _length(value: Any) -> Decimal:
    if value is None:
        return _ZERO
    if isinstance(value, str | list | dict):
        return Decimal(len(value))
    if isinstance(value, bool):
        raise _Wrong("length of true or false")
    return Decimal(len(str(value)))


def _count(value: Any) -> Decimal:
    if value is None:
        return _ZERO
    return Decimal(len(value)) if isinstance(value, list) else _ONE


def _round(value: Any, places: Any = 0) -> Decimal:
    digits = _number(places)
    if not -12 <= digits <= 12:
        raise _Wrong("round to too many places")
    return _number(value).quantize(Decimal(1).scaleb(-int(digits)), ROUND_HALF_UP, _CONTEXT)


def _numbers(values: tuple[Any, ...]) -> list[Decimal]:
    flat = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return [_number(value) for value in flat]


def _sum(*values: Any) -> Decimal:
    total = _ZERO
    for number in _numbers(values):
        total = _CONTEXT.add(total, number)
    return total


_CALLS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {  # fewest and most arguments
    "length": (1, 1, _length),
    "len": (1, 1, _length),
    "count": (1, 1, _count),
    "ceil": (1, 1, lambda value: _number(value).to_integral_value(ROUND_CEILING)),
    "floor": (1, 1, lambda value: _number(value).to_integral_value(ROUND_FLOOR)),
    "round": (1, 2, _round),
    "int": (1, 1, lambda value: _number(value).to_integral_value(ROUND_DOWN)),
    "abs": (1, 1, lambda value: abs(_number(value))),
    "min": (1, 16, lambda *values: min(_numbers(values), default=_ZERO)),
    "max": (1, 16, lambda *values: max(_numbers(values), default=_ZERO)),
    "sum": (1, 16, _sum),
}


def _power(base: Any, exponent: Any) -> Decimal:
    power = _number(exponent)
    if abs(power) > MAX_POWER:
        raise _Wrong("power too large")
    return _CONTEXT.power(_number(base), power)


def _compare(left: Any, right: Any, operator: str) -> bool:
    if operator in ("==", "!="):
        same: bool
        if left is None or right is None:
            same = left is right
        elif isinstance(left, str) and isinstance(right, str):
            same = left == right
        else:
            try:
                same = _number(left) == _number(right)
            except _Wrong:
                same = False
        return same == (operator == "==")
    a, b = _number(left), _number(right)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: _CONTEXT.add(_number(a), _number(b)),
    "-": lambda a, b: _CONTEXT.subtract(_number(a), _number(b)),
    "*": lambda a, b: _CONTEXT.multiply(_number(a), _number(b)),
    "/": lambda a, b: _CONTEXT.divide(_number(a), _number(b)),
    "//": lambda a, b: _CONTEXT.divide(_number(a), _number(b)).to_integral_value(ROUND_FLOOR),
    "%": lambda a, b: _CONTEXT.remainder(_number(a), _number(b)),
    "**": _power,
}

# --- reading ------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>'[^'\\]*'|"[^"\\]*")|(?P<sign>\*\*|//|==|!=|<=|>=|[-+*/%<>()\[\].,])""",
    re.VERBOSE | re.ASCII,
)
_BINARY = {"or": 1, "and": 2, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4}
_BINARY |= {"+": 5, "-": 5, "*": 6, "/": 6, "//": 6, "%": 6, "**": 8}
_NOT, _MINUS = 3, 7
_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_WORDS = frozenset(("and", "or", "not", "if", "else", *_CONSTANTS))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "number" | "name" | "string" | "sign" | "end"
    text: str
    column: int


def compile_expression(text: str) -> Program:
    """Read an expression. Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError("expression_long", 1)
    reader = _Reader(text)
    run = reader.expression()
    if reader.now.kind != "end":
        raise ExpressionError("expression_unexpected", reader.now.column, reader.now.text)
    return Program(text, frozenset(reader.roots), run)


class _Reader:
    """Top-down operator precedence over the tokens; builds one function a node."""

    def __init__(self, text: str) -> None:
        self.tokens = list(self._scan(text))
        self.place = 0
        self.depth = 0
        self.roots: set[str] = set()

    @staticmethod
    def _scan(text: str) -> list[_Token]:
        out: list[_Token] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ExpressionError("expression_character", at + 1, text[at])
            if found.lastgroup != "space":
                out.append(_Token(str(found.lastgroup), found[0], at + 1))
            at = found.end()
        out.append(_Token("end", "", len(text) + 1))
        return out

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.now
        if token.kind != "end":
            self.place += 1
        return token

    def expect(self, sign: str) -> None:
        token = self.take()
        if token.kind not in ("sign", "name") or token.text != sign:
            raise ExpressionError("expression_expected", token.column, sign)

    def is_next(self, text: str) -> bool:
        return self.now.kind in ("sign", "name") and self.now.text == text

    def expression(self) -> _Node:
        """Anything, with `x if condition else y` as the loosest of all."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError("expression_deep", self.now.column)
        value = self.binary(0)
        if self.is_next("if"):
            self.take()
            condition = self.binary(0)
            self.expect("else")
            other = self.expression()
            chosen = value
            self.depth -= 1
            return lambda values: chosen(values) if _truth(condition(values)) else other(values)
        self.depth -= 1
        return value

    def binary(self, lowest: int) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError("expression_deep", self.now.column)
        left = self.prefix()
        compared = False
        while self.now.kind in ("sign", "name") and _BINARY.get(self.now.text, 0) > lowest:
            operator = self.take()
            strength = _BINARY[operator.text]
            if strength == _BINARY["=="]:
                if compared:
                    raise ExpressionError("expression_chain", operator.column, operator.text)
                compared = True
            # "**" binds to the right, and its exponent may have a sign
            right = self.binary(strength - 1 if operator.text == "**" else strength)
            left = _join(operator.text, left, right)
        self.depth -= 1
        return left

    def prefix(self) -> _Node:
        if self.is_next("not"):
            self.take()
            denied = self.binary(_NOT)
            return lambda values: not _truth(denied(values))
        if self.is_next("-"):
            self.take()
            negated = self.binary(_MINUS)
            return lambda values: _CONTEXT.minus(_number(negated(values)))
        if self.is_next("+"):
            self.take()
            return self.binary(_MINUS)
        return self.postfix(self.primary())

    def primary(self) -> _Node:
        token = self.take()
        if token.kind == "number":
            number = Decimal(token.text)
            return lambda values: number
        if token.kind == "string":
            text = token.text[1:-1]
            return lambda values: text
        if token.kind == "name":
            return self.named(token)
        if token.kind == "sign" and token.text == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if token.kind == "end":
            raise ExpressionError("expression_end", token.column)
        raise ExpressionError("expression_unexpected", token.column, token.text)

    def named(self, token: _Token) -> _Node:
        name = token.text
        if name in _CONSTANTS:
            constant = _CONSTANTS[name]
            return lambda values: constant
        if name in _WORDS:
            raise ExpressionError("expression_unexpected", token.column, name)
        if self.is_next("("):
            return self.call(token)
        if name not in ROOTS:
            raise ExpressionError("expression_function" if name in FUNCTIONS else "expression_root", token.column, name)
        self.roots.add(name)
        return lambda values: values.get(name)

    def call(self, token: _Token) -> _Node:
        known = _CALLS.get(token.text)
        if known is None:
            raise ExpressionError("expression_call", token.column, token.text)
        fewest, most, function = known
        self.take()
        arguments: list[_Node] = []
        while not self.is_next(")"):
            if arguments:
                self.expect("," if self.is_next(",") else ")")
            arguments.append(self.expression())
        self.take()
        if not fewest <= len(arguments) <= most:
            raise ExpressionError("expression_arguments", token.column, token.text)
        if len(arguments) == 1:
            (only,) = arguments
            return lambda values: function(only(values))
        return lambda values: function(*(argument(values) for argument in arguments))

    def postfix(self, node: _Node) -> _Node:
        while True:
            if self.is_next("."):
                self.take()
                token = self.take()
                if token.kind != "name":
                    raise ExpressionError("expression_expected", token.column, "name")
                node = _picked(node, token.text)
            elif self.is_next("["):
                self.take()
                node = self.subscript(node)
                self.expect("]")
            else:
                return node

    def subscript(self, node: _Node) -> _Node:
        token = self.take()
        if token.kind == "sign" and token.text == "*":
            return lambda values: _each(node(values))
        if token.kind == "string":
            return _picked(node, token.text[1:-1])
        minus = token.kind == "sign" and token.text == "-"
        if minus:
            token = self.take()
        if token.kind == "number" and token.text.isdigit() and len(token.text) <= 6:
            index = -int(token.text) if minus else int(token.text)
            return lambda values: _at(node(values), index)
        raise ExpressionError("expression_subscript", token.column, token.text)


def _picked(node: _Node, name: str) -> _Node:
    return lambda values: _pick(node(values), name)


def _join(operator: str, left: _Node, right: _Node) -> _Node:
    if operator == "and":
        return lambda values: left(values) and right(values)
    if operator == "or":
        return lambda values: left(values) or right(values)
    if operator in _ARITHMETIC:
        compute = _ARITHMETIC[operator]
        return lambda values: compute(left(values), right(values))
    return lambda values: _compare(left(values), right(values), operator)
