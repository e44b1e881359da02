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
from decimal import Decimal, DecimalException
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from proxy.core.arithmetic import ARITHMETIC, CALLS, CONTEXT, FUNCTIONS, Wrong, at, compare, each, number, pick
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
MAX_LENGTH = 500
MAX_DEPTH = 32
MAX_RESULT = Decimal(10) ** 15

Values = Mapping[str, Any]
_Node = Callable[[Values], Any]


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


def evaluate(program: Program, values: Values) -> Decimal | ExpressionFailed:
    """The number of units, finite and at least 0, or why there is none. Never raises."""
    try:
        units = number(program.run(values))
        if units < 0:
            return ExpressionFailed("negative result")
        if units > MAX_RESULT:
            return ExpressionFailed("result too large")
        return units
    except Wrong as wrong:
        return ExpressionFailed(str(wrong))
    except ZeroDivisionError:
        return ExpressionFailed("division by zero")
    except (DecimalException, RecursionError, OverflowError, ValueError):
        return ExpressionFailed("not computable")


# --- values --------------------------------------------------------------------------------------------------------

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
            return lambda values: chosen(values) if bool(condition(values)) else other(values)
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
            return lambda values: not bool(denied(values))
        if self.is_next("-"):
            self.take()
            negated = self.binary(_MINUS)
            return lambda values: CONTEXT.minus(number(negated(values)))
        if self.is_next("+"):
            self.take()
            return self.binary(_MINUS)
        return self.postfix(self.primary())

    def primary(self) -> _Node:
        token = self.take()
        if token.kind == "number":
            constant = Decimal(token.text)
            return lambda values: constant
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
        known = CALLS.get(token.text)
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
            return lambda values: each(node(values))
        if token.kind == "string":
            return _picked(node, token.text[1:-1])
        minus = token.kind == "sign" and token.text == "-"
        if minus:
            token = self.take()
        if token.kind == "number" and token.text.isdigit() and len(token.text) <= 6:
            index = -int(token.text) if minus else int(token.text)
            return lambda values: at(node(values), index)
        raise ExpressionError("expression_subscript", token.column, token.text)


def _picked(node: _Node, name: str) -> _Node:
    return lambda values: pick(node(values), name)


def _join(operator: str, left: _Node, right: _Node) -> _Node:
    if operator == "and":
        return lambda values: left(values) and right(values)
    if operator == "or":
        return lambda values: left(values) or right(values)
    if operator in ARITHMETIC:
        compute = ARITHMETIC[operator]
        return lambda values: compute(left(values), right(values))
    return lambda values: compare(left(values), right(values), operator)
