"""One form for all JSON texts that mean the same: keys in order, no whitespace, numbers as they were written.

Decides when two bodies are one question. Two texts with the same canonical form differ at most in whitespace, in the
order of keys and in how characters are escaped. Numbers are compared by their text (1.0 is not 1, no digit is lost),
because an API may read them otherwise than we would. A text with a key twice, or nested too deeply, has no canonical
form: what it means depends on who reads it.
"""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 200


class _NoForm(Exception):
    """This text does not mean one thing."""


class _Number(str):
    __slots__ = ()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NoForm
    return found


def _no_constant(_: str) -> Any:
    raise _NoForm  # NaN and Infinity are not JSON


_decode = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
).decode


def canonical_json(body: bytes) -> bytes | None:
    """The canonical form in ASCII, or None for what is no JSON text (RFC 8259) or has no single meaning."""
    try:
        parts: list[str] = []
        _write(_decode(body.decode("utf-8")), parts, MAX_DEPTH)
        return "".join(parts).encode("ascii")
    except (ValueError, _NoForm, RecursionError):
        return None


def _write(value: Any, parts: list[str], depth: int) -> None:
    if depth == 0:
        raise _NoForm
    if isinstance(value, _Number):
        parts.append(value)
    elif isinstance(value, str):
        parts.append(json.dumps(value))
    elif isinstance(value, dict):
        opening = "{"
        for key in sorted(value):
            parts.append(f"{opening}{json.dumps(key)}:")
            _write(value[key], parts, depth - 1)
            opening = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        opening = "["
        for item in value:
            parts.append(opening)
            _write(item, parts, depth - 1)
            opening = ","
        parts.append("]" if value else "[]")
    else:
        parts.append({True: "true", False: "false", None: "null"}[value])
