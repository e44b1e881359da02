"""Sets fields of a JSON object and leaves every other byte of its text as it is.

A field is named by the keys that lead to it. What is there is replaced where it stands (every time, where a key stands
twice); what is not there is added behind the opening brace, with the objects around it. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]

_decoder = json.JSONDecoder()
_SPACE = " \t\n\r"


class NotAnObject(ValueError):
    """The text is not a JSON object, or a field's way leads through something that is none."""


def set_fields(body: bytes, changes: Mapping[Path, Any]) -> bytes:
    """The text with these fields set. Raises NotAnObject."""
    try:
        text = body.decode("utf-8")
        for path, value in changes.items():
            at = _space(text, 0)
            text = _set(text, at, path, json.dumps(value, ensure_ascii=False))
    except (ValueError, IndexError, RecursionError) as error:
        raise NotAnObject(str(error)) from error
    return text.encode("utf-8")


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _set(text: str, at: int, path: Path, value: str) -> str:
    """Set one field of the object that begins at `at`."""
    if text[at] != "{":
        raise NotAnObject("no object")
    spans = _members(text, at, path[0])
    if not spans:
        for key in reversed(path[1:]):
            value = f"{{{json.dumps(key)}:{value}}}"
        behind = _space(text, at + 1)
        comma = "" if text[behind] == "}" else ","
        return f"{text[: at + 1]}{json.dumps(path[0])}:{value}{comma}{text[at + 1 :]}"
    for start, end in reversed(spans):
        text = text[:start] + value + text[end:] if len(path) == 1 else _set(text, start, path[1:], value)
    return text


def _members(text: str, at: int, wanted: str) -> list[tuple[int, int]]:
    """Where the values of a key stand in the object that begins at `at`."""
    spans = []
    at = _space(text, at + 1)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        at = _space(text, at)
        if not isinstance(key, str) or text[at] != ":":
            raise NotAnObject("no key")
        start = _space(text, at + 1)
        _, end = _decoder.raw_decode(text, start)
        if key == wanted:
            spans.append((start, end))
        at = _space(text, end)
        if text[at] == ",":
            at = _space(text, at + 1)
            if text[at] == "}":
                raise NotAnObject("a comma before the end")
        elif text[at] != "}":
            raise NotAnObject("no comma")
    return spans
