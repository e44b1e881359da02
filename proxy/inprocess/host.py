"""One background thread a process that talks to the store: the same gate and the same scripts as a proxy's worker.

A program's threads and event loops hand their questions over and wait; statements are handed over and not waited for.
What is guaranteed when:

- Before a function begins, its estimate is reserved in the store, or the call is refused.
- What ends is stated in the order in which it ends, before any later question of this process: a program that calls
  again finds its own last call settled. Others see it as soon as it is written, well within a millisecond.
- A statement is kept and repeated until the store has confirmed it. `flush()` waits for that; the end of the
  interpreter does so too. A process that dies before leaves the reservation behind, and when its lease has run out any
  proxy or program on the same store charges it at the estimate ("unconfirmed").

Mutable state: which host is this process's, what `configure` said, and inside a host the current rules. After a fork
the child has no thread: it forgets the parent's host, whose connection and calls stay the parent's, and makes its own
at its first call.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec.structs import replace

from proxy import rules_file, settings
from proxy.core import price
from proxy.core.ids import RequestIds
from proxy.core.model import Admitted, Ask, Denied, EstimateMode, Reason, Rule, RuleSet, Usage
from proxy.core.outcome import Outcome
from proxy.core.text import say
from proxy.data.charge import Charge
from proxy.inprocess.errors import ConfigurationError
from proxy.log import configure_library
from proxy.state import embedded
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store

if TYPE_CHECKING:
    from proxy.inprocess.question import Question

log = structlog.get_logger()

START_WITHIN_S: Final = 30.0
END_WITHIN_S: Final = 5.0
ASKED_AT_ONCE: Final = 128  # questions that the store has before it; with thousands the last would seem unanswered

Answered = Admitted | Denied


@dataclass(frozen=True, slots=True)
class Configuration:
    """What `configure` was told; None = as the environment says."""

    rules: str | None = None
    redis: str | None = None
    data: str | None = None
    caller: str | None = None
    tenant: str | None = None


class Pending:
    """One question on its way. Everything but `wait` happens on the host's thread."""

    __slots__ = ("_ready", "_tell", "abandoned", "answer", "ask", "error", "task")

    def __init__(self, ask: Ask, tell: Callable[[], object] | None = None) -> None:
        self.ask = ask
        self.answer: Answered | None = None
        self.error: BaseException | None = None
        self.abandoned = False
        self.task: asyncio.Task[None] | None = None  # that asks
        self._tell = tell
        self._ready = threading.Lock()
        self._ready.acquire()

    def finish(self) -> None:
        if self._tell is not None:
            self._tell()
        else:
            self._ready.release()

    def wait(self) -> None:
        self._ready.acquire()

    def result(self) -> Answered:
        if self.error is not None:
            raise self.error
        assert self.answer is not None  # noqa: S101 - finished without an error
        return self.answer


class Host:
    """Made by `host()`. Raises ConfigurationError when the rules or the store of the data folder cannot be used."""

    def __init__(self, configuration: Configuration) -> None:
        self.pid = os.getpid()
        env = settings.environ()
        try:
            chosen = settings.load(env, rules=configuration.rules, redis=configuration.redis, data=configuration.data,
                                   tenant=configuration.tenant)  # fmt: skip
        except settings.SettingsError as error:
            raise ConfigurationError(f"{error.name}={error.value!r}: {error.remedy(settings.language(env))}") from None
        configure_library()
        self.settings = chosen
        self.caller = configuration.caller or settings.caller(env)
        self.rules = self._read_rules()
        self.ids = RequestIds(int.from_bytes(os.urandom(8), "big"))
        self._embedded = self._open_store()
        url = chosen.redis_url or (self._embedded.url if self._embedded is not None else "")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._upkeep: list[asyncio.Task[None]] = []
        self._stopping = False
        self.calls = 0  # admitted and not ended
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(url,), name="spendgate", daemon=True)
        self._thread.start()
        try:
            self._started.result(START_WITHIN_S)
        except BaseException:
            if self._embedded is not None:
                self._embedded.close()
            raise

    # --- life ----------------------------------------------------------------------------------------------------

    def _read_rules(self) -> RuleSet:
        loaded = rules_file.load_file(self.settings.rules, settings.environ())
        if loaded.rules is None:
            lines = "\n".join(mistake.render(self.settings.language) for mistake in loaded.mistakes)
            raise ConfigurationError(say("inprocess.rules_refused", self.settings.language, mistakes=lines))
        price.warm(loaded.rules)
        return loaded.rules

    def _open_store(self) -> embedded.Embedded | None:
        if self.settings.redis_url is not None:
            return None
        try:
            return embedded.open(self.settings.data)
        except embedded.EmbeddedUnavailable as error:
            text = say("inprocess.not_started", self.settings.language, problem=error)
            raise ConfigurationError(text) from error

    def _run(self, url: str) -> None:
        import uvloop

        self._loop = loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._begin(url))
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        try:
            loop.run_forever()
        finally:
            loop.close()

    async def _begin(self, url: str) -> None:
        self.store = Store(url, client_name="spendgate-program")
        await self.store.start()
        keys = Keys(self.settings.tenant)
        self.gate = Gate(
            self.store,
            keys,
            lease_s=self.settings.lease_s,
            timezone=self.rules.timezone,
            asked_at_once=ASKED_AT_ONCE,
        )
        work = [rules_file.watch(self.settings.rules, self._reload), self.gate.maintain()]
        if self._embedded is not None:
            work.append(self._embedded.watch())
        self._upkeep = [self._loop.create_task(one) for one in work]

    async def _reload(self) -> None:
        """A file with mistakes changes nothing but what the log says."""
        loaded = await asyncio.to_thread(rules_file.load_file, self.settings.rules, settings.environ())
        if loaded.rules is None:
            for mistake in loaded.mistakes:
                log.error("rules.rejected", mistake=mistake.render(self.rules.language))
        elif loaded.rules.digest != self.rules.digest:
            await asyncio.to_thread(price.warm, loaded.rules)
            self.rules = loaded.rules
            log.info("rules.reloaded", digest=loaded.rules.digest)

    @property
    def usable(self) -> bool:
        """Whether this process may still hand something over: not stopped, and not inherited by a fork."""
        return not self._stopping and self.pid == os.getpid()

    def stop(self, within_s: float = END_WITHIN_S) -> int:
        """Write every statement that can be written, then let go of the store; returns how many are left."""
        if not self.usable:
            return 0
        left = self.flush(within_s)
        self._stopping = True
        if left:
            # Their reservations stay behind, and are charged when their leases have run out.
            log.warning("settlements.left", number=left)
        with contextlib.suppress(TimeoutError):
            self._run_there(self._end()).result(within_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(within_s)
        if self._embedded is not None:
            self._embedded.close()
        return left

    async def _end(self) -> None:
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        await self.store.close()

    def flush(self, within_s: float) -> int:
        """Wait until the store has confirmed every statement made so far; returns how many it has not in that time."""
        left: int = self._run_there(self._drain(within_s)).result()
        return left

    async def _drain(self, within_s: float) -> int:
        until_s = self._loop.time() + within_s
        while self._tasks and (left_s := until_s - self._loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left_s)
        return len(self._tasks) + await self.gate.drain(max(0.0, until_s - self._loop.time()))

    def _run_there(self, work: Coroutine[Any, Any, int] | Coroutine[Any, Any, None]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- the question --------------------------------------------------------------------------------------------

    def ask(self, question: Question, ask: Ask) -> Answered:
        """Ask and wait, from any thread but the host's own. Interrupted, the reservation is released."""
        pending = Pending(ask)
        self._loop.call_soon_threadsafe(self._spawn, self._admit(question, pending))
        try:
            pending.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(self._abandon, pending)
            raise
        return pending.result()

    async def ask_async(self, question: Question, ask: Ask) -> Answered:
        """Ask from any event loop. Cancelled, the reservation is released."""
        there = asyncio.get_running_loop()
        told: asyncio.Future[None] = there.create_future()

        def tell() -> None:
            try:
                there.call_soon_threadsafe(_set, told)
            except RuntimeError:  # the loop that asked was closed meanwhile
                self._abandon(pending)

        pending = Pending(ask, tell)
        self._loop.call_soon_threadsafe(self._spawn, self._admit(question, pending))
        try:
            await told
        except BaseException:
            self._loop.call_soon_threadsafe(self._abandon, pending)
            raise
        return pending.result()

    async def _admit(self, question: Question, pending: Pending) -> None:
        pending.task = asyncio.current_task()
        try:
            ask = pending.ask
            rules, rule = question.subject.rules, question.rule
            if rule.estimate is EstimateMode.LEARNED and not question.given and ask.estimate.basis == "worst_case":
                ask = pending.ask = replace(ask, estimate=self._learned(rules, rule, question, ask))
            pending.answer = await self.gate.admit(ask)
        except BaseException as error:
            pending.error = error
        if isinstance(pending.answer, Admitted):
            self.calls += 1
        if pending.abandoned:
            self._release(pending)
        else:
            pending.finish()

    def _learned(self, rules: RuleSet, rule: Rule, question: Question, ask: Ask) -> Any:
        learned = self.gate.learned_costs.of(rule.id, ask.estimate.model)
        if learned is None or learned >= ask.estimate.cost.atoms[rules.currency]:
            return ask.estimate
        return price.estimate(rules, rule, question.outbound, ask.at_ms, learned)

    def _abandon(self, pending: Pending) -> None:
        """Nobody waits for the answer any more: it leaves the queue that it may stand in."""
        if pending.answer is not None or pending.error is not None:
            self._release(pending)
        elif pending.task is not None:
            pending.task.cancel()
        pending.abandoned = True

    def _release(self, pending: Pending) -> None:
        if isinstance(pending.answer, Admitted):
            self._spawn(self.void(pending.ask))

    # --- the statement -------------------------------------------------------------------------------------------

    def hand_over(self, action: Callable[..., object], *args: Any) -> None:
        """Do something on the host's thread, after everything handed over before; nobody waits for it."""
        if self.usable:
            self._loop.call_soon_threadsafe(action, *args)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run on the host's thread, and be waited for by `flush`. From any thread; never waits."""
        if self.usable:
            self._loop.call_soon_threadsafe(self._spawn, work)
        else:
            work.close()

    def wait_for_turn(self, within_s: float) -> None:
        """Wait until what was handed over before has begun."""
        if self.usable:
            self._run_there(asyncio.sleep(0)).result(within_s)

    def denied(self, reason: Reason, api: str, timezone: str) -> None:
        """Count a refusal."""
        self.hand_over(self.gate.count_denied, reason, api, timezone)

    async def settle(self, charge: Charge, usage: Usage, unseen: int | None, outcome: Outcome) -> None:
        """Charge a call for what became of it; on the host's thread."""
        try:
            await charge.settle(usage, unseen, outcome=outcome)
        finally:
            self.calls -= 1

    async def void(self, ask: Ask) -> None:
        """Release a reservation whose call was never made; on the host's thread."""
        try:
            await self.gate.void(ask)
        finally:
            self.calls -= 1

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


# --- the process's own ----------------------------------------------------------------------------------------------

_lock = threading.Lock()
_host: Host | None = None
_configuration = Configuration()
_inherited: list[Host] = []  # of the parent process: kept, because what their destructors close is the parent's


def host() -> Host:
    """This process's host, started at the first call. Raises ConfigurationError."""
    found = _host
    return found if found is not None else _start()


def _start() -> Host:
    global _host
    with _lock:
        if _host is None:
            _host = Host(_configuration)
            atexit.register(_host.stop)
        return _host


def running() -> Host | None:
    """This process's host, if it has started."""
    return _host


def configure(
    *,
    rules: str | Path | None = None,
    redis: str | None = None,
    data: str | Path | None = None,
    caller: str | None = None,
    tenant: str | None = None,
) -> None:
    """Say where the rules and the store are, for the calls that follow; what is left out the environment says.

    rules: a rules.yaml (SPENDGATE_RULES, else ./rules.yaml). redis: a redis://, rediss:// or unix:// URL
    (SPENDGATE_REDIS, REDIS_URL); without one the embedded store of the `data` folder is used, and started if no proxy
    runs it (SPENDGATE_DATA, else ./.spendgate if it exists, else ~/.local/share/spendgate). caller: who this program is
    to the rules (SPENDGATE_CALLER). tenant: whose counters (SPENDGATE_TENANT). Nothing is read or connected before the
    first call. Calls that are running end with what they began with.
    """
    global _host, _configuration
    with _lock:
        old, _host = _host, None
        _configuration = Configuration(
            str(rules) if rules is not None else None, redis, str(data) if data is not None else None, caller, tenant
        )
    if old is not None and not old.calls:
        atexit.unregister(old.stop)
        old.stop()  # else its calls end with it, and it with the interpreter


def flush(timeout_s: float = END_WITHIN_S) -> int:
    """Wait until the store has confirmed all that ended so far; returns how many statements it has not.

    After that every finished call is in the ledger. A program need not call it: the end of the interpreter does.
    """
    found = _host
    return found.flush(timeout_s) if found is not None else 0


def _after_fork() -> None:
    global _host, _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    if _host is not None:
        atexit.unregister(_host.stop)
        _inherited.append(_host)
        _host = None


os.register_at_fork(after_in_child=_after_fork)
