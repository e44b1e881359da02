"""What is known of services, kept in Redis so that it survives every process: one hash, two fields a service.

`<name>`: its state as JSON, written by the leader alone, with each stop and start in the audit trail. `hand:<name>`:
"stop" or "start" as a person said, with the instant (Unix ms) at which it ends if it does; absent = as the money says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from proxy.state import audit
from proxy.state.audit import Change, Entry, GuardFailed, Refused
from proxy.state.keys import SERVICES_KEPT_S
from proxy.state.switches import Desk

_KEEP_MS: Final = SERVICES_KEPT_S * 1000


async def read(client: Any, keys: Any, now_ms: int) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """(state by service, what people said by service, as far as it holds still). Raises StoreUnavailable."""
    fields: dict[str, str] = await client.ask("HGETALL", keys.services)
    hand = {}
    for name, said in fields.items():
        word, _, until = said.partition(" ")
        if name.startswith("hand:") and (not until or int(until) > now_ms):
            hand[name.removeprefix("hand:")] = word
    states = {name: json.loads(text) for name, text in fields.items() if not name.startswith("hand:")}
    return states, hand


async def note(desk: Desk, name: str, state: Any) -> None:
    """Write a state without an audit entry: a try that failed. Raises Stale, StoreUnavailable."""
    text = json.dumps(asdict(state), ensure_ascii=False)
    await desk.client.script("note", [desk.keys.services, desk.keys.leader], [desk.fence, name, text, _KEEP_MS])


async def moved(desk: Desk, name: str, state: Any, *, start: bool, reason: str, dry_run: bool) -> Entry:
    """Write that a service was stopped or started, with its audit entry. Raises Stale, StoreUnavailable."""
    text = json.dumps(asdict(state), ensure_ascii=False)
    action = ("service.start" if start else "service.stop") + (".dry" if dry_run else "")
    entry = desk.draft(action, f"service:{name}", reason, after="running" if start else "stopped")
    change = Change(desk.keys.services, name, "set", text, _KEEP_MS)
    return await audit.record(desk.client, desk.keys, entry, [change], desk.fence)


async def by_hand(
    desk: Desk, name: str, word: str, reason: str, until_ms: int | None = None, also: Sequence[Change] = ()
) -> Entry:
    """A person says "stop" or "start", until a time or until it is "auto": as the money says again. Raises Refused.

    also: changes in the same step.
    """
    known = [service.name for service in desk.rules.services]
    if name not in known:
        raise Refused("no_target", target=name[:80], known=", ".join(known) or "-")
    field = f"hand:{name}"
    before = await desk.client.ask("HGET", desk.keys.services, field) or ""
    after = "" if word == "auto" else word if until_ms is None else f"{word} {until_ms}"
    until = "" if until_ms is None else desk.iso(until_ms)
    entry = desk.draft(
        *(f"service.hand.{word}", f"service:{name}", reason),
        before=before.partition(" ")[0] or "auto",
        after=word,
        until=until,
    )
    change = Change(desk.keys.services, field, "set" if after else "del", after, _KEEP_MS, guard=before)
    try:
        return await audit.record(desk.client, desk.keys, entry, [change, *also], desk.fence)
    except GuardFailed:
        raise Refused("busy") from None
