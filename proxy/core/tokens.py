"""Decides how many tokens a text is, exactly for OpenAI's models and as an upper bound for all others.

Two uses: the worst case of a request's input (`bound`), and the running count of a stream's output (`count_deltas`).
The vocabularies take 65 MB, so they are loaded with the first text of a model that needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

EXACT_CAP = 256 * 1024  # characters that are counted exactly; above, the bound by bytes holds

_VENDOR = re.compile(r"^(?:[\w.-]+/)*(?:openai[/.])?")
_ENCODINGS = (
    (re.compile(r"gpt-oss"), "o200k_harmony"),
    (
        re.compile(r"gpt-(?:4o|4\.1|4\.5|[5-9])|chatgpt-4o|o[1-9](?:$|-)|codex|computer-use|omni-moderation"),
        "o200k_base",
    ),
    (re.compile(r"gpt-(?:4|3\.5|35)|text-embedding-|davinci-002|babbage-002"), "cl100k_base"),
)


@lru_cache(maxsize=1024)
def encoding_of(model: str) -> str | None:
    """The name of the exact encoding for a model of OpenAI's family, None for all others."""
    name = _VENDOR.sub("", model.lower(), count=1)
    return next((encoding for pattern, encoding in _ENCODINGS if pattern.match(name)), None)


@lru_cache(maxsize=8)
def _counter(encoding: str) -> Callable[[str], int]:
    """How this encoding counts. The library's own functions look the encoding up for each text."""
    import toktok

    counter: Callable[[str], int] = toktok._encoding(encoding).count
    return counter


def load(model: str) -> None:
    """Load what counting for this model needs, so that the first request does not wait for it."""
    encoding = encoding_of(model)
    if encoding is not None:
        count("", encoding)


def count(text: str, encoding: str) -> int:
    """Exact number of tokens of one text."""
    return _counter(encoding)(text)


def bound(text: bytes, model: str | None) -> int:
    """At least as many tokens as this text can be for the model.

    A byte-level vocabulary never needs more than one token a byte, which is all that is known of models whose
    vocabulary is not published.
    """
    encoding = encoding_of(model) if model else None
    if encoding is None or len(text) > EXACT_CAP:
        return len(text)
    return count(text.decode("utf-8", "replace"), encoding)


def count_deltas(texts: Sequence[str], model: str | None) -> int:
    """Tokens of the pieces of a stream, each at least 1: exact for OpenAI's models, else bytes / 3, rounded up.

    Providers send a token or a few a piece, so counting the pieces one by one is never below the whole by more than the
    little that merging across pieces would save.
    """
    encoding = encoding_of(model) if model else None
    if encoding is None:
        return sum((len(text.encode("utf-8", "replace")) + 2) // 3 for text in texts)
    counter = _counter(encoding)
    return sum(max(1, counter(text)) for text in texts)
