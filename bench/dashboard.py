"""What the dashboard costs: its first screen after a year with fifty APIs, and 200 open ones beside paid traffic.

A proxy is started with a year of daily roll-ups in its store. First the overview is fetched as a browser would. Then
one client makes calls to an upstream on loopback, one after the other, in turns without any dashboard and with all of
them open, each reading its stream of news. CPU is the data plane's own process, without the control process that serves
the dashboards; the ratio is that of the two sums.

    python bench/dashboard.py [--open 200] [--calls 1500] [--rounds 3] [--promise-ms 100]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import aiohttp
import redis
from aiohttp import web

from proxy.state.keys import Keys

APIS, DAYS = 50, 365
TICKS = os.sysconf("SC_CLK_TCK")


def rules(port: int) -> str:
    head = "version: 1\nbudgets:\n  - {name: monthly, limit: 900000000, period: month}\napis:\n"
    line = "  - {{name: api-{0}, upstream: 'http://127.0.0.1:{1}', prices: [{{per_request: 1}}]}}\n"
    return head + "".join(line.format(number, port) for number in range(APIS))


def fill(client: redis.Redis, keys: Keys) -> None:
    """A year of days, as the settlement script writes them."""
    dice, today = random.Random(1), date.today()  # noqa: DTZ011 - a day more or less does not matter here
    pipe = client.pipeline(transaction=False)
    for back in range(1, DAYS):
        fields: dict[str, int] = {}
        for api in range(APIS):
            who = f"api-{api}|api-{api}/1|caller-{api % 8}"
            fields[f"calls|{who}"], fields[f"cost|{who}"] = dice.randrange(1, 400), dice.randrange(1, 8_000_000)
        pipe.hset(keys.day((today - timedelta(days=back)).isoformat()), mapping=fields)
    pipe.execute()


def cpu_s(pid: int) -> float:
    """User and system time of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def upstream() -> tuple[web.AppRunner, int]:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]  # type: ignore[return-value]


async def read_news(http: aiohttp.ClientSession, url: str, counts: list[int]) -> None:
    async with http.get(url, timeout=aiohttp.ClientTimeout(total=None)) as stream:
        async for piece in stream.content.iter_any():
            counts[0] += len(piece)


async def calls(http: aiohttp.ClientSession, url: str, number: int) -> list[float]:
    took = []
    for _ in range(number):
        began = time.perf_counter()
        async with http.get(url) as answer:
            await answer.read()
            assert answer.status == 200, answer.status
        took.append(time.perf_counter() - began)
    return took


async def measure(options: argparse.Namespace) -> int:
    runner, port = await upstream()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(rules(port))
        listen, admin = await free_port(), await free_port()
        arguments = ["--rules", str(file), "--data", folder + "/data"]
        arguments += ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"]
        with Path(folder, "log").open("wb") as log:  # noqa: ASYNC230
            process = subprocess.Popen([sys.executable, "-m", "proxy", "serve", *arguments], stdout=log, stderr=log)  # noqa: ASYNC220
        try:
            many = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession() as http, aiohttp.ClientSession(connector=many) as watching:
                await ready(http, admin)
                store = redis.Redis(unix_socket_path=socket_of(folder), decode_responses=True)
                fill(store, Keys())
                return await report(options, process.pid, http, watching, listen, admin)
        finally:
            process.terminate()
            process.wait(30)
            await runner.cleanup()


def socket_of(folder: str) -> str:
    return str(next(Path(folder, "data").glob("*.sock")))


async def ready(http: aiohttp.ClientSession, admin: int) -> None:
    for _ in range(300):
        try:
            async with http.get(f"http://127.0.0.1:{admin}/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("the proxy did not become ready")


async def report(
    options: argparse.Namespace,
    pid: int,
    http: aiohttp.ClientSession,
    watching: aiohttp.ClientSession,
    listen: int,
    admin: int,
) -> int:
    page, call = f"http://127.0.0.1:{admin}/", f"http://127.0.0.1:{listen}/api-1/x"
    await calls(http, call, 50)
    screens = [(await calls(http, page, 1))[0] * 1000 for _ in range(21)][1:]
    median, worst = statistics.median(screens), max(screens)
    print(f"first screen, {DAYS} days, {APIS} APIs: median {median:.1f} ms, worst {worst:.1f} ms")
    without: list[float] = []
    beside: list[float] = []
    cpu = {"without": 0.0, "beside": 0.0}
    counts = [0]
    for _ in range(options.rounds):
        before = cpu_s(pid)
        without += await calls(http, call, options.calls)
        cpu["without"] += cpu_s(pid) - before
        streams = [
            asyncio.create_task(read_news(watching, f"{page}live?page=overview", counts)) for _ in range(options.open)
        ]
        await asyncio.sleep(1.5)
        before = cpu_s(pid)
        beside += await calls(http, call, options.calls)
        cpu["beside"] += cpu_s(pid) - before
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    number = options.rounds * options.calls
    for name, took in (("no dashboard", without), (f"{options.open} dashboards", beside)):
        spent = cpu["without" if took is without else "beside"] / number * 1e6
        quick = statistics.quantiles(took, n=100)
        p50, p99 = quick[49] * 1e6, quick[98] * 1e6
        print(f"{name:>15}: p50 {p50:7.0f} us  p99 {p99:7.0f} us  data plane CPU {spent:6.0f} us a call")
    ratio = cpu["beside"] / cpu["without"]
    print(f"ratio of CPU a call: {ratio:.2f}; news sent to the dashboards: {counts[0] / 1e6:.1f} MB")
    return 0 if median < options.promise_ms else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, default=200)
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--promise-ms", type=float, default=100.0)
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
