"""The page of the rules: what runs, where each rule came from, what is wrong with the file, and a request to try."""

from __future__ import annotations

from typing import Any

from proxy.admin.dashboard.app import Seen
from proxy.admin.dashboard.look import ms_of
from proxy.admin.problems import Problem


async def page(seen: Seen) -> dict[str, Any]:
    """Values of rules.html. query: method, url, caller, body of a request to try."""
    look, ask = seen.look, seen.ask
    file, known = await ask.get("/rules"), await ask.get("/apis")
    trial = {name: seen.query.get(name, "") for name in ("method", "url", "caller", "body")}
    verdict, problem = None, None
    if trial["url"]:
        try:
            verdict = await ask.post("/price", trial)
        except Problem as error:
            problem = {"kind": "error", "text": error.sentence(look.language)}
    loaded = ""
    if file["loaded_at"]:
        at_ms = ms_of(file["loaded_at"])
        loaded = look.t("dash.rules_loaded", file=file["file"], time=look.moment(at_ms), digest=file["digest"])
    return {
        "title": look.t("dash.tab.rules"),
        "loaded": loaded,
        "mistakes": [
            f"{one['line']}:{one['column']} {one['path']}: {one['message']}{' ' + one['hint'] if one['hint'] else ''}"
            for one in file["mistakes"]
        ],
        "trial": trial,
        "problem": problem,
        "verdict": verdict
        and {
            **verdict,
            "estimate": verdict["estimate"] and look.money(verdict["estimate"], verdict["currency"]),
            "basis": look.t(f"dash.basis.{verdict['basis']}") if verdict["basis"] else "",
        },
        "callers": known["callers"],
        "apis": [
            {
                **api,
                "rules": [{**rule, "where": rule["where"].rpartition("/")[2]} for rule in api["rules"]],
                "priority": " · ".join(sorted({look.t(f"dash.priority.{rule['priority']}") for rule in api["rules"]})),
            }
            for api in known["apis"]
        ],
    }
