"""Overspend and usable share of a budget under 128 concurrent streams through three proxies on one store.

The test that hardcap publishes, with its parameters: 20 000 output tokens a budget, `max_tokens` 1024, log-normal
output lengths with median 150, truth = what the upstream really generated. Each of 128 clients asks for one stream
after the other until it is refused for good; told `budget_busy`, it waits as long as it is told and asks again.

    strict              estimate: worst_case                          may leave money unused, must never exceed
    learned, finish     estimate: learned, on_exhausted: finish       a stream that ran past its estimate ends in peace
    learned, truncate   estimate: learned, on_exhausted: truncate     the stream that meets the end of the budget is cut
    hardcap             the peer as it comes (rolling p95, truncate), on the same machine, by the same clients

A token comes every 8 ms, as from a quick model: quick enough that a run ends in minutes, slow enough that proxies,
clients, upstream and store share two cores without one waiting for another. What an upstream generates between the cut
and the moment it notices belongs to the truth, so a starved machine makes every overshoot look larger.

    python bench/overshoot.py [--quick] [--budgets 4] [--streams 128] [--modes strict,finish,truncate,hardcap]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import rig
import uvloop

MAX_TOKENS = 1024
MEDIAN_TOKENS = 150
SIGMA = 0.6
PROXIES = 3
WARM_UP_STREAMS = 384
CLIENT_GIVES_UP_AFTER_S = 240.0

MODES = {
    "strict": ("worst_case", "finish"),
    "finish": ("learned", "finish"),
    "truncate": ("learned", "truncate"),
}
HARDCAP = "hardcap"  # the peer, as it comes: rolling p95, truncate
# One KRW a token, so that money and tokens are the same number. Each budget belongs to one caller.
API = """\
  - name: {mode}
    upstream: http://127.0.0.1:{upstream}
    speaks: openai
    priority: important
    estimate: {estimate}
    on_exhausted: {on_exhausted}
    prices:
      - {{name: chat, match: {{method: POST, path: /v1/*}}, tokens: {{input: 0, output: 1000000}}}}
"""
HARDCAP_CONFIG = """\
listen: {{host: 127.0.0.1, port: {listen}}}
redis_url: "{redis}"
upstreams: {{api: {{kind: openai, base_url: "http://127.0.0.1:{upstream}"}}}}
routes: {{gpt-4o-mini: {{targets: [{{upstream: api, model: gpt-4o-mini}}]}}}}
tenants:
"""
HARDCAP_TENANT = "  {name}: {{api_keys: [key-{name}], budget: {{window_s: 31536000, output: {limit}}}}}\n"
CALLER = "  - {{name: {name}, key_env: KEY_{variable}, budget: {{limit: {limit}, period: year{lines}}}}}\n"


@dataclass(slots=True)
class Outcome:
    """One budget, spent to its end. All amounts in tokens = KRW."""

    mode: str
    account: str
    limit: int
    generated: int = 0  # by the upstream: the truth
    booked: float = 0.0  # by spendgate
    streams: int = 0
    truncated: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)  # reason -> how often
    failed: list[str] = field(default_factory=list)  # anything that is neither an answer nor a refusal

    @property
    def overshoot(self) -> float:
        return self.generated / self.limit - 1

    @property
    def usable(self) -> float:
        return min(1.0, self.generated / self.limit)


def rules(upstream: int, modes: list[str], budgets: int, tokens: int) -> tuple[str, dict[str, str]]:
    """(rules.yaml, environment with the callers' keys)."""
    env = {}
    text = "version: 1\ncurrency: KRW\ntimezone: Asia/Seoul\ncallers:\n"
    for mode in modes:
        for account in (f"{mode}-warm", *(f"{mode}-{i}" for i in range(budgets))):
            variable = account.replace("-", "_").upper()
            env[f"KEY_{variable}"] = f"key-{account}"
            limit, lines = (tokens, ", restrict: 100") if "warm" not in account else (9_000_000_000, "")
            text += CALLER.format(name=account, variable=variable, limit=limit, lines=lines)
    text += "apis:\n"
    for mode in modes:
        estimate, on_exhausted = MODES[mode]
        text += API.format(mode=mode, upstream=upstream, estimate=estimate, on_exhausted=on_exhausted)
    return text, env


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(port: int, path: str, account: str, tokens: int, gap_ms: float) -> Reply:
    """One streamed call, read to its end. A connection of its own."""
    request = json.dumps(
        {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "Tell a short story."}],
            "max_tokens": MAX_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
            "user": f"bench {account} {tokens} {gap_ms:g}",
        }
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer key-{account}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(request)}\r\n\r\n{request}".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = []
        while data := await reader.read(1 << 16):
            parts.append(data)
        body = b"".join(parts)
        return Reply(int(first.split(" ")[1]), headers, whole(body) if "transfer-encoding" in headers else body)
    finally:
        writer.close()


def whole(chunked: bytes) -> bytes:
    """A chunked body without its framing; what is left of one that ended early."""
    parts, at = [], 0
    while (end := chunked.find(b"\r\n", at)) >= 0 and (size := int(chunked[at:end], 16)) > 0:
        parts.append(chunked[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(parts)


def length(dice: random.Random) -> int:
    """Tokens that the model would generate if nobody bounded it."""
    return max(1, round(math.exp(dice.gauss(math.log(MEDIAN_TOKENS), SIGMA))))


async def client(outcome: Outcome, ports: list[int], dice: random.Random, gap_ms: float, streams: int | None) -> None:
    """Ask until refused for good, or `streams` times."""
    deadline = time.monotonic() + CLIENT_GIVES_UP_AFTER_S
    path = "/v1/chat/completions" if outcome.mode == HARDCAP else f"/{outcome.mode}/v1/chat/completions"
    while (streams is None or streams > 0) and time.monotonic() < deadline:
        try:
            tokens = length(dice)
            reply = await ask(dice.choice(ports), path, outcome.account, tokens, gap_ms)
        except (OSError, asyncio.IncompleteReadError) as error:
            outcome.failed.append(repr(error))
            return
        if reply.status == 200:
            outcome.streams += 1
            if streams is not None:
                streams -= 1
            if b"[DONE]" not in reply.body:
                outcome.failed.append(f"a stream ended without [DONE]: {reply.body[-200:]!r}")
            outcome.truncated += reply.body.count(b'" the"') < min(tokens, MAX_TOKENS)
            continue
        found = re.search(rb'"(?:reason|code|type)":\s*"(budget_\w+)"', reply.body)
        reason = found[1].decode() if found else f"status {reply.status}"
        outcome.refused[reason] = outcome.refused.get(reason, 0) + 1
        if found is None:
            outcome.failed.append(f"{reply.status} {reply.body[:200]!r}")
        if reason != "budget_busy":
            return
        if outcome.mode != HARDCAP and reply.headers.get("x-should-retry") != "true":
            outcome.failed.append("budget_busy came without x-should-retry: true")
        await asyncio.sleep(float(reply.headers.get("retry-after", "1")) * dice.uniform(1.0, 1.2))
    if streams is None:
        outcome.failed.append("a client was still being told budget_busy when its patience ended")


async def spend(
    outcome: Outcome, ports: list[int], seed: int, clients: int, gap_ms: float, each: int | None = None
) -> None:
    began = time.monotonic()
    await asyncio.gather(*(client(outcome, ports, random.Random(f"{seed}/{i}"), gap_ms, each) for i in range(clients)))
    outcome.seconds = time.monotonic() - began


def tell_truth(outcome: Outcome, upstream: int, store: rig.Store) -> None:
    """Fill in what the upstream generated and what the budget says, once nothing of it is in flight any more."""
    settle_by = time.monotonic() + 15
    client = store.client
    mine = f'"{outcome.account}"'
    while time.monotonic() < settle_by and any(mine in one for one in client.hvals("spendgate:{main}:reservations")):
        time.sleep(0.05)
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/generated") as answer:
        outcome.generated = json.load(answer)["generated"].get(outcome.account, 0)
    for key in client.scan_iter(match=f"spendgate:*:budget:caller:{outcome.account}:*", count=1000):
        outcome.booked += int(client.hget(key, "spent") or 0) / 1e6
    if outcome.mode == HARDCAP:
        outcome.booked = sum(
            int(client.hget(key, "out") or 0)
            for key in client.scan_iter(match=f"*{outcome.account}*", count=1000)
            if client.type(key) == "hash"
        )


@contextlib.contextmanager
def hardcap(folder: Path, name: str, upstream: int, store: rig.Store, budgets: int, tokens: int) -> Iterator[int]:
    """One more replica of hardcap; the port it listens on."""
    port = rig.free_port()
    text = HARDCAP_CONFIG.format(listen=port, redis=store.url, upstream=upstream)
    for account in (f"{HARDCAP}-warm", *(f"{HARDCAP}-{i}" for i in range(budgets))):
        limit = 10**12 if "warm" in account else tokens
        text += HARDCAP_TENANT.format(name=account, limit=limit)
    config = folder / f"{name}.yaml"
    config.write_text(text)
    command = [rig.peer("hardcap"), "serve", "-c", config, "--workers", "1"]
    with rig.running(name, command, folder, ready=rig.listening(port)):
        yield port


@contextlib.contextmanager
def stage(mode: str, budgets: int, tokens: int) -> Iterator[tuple[list[int], int, rig.Store]]:
    """(ports of the proxies, port of the upstream, the store), fresh for each mode."""
    upstream = rig.free_port()
    with rig.workspace() as folder, rig.store(folder) as store, contextlib.ExitStack() as stack:
        command = [sys.executable, rig.HERE / "upstream.py", str(upstream)]
        stack.enter_context(rig.running("upstream", command, folder, ready=rig.listening(upstream)))
        ports = []
        for i in range(PROXIES):
            if mode == HARDCAP:
                ports.append(stack.enter_context(hardcap(folder, f"hardcap-{i}", upstream, store, budgets, tokens)))
            else:
                text, env = rules(upstream, [mode], budgets, tokens)
                proxy = rig.spendgate(folder, text, store.url, env=env, name=f"spendgate-{i}")
                ports.append(stack.enter_context(proxy).port)
        yield ports, upstream, store


async def run(
    modes: list[str], budgets: int, at_once: int, tokens: int, clients: int, gap_ms: float, seed: int
) -> list[Outcome]:
    outcomes = []
    turns = asyncio.Semaphore(at_once)

    async def one(mode: str, number: int, ports: list[int], upstream: int, store: rig.Store) -> Outcome:
        async with turns:
            outcome = Outcome(mode, f"{mode}-{number}", tokens)
            await spend(outcome, ports, seed + number, clients, gap_ms)
            await asyncio.to_thread(tell_truth, outcome, upstream, store)
        print(
            f"  {mode:9} budget {number + 1}: generated {outcome.generated}, booked {outcome.booked:.0f}, "
            f"{outcome.streams} streams, {outcome.truncated} truncated, {outcome.refused}, {outcome.seconds:.0f} s",
            flush=True,
        )
        for text in outcome.failed[:3]:
            print(f"    failed: {text}", flush=True)
        return outcome

    for mode in modes:
        with stage(mode, budgets, tokens) as (ports, upstream, store):
            if mode == HARDCAP or MODES[mode][0] == "learned":
                warm = Outcome(mode, f"{mode}-warm", 9_000_000_000)
                await spend(warm, ports, seed - 1, clients, gap_ms, each=math.ceil(WARM_UP_STREAMS / clients))
                if warm.failed or warm.refused:
                    raise rig.BenchError(f"warm-up of {mode} failed: {warm.refused} {warm.failed[:3]}")
            outcomes += await asyncio.gather(*(one(mode, i, ports, upstream, store) for i in range(budgets)))
    return outcomes


def report(outcomes: list[Outcome], modes: list[str]) -> str:
    rows = []
    for mode in modes:
        of_mode = [outcome for outcome in outcomes if outcome.mode == mode]
        final = [sum(count for why, count in o.refused.items() if why != "budget_busy") for o in of_mode]
        rows.append(
            [
                mode, f"{max(o.overshoot for o in of_mode):+.2%}", f"{min(o.usable for o in of_mode):.1%}",
                f"{statistics.mean(o.usable for o in of_mode):.1%}",
                f"{max(abs(o.booked - o.generated) for o in of_mode):.0f}",
                f"{statistics.mean(o.truncated for o in of_mode):.1f}",
                f"{statistics.mean(o.refused.get('budget_busy', 0) for o in of_mode):.0f}",
                f"{statistics.mean(final):.0f}",
                f"{statistics.mean(o.seconds for o in of_mode):.0f}", sum(len(o.failed) for o in of_mode),
            ]
        )  # fmt: skip
    head = [
        "mode", "worst overshoot", "usable, worst", "usable, mean", "books off by", "truncated", "told busy", "told no",
        "seconds", "failures",
    ]  # fmt: skip
    return rig.table(head, rows)


def verdicts(outcomes: list[Outcome]) -> list[str]:
    """What does not hold, in words."""
    broken = []
    ours = [outcome for outcome in outcomes if outcome.mode != HARDCAP]
    by_mode = {mode: [o for o in ours if o.mode == mode] for mode in MODES}
    if any(o.generated > o.limit for o in by_mode["strict"]):
        broken.append("strict exceeded a budget")
    if any(o.overshoot > 0.0003 for o in by_mode["truncate"]):
        broken.append("learned + truncate exceeded a budget by more than 0.03 %")
    if by_mode["truncate"] and statistics.mean(o.usable for o in by_mode["truncate"]) < 0.987:
        broken.append("learned + truncate left more than 1.3 % of the budgets unused")
    if any(o.failed for o in ours):
        broken.append("some calls failed")
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(description="Overspend and usable share of a budget under concurrent streams.")
    parser.add_argument(
        "--quick", action="store_true", help="one budget of each of the two modes that promise anything"
    )
    parser.add_argument("--budgets", type=int, default=4, help="how many budgets each mode spends")
    parser.add_argument("--at-once", type=int, default=2, help="how many of them at a time")
    parser.add_argument("--tokens", type=int, default=20_000, help="size of a budget")
    parser.add_argument("--streams", type=int, default=128, help="concurrent clients a budget")
    parser.add_argument("--gap-ms", type=float, default=8, help="time between two tokens of a stream")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--modes", default=",".join((*MODES, HARDCAP)), help=f"of {','.join((*MODES, HARDCAP))}")
    options = parser.parse_args()
    if options.quick:
        options.budgets, options.modes, options.gap_ms = 1, "strict,truncate", 5
    modes = options.modes.split(",")
    unknown = [mode for mode in modes if mode not in (*MODES, HARDCAP)]
    if unknown:
        parser.error(f"no such mode: {', '.join(unknown)}")
    facts = rig.announce(
        f"{options.streams} concurrent streams a budget, {PROXIES} proxies, {options.tokens} tokens a budget, "
        f"max_tokens {MAX_TOKENS}, log-normal lengths (median {MEDIAN_TOKENS}, sigma {SIGMA})"
    )
    try:
        outcomes = uvloop.run(
            run(
                modes,
                options.budgets,
                options.at_once,
                options.tokens,
                options.streams,
                options.gap_ms,
                options.seed,
            )
        )
    except rig.BenchError as error:
        raise SystemExit(f"bench: {error}") from None
    print(f"\n{report(outcomes, modes)}")
    rig.save("overshoot", facts, [asdict(outcome) for outcome in outcomes])
    broken = verdicts(outcomes)
    if broken:
        raise SystemExit("bench: " + "; ".join(broken))


if __name__ == "__main__":
    main()
