"""Resources measured by a real HTTP server that answers as Prometheus does: its shapes, its errors, and its silence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from proxy.control.measuring import measure
from proxy.control.optimize.facts import Growth, Use
from proxy.core.fixed_model import FixedCost, Gauge
from proxy.core.model import Period, PeriodUnit

NOW_S = 1_795_662_000
MONTH = Period(PeriodUnit.MONTH)
Series = Callable[
    [int, int, int], list[list[tuple[int, str]]]
]  # (start, end, step in seconds) -> values of each series


class Prometheus:
    """Keeps what it is asked; answers query_range with the series of the query's name."""

    def __init__(self, series: dict[str, Series]) -> None:
        self.series = series
        self.asked: list[tuple[dict[str, str], str | None]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((form, request.headers.get("Authorization")))
        query = form["query"]
        if query == "slow":
            await asyncio.sleep(30)
        if query == "wrong":
            return web.json_response({"status": "error", "errorType": "bad_data", "error": "parse error"}, status=400)
        if query == "page":
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        if query == "moved":
            raise web.HTTPFound("http://127.0.0.1:1/")
        if query == "scalar":
            return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}})
        found = self.series[query](int(form["start"]), int(form["end"]), int(form["step"]))
        result: list[dict[str, Any]] = [{"metric": {"n": str(i)}, "values": one} for i, one in enumerate(found)]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})


@contextlib.asynccontextmanager
async def prometheus(**series: Series) -> AsyncIterator[Prometheus]:
    made = Prometheus(series)
    app = web.Application()
    app.router.add_post("/prom/api/v1/query_range", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/prom"
        yield made
    finally:
        await runner.cleanup()


def cost(name: str, *, use: Gauge | None = None, size: Gauge | None = None) -> FixedCost:
    return FixedCost(name, Decimal(100), "KRW", MONTH, None, use, size)


def gauge(url: str, query: str, timeout_s: float = 5.0, token: str | None = None) -> Gauge:
    return Gauge(url, query, Decimal(30), timeout_s, token)


def steady(*levels: float) -> Series:
    return lambda start, end, step: [[(at, str(level)) for at in range(start, end + 1, step)] for level in levels]


def climbing(start: int, end: int, step: int) -> list[list[tuple[int, str]]]:
    return [[(at, str(100 + (at - start) / 86_400)) for at in range(start, end + 1, step)]]


async def test_use_and_size_are_asked_over_their_days() -> None:
    async with prometheus(gpu=steady(10, 30), size=climbing) as server:
        costs = [
            cost("gpu", use=gauge(server.url, "gpu", token="s3cret")),
            cost("files", size=gauge(server.url, "size")),
            cost("database"),
        ]
        used, grown = await measure(costs, NOW_S * 1000)
    assert used == {"gpu": Use(20.0, 20.0, 7)}
    assert grown == {"files": Growth(100.0, 130.0, 30)}
    spans = {form["query"]: (NOW_S - int(form["start"]), int(form["end"]), token) for form, token in server.asked}
    assert spans == {"gpu": (7 * 86_400, NOW_S, "Bearer s3cret"), "size": (30 * 86_400, NOW_S, None)}


async def test_gaps_and_what_is_no_number_are_left_out() -> None:
    def gaps(start: int, end: int, step: int) -> list[list[tuple[int, str]]]:
        return [[(start, "NaN"), (start + step, "4"), (start + 2 * step, "+Inf"), (end, "8")]]

    async with prometheus(gpu=gaps) as server:
        used, _ = await measure([cost("gpu", use=gauge(server.url, "gpu"))], NOW_S * 1000)
    assert used == {"gpu": Use(6.0, 8.0, 0)}


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("wrong", "Prometheus answered 400: parse error"),
        ("page", "the answer is not Prometheus's"),
        ("moved", "Prometheus answered 302"),
        ("scalar", "the query gives no numbers over time"),
        ("nothing", "the query found nothing"),
        ("slow", "Prometheus did not answer within 0.2 s"),
    ],
)
async def test_what_cannot_be_measured_is_told_and_holds_up_no_other(query: str, why: str) -> None:
    async with prometheus(gpu=steady(5), nothing=steady()) as server:
        costs = [
            cost("broken", use=gauge(server.url, query, timeout_s=0.2)),
            cost("gpu", use=gauge(server.url, "gpu", timeout_s=60)),
        ]
        with capture_logs() as logs:
            used, grown = await measure(costs, NOW_S * 1000)
    assert (set(used), grown) == ({"gpu"}, {})
    assert [(one["event"], one["cost"], one["why"]) for one in logs] == [("resource.unmeasured", "broken", why)]


async def test_a_prometheus_that_is_not_there_is_told_without_its_token() -> None:
    with capture_logs() as logs:
        found = await measure([cost("gpu", use=gauge("http://127.0.0.1:1", "gpu", token="s3cret"))], NOW_S * 1000)
    assert found == ({}, {})
    assert logs[0]["event"] == "resource.unmeasured"
    assert "s3cret" not in str(logs)
