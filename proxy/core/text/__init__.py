"""Every sentence that a person reads, in English and Korean, looked up by key.

One dictionary a topic lives beside this file. A text is a `str.format` template; both languages of a key use the same
placeholders (a test holds them to it). Nothing here knows where a sentence will be shown.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

LANGUAGES = ("en", "ko")


def _collect() -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for module in pkgutil.iter_modules(__path__):
        for key, texts in importlib.import_module(f"{__name__}.{module.name}").TEXT.items():
            if key in found:
                raise ValueError(f"text key {key!r} is defined twice")
            found[key] = texts
    return found


CATALOGUE: Mapping[str, Mapping[str, str]] = _collect()


def say(key: str, language: str, **values: object) -> str:
    """The sentence for `key` in `language` ("en" | "ko"; anything else reads as English). KeyError: no such key."""
    texts = CATALOGUE[key]
    template = texts.get(language) or texts["en"]
    return template.format(**values)
