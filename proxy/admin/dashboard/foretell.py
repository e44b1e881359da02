"""What an act at the emergency desk would do, told before it is done: with the figures of this moment, in sentences.

The desk's page tells it for what its forms are filled in with, and asks again whenever one of them changes. Nothing is
switched here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from proxy.admin.dashboard.app import Seen
from proxy.admin.dashboard.look import Look
from proxy.core import moments, money
from proxy.core.model import Budget, RuleSet
from proxy.core.threshold import percent_text, threshold_atoms
from proxy.core.windows import window_at
from proxy.state.ledger import Ledger


async def fragment(seen: Seen) -> dict[str, Any]:
    """Values of emergency_will.html. query: act, and the fields of its form."""
    return {"will": await will(seen, seen.query.get("act", ""), seen.query)}


async def will(seen: Seen, act: str, fields: Mapping[str, str]) -> list[str]:
    """Sentences; none for what cannot be told yet, or is no act."""
    rules = seen.ask.desk.rules()
    tell = _TOLD.get(act)
    return [] if rules is None or tell is None else await tell(seen, rules, fields)


def _holds(look: Look, until: str) -> str:
    """From when, and until when, it holds; "" for a time that nobody understands."""
    if not until:
        return look.t("dash.will.holds", until=look.until(None))
    try:
        return look.t("dash.will.holds", until=look.until(moments.until_ms(until, look.now_ms, look.timezone)))
    except (ValueError, OverflowError):
        return ""


async def _levels(seen: Seen, rules: RuleSet) -> list[tuple[Budget, Mapping[str, Any]]]:
    desk = seen.ask.desk
    levels = await Ledger(desk.client, desk.keys).levels(rules.budgets, seen.look.now_ms)
    return list(zip(rules.budgets, levels, strict=True))


def _tight(look: Look, levels: Sequence[tuple[Budget, Mapping[str, Any]]], states: tuple[str, ...]) -> list[str]:
    return [
        look.t(f"dash.budget_{one['state']}", name=one["name"]) + "." for _, one in levels if one["state"] in states
    ]


async def _lift(seen: Seen, rules: RuleSet, fields: Mapping[str, str]) -> list[str]:
    look, (kind, _, name) = seen.look, fields.get("target", "all").partition(":")
    told = [_holds(look, fields.get("until", ""))]
    if kind == "api":
        standing = {one["field"] for one in (await seen.ask.get("/emergency"))["switches"]}
        stopped = f"api:{name}" in standing
        return [*told, look.t("dash.will.lift_api" if stopped else "dash.will.lift_api_nothing", name=name)]
    levels = [one for one in await _levels(seen, rules) if kind == "all" or one[0].name == name]
    now = _tight(look, levels, ("restricted",)) or [look.t("dash.will.lift_nothing")]
    return [*told, look.t("dash.will.lift"), *now]


async def _increase(seen: Seen, rules: RuleSet, fields: Mapping[str, str]) -> list[str]:
    look = seen.look
    found = [one for one in await _levels(seen, rules) if one[0].name == fields.get("budget", rules.budgets[0].name)]
    if not found:
        return []
    budget, level = found[0]
    currency, limit = budget.currency, money.atoms_of(level["limit"], budget.currency) or 0
    more = money.atoms_of(fields.get("amount", ""), currency) or 0
    left = limit - (money.atoms_of(level["spent"], currency) or 0) - (money.atoms_of(level["reserved"], currency) or 0)

    def text(atoms: int) -> str:
        return look.money(money.from_atoms(atoms, currency), currency)

    if more <= 0:
        now = look.t("dash.will.increase_from", name=budget.name, limit=text(limit), left=text(left))
        return [now, look.t("dash.will.increase_help")]
    window = window_at(budget.period, budget.timezone, look.now_ms)
    line = threshold_atoms(limit + more, budget.restrict_bp)
    told = [
        look.t(
            "dash.will.increase",
            name=budget.name,
            limit=text(limit),
            more=text(limit + more),
            until=look.until(window.end_ms),
        ),
        look.t("dash.will.increase_left", left=text(left), more=text(left + more)),
        look.t("dash.will.increase_line", percent=percent_text(budget.restrict_bp), line=text(line)),
    ]
    share = rules.admin.second_approver_bp
    if share is not None and more * 10_000 >= budget.limit_atoms * share:
        told.append(look.t("dash.will.second"))
    return told


async def _bypass(seen: Seen, rules: RuleSet, fields: Mapping[str, str]) -> list[str]:
    look = seen.look
    now = _tight(look, await _levels(seen, rules), ("restricted", "stopped"))
    told = [_holds(look, fields.get("until", "")), look.t("dash.will.bypass")]
    return [*told, *(now or [look.t("dash.will.bypass_nothing")])]


async def _block(seen: Seen, rules: RuleSet, fields: Mapping[str, str]) -> list[str]:
    look, default = seen.look, f"api:{rules.apis[0].name}" if rules.apis else ""
    kind, _, name = fields.get("target", default).partition(":")
    usage = await seen.ask.get("/usage")
    rows = {one["name"]: one for one in usage["callers" if kind == "caller" else "apis"]}
    row = rows.get(name, {"calls": 0, "cost": "0"})
    whose = look.t(f"dash.of_{kind}", name=name) if kind in ("api", "caller") else name
    return [
        _holds(look, fields.get("until", "")),
        look.t("dash.will.block", whose=whose),
        look.t("dash.will.block_month", calls=look.count(row["calls"]), cost=look.money(row["cost"])),
    ]


async def _stop(seen: Seen, rules: RuleSet, fields: Mapping[str, str]) -> list[str]:
    look = seen.look
    told = [_holds(look, fields.get("until", "")), look.t("dash.will.stop", apis=look.count(len(rules.apis)))]
    rounds = (await seen.ask.get("/services/plan", {"at": "100"}))["rounds"] if rules.services else []
    stopping = [step["service"] for batch in rounds for step in batch if step["action"] == "stop"]
    return [*told, look.t("dash.will.stop_services", names=", ".join(stopping))] if stopping else told


_TOLD: Final[Mapping[str, Callable[[Seen, RuleSet, Mapping[str, str]], Awaitable[list[str]]]]] = {
    "lift": _lift,
    "increase": _increase,
    "bypass": _bypass,
    "block": _block,
    "stop": _stop,
}
