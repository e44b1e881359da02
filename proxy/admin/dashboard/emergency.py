"""The emergency desk: what is in force, what can be done now and what it will do, and who did what when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.admin.dashboard import foretell, incidents
from proxy.admin.dashboard.app import Action, Seen
from proxy.admin.dashboard.look import Look, ms_of

ACTS: Final = ("lift", "increase", "bypass", "block", "stop")
SPANS: Final = ("30m", "1h", "2h", "8h", "24h")


async def page(seen: Seen) -> dict[str, Any]:
    """Values of emergency.html."""
    look, ask = seen.look, seen.ask
    standing = await ask.get("/emergency")
    trail = (await ask.get("/audit", {"count": "30"}))["entries"]
    rules = ask.desk.rules()
    budgets = [budget.name for budget in rules.budgets] if rules is not None else []
    apis = [api.name for api in rules.apis] if rules is not None else []
    callers = [caller.name for caller in rules.callers] if rules is not None else []
    acts = [name for name in ACTS if ask.may("POST", f"/emergency/{name}")]
    return {
        "title": look.t("dash.emergency"),
        "in_force": [
            {
                "what": what(look, one["field"]),
                "until": look.until(ms_of(one["until"]) if one["until"] else None),
                "kind": kind_of(one["field"]),
                "entry": one["entry"],
            }
            for one in standing["switches"]
        ],
        "waiting": [_entry(look, one) for one in standing["waiting"]],
        "acts": acts,
        "wills": {name: await foretell.will(seen, name, {"until": SPANS[0]}) for name in acts},
        "may_undo": ask.may("POST", "/emergency/undo/{number}"),
        "may_approve": ask.may("POST", "/emergency/approve/{number}"),
        "spans": [(one, look.t(f"dash.for.{one}")) for one in SPANS],
        "lifts": [
            ("all", look.t("dash.lift_all")),
            *((f"budget:{name}", look.t("dash.of_budget", name=name)) for name in budgets),
            *((f"api:{name}", look.t("dash.of_api", name=name)) for name in apis),
        ],
        "blocks": [
            *((f"api:{name}", look.t("dash.of_api", name=name)) for name in apis),
            *((f"caller:{name}", look.t("dash.of_caller", name=name)) for name in callers),
        ],
        "budgets": budgets,
        **await incidents.opened(seen),
        "trail": [_entry(look, one) for one in trail],
    }


def kind_of(field: str) -> str:
    """The colour of a switch: what it does to calls."""
    if field == "bypass":
        return "restrict"
    return "lift" if field.startswith("lift:") else "stopped"


def what(look: Look, field: str) -> str:
    """A switch in words."""
    name, _, rest = field.partition(":")
    if name == "lift" and rest != "all":
        return look.t(f"dash.switch.lift_{rest.partition(':')[0]}", name=rest.partition(":")[2])
    return look.t(f"dash.switch.{'lift_all' if name == 'lift' else name}", name=rest)


def _entry(look: Look, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": one["number"],
        "at": look.moment(ms_of(one["at"])),
        "by": one["by"],
        "action": one["action"],
        "target": one["target"],
        "reason": one["reason"],
        "after": one["after"],
        "undoable": one["undoable"],
        "undoes": one["undoes"],
    }


def _act(name: str) -> Action:
    async def run(seen: Seen, form: Mapping[str, str]) -> str:
        members = {key: value.strip() for key, value in form.items() if key not in ("csrf", "back")}
        done = await seen.ask.post(f"/emergency/{name}", members)
        return seen.look.t("dash.done", number=done["number"])

    return Action(f"/do/emergency/{name}", run)


def _numbered(name: str) -> Action:
    async def run(seen: Seen, form: Mapping[str, str]) -> str:
        place = {"number": form.get("number", "")}
        done = await seen.ask.post(f"/emergency/{name}/{{number}}", {"reason": form.get("reason", "")}, place)
        return seen.look.t("dash.done", number=done["number"])

    return Action(f"/do/emergency/{name}", run)


ACTIONS: Final = (*(_act(name) for name in ACTS), _numbered("undo"), _numbered("approve"))
