"""Memory while 1 GiB goes up and 1 GiB comes down, and the CPU that one streamed chunk costs.

Bodies are streamed in both directions with back-pressure: whatever their size, the proxy's memory may grow by less than
32 MiB. The reader is slow on purpose for a moment in the middle, because a proxy that gathers shows only then. The
price is by the kilobyte, so that every byte is counted. CPU a chunk is the difference between streams of 50 and of 2
chunks.

    python bench/memory.py [--mib 1024] [--streams 400]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import rig
import uvloop

ALLOWED_GROWTH_MIB = 32
MIB = 1024 * 1024
LONG, SHORT = 50, 2  # chunks of the two kinds of stream
RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
defaults: {{unknown: deny, on_store_error: deny, max_kb: 16777216, max_seconds: 3600}}
budgets:
  - {{name: monthly, limit: 9000000000, period: month}}
apis:
  - name: files
    upstream: http://127.0.0.1:{upstream}
    prices:
      - {{name: chat, match: {{method: POST, path: /v1/*}}, tokens: {{input: 1000, output: 2000}}}}
      - {{name: bytes, per_kb: {{up: 0.001, down: 0.001}}}}
"""


@dataclass(slots=True)
class Figure:
    what: str
    mib: int
    seconds: float
    before_mib: float
    peak_mib: float
    cpu_s: float

    @property
    def growth_mib(self) -> float:
        return self.peak_mib - self.before_mib


@contextlib.contextmanager
def peak(process: rig.Process) -> Iterator[list[float]]:
    """[resident MiB at the start, highest seen]: sampled every 10 ms by a thread of this process."""
    seen = [process.rss_bytes() / MIB] * 2
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen[1] = max(seen[1], process.rss_bytes() / MIB)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


async def head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """(status, Content-Length or -1) of the answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), -1)
    return int(lines[0].split(b" ")[1]), length


async def upload(port: int, mib: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = mib * MIB
    writer.write(b"PUT /files/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % size)
    block = bytes(MIB // 4)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()
    status, length = await head(reader)
    body = await reader.readexactly(length)
    writer.close()
    if status != 200 or f'"received": {size}'.encode() not in body:
        raise rig.BenchError(f"upload: {status} {body[:300]!r}")


async def download(port: int, mib: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MIB)
    writer.write(b"GET /files/download/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (mib * MIB))
    status, length = await head(reader)
    if status != 200 or length != mib * MIB:
        raise rig.BenchError(f"download: {status}, length {length}")
    left, paused = length, False
    while left:
        data = await reader.read(MIB)
        if not data:
            raise rig.BenchError(f"download ended {left} bytes early")
        left -= len(data)
        if not paused and left < length // 2:
            paused = True
            await asyncio.sleep(2)  # what comes meanwhile has to wait in the upstream, not in the proxy
    writer.close()


async def chat(port: int, chunks: int, streams: int, at_a_time: int = 16) -> None:
    request = (
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"go"}],"max_tokens":100,"stream":true,'
        b'"user":"bench memory %d 2"}' % chunks
    )
    asked = (
        b"POST /files/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(request), request)
    )
    left = iter(range(streams))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(asked)
            status, length = await head(reader)
            if status != 200:
                raise rig.BenchError(f"stream: {status}")
            # A stream that had already ended when the proxy first looked comes as one body of known length.
            try:
                await (reader.readuntil(b"\r\n0\r\n\r\n") if length < 0 else reader.readexactly(length))
            except asyncio.IncompleteReadError as error:
                raise rig.BenchError(f"a stream ended early, after {error.partial[-300:]!r}") from None
        writer.close()

    await asyncio.gather(*(one() for _ in range(at_a_time)))


def bodies(proxy: rig.Proxy, mib: int) -> list[Figure]:
    figures = []
    for what, go in (("up", upload), ("down", download)):
        uvloop.run(go(proxy.port, 8))  # what is allocated once is no growth
        cpu, began = proxy.process.cpu_s(), time.monotonic()
        with peak(proxy.process) as seen:
            uvloop.run(go(proxy.port, mib))
        figures.append(Figure(what, mib, time.monotonic() - began, seen[0], seen[1], proxy.process.cpu_s() - cpu))
    return figures


def chunk_us(proxy: rig.Proxy, streams: int) -> float:
    """CPU of the proxy for one streamed chunk, in microseconds."""
    uvloop.run(chat(proxy.port, LONG, 32))
    spent = []
    for chunks in (LONG, SHORT):
        before = proxy.process.cpu_s()
        uvloop.run(chat(proxy.port, chunks, streams))
        spent.append((proxy.process.cpu_s() - before) * 1e6 / streams)
    return (spent[0] - spent[1]) / (LONG - SHORT)


def run(folder: Path, mib: int, streams: int) -> tuple[list[Figure], float]:
    load_cores, target_cores = rig.cores()
    upstream = rig.free_port()
    command = [sys.executable, rig.HERE / "upstream.py", str(upstream)]
    with (
        rig.store(folder, cores=load_cores) as store,
        rig.running("upstream", command, folder, cores=load_cores, ready=rig.listening(upstream)),
        rig.spendgate(folder, RULES.format(upstream=upstream), store.url, cores=target_cores) as proxy,
    ):
        return bodies(proxy, mib), chunk_us(proxy, streams)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory under large bodies, CPU of a streamed chunk.")
    parser.add_argument("--mib", type=int, default=1024, help="size of each body")
    parser.add_argument("--streams", type=int, default=400)
    options = parser.parse_args()
    facts = rig.announce(f"{options.mib} MiB up, {options.mib} MiB down, {options.streams} streams; one worker")
    try:
        with rig.workspace() as folder:
            figures, a_chunk = run(folder, options.mib, options.streams)
    except rig.BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    rows = [
        [
            figure.what,
            figure.mib,
            f"{figure.seconds:.1f}",
            f"{figure.mib / figure.seconds:.0f}",
            f"{figure.before_mib:.0f}",
            f"{figure.peak_mib:.0f}",
            f"{figure.growth_mib:.1f}",
            f"{figure.cpu_s / figure.mib * 1000:.2f}",
        ]
        for figure in figures
    ]
    print(rig.table(["way", "MiB", "seconds", "MiB/s", "RSS before", "RSS peak", "growth MiB", "CPU ms/MiB"], rows))
    print(f"\nCPU for one streamed chunk: {a_chunk:.0f} µs")
    rig.save("memory", facts, {"bodies": [asdict(figure) for figure in figures], "chunk_us": a_chunk})
    if any(figure.growth_mib >= ALLOWED_GROWTH_MIB for figure in figures):
        raise SystemExit(f"bench: memory grew by {ALLOWED_GROWTH_MIB} MiB or more")


if __name__ == "__main__":
    main()
