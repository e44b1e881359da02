"""A paid API for the benches that need more than one fixed answer: streams, uploads and downloads of any size.

    python bench/upstream.py PORT

`POST /v1/chat/completions` with `"user": "bench ACCOUNT TOKENS GAP"` streams that many tokens, one chunk each, so many
milliseconds apart, at most `max_tokens`. `GET /generated` tells what each account was really sent: the truth that a
proxy's own books are held against. `PUT /upload` swallows a body and says how long it was; `GET /download/BYTES` sends
one. Not a model of anything else about an API.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections import Counter
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
# The word is one token in every vocabulary of the GPT family, wherever it stands.
TOKEN = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini",'
    b'"choices":[{"index":0,"delta":{"content":" the"},"logprobs":null,"finish_reason":null}]}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}]}\n\n'
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini",'
    b'"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}\n\n'
    b"data: [DONE]\n\n"
)
PROMPT_TOKENS = 12
BLOCK = bytes(256 * 1024)

# Tokens really written to a connection that was still open, and streams cut short by the other side. Lives as long as
# the process; only this event loop touches it.
generated: Counter[str] = Counter()
cut: Counter[str] = Counter()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


TOKEN_CHUNK = chunk(TOKEN)


class Connection(asyncio.Protocol):
    """One connection, one request at a time, no pipelining: enough for a proxy's upstream pool."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray()
        self.task: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.head = b""
        self.received = 0  # of the body
        self.expected: int | None = None  # None: no request is being read; -1: chunked
        self.timer: asyncio.TimerHandle | None = None
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            cut[self.account] += 1
        if self.task is not None:
            self.task.cancel()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if self.expected is None:
            self.buffer += data
            end = self.buffer.find(HEAD_END)
            if end < 0:
                return
            self.head = bytes(self.buffer[:end])
            data = bytes(self.buffer[end + 4 :])
            self.buffer.clear()
            length = self.header(b"content-length")
            self.expected = int(length) if length else -1 if self.header(b"transfer-encoding") else 0
            self.received = 0
            if self.header(b"expect"):
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.received += len(data)
        # A body is kept only where the answer depends on it; an upload is counted and dropped.
        if self.head.startswith(b"POST"):
            self.buffer += data
        elif self.expected < 0:
            self.buffer = self.buffer[-8:] + data[-8:]
        if self.received >= self.expected >= 0 or (self.expected < 0 and self.buffer.endswith(b"0\r\n\r\n")):
            body, self.buffer, self.expected = bytes(self.buffer), bytearray(), None
            self.answer(body)

    def header(self, name: bytes) -> bytes:
        found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", self.head, re.IGNORECASE)
        return found[1].strip() if found else b""

    def answer(self, body: bytes) -> None:
        method, target, _ = self.head.split(b"\r\n", 1)[0].split(b" ", 2)
        if method == b"POST":
            self.start_stream(body)
        elif target == b"/generated":
            self.whole(json.dumps({"generated": generated, "cut": cut}).encode())
        elif method == b"PUT":
            self.whole(json.dumps({"received": self.received}).encode())
        elif target.startswith(b"/download/"):
            self.task = self.loop.create_task(self.download(int(target.rpartition(b"/")[2])))
        else:
            self.whole(b"{}")

    def whole(self, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    async def download(self, size: int) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size
        )
        while size > 0 and not self.transport.is_closing():
            await self.writable.wait()
            self.transport.write(BLOCK[:size])
            size -= len(BLOCK)

    def start_stream(self, body: bytes) -> None:
        bound = re.search(rb'"max_tokens":\s*(\d+)', body)
        asked = re.search(rb'"user":\s*"bench (\S+) (\d+) ([\d.]+)"', body)
        account, wanted, gap_ms = (asked[1], int(asked[2]), float(asked[3])) if asked else (b"anonymous", 16, 10.0)
        self.tokens = min(wanted, int(bound[1]) if bound else wanted)
        self.reason = b"stop" if self.tokens == wanted else b"length"
        self.account = account.decode()
        self.gap_s = gap_ms / 1000
        self.left = self.tokens
        self.transport.write(SSE_HEAD)
        self.due = self.loop.time()
        self.tick()

    def tick(self) -> None:
        self.timer = None
        if self.transport.is_closing():
            cut[self.account] += 1
            return
        if self.left == 0:
            last = LAST % (self.reason, PROMPT_TOKENS, self.tokens, PROMPT_TOKENS + self.tokens)
            self.transport.write(chunk(last) + b"0\r\n\r\n")
            return
        self.left -= 1
        generated[self.account] += 1
        self.transport.write(TOKEN_CHUNK)
        self.due += self.gap_s
        self.timer = self.loop.call_at(self.due, self.tick)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(int(sys.argv[1])))
