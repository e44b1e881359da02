"""What the dashboard costs: its first screen after a year with fifty APIs, and 200 open ones beside paid traffic.

A proxy is started with a year of daily roll-ups in its store, and its overview is fetched as a browser would. Then one
client makes calls to an upstream on loopback, one after the other, in slices that take turns within a round, in an
order that changes: nothing open, nothing open once more, and all dashboards open, each of them reading its stream of
news as a browser does. Data plane, control process, store, upstream and client share one core, as on the smallest
machine, so that whatever one of them does the calls have to wait for; only the browsers have another. CPU is told in
nanoseconds of the scheduler. A round's slices are compared with each other, so that a machine that drifts from second
to second does not matter; what two equal slices differ by is the noise that every other difference has to be seen
through. Exit status 1: the first screen is slower than promised, or calls beside open dashboards cost more than the
noise explains.

    python bench/dashboard.py [--open 200] [--calls 500] [--rounds 12] [--promise-ms 100]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import redis
import rig

from proxy.state.keys import Keys

APIS, DAYS = 50, 365
NONE, AGAIN, OPEN = SLICES = ("none", "none again", "open")
DRAIN_EVERY_S = 0.05
SETTLED_WITHIN_S = 300
PAUSE_S = 0.5  # what opening and closing brings is not measured


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


def cpu_ns(pids: Sequence[int]) -> int:
    """Time on a core of these processes' threads so far."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


class Client:
    """One keep-alive connection that asks the same again and again, and does as little else as possible."""

    def __init__(self, port: int, path: str) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call_s(self) -> float:
        """Seconds from the request to the end of its answer, which must be 200."""
        began = time.perf_counter()
        self.socket.sendall(self.request)
        answer = b""
        while not whole(answer):
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise rig.BenchError(f"the connection ended after {answer[:200]!r}")
            answer += piece
        took = time.perf_counter() - began
        if not answer.startswith(b"HTTP/1.1 200"):
            raise rig.BenchError(f"not an answer to measure: {answer[:200]!r}")
        return took

    def close(self) -> None:
        self.socket.close()


def whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    return len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")


# --- the dashboards: a process of their own, at the lowest priority, as they would be on other machines ---------------


def watch(admin: int, number: int) -> None:
    """Obey lines: "open" answers "ready" when every dashboard has its first picture, "close" answers the bytes read."""
    chosen, streams, unread = selectors.DefaultSelector(), [], set()
    chosen.register(sys.stdin, selectors.EVENT_READ)
    request = f"GET /live?page=overview HTTP/1.1\r\nHost: 127.0.0.1:{admin}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
    size = 0
    while True:
        for key, _ in chosen.select():
            if key.fileobj is not sys.stdin:
                stream: Any = key.fileobj
                if stream.fileno() < 0:
                    continue  # closed in this very turn
                piece = stream.recv(1 << 18)
                size += len(piece)
                if not piece:
                    raise SystemExit("a stream of news ended by itself")
                if stream in unread:
                    key.data.append(piece)
                    if pictured(b"".join(key.data)):
                        unread.discard(stream)
                        if not unread:
                            print("ready", flush=True)
                continue
            word = sys.stdin.readline().strip()
            if word == "open":
                size = 0
                for _ in range(number):
                    stream = socket.create_connection(("127.0.0.1", admin))
                    stream.sendall(request)
                    chosen.register(stream, selectors.EVENT_READ, [])
                    streams.append(stream)
                unread = set(streams)
            else:
                for stream in streams:
                    chosen.unregister(stream)
                    stream.close()
                streams = []
                if word != "close":
                    return
                print(size, flush=True)
        time.sleep(DRAIN_EVERY_S)  # many pieces in one go: a network does not wake its reader for each either


def pictured(stream: bytes) -> bool:
    """Whether a stream's beginning holds a picture: beats are a few bytes."""
    head, _, body = stream.partition(b"\r\n\r\n")
    plain = b""
    while body.find(b"\r\n") > 0:
        size, _, rest = body.partition(b"\r\n")
        plain, body = plain + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    if b"content-encoding: gzip" in head.lower():
        plain = zlib.decompressobj(31).decompress(plain)
    return len(plain) > 1000


class Dashboards:
    def __init__(self, admin: int, number: int, cores: set[int]) -> None:
        command = ["nice", "-n", "19", sys.executable, __file__, "--watch", str(admin), "--open", str(number)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self.process.pid, cores)
        self.sent = 0

    def tell(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().strip()
        if not said:
            raise rig.BenchError("the process of the dashboards ended")
        return said

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        self.tell("open")
        try:
            yield
        finally:
            self.sent += int(self.tell("close"))

    def end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()


# --- slices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slice:
    """A row of calls one after the other. Shares: of one core."""

    what: str
    round: int
    mean_us: float
    p50_us: float
    p99_us: float
    data_us: float  # CPU of the data plane, a call
    control_share: float
    store_share: float


def measure(client: Client, number: int, what: str, turn: int, pids: dict[str, list[int]]) -> Slice:
    before = {name: cpu_ns(one) for name, one in pids.items()}
    began = time.perf_counter()
    took = [client.call_s() for _ in range(number)]
    lasted_ns = (time.perf_counter() - began) * 1e9
    spent = {name: cpu_ns(one) - before[name] for name, one in pids.items()}
    p50, p99 = (rig.percentile(took, share) * 1e6 for share in (0.5, 0.99))
    shares = spent["control"] / lasted_ns, spent["store"] / lasted_ns
    return Slice(what, turn, lasted_ns / number / 1000, p50, p99, spent["data"] / number / 1000, *shares)


def ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Geometric mean of all rounds' ratios, and the interval that holds the true one in 19 of 20 runs."""
    logs = [math.log(one / other) for one, other in pairs]
    middle = statistics.fmean(logs)
    # Student's t for 95 %, by Hill's short form for few degrees of freedom: within 1 % from 4 rounds on.
    free = max(len(logs) - 1, 1)
    wide = (1.96 + 2.4 / free + 4.2 / free**3) * (statistics.stdev(logs) if len(logs) > 1 else 1.0)
    half = wide / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def settled(proxy: rig.Proxy) -> None:
    """Return when the leader has done what it does once a day: the forecasts' own past errors, for all APIs."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{proxy.admin}/api/v1/forecast") as answer:
            kept = json.load(answer)["forecasts"]
        if len(kept) > APIS and all(one["past_error_percent"] is not None for one in kept):
            return
        time.sleep(0.5)
    raise rig.BenchError(f"the leader has not forecast {APIS} APIs within {SETTLED_WITHIN_S} s")


def first_screen(admin: int) -> tuple[float, float]:
    """Median and worst time of the overview in milliseconds."""
    page = Client(admin, "/")
    took = [page.call_s() * 1000 for _ in range(21)][1:]
    page.close()
    return statistics.median(took), max(took)


def run(folder: Path, options: argparse.Namespace) -> tuple[list[Slice], float]:
    upstream = rig.free_port()
    command = [sys.executable, rig.HERE / "upstream.py", str(upstream)]
    elsewhere, here = rig.cores()
    os.sched_setaffinity(0, here)
    with (
        rig.store(folder, cores=here, unix=True) as store,
        rig.running("upstream", command, folder, cores=here, ready=rig.listening(upstream)),
        contextlib.ExitStack() as stack,
    ):
        fill(store.client, Keys())
        proxy = stack.enter_context(rig.spendgate(folder, rules(upstream), store.unix_url, cores=here))
        time.sleep(PAUSE_S)  # then the leader is at it
        median, worst = first_screen(proxy.admin)
        print(f"first screen beside the leader's work of once a day: median {median:.1f} ms, worst {worst:.1f} ms")
        settled(proxy)
        print(f"the leader's work of once a day: {cpu_ns(proxy.process.tree()[1:]) / 1e9:.1f} s of CPU")
        pids = {"data": [proxy.process.pid], "store": [store.process.pid]}
        pids["control"] = [pid for pid in proxy.process.tree() if pid != proxy.process.pid]
        client = Client(proxy.port, "/api-1/x")
        measure(client, 200, "warm-up", -1, pids)
        median, worst = first_screen(proxy.admin)
        print(f"first screen, {DAYS} days, {APIS} APIs: median {median:.1f} ms, worst {worst:.1f} ms", flush=True)
        dashboards = Dashboards(proxy.admin, options.open, elsewhere)
        slices = []
        orders = itertools.cycle(itertools.permutations(SLICES))
        try:
            for turn, order in zip(range(options.rounds), orders, strict=False):
                for what in order:
                    with dashboards.open() if what == OPEN else contextlib.nullcontext():
                        time.sleep(PAUSE_S)
                        slices.append(measure(client, options.calls, what, turn, pids))
        finally:
            dashboards.end()
            client.close()
        seconds = sum(one.mean_us * options.calls for one in slices if one.what == OPEN) / 1e6
        rate = dashboards.sent / 1e3 / options.open / seconds
        print(f"news: {dashboards.sent / 1e6:.2f} MB, about {rate:.2f} kB/s a dashboard\n")
    return slices, median


def report(slices: Sequence[Slice], options: argparse.Namespace) -> bool:
    """Print the table and the ratios; whether open dashboards cost no more than the noise explains."""
    rows = []
    for what in SLICES:
        mine = [one for one in slices if one.what == what]
        middle = [statistics.median(getattr(one, name) for one in mine)
                  for name in ("data_us", "mean_us", "p50_us", "p99_us", "control_share", "store_share")]  # fmt: skip
        shares = [f"{100 * share:.1f} %" for share in middle[4:]]
        rows.append(
            [f"{options.open} dashboards" if what == OPEN else what, *(f"{one:.0f}" for one in middle[:4]), *shares]
        )
    print(
        rig.table(["open", "data plane CPU us/call", "mean us", "p50 us", "p99 us", "control process", "store"], rows)
    )
    print()
    quiet = True
    for name, of in (("CPU a call", "data_us"), ("mean time", "mean_us"), ("p99", "p99_us")):
        by = {what: [getattr(one, of) for one in slices if one.what == what] for what in SLICES}
        without = [math.sqrt(one * other) for one, other in zip(by[NONE], by[AGAIN], strict=True)]
        noise = ratio(list(zip(by[AGAIN], by[NONE], strict=True)))
        beside = ratio(list(zip(by[OPEN], without, strict=True)))
        for label, (middle, low, high) in (("none again", noise), (f"{options.open} dashboards", beside)):
            print(f"{name:<10}  {label:>14} : none  {middle:.3f}   95 %: {low:.3f} to {high:.3f}")
        quiet &= beside[1] <= max(noise[2], 1 / noise[1])
    return quiet


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, default=200)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--promise-ms", type=float, default=100.0)
    parser.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch is not None:
        watch(options.watch, options.open)
        return 0
    facts = rig.announce(f"calls with {options.open} dashboards open and without")
    with rig.workspace() as folder:
        slices, median = run(folder, options)
    quiet = report(slices, options)
    rig.save("dashboard", facts, [asdict(one) for one in slices])
    return 0 if quiet and median < options.promise_ms else 1


if __name__ == "__main__":
    sys.exit(main())
