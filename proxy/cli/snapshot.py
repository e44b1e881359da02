"""Everything that `spendgate status` shows, gathered at one moment from the rules and the store.

Gives the document of `status --json` (docs/interfaces.md). Works with a file that has mistakes: the budgets are then
those that the store remembers, because a running proxy goes on with the rules it has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from proxy.cli import pressed
from proxy.cli.place import Place
from proxy.core import money
from proxy.core.model import Period, PeriodUnit, RuleSet
from proxy.core.windows import iso, window_at

if TYPE_CHECKING:
    from proxy.rules_file import Loaded
    from proxy.settings import Settings
    from proxy.state.reading import Reader

_MONTH = Period(PeriodUnit.MONTH)
_HALF_DAY_MS = 43_200_000


async def take(settings: Settings, loaded: Loaded, place: Place, language: str, now_ms: int) -> dict[str, Any]:
    """The document. now_ms stands in for Redis's clock where there is no store. Raises StoreUnavailable."""
    from proxy.state.keys import Keys
    from proxy.state.reading import Reader

    rules = loaded.rules
    document: dict[str, Any] = {
        "budgets": [],
        "apis": [],
        "rules": _rules(settings, loaded, language),
        "store": {"kind": place.kind, "where": place.where, "redis_cli": place.redis_cli, "reachable": True},
        "proxies": [],
        "in_flight": 0,
        "notes": [],
        "callers": [],
    }
    if place.url is None:
        document["store"]["reachable"] = False
        document["budgets"] = _untouched(rules, now_ms) if rules else []
        document["apis"] = [_api(api.name, api.mount, rules.currency) for api in rules.apis] if rules else []
        return document
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(Reader(place.url))
        await _read(document, reader, Keys(settings.tenant), rules)
    return document


async def _read(document: dict[str, Any], reader: Reader, keys: Any, rules: RuleSet | None) -> None:
    from proxy.state import proxies
    from proxy.state.ledger import Ledger

    seconds, micros = await reader.ask("TIME")
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    ledger = Ledger(reader, keys)
    running = await proxies.running(reader, keys)
    document["proxies"] = [asdict(info) for info in running]
    if running:
        newest = max(running, key=lambda info: info.rules_loaded_at)
        document["rules"]["running_hash"] = newest.rules_digest
        document["rules"]["loaded_at"] = newest.rules_loaded_at
        refused = {line for info in running for line in info.rules_errors.splitlines() if line}
        document["rules"]["errors"] = sorted({*document["rules"]["errors"], *refused})
    document["in_flight"] = len(await ledger.in_flight())
    if rules is None:
        document["budgets"] = await _remembered(reader, keys, now_ms)
        return
    document["budgets"] = await ledger.levels(rules.budgets, now_ms)
    spent = {budget["name"]: Decimal(budget["spent"]) for budget in document["budgets"]}
    outlooks = await _outlooks(reader, keys, rules, spent, now_ms)
    for budget in document["budgets"]:
        budget["outlook"] = outlooks[budget["name"]]
    month = window_at(_MONTH, rules.timezone, now_ms)
    apis = {api.name: _api(api.name, api.mount, rules.currency) for api in rules.apis}
    notes: dict[tuple[str, str], int] = {}
    today = window_at(Period(PeriodUnit.DAY), rules.timezone, now_ms).label
    seen: set[str] = set()
    for at in range(month.start_ms, now_ms + 1, _HALF_DAY_MS):
        label = window_at(Period(PeriodUnit.DAY), rules.timezone, at).label
        if label not in seen:
            seen.add(label)
            _add_day(apis, notes, await ledger.today(rules.timezone, at), rules.currency, is_today=label == today)
    if today not in seen:  # the last half day of the walk fell short of it
        _add_day(apis, notes, await ledger.today(rules.timezone, now_ms), rules.currency, is_today=True)
    document["apis"] = list(apis.values())
    await pressed.add(document, reader, keys, rules, now_ms)
    document["notes"] = [
        {"note": note, "api": api, "count": count, "period": month.label}
        for (note, api), count in sorted(notes.items())
    ]


def _api(name: str, mount: str | None, currency: str) -> dict[str, Any]:
    month = {"calls": 0, "cost": "0", "saved": "0", "refused": {}}
    return {"name": name, "mount": mount, "currency": currency, "month": month, "today": {**month, "refused": {}}}


def _add_day(
    apis: dict[str, Any], notes: dict[tuple[str, str], int], day: Mapping[str, Any], currency: str, *, is_today: bool
) -> None:
    for name, spent in day.items():
        # "-": refused before an API was known. Others may be gone from the rules and still have a history.
        api = apis.setdefault(name, _api(name, None, currency))
        for part in (api["month"], *([api["today"]] if is_today else [])):
            part["calls"] += spent.calls
            for kind, atoms in (("cost", spent.cost_atoms), ("saved", spent.saved_atoms)):
                part[kind] = money.plain(Decimal(part[kind]) + money.from_atoms(atoms, currency))
            for reason, count in spent.denied.items():
                part["refused"][reason] = part["refused"].get(reason, 0) + count
        for note, count in spent.notes.items():
            notes[note, name] = notes.get((note, name), 0) + count


def _rules(settings: Settings, loaded: Loaded, language: str) -> dict[str, Any]:
    return {
        "file": str(settings.rules),
        "hash": loaded.rules.digest if loaded.rules else None,
        "running_hash": None,
        "loaded_at": None,
        "errors": [mistake.render(language) for mistake in loaded.mistakes],
    }


_FRESH_MS = 60_000  # as long as this what the leader computed says more than we could: it asks the forecast


async def _outlooks(
    reader: Reader, keys: Any, rules: RuleSet, spent: Mapping[str, Decimal], now_ms: int
) -> dict[str, dict[str, Any]]:
    """Where each budget will end, by the leader's last status or, where none leads, by the days so far.

    A status is too old, however young, when more is spent by now than it expected of the whole period.
    """
    from proxy.control.gather import Gatherer
    from proxy.control.status import document
    from proxy.state.watching import Watching

    names = [budget.name for budget in rules.budgets]
    published = await Watching(reader, keys).published(names)
    told = {
        name: status
        for name, (at_ms, status) in published.items()
        if abs(now_ms - at_ms) <= _FRESH_MS and Decimal(status["projection"]["expected"]) >= spent[name]
    }
    missing = [budget for budget in rules.budgets if budget.name not in told]
    if missing:
        computed, _ = await Gatherer(reader, keys).statuses(rules, missing, now_ms)
        told |= {budget.name: document(computed[budget.name], budget.timezone) for budget in missing}
    kept = ("days_left", "daily_average", "projection", "thresholds", "services_limited", "lifts")
    return {name: {field: told[name][field] for field in kept} for name in names}


def _untouched(rules: RuleSet, now_ms: int) -> list[dict[str, Any]]:
    """Budgets before the first call: nothing is spent."""
    levels = []
    for budget in rules.budgets:
        window = window_at(budget.period, budget.timezone, now_ms)
        levels.append(
            {
                "name": budget.name,
                "period": window.label,
                "currency": budget.currency,
                "limit": money.format_decimal(budget.limit_atoms, budget.currency),
                "spent": "0",
                "reserved": "0",
                "ratio": 0.0,
                "state": "ok",
                "resets_at": iso(window.end_ms, budget.timezone),
                "thresholds_crossed": [],
                "increase": "0",
                "outlook": None,
            }
        )
    return levels


async def _remembered(reader: Reader, keys: Any, now_ms: int) -> list[dict[str, Any]]:
    """Budgets of running periods as the store has them, when the rules file cannot be read."""
    prefix = f"{keys.prefix}budget:"
    names = await reader.scan(prefix)
    found: Sequence[dict[str, str]] = await reader.ask_all([("HGETALL", name) for name in names])
    levels = []
    for key, fields in zip(names, found, strict=True):
        if not {"limit", "currency", "starts_at", "resets_at"} <= fields.keys():
            continue
        starts, resets = (
            datetime.fromisoformat(fields[name]).timestamp() * 1000 for name in ("starts_at", "resets_at")
        )
        if not starts <= now_ms < resets:
            continue
        currency, spent, increase = fields["currency"], int(fields.get("spent", 0)), int(fields.get("increase", 0))
        limit = int(fields["limit"]) + increase
        crossed = [_number(text) for text in fields.get("crossed", "").split(",") if text]
        name, _, period = key.removeprefix(prefix).rpartition(":")
        levels.append(
            {
                "name": name,
                "period": period,
                "currency": currency,
                "limit": money.format_decimal(limit, currency),
                "spent": money.format_decimal(spent, currency),
                "reserved": money.format_decimal(int(fields.get("reserved", 0)), currency),
                "ratio": round(spent / limit, 6) if limit else 1.0,
                "state": _state_by([percent for percent in crossed if spent * 100 >= limit * percent]),
                "resets_at": fields["resets_at"],
                "thresholds_crossed": crossed,
                "increase": money.format_decimal(increase, currency),
                "outlook": None,
            }
        )
    return levels


def _state_by(crossed: Sequence[float]) -> str:
    """Without the rules only the usual thresholds are known."""
    highest = max(crossed, default=0)
    return "stopped" if highest >= 100 else "restricted" if highest >= 95 else "warning" if highest else "ok"


def _number(percent: str) -> int | float:
    return float(percent) if "." in percent else int(percent)
