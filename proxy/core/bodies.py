"""Decides what kind of body an answer has, and takes the few odd ones apart.

By media type, or by the first byte where that does not say. Knows nothing of usage and prices; nothing raises on bad
bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from enum import Enum, auto
from typing import Any

import msgspec

from proxy.core import reading

_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


class Shape(Enum):
    IGNORED = auto()  # nothing in it is needed
    UNDECIDED = auto()  # the media type does not say; the first byte will
    JSON = auto()
    EVENTS = auto()
    LINES = auto()
    FRAMES = auto()


def shape_of(media: bytes) -> Shape:
    """By the media type alone, lower-case and without parameters."""
    if media == b"text/event-stream":
        return Shape.EVENTS
    if media == b"application/vnd.amazon.eventstream":
        return Shape.FRAMES
    if media in (b"application/x-ndjson", b"application/jsonl", b"application/stream+json", b"application/json-lines"):
        return Shape.LINES
    if media == b"application/json" or media.endswith(b"+json"):
        return Shape.JSON
    if media.startswith((b"audio/", b"image/", b"video/", b"multipart/")) or media == b"application/octet-stream":
        return Shape.IGNORED
    return Shape.UNDECIDED


def sniffed(first: int) -> Shape:
    """What a body without a telling media type is, by its first byte that is not white space."""
    if first in b"{[":
        return Shape.JSON
    return Shape.EVENTS if first in b":dei" else Shape.IGNORED  # a comment, data:, event:, id:


def unpacked(payload: bytes) -> bytes:
    """The event inside a frame of InvokeModelWithResponseStream: {"bytes": base64}."""
    outer = reading.value(payload)
    packed = outer.get("bytes") if isinstance(outer, dict) else None
    if not isinstance(packed, str):
        return payload
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        return payload


def elements(text: bytes) -> list[bytes]:
    """The elements of an array, also of one that was cut: then those that are whole."""
    try:
        return [bytes(raw) for raw in _raws(text)]
    except _UNREADABLE:
        pass
    found: list[bytes] = []
    rest = text[1:].decode("utf-8", "ignore").lstrip()
    scan = json.JSONDecoder().raw_decode
    while rest:
        try:
            _, end = scan(rest)
        except (ValueError, RecursionError):
            break
        found.append(rest[:end].encode())
        rest = rest[end:].lstrip().removeprefix(",").lstrip()
    return found


def list_in(text: bytes, name: str) -> list[Any] | None:
    """The list under this member of a JSON object, None when there is none."""
    found = reading.value(text)
    member = found.get(name) if isinstance(found, dict) else None
    return member if isinstance(member, list) else None


def spoken_characters(body: bytes | None) -> int | None:
    """Characters of a text-to-speech request: what those APIs bill by, and do not repeat in the answer."""
    found = reading.value(body) if body else None
    if not isinstance(found, dict):
        return None
    for name in ("input", "text"):
        if isinstance(found.get(name), str):
            return len(found[name])
    return None
