"""Real receivers on loopback: a webhook that keeps what it got, and an SMTP server that takes every mail."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web


@dataclass
class Webhook:
    """`status` may be changed at any time; every request is kept. `got` is set with each."""

    port: int = 0
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    got: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None  # while it is set, an answer waits for it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/money?token=hidden"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [alert for _, body in self.requests for alert in json.loads(body)["data"]["alerts"]]


@contextlib.asynccontextmanager
async def webhook(port: int = 0) -> AsyncIterator[Webhook]:
    state = Webhook()

    async def handle(request: web.BaseRequest) -> web.Response:
        state.requests.append((dict(request.headers), await request.read()))
        state.got.set()
        if state.hold is not None:
            await state.hold.wait()
        return web.Response(status=state.status, headers=state.headers)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    state.port = runner.addresses[0][1]
    try:
        yield state
    finally:
        await runner.cleanup()


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """As docs/alerts.md tells receivers to do it, in its own few lines."""
    lower = {name.lower(): value for name, value in headers.items()}
    signed = f"{lower['webhook-id']}.{lower['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(f"v1,{expected}", one) for one in lower["webhook-signature"].split(" "))


@dataclass
class MailSink:
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)


@contextlib.asynccontextmanager
async def mail_sink() -> AsyncIterator[MailSink]:
    """Just enough of RFC 5321 to take mail."""
    state = MailSink()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                word = line.split()[0].upper() if line.split() else b""
                if word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    data = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                    state.mails.append(message_from_bytes(data, policy=policy.default))  # type: ignore[arg-type]
                    writer.write(b"250 taken\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 sink\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
