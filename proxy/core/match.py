"""Decide which API a call goes to, which rule prices it, and which budgets it counts for.

Everything is looked up in a checked RuleSet; nothing here knows prices, money left, sockets or files. This runs on
every request: patterns are compiled beforehand, and the JSON body is decoded at most once and only when a rule that
could still match looks into it.

The lookup tables of a rule set are built on first use and kept here, by identity, for the newest few rule sets (calls
in flight keep the one they began with).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import jmespath
import msgspec

from proxy.core.guards import Guards
from proxy.core.model import Api, Budget, Caller, FieldTest, Match, Outbound, Rule, RuleSet
from proxy.core.pattern import normal_escapes
from proxy.core.regex import MAX_REGEX_INPUT, input_limit
from proxy.core.text import say

HOST_SUFFIX = ".spendgate.local"
_WELL_KNOWN_PORTS = frozenset((80, 443))

# --- where a call goes ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Index:
    """Lookup tables of one rule set."""

    rules: RuleSet
    mounts: dict[str, Api] = field(default_factory=dict)
    names: dict[str, Api] = field(default_factory=dict)  # mount, lower case, for host-based addressing
    exact: dict[tuple[str, int | None], Api] = field(default_factory=dict)  # port None: 80, 443 or the upstream's
    wildcards: list[tuple[str, int | None, Api]] = field(default_factory=list)  # ".example.com", longest first
    upstreams: dict[tuple[str, int], Api] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)  # names of APIs with a rule that looks into bodies
    body_matchers: set[str] = field(default_factory=set)  # names of APIs with a rule that body or length decide
    chains: dict[tuple[str, str], tuple[Budget, ...]] = field(default_factory=dict)
    guards: dict[tuple[str, str], Guards] = field(default_factory=dict)


_MAX_INDEXES = 4
_MAX_CHAINS = 10_000
_indexes: dict[int, _Index] = {}  # by id(rules); each holds its rules, so an id cannot be reused meanwhile


def _index(rules: RuleSet) -> _Index:
    found = _indexes.get(id(rules))
    if found is not None:
        return found
    index = _Index(rules)
    for api in rules.apis:
        index.mounts.setdefault(api.mount, api)
        index.names.setdefault(api.mount.lower(), api)
        index.upstreams.setdefault((api.host, api.port), api)
        if any(rule.needs_body for rule in api.rules):
            index.readers.add(api.name)
        if any(_looks_at_body(rule.match) for rule in api.rules):
            index.body_matchers.add(api.name)
        for text in api.hosts:
            host, port = split_host(text)
            if host.startswith("*."):
                index.wildcards.append((host[1:], port, api))
            else:
                index.exact.setdefault((host, port), api)
    index.wildcards.sort(key=lambda entry: (-len(entry[0]), entry[1] is None))
    while len(_indexes) >= _MAX_INDEXES:
        _indexes.pop(next(iter(_indexes)))
    _indexes[id(rules)] = index
    return index


def split_host(text: str) -> tuple[str, int | None]:
    """Take "Host:port" apart: (lower-case name without brackets or final dot, port or None)."""
    name, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or (":" in name and not name.startswith("[")):
        name, port = text, ""
    return name.strip("[]").rstrip(".").lower(), int(port) if port else None


def destination_reverse(rules: RuleSet, host_header: str | None, target_path: str) -> tuple[Api, str] | None:
    """The API that a call to the proxy itself is meant for, and the path that remains for it (without the mount).

    `Host: <mount>.spendgate.local` wins over the path's first segment. The rest always begins with "/"; the
    upstream's own base path is not in it.
    """
    index = _index(rules)
    if host_header is not None and HOST_SUFFIX in host_header.lower():
        host, _ = split_host(host_header)
        if host.endswith(HOST_SUFFIX):
            named = index.names.get(host[: -len(HOST_SUFFIX)])
            return (named, target_path or "/") if named is not None else None
    end = target_path.find("/", 1)
    mount, rest = (target_path[1:], "/") if end < 0 else (target_path[1:end], target_path[end:])
    api = index.mounts.get(mount)
    return (api, rest) if api is not None and target_path[:1] == "/" else None


def destination_forward(rules: RuleSet, scheme: str, host: str, port: int) -> Api | None:
    """The API behind a host and port that a program wants to reach through the proxy.

    In this order: a declared name with this port, a declared name (any of ports 80 and 443, or the upstream's), the
    same for wildcards with the longest first, an API's own upstream address. scheme ("http", "https", "connect") is
    not decisive: a tunnel and a plain request to one host are one API.
    """
    index = _index(rules)
    host = host.strip("[]").rstrip(".").lower()
    api = index.exact.get((host, port))
    if api is not None:
        return api
    api = index.exact.get((host, None))
    if api is not None and (port in _WELL_KNOWN_PORTS or port == api.port):
        return api
    for suffix, wanted, candidate in index.wildcards:
        if host.endswith(suffix) and len(host) > len(suffix):
            fits = port == wanted if wanted is not None else port in _WELL_KNOWN_PORTS or port == candidate.port
            if fits:
                return candidate
    return index.upstreams.get((host, port))


def looks_into_bodies(rules: RuleSet, api: Api) -> bool:
    """Whether a rule of the API needs the request's body."""
    return api.name in _index(rules).readers


def chain(rules: RuleSet, api: Api, rule: Rule, caller: Caller) -> tuple[Budget, ...]:
    """The budgets that a call counts for, in the order of the file."""
    chains = _index(rules).chains
    key = (rule.id, caller.name)
    found = chains.get(key)
    if found is None:
        found = tuple(
            budget
            for budget in rules.budgets
            if (budget.api is None or budget.api == api.name)
            and (budget.rule is None or budget.rule == rule.id)
            and (budget.caller is None or budget.caller == caller.name)
        )
        if len(chains) >= _MAX_CHAINS:
            chains.clear()
        chains[key] = found
    return found


def guards(rules: RuleSet, api: Api, rule: Rule, caller: Caller) -> Guards:
    """The rate limits and circuit breakers that a call is asked about: of its API, its rule and its caller."""
    known = _index(rules).guards
    key = (rule.id, caller.name)
    found = known.get(key)
    if found is None:
        limited = tuple(one for one in (api.limited, rule.limited, caller.limited) if one is not None)
        breakers = tuple(one for one in (api.breaker, rule.breaker) if one is not None)
        if len(known) >= _MAX_CHAINS:
            known.clear()
        found = known[key] = Guards(limited, breakers, api.obey)
    return found


# --- the path, in one form ------------------------------------------------------------------------------------------

_CLEAN_PATH = re.compile(r"/[A-Za-z0-9_~!$&'()*+,;=:@/.-]*")
_BAD_PATH = re.compile(r"[\x00-\x20\x7f#?\\]")
_SEPARATOR = re.compile(r"/|%2F|%5C")


def normal_path(path: str) -> str | None:
    """One form for paths that mean the same: escapes of unreserved characters decoded, other escapes in upper case.

    Duplicate slashes and ``%2F`` stay as they are. None: not a path that can be judged safely; it has a dot segment
    (``.``, ``..``, also escaped, or beside an escaped slash or backslash, or with ``;parameters``), a broken escape, a
    control character, a space, a backslash, "#" or "?". See RFC 3986 sections 2.3, 3.3 and 6.2.2.
    """
    if _CLEAN_PATH.fullmatch(path) and "/." not in path:
        return path
    if not path:
        return "/"
    if path[0] != "/" or _BAD_PATH.search(path):
        return None
    try:
        normal = normal_escapes(path)
    except UnicodeEncodeError:
        return None
    if normal is None:
        return None
    for segment in _SEPARATOR.split(normal):
        if segment[:1] == "." and segment.partition(";")[0] in (".", ".."):
            return None
    return normal


# --- which rule ------------------------------------------------------------------------------------------------------


def match(api: Api, outbound: Outbound, path: str | None = None) -> Rule | None:
    """The first rule of the API that the call fits, or None. path: the call's normal path, where it is known already.

    Of a tunnel ("connect") nothing is seen but host and port, and any number of calls passes through it: rules that
    look at paths, headers, bodies or answers never match one, nor do rules that were not made for tunnels.
    """
    tunnel = outbound.scheme == "connect"
    if tunnel:
        path = None
    elif path is None:
        path = normal_path(outbound.path)
        if path is None:
            return None
    inside: _Inside | None = None
    websocket = outbound.websocket
    for rule in api.rules:
        wanted = rule.match
        if not (rule.for_websockets if websocket else rule.for_calls):
            continue
        if wanted.methods is not None and outbound.method not in wanted.methods:
            continue
        if wanted.paths is not None and (path is None or not _fits(wanted.paths, path)):
            continue
        if wanted.hosts is not None and not _fits(wanted.hosts, outbound.host):
            continue
        if tunnel:
            if _unseen_in_tunnel(rule):
                continue
        elif wanted.headers or wanted.query or wanted.json:
            if inside is None:
                inside = _Inside(outbound)
            if inside.failing(wanted) is not None:
                continue
        return rule
    return None


def by_head_alone(rules: RuleSet, api: Api) -> bool:
    """Whether which rule of the API a call fits can be told from its head, whatever body it has and however long."""
    return api.name not in _index(rules).body_matchers


def _looks_at_body(test: Match) -> bool:
    return bool(test.json) or any(field.name == "content-length" for field in test.headers)


def _unseen_in_tunnel(rule: Rule) -> bool:
    wanted, price = rule.match, rule.price
    if price.per_connection is None and price.per_kb is None and "CONNECT" not in (wanted.methods or ()):
        return True  # a price for each call, or none at all, was hardly meant to cover all calls of a tunnel
    return bool(rule.needs_body or rule.needs_response or wanted.paths or wanted.headers or wanted.query or wanted.json)


def _fits(patterns: tuple[re.Pattern[str], ...], text: str) -> bool:
    for pattern in patterns:
        if (len(text) <= MAX_REGEX_INPUT or len(text) <= input_limit(pattern)) and pattern.search(text) is not None:
            return True
    return False


class _Inside:
    """What tests on headers, query and JSON body look at, decoded when first asked for."""

    __slots__ = ("_body", "_query", "outbound")

    def __init__(self, outbound: Outbound) -> None:
        self.outbound = outbound
        self._query: dict[str, list[str]] | None = None
        self._body: Any = _UNREAD

    def failing(self, wanted: Match) -> tuple[str, FieldTest] | None:
        """The first test that does not hold, with its place ("header", "query", "json"), or None."""
        for test in wanted.headers:
            if not _holds(test, [value for name, value in self.outbound.headers if name == test.name]):
                return "header", test
        if wanted.query:
            query = self._query_fields()
            for test in wanted.query:
                if not _holds(test, query.get(test.name, [])):
                    return "query", test
        if wanted.json:
            body = self._json()
            for test in wanted.json:
                if body is _UNKNOWN or not _holds(test, _texts(_picker(test.name)(body))):
                    return "json", test
        return None

    def _query_fields(self) -> dict[str, list[str]]:
        if self._query is None:
            fields: dict[str, list[str]] = {}
            for name, value in parse_qsl(self.outbound.query, keep_blank_values=True):
                fields.setdefault(name, []).append(value)
            self._query = fields
        return self._query

    def _json(self) -> Any:
        if self._body is _UNREAD:
            self._body = decode_json(self.outbound)
        return self._body


_UNREAD = object()
_UNKNOWN = object()  # there is a body, but it was not read: no test on it holds, not even "absent"


def decode_json(outbound: Outbound) -> Any:
    """The request's JSON body; None when there is none or it is no JSON."""
    body = outbound.body
    if body is None:
        unread = bool(outbound.body_size) or outbound.header("transfer-encoding") is not None
        return _UNKNOWN if unread else None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


_SIMPLE_PICK = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@lru_cache(maxsize=4096)
def _picker(expression: str) -> Callable[[Any], Any]:
    """A function that picks a JMESPath out of decoded JSON; plain dotted names do without the library."""
    if _SIMPLE_PICK.fullmatch(expression):
        names = expression.split(".")

        def pick(value: Any) -> Any:
            for name in names:
                if not isinstance(value, dict):
                    return None
                value = value.get(name)
            return value

        return pick
    compiled = jmespath.compile(expression)

    def search(value: Any) -> Any:
        try:
            return compiled.search(value)
        except (jmespath.exceptions.JMESPathError, RecursionError, ArithmeticError, TypeError, ValueError):
            return None

    return search


def _texts(value: Any) -> list[str]:
    """The text forms that tests compare: of a scalar its own, of a list those of its items; [] is "absent"."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        return ["{...}"] if value else []
    return [text_form(value)]


def text_form(value: object) -> str:
    """One text for values that a person would write alike: true, 1, 1.5 (also for 1.50)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        try:
            number = Decimal(repr(value) if isinstance(value, float) else value)
            return format(number.normalize(), "f") if number.is_finite() else str(value)
        except InvalidOperation:
            return str(value)
    return str(value)


def _holds(test: FieldTest, values: list[str]) -> bool:
    if test.present is not None:
        return bool(values) == test.present
    if test.equals is not None:
        return any(value in test.equals for value in values)
    pattern = test.pattern
    return pattern is not None and any(len(value) <= input_limit(pattern) and pattern.search(value) for value in values)


# --- why, for people ----------------------------------------------------------------------------------------------


def explain(api: Api, outbound: Outbound, language: str = "en") -> list[tuple[Rule, str | None]]:
    """Every rule of the API in order with the reason why it did not match; None marks the one that did."""
    out: list[tuple[Rule, str | None]] = []
    tunnel = outbound.scheme == "connect"
    path = None if tunnel else normal_path(outbound.path)
    inside = _Inside(outbound)
    chosen: Rule | None = None
    for rule in api.rules:
        why = _why_not(rule, outbound, path, tunnel, inside)
        if chosen is not None:
            why = ("match.earlier", {"rule": chosen.id})
        elif why is None:
            chosen = rule
        out.append((rule, None if why is None else say(why[0], language, **why[1])))
    return out


def _why_not(
    rule: Rule, outbound: Outbound, path: str | None, tunnel: bool, inside: _Inside
) -> tuple[str, Mapping[str, str]] | None:
    wanted = rule.match
    if not tunnel and path is None:
        return "match.bad_path", {}
    if wanted.methods is not None and outbound.method not in wanted.methods:
        return "match.method", {"method": outbound.method, "wanted": ", ".join(sorted(wanted.methods))}
    if not (rule.for_websockets if outbound.websocket else rule.for_calls):
        return ("match.websocket" if outbound.websocket else "match.no_websocket"), {}
    if tunnel and _unseen_in_tunnel(rule):
        return "match.tunnel", {}
    if wanted.paths is not None and (path is None or not _fits(wanted.paths, path)):
        return "match.path", {"path": path or ""}
    if wanted.hosts is not None and not _fits(wanted.hosts, outbound.host):
        return "match.host", {"host": outbound.host}
    if not tunnel and (failing := inside.failing(wanted)) is not None:
        place, test = failing
        return "match.field", {"place": place, "name": test.name}
    return None
