"""Who did what, when and why: a trail in which every entry holds the hash of the one before.

An entry is written by the very script that does what it tells (lua/change.lua), so nothing steers spendgate without a
trace. Hashes are SHA-256 over the entry's canonical JSON; `verify` walks the chain and says where it breaks. It shows
changed, removed and inserted entries; somebody who may write to Redis could forge a whole new chain, so the hash of
each entry also goes into the log, where `spendgate audit verify --head HASH` can be held against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import msgspec
import structlog

from proxy.core.windows import iso
from proxy.state.client import Client
from proxy.state.keys import AUDIT_KEPT_S, Keys

log = structlog.get_logger()

_TRIES: Final = 50  # others write entries too
_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Who:
    """Whose doing it is. name: of the token, of the system's user, or "spendgate". via: "cli" | "api" | "automatic"."""

    name: str
    via: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a hash that an entry changes. guard None = none; "" = it must be absent.

    "append" puts the field and its value at the end of a stream instead, which keeps about the last 10000.
    """

    key: str
    field: str
    kind: str  # "set" | "del" | "add" | "append"
    value: str
    keep_ms: int
    guard: str | None = None
    digits: int = 0
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the trail. before, after, undo: texts for programs. undoes: the number that it takes back."""

    number: int
    at: str  # ISO 8601
    by: str
    via: str
    action: str  # "stop", "block", "lift", "bypass", "increase", "undo", ...
    target: str  # "api:openai", "budget:monthly", "all"
    reason: str
    until: str = ""  # ISO 8601, "" = until undone
    before: str = ""
    after: str = ""
    undo: str = ""  # JSON: changes that take it back; "" = nothing to take back
    undoes: str = ""
    previous: str = ""
    hash: str = ""

    def fields(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items()}


class Refused(Exception):
    """What was asked cannot be done now. `reason` names the sentence `switches.<reason>`, values fill it."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values


class GuardFailed(Exception):
    """A field had changed meanwhile; nothing was done. now: its value."""

    def __init__(self, change: Change, now: str) -> None:
        super().__init__(f"{change.field} is now {now!r}")
        self.change = change
        self.now = now


def chain_hash(entry: Entry) -> str:
    """SHA-256 of everything in the entry but the hash itself; `previous` ties it to the entry before."""
    fields = {name: value for name, value in entry.fields().items() if name != "hash"}
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def head(client: Client, keys: Keys) -> tuple[int, str]:
    """Number and hash of the last entry; (0, "") before the first."""
    count, last = await client.ask("HMGET", keys.audit_head, "count", "hash")
    return int(count or 0), last or ""


def draft(who: Who, action: str, target: str, reason: str, now_ms: int, timezone: str, **more: str) -> Entry:
    """An entry without its place in the chain."""
    return Entry(0, iso(now_ms, timezone), who.name, who.via, action, target, reason, **more)


async def record(client: Client, keys: Keys, entry: Entry, changes: Sequence[Change] = (), fence: str = "") -> Entry:
    """Do the changes and write the entry, or neither. "{n}" in a value becomes the entry's number.

    Raises GuardFailed, Stale, StoreUnavailable.
    """
    names = list(dict.fromkeys(change.key for change in changes))
    for _ in range(_TRIES):
        count, last = await head(client, keys)
        number = count + 1
        placed = replace(entry, number=number, previous=last, undo=entry.undo.replace("{n}", str(number)))
        placed = replace(placed, after=placed.after.replace("{n}", str(number)))
        placed = replace(placed, hash=chain_hash(placed))
        fields = [text for pair in placed.fields().items() for text in pair]
        packed = msgspec.msgpack.encode(
            (
                *(number, placed.hash, AUDIT_KEPT_S * 1000, fields),
                [
                    (
                        *(4 + names.index(one.key), one.field, False if one.guard is None else one.guard, one.kind),
                        *(one.value.replace("{n}", str(number)), one.keep_ms, one.digits, one.currency),
                    )
                    for one in changes
                ],
            )
        )
        places = [keys.audit, keys.audit_head, keys.leader, *names]
        reply = await client.script("change", places, [fence, last, packed], shared=("money",))
        if reply[0] == 1:
            log.info("audit.recorded", number=number, action=placed.action, target=placed.target, by=placed.by,
                     hash=placed.hash)  # fmt: skip
            return placed
        if reply[0] == 2:
            raise GuardFailed(changes[reply[1] - 1], reply[2])
    raise Refused("busy")


def _entry(fields: Mapping[str, str]) -> Entry:
    return Entry(**{**fields, "number": int(fields["number"])})  # type: ignore[arg-type]


async def find(client: Client, keys: Keys, number: int) -> Entry | None:
    found = await client.ask("XRANGE", keys.audit, f"{number}-0", f"{number}-0")
    return _entry(found[0][1]) if found else None


async def last(client: Client, keys: Keys, count: int, before: int | None = None) -> list[Entry]:
    """The newest entries first; before: only those with a smaller number."""
    end = "+" if before is None else f"({before}-0"
    return [_entry(fields) for _, fields in await client.ask("XREVRANGE", keys.audit, end, "-", "COUNT", count)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk over the chain found. broken_at: number of the first entry that does not fit, None = all fit.

    what: "changed" | "missing" | "unreadable" | "cut" (entries at the end are gone) | "head" (not the head asked for).
    """

    entries: int
    head: str
    broken_at: int | None = None
    what: str = ""

    @property
    def sound(self) -> bool:
        return self.broken_at is None and not self.what


async def verify(client: Client, keys: Keys, expected_head: str | None = None) -> Verdict:
    """Walk the whole chain. expected_head: the hash of some entry, as a log kept it, that must be in it."""
    count, told = await head(client, keys)
    number, previous, start, seen = 0, "", "-", expected_head is None
    while True:
        chunk: list[tuple[str, dict[str, Any]]] = await client.ask("XRANGE", keys.audit, start, "+", "COUNT", _CHUNK)
        for _, fields in chunk:
            number += 1
            try:
                entry = _entry(fields)
            except (KeyError, TypeError, ValueError):
                return Verdict(number - 1, previous, number, "unreadable")
            if entry.number > count:
                break  # written while we walk
            if entry.number != number:
                return Verdict(number - 1, previous, number, "missing")
            if entry.previous != previous or entry.hash != chain_hash(entry):
                return Verdict(number - 1, previous, number, "changed")
            previous = entry.hash
            seen = seen or previous == expected_head
        if len(chunk) < _CHUNK or number > count:
            break
        start = f"({chunk[-1][0]}"
    number = min(number, count)
    if number < count:
        return Verdict(number, previous, number + 1, "cut")
    if previous != told:
        return Verdict(number - 1, previous, number, "changed")
    if not seen:
        return Verdict(number, previous, None, "head")
    return Verdict(number, previous)
