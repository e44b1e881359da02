"""What a function's result or exception tells of the call to the API: its status, and where the usage can be read.

Knows results by what they can do, not by who made them: objects of the SDKs (pydantic), responses of HTTP clients,
plain data, bytes. Never raises on a result. Pure.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.core.outcome import End

# Types of results that say nothing of a status, are no streams, and are not awaited.
PLAIN: Final = frozenset({dict, list, tuple, str, bytes, int, float, bool, type(None)})
Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final = ((b"content-type", b"application/json"),)
EVENTS: Final = ((b"content-type", b"text/event-stream"),)

_CAUSES: Final = 6  # how deep a chain of exceptions is looked into
# The connection never stood, so nothing was asked for: by the names that HTTP clients give it.
_NEVER_SENT: Final = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ClientConnectorError",
        "NewConnectionError",
        "UnsupportedProtocol",
    }
    | {"ClientConnectorDNSError", "NameResolutionError", "ConnectionTimeoutError", "EndpointConnectionError"}
)


_CUT: Final = frozenset({"RemoteProtocolError", "ReadError", "ServerDisconnectedError", "RemoteDisconnected"})


class Answer(msgspec.Struct, frozen=True):
    """An answer as the meter is shown it. body None: there was none, or it cannot be read."""

    status: int = 200
    headers: Headers = JSON
    body: bytes | None = None


def answer(result: Any) -> Answer:
    """Read a result."""
    if result is None:
        return Answer()
    if isinstance(result, bytes | bytearray | memoryview):
        return Answer(headers=(), body=bytes(result))
    if isinstance(result, str):
        return Answer(body=result.encode("utf-8", "surrogatepass")) if result.lstrip()[:1] in ("{", "[") else Answer()
    status = status_of(result)
    if status is not None:
        return Answer(status, headers_of(result) or JSON, _content(result))
    return Answer(body=json_of(result))


def json_of(value: Any) -> bytes | None:
    """A value as the JSON that it came from: an SDK's object, plain data. None: it is neither."""
    with contextlib.suppress(Exception):  # whatever a foreign object's own code may raise
        dump = getattr(value, "model_dump_json", None)
        if callable(dump):
            text = dump(by_alias=True)
            return text.encode() if isinstance(text, str) else None
    with contextlib.suppress(TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        if isinstance(value, Mapping):
            return msgspec.json.encode(dict(value), enc_hook=_unpacked)
        if isinstance(value, list | tuple) or hasattr(type(value), "__struct_fields__"):
            return msgspec.json.encode(value, enc_hook=_unpacked)
        if hasattr(type(value), "__dataclass_fields__"):
            return msgspec.json.encode(value, enc_hook=_unpacked)
    with contextlib.suppress(Exception):
        as_dict = getattr(value, "to_dict", None)
        if callable(as_dict):
            return msgspec.json.encode(as_dict(), enc_hook=_unpacked)
    return None


def _unpacked(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def event(item: Any) -> bytes | None:
    """One item of a stream as a server-sent event, for the meter; None for what says nothing of the usage.

    Text is what a model wrote: it counts as output as a chat completion's would.
    """
    if isinstance(item, str):
        data: bytes | None = msgspec.json.encode({"choices": [{"delta": {"content": item}}]}) if item else None
    elif isinstance(item, bytes | bytearray):
        return bytes(item)  # a raw piece of the API's own stream
    else:
        data = json_of(item)
    return b"data: " + data + b"\n\n" if data else None


def status_of(thing: Any) -> int | None:
    """The HTTP status that a response, or the exception of an SDK, carries."""
    if type(thing) in PLAIN:
        return None
    for holder in (thing, getattr(thing, "response", None)):
        for name in ("status_code", "status", "code", "http_status"):
            value = getattr(holder, name, None)
            if type(value) is int and 100 <= value <= 599:
                return value
        if isinstance(holder, Mapping):  # botocore's ClientError.response
            meta = holder.get("ResponseMetadata")
            value = meta.get("HTTPStatusCode") if isinstance(meta, Mapping) else None
            if type(value) is int:
                return value
    return None


def end_of(error: BaseException, status: int | None) -> End:
    """What an exception, or one that it came from, says of the API. ABORTED: nothing, it may be the program's own."""
    if status is not None:
        return End.ANSWERED
    seen: BaseException | None = error
    late = False
    for _ in range(_CAUSES):
        if seen is None:
            break
        if isinstance(seen, ConnectionRefusedError | socket.gaierror) or type(seen).__name__ in _NEVER_SENT:
            return End.UNREACHABLE
        if type(seen).__name__ in _CUT:
            return End.CUT
        late = late or isinstance(seen, TimeoutError) or "Timeout" in type(seen).__name__
        seen = seen.__cause__ or seen.__context__
    return End.TIMED_OUT if late else End.ABORTED


def headers_of(thing: Any) -> Headers:
    """The header fields of a response, or of the one that an SDK's exception carries; () where there are none."""
    found: list[tuple[bytes, bytes]] = []
    holders: tuple[Any, ...] = (thing, getattr(thing, "response", None))
    for holder in holders:
        with contextlib.suppress(Exception):  # whatever a foreign object's own code may raise
            for name, value in holder.headers.items():
                lower = str(name).lower()
                if lower != "content-encoding":  # HTTP clients give the body decoded
                    found.append((lower.encode("latin-1"), str(value).encode("latin-1", "replace")))
            break
    return tuple(found)


def _content(response: Any) -> bytes | None:
    """The body of an HTTP client's response, if it is read already; a stream is not touched."""
    with contextlib.suppress(Exception):
        if getattr(response, "_content_consumed", True) is False:  # requests, stream=True
            return None
        for name in ("content", "_body"):
            value = getattr(response, name, None)
            if isinstance(value, bytes):
                return value
    return None
