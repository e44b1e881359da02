"""Decide whether a set of rules makes sense as a whole: names, references, rules that can never be reached.

Finds Problems and changes nothing. Knows where in the file a value stands only as a path of keys and indexes; lines,
languages and files are somebody else's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.core.pattern import Effort, covers
from proxy.core.regex import PatternError

Path = tuple[str | int, ...]
Plain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at a path. key: of the sentence `rules.<key>`; hint: of what would be right, if there is one."""

    at: Path
    key: str
    values: Mapping[str, str] = field(default_factory=dict)
    hint: str | None = None
    warning: bool = False
    refers: bool = False  # depends on other parts of the file: not worth telling while those are broken themselves


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What was probably meant."""
    options = list(known)
    folded = {option.lower(): option for option in reversed(options)}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def unknown(at: Path, key: str, word: str, known: Sequence[str], **values: str) -> Problem:
    """A name that refers to nothing, with the one probably meant or all there are."""
    meant = nearest(word, known)
    hint = "did_you_mean" if meant else "known_are" if known else "none_declared"
    listed = ", ".join(sorted(known)[:60])
    return Problem(at, key, {"got": word, "meant": meant or "", "known": listed, **values}, hint, refers=True)


# --- names --------------------------------------------------------------------------------------------------------


def name_problems(document: Plain) -> list[Problem]:
    """Names, mounts and hosts that occur twice."""
    out: list[Problem] = []
    for kind, noun in (("budgets", "budget"), ("callers", "caller"), ("apis", "api"), ("alerts", "channel")):
        out += _twice(
            [((kind, index, "name"), item["name"]) for index, item in enumerate(document[kind] or ())], f"twice_{noun}"
        )
    mounts: list[tuple[Path, str]] = []
    hosts: list[tuple[Path, str]] = []
    for index, api in enumerate(document["apis"] or ()):
        mount = api["mount"] if api["mount"] is not None else api["name"]
        mounts.append((("apis", index, "mount" if api["mount"] is not None else "name"), mount.strip("/").lower()))
        hosts += [(("apis", index, "hosts", i), host.lower()) for i, host in enumerate(api["hosts"] or ())]
        out += _twice(
            [
                (("apis", index, "prices", i, "name" if price["name"] else "match"), price["name"] or str(i + 1))
                for i, price in enumerate(api["prices"])
            ],
            "twice_rule",
        )
    names = {problem.at[:2] for problem in out if problem.key == "twice_api"}
    out += [problem for problem in _twice(mounts, "twice_mount") if problem.at[:2] not in names]
    out += _twice(hosts, "twice_host")
    return out


def _twice(places: list[tuple[Path, str]], key: str) -> list[Problem]:
    first: dict[str, Path] = {}
    out: list[Problem] = []
    for at, name in places:
        if name in first:
            out.append(Problem(at, key, {"got": name, "first": path_text(first[name])}, "give_other_name"))
        else:
            first[name] = at
    return out


def path_text(at: Path) -> str:
    """apis[0].prices[1].match"""
    out = ""
    for part in at:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


# --- budgets ------------------------------------------------------------------------------------------------------


def reference_problems(document: Plain) -> list[Problem]:
    """Budgets that apply to what does not exist."""
    apis = {api["name"]: api for api in document["apis"] or ()}
    callers = [caller["name"] for caller in document["callers"] or ()]
    out: list[Problem] = []
    for index, budget in enumerate(document["budgets"] or ()):
        scope = budget["applies_to"]
        if scope is None:
            continue
        at = ("budgets", index, "applies_to")
        if scope["api"] is not None and scope["api"] not in apis:
            out.append(unknown((*at, "api"), "unknown_api", scope["api"], list(apis)))
        elif scope["rule"] is not None and rule_id(document, scope) is None:
            known = [
                f"{name}/{rule_name(price, i)}"
                for name, api in apis.items()
                if scope["api"] in (None, name)
                for i, price in enumerate(api["prices"])
            ]
            out.append(unknown((*at, "rule"), "unknown_rule", scope["rule"], known))
        if scope["caller"] is not None and scope["caller"] not in callers:
            out.append(unknown((*at, "caller"), "unknown_caller", scope["caller"], callers))
    return out


def rule_name(price: Plain, index: int) -> str:
    """The last part of a rule's id: its name, else its number from 1."""
    return str(price["name"]) if price["name"] is not None else str(index + 1)


def rule_id(document: Plain, scope: Plain) -> tuple[str, str] | None:
    """(API, rule id) that `applies_to` means with "api/rule", or with the rule's own name beside `api`."""
    wanted = scope["rule"]
    for api in document["apis"] or ():
        if scope["api"] not in (None, api["name"]):
            continue
        for index, price in enumerate(api["prices"]):
            name = rule_name(price, index)
            if wanted == f"{api['name']}/{name}" or (scope["api"] is not None and wanted == name):
                return api["name"], f"{api['name']}/{name}"
    return None


# --- rules that are never reached -----------------------------------------------------------------------------------


def unreachable_problems(document: Plain) -> list[Problem]:
    """Rules whose every call an earlier rule of the same API takes first.

    Only what is certain is reported, and of very many intricate rules perhaps not all: the work is bounded.
    """
    out: list[Problem] = []
    effort = Effort()
    for index, api in enumerate(document["apis"] or ()):
        prices = api["prices"]
        for later in range(1, len(prices)):
            if effort.steps < 0:
                return out
            for earlier in range(later):
                if (
                    meant_for(prices[later]) <= meant_for(prices[earlier])
                    and _takes_all(prices[earlier]["match"], prices[later]["match"], effort)
                    and not (may_price_tunnel(prices[later]) and not _prices_every_tunnel(prices[earlier]))
                ):
                    out.append(
                        Problem(
                            ("apis", index, "prices", later),
                            "unreachable",
                            {"earlier": path_text(("apis", index, "prices", earlier))},
                            "move_up",
                        )
                    )
                    break
    return out


CALL, WEBSOCKET = "call", "websocket"
_OF_CONVERSATIONS = (*("per_connection", "per_message", "per_minute", "per_second", "per_kb", "tokens", "catalog"),)


def meant_for(price: Plain) -> frozenset[str]:
    """What a rule can hold for. Any number of calls passes through a WebSocket, so a price for each call, or none at
    all, is meant for one only where the rule says so; what is counted by message is meant for nothing else."""
    said = (price["match"] or {}).get("websocket")
    if said is not None:
        return frozenset({WEBSOCKET if said else CALL})
    if price["per_message"] is not None:
        return frozenset({WEBSOCKET})
    if any(price[kind] is not None for kind in _OF_CONVERSATIONS):
        return frozenset({CALL, WEBSOCKET})
    return frozenset({CALL})


_NOT_IN_TUNNEL = ("path", "header", "query", "json")


def may_price_tunnel(price: Plain) -> bool:
    """Of a tunnel nothing is seen but its host, so a rule may be there for tunnels alone (see match.match)."""
    tests = price["match"] or {}
    seen = not any(tests.get(kind) for kind in _NOT_IN_TUNNEL)
    method = tests.get("method")
    meant = "CONNECT" in method if method else price["per_connection"] is not None or price["per_kb"] is not None
    return seen and meant and price["catalog"] is None and price["tokens"] is None


def _prices_every_tunnel(price: Plain) -> bool:
    return may_price_tunnel(price) and not price["per_unit"]


_NO_TESTS: Plain = dict.fromkeys(("method", "host", "path", "header", "query", "json"))


def _takes_all(earlier: Plain | None, later: Plain | None, effort: Effort) -> bool:
    """Does every call that fits `later` fit `earlier`?"""
    if earlier is None:
        return True
    if later is None:
        return _takes_all(earlier, _NO_TESTS, effort)
    return (
        (not earlier["method"] or (bool(later["method"]) and set(later["method"]) <= set(earlier["method"])))
        and _hosts_cover(earlier["host"], later["host"])
        and _paths_cover(earlier["path"], later["path"], effort)
        and _tests_cover(earlier["header"], later["header"], fold=True)
        and _tests_cover(earlier["query"], later["query"])
        and _tests_cover(earlier["json"], later["json"])
    )


def _hosts_cover(earlier: Sequence[str] | None, later: Sequence[str] | None) -> bool:
    return not earlier or (bool(later) and set(later or ()) <= set(earlier))


def _paths_cover(earlier: Sequence[str] | None, later: Sequence[str] | None, effort: Effort) -> bool:
    if not earlier:
        return True
    if not later:
        return any(path in ("/**", "/*", "**", "*") for path in earlier)  # every path begins with a slash
    try:
        return all(any(covers(wide, narrow, effort) for wide in earlier) for narrow in later)
    except PatternError:
        return False


def _tests_cover(earlier: Plain | None, later: Plain | None, fold: bool = False) -> bool:
    """Does each of the earlier tests follow from the later ones?"""
    if not earlier:
        return True
    have = {name.lower() if fold else name: test for name, test in (later or {}).items()}
    for name, (kind, value) in earlier.items():
        test = have.get(name.lower() if fold else name)
        if test is None:
            return False
        other, wanted = test
        follows = (
            (kind == other and value == wanted)
            or (kind == "equals" and other == "equals" and set(wanted) <= set(value))
            or (kind == "present" and value is True and other in ("equals", "matches"))
        )
        if not follows:
            return False
    return True
