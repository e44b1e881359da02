"""The grammar of what a rule asks beside counting: `cache`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import Duration
from proxy.rules_values import Flag, HeaderName, Leaf, Many, choice, wrong

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
