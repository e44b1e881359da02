"""One call as a person hands it over to be priced: like curl's flags, a raw HTTP message, JSON, or a recording.

Decides nothing about money.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Headers = tuple[tuple[str, str], ...]


class Unreadable(ValueError):
    """The text is neither of the forms that are understood. The message is a text key below `cli.price`."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it would leave a program. `target` keeps its bytes: path and query, percent-encoded."""

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str
    headers: Headers
    body: bytes

    @property
    def url(self) -> str:
        usual = {"http": 80, "https": 443}.get(self.scheme)
        port = "" if self.port == usual else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}{'?' + self.query if self.query else ''}"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Headers
    body: bytes


def request_of(method: str | None, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Request:
    """A request from its parts; without a method, a body means POST, as with curl. Raises Unreadable."""
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Unreadable("bad_url", url=url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreadable("bad_url", url=url)
    return Request(
        method=(method or ("POST" if body else "GET")).upper(),
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
        path=parts.path or "/",
        query=parts.query,
        headers=tuple((name.lower(), value) for name, value in headers),
        body=body,
    )


def header_of(text: str) -> tuple[str, str]:
    """ "Name: value", as for curl's -H. Raises Unreadable."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise Unreadable("bad_header", header=text)
    return name.strip().lower(), value.strip()


def parse_request(text: bytes) -> Request:
    """A raw HTTP/1.1 request, or JSON {method, url, headers, body}. Raises Unreadable."""
    if text.lstrip()[:1] == b"{":
        document = _json_object(text)
        body = _body(document, "body")
        url = document.get("url")
        if not isinstance(url, str):
            raise Unreadable("no_url")
        method = document.get("method")
        return request_of(str(method) if method else None, url, _headers(document.get("headers")), body)
    (method, target, *_), headers, body = _raw(text, "bad_request", lambda words: words[0].isalpha())
    if target.startswith("/"):
        host = dict(headers).get("host")
        if not host:
            raise Unreadable("no_host")
        target = f"https://{host}{target}"
    return request_of(method, target, headers, body)


def parse_response(text: bytes) -> Response:
    """A raw HTTP/1.1 response as `curl -i` prints it, or JSON {status, headers, body}. Raises Unreadable."""
    if text.lstrip()[:1] == b"{":
        document = _json_object(text)
        if not isinstance(document.get("status"), int):
            raise Unreadable("no_status")
        return Response(document["status"], _headers(document.get("headers")), _body(document, "body"))
    while True:
        (_, code, *_), headers, body = _raw(text, "bad_response", _is_status_line)
        status = int(code)
        if status >= 200 or not body:
            return Response(status, headers, body)
        text = body  # an interim answer (100 Continue) comes before the real one


def parse_exchanges(text: bytes) -> Iterator[tuple[Request, Response | None]]:
    """Recorded exchanges: one JSON object, or one a line. Raises Unreadable."""
    try:
        rows: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        try:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise Unreadable("bad_json") from None
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("host"), str) or not isinstance(row.get("path"), str):
            raise Unreadable("bad_exchange")
        yield _exchange(row)


def _exchange(row: Mapping[str, Any]) -> tuple[Request, Response | None]:
    body = _body(row, "request_body")
    scheme = str(row.get("scheme") or "https")
    headers = _headers(row.get("request_headers"))
    # Not through urlsplit: a recorded target is taken byte for byte, whatever is in it.
    path, _, query = row["path"].partition("?")
    at = request_of(None, f"{scheme}://{row['host']}", (), b"")
    method = str(row.get("method") or ("POST" if body else "GET")).upper()
    request = Request(method, at.scheme, at.host, at.port, path or "/", query, headers, body)
    status = row.get("status")
    if not isinstance(status, int):
        return request, None
    return request, Response(status, _headers(row.get("response_headers")), _body(row, "response_body"))


def _is_status_line(words: list[str]) -> bool:
    return words[0].startswith("HTTP/") and len(words[1]) == 3 and words[1].isascii() and words[1].isdigit()


def _raw(text: bytes, problem: str, fits: Callable[[list[str]], bool]) -> tuple[list[str], Headers, bytes]:
    """The start line's words, headers and body of a message whose lines end in CRLF or LF; the body as it stands."""
    text = text.lstrip(b"\r\n")
    ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := text.find(mark)) >= 0]
    at, length = min(ends, default=(len(text), 0))
    lines = text[:at].decode("latin-1").splitlines()
    words = lines[0].split(" ") if lines else []
    if len(words) < 2 or not fits(words):
        raise Unreadable(problem)
    headers = tuple(header_of(line) for line in lines[1:] if line)
    body = text[at + length :]
    size = dict(headers).get("content-length", "")
    if size.isdigit() and len(body) > int(size):
        body = body[: int(size)]  # an editor adds a line end to a file
    return words, headers, body


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("bad_json") from None
    if not isinstance(document, dict):
        raise Unreadable("bad_json")
    return document


def _headers(value: Any) -> Headers:
    """From {name: value | [values]} or [[name, value], ...]."""
    if value is None:
        return ()
    items = value.items() if isinstance(value, Mapping) else value
    flat: list[tuple[str, str]] = []
    try:
        for name, given in items:
            values = given if isinstance(given, list) else [given]
            flat.extend((str(name).lower(), str(one)) for one in values)
    except (TypeError, ValueError):
        raise Unreadable("bad_headers") from None
    return tuple(flat)


def _body(document: Mapping[str, Any], field: str) -> bytes:
    """A body as text, as base64 (`<field>_encoding: base64`), or as a JSON value that is sent as JSON."""
    value = document.get(field)
    if value is None:
        return b""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).encode()
    if document.get(f"{field}_encoding") == "base64":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Unreadable("bad_base64", field=field) from None
    return value.encode("utf-8", "surrogatepass")
