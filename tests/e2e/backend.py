"""A real HTTP/1.1 upstream on raw sockets: the test sees every byte that arrives and decides every byte that leaves.

It runs in a thread of its own, so that blocking clients can be used beside it. An answer is an async function of
(Seen, Reply); tests order what happens with `Signal`s, never with sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.harness import CHAT_USAGE, chat_answer

PATIENCE_S = 15.0

Headers = list[tuple[bytes, bytes]]


class Signal:
    """An event that both a test's thread and the upstream's loop can wait for."""

    def __init__(self, name: str = "signal") -> None:
        self.name = name
        self._event = threading.Event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    def set(self) -> None:
        with self._lock:
            self._event.set()
            for loop, waiter in self._waiters:
                with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(waiter.set)

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float = PATIENCE_S) -> None:
        """From a thread. Raises AssertionError when it does not come."""
        assert self._event.wait(timeout), f"{self.name} did not happen within {timeout} s"

    async def happens(self, timeout: float = PATIENCE_S) -> None:
        """From a coroutine. Raises AssertionError when it does not come."""
        waiter = asyncio.Event()
        with self._lock:
            if self._event.is_set():
                return
            self._waiters.append((asyncio.get_running_loop(), waiter))
        try:
            await asyncio.wait_for(waiter.wait(), timeout)
        except TimeoutError:
            raise AssertionError(f"{self.name} did not happen within {timeout} s") from None


async def first_of(*signals: Signal) -> None:
    """Until one of them happens."""
    waits = [asyncio.ensure_future(signal.happens()) for signal in signals]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


@dataclass
class Seen:
    """One request exactly as it arrived. `headers` keep case, order and repetition."""

    method: str
    target: str
    version: str
    headers: Headers
    raw: bytes
    body: bytes = b""
    gone: Signal = field(default_factory=lambda: Signal("the proxy hanging up"))

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.lower().encode()]

    def get(self, name: str) -> str | None:
        found = self.all(name)
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


class Reply:
    """The answering side of one request."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.chunked = False
        self.keep_alive = True

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int = 200, *fields: tuple[str, str], length: int | None = None) -> None:
        """Without a length the body is chunked."""
        lines = [
            f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}",
            *(f"{name}: {value}" for name, value in fields),
        ]
        self.chunked = length is None
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        await self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    async def piece(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    async def end(self) -> None:
        if self.chunked:
            await self.send(b"0\r\n\r\n")

    async def whole(self, body: bytes, status: int = 200, *fields: tuple[str, str]) -> None:
        await self.head(status, *fields, length=len(body))
        await self.send(body)

    async def json(self, value: Any, status: int = 200, *fields: tuple[str, str]) -> None:
        await self.whole(json.dumps(value).encode(), status, ("Content-Type", "application/json"), *fields)

    async def events(self, *events: bytes) -> None:
        """A whole server-sent event stream, one chunk an event; the end comes with the last one.

        A program may close after the last event, and a stream whose end had not come by then was left, not finished.
        """
        await self.head(200, ("Content-Type", "text/event-stream"))
        *first, last = events
        for event in first:
            await self.piece(event)
        await self.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))

    def die(self) -> None:
        """Cut the connection without a goodbye."""
        self._writer.transport.abort()
        self.keep_alive = False


Answer = Callable[[Seen, Reply], Awaitable[None]]


async def answer_chat(seen: Seen, reply: Reply) -> None:
    """OpenAI-shaped chat where asked for, else a small JSON object."""
    if seen.method == "POST" and seen.body[:1] == b"{" and "model" in seen.json():
        await reply.json(chat_answer(seen.json()["model"], CHAT_USAGE))
    else:
        await reply.json({"ok": True})


class Backend:
    """`requests` holds what arrived since the last `reset`."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.answer: Answer = answer_chat
        self.requests: list[Seen] = []
        self.connections = 0
        self.begun = Signal("a request's head at the upstream")
        self._tls = tls
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        self.listen(host, 0)

    def listen(self, host: str, port: int) -> None:
        self._server = self._run(
            asyncio.start_server(self._serve, host, port, ssl=self._tls, limit=1 << 20, backlog=1024)
        )
        self.host = host
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _run(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def reset(self) -> None:
        self.answer = answer_chat
        self.requests.clear()
        self.begun = Signal("a request's head at the upstream")

    def wait_requests(self, count: int, timeout: float = PATIENCE_S) -> list[Seen]:
        """The first `count` requests, as soon as they are there."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.requests) >= count, timeout)
        assert arrived, f"{len(self.requests)} of {count} requests arrived within {timeout} s"
        return self.requests[:count]

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        start, *lines = raw[:-4].split(b"\r\n")
        method, target, version = start.decode("latin-1").split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        seen = Seen(method, target, version, headers, raw)
        self.begun.set()
        if (seen.get("transfer-encoding") or "").lower() == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                seen.body += await reader.readexactly(size)
                await reader.readexactly(2)
            while await reader.readline() != b"\r\n":
                pass
        elif length := seen.get("content-length"):
            seen.body = await reader.readexactly(int(length))
        with self._changed:
            self.requests.append(seen)
            self._changed.notify_all()
        reply = Reply(writer)
        answering = asyncio.ensure_future(self.answer(seen, reply))
        # A next request never comes before this answer's end, so anything to read now is the end of the connection.
        listening = asyncio.ensure_future(reader.read(1))
        await asyncio.wait((answering, listening), return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            seen.gone.set()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(answering, PATIENCE_S)
            return False
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await answering
        return reply.keep_alive


@contextlib.contextmanager
def running_backend(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Backend]:
    backend = Backend(host, tls)
    try:
        yield backend
    finally:
        backend.close()


# --- events of our own writing --------------------------------------------------------------------------------------


def data_event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def chat_events(words: list[str], usage: dict[str, Any] | None, model: str = "gpt-4o-mini") -> list[bytes]:
    """An OpenAI-shaped chat stream; `usage` None is a stream that never tells it."""

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        base = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1741569952, "model": model}
        return data_event({**base, "choices": choices, **more})

    events = [event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])]
    events += [event([{"index": 0, "delta": {"content": word}, "finish_reason": None}]) for word in words]
    events.append(event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    if usage is not None:
        events.append(event([], usage=usage))
    return [*events, data_event(b"[DONE]")]


def message_answer(model: str, usage: dict[str, Any]) -> dict[str, Any]:
    """An Anthropic-shaped message."""
    return {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def message_events(words: list[str], model: str, input_tokens: int, output_tokens: int) -> list[bytes]:
    """An Anthropic-shaped message stream."""

    def event(kind: str, **more: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

    start = message_answer(model, {"input_tokens": input_tokens, "output_tokens": 1}) | {
        "content": [],
        "stop_reason": None,
    }
    return [
        event("message_start", message=start),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words),
        event("content_block_stop", index=0),
        event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": output_tokens},
        ),
        event("message_stop"),
    ]


def raw_exchange(port: int, request: bytes, host: str = "127.0.0.1", timeout: float = PATIENCE_S) -> bytes:
    """Send these bytes on a connection of their own and read until the other side closes it."""
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer
