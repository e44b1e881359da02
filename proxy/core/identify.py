"""Decide who calls, from the virtual key in the request's head.

A virtual key is a secret that a program was given instead of the real one; it comes in whichever header the program's
SDK uses. Knows nothing of budgets, of the API that is called, or of where keys are kept.

The table from key to caller is built on first use and kept here, by identity, for the newest few rule sets.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable

import msgspec

from proxy.core.model import Caller, Denied, Reason, RuleSet

Headers = Iterable[tuple[str, str]]  # lower-case names

OWN_HEADER = "x-spendgate-key"
_REVERSE = frozenset(("authorization", "x-api-key", "api-key", "x-goog-api-key", OWN_HEADER))
_FORWARD = frozenset(("proxy-authorization", OWN_HEADER))

ANONYMOUS = Caller()


class Identified(msgspec.Struct, frozen=True, gc=False):
    """A caller and the header that carried its key: it must not be forwarded. None: nothing to take away."""

    caller: Caller
    header: str | None = None


def identify(rules: RuleSet, headers: Headers, forward: bool) -> Caller | Denied:
    """Who calls. `forward`: the request came to the proxy as a forward proxy, so a refusal is a 407 instead of 401."""
    found = recognise(rules, headers, forward)
    return found.caller if isinstance(found, Identified) else found


def recognise(rules: RuleSet, headers: Headers, forward: bool) -> Identified | Denied:
    """As `identify`, with the header that carried the key.

    Without declared callers everybody is "anonymous" and credentials are the API's business. With
    `require_caller: false` an unknown or missing key is anonymous too.
    """
    if not rules.callers:
        return Identified(ANONYMOUS)
    known = _known(rules.callers)
    for name, key in presented_keys(headers, forward):
        secret = key.encode("utf-8", "surrogateescape")
        caller = known.get(secret)
        # A dict compares whole hashes, salted for this process, before it looks at a byte: time tells nothing of a key.
        # What is found is compared once more, in a time that depends on nothing.
        if caller is not None and hmac.compare_digest((caller.key or "").encode(), secret):
            return Identified(caller, name)
    if not rules.require_caller:
        return Identified(ANONYMOUS)
    return Denied(Reason.UNKNOWN_CALLER, 407 if forward else 401)


def carrying_header(rules: RuleSet, headers: Headers, forward: bool) -> str | None:
    """The lower-case name of the header that carried a known virtual key, or None."""
    found = recognise(rules, headers, forward)
    return found.header if isinstance(found, Identified) else None


def presented_keys(headers: Headers, forward: bool) -> list[tuple[str, str]]:
    """(header, key) for everything in the head that may be a virtual key. RFC 6750 (Bearer), RFC 7617 (Basic)."""
    places = _FORWARD if forward else _REVERSE
    keys: list[tuple[str, str]] = []
    for name, value in headers:
        if name not in places:
            continue
        value = value.strip()
        if name in ("authorization", "proxy-authorization"):
            scheme, _, credentials = value.partition(" ")
            credentials = credentials.strip()
            if scheme.lower() == "bearer":
                keys.append((name, credentials))
            elif scheme.lower() == "basic":
                keys += [(name, key) for key in _basic(credentials)]
        elif value:
            keys.append((name, value))
    return keys


def _basic(credentials: str) -> list[str]:
    """User and password: a key may stand in either (`http://KEY@proxy` or `http://name:KEY@proxy`)."""
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return []
    return [key for key in (password, user) if key]


_MAX_TABLES = 4
_tables: dict[int, tuple[tuple[Caller, ...], dict[bytes, Caller]]] = {}  # by id(callers), which each entry holds


def _known(callers: tuple[Caller, ...]) -> dict[bytes, Caller]:
    found = _tables.get(id(callers))
    if found is not None:
        return found[1]
    table = {caller.key.encode(): caller for caller in callers if caller.key}
    while len(_tables) >= _MAX_TABLES:
        _tables.pop(next(iter(_tables)))
    _tables[id(callers)] = (callers, table)
    return table
