"""Recommendations and next month's expectations: the leader makes them now and then, everybody else reads them.

Reading a month of calls may cost seconds, so it is done rarely: at most every minute, at least every quarter of an
hour, so that it takes up half a percent of the time; and at once for other rules. What was set aside is not left out
here: whoever shows recommendations asks for that, and then lays out the plan (plan.py).
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from proxy.control.jobs import Context, Job
from proxy.control.measuring import measure
from proxy.control.optimize import advise
from proxy.control.optimize.facts import Facts
from proxy.control.optimize.told import Advice, packed, unpacked
from proxy.core.model import RuleSet
from proxy.state import advice, allowances, history
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader

EVERY_MS: Final = 900_000
SOON_MS: Final = 60_000
SHARE: Final = 200  # a look that took a second is taken again after so many
FRESH_MS: Final = 2 * EVERY_MS  # older than this, nobody makes them any more
_LOOK_EVERY_S: Final = 20.0


async def look(reader: Reader, keys: Keys, rules: RuleSet, now_ms: int) -> Advice:
    """All recommendations of this moment, and what next month will probably cost. Raises StoreUnavailable."""
    facts = Facts(rules, 1, now_ms)
    facts.days = await advice.feed(Ledger(reader, keys), now_ms, facts.add)
    facts.used, facts.grown = await measure(rules.fixed_costs, now_ms)
    days = await history.days(reader, keys, rules.timezone, now_ms)
    drawn = await allowances.drawn(reader, keys, rules, now_ms)

    facts.drawn = drawn

    def work() -> Advice:
        from proxy.control.optimize.expected import expectations  # numpy, and slow to import

        return Advice(tuple(advise(facts)), expectations(rules, days, now_ms, drawn))

    return await asyncio.to_thread(work)


async def refresh(context: Context) -> None:
    """One round of the leader: nothing, while what is kept is young and of these rules. Raises StoreUnavailable."""
    rules, now_ms, client, keys = context.rules, context.now_ms(), context.client, context.keys
    last = await advice.last_look(client, keys)
    if last is not None and last.rules == rules.digest:
        rest_ms = min(EVERY_MS, max(SOON_MS, SHARE * last.took_ms))
        if 0 <= now_ms - last.at_ms < rest_ms:
            return
    began_s = time.monotonic()
    found = await look(client, keys, rules, now_ms)
    took_ms = round((time.monotonic() - began_s) * 1000)
    await advice.keep(client, keys, packed(found), advice.Look(now_ms, rules.digest, took_ms), rules.timezone)


async def kept(reader: Reader, keys: Keys) -> Advice | None:
    """What the leader found last; None: it has not looked yet. Raises StoreUnavailable."""
    found = await advice.read(reader, keys)
    return None if found is None else unpacked(found[1], found[0])


async def kept_or_look(reader: Reader, keys: Keys, rules: RuleSet, now_ms: int) -> Advice:
    """What the leader found, or, where none has looked lately or only with other rules, what can be found now."""
    last = await advice.last_look(reader, keys)
    if last is not None and 0 <= now_ms - last.at_ms < FRESH_MS and last.rules == rules.digest:
        found = await kept(reader, keys)
        if found is not None:
            return found
    return await look(reader, keys, rules, now_ms)


JOB: Final = Job("advice", _LOOK_EVERY_S, refresh)
