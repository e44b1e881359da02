"""Decide what the path and host patterns of the rules mean.

A glob is compiled to a regular expression that cannot backtrack badly; of two path globs it can be decided exactly
whether the first covers everything the second can match. A "~regex" is the user's own (core/regex.py). Nothing here
knows rules, requests, or where a pattern was written.

Path globs: ``*`` matches inside one segment, ``**`` across segments, ``/**/`` also nothing in between, and a ``*`` at
the very end of the pattern across segments too (``/v1/*`` is everything below ``/v1/``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from proxy.core.regex import MAX_PATTERN, PatternError, compile_regex

MAX_STARS = 16

STAR, GLOBSTAR, DIRS = "*", "**", "**/"

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_NON_ASCII = re.compile("[^\x00-\x7f]+")


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
