"""What the leader writes down while it watches: each budget's status, its snapshots, how fast money went, hours.

`status:<budget>` is the last status, for whoever asks; `status:<budget>:hours` keeps one an hour, and
`status:<budget>:days` what each day that is over cost. `pace` is a sample of
all counters every half minute, enough for a window of six hours. `hours:<day>` says what each API and caller spent in
each hour. Only the leader writes, and only what any other leader would write too, so that nothing is fenced here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from proxy.state.keys import HOURS_KEPT_S, PACE_KEPT_S, STATUS_KEPT_S, Keys
from proxy.state.reading import Reader

PACE_SAMPLES: Final = 800  # six hours and a half at one every half minute
SNAPSHOTS: Final = 24 * 400


@dataclass(frozen=True, slots=True)
class PaceSample:
    """All counters at one instant. budgets: name -> (period, atoms spent in it). spent: this local day's, by whom.

    calls, failed: the day's by API. refused: the day's calls that were refused because Redis was away.
    """

    at_ms: int
    day: str
    budgets: Mapping[str, tuple[str, int]]
    spent: Mapping[str, int]
    calls: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0


class Watching:
    """One tenant's notes. Every method raises StoreUnavailable when Redis cannot answer."""

    def __init__(self, client: Reader, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def publish(self, budget: str, status: Mapping[str, Any], refreshed_ms: int) -> None:
        """Let everybody see a budget's status. status: the document; its single values become fields for redis-cli."""
        key = self._keys.status(budget)
        fields: list[str | int] = ["refreshed_ms", refreshed_ms, "document", json.dumps(status, ensure_ascii=False)]
        for name, value in status.items():
            if isinstance(value, str | int | float):
                fields += [name, str(value)]
        await self._client.ask_all([("HSET", key, *fields), ("EXPIRE", key, STATUS_KEPT_S)])

    async def published(self, budgets: Sequence[str]) -> dict[str, tuple[int, dict[str, Any]]]:
        """Budget -> (refreshed at, Unix ms; document), for those that have one."""
        replies = await self._client.ask_all(
            [("HMGET", self._keys.status(name), "refreshed_ms", "document") for name in budgets]
        )
        return {
            name: (int(at), json.loads(document))
            for name, (at, document) in zip(budgets, replies, strict=True)
            if at and document
        }

    async def snapshot(self, budget: str, status: Mapping[str, Any], hour: str) -> bool:
        """Keep it as this hour's; False: the hour has one already. hour: its label, such as "2026-11-26T21+0900"."""
        key, current = self._keys.status_hours(budget), self._keys.status(budget)
        before = await self._client.ask("HGET", current, "snapshot")
        if before == hour:
            return False
        document = json.dumps(status, ensure_ascii=False)
        await self._client.ask_all(
            [
                ("XADD", key, "MAXLEN", "~", SNAPSHOTS, "*", "hour", hour, "document", document),
                ("EXPIRE", key, STATUS_KEPT_S),
                ("HSET", current, "snapshot", hour),
            ],
            at_once=True,
        )
        return True

    async def snapshots(self, budget: str, count: int) -> list[dict[str, Any]]:
        """The last ones, the newest first; each with its `hour`."""
        found = await self._client.ask("XREVRANGE", self._keys.status_hours(budget), "+", "-", "COUNT", count)
        return [{"hour": fields["hour"], **json.loads(fields["document"])} for _, fields in found]

    async def sample(self, sample: PaceSample) -> None:
        told = {"budgets": sample.budgets, "spent": sample.spent, "calls": sample.calls, "failed": sample.failed}
        values = json.dumps({**told, "refused": sample.refused}, ensure_ascii=False)
        pace = self._keys.pace
        await self._client.ask_all(
            [
                (
                    "XADD",
                    pace,
                    "MAXLEN",
                    "~",
                    PACE_SAMPLES,
                    "*",
                    "at",
                    sample.at_ms,
                    "day",
                    sample.day,
                    "values",
                    values,
                ),
                ("EXPIRE", pace, PACE_KEPT_S),
            ]
        )

    async def samples(self) -> list[PaceSample]:
        """Those of the last hours, the oldest first."""
        found = await self._client.ask("XREVRANGE", self._keys.pace, "+", "-", "COUNT", PACE_SAMPLES)
        out = []
        for _, fields in reversed(found):
            values = json.loads(fields["values"])
            budgets = {name: (period, int(atoms)) for name, (period, atoms) in values["budgets"].items()}
            more = (values.get("calls", {}), values.get("failed", {}), values.get("refused", 0))
            out.append(PaceSample(int(fields["at"]), fields["day"], budgets, values["spent"], *more))
        return out

    async def write_hour(self, day: str, hour: int, spent: Mapping[str, int]) -> None:
        """What everybody has spent in this hour so far."""
        key = self._keys.hours(day)
        fields: list[str | int] = [f"{hour:02d}|seen", 1]
        for who, atoms in spent.items():
            if atoms > 0:
                fields += [f"{hour:02d}|{who}", atoms]
        await self._client.ask_all([("HSET", key, *fields), ("EXPIRE", key, HOURS_KEPT_S)])

    async def hours(self, days: Sequence[str]) -> dict[str, dict[int, dict[str, int]]]:
        """Day -> hour -> who -> atoms; hours that nobody watched are missing."""
        replies = await self._client.ask_all([("HGETALL", self._keys.hours(day)) for day in days])
        out: dict[str, dict[int, dict[str, int]]] = {}
        for day, fields in zip(days, replies, strict=True):
            hours: dict[int, dict[str, int]] = {}
            for name, value in fields.items():
                hour, _, who = name.partition("|")
                spent = hours.setdefault(int(hour), {})
                if who != "seen":
                    spent[who] = int(value)
            if hours:
                out[day] = hours
        return out


class FinishedDays:
    """What days that are over cost each budget, in atoms of its currency. Every method raises StoreUnavailable."""

    def __init__(self, reader: Reader, keys: Keys) -> None:
        self._reader = reader
        self._keys = keys

    async def read(self, budgets: Sequence[str], digest: str) -> dict[str, dict[date, int]]:
        """Day -> atoms by budget; empty where nothing was written, or with other rules than those of the digest."""
        replies = await self._reader.ask_all([("HGETALL", self._keys.status_days(name)) for name in budgets])
        return {
            name: {date.fromisoformat(day): int(atoms) for day, atoms in fields.items() if day != "rules"}
            if fields.get("rules") == digest
            else {}
            for name, fields in zip(budgets, replies, strict=True)
        }

    async def write(self, budget: str, digest: str, costs: Mapping[date, int], over: Sequence[date]) -> None:
        """Add days; forget those that are `over`, and all that other rules wrote."""
        key = self._keys.status_days(budget)
        commands: list[list[str | int]] = []
        if await self._reader.ask("HGET", key, "rules") != digest:
            commands.append(["DEL", key])
        elif over:
            commands.append(["HDEL", key, *[day.isoformat() for day in over]])
        pairs: list[str | int] = [word for day, atoms in costs.items() for word in (day.isoformat(), atoms)]
        commands += [["HSET", key, "rules", digest, *pairs], ["EXPIRE", key, STATUS_KEPT_S]]
        await self._reader.ask_all(commands, at_once=True)
