"""What of a message's headers is for the next hop: builds the outbound request head and the inbound header list.

Decides which fields end here (RFC 9110 §7.6.1 hop-by-hop, the proxy's own, the client's credentials for it), which are
added (Via, the API's own key) and how the framing is told. Order, case, repetition and bytes of all others are kept.
Pure; works on raw (name, value) bytes. Must not know rules: the caller says which headers carry keys.

Decisions: TRACE is refused (it would echo the API's injected key to the client). `Upgrade: websocket` is said anew to
the next hop; other upgrades (h2c) are stripped, which their clients must accept (RFC 9110 §7.8). X-Spendgate-* belongs
to us in both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from proxy.core.fieldnames import PerName
from proxy.core.http1 import Field

VIA_NAME = b"spendgate"
_VIA = tuple((b"Via", b"1.%d %b" % (minor, VIA_NAME)) for minor in (0, 1))
_OURS = (b"proxy-", b"x-spendgate-")

_line = b": ".join  # of a field: name and value

# Never forwarded, whether or not Connection names them. Names that begin with "proxy-" are covered by that.
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))
_REQUEST_ENDS_HERE = _HOP_BY_HOP | {b"content-length", b"host", b"expect", b"http2-settings"}
_RESPONSE_ENDS_HERE = _HOP_BY_HOP | {b"content-length"}
# Where SDKs put a key. Some send it in another of these than the API's documentation names, and an API shown two
# keys may judge the wrong one: where the real key goes into one of them, the program's go from all of them.
KEY_HEADERS = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))
# Connection must not name these (RFC 9110 §7.6.1): they are meant for whoever reads the message last. Its own options
# name no field.
_NOT_NAMEABLE = frozenset(
    b"authorization cache-control content-encoding content-range content-type cookie date location set-cookie via "
    b"vary www-authenticate".split()
) | {b"close", b"keep-alive", b""}
_NAMES_OTHERS = PerName(lambda name: name.lower() in (b"connection", b"proxy-connection"))
_NONE: frozenset[bytes] = frozenset()


def _goes_on(ends_here: frozenset[bytes]) -> PerName[bool]:
    """Whether a field is for the next hop, by its name."""

    def goes_on(name: bytes) -> bool:
        key = name.lower()
        return key not in ends_here and not key.startswith(_OURS)

    return PerName(goes_on)


_response_goes_on = _goes_on(_RESPONSE_ENDS_HERE)
# True: for the next hop; None: not, and it may name others that are not.
_RESPONSE_GOES_ON: PerName[bool | None] = PerName(
    lambda name: _response_goes_on[name] or (None if _NAMES_OTHERS[name] else False)
)


@lru_cache(maxsize=256)
def _request_goes_on(drop: frozenset[bytes], injected: tuple[bytes, ...]) -> PerName[bool]:
    own = {name.lower() for name in injected}
    return _goes_on(_REQUEST_ENDS_HERE | drop | own | (KEY_HEADERS if own & KEY_HEADERS else set()))


def named_by_connection(headers: Iterable[Field]) -> frozenset[bytes]:
    """Lower-case names that Connection (and its old cousin Proxy-Connection) declares hop-by-hop."""
    names: set[bytes] = set()
    for name, value in headers:
        if _NAMES_OTHERS[name] and value != b"keep-alive":
            names.update([part.strip(b" \t") for part in value.lower().split(b",")])
    return frozenset(names - _NOT_NAMEABLE) if names else _NONE


def request_head(
    method: str,
    path: str,
    headers: list[Field],
    *,
    host: bytes,
    length: int | None = 0,
    minor: int = 1,
    drop: frozenset[bytes] = _NONE,
    credentials: Sequence[Field] = (),
    websocket: bool = False,
) -> bytes:
    """The whole head of the request to the API.

    path: path and query, byte for byte. host: the API's authority. length: of the body; None means chunked; 0 is told
    only where the client told a length itself or the method expects content. minor: of the client's HTTP/1.x, for Via.
    drop: lower-case names that carry the client's key for the proxy. credentials: the API's own; the client's values of
    the same headers are dropped, and with a key among them the client's keys in whatever header. websocket: the
    request wants to become one, and says so to this hop too.
    """
    before, after = request_frame(
        method,
        path,
        headers,
        host=host,
        length=length,
        minor=minor,
        drop=drop,
        credentials=credentials,
        websocket=websocket,
    )
    return before if after is None else b"%b%d%b" % (before, length or 0, after)


def request_frame(
    method: str,
    path: str,
    headers: list[Field],
    *,
    host: bytes,
    length: int | None,
    minor: int,
    drop: frozenset[bytes],
    credentials: Sequence[Field],
    websocket: bool = False,
) -> tuple[bytes, bytes | None]:
    """As `request_head`, in two pieces around the digits of the client's own Content-Length.

    (whole head, None) where the client told none. The pieces are the same for every body's length.
    """
    gone = named_by_connection(headers)
    injected = tuple([name for name, _ in credentials])
    goes_on = _request_goes_on(drop, injected)
    lines = [f"{method} {path} HTTP/1.1".encode("ascii"), b"Host: " + host]
    before: bytes | None = None
    for field in headers:
        name = field[0]
        if goes_on[name]:
            if not gone or name.lower() not in gone:
                lines.append(_line(field))
        elif length is not None and len(name) == 14 and name.lower() == b"content-length":
            before = b"%b\r\n%b: " % (b"\r\n".join(lines), name)
            lines = [b""]
    lines += map(_line, credentials)
    if length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif before is None and (length or method in ("POST", "PUT", "PATCH")):
        lines.append(b"Content-Length: %d" % length)
    if websocket:
        lines += (b"Connection: Upgrade", b"Upgrade: websocket")
    lines += (_line(_VIA[minor]), b"\r\n")
    rest = b"\r\n".join(lines)
    return (rest, None) if before is None else (before, rest)


def response_headers(headers: list[Field], *, minor: int = 1) -> list[Field]:
    """An API's response headers as the client gets them; framing and Connection are left to whoever writes them.

    minor: of the API's HTTP/1.x, for Via.
    """
    kept, names_others = [], False
    for field in headers:
        goes_on = _RESPONSE_GOES_ON[field[0]]
        if goes_on:
            kept.append(field)
        elif goes_on is None and field[1] != b"keep-alive":
            names_others = True
    if names_others:
        gone = named_by_connection(headers)
        kept = [field for field in kept if field[0].lower() not in gone]
    kept.append(_VIA[minor])
    return kept


def trailer_fields(trailers: list[Field]) -> list[Field]:
    """Trailer fields that may be passed on."""
    return [(name, value) for name, value in trailers if not name.lower().startswith(_OURS)]


def wants_websocket(headers: Iterable[Field]) -> bool:
    """Whether a request asks to become a WebSocket (RFC 6455 §4.1)."""
    for name, value in headers:
        upgrade = len(name) == 7 and name.lower() == b"upgrade"
        if upgrade and b"websocket" in [part.strip() for part in value.lower().split(b",")]:
            return True
    return False


def first(headers: Iterable[Field], name: bytes) -> bytes | None:
    """First value of a header by lower-case name."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def max_forwards(method: str, headers: list[Field]) -> tuple[int | None, list[Field]]:
    """Max-Forwards of OPTIONS and TRACE (RFC 9110 §7.6.2): (value, headers with it counted down).

    0 means that the proxy itself must answer. None: no valid Max-Forwards, or a method that has none; forward as it is.
    """
    if method not in ("OPTIONS", "TRACE"):
        return None, headers
    value = first(headers, b"max-forwards")
    if value is None or not value.isdigit() or len(value) > 9:
        return None, headers
    left = int(value)
    lowered = [
        (name, b"%d" % max(0, left - 1)) if name.lower() == b"max-forwards" else (name, old) for name, old in headers
    ]
    return left, lowered
