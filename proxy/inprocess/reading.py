"""What the results of a call tell the rule that prices it: whole answers, and streams item by item.

Knows the meter and how answers look; no money, no store, no thread.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from proxy.core.meter import Meter
from proxy.core.model import Outbound, Usage
from proxy.inprocess import answers, endpoints
from proxy.inprocess.answers import Answer
from proxy.inprocess.question import Question, Terms


class Reading:
    """One call's. outbound: the request as which it is priced; an answer may correct a guess.

    items: of the stream, kept where the program itself makes the cost of them.
    """

    __slots__ = ("_question", "_terms", "items", "meter", "needs_answer", "outbound")

    def __init__(self, asked: Question, terms: Terms) -> None:
        self._question = asked
        self._terms = terms
        self.outbound: Outbound = asked.outbound
        self.meter: Meter | None = None
        self.items: list[Any] = []
        price = asked.rule.price
        by_tokens = price.catalog is not None or price.tokens is not None
        self.needs_answer = by_tokens or asked.rule.needs_response or price.per_kb is not None

    def show(self, result: Any) -> None:
        """An answer that came whole, shown by the program."""
        told = answers.answer(self._picked(result))
        if self.needs_answer and told.body is not None:
            self.meter = self._fed(told)

    def told(self, result: Any) -> Answer:
        """What a function's result says of the answer: all that the rule needs, else its status."""
        if self.needs_answer:
            return answers.answer(self._picked(result))
        status = answers.status_of(result)
        return Answer(status, answers.headers_of(result)) if status is not None else _NOTHING

    def usage(self, told: Answer, seconds: Decimal) -> Usage:
        """The usage of a call whose answer came whole."""
        if told.body is None or not self.needs_answer:
            return Usage(status=told.status, sent=True, seconds=seconds, bytes_up=self.outbound.body_size or 0)
        self.meter = self._fed(told)
        return self.finish(seconds, complete=True)

    def saw(self, item: Any) -> Meter | None:
        """One item of a stream; the meter that counted it, None where it says nothing."""
        if callable(self._terms.cost):
            self.items.append(item)
        if not self.needs_answer:
            return None
        event = answers.event(self._picked(item))
        if event is None:
            return None
        meter = self.meter
        if meter is None:
            self._correct(event.removeprefix(b"data: "))
            meter = self.meter = Meter(self._question.rule, self.outbound, count_tokens=True)
            meter.head(200, answers.EVENTS)
        meter.feed(event)
        return meter

    def finish(self, seconds: Decimal, *, complete: bool) -> Usage:
        """The usage of what was metered. Only where something was."""
        assert self.meter is not None  # noqa: S101
        return self.meter.finish(complete, bytes_up=self.outbound.body_size or 0, seconds=seconds, sent=True)

    def _picked(self, result: Any) -> Any:
        return self._terms.response(result) if self._terms.response is not None else result

    def _fed(self, told: Answer) -> Meter:
        body = told.body or b""
        self._correct(body)
        meter = Meter(self._question.rule, self.outbound, count_tokens=False)
        meter.head(told.status, told.headers)
        meter.feed(body)
        return meter

    def _correct(self, body: bytes) -> None:
        if self._question.guessed and (path := endpoints.of_answer(body)) is not None:
            self.outbound = replace(self.outbound, path=path)


_NOTHING = Answer(headers=())
