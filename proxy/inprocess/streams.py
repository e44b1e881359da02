"""Results that go on after their function has returned: generators and the SDKs' streams, metered as they are read.

A stand-in takes the stream's place: it passes every item on, shows it to the call, and ends the call with the stream,
whether that is read to its end, closed, fails, or is forgotten. To the program it looks like the stream itself.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

from proxy.inprocess.errors import BudgetExceededException

if TYPE_CHECKING:
    from proxy.inprocess.call import Call


def is_stream(result: Any) -> bool:
    """Whether a result yields its items later. Open files do too, and are left alone."""
    return isinstance(result, Iterator | AsyncIterator) and not isinstance(result, io.IOBase)


def watched(stream: Any, call: Call, *, ends: bool = True) -> Any:
    """The stream's stand-in. ends: the call ends with the stream."""
    if isinstance(stream, AsyncIterator):
        return WatchedAsync(stream, call, ends)
    return Watched(stream, call, ends)


class _StandIn:
    """What both kinds share: every other attribute is the stream's own, and so is its class to `isinstance`."""

    __slots__ = ("__weakref__", "_call", "_ends", "_stream")

    def __init__(self, stream: Any, call: Call, ends: bool) -> None:
        self._stream = stream
        self._call = call
        self._ends = ends

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _end(self) -> None:
        if self._ends:
            self._call.end_of_stream()

    def _fail(self, error: BaseException) -> None:
        if self._ends:
            self._call.fail(error)

    def _cut(self) -> None:
        if self._ends:
            self._call.cut()

    def __del__(self) -> None:
        if self._ends:
            self._call.cut()  # of a call that has ended: nothing


class Watched(_StandIn):
    __slots__ = ()

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> Any:
        return self._step(lambda: next(self._stream))

    def send(self, value: Any) -> Any:
        return self._step(lambda: self._stream.send(value))

    def throw(self, *error: Any) -> Any:
        return self._step(lambda: self._stream.throw(*error))

    def _step(self, step: Any) -> Any:
        try:
            item = step()
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            self._fail(error)
            raise
        self._shown(item)
        return item

    def _shown(self, item: Any) -> None:
        try:
            self._call.saw(item)
        except BudgetExceededException:
            self.close()
            raise

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
        self._cut()

    def __enter__(self) -> Watched:
        enter = getattr(self._stream, "__enter__", None)
        if enter is not None:
            enter()
        return self

    def __exit__(self, *error: Any) -> Any:
        leave = getattr(self._stream, "__exit__", None)
        answer = leave(*error) if leave is not None else None
        self._cut()
        return answer


class WatchedAsync(_StandIn):
    __slots__ = ()

    def __aiter__(self) -> WatchedAsync:
        return self

    async def __anext__(self) -> Any:
        return await self._step(self._stream.__anext__())

    async def asend(self, value: Any) -> Any:
        return await self._step(self._stream.asend(value))

    async def athrow(self, *error: Any) -> Any:
        return await self._step(self._stream.athrow(*error))

    async def _step(self, step: Any) -> Any:
        try:
            item = await step
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException as error:
            self._fail(error)
            raise
        try:
            self._call.saw(item)
        except BudgetExceededException:
            await self.close()
            raise
        return item

    async def close(self) -> None:
        close = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        if close is not None:
            await close()
        self._cut()

    aclose = close

    async def __aenter__(self) -> WatchedAsync:
        enter = getattr(self._stream, "__aenter__", None)
        if enter is not None:
            await enter()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        leave = getattr(self._stream, "__aexit__", None)
        answer = await leave(*error) if leave is not None else None
        self._cut()
        return answer


# --- generator functions ---------------------------------------------------------------------------------------------


def delegated(generator: Generator[Any, Any, Any], call: Call) -> Generator[Any, Any, Any]:
    """`yield from generator`, with every item shown to the call. The semantics are those of PEP 380."""
    try:
        item = next(generator)
        while True:
            call.saw(item)
            try:
                sent = yield item
            except GeneratorExit:
                generator.close()
                call.cut()
                raise
            except BaseException as error:
                item = generator.throw(error)
            else:
                item = next(generator) if sent is None else generator.send(sent)
    except StopIteration as stop:
        call.end_of_stream()
        return stop.value
    except GeneratorExit:
        call.cut()
        raise
    except BaseException as error:
        generator.close()
        call.fail(error)
        raise
