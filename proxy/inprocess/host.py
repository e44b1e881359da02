"""What a process has one of: the rules, the gate, and a background thread that looks after what is under way.

A program's threads and event loops ask and state on connections of their own (direct.py). The background thread has the
store's own connection, as a proxy's worker has; it renews leases, repeats what was not confirmed, watches rules.yaml,
and asks for those who may have to wait (detour.py). What is guaranteed when:

- Before a function begins, its estimate is reserved in the store, or the call is refused.
- Before a call returns, its end is written to the store's connection, and nobody waits for the answer: whatever this
  thread, or this event loop, does next, and whoever it tells, finds the call settled. A question on another connection
  may overtake it by microseconds, but is not refused for that: it is asked once more behind it.
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
import time
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
from proxy.core.model import Admitted, Ask, Bill, EstimateMode, Reason, RuleSet
from proxy.core.outcome import Outcome, Verdict
from proxy.core.text import say
from proxy.inprocess.detour import Detour
from proxy.inprocess.direct import Answer, Direct
from proxy.inprocess.errors import ConfigurationError
from proxy.log import configure_library
from proxy.state import embedded
from proxy.state.gate import Gate
from proxy.state.keys import Keys
from proxy.state.store import Store

if TYPE_CHECKING:
    from proxy.inprocess.question import Question
    from proxy.state.line import Line
    from proxy.state.statements import Statement

log = structlog.get_logger()

_LEARNED: Final = EstimateMode.LEARNED  # kept: an enum looks its members up slowly
_FAILURE: Final = Verdict.FAILURE
START_WITHIN_S: Final = 30.0
END_WITHIN_S: Final = 5.0
ASKED_AT_ONCE: Final = 128  # questions that the store has before it; with thousands the last would seem unanswered


@dataclass(frozen=True, slots=True)
class Configuration:
    """What `configure` was told; None = as the environment says."""

    rules: str | None = None
    redis: str | None = None
    data: str | None = None
    caller: str | None = None
    tenant: str | None = None


class Host:
    """Made by `host()`. Raises ConfigurationError when the rules or the store of the data folder cannot be used."""

    def __init__(self, configuration: Configuration) -> None:
        self.pid = _this_process
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
        self._running: set[str] = set()  # calls admitted and not ended
        self._stating: set[str] = set()  # calls whose end goes the long way just now
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
        self._detour = Detour(self.gate, self._loop, self._spawn)
        self.direct = Direct(url, self.store, self.gate, self.hand_over, lambda: bool(self._stating) or self.gate.owes)
        work = [rules_file.watch(self.settings.rules, self._reload), self.gate.maintain(), self.direct.maintain()]
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
        return not self._stopping and self.pid == _this_process

    def stop(self, within_s: float = END_WITHIN_S) -> int:
        """Write every statement that can be written, then let go of the store; returns how many are left."""
        if not self.usable:
            return 0
        left = self.flush(within_s)
        self.direct.close()
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

    def forget(self) -> None:
        """In a forked child: close its copies of this process's connections."""
        self.direct.forget()
        self.store.forget()

    async def _end(self) -> None:
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        await self.store.close()

    def flush(self, within_s: float) -> int:
        """Wait until the store has confirmed every statement made so far; returns how many it has not in that time."""
        until_s = time.monotonic() + within_s
        self.direct.drain(within_s)
        left: int = self._run_there(self._drain(max(0.0, until_s - time.monotonic()))).result()
        return left

    async def _drain(self, within_s: float) -> int:
        until_s = self._loop.time() + within_s
        while self._tasks and (left_s := until_s - self._loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left_s)
        return len(self._tasks) + await self.gate.drain(max(0.0, until_s - self._loop.time()))

    def _run_there(self, work: Coroutine[Any, Any, int] | Coroutine[Any, Any, None]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- the question --------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """How many are admitted and not ended."""
        return len(self._running)

    def ask(self, question: Question, ask: Ask) -> Answer:
        """Ask and wait, from any thread but the host's own: the answer, and the line on which to state the end.

        Interrupted, the reservation is released.
        """
        if question.rule.estimate is _LEARNED:
            ask = self._as_learned(question, ask)
        answer = self.direct.ask(ask) if self._goes_direct(ask) else None
        if answer is None:
            answer = self._detour.ask(ask), None
        if isinstance(answer[0], Admitted):
            self._running.add(ask.id)
        return answer

    async def ask_async(self, question: Question, ask: Ask) -> Answer:
        """The same from any event loop. Cancelled, the reservation is released."""
        if question.rule.estimate is _LEARNED:
            ask = self._as_learned(question, ask)
        answer = await self.direct.ask_async(ask) if self._goes_direct(ask) else None
        if answer is None:
            answer = await self._detour.ask_async(ask), None
        if isinstance(answer[0], Admitted):
            self._running.add(ask.id)
        return answer

    def _goes_direct(self, ask: Ask) -> bool:
        return self.direct.possible and not (ask.guards.limited and self.gate.waiting.concerns(ask))

    def _as_learned(self, question: Question, ask: Ask) -> Ask:
        """The question of a rule that says so with what such calls have cost lately as its estimate."""
        rules, rule, estimate = question.subject.rules, question.rule, ask.estimate
        if question.given or estimate.basis != "worst_case":
            return ask
        learned, old = self.gate.learned_costs.known(rule.id, estimate.model)
        if old:
            self.hand_over(self.gate.learned_costs.of, rule.id, estimate.model)
        if learned is None or learned >= estimate.cost.atoms[rules.currency]:
            return ask
        return replace(ask, estimate=price.estimate(rules, rule, question.outbound, ask.at_ms, learned))

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

    def denied(self, reason: Reason, api: str, timezone: str) -> None:
        """Count a refusal."""
        self.hand_over(self.gate.count_denied, reason, api, timezone)

    def settle(
        self, ticket: Admitted, line: Line | None, bill: Bill, status: int | None, *, learn: bool, outcome: Outcome
    ) -> None:
        """Charge a call for what became of it, on the line that asked for it."""
        if outcome.verdict is _FAILURE:
            self.hand_over(self.gate.count_failed, ticket.ask, outcome)
        self._state(self.gate.statement(ticket, bill, status, learn=learn, outcome=outcome), ticket.ask, line)

    def void(self, ask: Ask, line: Line | None) -> None:
        """Release a reservation whose call was never made."""
        statement = self.gate.release(ask)
        if statement is not None:
            self._state(statement, ask, line)
        self._running.discard(ask.id)

    def _state(self, statement: Statement, ask: Ask, line: Line | None) -> None:
        self._running.discard(ask.id)
        if not self.usable:
            return  # a forked child, or too late: the lease says it
        if line is not None and self._goes_direct(ask):
            self.direct.tell(statement, line)
        else:
            self._stating.add(ask.id)
            self.spawn(self._made(statement, ask))

    async def _made(self, statement: Statement, ask: Ask) -> None:
        try:
            await self.gate.make(statement, ask)
        finally:
            self._stating.discard(ask.id)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# --- the process's own ----------------------------------------------------------------------------------------------

_this_process = os.getpid()  # kept: the system is asked for it once, not at every end of a call
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
    global _host, _lock, _this_process
    _this_process = os.getpid()
    _lock = threading.Lock()  # another thread of the parent may have held it
    if _host is not None:
        _host.forget()
        atexit.unregister(_host.stop)
        _inherited.append(_host)
        _host = None


os.register_at_fork(after_in_child=_after_fork)
