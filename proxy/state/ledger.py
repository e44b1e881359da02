"""What was spent, by whom and on what: reads the ledger, the budgets' levels and the day's roll-ups.

For people and reports, not for the request path: it asks through `reading.Reader`. Money leaves here as decimal
strings in the currency's major unit. Decides nothing; writes nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from proxy.core import money
from proxy.core.model import Budget, Level
from proxy.core.threshold import budget_state
from proxy.core.windows import iso, local_day, local_month, window_at
from proxy.state.keys import Keys
from proxy.state.reading import Reader
from proxy.state.record import Record

_CHUNK: Final = 200  # entries a reply: the store makes it in well below a millisecond, and calls wait for no longer
_FIND_AT_MOST: Final = 1_000_000  # entries looked through for one id
_MONTHS_KEPT: Final = 15
_MONTHS_WRITTEN: Final = 3  # a day ahead, this one, and the one before: calls that began in it may still end
_DAY_MS: Final = 86_400_000
_SKEW_MS: Final = 60_000  # how far a proxy's clock may be ahead of Redis's

Entry = dict[str, Any]
StreamItem = tuple[str, dict[str, str]]


@dataclass(slots=True)
class Spent:
    """One API's day so far."""

    calls: int = 0
    cost_atoms: int = 0
    saved_atoms: int = 0  # what kept answers and cheaper calls did not cost
    denied: dict[str, int] = field(default_factory=dict)  # by reason
    notes: dict[str, int] = field(default_factory=dict)  # "usage_missing", "unpriced_model", "unconfirmed", ...


@contextlib.asynccontextmanager
async def opened(url: str, tenant: str = "main") -> AsyncIterator[Ledger]:
    """A reader for one piece of work; connects at its first question."""
    async with Reader(url) as reader:
        yield Ledger(reader, Keys(tenant))


class Ledger:
    """Reader of one tenant's history. Every method raises StoreUnavailable when Redis cannot answer."""

    def __init__(self, reader: Reader, keys: Keys) -> None:
        self._reader = reader
        self._keys = keys

    async def last(self, count: int, now_ms: int) -> AsyncIterator[Entry]:
        """The newest entries first, across months, at most `count` of them."""
        left = count
        for month in _months_back(now_ms):
            before = "+"
            while left > 0:
                chunk = await self._range(self._keys.ledger(month), before, "-", min(left, _CHUNK), newest_first=True)
                for _, fields in chunk:
                    yield as_json(fields)
                left -= len(chunk)
                if len(chunk) < _CHUNK:
                    break
                before = f"({chunk[-1][0]}"
            if left <= 0:
                return

    async def since(
        self, last: Mapping[str, str], count: int, now_ms: int
    ) -> tuple[list[dict[str, str]], dict[str, str]]:
        """The fields of entries that came after those that `last` names, the oldest first, and what to name next time.

        last: by month, the newest entry that is known; {}: the newest `count` are asked for. Of more than `count` that
        came meanwhile only the newest are told.
        """
        months = list(itertools.islice(_months_back(now_ms), _MONTHS_WRITTEN if last else None))
        found: list[StreamItem] = []
        known = dict(last)
        for month in months:  # the newest first
            before, after = "+", f"({last[month]}" if month in last else "-"
            while len(found) < count:
                size = min(count - len(found), _CHUNK)
                chunk = await self._range(self._keys.ledger(month), before, after, size, newest_first=True)
                if chunk and before == "+":
                    known[month] = chunk[0][0]
                found += chunk
                if len(chunk) < size:
                    break
                before = f"({chunk[-1][0]}"
        return [fields for _, fields in reversed(found)], known

    async def find(self, call_id: str) -> Entry | None:
        """The entry of one call. The id begins with the time it was made, which says where to look."""
        try:
            made_ms = int(call_id[:12], 16)
        except ValueError:
            return None
        for month in sorted({local_month(made_ms + shift, "UTC") for shift in (-_DAY_MS, 0, _DAY_MS)}):
            after, seen = str(max(0, made_ms - _SKEW_MS)), 0
            while seen < _FIND_AT_MOST:
                chunk = await self._range(self._keys.ledger(month), after, "+", _CHUNK, newest_first=False)
                for _, fields in chunk:
                    if fields.get("id") == call_id:
                        return as_json(fields)
                if len(chunk) < _CHUNK:
                    break
                after, seen = f"({chunk[-1][0]}", seen + len(chunk)
        return None

    async def current(self, budgets: Iterable[Budget], now_ms: int) -> list[Level]:
        """Where each budget stands in its current period, in the order given."""
        return [level for _, level, _ in await self._current(budgets, now_ms)]

    async def levels(self, budgets: Iterable[Budget], now_ms: int) -> list[dict[str, Any]]:
        """`budgets` of `status --json`: money in major units, limits as the rules say now, and with what was added
        to them for this period (`increase`)."""
        return [
            {
                "name": level.budget,
                "period": level.period,
                "currency": level.currency,
                "limit": money.format_decimal(level.limit_atoms, level.currency),
                "spent": money.format_decimal(level.spent_atoms, level.currency),
                "reserved": money.format_decimal(level.reserved_atoms, level.currency),
                "ratio": round(level.spent_atoms / level.limit_atoms, 6) if level.limit_atoms else 1.0,
                "state": budget_state(b, level.spent_atoms, level.limit_atoms),
                "resets_at": iso(level.resets_at_ms, b.timezone),
                "thresholds_crossed": [_number(text) for text in crossed.split(",") if text],
                "increase": money.format_decimal(level.limit_atoms - b.limit_atoms, level.currency),
            }
            for b, level, crossed in await self._current(budgets, now_ms)
        ]

    async def _current(self, budgets: Iterable[Budget], now_ms: int) -> list[tuple[Budget, Level, str]]:
        chosen = [(b, window_at(b.period, b.timezone, now_ms)) for b in budgets]
        replies: list[list[str | None]] = await self._reader.ask_all(
            [
                ("HMGET", self._keys.budget(b.name, w.label), "spent", "reserved", "crossed", "increase")
                for b, w in chosen
            ]
        )
        return [
            (
                b,
                Level(
                    b.name,
                    w.label,
                    b.currency,
                    b.limit_atoms + int(increase or 0),
                    int(spent or 0),
                    int(reserved or 0),
                    w.end_ms,
                ),
                crossed or "",
            )
            for (b, w), (spent, reserved, crossed, increase) in zip(chosen, replies, strict=True)
        ]

    async def today(self, timezone: str, now_ms: int) -> dict[str, Spent]:
        """The local day's roll-up by API; cost in atoms of the ledger's currency."""
        fields: dict[str, str] = await self._reader.ask("HGETALL", self._keys.day(local_day(now_ms, timezone)))
        apis: dict[str, Spent] = {}
        for name, text in fields.items():
            kind, _, rest = name.partition("|")
            api, _, rest = rest.partition("|")
            spent, number = apis.setdefault(api, Spent()), int(text)
            if kind == "calls":
                spent.calls += number
            elif kind == "cost":
                spent.cost_atoms += number
            elif kind == "saved":
                spent.saved_atoms += number
            elif kind == "denied":
                spent.denied[rest] = spent.denied.get(rest, 0) + number
            elif kind == "note":
                spent.notes[rest] = spent.notes.get(rest, 0) + number
        return apis

    async def top_callers(self, timezone: str, now_ms: int, count: int = 10) -> list[tuple[str, int]]:
        """Who spent most on the local day: (caller, atoms of the ledger's currency), the largest first."""
        key = self._keys.day_callers(local_day(now_ms, timezone))
        flat: list[str] = await self._reader.ask("ZREVRANGE", key, 0, count - 1, "WITHSCORES")
        return [(name, int(atoms)) for name, atoms in zip(flat[::2], flat[1::2], strict=True)]

    async def in_flight(self) -> dict[str, Record]:
        """Reservations by call id; unreadable ones are left out (doctor tells them)."""
        raw: dict[str, str] = await self._reader.ask("HGETALL", self._keys.reservations)
        found = {}
        for call_id, text in raw.items():
            try:
                found[call_id] = Record.parse(text.encode())
            except ValueError:
                continue
        return found

    async def thresholds(self, count: int) -> list[dict[str, str]]:
        """The thresholds crossed last, the newest first."""
        chunk = await self._range(self._keys.thresholds, "+", "-", count, newest_first=True)
        return [fields for _, fields in chunk]

    async def _range(self, key: str, start: str, end: str, count: int, *, newest_first: bool) -> Sequence[StreamItem]:
        command = "XREVRANGE" if newest_first else "XRANGE"
        return cast("Sequence[StreamItem]", await self._reader.ask(command, key, start, end, "COUNT", count))


def as_json(fields: dict[str, str]) -> Entry:
    """A ledger entry's fields as the JSON object of `spendgate ledger --json`."""
    budgets = [
        {"name": name, "period": period, "currency": currency, "cost": cost}
        for name, period, currency, cost in json.loads(fields.get("budgets") or "[]")
    ]
    return {
        **{name: fields[name] for name in ("id", "at", "api", "rule", "caller", "method", "path")},
        "status": int(fields["status"]) if fields["status"] else None,
        **{name: fields[name] for name in ("state", "cost", "currency", "original_cost", "original_currency")},
        "fx_rate": fields["fx_rate"] or None,
        "fx_date": fields["fx_date"] or None,
        "estimate": fields["estimate"],
        "model": fields["model"] or None,
        "usage": json.loads(fields["usage"] or "{}"),
        "terms": json.loads(fields["terms"] or "[]"),
        "budgets": budgets,
        "note": fields["note"] or None,
        "question": fields.get("question") or None,
        **_extra(fields),
    }


def _extra(fields: dict[str, str]) -> Entry:
    """What only calls of rules have that ask for more than counting."""
    told = {name: fields.get(name) for name in ("saved", "asked_cost", "degraded")}
    return {**told, "attempts": json.loads(fields.get("attempts") or "null")}


def _number(percent: str) -> int | float:
    return float(percent) if "." in percent else int(percent)


def _months_back(now_ms: int) -> Iterable[str]:
    """Labels of the months that may have a ledger, the newest first; a day ahead, for zones east of here."""
    year, month = map(int, local_month(now_ms + _DAY_MS, "UTC").split("-"))
    for back in range(_MONTHS_KEPT):
        years, index = divmod(year * 12 + month - 1 - back, 12)
        yield f"{years:04d}-{index + 1:02d}"
