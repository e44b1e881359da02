"""What a call becomes when the budget nears its end: the rungs of its rule's ladder that are reached.

Decides over values: a budget's level gives a `Step` (all rungs reached, taken together; a later one overrules those
before it), a step and a request's body give the body that is sent instead. A number is never raised above what was
asked, and
a body that is signed or is no JSON object is not touched. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from proxy.core.handling_model import Rung
from proxy.core.jsonedit import NotAnObject, set_fields
from proxy.core.model import Estimate, Level, Outbound, Rule

Path = tuple[str, ...]

# Names of one thing: where a request has one of them, that one is lowered.
_SAME = (frozenset(("max_tokens", "max_completion_tokens", "max_output_tokens")),)
_SIGNATURES = frozenset(
    ("content-digest", "digest", "content-md5", "signature", "signature-input", "x-amz-content-sha256", "x-amz-date")
)


@dataclass(frozen=True, slots=True)
class Step:
    """The rungs that are reached, as one. at_bp: of the highest. sets: field -> value. elsewhere: cheaper upstream."""

    at_bp: int
    sets: tuple[tuple[Path, Any], ...] = ()
    serve_stale: bool = False
    elsewhere: Rung | None = None


def step(rungs: Sequence[Rung], level: Level | None, own_atoms: int = 0) -> Step | None:
    """What holds at this level of the tightest budget; None: nothing yet. own_atoms: what this call itself holds."""
    if level is None or level.limit_atoms <= 0:
        return None
    used = level.spent_atoms + max(0, level.reserved_atoms - own_atoms)
    return together([rung for rung in rungs if used * 10_000 >= rung.at_bp * level.limit_atoms])


def together(reached: Sequence[Rung]) -> Step | None:
    """Rungs as one step; None for none."""
    if not reached:
        return None
    sets: dict[Path, Any] = {}
    for rung in reached:
        sets.update(rung.sets)
    elsewhere = next((rung for rung in reversed(reached) if rung.upstream is not None), None)
    return Step(reached[-1].at_bp, tuple(sets.items()), any(rung.serve_stale for rung in reached), elsewhere)


def is_signed(headers: Iterable[tuple[str, str]], query: str) -> bool:
    """Whether the request says what its body or destination must be: AWS SigV4, Content-Digest and the like."""
    for name, value in headers:
        if name in _SIGNATURES or (name == "authorization" and value.startswith(("AWS4-", "Signature ", "OAuth "))):
            return True
    return "X-Amz-Signature=" in query


def rewritten(body: bytes, sets: Sequence[tuple[Path, Any]]) -> tuple[bytes, tuple[str, ...]]:
    """The body with what the step sets, and the names of the fields that changed; () where nothing is to be done."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body, ()
    if not isinstance(document, dict):
        return body, ()
    changes: dict[Path, Any] = {}
    for wanted, value in sets:
        path = _present(document, wanted)
        asked = _value(document, path)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if is_number and isinstance(asked, int | float) and not isinstance(asked, bool) and asked <= value:
            continue
        if asked != value or type(asked) is not type(value):
            changes[path] = value
    if not changes:
        return body, ()
    try:
        return set_fields(body, changes), tuple(".".join(path) for path in changes)
    except NotAnObject:
        return body, ()


def candidates(rule: Rule, outbound: Outbound, reached: Step) -> Iterator[tuple[Rule, Outbound, tuple[str, ...]]]:
    """What a call may become at a step: its rule (with the prices that then hold), the call, the fields changed.

    The first whose estimate is no higher than that of the call as asked for is the one to make; a model of the rung's
    that is dearer than the one asked for is left out in the second.
    """
    if is_signed(outbound.headers, outbound.query):
        return
    place = reached.elsewhere.upstream if reached.elsewhere is not None else None
    if place is not None and (place.catalog is not None or place.per_request is not None):
        price = rule.price
        catalog = place.catalog if place.catalog is not None else price.catalog
        per_request = place.per_request if place.per_request is not None else price.per_request
        rule = replace(rule, price=replace(price, catalog=catalog, per_request=per_request))
    for sets in (reached.sets, tuple(pair for pair in reached.sets if pair[0] != ("model",))):
        body, names = rewritten(outbound.body, sets) if outbound.body else (outbound.body, ())
        if names:
            yield rule, structs.replace(outbound, body=body, body_size=len(body or b"")), names
        elif place is not None:
            yield rule, outbound, ()


def cheaper(asked: Estimate, changed: Estimate, currency: str) -> bool:
    """Whether a changed call is no dearer than the one asked for, as far as anybody can tell."""
    known = asked.problem is None and changed.problem is None
    return known and changed.cost.atoms[currency] <= asked.cost.atoms[currency]


def _present(document: dict[str, Any], path: Path) -> Path:
    """The name under which the request itself has this field."""
    for names in _SAME:
        if len(path) == 1 and path[0] in names:
            found = [name for name in names if name in document]
            return (found[0],) if found else path
    return path


def _value(document: Any, path: Path) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def told(at_bp: int, names: Sequence[str], *, stale: bool = False, elsewhere: bool = False) -> str:
    """The value of X-Spendgate-Degraded: at=80; set=model,max_tokens."""
    parts = [f"at={at_bp / 100:g}"]
    if names:
        parts.append(f"set={','.join(names)}")
    if stale:
        parts.append("serve_stale")
    if elsewhere:
        parts.append("upstream")
    return "; ".join(parts)
