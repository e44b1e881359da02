"""Decide whether a user's regular expression may run on the request path: only if no text makes it slow.

Python's engine tries every way to divide a text among repeats. The parsed expression is walked to count how many of
those ways there can be: exponentially many are refused, and so is everything worse than quadratic. A refused expression
may be harmless all the same; it can be written otherwise.
"""

from __future__ import annotations

import re
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

MAX_PATTERN = 500  # characters of a glob or a regular expression
MAX_REGEX_INPUT = 2048  # characters that an expression of quadratic work is tried on
MAX_INPUT = 1 << 24


class PatternError(ValueError):
    """A pattern that cannot be used; ``key`` names the reason ("regex_slow", "glob_question", ...)."""

    def __init__(self, key: str, detail: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.detail = detail


_OTHER = 128  # stands for every character beyond ASCII
_ALL = frozenset(range(129))
_MANY = 10  # a repeat up to more than this counts as unbounded
_MAX_LOOSE = 3


@lru_cache(maxsize=4096)
def compile_regex(text: str) -> re.Pattern[str]:
    """A user's regular expression for `search`. PatternError: wrong, or some input would make it slow.

    Accepted are expressions whose repeats cannot divide a text among themselves in exponentially many ways, and of
    polynomial ones only the quadratic, for texts up to `input_limit`: that bounds the work of one test.
    """
    if len(text) > MAX_PATTERN:
        raise PatternError("pattern_long")
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError("regex_wrong", str(getattr(error, "msg", error))) from None
    _degree(compiled)
    return compiled


@lru_cache(maxsize=4096)
def input_limit(pattern: re.Pattern[str]) -> int:
    """The longest text worth testing: any for globs and linear expressions, MAX_REGEX_INPUT for quadratic ones.

    A longer text never fits.
    """
    if pattern.flags & re.DOTALL and pattern.pattern.startswith("\\A"):
        return MAX_INPUT
    return MAX_INPUT if _degree(pattern) <= 1 else MAX_REGEX_INPUT


def _degree(pattern: re.Pattern[str]) -> int:
    """1: the work grows as the text, 2: as its square. PatternError("regex_slow"): worse."""
    tree = sre_parser.parse(pattern.pattern)
    checker = _RegexCheck(bool(pattern.flags & re.IGNORECASE))
    checker.walk(list(tree), in_repeat=False)
    anchored = bool(tree) and str(tree[0][1]).startswith("AT_BEGINNING") and not pattern.flags & re.MULTILINE
    # each repeat that may hand characters on multiplies the work of what comes after it, and so does a free beginning
    degree = 1 + sum(checker.ambiguous[:-1]) + (0 if anchored or not checker.ambiguous else 1)
    if degree > 2 or checker.loose > _MAX_LOOSE:
        raise PatternError("regex_slow")
    return degree


class _RegexCheck:
    """Walk over the parsed expression. `ambiguous`: of each unbounded repeat, in order, whether it can hand characters
    to what follows it."""

    def __init__(self, ignore_case: bool) -> None:
        self.ignore_case = ignore_case
        self.ambiguous: list[bool] = []
        self.loose = 0  # characters that short repeats can hand on: each may double the work

    def walk(self, items: Sequence[Any], in_repeat: bool) -> None:
        for index, (op, argument) in enumerate(items):
            name = str(op)
            if name in ("GROUPREF", "GROUPREF_EXISTS"):
                raise PatternError("regex_slow")
            if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
                low, high, body = argument
                self._repeat(low, int(high), list(body), items[index + 1 :], in_repeat)
            elif name == "SUBPATTERN":
                self.walk([*argument[3], *self._first_stub(items[index + 1 :])], in_repeat)
            elif name == "ATOMIC_GROUP":
                self.walk(list(argument), in_repeat)
            elif name in ("ASSERT", "ASSERT_NOT"):
                before = len(self.ambiguous)
                self.walk(list(argument[1]), in_repeat=True)
                if len(self.ambiguous) != before:
                    raise PatternError("regex_slow")
            elif name == "BRANCH":
                self._branch([list(branch) for branch in argument[1]], items[index + 1 :], in_repeat)

    def _first_stub(self, following: Sequence[Any]) -> list[Any]:
        """What comes after a group, as one item of it, so that the group's last repeat sees its follower."""
        return [("STUB", self._first(following)[0])] if following else []

    def _branch(self, branches: list[list[Any]], following: Sequence[Any], in_repeat: bool) -> None:
        if in_repeat and self._overlaps([("BRANCH", (None, branches))]):
            raise PatternError("regex_slow")
        for branch in branches:
            self.walk([*branch, *self._first_stub(following)], in_repeat)

    def _repeat(self, low: int, high: int, body: list[Any], following: Sequence[Any], in_repeat: bool) -> None:
        if high > _MANY:
            if self._varies(body) and not self._delimited(body):
                raise PatternError("regex_slow")
            if self._first(body)[1]:
                raise PatternError("regex_slow")
            self.ambiguous.append(bool(following and self._all(body) & self._first(following)[0]))
            inside, loose = len(self.ambiguous), self.loose
            self.walk([*body, ("STUB", self._first([*following, *body])[0] | self._first(body)[0])], in_repeat=True)
            if any(self.ambiguous[inside:]) or self.loose != loose:
                raise PatternError("regex_slow")  # every round would multiply it
        else:
            if low != high and following and self._all(body) & self._first(following)[0]:
                self.loose += high - low
            if (high > 1 and self._overlaps(body)) or (low != high and self._first(body)[1]):
                self.loose += high  # the same text in two ways
            again = [("STUB", self._first(body)[0] | (self._first(following)[0] if following else frozenset()))]
            for _ in range(max(1, high)):  # a short repeat is as bad as its rounds written out
                self.walk([*body, *again] if high > 1 else [*body, *self._first_stub(following)], in_repeat)

    def _overlaps(self, items: Iterable[Any]) -> bool:
        """Does it contain alternatives that can begin alike?"""
        for op, argument in items:
            if str(op) == "BRANCH":
                firsts = [self._first(list(branch)) for branch in argument[1]]
                if any(a[0] & b[0] or a[1] or b[1] for i, a in enumerate(firsts) for b in firsts[i + 1 :]):
                    return True
            if any(self._overlaps(part) for part in _parts(op, argument)):
                return True
        return False

    def _varies(self, items: Iterable[Any]) -> bool:
        """Does it contain a repeat of changeable length, or alternatives?"""
        return any(
            (str(op).endswith("_REPEAT") and argument[0] != argument[1])
            or str(op) == "BRANCH"
            or any(self._varies(part) for part in _parts(op, argument))
            for op, argument in items
        )

    def _delimited(self, body: list[Any]) -> bool:
        """Does every round begin or end with a character that occurs nowhere else in it, like ``(/[^/]+)*``?"""
        while len(body) == 1 and str(body[0][0]) == "SUBPATTERN":
            body = list(body[0][1][3])
        if len(body) < 2:
            return all(str(op) == "BRANCH" for op, _ in body) and not self._long_branch(body)
        for edge, rest in ((body[0], body[1:]), (body[-1], body[:-1])):
            if str(edge[0]) == "LITERAL" and not self._all([edge]) & self._all(rest):
                return True
        return all(str(op) in ("LITERAL", "IN", "BRANCH") for op, _ in body) and not self._long_branch(body)

    def _long_branch(self, body: list[Any]) -> bool:
        return any(str(op) == "BRANCH" and any(self._varies(branch) for branch in arg[1]) for op, arg in body)

    def _single(self, op: Any, argument: Any) -> frozenset[int] | None:
        """Characters that a one-character item takes; None when it is not one."""
        name = str(op)
        if name == "STUB":
            return frozenset(argument)
        if name == "LITERAL":
            return self._fold({min(argument, _OTHER)})
        if name == "NOT_LITERAL":
            return _ALL - {argument} if argument < _OTHER else _ALL
        if name == "ANY":
            return _ALL
        if name == "IN":
            return self._class(argument)
        return None

    def _fold(self, found: set[int]) -> frozenset[int]:
        if self.ignore_case:
            found |= {ord(chr(code).swapcase()) for code in found if code < _OTHER}
        return frozenset(found)

    def _class(self, items: Sequence[Any]) -> frozenset[int]:
        found: set[int] = set()
        negate = False
        for op, argument in items:
            name = str(op)
            if name == "NEGATE":
                negate = True
            elif name == "LITERAL":
                found.add(min(argument, _OTHER))
            elif name == "RANGE":
                found |= set(range(argument[0], min(argument[1], _OTHER) + 1)) if argument[0] < _OTHER else {_OTHER}
            else:
                test: dict[str, Callable[[str], bool]] = {
                    "DIGIT": str.isdigit,
                    "SPACE": str.isspace,
                    "WORD": lambda c: c.isalnum() or c == "_",
                }
                kind = str(argument).removeprefix("CATEGORY_")
                inside = {c for c in range(128) if test[kind.removeprefix("NOT_")](chr(c))}
                found |= (set(range(128)) - inside if kind.startswith("NOT_") else inside) | {_OTHER}
        folded = self._fold(found)
        return (_ALL - folded) | {_OTHER} if negate else folded

    def _all(self, items: Iterable[Any]) -> frozenset[int]:
        """Every character that may occur in it."""
        out: frozenset[int] = frozenset()
        for op, argument in items:
            single = self._single(op, argument)
            out |= single if single is not None else frozenset()
            for part in _parts(op, argument):
                out |= self._all(part)
        return out

    def _first(self, items: Sequence[Any]) -> tuple[frozenset[int], bool]:
        """(characters it may begin with, may it be empty)."""
        out: frozenset[int] = frozenset()
        for op, argument in items:
            name = str(op)
            single = self._single(op, argument)
            if single is not None:
                return out | single, False
            if name == "AT" and str(argument).startswith("AT_END"):
                return out, False  # what is given back to an end is not tried any further
            if name in ("AT", "ASSERT", "ASSERT_NOT"):
                continue
            if name.endswith("_REPEAT"):
                first, nullable = self._first(list(argument[2]))
                empty = nullable or argument[0] == 0
                out |= first
            else:
                found = [self._first(list(part)) for part in _parts(op, argument)]
                out |= frozenset().union(*(first for first, _ in found))
                empty = any(nullable for _, nullable in found) or not found
            if not empty:
                return out, False
        return out, True


def _parts(op: Any, argument: Any) -> Iterator[Sequence[Any]]:
    name = str(op)
    if name.endswith("_REPEAT"):
        yield argument[2]
    elif name == "SUBPATTERN":
        yield argument[3]
    elif name == "ATOMIC_GROUP":
        yield argument
    elif name == "BRANCH":
        yield from argument[1]
    elif name in ("ASSERT", "ASSERT_NOT"):
        yield argument[1]
