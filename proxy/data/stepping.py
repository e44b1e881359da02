"""One call near the end of its budget: asked for as it is, or as its rule's ladder says.

Decides when the ladder is looked at: by the level last heard of for this chain of budgets, so that one question is
enough, and again by the level that the answer to the question tells. Money that an admission reserved for the call as
it was asked for is kept: it is more than the cheaper call needs. What a rung changes is core/ladder.py's.

Mutable state: `Levels`, one a worker, holds what was last heard of by rule and caller; `Stepping` what one call became.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from proxy.core import ladder
from proxy.core.handling_model import Rung
from proxy.core.headers import KEY_HEADERS
from proxy.core.ladder import Step
from proxy.core.model import Admitted, Ask, Credentials, Denied, Estimate, Level
from proxy.data.inbound import Call

_KEPT: Final = 4096
_COOKIES: Final = frozenset((b"cookie",))

Admit = Callable[[Call, Ask], Awaitable[Admitted | Denied]]
Price = Callable[[Call], Estimate]


class Levels:
    """The tightest budget of each rule and caller, as last heard of."""

    def __init__(self) -> None:
        self._levels: dict[tuple[str, str], Level] = {}

    def heard(self, call: Call, level: Level | None) -> None:
        if level is None:
            return
        if len(self._levels) >= _KEPT:
            self._levels.clear()
        self._levels[call.rule.id, call.caller.name] = level

    def of(self, call: Call, now_ms: int) -> Level | None:
        """None: nothing was heard in this period."""
        level = self._levels.get((call.rule.id, call.caller.name))
        return level if level is not None and now_ms < level.resets_at_ms else None


@dataclasses.dataclass(frozen=True, slots=True)
class Changed:
    """A call as a step made it, with what it was asked to be. told: the value of X-Spendgate-Degraded."""

    call: Call
    estimate: Estimate
    told: str
    asked: Call
    asked_estimate: Estimate


class Stepping:
    """The ladder for one call. `changed`: what the call became, None while it is as asked. serves_stale: a kept answer
    is to be given, if there is one."""

    def __init__(self, rungs: tuple[Rung, ...], levels: Levels, call: Call, ask: Ask, price: Price) -> None:
        self._rungs = rungs
        self._levels = levels
        self._call = call
        self._ask = ask
        self._price = price
        self._step: Step | None = None
        self.changed: Changed | None = None

    @property
    def serves_stale(self) -> bool:
        return self._step is not None and self._step.serve_stale

    @property
    def elsewhere(self) -> bool:
        """Whether the call goes to another place than its API."""
        return self.changed is not None and self._step is not None and self._step.elsewhere is not None

    @property
    def stale_told(self) -> str:
        return ladder.told(self._step.at_bp if self._step is not None else 0, (), stale=True)

    def look(self, now_ms: int) -> None:
        """Take the step that the level last heard of asks for."""
        self._take(ladder.step(self._rungs, self._levels.of(self._call, now_ms)))

    async def admit(self, admit: Admit) -> Admitted | Denied:
        """Ask for the call as it is now; where the answer shows that a rung is reached, for what it then becomes."""
        ticket = await self._asked(admit)
        level = ticket.level if isinstance(ticket, Denied) else ticket.tightest
        self._levels.heard(self._call, level)
        own = 0 if isinstance(ticket, Denied) or level is None else ticket.reserved.get(level.currency, 0)
        exact = ladder.step(self._rungs, level, own)
        if exact is None or (self._step is not None and exact.at_bp <= self._step.at_bp):
            return ticket
        self._take(exact)
        if self.changed is None:
            return ticket
        if isinstance(ticket, Denied):
            return await self._asked(admit)
        return replace(ticket, ask=replace(ticket.ask, estimate=self.changed.estimate))

    async def _asked(self, admit: Admit) -> Admitted | Denied:
        changed = self.changed
        if changed is None:
            return await admit(self._call, self._ask)
        return await admit(changed.call, replace(self._ask, estimate=changed.estimate))

    def _take(self, step: Step | None) -> None:
        self._step = step
        self.changed = self._change(step) if step is not None and (step.sets or step.elsewhere) else None

    def _change(self, step: Step) -> Changed | None:
        """What the call becomes, if that is no dearer than what was asked for."""
        call, asked = self._call, self._ask.estimate
        place = _elsewhere(call, step.elsewhere)
        for rule, outbound, names in ladder.candidates(call.rule, call.outbound, step):
            changed = replace(
                place,
                rule=rule,
                outbound=outbound,
                payload=outbound.body if names else call.payload,
                dropped=place.dropped | {b"content-encoding"} if names else place.dropped,
                heading=None,
            )
            estimate = self._price(changed)
            if ladder.cheaper(asked, estimate, self._ask.currency):
                told = ladder.told(step.at_bp, names, elsewhere=step.elsewhere is not None)
                return Changed(changed, estimate, told, call, asked)
        return None


def _elsewhere(call: Call, rung: Rung | None) -> Call:
    """The call as it goes to a cheaper place: with that place's keys, and none of anybody else's."""
    place = rung.upstream if rung is not None else None
    if place is None:
        return call
    api = dataclasses.replace(
        call.api,
        scheme=place.scheme,
        host=place.host,
        port=place.port,
        base_path=place.base_path,
        credentials=tuple(Credentials(header, value) for header, value in place.credentials),
        trust=None,
        obey=False,  # what it asks for is not asked of the API
    )
    return replace(call, api=api, forward=False, dropped=call.dropped | KEY_HEADERS | _COOKIES)
