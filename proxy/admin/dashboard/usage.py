"""The page of API usage: shares, days, the table by API, the ledger; and one entry of it with how it was priced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from proxy.admin.dashboard import charts
from proxy.admin.dashboard.app import Seen
from proxy.admin.dashboard.look import Look, ms_of
from proxy.core.model import State
from proxy.core.windows import local_day

SPANS: Final = (1, 7, 30, 90, 365)
_STATE_KINDS: Final = {"settled": "ok", "estimated": "warn1", "unconfirmed": "warn1", "unpriced": "restrict"}
_SHARES_MOST: Final = 7


async def page(seen: Seen) -> dict[str, Any]:
    """Values of usage.html. query: days, api, caller, state."""
    look, ask = seen.look, seen.ask
    days = _days(seen.query.get("days", ""))
    today = local_day(look.now_ms, look.timezone)
    first = (datetime.fromisoformat(today) - timedelta(days=days - 1)).date().isoformat()
    found = await ask.get("/usage", {"from": first, "to": today})
    recent = await ask.get("/usage/recent")
    chosen = {name: seen.query.get(name, "") for name in ("api", "caller", "state")}
    entries = await ask.get("/ledger", {"last": "50", **{name: value for name, value in chosen.items() if value}})
    spread = {row["api"]: row for row in recent["apis"]}
    live = await _guards(seen)
    return {
        "title": look.t("dash.tab.usage"),
        "span": look.t("dash.span_of", first=look.day_of(found["from"]), last=look.day_of(found["to"])),
        "spans": [{"days": one, "label": look.t(f"dash.days.{one}")} for one in SPANS],
        "days": days,
        "total": {
            "cost": look.money(found["cost"]),
            "calls": look.count(found["calls"]),
            "saved": look.money(found["saved"]),
        },
        **_shares(look, found),
        "daily": _daily(look, found) if found["calls"] else None,
        "daily_rows": [
            (look.day_of(row["date"]), look.money(row["cost"]), look.count(row["calls"]))
            for row in reversed(found["days"])
        ],
        "apis": [_api(look, row, spread.get(row["name"]), live.get(row["name"])) for row in found["apis"]],
        "sample": look.count(recent["seen"]),
        "tables": [
            {"title": look.t("dash.by_caller"), "rows": _rows(look, found["callers"])},
            {"title": look.t("dash.by_rule"), "rows": _rows(look, found["rules"])},
            {"title": look.t("dash.by_model"), "rows": _models(look, recent)},
        ],
        "entries": [_entry(look, entry) for entry in entries["entries"]],
        "more": entries["more"],
        "chosen": chosen,
        "choices": {
            "apis": [row["name"] for row in found["apis"] if row["name"] != "-"],
            "callers": [row["name"] for row in found["callers"]],
            "states": [(state.value, look.t(f"dash.entry.{state.value}")) for state in State],
        },
    }


async def entry(seen: Seen) -> dict[str, Any]:
    """Values of entry.html for the call that the path names."""
    look = seen.look
    found = (await seen.ask.get("/ledger/{id}", place={"id": seen.query["id"]}))["entry"]
    unit = found["original_currency"]
    facts = [
        (look.t("dash.time"), _moment(look, found["at"])),
        (look.t("dash.api"), found["api"]),
        (look.t("dash.rule"), found["rule"]),
        (look.t("dash.caller"), found["caller"]),
        (look.t("dash.call"), f"{found['method']} {found['path']}"),
        (look.t("dash.answer"), str(found["status"] or "—")),
        (look.t("dash.model"), found["model"] or "—"),
        (look.t("dash.id"), found["id"]),
        (look.t("dash.estimate"), look.money(found["estimate"], found["currency"])),
        *((name.replace("_", " "), look.count(number)) for name, number in found["usage"].items()),
    ]
    if found["note"]:
        facts.append((look.t("dash.note"), found["note"]))
    rate = ""
    if found["fx_rate"]:
        rate = look.t(
            "dash.rate", rate=found["fx_rate"], base=found["currency"], unit=unit, date=found["fx_date"] or "—"
        )
    return {
        "title": f"{found['api']} · {found['model'] or found['path']}",
        "cost": look.money(found["cost"], found["currency"]),
        "facts": facts,
        "kind": _STATE_KINDS.get(found["state"], "none"),
        "state_text": look.t(f"dash.entry.{found['state']}"),
        "terms": found["terms"],
        "original": f"{found['original_cost']} {unit}",
        "rate": rate,
        "budgets": [
            (f"{one['name']} {one['period']}", look.money(one["cost"], one["currency"])) for one in found["budgets"]
        ],
    }


async def _guards(seen: Seen) -> dict[str, dict[str, Any]]:
    """The breaker and the limits of each API."""
    found: dict[str, dict[str, Any]] = {}
    for breaker in (await seen.ask.get("/breakers"))["breakers"]:
        found.setdefault(breaker["name"], {"limits": []})["breaker"] = breaker
    for limit in (await seen.ask.get("/limits"))["limits"]:
        if limit["api"] is not None:
            found.setdefault(limit["api"], {"limits": []})["limits"].append(limit)
    return found


def _days(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) in SPANS else 30


def _shares(look: Look, found: Mapping[str, Any]) -> dict[str, Any]:
    """The donut's slices and their legend; the smallest are one slice together."""
    rows = [(row["name"], Decimal(row["cost"])) for row in found["apis"] if Decimal(row["cost"]) > 0]
    if len(rows) > _SHARES_MOST + 1:
        rest = sum((cost for _, cost in rows[_SHARES_MOST:]), Decimal(0))
        rows = [*rows[:_SHARES_MOST], (look.t("dash.others"), rest)]
    whole = sum((cost for _, cost in rows), Decimal(0))
    return {
        "donut": charts.donut([float(cost / whole) for _, cost in rows]),
        "shares": [{"name": name, "share": look.share(cost / whole), "cost": look.money(cost)} for name, cost in rows],
    }


def _daily(look: Look, found: Mapping[str, Any]) -> dict[str, Any]:
    """The bar chart of days, as app.js draws it."""
    days = found["days"]
    before, after = look.around_amounts()
    return {
        "x": list(range(len(days))),
        "days": [look.day_of(row["date"]) for row in days],
        "short": [look.short_day(row["date"]) for row in days],
        "labels": [look.t("dash.day")],
        "series": [
            {
                "label": look.t("dash.cost"),
                "kind": "bars",
                "colour": "accent",
                "values": [float(row["cost"]) for row in days],
            }
        ],
        "before": before,
        "after": after,
    }


def _api(
    look: Look, row: Mapping[str, Any], spread: Mapping[str, Any] | None, live: Mapping[str, Any] | None
) -> dict[str, Any]:
    seen = spread["calls"] if spread else 0
    breaker = live.get("breaker") if live else None
    return {
        "name": look.t("dash.no_api") if row["name"] == "-" else row["name"],
        "calls": look.count(row["calls"]),
        "cost": look.money(row["cost"]),
        "mean": look.money(spread["mean"]) if spread else "—",
        "p95": look.money(spread["p95"]) if spread else "—",
        "failed": look.share(Decimal(spread["failed"]) / seen) if spread and seen else "—",
        "cached": look.share(Decimal(spread["cached"]) / seen) if spread and seen else "—",
        "refused": look.count(row["refused"]),
        "breaker": breaker and {"kind": breaker["state"], "text": look.t(f"dash.breaker.{breaker['state']}")},
        "limits": [
            look.t("dash.limit", left=look.number(one["left"]), limit=look.number(one["limit"]), name=one["name"])
            for one in (live.get("limits", ()) if live else ())
        ],
    }


def _rows(look: Look, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    whole = sum((Decimal(row["cost"]) for row in rows), Decimal(0))
    return [
        {
            "name": row["name"],
            "part": charts.part(float(Decimal(row["cost"]) / whole) if whole else 0.0),
            "cost": look.money(row["cost"]),
            "calls": look.count(row["calls"]),
        }
        for row in rows[:10]
    ]


def _models(look: Look, recent: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _rows(look, [{**row, "name": row["model"]} for row in recent["models"] if row["model"]])


def _entry(look: Look, found: Mapping[str, Any]) -> dict[str, Any]:
    what = f"{found['method']} {found['path']}"
    return {
        "id": found["id"],
        "at": _moment(look, found["at"]),
        "api": found["api"],
        "rule": found["rule"],
        "caller": found["caller"],
        "what": f"{what} · {found['model']}" if found["model"] else what,
        "status": found["status"] or "—",
        "state": look.t(f"dash.entry.{found['state']}"),
        "kind": _STATE_KINDS.get(found["state"], "none"),
        "cost": look.money(found["cost"], found["currency"]),
    }


def _moment(look: Look, iso: str) -> str:
    """To the second for today's calls; those of other days say which."""
    at_ms = ms_of(iso)
    today = local_day(at_ms, look.timezone) == local_day(look.now_ms, look.timezone)
    return look.clock(at_ms) if today else look.moment(at_ms)
