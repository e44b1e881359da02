"""Requests a second, latency and CPU a request: direct, nginx, nginx + Lua, hardcap and spendgate, in one run.

Every target gets the same load (wrk), the same upstream (nginx, one fixed completion) and a fresh store. Load, upstream
and store share one core, the target has another; with one connection all of them share a core, because then only one
works at a time and a wake-up across cores would be what is measured. Rounds interleave the targets, so that a slow
minute of the machine hits all of them; figures are medians.

CPU a request is the steadiest column: 1 000 000 / it = requests a second that one core of the target can do. A run with
errors, or with fewer settled calls than answered requests, is no figure: it ends with exit status 1.

    python bench/throughput.py [--seconds 8] [--rounds 3] [--connections 1,16,64] [--targets direct,nginx,...]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import rig

KEY = "bench-caller-key"
PATH = "/v1/chat/completions"
REQUEST = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You answer questions about a small shop's orders, briefly and politely."},
        {
            "role": "user",
            "content": "Where is order 20419? It was promised for Tuesday, the tracking page has not moved since "
            "Sunday, and the customer would rather have the money back than wait for another week.",
        },
    ],
    "max_tokens": 64,
    "temperature": 0.2,
}
ANSWER = {
    "id": "chatcmpl-5f0c3d2b1a",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "I am sorry about the wait. The parcel is late; I can refund it today if you like.",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 71,
        "completion_tokens": 22,
        "total_tokens": 93,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_5f0c3d2b1a",
}
# Everything that one call can meet: four budgets on its chain, a virtual key, a key set for the API, a catalogue price.
RULES = """\
version: 1
currency: KRW
timezone: Asia/Seoul
fx: {{USD: 1390}}
defaults: {{unknown: deny, on_store_error: deny}}
budgets:
  - {{name: monthly, limit: 9000000000, period: month, warn: [70, 80, 90], restrict: 95, stop: 100}}
  - {{name: openai-daily, limit: 9000000000, period: day, applies_to: {{api: openai}}}}
  - {{name: chat-hourly, limit: 9000000000, period: hour, applies_to: {{rule: openai/chat}}}}
callers:
  - {{name: shop, key_env: BENCH_KEY, budget: {{limit: 9000000000, period: month}}}}
apis:
  - name: openai
    upstream: http://127.0.0.1:{upstream}
    hosts: [api.openai.com]
    credentials: {{header: Authorization, value: "Bearer ${{BENCH_UPSTREAM_KEY}}"}}
    priority: important
    prices:
      - {{name: models, match: {{path: /v1/models*}}, free: true}}
      - {{name: chat, match: {{method: POST, path: /v1/*}}, catalog: openai}}
"""
HARDCAP_CONFIG = """\
listen: {{host: 127.0.0.1, port: {listen}}}
redis_url: "{redis}"
upstreams: {{api: {{kind: openai, base_url: "http://127.0.0.1:{upstream}"}}}}
routes: {{gpt-4o-mini: {{targets: [{{upstream: api, model: gpt-4o-mini}}]}}}}
tenants:
  shop:
    api_keys: [{key}]
    budget: {{window_s: 86400, total: 1000000000000}}
    rate_limit: {{algorithm: token_bucket, requests: 100000000, per_s: 1, burst: 100000000}}
"""


@dataclass(slots=True)
class Stage:
    """What stands around a target while it is measured."""

    folder: Path
    load_cores: set[int]
    target_cores: set[int]
    upstream: int
    store: rig.Store


@dataclass(slots=True)
class Target:
    """A running target: where the load goes, and how many calls it says it has settled (None = it counts nothing)."""

    port: int
    path: str
    process: rig.Process | None
    settled: Callable[[], int] | None


@dataclass(slots=True)
class Figure:
    target: str
    connections: int
    round: int
    requests: int
    rps: float
    p50_us: int
    p99_us: int
    cpu_us: float  # of the target, a request
    store_us: float  # of the store, a request
    rss_mb: float
    errors: int
    unsettled: int  # requests answered but not settled


# --- targets ----------------------------------------------------------------------------------------------------------


def nginx(stage: Stage, name: str, **values: object) -> contextlib.AbstractContextManager[rig.Process]:
    """nginx with bench/nginx/NAME.conf, its @PLACES@ filled in."""
    text = (rig.HERE / "nginx" / f"{name}.conf").read_text()
    for place, value in {
        "FOLDER": stage.folder,
        "UPSTREAM": stage.upstream,
        "STORE": f"unix:{stage.store.socket}",
        # Workers of a server that root started would not be let into the store's folder.
        "USER": "user root;" if os.getuid() == 0 else "",
        **values,
    }.items():
        text = text.replace(f"@{place}@", str(value))
    config = stage.folder / f"{name}.conf"
    config.write_text(text)
    port = int(str(values.get("LISTEN", stage.upstream)))
    cores = stage.target_cores if "LISTEN" in values else stage.load_cores
    # The error log is opened before the configuration is read: -e keeps it out of the system's folder.
    command = [rig.tool("nginx"), "-e", "stderr", "-p", stage.folder, "-c", config]
    return rig.running(f"nginx-{name}", command, stage.folder, cores=cores, ready=rig.listening(port))


@contextlib.contextmanager
def direct(stage: Stage) -> Iterator[Target]:
    yield Target(stage.upstream, PATH, None, None)


@contextlib.contextmanager
def plain_nginx(stage: Stage) -> Iterator[Target]:
    port = rig.free_port()
    with nginx(stage, "proxy", LISTEN=port) as process:
        yield Target(port, PATH, process, None)


@contextlib.contextmanager
def nginx_lua(stage: Stage) -> Iterator[Target]:
    with spendgate(stage) as model:
        admit, settle, call_id = recorded_calls(stage, model)
    ledger = next(word for word in settle if b":ledger:" in word).decode()
    write_lua_calls(stage.folder / "calls.lua", admit, settle, call_id)
    stage.store.client.flushall()  # the counters of the recording; loaded scripts stay
    port = rig.free_port()
    with nginx(stage, "lua", LISTEN=port) as process:
        yield Target(port, PATH, process, lambda: int(stage.store.client.xlen(ledger)))


@contextlib.contextmanager
def hardcap(stage: Stage) -> Iterator[Target]:
    port = rig.free_port()
    config = stage.folder / "hardcap.yaml"
    config.write_text(HARDCAP_CONFIG.format(listen=port, redis=stage.store.unix_url, upstream=stage.upstream, key=KEY))
    command = [rig.peer("hardcap"), "serve", "-c", config, "--workers", "1"]

    def settled() -> int:
        tokens = sum(
            int(stage.store.client.hget(key, "out") or 0)
            for key in stage.store.client.scan_iter(count=1000)
            if stage.store.client.type(key) == "hash" and stage.store.client.hexists(key, "out")
        )
        return tokens // int(ANSWER["usage"]["completion_tokens"])  # type: ignore[index]

    with rig.running("hardcap", command, stage.folder, cores=stage.target_cores, ready=rig.listening(port)) as process:
        yield Target(port, PATH, process, settled)


@contextlib.contextmanager
def spendgate(stage: Stage) -> Iterator[Target]:
    rules = RULES.format(upstream=stage.upstream)
    env = {"BENCH_KEY": KEY, "BENCH_UPSTREAM_KEY": "upstream-key"}

    def settled() -> int:
        client = stage.store.client
        return sum(int(client.xlen(key)) for key in client.scan_iter(match="spendgate:*:ledger:*", count=1000))

    with rig.spendgate(stage.folder, rules, stage.store.unix_url, cores=stage.target_cores, env=env) as proxy:
        yield Target(proxy.port, f"/openai{PATH}", proxy.process, settled)


TARGETS: dict[str, Callable[[Stage], contextlib.AbstractContextManager[Target]]] = {
    "direct": direct,
    "nginx": plain_nginx,
    "nginx-lua": nginx_lua,
    "hardcap": hardcap,
    "spendgate": spendgate,
}


# --- the store's calls as spendgate makes them, for nginx + Lua -------------------------------------------------------

ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b"}


def monitored_words(line: bytes) -> list[bytes]:
    """The words of one line of MONITOR, unescaped."""
    return [
        re.sub(
            rb"\\(x[0-9a-f]{2}|.)",
            lambda m: bytes.fromhex(m[1][1:].decode()) if len(m[1]) == 3 else ESCAPES.get(m[1].decode(), m[1]),
            word,
        )
        for word in re.findall(rb'"((?:[^"\\]|\\.)*)"', line)
    ]


def recorded_calls(stage: Stage, model: Target) -> tuple[list[bytes], list[bytes], bytes]:
    """Send one request through spendgate and watch the store: (admit's words, settle's words, the call's id)."""
    probe(model)  # connections and caches are warm, so that exactly two calls follow
    with socket.create_connection(("127.0.0.1", stage.store.port), 5) as watch:
        watch.settimeout(5)
        watch.sendall(b"MONITOR\r\n")
        seen = watch.recv(1 << 16)
        call_id = probe(model)["x-spendgate-request-id"].encode()
        calls: list[list[bytes]] = []
        deadline = time.monotonic() + 5
        while len(calls) < 2 and time.monotonic() < deadline:
            seen += watch.recv(1 << 16)
            lines = seen.split(b"\r\n")[:-1]
            asked = [monitored_words(line) for line in lines if b'] "EVALSHA"' in line or b'] "evalsha"' in line]
            calls = [words[1:] for words in asked if any(call_id in word for word in words)]
    if len(calls) != 2:
        raise rig.BenchError(f"expected an admit and a settle call with id {call_id.decode()}, saw {len(calls)} calls")
    return calls[0], calls[1], call_id


def write_lua_calls(path: Path, admit: list[bytes], settle: list[bytes], call_id: bytes) -> None:
    def literal(word: bytes) -> str:
        return (
            '"'
            + "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}" for byte in word)
            + '"'
        )

    def array(words: list[bytes]) -> str:
        return "{" + ", ".join(map(literal, words)) + "}"

    path.write_text(
        f"return {{\n  id = {literal(call_id)},\n  admit = {array(admit)},\n  settle = {array(settle)},\n}}\n"
    )


# --- measuring --------------------------------------------------------------------------------------------------------


def probe(target: Target) -> dict[str, str]:
    """One request; the answer's headers. Raises BenchError when it is not the upstream's answer."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=20)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    connection.request("POST", target.path, json.dumps(REQUEST), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200 or b'"completion_tokens":22' not in body.replace(b" ", b""):
        raise rig.BenchError(f"port {target.port} answered {response.status}: {body[:500]!r}")
    return {name.lower(): value for name, value in response.getheaders()}


def wrk(stage: Stage, target: Target, connections: int, seconds: float) -> dict[str, float]:
    body = stage.folder / "request.json"
    body.write_text(json.dumps(REQUEST))
    command = [rig.tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s"]
    command += [str(rig.HERE / "wrk.lua"), f"http://127.0.0.1:{target.port}{target.path}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
        env={**os.environ, "BENCH_BODY": str(body), "BENCH_KEY": KEY},
        preexec_fn=lambda: os.sched_setaffinity(0, stage.load_cores),
    )
    for line in done.stdout.splitlines():
        if line.startswith("FIGURES "):
            figures: dict[str, float] = json.loads(line[8:])
            return figures
    raise rig.BenchError(f"wrk printed no figures:\n{done.stdout}{done.stderr}")


def quiet(target: Target) -> int:
    """Settled calls once the last ones in flight have ended: wrk leaves some when its time is over."""
    if target.settled is None:
        return 0
    before = -1
    while (now := target.settled()) != before:
        before = now
        time.sleep(0.3)
    return now


def measure(name: str, stage: Stage, connections: list[int], seconds: float, round_: int) -> list[Figure]:
    figures = []
    with TARGETS[name](stage) as target:
        probe(target)
        wrk(stage, target, 16, 1)  # warm
        for count in connections:
            if target.process is not None:
                target.process.move_to(stage.load_cores if count == 1 else stage.target_cores)
            settled = quiet(target)
            cpu, store_cpu = target.process.cpu_s() if target.process else 0.0, stage.store.process.cpu_s()
            seen = wrk(stage, target, count, seconds)
            cpu = (target.process.cpu_s() if target.process else 0.0) - cpu
            store_cpu = stage.store.process.cpu_s() - store_cpu
            requests = int(seen["requests"])
            unsettled = requests - (quiet(target) - settled) if target.settled else 0
            # Calls that wrk left in the middle are settled too: up to one a connection more than it counted.
            excess = max(0, -unsettled - count)
            figures.append(
                Figure(
                    target=name, connections=count, round=round_, requests=requests,
                    rps=requests / seen["seconds"], p50_us=int(seen["p50_us"]), p99_us=int(seen["p99_us"]),
                    cpu_us=cpu * 1e6 / max(1, requests), store_us=store_cpu * 1e6 / max(1, requests),
                    rss_mb=(target.process.rss_bytes() if target.process else 0) / 1e6,
                    errors=int(seen["errors"]), unsettled=max(unsettled, 0) + excess,
                )
            )  # fmt: skip
            print(
                f"  round {round_ + 1}  {name:10} {count:3d} connections  {figures[-1].rps:9.0f} requests/s", flush=True
            )
    return figures


def run(targets: list[str], connections: list[int], seconds: float, rounds: int) -> list[Figure]:
    load_cores, target_cores = rig.cores()
    if load_cores == target_cores:
        print("Only one core: load and target share it; only CPU a request means something.\n")
    figures: list[Figure] = []
    if "hardcap" in targets:
        rig.peer("hardcap")  # installed before anything is measured
    for round_ in range(rounds):
        for name in targets:
            with rig.workspace() as folder, rig.store(folder, cores=load_cores, unix=True) as store:
                stage = Stage(folder, load_cores, target_cores, rig.free_port(), store)
                with nginx(stage, "upstream", ANSWER=json.dumps(ANSWER)):
                    figures += measure(name, stage, connections, seconds, round_)
    return figures


# --- telling ----------------------------------------------------------------------------------------------------------


def report(figures: list[Figure], targets: list[str], connections: list[int]) -> str:
    def median(name: str, count: int, value: Callable[[Figure], float]) -> float:
        found = [value(figure) for figure in figures if figure.target == name and figure.connections == count]
        return statistics.median(found) if found else float("nan")

    rows = []
    for count in connections:
        for name in targets:
            rps = median(name, count, lambda f: f.rps)
            ratios = [
                f"{rps / median(other, count, lambda f: f.rps):.2f}" if other in targets else "-"
                for other in ("hardcap", "nginx-lua")
            ]
            cpu = median(name, count, lambda f: f.cpu_us)
            rows.append(
                [
                    name, count, f"{rps:,.0f}", f"{median(name, count, lambda f: f.p50_us):,.0f}",
                    f"{median(name, count, lambda f: f.p99_us):,.0f}", f"{cpu:.0f}" if cpu else "-",
                    f"{median(name, count, lambda f: f.store_us):.0f}",
                    f"{median(name, count, lambda f: f.rss_mb):.0f}",
                    *ratios,
                    sum(f.errors for f in figures if f.target == name and f.connections == count),
                    sum(f.unsettled for f in figures if f.target == name and f.connections == count),
                ]
            )  # fmt: skip
    head = [
        "target",
        "conn",
        "req/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/req",
        "store µs",
        "RSS MB",
        "x hardcap",
        "x nginx+Lua",
        "errors",
        "unsettled",
    ]
    return rig.table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Requests a second and CPU a request beside the peers.")
    parser.add_argument("--seconds", type=float, default=8, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--targets", default=",".join(TARGETS), help=f"of {','.join(TARGETS)}")
    options = parser.parse_args()
    targets, connections = options.targets.split(","), [int(count) for count in options.connections.split(",")]
    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    facts = rig.announce("One POST /v1/chat/completions a request, one worker a target; medians of the rounds")
    try:
        figures = run(targets, connections, options.seconds, options.rounds)
    except rig.BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print(f"\n{report(figures, targets, connections)}")
    rig.save("throughput", facts, [asdict(figure) for figure in figures])
    bad = sum(figure.errors + figure.unsettled for figure in figures)
    if bad:
        raise SystemExit(f"bench: {bad} errors or unsettled calls: these figures do not count")


if __name__ == "__main__":
    main()
