"""Plays the demonstration: starts the simulator and a proxy in a temporary folder, makes the calls, shows what happens.

Holds the story to its word: an answer that is not the one the plot asks for ends the demonstration as a failure.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from proxy.cli.frame import Exit, Frame
from proxy.cli.levels import Level
from proxy.cli.place import quiet, unreachable
from proxy.cli.run import free_port, started
from proxy.cli.stage import Stage
from proxy.core.model import Budget
from proxy.demo import showcase, story
from proxy.demo.simulator import ModelPrice, Prices, Simulator
from proxy.demo.story import Step
from proxy.rules_file import load_text
from proxy.state.keys import Keys
from proxy.state.ledger import Ledger
from proxy.state.reading import Reader

PAUSE_S = 0.9  # after a line that is worth reading
BETWEEN_S = 0.12
SETTLED_WITHIN_S = 5.0


class Unexpected(Exception):
    """The proxy answered otherwise than the plot says."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    def problem(self) -> dict[str, Any]:
        found = json.loads(self.body)
        return found if isinstance(found, dict) else {}


class Driver:
    """One performance. Mutable: the level last seen, what was refused, the calls since the last line."""

    def __init__(
        self, stage: Stage, http: aiohttp.ClientSession, root: str, ledger: Ledger, budget: Budget, *, fast: bool
    ) -> None:
        self.stage = stage
        self.http = http
        self.root = root
        self.ledger = ledger
        self.budget = budget
        self.fast = fast
        self.refused: Counter[str] = Counter()
        self.calls = 0
        self.crossed: list[object] = []
        self._line: list[tuple[str, int]] = []
        self._spent = Decimal(0)
        self._retry_after_s = 0.0  # of the last refusal
        self.spent_wanted = Decimal(0)

    async def play(self) -> Level:
        await self._levels()
        for step in story.opening():
            await self._step(step, alone=True)
        for number in range(1, story.ROUNDS + 1):
            for step in story.round_of(number):
                if step.label == "held":
                    await self._held(step)
                else:
                    await self._step(step, alone=step.reason is not None)
            self._end_of_round()
            await self._pause(BETWEEN_S)
        self.stage.chapter("demo.restricted")
        await self._all(story.restricted())
        self.stage.chapter("demo.stopped")
        await self._all(story.stopped())
        self.stage.chapter("demo.failing")
        await self._all(story.failing())
        self.stage.told("demo.half_open")
        await asyncio.sleep(self._retry_after_s)  # as a client that reads what it is told
        await self._all(story.recovered())
        return await self._levels()

    async def _all(self, steps: Iterable[Step]) -> None:
        for step in steps:
            await self._step(step, alone=True)

    # --- calls

    async def _step(self, step: Step, *, alone: bool) -> None:
        answer = await self._call(step)
        self._judge(step, answer)
        before = self._spent
        if step.reason is None:
            self.spent_wanted += step.cost
            await self._levels()
            if answer.status >= 400:
                self.stage.failed(step, answer.status)
            elif alone:
                self.stage.passed(step, answer.status)
            else:
                self._line.append((step.label, answer.status))
            self._crossed(before)
        else:
            self._retry_after_s = float(answer.problem().get("retry_after", 0))
            self.stage.refused(step, answer.status, answer.problem())
        await self._pause(PAUSE_S if alone else BETWEEN_S)

    async def _held(self, step: Step) -> None:
        """While a stream holds its reservation, another call would only fit without it: busy, not gone."""
        streamed = Step("stream", **story.chat(stream=True, chunk_delay_ms=3), cost=story.CHAT)
        begun = asyncio.Event()
        running = asyncio.create_task(self._call(streamed, begun))
        await begun.wait()
        await self._step(step, alone=True)
        self._judge(streamed, await running)
        self.spent_wanted += streamed.cost
        self._line.append((streamed.label, 200))
        await self._levels()

    async def _call(self, step: Step, begun: asyncio.Event | None = None) -> Answer:
        self.calls += 1
        async with self.http.request(
            step.method, f"{self.root}{step.path}", json=step.body, headers=step.headers or None
        ) as response:
            if begun is not None:
                begun.set()
            return Answer(response.status, await response.read())

    def _judge(self, step: Step, answer: Answer) -> None:
        said = answer.problem().get("reason") if answer.status >= 400 else None
        if (answer.status, said) != (step.status, step.reason):
            text = answer.body[:300].decode("utf-8", "replace")
            raise Unexpected(f"{step.method} {step.path}: {answer.status} {said or ''} {text}")
        if step.reason is not None:
            self.refused[step.reason] += 1

    # --- levels

    async def _levels(self) -> Level:
        """The budget once every call so far is settled: what is spent is what the plot says."""
        deadline = asyncio.get_running_loop().time() + SETTLED_WITHIN_S
        while True:
            found = (await self.ledger.levels((self.budget,), time.time_ns() // 1_000_000))[0]
            self.crossed = found["thresholds_crossed"]
            level = Level.of(found)
            self._spent = level.spent
            self.stage.level(level)
            if self._spent == self.spent_wanted:
                return level
            if asyncio.get_running_loop().time() > deadline:
                raise Unexpected(f"spent {self._spent}, expected {self.spent_wanted}")
            await asyncio.sleep(0.005)

    def _crossed(self, before: Decimal) -> None:
        for threshold in self.budget.thresholds_bp():
            at = story.LIMIT * threshold / 10_000
            if before < at <= self._spent:
                self._end_of_round()
                self.stage.crossed(threshold)

    def _end_of_round(self) -> None:
        if self._line:
            self.stage.calls(self._line)
            self._line = []

    async def _pause(self, seconds: float) -> None:
        if not self.fast:
            await asyncio.sleep(seconds)


def perform(frame: Frame, *, fast: bool, dashboard: bool) -> int:
    """The whole demonstration; the exit code. dashboard: it ends with one that stays open until Ctrl-C."""
    quiet()
    stage = Stage(frame)
    try:
        return asyncio.run(_perform(frame, stage, fast=fast, dashboard=dashboard))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except Unexpected as error:
        frame.fail("demo.failed", what=error, code=Exit.FOUND)
    finally:
        stage.close()


async def _perform(frame: Frame, stage: Stage, *, fast: bool, dashboard: bool) -> int:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Nothing may stay behind: the proxy and its store have to be stopped first.
        loop.add_signal_handler(number, task.cancel if task is not None else loop.stop)
    stage.open()
    prices = Prices(
        models={story.MODEL: ModelPrice(Decimal(10_000), Decimal(10_000), Decimal(50_000))},
        currency="KRW",
        map_request=story.MAP,
        sms_segment=story.SMS_PART,
    )
    with tempfile.TemporaryDirectory(prefix="spendgate-demo-") as folder:
        async with Simulator(prices=prices) as simulator:
            await simulator.open_port()
            await simulator.open_port()
            rules = Path(folder) / "rules.yaml"
            chat, maps, sms = simulator.urls
            rules.write_text(story.RULES.format(language=frame.lang, chat=chat, map=maps, sms=sms), encoding="utf-8")
            loaded = load_text(rules.read_bytes(), str(rules), frame.environ)
            if loaded.rules is None:
                raise Unexpected("; ".join(mistake.render(frame.lang) for mistake in loaded.mistakes))
            budget = loaded.rules.budgets[0]
            async with (
                _proxy(frame, rules) as (root, url),
                aiohttp.ClientSession() as http,
                Reader(url) as reader,
            ):
                driver = Driver(stage, http, root, Ledger(reader, Keys()), budget, fast=fast)
                level = await driver.play()
                stage.summary(level, driver.crossed, driver.calls, driver.refused, simulator.bill.totals())
            if dashboard:
                await showcase.show(frame, simulator, stage.dashboard, browse=sys.stdout.isatty())
    return Exit.OK


@asynccontextmanager
async def _proxy(frame: Frame, rules: Path) -> AsyncIterator[tuple[str, str]]:
    """A proxy with a store of its own: its address, and its store's URL."""
    from proxy.state import embedded

    data = rules.parent / "data"
    listen = f"127.0.0.1:{free_port('127.0.0.1')}"
    try:
        store = await asyncio.to_thread(embedded.open, data)
    except embedded.EmbeddedUnavailable as error:
        raise unreachable(frame, str(error)) from error
    try:
        # A person's own Redis or settings must not come into the demonstration.
        quiet = {
            name: value for name, value in frame.environ.items() if not name.startswith(("SPENDGATE_", "REDIS_URL"))
        }
        alone = Frame(frame.lang, quiet)
        settings = alone.settings(rules=str(rules), listen=listen, data=str(data))
        serving = started(alone, settings, listen)
        await asyncio.to_thread(serving.__enter__)
        try:
            yield f"http://{listen}", store.url
        finally:
            await asyncio.to_thread(serving.__exit__, None, None, None)
    finally:
        await asyncio.to_thread(store.close)
