"""The grammar of what a rule asks beside counting: `cache`, `retry` and `degrade`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic_core import PydanticCustomError

from proxy.core.model import StatusSet
from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import Duration, statuses
from proxy.rules_values import (
    Amount,
    Flag,
    HeaderName,
    Leaf,
    Many,
    Percent,
    SecretText,
    Text,
    TrueOnly,
    choice,
    whole,
    wrong,
)

_SIZE = re.compile(r"([1-9][0-9]{0,6}) ?(KB|MB|GB)", re.ASCII)
_SIZES = {"KB": 1024, "MB": 1024**2, "GB": 1024**3}


def size(value: Any) -> int:
    """Bytes of "500KB", "1MB" or "2GB", of 1024 each; at most 64 GB."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) * _SIZES[found[2]] > 64 * 1024**3:
        raise wrong("bad_size", value)
    return int(found[1]) * _SIZES[found[2]]


Size = Annotated[
    int, Leaf(size, {"type": "string", "pattern": "^[1-9][0-9]{0,6} ?(KB|MB|GB)$", "examples": ["500KB", "1MB"]})
]


class Cache(Model):
    """Keep answers, and give them again to the same question: the same method, address, headers and body."""

    ttl: Duration = must("How long an answer is fresh where the API says nothing, and the longest that any is.")
    stale: Duration = key("How much longer it is kept for when the API fails (default: not at all).")
    vary: Annotated[list[HeaderName], Many()] = key(
        "Request headers that belong to the question (default: Accept, Accept-Language, and the version, organization "
        "and project headers of the large APIs)."
    )
    scope: Annotated[str, choice("caller", "shared")] = key(
        "Whose an answer is: `caller` (default), only who asked gets it again; `shared`, everybody does."
    )
    max_bytes: Size = key('The largest answer that is kept: "500KB", "1MB" (default).')
    max_total: Size = key('All answers of the rule together (default "64MB"); those that end soonest go first.')
    wait: Duration = key("How long an identical call waits for one that is under way (default 30s).")
    obey: Flag = key("Does what the API says in Cache-Control and Expires hold? (default: true)")


# --- retries -------------------------------------------------------------------------------------------------------

_WORDS = ("connect", "timeout")
MOST_ATTEMPTS = 10


def failure(value: Any) -> str | StatusSet:
    """ "connect", "timeout", or a status such as 429 or 5xx."""
    if value in _WORDS:
        return str(value)
    try:
        found = statuses(value)
    except PydanticCustomError:
        raise wrong("retry_failure", value) from None
    if any(low < 300 for low, _ in found.ranges):
        raise wrong("retry_success", value)
    return found


def few(value: Any) -> int:
    found = whole(value)
    if found > MOST_ATTEMPTS:
        raise wrong("retry_attempts", value, most=str(MOST_ATTEMPTS))
    return found


Few = Annotated[int, Leaf(few, {"type": "integer", "minimum": 1, "maximum": MOST_ATTEMPTS})]
Failure = Annotated[
    Any,
    Leaf(failure, {"type": ["string", "integer"], "examples": ["connect", "timeout", 429, "5xx", "500-504"]}),
]


class Retry(Model):
    """Make a call again that failed, where that can do nothing twice."""

    attempts: Few = key("Attempts in all, the first included (default 3); 1: never again.")
    on: Annotated[list[Failure], Many()] = key(
        "Failures that count: statuses, `connect` (nothing was sent, or the connection broke) and `timeout` (default: "
        "429, 5xx, connect, timeout)."
    )
    backoff: Duration = key("The shortest pause before an attempt (default 200ms); pauses grow, with chance.")
    max_backoff: Duration = key("The longest (default 5s). An API that asks for a longer one is not asked again.")
    budget: Percent = key("Share of the API's calls that repeats may be (default 10%).")
    repeatable: Flag = key(
        "These calls may be made twice even if their method does not say so, such as questions to a model (default: "
        "false)."
    )


# --- the ladder ----------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,5}", re.ASCII)
_FRACTION = re.compile(r"[+-]?[0-9]+\.[0-9]+", re.ASCII)


def fields(value: Any) -> dict[tuple[str, ...], str | int | bool]:
    """{("model",): "gpt-5-mini", ("generationConfig", "maxOutputTokens"): 500} of {model: ..., a.b: ...}."""
    if not isinstance(value, dict) or not value:
        raise wrong("ladder_set", value)
    for name, item in value.items():
        if not isinstance(name, str) or not _PLACE.fullmatch(name):
            raise wrong("ladder_field", name)
        if not isinstance(item, str | int) or (isinstance(item, str) and _FRACTION.fullmatch(item)):
            raise wrong("ladder_value", item)
    return {tuple(name.split(".")): item for name, item in value.items()}


Fields = Annotated[
    dict[tuple[str, ...], Any],
    Leaf(
        fields,
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "integer", "boolean"]},
            "examples": [{"model": "gpt-5-mini", "max_tokens": 500}],
        },
    ),
]


class RungHeader(Model):
    """A header for the cheaper upstream."""

    header: HeaderName = must("Name of the header.")
    value: SecretText = must("Its value, with environment variables as ${NAME}.")


class Rung(Model):
    """What changes from a percent of the tightest budget on; everything of the rungs below holds too."""

    at: Percent = must("Percent of the tightest budget, spent and held by calls in flight, from which the rung holds.")
    set_: Fields = key(
        "Fields of the JSON body: {model: gpt-5-mini, max_tokens: 500}, inside objects with dots. A number is never "
        "raised above what was asked.",
        alias="set",
    )
    serve_stale: TrueOnly = key("Answer from the rule's `cache`, even if stale, where it has an answer.")
    upstream: Text = key("Address of a cheaper place for the same calls.")
    credentials: Annotated[list[RungHeader], Many()] = key("Headers with the key for that place; no other goes there.")
    catalog: Text = key("Whose prices in the catalogue hold there (default: the rule's).")
    per_request: Amount = key("Price of a call there (default: the rule's).")
