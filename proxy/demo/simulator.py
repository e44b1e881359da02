"""Paid APIs on loopback that need no account: chat (OpenAI's and Anthropic's shapes), a map, an SMS gateway.

Answers are deterministic, prices and delays configurable, and GET /_bill says exactly what was "billed": the truth that
the demonstration, the tests and the benchmark hold the proxy against. Request headers steer one answer:

    X-Sim-Output-Tokens: 40      how many tokens the model wants to say
    X-Sim-Cached-Tokens: 10      how many input tokens were cached
    X-Sim-Status: 500            answer with this error, unbilled
    X-Sim-Delay-Ms: 250          wait before the answer begins
    X-Sim-Chunk-Delay-Ms: 5      wait between the events of a stream
    X-Sim-Cut-After: 12          break the connection after so many events
    X-Sim-No-Usage: 1            leave the usage block out

PUT /_mood {"status": 500} steers all answers in the same way until it is changed: an API that fails ("status"), slows
("delay-ms"), drips ("chunk-delay-ms"), breaks off ("cut-after"), and recovers ({}). A request's own headers come first.

Must not import anything of the proxy: it is the other side of the wire.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import web

from proxy.demo import shapes
from proxy.demo.shapes import Answer

MILLION = Decimal(1_000_000)
Billing = Callable[[Answer, int], None]


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Per million tokens, in `Prices.currency`."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def amount(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal:
        fresh = input_tokens - cached_tokens
        return (self.input * fresh + self.cached * cached_tokens + self.output * output_tokens) / MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """What the simulator bills. Models that it does not list are billed as `other_model`."""

    models: Mapping[str, ModelPrice] = field(
        default_factory=lambda: {
            "gpt-4o-mini": ModelPrice(Decimal("0.15"), Decimal("0.075"), Decimal("0.6")),
            "gpt-4o": ModelPrice(Decimal("2.5"), Decimal("1.25"), Decimal(10)),
            "claude-3-5-haiku-20241022": ModelPrice(Decimal("0.8"), Decimal("0.08"), Decimal(4)),
        }
    )
    other_model: ModelPrice = ModelPrice(Decimal(1), Decimal("0.5"), Decimal(2))
    currency: str = "USD"  # of the models
    map_request: Decimal = Decimal("0.5")  # KRW
    sms_segment: Decimal = Decimal("9.9")  # KRW

    def of(self, model: str) -> ModelPrice:
        return self.models.get(model, self.other_model)


@dataclass(frozen=True, slots=True)
class Line:
    """One billed call. A call that broke off is billed for what had left by then."""

    api: str  # "chat" | "responses" | "messages" | "map" | "sms"
    amount: Decimal
    currency: str
    quantity: Mapping[str, int]
    complete: bool = True


class Bill:
    """Everything billed since the start, or since DELETE /_bill. Mutable, owned by one simulator."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def totals(self) -> dict[str, Decimal]:
        totals: dict[str, Decimal] = {}
        for line in self.lines:
            totals[line.currency] = totals.get(line.currency, Decimal(0)) + line.amount
        return totals

    def document(self, *, lines: bool = True) -> dict[str, Any]:
        """Amounts as exact decimal strings."""
        document: dict[str, Any] = {
            "calls": len(self.lines),
            "by_api": dict(Counter(line.api for line in self.lines)),
            "total": {currency: format(amount, "f") for currency, amount in self.totals().items()},
        }
        if lines:
            document["lines"] = [
                {
                    "api": line.api,
                    "amount": format(line.amount, "f"),
                    "currency": line.currency,
                    "quantity": dict(line.quantity),
                    "complete": line.complete,
                }
                for line in self.lines
            ]
        return document


class Simulator:
    """One server on one port. `latency_s` before each answer, `chunk_delay_s` between the events of a stream."""

    def __init__(
        self,
        *,
        prices: Prices | None = None,
        latency_s: float = 0.0,
        chunk_delay_s: float = 0.0,
        output_tokens: int = 32,
    ) -> None:
        self.prices = prices or Prices()
        self.latency_s = latency_s
        self.chunk_delay_s = chunk_delay_s
        self.output_tokens = output_tokens
        self.bill = Bill()
        self.mood: dict[str, str] = {}  # "status": "500", ...: what requests would say as X-Sim-Status, ...
        self.urls: list[str] = []
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listens, and returns the base URL. Port 0 lets the system choose."""
        self._runner = web.AppRunner(self.application(), access_log=None, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, reuse_address=True)
        await site.start()
        return self._heard()

    async def open_port(self, host: str = "127.0.0.1") -> str:
        """Listens on one more port, for another API of the same bill."""
        assert self._runner is not None, "start() comes first"  # noqa: S101
        await web.TCPSite(self._runner, host, 0).start()
        return self._heard()

    def _heard(self) -> str:
        assert self._runner is not None  # noqa: S101 - both callers have one
        self.urls = [f"http://{address[0]}:{address[1]}" for address in self._runner.addresses]
        return self.urls[-1]

    @property
    def url(self) -> str:
        """The base URL of the first port; every port serves every API."""
        return self.urls[0]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/_bill", self._show_bill)
        app.router.add_delete("/_bill", self._clear_bill)
        app.router.add_put("/_mood", self._change_mood)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_get("/v2/local/{rest:.*}", self._map)
        app.router.add_post("/messages", self._sms)
        return app

    # --- the bill ---------------------------------------------------------------------------------------------------

    async def _show_bill(self, request: web.Request) -> web.Response:
        return web.json_response(self.bill.document(lines=request.query.get("lines") != "0"))

    async def _clear_bill(self, _request: web.Request) -> web.Response:
        self.bill.lines.clear()
        return web.json_response({"calls": 0})

    async def _change_mood(self, request: web.Request) -> web.Response:
        self.mood = {name: str(value) for name, value in (await _json_object(request)).items()}
        return web.json_response(self.mood)

    def _steer(self, request: web.Request, name: str, usual: float) -> float:
        """What the request, else the mood, says of "status", "delay-ms", ..."""
        return float(request.headers.get(f"X-Sim-{name}") or self.mood.get(name) or usual)

    def _bill_model(self, api: str, said: Answer, output: int, *, complete: bool = True) -> None:
        price = self.prices.of(said.model)
        amount = price.amount(said.input_tokens, said.cached_tokens, output)
        quantity = {"input_tokens": said.input_tokens, "cached_tokens": said.cached_tokens, "output_tokens": output}
        self.bill.lines.append(Line(api, amount, self.prices.currency, quantity, complete))

    # --- the APIs ---------------------------------------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.Response:
        if (refused := await self._wait_or_refuse(request)) is not None:
            return refused
        models = [{"id": name, "object": "model", "owned_by": "simulator"} for name in self.prices.models]
        return web.json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        def asked_for_usage(body: Mapping[str, Any]) -> bool:
            return bool((body.get("stream_options") or {}).get("include_usage"))

        return await self._say(request, "chat", shapes.chat, shapes.chat_events, asked_for_usage)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._say(request, "responses", shapes.response, shapes.response_events, lambda _: True)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._say(request, "messages", shapes.anthropic, shapes.anthropic_events, lambda _: True)

    async def _count_tokens(self, request: web.Request) -> web.Response:
        return web.json_response({"input_tokens": shapes.answer(await _json_object(request), 1, 0).input_tokens})

    async def _map(self, request: web.Request) -> web.StreamResponse:
        refused = await self._wait_or_refuse(request)
        if refused is not None:
            return refused
        self.bill.lines.append(Line("map", self.prices.map_request, "KRW", {"requests": 1}))
        return web.json_response(shapes.places(request.query.get("query", "")))

    async def _sms(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        refused = await self._wait_or_refuse(request)
        if refused is not None:
            return refused
        if not isinstance(body.get("text"), str) or "to" not in body:
            return web.json_response({"error": {"message": "to and text are needed"}}, status=422)
        to = body["to"] if isinstance(body["to"], list) else [body["to"]]
        count = shapes.segments(body["text"]) * len(to)
        self.bill.lines.append(Line("sms", self.prices.sms_segment * count, "KRW", {"segments": count}))
        return web.json_response({"id": f"sms-{len(self.bill.lines)}", "status": "sent", "segments": count}, status=201)

    # --- how they answer --------------------------------------------------------------------------------------------

    async def _wait_or_refuse(self, request: web.Request) -> web.Response | None:
        delay = self._steer(request, "delay-ms", self.latency_s * 1000) / 1000
        if delay:
            await asyncio.sleep(delay)
        status = int(self._steer(request, "status", 0))
        if not status:
            return None
        error = {"message": "The simulator was asked to fail.", "type": "server_error", "param": None, "code": None}
        return web.json_response({"error": error}, status=status)

    async def _say(
        self,
        request: web.Request,
        api: str,
        whole: Callable[..., dict[str, Any]],
        events: Callable[..., Iterator[tuple[bytes, int]]],
        asked_for_usage: Callable[[Mapping[str, Any]], bool],
    ) -> web.StreamResponse:
        body = await _json_object(request)
        refused = await self._wait_or_refuse(request)
        if refused is not None:
            return refused
        wanted = int(request.headers.get("X-Sim-Output-Tokens", self.output_tokens))
        said = shapes.answer(body, wanted, int(request.headers.get("X-Sim-Cached-Tokens", 0)))
        usage = "X-Sim-No-Usage" not in request.headers
        if not body.get("stream"):
            self._bill_model(api, said, said.output_tokens)
            return web.Response(body=json.dumps(whole(said, usage=usage)).encode(), content_type="application/json")
        return await self._stream(request, api, said, events(said, usage=usage and asked_for_usage(body)))

    async def _stream(
        self, request: web.Request, api: str, said: Answer, events: Iterator[tuple[bytes, int]]
    ) -> web.StreamResponse:
        delay = self._steer(request, "chunk-delay-ms", self.chunk_delay_s * 1000) / 1000
        cut_after = int(self._steer(request, "cut-after", 0))
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        sent = 0
        try:
            await answer.prepare(request)
            for number, (event, tokens) in enumerate(events, 1):
                await answer.write(event)
                sent += tokens
                if number == cut_after:
                    if request.transport is not None:
                        request.transport.abort()
                    raise ConnectionResetError("cut off as asked")
                if delay:
                    await asyncio.sleep(delay)
        except (ConnectionResetError, asyncio.CancelledError):
            self._bill_model(api, said, sent, complete=False)  # what had left is billed
            raise
        self._bill_model(api, said, sent)
        await answer.write_eof()
        return answer


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        error = {
            "message": "The body is not a JSON object.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
        raise web.HTTPBadRequest(text=json.dumps({"error": error}), content_type="application/json")
    return body


async def _serve(port: int, latency_ms: float, chunk_delay_ms: float, output_tokens: int) -> None:
    simulator = Simulator(latency_s=latency_ms / 1000, chunk_delay_s=chunk_delay_ms / 1000, output_tokens=output_tokens)
    print(await simulator.start(port=port), flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await simulator.stop()


def main() -> None:
    """`python -m proxy.demo.simulator`: one simulator until Ctrl-C; prints its base URL first."""
    parser = argparse.ArgumentParser(description="Paid APIs on loopback that need no account.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--chunk-delay-ms", type=float, default=0.0)
    parser.add_argument("--output-tokens", type=int, default=32)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.port, given.latency_ms, given.chunk_delay_ms, given.output_tokens))


if __name__ == "__main__":
    main()
