"""What results and exceptions tell, and which endpoint arguments and answers look like."""

from __future__ import annotations

import dataclasses
import socket
from types import SimpleNamespace
from typing import Any

import msgspec
import pydantic
import pytest

from proxy.core.outcome import End
from proxy.inprocess import answers, endpoints
from proxy.inprocess.question import encoded


class Message(pydantic.BaseModel):
    role: str
    finish_reason: str = pydantic.Field(alias="finishReason", default="stop")


@dataclasses.dataclass
class Plain:
    pages: int


class Struct(msgspec.Struct):
    pages: int


class Odd:
    def model_dump_json(self, **_: Any) -> str:
        raise RuntimeError("broken object")


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        (None, 200, None),
        ({"pages": 4}, 200, b'{"pages":4}'),
        ([{"pages": 4}], 200, b'[{"pages":4}]'),
        ('{"pages": 4}', 200, b'{"pages": 4}'),
        ("Hello.", 200, None),
        (b'{"pages": 4}', 200, b'{"pages": 4}'),
        (Message(role="user"), 200, b'{"role":"user","finishReason":"stop"}'),
        ({"message": Message(role="user")}, 200, b'{"message":{"role":"user","finishReason":"stop"}}'),
        (Plain(4), 200, b'{"pages":4}'),
        (Struct(4), 200, b'{"pages":4}'),
        (SimpleNamespace(status_code=503, content=b"no", headers={}), 503, b"no"),
        (SimpleNamespace(status=200, _body=b"{}", headers={}), 200, b"{}"),
        (SimpleNamespace(status_code=200, _content_consumed=False, content=b"x"), 200, None),
        (SimpleNamespace(code="not a status"), 200, None),
        (Odd(), 200, None),
        (object(), 200, None),
        (42, 200, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result(result: object, status: int, body: bytes | None) -> None:
    told = answers.answer(result)
    assert (told.status, told.body) == (status, body)


def test_headers_come_without_the_coding_that_the_client_has_undone() -> None:
    response = SimpleNamespace(
        status_code=200, content=b"{}", headers={"Content-Type": "x/y", "Content-Encoding": "br"}
    )
    assert answers.answer(response).headers == ((b"content-type", b"x/y"),)


def chained(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


class ConnectError(Exception):
    """As httpx names it."""


class ReadTimeout(Exception):
    """As httpx and requests name it."""


class RemoteProtocolError(Exception):
    """As httpx names it."""


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ConnectionRefusedError(), End.UNREACHABLE),
        (socket.gaierror(), End.UNREACHABLE),
        (chained(RuntimeError("connection error"), ConnectError()), End.UNREACHABLE),
        (TimeoutError(), End.TIMED_OUT),
        (chained(RuntimeError(), ReadTimeout()), End.TIMED_OUT),
        (chained(RuntimeError(), RemoteProtocolError()), End.CUT),
        (LookupError(), End.ABORTED),
        (KeyboardInterrupt(), End.ABORTED),
    ],
    ids=lambda value: repr(value),
)
def test_an_exception(error: BaseException, end: End) -> None:
    assert answers.end_of(error, None) is end
    assert answers.end_of(error, 500) is End.ANSWERED


@pytest.mark.parametrize(
    ("thing", "status"),
    [
        (SimpleNamespace(status_code=404), 404),
        (SimpleNamespace(response=SimpleNamespace(status_code=429)), 429),
        (SimpleNamespace(response={"ResponseMetadata": {"HTTPStatusCode": 400}}), 400),
        (SimpleNamespace(code=77), None),
        (SimpleNamespace(status=True), None),
        ({"status": 500}, None),
        (ValueError("status"), None),
    ],
)
def test_a_status(thing: object, status: int | None) -> None:
    assert answers.status_of(thing) == status


@pytest.mark.parametrize(
    ("item", "event"),
    [
        ("word", b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'),
        ("", None),
        (b"data: {}\n\n", b"data: {}\n\n"),
        ({"a": 1}, b'data: {"a":1}\n\n'),
        (object(), None),
    ],
)
def test_an_item_of_a_stream(item: object, event: bytes | None) -> None:
    assert answers.event(item) == event


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"object":"chat.completion"}', "/v1/chat/completions"),
        (b'{"object":"chat.completion.chunk"}', "/v1/chat/completions"),
        (b'{"object":"response"}', "/v1/responses"),
        (b'{"type":"response.created"}', "/v1/responses"),
        (b'{"type":"message"}', "/v1/messages"),
        (b'{"type":"message_start"}', "/v1/messages"),
        (b'{"object":"list","data":[{"object":"embedding"}]}', "/v1/embeddings"),
        (b'{"object":"text_completion"}', "/v1/completions"),
        (b'{"object":"list","data":[]}', None),
        (b'{"object":1}', None),
        (b"not json", None),
    ],
)
def test_an_answer_says_what_endpoint_it_came_from(body: bytes, path: str | None) -> None:
    assert endpoints.of_answer(body) == path


def test_arguments_that_are_no_json_are_left_out_of_the_body() -> None:
    body = {"to": ["a"], "client": object(), "model": Message(role="user"), "callback": print, "when": 1.5}
    assert encoded(body) == b'{"to":["a"],"model":{"role":"user","finishReason":"stop"},"when":1.5}'
