"""Deliver what the outbox holds: every alert to its channel at least once, each channel at its own speed.

A delivery is taken from the outbox and acknowledged when it has arrived, when it waits for its next try, or when it is
given up; a leader that dies in between leaves it to the next. One channel's slow or dead receiver never holds up
another's. Mutable state: what was taken and not yet made, by channel, and when each channel was told last.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.control.alerts import due_ms, retry_after_s
from proxy.control.jobs import Context
from proxy.control.messages import Told, compose
from proxy.control.notify import NotSent, Sender
from proxy.core.alert_model import Channel, Severity
from proxy.state.outbox import Delivery, Outbox, Record

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.5
_TOGETHER: Final = 20  # alerts in one message at most


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery with the alert it is about."""

    delivery: Delivery
    record: Record


class Deliverer:
    """`await claim()` once, `await step(now_ms)` again and again, `await settle()` to wait for what is being sent."""

    def __init__(self, context: Context, sender: Sender) -> None:
        self._context = context
        self._sender = sender
        self._outbox = Outbox(context.client, context.keys)
        self._consumer = f"leader-{context.fence}"
        self._queues: dict[str, list[Taken]] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._last_sent_ms: dict[str, int] = {}

    async def claim(self) -> None:
        """Take over what a leader before this one had taken and never ended."""
        await self._queue(await self._outbox.take(self._consumer, abandoned=True))

    async def step(self, now_ms: int) -> None:
        await self._outbox.release_due(now_ms, self._context.fence)
        await self._queue(await self._outbox.take(self._consumer))
        for name in [name for name, task in self._busy.items() if task.done()]:
            self._busy.pop(name).result()
        for name in list(self._queues):
            if name not in self._busy:
                self._busy[name] = asyncio.create_task(self._work(name, self._queues.pop(name), now_ms))

    async def settle(self) -> None:
        await asyncio.gather(*self._busy.values())

    async def close(self) -> None:
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _queue(self, deliveries: Sequence[Delivery]) -> None:
        records = await self._outbox.find(sorted({one.alert for one in deliveries}))
        channels = {channel.name for channel in self._context.rules.channels}
        for one in deliveries:
            record = records.get(one.alert)
            if record is None or one.channel not in channels:
                await self._note(one, "dropped")  # the rules or the history know it no more
            else:
                self._queues.setdefault(one.channel, []).append(Taken(one, record))

    async def _note(self, delivery: Delivery, outcome: str, now_ms: int | None = None, **more: int | str) -> None:
        now = self._context.now_ms() if now_ms is None else now_ms
        await self._outbox.note(delivery, outcome, now, self._context.rules.timezone, **more)  # type: ignore[arg-type]

    # --- one channel

    async def _work(self, name: str, taken: list[Taken], now_ms: int) -> None:
        """Everything that waits for one channel, in as few messages as the channel likes."""
        rules = self._context.rules
        channel = next((one for one in rules.channels if one.name == name), None)
        if channel is None:
            for one in taken:
                await self._note(one.delivery, "dropped", now_ms)
            return
        ready = []
        for one in taken:
            due = due_ms(channel, one.record.severity, rules.timezone, now_ms, self._last_sent_ms.get(name))
            if due > now_ms:
                await self._note(one.delivery, "later", now_ms, attempt=one.delivery.attempt, due_ms=due)
            else:
                ready.append(one)
        for batch in batches(channel, ready):
            await self._send(channel, batch, now_ms)

    async def _send(self, channel: Channel, batch: Sequence[Taken], now_ms: int) -> None:
        told = [_told(one) for one in merged(batch)]
        message = compose(told, channel.language)
        try:
            await self._sender.send(channel, message, told, message_id(batch), now_ms)
        except NotSent as error:
            for one in batch:
                await self._failed(channel, one.delivery, error, now_ms)
            return
        self._last_sent_ms[channel.name] = now_ms
        for one in batch:
            await self._note(one.delivery, "sent")

    async def _failed(self, channel: Channel, delivery: Delivery, error: NotSent, now_ms: int) -> None:
        pause_s = retry_after_s(delivery.attempt)
        log.warning(
            "alert.not_delivered",
            channel=channel.name,
            alert=delivery.alert,
            attempt=delivery.attempt,
            reason=str(error),
            again_in_s=pause_s,
        )
        if pause_s is None:
            await self._note(delivery, "dead", now_ms, error=str(error))
            return
        due = now_ms + 1000 * max(pause_s, error.retry_after_s or 0)
        await self._note(delivery, "later", now_ms, attempt=delivery.attempt + 1, due_ms=due, error=str(error))


def batches(channel: Channel, ready: Sequence[Taken]) -> list[list[Taken]]:
    """Messages for programs tell one alert each, unless the channel gathers; people get what is there at once."""
    if not ready:
        return []
    together = _TOGETHER if channel.webhook is None or channel.group_s else 1
    alone = [[one] for one in ready if one.record.severity is Severity.CRITICAL] if channel.webhook is None else []
    rest = [one for one in ready if [one] not in alone]
    return alone + [rest[i : i + together] for i in range(0, len(rest), together)]


def merged(batch: Sequence[Taken]) -> list[Taken]:
    """Without what the same message tells to be over already."""
    over = {one.record.id for one in batch if one.delivery.phase == "resolved"}
    return [one for one in batch if one.delivery.phase == "resolved" or one.record.id not in over]


def message_id(batch: Sequence[Taken]) -> str:
    """The same for every attempt of the same alerts: receivers recognise repeats by it."""
    ids = sorted(one.delivery.id for one in batch)
    return ids[0] if len(ids) == 1 else hashlib.sha256(" ".join(ids).encode()).hexdigest()[:32]


def _told(taken: Taken) -> Told:
    record = taken.record
    resolved = record.resolved_at if taken.delivery.phase == "resolved" else ""
    return Told(record.id, record.kind, record.severity, record.budget, record.facts, record.raised_at, resolved)


async def deliver(context: Context) -> None:
    """The leader's job: until it leads no more."""
    sender = Sender()
    deliverer = Deliverer(context, sender)
    try:
        await deliverer.claim()
        while True:
            await deliverer.step(context.now_ms())
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await deliverer.close()
        await sender.close()
