"""When Redis is away: who is told meanwhile, and what is remembered of it until it can be written down.

The control plane keeps everything in Redis; this is what it knows when that very thing is missing. Each control process
notices for itself, because it asks to lead every second or two. The one that led tells the channels directly, without
the outbox. When Redis is back, whoever leads then opens the incident with the instant at which it began
(emergency.py), and later changes of leader find it in Redis. Mutable state: since when it is away, the last absence
that is over, and the telling under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from proxy.control.alerts import takes
from proxy.control.emergency import STORM_MS, Away
from proxy.control.messages import Message, Told
from proxy.control.notify import NotSent, Sender
from proxy.core.alert_model import Channel, Kind, Severity
from proxy.core.emergency_model import Sort
from proxy.core.figures import moment
from proxy.core.model import RuleSet
from proxy.core.text import say
from proxy.core.windows import iso

log = structlog.get_logger()

TELL_AFTER_MS: Final = 10_000  # a restart is over by then
_PAUSES_S: Final = (0, 5, 30, 120)  # before each try to reach a channel


class Absence:
    """`missed()` and `answered()` after each asking. tell: tells people, once an absence; it is given its beginning."""

    def __init__(self, tell: Callable[[int], Awaitable[None]], after_ms: int = TELL_AFTER_MS) -> None:
        self._tell = tell
        self._after_ms = after_ms
        self._since_ms: int | None = None
        self._led = False  # when it began
        self._telling: asyncio.Task[None] | None = None
        self._last: Away | None = None

    def missed(self, now_ms: int, *, led: bool) -> None:
        """Redis did not answer. now_ms: when it was asked. led: this process was the leader then."""
        if self._since_ms is None:
            self._since_ms, self._led = now_ms, led
            log.error("store.away")
        if self._led and self._telling is None and now_ms - self._since_ms >= self._after_ms:
            self._telling = asyncio.create_task(self._told(self._since_ms), name="tell-absence")

    def answered(self, now_ms: int) -> None:
        """now_ms: when it was asked."""
        if self._since_ms is None:
            return
        self._last = Away(self._since_ms, max(now_ms, self._since_ms))
        self._since_ms = None
        self.close()
        log.info("store.back", away_s=(self._last.ended_ms - self._last.began_ms) // 1000)

    def last(self, now_ms: int) -> Away | None:
        """The last absence, for as long after its end as failures count."""
        return self._last if self._last is not None and now_ms - self._last.ended_ms < STORM_MS else None

    def close(self) -> None:
        """What has not reached its channel by now is not news any more: the incident tells it."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    async def _told(self, since_ms: int) -> None:
        try:
            await self._tell(since_ms)
        except Exception as error:  # nobody waits for this task
            log.exception("absence.not_told", error=f"{type(error).__name__}: {error}")


async def tell(rules: RuleSet, since_ms: int, now_ms: Callable[[], int]) -> None:
    """To every channel that hears of incidents, each on its own, with some tries. since_ms: Unix ms."""
    wanted = [one for one in rules.channels if takes(one, Kind.INCIDENT, Severity.CRITICAL, None)]
    sender = Sender()
    try:
        await asyncio.gather(*(_reach(sender, one, rules.timezone, since_ms, now_ms) for one in wanted))
    finally:
        await sender.close()


async def _reach(sender: Sender, channel: Channel, timezone: str, since_ms: int, now_ms: Callable[[], int]) -> None:
    message, told = words(channel.language, iso(since_ms, timezone))
    for pause_s in _PAUSES_S:
        await asyncio.sleep(pause_s)
        try:
            await sender.send(channel, message, told, told[0].id, now_ms())
            return
        except NotSent as error:
            log.warning("absence.not_delivered", channel=channel.name, reason=str(error))


def words(language: str, since: str) -> tuple[Message, Sequence[Told]]:
    """The message, and what programs are told. since: ISO 8601. The same id for every try."""
    facts = {"about": Sort.STORE.value, "what": "away", "since": since}
    told = Told(f"away-{since}", Kind.INCIDENT, Severity.CRITICAL, None, facts, since)
    lines = [say(f"absence.{one}", language, since=moment(since)) for one in ("what", "next", "do")]
    return Message(say("absence.title", language), "\n".join(lines), Severity.CRITICAL), (told,)
