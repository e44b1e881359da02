"""Decide whether a text fits a pattern of the rules: globs for paths and hosts, and regular expressions kept harmless.

A glob is compiled to a regular expression that cannot backtrack badly; of two path globs it can be decided exactly
whether the first covers everything the second can match. A user's own regular expression is accepted only when no
input makes it slow. Nothing here knows rules, requests, or where a pattern was written.

Path globs: ``*`` matches inside one segment, ``**`` across segments, ``/**/`` also nothing in between, and a ``*`` at
the very end of the pattern across segments too (``/v1/*`` is everything below ``/v1/``).
"""

from __future__ import annotations

import re
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MAX_PATTERN = 500  # characters of a glob or a regular expression
MAX_STARS = 16
MAX_REGEX_INPUT = 2048  # characters that an expression of quadratic work is tried on
MAX_INPUT = 1 << 24

STAR, GLOBSTAR, DIRS = "*", "**", "**/"

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_NON_ASCII = re.compile("[^\x00-\x7f]+")


class PatternError(ValueError):
    """A pattern that cannot be used; ``key`` names the reason ("regex_slow", "glob_question", ...)."""

    def __init__(self, key: str, detail: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.detail = detail


def normal_escapes(text: str) -> str | None:
    """Bring percent-encoding to one form: unreserved characters decoded, the rest with upper-case digits.

    Characters beyond ASCII become the escapes of their UTF-8 bytes. None: a "%" without two hexadecimal digits.
    """
    if "%" in text:
        if _BAD_PERCENT.search(text):
            return None
        text = _ENCODED.sub(_unescape, text)
    if not text.isascii():
        text = _NON_ASCII.sub(
            lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape")), text
        )
    return text


def _unescape(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code in _UNRESERVED else found[0].upper()


# --- globs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Glob:
    """A path glob in parts: ``head`` literally, then pairs of a wildcard and the literal text after it."""

    head: str
    pairs: tuple[tuple[str, str], ...]


@lru_cache(maxsize=4096)
def parse_path_glob(text: str) -> Glob:
    """Take a path glob apart. PatternError: it cannot mean what its author hopes."""
    if len(text) > MAX_PATTERN:
        raise PatternError("pattern_long")
    if not text.startswith(("/", "*")):
        raise PatternError("glob_start")
    if "?" in text or "#" in text:
        raise PatternError("glob_question")
    if any(character in text for character in "[]{}\\") or not text.isprintable() or " " in text:
        raise PatternError("glob_character")
    if "***" in text:
        raise PatternError("glob_stars")
    parts = re.split(r"(\*\*|\*)", text)
    literals = [normal_escapes(part) for part in parts[::2]]
    stars = parts[1::2]
    if len(stars) > MAX_STARS:
        raise PatternError("glob_stars")
    if any(literal is None for literal in literals):
        raise PatternError("glob_percent")
    if any(segment in (".", "..") for segment in "".join(parts).split("/")):
        raise PatternError("glob_dots")
    head, *rest = [literal or "" for literal in literals]
    pairs: list[tuple[str, str]] = []
    before = head
    for index, (star, literal) in enumerate(zip(stars, rest, strict=True)):
        last = index == len(stars) - 1
        if last and star == STAR and not literal:
            star = GLOBSTAR
        if star == GLOBSTAR and literal.startswith("/") and (before.endswith("/") or (not before and index == 0)):
            pairs.append((DIRS, literal[1:]))
        else:
            pairs.append((star, literal))
        before = literal
    return Glob(head, tuple(pairs))


_ANY_OF = {STAR: "[^/]*?", GLOBSTAR: ".*?", DIRS: "(?:[^/]*/)*?"}


def _glob_regex(glob: Glob) -> str:
    """The glob as a regular expression for `search`.

    The text after a wildcard is taken where it occurs first and that choice is final (an atomic group): any later
    place can reach nothing that the first cannot, as long as a wider or equal wildcard follows. Only the part after
    the last `**` is tried again, so the work stays within path length times pattern length.
    """
    units: list[list[tuple[str, str]]] = [[]]
    for star, literal in glob.pairs:
        if star != STAR:
            units.append([])
        units[-1].append((star, literal))
    open_end = bool(glob.pairs) and glob.pairs[-1] == (GLOBSTAR, "")
    if open_end:
        units.pop()
    out = [r"\A", re.escape(glob.head)]
    for number, unit in enumerate(units):
        final = number == len(units) - 1 and not open_end
        body = []
        for position, (star, literal) in enumerate(unit):
            piece = _ANY_OF[star] + re.escape(literal)
            again = final and (position == len(unit) - 1 or star != STAR)
            body.append(piece if again or star != STAR else f"(?>{piece})")
        text = "".join(body)
        out.append(text if final or number == 0 else f"(?>{text})")
    if not open_end:
        out.append(r"\Z")
    return "".join(out)


@lru_cache(maxsize=4096)
def compile_path(text: str) -> re.Pattern[str]:
    """A path pattern of the rules, glob or "~regex", for `search` on a normal path. Raises PatternError."""
    if text.startswith("~"):
        return compile_regex(text[1:])
    return re.compile(_glob_regex(parse_path_glob(text)), re.DOTALL)


@lru_cache(maxsize=4096)
def compile_host(text: str) -> re.Pattern[str]:
    """A host pattern, exact or with ``*`` for any characters, or "~regex", for `search` on a lower-case name."""
    if text.startswith("~"):
        return compile_regex(text[1:])
    if not re.fullmatch(r"[A-Za-z0-9.*:_\[\]-]{1,253}", text) or text.count("*") > 4:
        raise PatternError("host_pattern")
    pieces = [re.escape(piece) for piece in text.lower().split("*")]
    return re.compile(r"\A" + ".*".join(pieces) + r"\Z")


class Effort:
    """How much comparing of globs is still worth it; shared by the comparisons of one file."""

    __slots__ = ("steps",)

    def __init__(self, steps: int = 1_000_000) -> None:
        self.steps = steps


def covers(wide: str, narrow: str, effort: Effort | None = None) -> bool:
    """True only if every path that fits the pattern `narrow` also fits `wide`; False also means "cannot tell"."""
    effort = effort or Effort()
    effort.steps -= 1
    if wide == narrow:
        return True
    if wide.startswith("~") or narrow.startswith("~"):
        return False
    a, b = parse_path_glob(wide), parse_path_glob(narrow)
    # a literal beginning that differs decides most comparisons
    common = min(len(a.head), len(b.head))
    if a.head[:common] != b.head[:common]:
        return False
    if a.pairs == ((GLOBSTAR, ""),):
        return b.head.startswith(a.head)
    return _includes(_tokens(a), _tokens(b), effort)


def _tokens(glob: Glob) -> tuple[str, ...]:
    out: list[str] = list(glob.head)
    for star, literal in glob.pairs:
        # a literal "*" cannot occur in a glob, so the wildcard names are no characters
        out += [star + "\0", *literal]
    return tuple(out)


def _closure(tokens: tuple[str, ...], states: Iterable[tuple[int, bool]]) -> frozenset[tuple[int, bool]]:
    """States reachable without reading: (tokens done, inside a directory name of a DIRS token)."""
    out: set[tuple[int, bool]] = set()
    for place, inside in states:
        at = place
        out.add((at, inside))
        while not inside and at < len(tokens) and tokens[at].endswith("\0"):
            at += 1
            out.add((at, False))
    return frozenset(out)


def _step(tokens: tuple[str, ...], states: frozenset[tuple[int, bool]], character: str) -> frozenset[tuple[int, bool]]:
    after: list[tuple[int, bool]] = []
    for place, inside in states:
        if place == len(tokens):
            continue
        token = tokens[place]
        if token == DIRS + "\0":
            after.append((place, character != "/"))
        elif token == GLOBSTAR + "\0" or (token == STAR + "\0" and character != "/"):
            after.append((place, False))
        elif token == character and not inside:
            after.append((place + 1, False))
    return _closure(tokens, after)


def _includes(wide: tuple[str, ...], narrow: tuple[str, ...], effort: Effort) -> bool:
    """Search for a text that fits `narrow` and not `wide`; one character stands for all that neither mentions."""
    alphabet = {token for token in (*wide, *narrow) if not token.endswith("\0")} | {"/", "\x01"}
    start = (_closure(narrow, [(0, False)]), _closure(wide, [(0, False)]))
    seen = {start}
    todo = [start]
    while todo:
        few, many = todo.pop()
        if (len(narrow), False) in few and (len(wide), False) not in many:
            return False
        effort.steps -= 10 * len(alphabet)
        if effort.steps < 0:
            return False
        for character in alphabet:
            following = _step(narrow, few, character)
            if not following:
                continue
            pair = (following, _step(wide, many, character))
            if pair not in seen:
                seen.add(pair)
                todo.append(pair)
    return True


# --- regular expressions of users ---------------------------------------------------------------------------------

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
                test = {"DIGIT": str.isdigit, "SPACE": str.isspace, "WORD": lambda c: c.isalnum() or c == "_"}
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
