"""The periodic work of the control plane: one leader does it, each job at its own pace.

A job is a name, a pace and a function; `plan_of_jobs.py` lists them. Jobs of one leader run side by side, never twice
at the same time; one that fails is told in the log and tried again at its next turn, and holds up no other. When the
lease is lost all of them are cancelled. What a job does that must happen once takes `Context.fence` along into the
script.

Mutable state: whether this process leads (in `Leadership`), and its tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.control.emergency import Away
from proxy.core.model import RuleSet
from proxy.settings import Settings
from proxy.state.client import Client, Stale
from proxy.state.keys import Keys
from proxy.state.leader import ASK_EVERY_S, RENEW_EVERY_S, Election
from proxy.state.store import ScriptError, Store, StoreUnavailable

log = structlog.get_logger()

_MARGIN_S: Final = 1.0  # a leader stops before its lease ends: clocks may drift, and a job needs time to be cancelled


@dataclass(frozen=True, slots=True)
class Context:
    """What a job is given.

    client: for questions and scripts. store: for settle (the data plane's own connection class). current_rules: the
    rule set of this moment. fence: the fencing token. clock: Unix ms by Redis's clock, as far as this process knows it.
    away: of a moment, the absence of Redis that has just ended (absence.py).
    """

    client: Client
    store: Store
    keys: Keys
    settings: Settings
    fence: int
    current_rules: Callable[[], RuleSet]
    clock: Callable[[], int]
    away: Callable[[int], Away | None] = lambda _: None

    @property
    def rules(self) -> RuleSet:
        return self.current_rules()

    @property
    def language(self) -> str:
        """Of texts that the rules' people read: alerts, reasons in the audit trail."""
        return self.current_rules().language

    def now_ms(self) -> int:
        return self.clock()


@dataclass(frozen=True, slots=True)
class Job:
    """Something done again and again by the leader: `run` is begun every `every_s` seconds, never before it ended."""

    name: str
    every_s: float
    run: Callable[[Context], Awaitable[None]]


class Leadership:
    """`await run()` until cancelled: asks to lead, and does the jobs while it does."""

    def __init__(
        self,
        election: Election,
        jobs: Sequence[Job],
        context: Callable[[int], Context],
        ready: Callable[[], bool] = lambda: True,
        heard: Callable[[bool, bool], None] = lambda _answered, _led: None,
    ) -> None:
        """context: makes the jobs' context of a fencing token. ready: without it (no rules yet) nobody is asked.

        heard: is told after each asking whether Redis answered, and whether this process led when it was asked.
        """
        self._election = election
        self._jobs = tuple(jobs)
        self._context = context
        self._ready = ready
        self._heard = heard
        self._tasks: list[asyncio.Task[None]] = []
        self._until_s = 0.0  # this process's monotonic clock
        self.fence: int | None = None  # None: this process does not lead

    async def run(self) -> None:
        try:
            while True:
                if self._ready():
                    await self._ask()
                await asyncio.sleep(RENEW_EVERY_S if self.fence is not None else ASK_EVERY_S)
        finally:
            led = self.fence is not None
            await self._stop("stopping")
            if led:
                with contextlib.suppress(StoreUnavailable, ScriptError, TimeoutError):
                    await self._election.resign()

    async def _ask(self) -> None:
        asked_s, led = time.monotonic(), self.fence is not None
        try:
            term = await self._election.ask()
        except (StoreUnavailable, TimeoutError) as error:
            self._heard(False, led)
            # Not renewed. Whether the lease still holds nobody can say: lead on until it has surely ended.
            if self.fence is not None and asked_s >= self._until_s:
                await self._stop(str(error) or "the store does not answer")
            return
        self._heard(True, led)
        if not term.leads:
            if self.fence is not None:
                await self._stop("another process leads")
            return
        self._until_s = asked_s + self._election.lease_s - _MARGIN_S
        if self.fence != term.fence:
            await self._stop("the lease had ended")
            self._begin(term.fence)

    def _begin(self, fence: int) -> None:
        self.fence = fence
        context = self._context(fence)
        self._tasks = [asyncio.create_task(_repeat(job, context), name=f"job-{job.name}") for job in self._jobs]
        self._tasks.append(asyncio.create_task(self._guard(), name="job-guard"))
        log.info("leader.elected", fence=fence)

    async def _guard(self) -> None:
        """End the jobs when the lease ends, however long an answer about its renewal takes."""
        while (left_s := self._until_s - time.monotonic()) > 0:  # noqa: ASYNC110 - it moves with every renewal
            await asyncio.sleep(left_s)
        log.warning("leader.lease_ended", fence=self.fence)
        self.fence = None
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _stop(self, why: str) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        if self.fence is not None:
            log.info("leader.left", fence=self.fence, why=why)
        self.fence = None


async def _repeat(job: Job, context: Context) -> None:
    while True:
        began_s = time.monotonic()
        try:
            await job.run(context)
        except Stale:
            log.warning("job.stale", job=job.name, fence=context.fence)
        except StoreUnavailable as error:
            log.warning("job.store_unavailable", job=job.name, reason=str(error))
        except Exception as error:  # whatever one job gets wrong, the others go on, and it has its next turn
            log.exception("job.failed", job=job.name, error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(max(0.0, job.every_s - (time.monotonic() - began_s)))
