"""Compiles `emergency`: what is looked for, what is proposed, and what is done without asking."""

from __future__ import annotations

from typing import Final

from proxy.core.emergency_model import EMERGENCY_BY_DEFAULT, PROPOSED, Action, Emergency, Grade, Sort, Table
from proxy.core.rules_checks import Path, Plain, Problem, unknown

_LASTS_LEAST_S: Final = 60.0
_LASTS_MOST_S: Final = 86_400.0


def compile_emergency(document: Plain, problems: list[Problem]) -> Emergency:
    section = document["emergency"]
    if section is None:
        return EMERGENCY_BY_DEFAULT
    at: Path = ("emergency",)
    lasts_s = section["lasts"] or EMERGENCY_BY_DEFAULT.lasts_ms / 1000
    if not _LASTS_LEAST_S <= lasts_s <= _LASTS_MOST_S:
        problems.append(Problem((*at, "lasts"), "action_lasts", hint="action_lasts"))
    known = [f"api:{api['name']}" for api in document["apis"] or ()]
    known += [f"caller:{caller['name']}" for caller in document["callers"] or ()] + ["caller:anonymous"]
    for index, name in enumerate(section["spare"] or ()):
        if name not in known:
            problems.append(unknown((*at, "spare", index), "unknown_spared", name, known))
    automatic = _table(section["automatic"])
    _warn(document, (*at, "automatic"), section["automatic"], problems)
    return Emergency(
        sorts=frozenset(map(Sort, section["detect"])) if section["detect"] else frozenset(Sort),
        proposed=PROPOSED if section["proposed"] is None else _table(section["proposed"]),
        automatic=automatic,
        lasts_ms=round(lasts_s * 1000),
        calm_ms=round((section["resolve_after"] or EMERGENCY_BY_DEFAULT.calm_ms / 1000) * 1000),
        spare=frozenset(section["spare"] or ()),
    )


def _table(section: Plain | None) -> Table:
    if section is None:
        return {}
    return {grade: tuple(map(Action, section[grade.value])) for grade in Grade if section[grade.value]}


def _warn(document: Plain, at: Path, section: Plain | None, problems: list[Problem]) -> None:
    """What would never do anything."""
    optional = any(service["priority"] == "optional" for service in document["services"] or ())
    for grade in Grade:
        for index, word in enumerate((section or {}).get(grade.value) or ()):
            place = (*at, grade.value, index)
            if word == Action.STOP_SERVICES.value and not optional:
                problems.append(Problem(place, "no_optional_services", warning=True))
            elif word == Action.BLOCK_CALLER.value and not document["callers"]:
                problems.append(Problem(place, "one_caller_only", warning=True))
