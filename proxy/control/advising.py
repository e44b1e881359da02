"""Recommendations from the running ledger: reads the last month's calls, adds them up, asks the rules."""

from __future__ import annotations

import asyncio

from proxy.control.optimize import advise
from proxy.control.optimize.facts import Facts
from proxy.control.optimize.finding import Recommendation
from proxy.core.model import RuleSet
from proxy.state.advice import feed
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader


async def look(reader: Reader, keys: Keys, rules: RuleSet, now_ms: int) -> list[Recommendation]:
    """All recommendations of this moment, also those that were set aside. Raises StoreUnavailable."""
    facts = Facts(rules, 1, now_ms)
    facts.days = await feed(Ledger(reader, keys), now_ms, facts.add)
    return await asyncio.to_thread(advise, facts)
