"""The names that programs use: decorators for functions, a context manager for blocks.

Everything about a call is decided elsewhere (question.py, call.py); here a function of any kind becomes one that asks
first, with its own signature and type.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from proxy.core.guards import QUEUE, Counts, Limit, Limited
from proxy.inprocess import host as hosts
from proxy.inprocess.answers import PLAIN
from proxy.inprocess.call import Call
from proxy.inprocess.control import Control
from proxy.inprocess.question import Amount, Body, Terms, joined
from proxy.inprocess.streams import delegated, is_stream, watched

MOST_CALLS: Final = 10**12
MOST_WAIT_S: Final = 3600

P = ParamSpec("P")
R = TypeVar("R")


def budget_controlled_api(
    api_name: str,
    essential: bool = False,
    *,
    rule: str | None = None,
    method: str | None = None,
    path: str | None = None,
    request: Body | Callable[..., Body] | None = None,
    response: Callable[[Any], Any] | None = None,
    estimate: Amount | Callable[..., Amount] | None = None,
    cost: Amount | Callable[[Any], Amount] | None = None,
    caller: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function run only while the budgets of `api_name` have the money for it, and count what it costs.

    For functions, coroutine functions, generators, async generators, and functions that return streams. Each call
    reserves its estimate before the function begins, and is charged what it did cost after its end, whatever that is.

    api_name: of an API in rules.yaml. essential: passes the restrict threshold (95 %), as long as there is money; False
    leaves it to the rule. rule: which rule of the API, by name; method, path: or the request that the function makes.
    Without them the rule is found by the arguments, see docs/python.md. request: the request's body, laid over the
    arguments, or a function of the arguments that returns it. response: what tells the usage, from the result.
    estimate: the most that a call can cost, or a function of the arguments. cost: what it did cost, or a function of
    the result (of a list of the items, for streams). Amounts are in the rules' currency; "0.02 USD" names another.
    caller: who calls, to the rules.

    The function raises BudgetExceededException, or a subclass of it, instead of running; ConfigurationError where the
    rules or an amount cannot be used.
    """
    terms = Terms(
        api_name,
        essential=essential,
        rule=rule,
        caller=caller,
        method=method,
        path=path,
        request=request,
        response=response,
        estimate=estimate,
        cost=cost,
    )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", _controlled(function, terms))

    return decorate


def api_rate_limited(
    api_name: str,
    *,
    per_second: int | None = None,
    per_minute: int | None = None,
    per_hour: int | None = None,
    per_day: int | None = None,
    concurrent: int | None = None,
    wait: float = 0,
    name: str | None = None,
    caller: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function run at most so often, counted over all threads, processes and machines on the store.

    For the same kinds of functions as `budget_controlled_api`, and together with it on one function: both are then one
    question, all or nothing. Alone it counts no money, and the ledger marks the call "unpriced". The limits that
    rules.yaml sets for the API hold besides, whether or not it knows the API.

    per_second ... per_day: calls in any window of that length; concurrent: calls at once. At least one is given.
    wait: for how many seconds a call waits for room at most, in order with those before it (100 in a process); it is
    refused at once where that is not enough.
    name: functions with the same one count together; by default all that limit this API this way. caller: who calls.

    The function raises RateLimitedException instead of running, with `retry_after` seconds. TypeError or ValueError
    here, where a limit is no positive whole number.
    """
    windows = {"second": per_second, "minute": per_minute, "hour": per_hour, "day": per_day, "": concurrent}
    limits: list[Limit] = []
    for per, most in windows.items():
        if most is None:
            continue
        if isinstance(most, bool) or not isinstance(most, int):
            raise TypeError(f"a rate limit is a whole number of calls, not {most!r}")
        if not 1 <= most < MOST_CALLS:
            raise ValueError(f"a rate limit is at least 1 and below {MOST_CALLS}, not {most}")
        limits.append(Limit(Counts.REQUESTS if per else Counts.CONCURRENT, most, per))
    if not limits:
        raise TypeError("api_rate_limited needs at least one of per_second, per_minute, per_hour, per_day, concurrent")
    if isinstance(wait, bool) or not isinstance(wait, int | float):
        raise TypeError(f"wait is a number of seconds, not {wait!r}")
    if not 0 <= wait <= MOST_WAIT_S:
        raise ValueError(f"wait is from 0 to {MOST_WAIT_S} seconds, not {wait}")
    wait_ms = round(wait * 1000)
    limited = Limited("program", name or api_name, tuple(limits), wait_ms, QUEUE if wait_ms else 0)
    terms = Terms(api_name, priced=False, limited=(limited,), caller=caller)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", _controlled(function, terms))

    return decorate


@dataclass(frozen=True, slots=True)
class _Mark:
    """On a decorated function: what a second decorator needs in order to join the first."""

    terms: Terms
    function: Callable[..., Any]
    wrapper: Callable[..., Any]


def _controlled(function: Callable[..., Any], terms: Terms) -> Callable[..., Any]:
    mark = getattr(function, "__spendgate__", None)
    if isinstance(mark, _Mark) and mark.wrapper is function:  # not one between ours, which only copied the mark
        both = joined(terms, mark.terms)
        if both is not None:
            function, terms = mark.function, both
    wrapper = _wrapped(function, terms)
    wrapper.__spendgate__ = _Mark(terms, function, wrapper)  # type: ignore[attr-defined]
    return wrapper


def _wrapped(function: Callable[..., Any], terms: Terms) -> Callable[..., Any]:
    control = Control(replace(terms, name=_name_of(function), signature=_signature_of(function)))
    if inspect.isasyncgenfunction(function):
        return _async_generator(function, control)
    if inspect.isgeneratorfunction(function):
        return _generator(function, control)
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, control)
    return _plain(function, control)


def _plain(function: Callable[..., Any], control: Control) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = control.begin(hosts.host(), args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        if type(result) not in PLAIN and inspect.isawaitable(result):
            return _awaited(result, call)
        return _ended(result, call)

    return wrapper


def _coroutine(function: Callable[..., Coroutine[Any, Any, Any]], control: Control) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        host = hosts.running() or await _started_host()
        call = await control.begin_async(host, args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        return _ended(result, call)

    return wrapper


def _generator(function: Callable[..., Generator[Any, Any, Any]], control: Control) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = control.begin(hosts.host(), args, kwargs)
        return (yield from delegated(function(*args, **kwargs), call))

    return wrapper


def _async_generator(function: Callable[..., AsyncGenerator[Any, Any]], control: Control) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        host = hosts.running() or await _started_host()
        call = await control.begin_async(host, args, kwargs)
        inner = function(*args, **kwargs)
        try:
            item = await anext(inner)
            while True:
                call.saw(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    item = await inner.athrow(error)
                else:
                    item = await (anext(inner) if sent is None else inner.asend(sent))
        except StopAsyncIteration:
            call.end_of_stream()
        except GeneratorExit:
            await inner.aclose()
            call.cut()
            raise
        except BaseException as error:
            await inner.aclose()
            call.fail(error)
            raise

    return wrapper


async def _awaited(work: Any, call: Call) -> Any:
    try:
        result = await work
    except BaseException as error:
        call.fail(error)
        raise
    return _ended(result, call)


def _ended(result: Any, call: Call) -> Any:
    if type(result) not in PLAIN and is_stream(result):
        return watched(result, call)
    call.end(result)
    return result


async def _started_host() -> hosts.Host:
    """This process's host, where it has not started: that takes half a second and does not hold up the loop."""
    return await asyncio.to_thread(hosts.host)


def _name_of(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", type(function).__qualname__)
    return _plain_name(module, name)


def _plain_name(module: str | None, name: str) -> str:
    """As the ledger shows it: "jobs.summarise", also of a function inside a function."""
    return f"{module or ''}.{name}".replace(".<locals>", "").replace(".<module>", "").strip(".")


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return None


# --- blocks ----------------------------------------------------------------------------------------------------------


class budget:
    """A block of code that is one paid call: `with budget("openai", estimate=20) as call: ...; call.cost(12.5)`.

    Takes what `budget_controlled_api` takes; request is the request's body. Entering raises BudgetExceededException
    when the money does not do. Leaving charges what `call.cost(...)` stated, or what the rule makes of
    `call.response(...)`; without either, the estimate. `async with` does the same in an event loop. One block is one
    call: make a new `budget` for each. name: what the ledger shows; by default the function around the block.
    """

    def __init__(
        self,
        api_name: str,
        essential: bool = False,
        *,
        estimate: Amount | None = None,
        cost: Amount | None = None,
        rule: str | None = None,
        method: str | None = None,
        path: str | None = None,
        request: Body | None = None,
        caller: str | None = None,
        name: str | None = None,
    ) -> None:
        frame = sys._getframe(1)
        around = _plain_name(frame.f_globals.get("__name__", ""), frame.f_code.co_qualname)
        self._control = Control(
            Terms(
                api_name,
                name=name or around,
                essential=essential,
                rule=rule,
                caller=caller,
                method=method,
                path=path,
                request=request,
                estimate=estimate,
                cost=cost,
            )
        )
        self._call: Call | None = None

    def __enter__(self) -> Call:
        self._fresh()
        self._call = self._control.begin(hosts.host(), (), {})
        return self._call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        if call is None:
            return
        if error is None:
            call.end()
        else:
            call.fail(error)

    async def __aenter__(self) -> Call:
        self._fresh()
        host = hosts.running() or await _started_host()
        self._call = await self._control.begin_async(host, (), {})
        return self._call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _fresh(self) -> None:
        if self._call is not None:
            raise RuntimeError("a budget block is one call: make a new budget(...) for each")
