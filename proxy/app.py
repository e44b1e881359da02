"""The composition root: builds the planes, starts them in order, stops them in the reverse order.

With one worker the data plane lives in this process. With more, this process is the supervisor: it owns the embedded
store, starts the workers, starts a dead one again, and passes the stop on. Either way the control plane is one process
of its own (keeper.py). Knows every part and decides nothing about requests.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.process
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
import uvloop

from proxy import rules_file
from proxy.core.admin_model import safe_to_serve
from proxy.core.model import RuleSet
from proxy.core.text import say
from proxy.keeper import Keeper, claim
from proxy.log import configure
from proxy.settings import Address, Settings, environ
from proxy.started import Facts, Readiness, version
from proxy.state import embedded
from proxy.state.embedded import Embedded
from proxy.state.ledger import opened
from proxy.state.store import Store, StoreUnavailable
from proxy.threads import take_short_turns
from proxy.worker import Worker, spare_the_collector

log = structlog.get_logger()

EXIT_OK = 0
EXIT_MISTAKES = 1
EXIT_UNAVAILABLE = 3

_RESTART_PAUSE_S = 0.5


class CannotStart(Exception):
    """The proxy cannot start; `str()` is one sentence for people."""


Show = Callable[[Facts], None]


def run(settings: Settings, show: Show) -> int:
    """Run a proxy until it is told to stop; returns the exit status. `show` is told once, when it has started."""
    configure(settings.log_format, settings.log_level)
    env = environ()
    loaded = rules_file.load_file(settings.rules, env)
    for warning in loaded.warnings:
        print(warning.render(settings.language), file=sys.stderr)
    if loaded.rules is None:
        for mistake in loaded.mistakes:
            print(mistake.render(settings.language), file=sys.stderr)
        print(say("app.rules_refused", settings.language, file=settings.rules), file=sys.stderr)
        return EXIT_MISTAKES
    if not safe_to_serve(settings.admin.host, loaded.rules.admin):
        print(f"spendgate: {say('app.admin_open', settings.language, address=settings.admin)}", file=sys.stderr)
        return EXIT_MISTAKES
    try:
        keeper = _keeper(settings)
        spare_the_collector()
        take_short_turns()
        keeper.fork(loaded.rules)  # before there is a thread or a loop; it loads the control plane while we start
        return uvloop.run(_serve(settings, loaded.rules, env, keeper, show))
    except CannotStart as problem:
        print(f"spendgate: {problem}", file=sys.stderr)
        return EXIT_UNAVAILABLE


async def _serve(settings: Settings, rules: RuleSet, env: Mapping[str, str], keeper: Keeper, show: Show) -> int:
    store: Embedded | None = None
    watch: asyncio.Task[None] | None = None
    try:
        if settings.redis_url is None:
            try:
                store = await asyncio.to_thread(embedded.open, settings.data, tcp_port=settings.store_tcp_port)
            except embedded.EmbeddedUnavailable as problem:
                raise CannotStart(str(problem)) from problem
            watch = asyncio.create_task(store.watch())
        url = settings.redis_url or (store.url if store else "")
        keeper.give(url)
        if settings.workers == 1:
            await _run_alone(settings, rules, env, url, store, keeper, show)
        else:
            await _supervise(settings, rules, url, store, keeper, show)
    finally:
        await keeper.stop()
        if watch is not None:
            watch.cancel()
        if store is not None:
            await asyncio.to_thread(store.close)
    return EXIT_OK


def _stop_event() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _run_alone(
    settings: Settings,
    rules: RuleSet,
    env: Mapping[str, str],
    url: str,
    store: Embedded | None,
    keeper: Keeper,
    show: Show,
) -> None:
    stop = _stop_event()
    worker = Worker(settings, url, rules, env, version())
    keeping: asyncio.Task[None] | None = None
    try:
        try:
            await worker.start()
        except OSError as problem:
            raise _address_taken(settings.listen, problem, settings.language) from problem
        keeping = _keep(keeper, worker.store, lambda: True)
        host, port = worker.listener.addresses[0]
        await _welcome(settings, rules, url, store, Address(host, port), keeper.address, show)
        await stop.wait()
        log.info("proxy.stopping", in_flight=worker.listener.in_flight)
    finally:
        if keeping is not None:
            await worker.stop()
            keeping.cancel()
        await keeper.stop()
        log.info("proxy.stopped")


def _keep(keeper: Keeper, store: Store, running: Callable[[], bool]) -> asyncio.Task[None]:
    """Keep the control process, and let it know how the proxy is: a store that is back, at once."""

    def readiness() -> Readiness:
        return Readiness(rules_loaded=True, store_reachable=store.connected, workers_running=running())

    store.on_connected.append(lambda: keeper.tell(readiness()))
    return asyncio.create_task(keeper.keep(readiness), name="keep-control")


def _keeper(settings: Settings) -> Keeper:
    try:
        return Keeper(settings, claim(settings.admin))
    except OSError as problem:
        raise _address_taken(settings.admin, problem, settings.language) from problem


def _address_taken(address: Address, problem: OSError, language: str) -> CannotStart:
    reason = problem.strerror or str(problem)
    return CannotStart(say("app.cannot_listen", language, address=address, reason=reason))


async def _welcome(
    settings: Settings,
    rules: RuleSet,
    url: str,
    store: Embedded | None,
    listen: Address,
    admin: Address,
    show: Show,
) -> None:
    """Print the start page: where the proxy is, how much is left, what to paste."""
    log.info("proxy.started", listen=str(listen), admin=str(admin), digest=rules.digest)
    facts = Facts(
        version=version(),
        rules=rules,
        levels=await _levels(settings, rules, url),
        listen=str(listen),
        admin=str(admin),
        store=str(settings.data) if store is not None else _without_password(url),
        redis_cli=store.cli if store is not None else f"redis-cli -u {_without_password(url)}",
        embedded=store is not None,
        workers=settings.workers,
    )
    show(facts)


async def _levels(settings: Settings, rules: RuleSet, url: str) -> list[dict[str, Any]]:
    """Where every budget stands now, as `status --json` tells it; none when the store cannot be asked."""
    try:
        async with opened(url, settings.tenant) as ledger:
            return await ledger.levels(rules.budgets, time.time_ns() // 1_000_000)
    except StoreUnavailable as problem:
        log.warning("store.unreachable", reason=str(problem))
        return []


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


# --- several workers ------------------------------------------------------------------------------------------------


def _work(settings: Settings, url: str) -> None:
    """A worker process: loads the rules itself, shares the port, ends with its supervisor."""
    configure(settings.log_format, settings.log_level)
    take_short_turns()
    uvloop.run(_work_until_stopped(settings, url))


async def _work_until_stopped(settings: Settings, url: str) -> None:
    stop = _stop_event()
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Readable when the supervisor is gone, however it went.
        asyncio.get_running_loop().add_reader(parent.sentinel, stop.set)
    env = environ()
    loaded = await asyncio.to_thread(rules_file.load_file, settings.rules, env)
    if loaded.rules is None:
        log.error("worker.rules_refused", mistakes=len(loaded.mistakes))
        return
    worker = Worker(settings, url, loaded.rules, env, version())
    await worker.start()
    await stop.wait()
    await worker.stop()


async def _supervise(
    settings: Settings, rules: RuleSet, url: str, store: Embedded | None, keeper: Keeper, show: Show
) -> None:
    stop = _stop_event()
    with socket.socket(socket.AF_INET6 if ":" in settings.listen.host else socket.AF_INET) as claim:
        # Bound, never listening: holds the port for the workers, and turns port 0 into a real one.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            claim.bind((settings.listen.host, settings.listen.port))
        except OSError as problem:
            raise _address_taken(settings.listen, problem, settings.language) from problem
        host, port = claim.getsockname()[:2]
        shared = settings.with_listen(Address(host, port))
        context = multiprocessing.get_context("spawn")
        workers: list[multiprocessing.process.BaseProcess] = []

        def start_one() -> multiprocessing.process.BaseProcess:
            process = context.Process(target=_work, args=(shared, url), name="spendgate-worker")
            process.start()
            return process

        probe = Store(url, client_name="spendgate-supervisor")
        await probe.start()
        workers = [start_one() for _ in range(settings.workers)]
        listening = asyncio.Event()

        def running() -> bool:
            return listening.is_set() and all(process.is_alive() for process in workers)

        keeping = _keep(keeper, probe, running)
        try:
            await _wait_listening(host, port, workers)
            listening.set()
            await _welcome(settings, rules, url, store, Address(host, port), keeper.address, show)
            while not stop.is_set():
                for index, process in enumerate(workers):
                    if not process.is_alive():
                        log.error("worker.died", pid=process.pid, exitcode=process.exitcode)
                        workers[index] = start_one()
                try:
                    await asyncio.wait_for(stop.wait(), _RESTART_PAUSE_S)
                except TimeoutError:
                    continue
        finally:
            for process in workers:
                process.terminate()
            deadline = time.monotonic() + settings.drain_s + 10
            for process in workers:
                await asyncio.to_thread(process.join, max(0.1, deadline - time.monotonic()))
                if process.is_alive():
                    process.kill()
            keeping.cancel()
            await keeper.stop()
            await probe.close()
            log.info("proxy.stopped")


async def _wait_listening(host: str, port: int, workers: list[multiprocessing.process.BaseProcess]) -> None:
    """Until the first worker accepts connections, so that the start page tells the truth."""
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    while any(process.is_alive() for process in workers):
        try:
            _, writer = await asyncio.open_connection(reach, port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise CannotStart("no worker could start; its log says why")
