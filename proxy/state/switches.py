"""The hand on the tap: writes the switches that the admission script reads, each with its audit entry.

Every function does one thing atomically and returns the entry that tells it; the entry's number is the handle to undo
it. What is asked of them is checked here, so that the command line, the API and the control plane mean the same.
Refused (a value of the trail's module) is what cannot be done; its sentence is `switches.<reason>`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxy.core import money
from proxy.core.model import Budget, RuleSet
from proxy.core.windows import iso, window_at
from proxy.state import audit
from proxy.state.audit import Change, Entry, GuardFailed, Refused, Who
from proxy.state.client import Client
from proxy.state.keys import BUDGET_KEPT_S, SWITCHES_KEPT_S, Keys

FOREVER: Final = 9_007_199_254_740_991  # until undone
BYPASS_MOST_MS: Final = 7 * 86_400_000
APPROVAL_WITHIN_MS: Final = 86_400_000
_KEEP_MS: Final = SWITCHES_KEPT_S * 1000
_ASKED: Final = "increase.asked"
_LOOKED_THROUGH: Final = 300  # newest entries, for increases that wait


@dataclass(frozen=True, slots=True)
class Switched:
    """A switch in force. until_ms None = until undone. entry: number in the audit trail."""

    field: str
    until_ms: int | None
    entry: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What every act needs. fence: the leader's token for what must happen once, "" for people."""

    client: Client
    keys: Keys
    rules: RuleSet
    who: Who
    now_ms: int  # Redis's clock
    fence: str = ""

    def draft(self, action: str, target: str, reason: str, **more: str) -> Entry:
        if not reason.strip():
            raise Refused("no_reason")
        return audit.draft(self.who, action, target, reason.strip()[:500], self.now_ms, self.rules.timezone, **more)

    def iso(self, at_ms: int) -> str:
        return iso(at_ms, self.rules.timezone)


async def active(client: Client, keys: Keys, now_ms: int) -> list[Switched]:
    """What is switched now, in the order of the names. Raises StoreUnavailable."""
    fields: dict[str, str] = await client.ask("HGETALL", keys.switches)
    found = []
    for field, value in sorted(fields.items()):
        until, _, entry = value.partition(" ")
        # A pause is nobody's doing: the API asked for it.
        if until.isdigit() and int(until) > now_ms and not field.startswith("pause:"):
            ends = None if int(until) >= FOREVER else int(until)
            found.append(Switched(field, ends, int(entry) if entry.isdigit() else 0))
    return found


# --- switching ----------------------------------------------------------------------------------------------------


async def stop(desk: Desk, reason: str, until_ms: int | None = None, also: Sequence[Change] = ()) -> Entry:
    """Refuse everything that costs money, in every proxy, from the next request on. also: changes in the same step."""
    return await _set(desk, "stop", "stop", "all", reason, until_ms, also)


async def block(
    desk: Desk, target: str, reason: str, until_ms: int | None = None, also: Sequence[Change] = ()
) -> Entry:
    """Refuse the calls of one API, rule or caller: "api:openai", "rule:openai/chat", "caller:batch".

    also: changes in the same step.
    """
    field = _target(desk.rules, target, ("api", "rule", "caller"))
    return await _set(desk, field, "block", target, reason, until_ms, also)


async def lift(desk: Desk, target: str, reason: str, until_ms: int | None) -> Entry:
    """Set a restriction aside until a time: "all", "budget:monthly" (its restrict line), "api:openai" (its stop)."""
    if until_ms is None:
        raise Refused("needs_until")
    field = "lift:all" if target == "all" else f"lift:{_target(desk.rules, target, ('budget', 'api'))}"
    return await _set(desk, field, "lift", target, reason, until_ms)


async def bypass(desk: Desk, reason: str, until_ms: int | None) -> Entry:
    """Let everything pass every budget, switch, limit and breaker, counted, until a time within a week."""
    if until_ms is None:
        raise Refused("needs_until")
    if until_ms > desk.now_ms + BYPASS_MOST_MS:
        raise Refused("too_long", days=BYPASS_MOST_MS // 86_400_000)
    return await _set(desk, "bypass", "bypass", "all", reason, until_ms)


async def release(desk: Desk, field: str, reason: str, only_of: str | None = None) -> Entry | None:
    """Take a switch away. only_of: only while it is still the one of this entry; None if it is not."""
    now = await desk.client.ask("HGET", desk.keys.switches, field)
    if now is None or (only_of is not None and now.partition(" ")[2] != only_of):
        return None
    entry = desk.draft("release", field, reason, before=now)
    change = Change(desk.keys.switches, field, "del", "", _KEEP_MS, guard=now)
    return await _record(desk, entry, [change])


async def _set(
    desk: Desk, field: str, action: str, target: str, reason: str, until_ms: int | None, also: Sequence[Change] = ()
) -> Entry:
    ends = FOREVER if until_ms is None else until_ms
    if ends <= desk.now_ms:
        raise Refused("past", until=desk.iso(ends))
    before = await desk.client.ask("HGET", desk.keys.switches, field) or ""
    still = before if _holds(before, desk.now_ms) else ""
    value = f"{ends} {{n}}"
    undo = [["switch", field, value, still]]
    until = "" if until_ms is None else desk.iso(ends)
    entry = desk.draft(action, target, reason, until=until, before=still, after=value, undo=json.dumps(undo))
    change = Change(desk.keys.switches, field, "set", value, _KEEP_MS, guard=before)
    return await _record(desk, entry, [change, *also])


def _holds(value: str, now_ms: int) -> bool:
    until = value.partition(" ")[0]
    return until.isdigit() and int(until) > now_ms


def _target(rules: RuleSet, target: str, kinds: Sequence[str]) -> str:
    """The target, when there is such a thing. Raises Refused."""
    kind, _, name = target.partition(":")
    known = {
        "api": [api.name for api in rules.apis],
        "rule": [rule.id for api in rules.apis for rule in api.rules],
        "caller": [*(caller.name for caller in rules.callers), "anonymous"],
        "budget": [budget.name for budget in rules.budgets],
    }
    if kind not in kinds or kind not in known:
        raise Refused("bad_target", target=target[:80], kinds=", ".join(f"{kind}:NAME" for kind in kinds))
    if name not in known[kind]:
        raise Refused("no_target", target=target[:80], known=", ".join(known[kind][:20]) or "-")
    return f"{kind}:{name}"


# --- more money ---------------------------------------------------------------------------------------------------


async def increase(desk: Desk, name: str, atoms: int, reason: str) -> Entry:
    """Add to a budget's limit for its current period. A large one waits for `approve` where the rules say so."""
    budget = _budget(desk.rules, name)
    share = desk.rules.admin.second_approver_bp
    needs_second = share is not None and atoms * 10_000 >= budget.limit_atoms * share
    if needs_second and desk.who.via != "automatic":
        await _check_increase(desk, budget, atoms)
        asked = json.dumps({"budget": name, "period": _label(desk, budget), "atoms": atoms})
        entry = desk.draft(_ASKED, f"budget:{name}", reason, after=asked)
        entry = replace(entry, until=desk.iso(desk.now_ms + APPROVAL_WITHIN_MS))
        return await _record(desk, entry, [])
    return await _increase(desk, budget, atoms, reason, [])


async def approve(desk: Desk, number: int, reason: str) -> Entry:
    """Let an increase happen that somebody else asked for within a day."""
    asked = await audit.find(desk.client, desk.keys, number)
    if asked is None or asked.action != _ASKED:
        raise Refused("nothing_asked", number=number)
    if asked.by == desk.who.name:
        raise Refused("same_person", by=asked.by)
    wanted = json.loads(asked.after)
    budget = _budget(desk.rules, wanted["budget"])
    if wanted["period"] != _label(desk, budget) or asked.until <= desk.iso(desk.now_ms):
        raise Refused("too_late", number=number)
    answered = Change(desk.keys.audit_head, f"undone:{number}", "set", "{n}", _KEEP_MS, guard="")
    return await _increase(desk, budget, wanted["atoms"], f"{asked.reason} / {reason}", [answered], str(number))


async def waiting(client: Client, keys: Keys, now_ms: int, timezone: str) -> list[Entry]:
    """Increases that wait for a second person, the newest first."""
    asked = [entry for entry in await audit.last(client, keys, _LOOKED_THROUGH) if entry.action == _ASKED]
    if not asked:
        return []
    answers = await client.ask("HMGET", keys.audit_head, *(f"undone:{entry.number}" for entry in asked))
    now = iso(now_ms, timezone)
    return [entry for entry, done in zip(asked, answers, strict=True) if done is None and entry.until > now]


async def _increase(
    desk: Desk, budget: Budget, atoms: int, reason: str, more: list[Change], answers: str = ""
) -> Entry:
    before = await _check_increase(desk, budget, atoms)
    window = window_at(budget.period, budget.timezone, desk.now_ms)
    key = desk.keys.budget(budget.name, window.label)
    keep_ms = window.end_ms - desk.now_ms + BUDGET_KEPT_S * 1000
    digits = money.exponent(budget.currency)
    change = Change(key, "increase", "add", str(atoms), keep_ms, digits=digits, currency=budget.currency)
    undo = [["increase", budget.name, window.label, str(window.end_ms), str(atoms), budget.currency]]
    entry = desk.draft(
        "increase",
        f"budget:{budget.name}",
        reason,
        until=iso(window.end_ms, budget.timezone),
        before=money.format_text(budget.limit_atoms + before, budget.currency),
        after=money.format_text(budget.limit_atoms + before + atoms, budget.currency),
        undo=json.dumps(undo),
    )
    return await _record(desk, replace(entry, undoes=answers), [change, *more])


async def _check_increase(desk: Desk, budget: Budget, atoms: int) -> int:
    """What was added before. Raises Refused for an increase that would not be exact, or none."""
    if atoms <= 0:
        raise Refused("not_more")
    key = desk.keys.budget(budget.name, _label(desk, budget))
    before = int(await desk.client.ask("HGET", key, "increase") or 0)
    if budget.limit_atoms + before + atoms > money.LIMIT_ATOMS:
        raise Refused("too_much", most=money.format_text(money.LIMIT_ATOMS, budget.currency))
    return before


def _label(desk: Desk, budget: Budget) -> str:
    return window_at(budget.period, budget.timezone, desk.now_ms).label


def _budget(rules: RuleSet, name: str) -> Budget:
    for budget in rules.budgets:
        if budget.name == name:
            return budget
    raise Refused("no_target", target=name[:80], known=", ".join(budget.name for budget in rules.budgets) or "-")


# --- undoing ------------------------------------------------------------------------------------------------------


async def undo(desk: Desk, number: int, reason: str) -> Entry:
    """Take back what an entry did, if it still holds. Raises Refused."""
    entry = await audit.find(desk.client, desk.keys, number)
    if entry is None:
        raise Refused("no_entry", number=number)
    if not entry.undo:
        raise Refused("not_undoable", number=number, action=entry.action)
    changes = [Change(desk.keys.audit_head, f"undone:{number}", "set", "{n}", _KEEP_MS, guard="")]
    after = []
    for kind, *words in json.loads(entry.undo):
        if kind == "switch":
            field, wrote, before = words
            back = before if _holds(before, desk.now_ms) else ""
            what = "set" if back else "del"
            changes.append(Change(desk.keys.switches, field, what, back, _KEEP_MS, guard=wrote))
            after.append(back)
        else:
            name, label, end_ms, atoms, currency = words
            if int(end_ms) <= desk.now_ms:
                raise Refused("period_over", number=number)
            keep_ms = int(end_ms) - desk.now_ms + BUDGET_KEPT_S * 1000
            key, digits = desk.keys.budget(name, label), money.exponent(currency)
            changes.append(
                Change(key, "increase", "add", f"-{atoms}", keep_ms, digits=digits, currency=currency),
            )
            after.append(entry.before)
    told = desk.draft("undo", entry.target, reason, before=entry.after, after=" ".join(after).strip())
    try:
        return await audit.record(desk.client, desk.keys, replace(told, undoes=str(number)), changes, desk.fence)
    except GuardFailed as failed:
        if failed.change.field == f"undone:{number}":
            raise Refused("undone_already", number=number, by=failed.now) from None
        raise Refused("changed_since", number=number) from None


async def _record(desk: Desk, entry: Entry, changes: list[Change]) -> Entry:
    try:
        return await audit.record(desk.client, desk.keys, entry, changes, desk.fence)
    except GuardFailed as failed:
        if failed.change.field.startswith("undone:"):
            raise Refused("answered_already", by=failed.now) from None
        raise Refused("busy") from None
