"""Alerts in Redis: their history, what is open, and the deliveries that are still to be made.

The outbox is a stream with a consumer group: a delivery that was taken and not acknowledged (its leader died) is taken
again by the next leader, so that each is made at least once. What failed, or must wait for quiet hours to end, waits
in `outbox:later`; what failed for good lies in `outbox:dead` until somebody looks. Decides nothing about alerts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.alert_model import Alert, Kind, Severity
from proxy.core.windows import iso
from proxy.state.client import Client
from proxy.state.keys import ALERTS_KEPT_S, OUTBOX_KEPT_S, Keys
from proxy.state.store import StoreUnavailable

GROUP: Final = "delivery"
_AT_ONCE: Final = 100
_SHARED: Final = ("outbox",)
_OPEN, _AT = "open|", "at|"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert to one channel. entry: its place in the outbox. phase: "raised" | "resolved". attempt: from 1."""

    entry: str
    alert: str
    channel: str
    phase: str
    attempt: int

    @property
    def id(self) -> str:
        """The same for every attempt: receivers recognise repeats by it."""
        return f"{self.alert}.{self.phase}.{self.channel}"


@dataclass(frozen=True, slots=True)
class Record:
    """An alert as history keeps it. deliveries: channel and phase -> what became of it."""

    id: str
    key: str
    kind: Kind
    severity: Severity
    budget: str | None
    facts: Mapping[str, str]
    resolvable: bool
    raised_at: str
    resolved_at: str
    acknowledged_at: str
    acknowledged_by: str
    deliveries: Mapping[tuple[str, str], Mapping[str, Any]]

    @property
    def state(self) -> str:
        """ "open" | "resolved" | "happened" (nothing to be resolved)."""
        return "resolved" if self.resolved_at else "open" if self.resolvable else "happened"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. error: one line, without a secret."""

    entry: str
    alert: str
    channel: str
    phase: str
    attempts: int
    at: str
    error: str


Due = tuple[str, int]  # channel, Unix ms


class Outbox:
    """One tenant's alerts. Every method raises StoreUnavailable when Redis cannot answer, Stale for an old leader."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    # --- alerts

    async def raise_alert(
        self,
        alert: Alert,
        alert_id: str,
        deliveries: Iterable[Due],
        now_ms: int,
        timezone: str,
        *,
        resolvable: bool,
        fence: int | None = None,
        position: tuple[str, str] | None = None,
    ) -> bool:
        """Tell it, once; False: it was told before. position: (name, value) that is remembered in the same step."""
        k = self._keys
        record = {
            "kind": alert.kind.value,
            "severity": alert.severity.value,
            "budget": alert.budget or "",
            "facts": json.dumps(dict(alert.facts), ensure_ascii=False),
            "resolvable": "1" if resolvable else "0",
            "raised_at": iso(now_ms, timezone),
        }
        flat = [text for pair in record.items() for text in pair]
        reply = await self._client.script(
            "raise",
            [k.leader, k.alerts_open, k.alerts_told, k.alerts, k.alert(alert_id), k.outbox, k.outbox_later],
            [
                *(_token(fence), str(now_ms), alert.key, alert_id, "1" if resolvable else "0"),
                str(ALERTS_KEPT_S * 1000),
                *((f"{_AT}{position[0]}", position[1]) if position else ("", "")),
                *(str(len(record)), *flat),
                *_flat(deliveries),
            ],
            shared=_SHARED,
        )
        return bool(reply == 1)

    async def resolve(
        self, key: str, alert_id: str, deliveries: Iterable[Due], now_ms: int, timezone: str, fence: int | None = None
    ) -> bool:
        k = self._keys
        reply = await self._client.script(
            "resolve",
            [k.leader, k.alerts_open, k.alert(alert_id), k.outbox, k.outbox_later],
            [
                *(_token(fence), str(now_ms), key, alert_id, iso(now_ms, timezone), str(OUTBOX_KEPT_S * 1000)),
                *_flat(deliveries),
            ],
            shared=_SHARED,
        )
        return bool(reply == 1)

    async def remember(self, name: str, value: str) -> None:
        """Keep a position, such as how far a stream was read."""
        await self._client.ask("HSET", self._keys.alerts_open, f"{_AT}{name}", value)
        await self._client.ask("EXPIRE", self._keys.alerts_open, ALERTS_KEPT_S)

    async def standing(self) -> tuple[dict[str, str], dict[str, str]]:
        """(open alerts: key -> id, positions: name -> value)."""
        fields: dict[str, str] = await self._client.ask("HGETALL", self._keys.alerts_open)
        open_, positions = {}, {}
        for name, value in fields.items():
            if name.startswith(_OPEN):
                open_[name.removeprefix(_OPEN)] = value
            elif name.startswith(_AT):
                positions[name.removeprefix(_AT)] = value
        return open_, positions

    async def find(self, alert_ids: Sequence[str]) -> dict[str, Record]:
        """Alerts by id; ids that history has forgotten are left out."""
        replies = await self._client.ask_all([("HGETALL", self._keys.alert(one)) for one in alert_ids])
        return {fields["id"]: _record(fields) for fields in replies if "kind" in fields}

    async def history(self, count: int, before: str | None = None) -> list[Record]:
        """The newest first. before: an alert's id; what came before it."""
        newest, wanted, seen = "+", count, before is None
        found: list[Record] = []
        while len(found) < wanted:
            chunk = await self._client.ask("XREVRANGE", self._keys.alerts, newest, "-", "COUNT", _AT_ONCE)
            ids = [fields["id"] for _, fields in chunk]
            if not seen and before in ids:
                ids, seen = ids[ids.index(before) + 1 :], True
            if seen:
                known = await self.find(ids)
                found += [known[one] for one in ids if one in known]
            if len(chunk) < _AT_ONCE:
                break
            newest = f"({chunk[-1][0]}"
        return found[:wanted]

    async def acknowledge(self, alert_id: str, who: str, now_ms: int, timezone: str) -> Record | None:
        """Note who has seen it; the first one stays. None: there is no such alert."""
        key = self._keys.alert(alert_id)
        if not await self._client.ask("EXISTS", key):
            return None
        if await self._client.ask("HSETNX", key, "acknowledged_by", who):
            await self._client.ask("HSET", key, "acknowledged_at", iso(now_ms, timezone))
        return (await self.find([alert_id])).get(alert_id)

    # --- deliveries

    async def release_due(self, now_ms: int, fence: int | None = None) -> int:
        """Put out what has waited long enough."""
        k = self._keys
        args = [_token(fence), str(now_ms), str(_AT_ONCE), str(OUTBOX_KEPT_S * 1000)]
        return int(await self._client.script("due", [k.leader, k.outbox, k.outbox_later], args, shared=_SHARED))

    async def take(self, consumer: str, *, abandoned: bool = False) -> list[Delivery]:
        """What is new; with `abandoned`, what others took and never acknowledged. Each must end in `note`."""
        k = self._keys
        try:
            if abandoned:
                reply = await self._client.ask("XAUTOCLAIM", k.outbox, GROUP, consumer, 0, "0-0", "COUNT", 10_000)
                entries = reply[1]
            else:
                reply = await self._client.ask(
                    *("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", _AT_ONCE, "STREAMS", k.outbox, ">")
                )
                entries = _entries_of(reply)
        except StoreUnavailable as error:
            if "NOGROUP" not in str(error):
                raise
            await self._begin()
            return await self.take(consumer, abandoned=abandoned)
        return [
            Delivery(entry, fields["alert"], fields["channel"], fields["phase"], int(fields["attempt"]))
            for entry, fields in ((entry, _pairs(fields)) for entry, fields in entries if fields)
        ]

    async def _begin(self) -> None:
        try:
            await self._client.ask("XGROUP", "CREATE", self._keys.outbox, GROUP, "0", "MKSTREAM")
            await self._client.ask("EXPIRE", self._keys.outbox, OUTBOX_KEPT_S)
        except StoreUnavailable as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def note(
        self,
        delivery: Delivery,
        outcome: str,
        now_ms: int,
        timezone: str,
        *,
        attempt: int | None = None,
        due_ms: int = 0,
        error: str = "",
    ) -> bool:
        """What became of it: "sent", "later" (due_ms), "dead", or "dropped" (nobody wants it any more).

        attempt: of the next try, where the number goes on. False: somebody else had noted it.
        """
        k = self._keys
        at = iso(now_ms, timezone)
        tried = attempt if attempt is not None else delivery.attempt
        state: dict[str, Any] = {
            "state": {"later": "waiting"}.get(outcome, outcome),
            "attempts": delivery.attempt,
            "at": at,
        }
        if outcome == "later":
            state["due"] = iso(due_ms, timezone)
        if error:
            state["error"] = error
        reply = await self._client.script(
            "delivered",
            [k.outbox, k.outbox_later, k.outbox_dead, k.alert(delivery.alert)],
            [
                *(GROUP, delivery.entry, outcome, delivery.alert, delivery.channel, delivery.phase, str(tried)),
                *(str(due_ms), json.dumps(state, ensure_ascii=False), str(OUTBOX_KEPT_S * 1000), at, error),
            ],
            shared=_SHARED,
        )
        return bool(reply == 1)

    async def waiting(self) -> int:
        """How many deliveries are not made yet."""
        new, later = await self._client.ask_all([("XLEN", self._keys.outbox), ("ZCARD", self._keys.outbox_later)])
        return int(new) + int(later)

    async def dead(self, count: int = 100) -> list[DeadLetter]:
        """Deliveries that were given up, the newest first."""
        found = await self._client.ask("XREVRANGE", self._keys.outbox_dead, "+", "-", "COUNT", count)
        return [
            DeadLetter(
                *(entry, fields["alert"], fields["channel"], fields["phase"], int(fields["attempts"])),
                *(fields["at"], fields["error"]),
            )
            for entry, fields in found
        ]

    async def retry(self, entries: Sequence[str], now_ms: int) -> int:
        """Try dead letters again; how many of them there were."""
        if not entries:
            return 0
        k = self._keys
        args = [str(now_ms), str(OUTBOX_KEPT_S * 1000), *entries]
        keys = [k.outbox, k.outbox_later, k.outbox_dead]
        return int(await self._client.script("revive", keys, args, shared=_SHARED))


def _token(fence: int | None) -> str:
    """A fencing token as the scripts want it; "" where a person acts, not the leader."""
    return "" if fence is None else str(fence)


def _flat(deliveries: Iterable[Due]) -> list[str]:
    return [part for channel, due in deliveries for part in (channel, str(due))]


def _entries_of(reply: Any) -> list[Any]:
    if not reply:
        return []
    streams = list(reply.values()) if isinstance(reply, dict) else [entries for _, entries in reply]
    return list(streams[0])


def _pairs(fields: Any) -> dict[str, str]:
    return fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))


def _record(fields: Mapping[str, str]) -> Record:
    deliveries = {}
    for name, value in fields.items():
        if name.startswith("delivery|"):
            _, channel, phase = name.split("|", 2)
            deliveries[channel, phase] = json.loads(value)
    return Record(
        id=fields["id"],
        key=fields["key"],
        kind=Kind(fields["kind"]),
        severity=Severity(fields["severity"]),
        budget=fields["budget"] or None,
        facts=json.loads(fields["facts"]),
        resolvable=fields["resolvable"] == "1",
        raised_at=fields["raised_at"],
        resolved_at=fields.get("resolved_at", ""),
        acknowledged_at=fields.get("acknowledged_at", ""),
        acknowledged_by=fields.get("acknowledged_by", ""),
        deliveries=deliveries,
    )
