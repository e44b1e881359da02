"""Carry a message to a channel: a signed webhook, one of apprise's services, or the log.

A failure leaves here as NotSent with a reason that names no address, because addresses hold secrets. apprise imports
for about a second at its first use and blocks while it sends: it has threads of its own.

Webhooks are signed as the Standard Webhooks specification says (https://www.standardwebhooks.com): `webhook-id`,
`webhook-timestamp` and `webhook-signature: v1,<base64 of HMAC-SHA256 over "id.timestamp.body">`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import structlog

from proxy.control.messages import Message, Told
from proxy.core.alert_model import Channel, Severity

log = structlog.get_logger()

_ANSWER_WITHIN_S: Final = 10.0
_APPRISE_WITHIN_S: Final = 60.0
_LONGEST_WAIT_S: Final = 3600  # of a receiver's Retry-After
_MAIL: Final = frozenset({"mailto", "mailtos"})


class NotSent(Exception):
    """The message did not arrive. str(): one line without a secret. retry_after_s: what the receiver asked for."""

    def __init__(self, reason: str, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Sender:
    """Sends; `await close()` in the end. Connections to webhooks are its only state."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="apprise")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(
        self, channel: Channel, message: Message, alerts: Sequence[Told], delivery_id: str, now_ms: int
    ) -> None:
        """Returns when the receiver has taken it. delivery_id: the same for every attempt. Raises NotSent."""
        if channel.log:
            self._log(message, alerts)
        elif channel.webhook is not None:
            await self._post(channel, webhook_body(message, alerts, now_ms), delivery_id, now_ms)
        else:
            await self._apprise(channel, message, delivery_id)

    def _log(self, message: Message, alerts: Sequence[Told]) -> None:
        write = {Severity.INFO: log.info, Severity.WARNING: log.warning, Severity.CRITICAL: log.error}
        write[message.severity](
            "alert.told", title=message.title, body=message.body, alerts=[told.id for told in alerts]
        )

    async def _post(self, channel: Channel, body: bytes, delivery_id: str, now_ms: int) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S), headers={"User-Agent": "spendgate"}
            )
        headers = {"Content-Type": "application/json", **signature(channel.secret or "", delivery_id, now_ms, body)}
        try:
            async with self._session.post(
                channel.webhook or "", data=body, headers=headers, allow_redirects=False
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise NotSent(f"HTTP {answer.status}", _retry_after(answer.headers))
        except TimeoutError:
            raise NotSent(f"no answer within {_ANSWER_WITHIN_S:g} s") from None
        except aiohttp.ClientConnectorError as error:
            # Never the library's own text: it names the address.
            number = error.os_error.errno
            raise NotSent(f"cannot connect: {os.strerror(number) if number else 'no answer'}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotSent(type(error).__name__) from None

    async def _apprise(self, channel: Channel, message: Message, delivery_id: str) -> None:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, notify, channel.target or "", message, delivery_id)
        try:
            sent = await asyncio.wait_for(work, _APPRISE_WITHIN_S)
        except TimeoutError:
            raise NotSent(f"{channel.way}: no answer within {_APPRISE_WITHIN_S:g} s") from None
        if not sent:
            raise NotSent(f"{channel.way}: the service refused the message or could not be reached")


def signature(secret: str, delivery_id: str, now_ms: int, body: bytes) -> dict[str, str]:
    """The headers that let a receiver know us. secret: "whsec_" and base64, or any text as it is."""
    seconds = str(now_ms // 1000)
    signed = b".".join((delivery_id.encode(), seconds.encode(), body))
    digest = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def signing_key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def webhook_body(message: Message, alerts: Sequence[Told], now_ms: int) -> bytes:
    """What a program reads: the message as people read it, and every alert's facts."""
    return json.dumps(
        {
            "type": "spendgate.alert",
            "timestamp": now_ms // 1000,
            "data": {
                "severity": message.severity.value,
                "title": message.title,
                "body": message.body,
                "alerts": [alert_json(told) for told in alerts],
            },
        },
        ensure_ascii=False,
    ).encode()


def alert_json(told: Told) -> dict[str, Any]:
    return {
        "id": told.id,
        "kind": told.kind.value,
        "severity": told.severity.value,
        "state": "resolved" if told.resolved_at else "raised",
        "budget": told.budget,
        "raised_at": told.raised_at,
        "resolved_at": told.resolved_at or None,
        "facts": dict(told.facts),
    }


def _retry_after(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Retry-After", "")
    return min(int(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() else None


def notify(target: str, message: Message, delivery_id: str) -> bool:
    """One message through apprise; blocks. False: not understood, refused or not reached."""
    import apprise

    # Its own log lines name URLs.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    if target.partition("://")[0].lower() in _MAIL:
        # A header of the mail, so that a repeated one is recognised.
        mark = "&" if "?" in target else "?"
        target = f"{target}{mark}%2BX-Spendgate-Delivery={quote(delivery_id, safe='')}"
    kind = {
        Severity.INFO: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.CRITICAL: apprise.NotifyType.FAILURE,
    }[message.severity]
    asset = apprise.AppriseAsset(app_id="spendgate", app_desc="spendgate", app_url="")
    service = apprise.Apprise(asset=asset)
    try:
        if not service.add(target):
            return False
        sent = service.notify(
            title=message.title, body=message.body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
        )
    except Exception as error:  # a plug-in's own faults are not ours, and their texts may hold the URL
        log.warning("apprise.failed", error=type(error).__name__)
        return False
    return bool(sent)
