"""How many failed calls may be made again: the budget of repeats that each API has, for all workers on the store.

A call earns its share of a repeat where it is made, in this worker's memory. Only when a repeat is about to happen, the
store is told what was earned, and asked for one (lua/repeat.lua). So calls that work cost nothing, and what was earned
and never told can only make repeats fewer. A store that is away permits none.

Mutable state: what the calls of this worker have earned since it last asked, by API.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from proxy.core import retry
from proxy.core.handling_model import RetryPolicy
from proxy.core.model import Ask
from proxy.state import resp
from proxy.state.keys import Keys, pause_of, switches_of
from proxy.state.resp import Packed
from proxy.state.store import Reply, ScriptError, Store, StoreUnavailable

log = structlog.get_logger()


def _now() -> int:
    """The script asks Redis's own clock."""
    return 0


class Repeats:
    """Repeats of one tenant's calls, as one worker sees them. given_now: tests give their clock (Unix ms)."""

    def __init__(self, store: Store, keys: Keys, given_now: Callable[[], int] = _now) -> None:
        self._store = store
        self._keys = keys
        self._given_now = given_now
        self._earned: dict[str, int] = {}

    def called(self, api: str, policy: RetryPolicy) -> None:
        """A call is made for the first time."""
        self._earned[api] = min(retry.MOST, self._earned.get(api, 0) + retry.earns(policy))

    async def take(self, ask: Ask, policy: RetryPolicy, pause_until_ms: int | None = None) -> bool:
        """Whether this call may be made once more; takes one repeat if so.

        Not where the API's budget is used up, something of the call was switched off, or one of its circuits is not
        closed. pause_until_ms: the API asked to be left alone until then; from now on that holds for everybody.
        """
        earned = self._earned.pop(ask.api, 0)
        try:
            reply: list[Reply] = await self._store.script(
                "repeat", self._parts(ask, policy, earned, pause_until_ms or 0)
            )
        except (StoreUnavailable, ScriptError) as error:
            log.warning("call.not_repeated", id=ask.id, api=ask.api, reason=str(error))
            return False
        if reply[0] == 1:
            return True
        log.info("call.not_repeated", id=ask.id, api=ask.api, reason=_WHY[reply[1]])
        return False

    def _parts(self, ask: Ask, policy: RetryPolicy, earned: int, pause_ms: int) -> Packed:
        keys, costs = self._keys, 0 if ask.free else 1
        named = [keys.switches, keys.repeats(ask.api), *(keys.breaker(one.name) for one in ask.guards.breakers)]
        switches = switches_of(ask.api, ask.rule, ask.caller)
        bounds = (earned, retry.comes_back(policy), retry.MOST, retry.WINDOW_MS)
        told = resp.encode((self._given_now(), switches, costs, pause_of(ask.api), pause_ms, *bounds))
        return resp.words(len(named), *named, told)


_WHY = {1: "budget of repeats used up", 2: "switched off", 3: "circuit not closed"}
