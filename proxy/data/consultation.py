"""What one call asks of the cache: a kept answer, the answer of an identical call under way, or leave to call the API.

Decides whom a call waits for and for how long. All calls with one key are one flight: the first leads, the others wait
for its answer. They do not wait for ever: a leader that died is followed by one of them when its lease has run out, a
leader whose answer is not kept lets all go at once, and after the rule's `wait` each call goes by itself.

Mutable state: one `Consultation` a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.core import cache
from proxy.core.cache import Kept, Question, Verdict
from proxy.core.handling_model import CachePolicy
from proxy.core.http1 import Field
from proxy.core.model import Outbound
from proxy.state.cache import About, Answer, Answers

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.25
_WOKEN_S: Final = 1.0  # a flight of this worker tells its end; this is for the case that its leader was lost


class Consultation:
    """One call's way through the cache: `await answer()`, then `keep()` what the API said, and always `end()`.

    how: the value of X-Spendgate-Cache. kept: the answer last seen, whatever it is good for.
    """

    __slots__ = ("_answers", "_asked", "_leads", "_now_ms", "_outbound", "_policy", "_token", "how", "kept")

    def __init__(
        self,
        answers: Answers,
        policy: CachePolicy,
        asked: Question,
        outbound: Outbound,
        token: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._answers = answers
        self._policy = policy
        self._asked = asked
        self._outbound = outbound
        self._token = token
        self._now_ms = now_ms
        self._leads = False
        self.how = "miss"
        self.kept: Answer | None = None

    @property
    def only_kept(self) -> bool:
        """Whether the client wants no call to be made for it."""
        return self._asked.only_kept

    async def answer(self) -> Answer | None:
        """A kept answer to give instead of calling; None: call the API."""
        asked, key, answers = self._asked, self._asked.key, self._answers
        if not asked.use:
            return None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._policy.wait_ms / 1000
        waited, seen = False, None
        while True:
            self.kept = await answers.look(key)
            if self.kept is not None:
                verdict = self._verdict(self.kept)
                if verdict is Verdict.FRESH:
                    self.how = "collapsed" if waited else "hit"
                    return self.kept
                if verdict is Verdict.STALE and cache.client_takes(asked, self.kept.kept, self._now_ms()):
                    self.how = "stale"
                    return self.kept
            stored = self.kept.stored if self.kept is not None else None
            if asked.only_kept or (waited and stored != seen):
                return None  # whoever was waited for brought an answer that is none for this call
            seen = stored
            leader = await answers.join(key, self._token, self.kept)
            if leader == self._token:
                self._leads = True
                return None
            if leader is None:
                return None
            if leader == "":
                if loop.time() >= deadline:
                    return None
                await asyncio.sleep(0)
                continue
            waited = True
            if not await self._landed(leader, deadline):
                return None

    async def _landed(self, leader: str, deadline: float) -> bool:
        """Wait for a flight's end. False: there will be no answer, or the time is over."""
        loop, key, pause_s = asyncio.get_running_loop(), self._asked.key, _FIRST_PAUSE_S
        while (left_s := deadline - loop.time()) > 0:
            here = self._answers.led_here(leader)
            await self._answers.wait(key, min(left_s, _WOKEN_S if here else pause_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
            now = await self._answers.leader(key)
            if now != leader:
                return now != f"over:{leader}"
        return False

    def _verdict(self, answer: Answer) -> Verdict:
        return cache.verdict(self._policy, self._asked, self._outbound, answer.kept, self._now_ms())

    def stand_in(self) -> Answer | None:
        """The kept answer, fresh or stale, for when the API cannot be had or must not be asked."""
        return self.kept if self.kept is not None and self._verdict(self.kept) is not Verdict.USELESS else None

    def validators(self) -> tuple[Field, ...]:
        """Request fields that ask the API whether the kept answer still holds."""
        kept = self.kept
        if kept is None or self._outbound.method != "GET" or self._asked.conditional or not kept.kept.validated:
            return ()
        if not cache.accepts(self._asked.accept_encoding, kept.kept.encoding):
            return ()
        return tuple(cache.validators(kept.kept))

    # --- after the call ------------------------------------------------------------------------------------------

    def lifetime(self, status: int, headers: list[Field]) -> cache.Lifetime | None:
        """How long this answer may be kept; None: not at all."""
        return cache.lifetime(self._policy, self._asked, self._outbound, status, headers, self._now_ms())

    def most(self) -> int:
        """Bytes that a body may have to be kept."""
        return self._policy.max_bytes

    async def keep(
        self,
        status: int,
        headers: list[Field],
        body: bytes,
        pieces: tuple[int, ...] | None,
        cost: tuple[int, str],
        about: About,
    ) -> Answer | None:
        """Write a complete answer down, if it may be kept, and let those who wait for it have it.

        headers: as the client gets them. cost: what it was billed, in atoms of a currency.
        """
        life = self.lifetime(status, headers)
        if life is None or len(body) > self._policy.max_bytes:
            return None
        kept_headers = cache.kept_headers(headers)
        kept: Kept = cache.described(kept_headers, self._now_ms(), life)
        keep_ms = cache.keep_ms(self._policy, kept)
        if keep_ms <= 0 or len(body) > self._policy.max_total:
            return None
        answer = Answer(kept, status, kept_headers, body, pieces, *cost)
        token, self._leads = self._token if self._leads else "", False
        await self._answers.keep(self._asked.key, token, answer, about, keep_ms=keep_ms, most=self._policy.max_total)
        return answer

    async def end(self, answered: bool) -> None:
        """End the flight that this call leads. answered: an answer came that is not kept, so nobody should wait."""
        if self._leads:
            self._leads = False
            await self._answers.end(self._asked.key, self._token, "over" if answered else "free")
