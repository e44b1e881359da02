"""HTTP/1.1 messages as bytes (RFC 9112): read heads, decode chunked bodies, write chunks. No sockets, no clock.

Decides what is one message and where it ends, and refuses a request that any other parser could read differently:
both framing headers, repeated or odd lengths, unknown codings, folded lines, bare CR or LF, controls, white space
around names, look-alikes of the framing headers. Responses are read a little more kindly, because the API is already
chosen; what is passed on is always written anew by us. Must not know rules, sockets, or what a request is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from operator import itemgetter

import msgspec

from proxy.core.authority import Authority, Refusal, parse_authority
from proxy.core.fieldnames import NOTED

Field = tuple[bytes, bytes]  # name in its original case, value without surrounding white space


class Malformed(Exception):
    """A message that must not be understood.

    code: names a sentence, "wire.<code>". status: what the sender is told (400, 408, 413, 414, 417, 431, 501, 505).
    """

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class RequestHead(msgspec.Struct, gc=False):
    """A request's head, checked.

    minor: 0 or 1 of HTTP/1.x. length: Content-Length, 0 when there is no body, None when chunked.
    host: the one Host header, None where HTTP/1.0 sent none. length_at: place of Content-Length in the headers, -1
    where there is none. key: its bytes without the digits of Content-Length, where it may come again (core/heads.py).
    """

    method: str
    target: str
    minor: int
    headers: list[Field]
    host: Authority | None
    length: int | None
    keep_alive: bool
    expects_continue: bool
    length_at: int = -1
    key: bytes | None = None


class Framing(Enum):
    """How a response body ends."""

    NONE = "none"  # HEAD, 204, 304
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"  # by the end of the connection


NO_BODY, BY_LENGTH, CHUNKED, BY_CLOSE = Framing  # by a name of their own: an enumeration is slow to be asked for them


class ResponseHead(msgspec.Struct, gc=False):
    """A response's head. length: Content-Length where it was given (also for HEAD and 304, where no body follows)."""

    status: int
    reason: bytes
    minor: int
    headers: list[Field]
    framing: Framing
    length: int | None
    keep_alive: bool
    keep_alive_s: int | None  # the server's own Keep-Alive: timeout=N


_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_REQUEST = re.compile(
    rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])\r\n((?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*)"
)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_OTHER_VERSION = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/[0-9]\.[0-9]")
_FIELD_LINE = re.compile(_TOKEN + rb":" + _VALUE)
_FIELD = re.compile(rb"([^:]+):[ \t]*(.*[!-\xff])?[ \t]*\r\n")  # of lines that were checked
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + _VALUE + rb"))?\r\n")
MAX_DIGITS = 18  # of a length
_DIGITS = re.compile(rb"[0-9]{1,%d}" % MAX_DIGITS)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE_BREAK = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _VALUE + rb")?")
_KEEP_ALIVE_S = re.compile(rb"(?:^|[,\s])timeout\s*=\s*\"?([0-9]{1,6})", re.IGNORECASE)
_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")

# Fields that would change how a message is read or routed; meaningless after the body (RFC 9110 §6.5.1).
_NEVER_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie expect "
    b"host keep-alive max-forwards proxy-authorization proxy-connection set-cookie te trailer transfer-encoding "
    b"upgrade via".split()
)


# --- requests -------------------------------------------------------------------------------------------------------


def parse_request(block: bytes, max_fields: int = 128) -> RequestHead:
    """Read a request's head. `block` ends with the CRLF of its last line, without the empty line. Raises Malformed."""
    found = _REQUEST.fullmatch(block)
    if found is None:
        raise diagnose_request(block)
    method, target, minor_digit, lines = found.groups()
    headers: list[Field] = _FIELD.findall(lines)
    if len(headers) > max_fields:
        raise Malformed("too_many_headers", 431)
    minor = 1 if minor_digit == b"1" else 0
    host: bytes | None = None
    length: int | None = None
    chunked = False
    keep_alive = minor == 1
    closes = False
    expects_continue = lookalike = False
    length_at = -1
    for place, (name, value) in enumerate(headers):
        key = NOTED[name]
        if not key:
            continue
        if key == b"host":
            if host is not None:
                raise Malformed("several_hosts")
            host = value
        elif key == b"content-length":
            if length is not None:
                raise Malformed("several_lengths")
            if not _DIGITS.fullmatch(value):
                raise Malformed("bad_length")
            length = int(value)
            length_at = place
        elif key == b"transfer-encoding":
            if chunked:
                raise Malformed("several_codings")
            if value.lower() != b"chunked":
                raise Malformed("unknown_coding")
            chunked = True
        elif key in (b"connection", b"proxy-connection"):
            options = value.lower()
            if b"close" in options and b"close" in _list(options):
                closes = True
            elif minor == 0 and b"keep-alive" in _list(options):
                keep_alive = True
        elif key == b"expect":
            if value.lower() != b"100-continue":
                raise Malformed("unknown_expectation", 417)
            expects_continue = minor == 1
        elif key == b"?":
            lookalike = True
    if chunked:
        if length is not None:
            raise Malformed("length_and_coding")
        if minor == 0:
            raise Malformed("coding_in_http10")
    if lookalike:
        raise Malformed("framing_lookalike")
    authority: Authority | None = None
    if host is not None:
        parsed = parse_authority(host.decode("latin-1"))
        if isinstance(parsed, Refusal):
            raise Malformed("bad_host_header")
        authority = parsed
    elif minor == 1:
        raise Malformed("no_host")
    if (method == b"CONNECT" or method == b"TRACE") and (chunked or length):
        raise Malformed("body_not_allowed")
    return RequestHead(
        method.decode("ascii"),
        target.decode("ascii"),
        minor,
        headers,
        authority,
        None if chunked else (length or 0),
        keep_alive and not closes,
        expects_continue,
        length_at,
    )


def diagnose_request(block: bytes) -> Malformed:
    """Name the first thing wrong with a head that does not parse."""
    line, _, rest = block.partition(b"\r\n")
    if not _REQUEST_LINE.fullmatch(line):
        if _CONTROL.search(line) or _BARE_BREAK.search(line):
            return Malformed("bad_request_line")
        if _OTHER_VERSION.fullmatch(line):
            return Malformed("http_version", 505)
        return Malformed("bad_request_line")
    for field in rest.split(b"\r\n"):
        problem = diagnose_field(field)
        if problem is not None and field:
            return problem
    return Malformed("bad_header")


def diagnose_field(line: bytes) -> Malformed | None:
    """What is wrong with one header line without its CRLF, or None."""
    if _FIELD_LINE.fullmatch(line):
        return None
    if line[:1] in (b" ", b"\t"):
        return Malformed("folded_header")
    if _BARE_BREAK.search(line):
        return Malformed("bare_line_break")
    if _CONTROL.search(line):
        return Malformed("control_character")
    name, colon, _ = line.partition(b":")
    if colon and name.rstrip(b" \t") != name:
        return Malformed("space_before_colon")
    return Malformed("bad_header")


def check_partial(line: bytes, first: bool) -> Malformed | None:
    """Judge one whole line of a head that is still arriving, so that a hopeless request is answered at once."""
    if first:
        return None if _REQUEST_LINE.fullmatch(line) else diagnose_request(line + b"\r\n")
    problem = diagnose_field(line)
    if problem is None:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and not _DIGITS.fullmatch(value.strip(b" \t")):
            return Malformed("bad_length")
    return problem


def _list(value: bytes) -> list[bytes]:
    return [part.strip(b" \t") for part in value.split(b",")]


# --- responses ------------------------------------------------------------------------------------------------------


def head_end(buffer: bytes | bytearray, start: int) -> tuple[int, int]:
    """Where a response head ends and its body begins, (-1, -1) while incomplete. Bare LF is tolerated."""
    end = buffer.find(b"\r\n\r\n", start)
    if end >= 0:
        return end + 2, end + 4
    for mark in (b"\n\n", b"\n\r\n"):
        end = buffer.find(mark, start)
        if end >= 0:
            return end + 1, end + len(mark)
    return -1, -1


def parse_response(block: bytes, method: str, max_fields: int = 256) -> ResponseHead:
    """Read a response's head, given the method it answers. `block` as for `parse_request`. Raises Malformed.

    Tolerates bare LF, folded lines (joined by one space) and white space before a colon (removed), RFC 9112 §5.
    """
    read = _usual_fields(block)
    if read is None:
        block = _FOLD.sub(b" ", re.sub(rb"\r?\n", b"\r\n", block))
        block = re.sub(rb"(?m)^(" + _TOKEN + rb")[ \t]+:", rb"\1:", block)
        read = _usual_fields(block)
        if read is None:
            raise Malformed("bad_response_head", 502)
    (minor, status, reason), lines = read
    if len(lines) > max_fields:
        raise Malformed("bad_response_head", 502)
    keep_alive = minor == 1
    length: int | None = None
    coding: bytes | None = None
    keep_alive_s: int | None = None
    for (_, value), key in filter(_key_of, lines):
        if key == b"content-length":
            for part in (value,) if value.isdigit() else _list(value):
                if not (part.isdigit() and len(part) <= MAX_DIGITS) or (length is not None and int(part) != length):
                    raise Malformed("bad_response_length", 502)
                length = int(part)
        elif key == b"connection":
            options = [value] if value == b"keep-alive" else _list(value.lower())
            if b"close" in options:
                keep_alive = False
            elif minor == 0 and b"keep-alive" in options:
                keep_alive = True
        elif key == b"transfer-encoding":
            coding = value.lower() if coding is None else coding + b"," + value.lower()
        elif key == b"keep-alive" and (seconds := _KEEP_ALIVE_S.search(value)):
            keep_alive_s = int(seconds[1])
    if coding is not None:
        if coding != b"chunked" or minor == 0:
            raise Malformed("bad_response_coding", 502)
        if length is not None:  # RFC 9112 §6.3: the coding wins, and the connection is not trusted again
            length, keep_alive = None, False
    if method == "HEAD" or status < 200 or status in (204, 304):
        framing = NO_BODY
    elif coding is not None:
        framing = CHUNKED
    elif length is not None:
        framing = BY_LENGTH
    else:
        framing, keep_alive = BY_CLOSE, False
    return ResponseHead(status, reason, minor, [*map(_field_of, lines)], framing, length, keep_alive, keep_alive_s)


# What single lines of responses mean, by their bytes: an API says most of them again with every answer.
_LINES_KEPT = 1024
_LINE_SIZE_KEPT = 128
_Line = tuple[Field, bytes]  # a field, and what a parser makes of its name
_field_of: Callable[[_Line], Field] = itemgetter(0)
_key_of: Callable[[_Line], bytes] = itemgetter(1)
_known_status: dict[bytes, tuple[int, int, bytes]] = {}


class _KnownLines(dict[bytes, _Line]):
    """What a header line without its CRLF says, by subscription; KeyError where it is not a strict one."""

    def __missing__(self, line: bytes) -> _Line:
        if not _FIELD_LINE.fullmatch(line):
            raise KeyError(line)
        name, _, value = line.partition(b":")
        known = ((name, value.strip(b" \t")), NOTED[name])
        if len(line) <= _LINE_SIZE_KEPT:
            if len(self) >= _LINES_KEPT:
                self.clear()
            self[line] = known
        return known


_known_lines = _KnownLines()


def _usual_fields(block: bytes) -> tuple[tuple[int, int, bytes], list[_Line]] | None:
    """((minor, status, reason), the lines); None unless the head is strict."""
    first, *lines = block.split(b"\r\n")
    status = _known_status.get(first)
    if status is None:
        found = _STATUS.fullmatch(first + b"\r\n")
        if found is None:
            return None
        status = (1 if found[1] == b"1" else 0, int(found[2]), found[3] or b"")
        if len(_known_status) >= _LINES_KEPT:
            _known_status.clear()
        if len(first) <= _LINE_SIZE_KEPT:
            _known_status[first] = status
    if not lines or lines.pop():
        return None
    try:
        return status, [*map(_known_lines.__getitem__, lines)]
    except KeyError:
        return None


# --- bodies ---------------------------------------------------------------------------------------------------------


class ChunkedDecoder:
    """Takes a chunked body apart (RFC 9112 §7.1), strictly. Chunk extensions are checked and dropped.

    feed() may be called with any split of the bytes. `done` turns true at the end; `trailers` are complete then.
    """

    __slots__ = ("_line", "_remaining", "_state", "_trailer_bytes", "done", "trailers")

    MAX_SIZE_LINE = 4096
    MAX_TRAILER_BYTES = 16384

    def __init__(self) -> None:
        self.done = False
        self.trailers: list[Field] = []
        self._state = 0  # 0 = size line, 1 = data, 2 = CRLF after data, 3 = trailer lines
        self._remaining = 0
        self._line = b""
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode the next bytes: (decoded, what comes after the body's end). Raises Malformed("bad_chunk")."""
        if self._line:
            data, self._line = self._line + data, b""
        pieces: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            if self._state == 1:
                piece = data[position : position + self._remaining]
                pieces.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if not self._remaining:
                    self._state = 2
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._keep(data[position:])
                break
            line = data[position:end]
            position = end + 2
            if self._state == 2:
                if line:
                    raise Malformed("bad_chunk")
                self._state = 0
            elif self._state == 0:
                found = _CHUNK_SIZE.fullmatch(line)
                if found is None or len(line) > self.MAX_SIZE_LINE:
                    raise Malformed("bad_chunk")
                self._remaining = int(found[1], 16)
                self._state = 1 if self._remaining else 3
            elif line:
                self._trailer(line)
            else:
                self.done = True
                break
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), (data[position:] if self.done else b"")

    def _keep(self, line: bytes) -> None:
        """Hold an unfinished line; what can no longer become a good one is refused now."""
        limit = 1 if self._state == 2 else self.MAX_SIZE_LINE if self._state == 0 else self.MAX_TRAILER_BYTES
        body = line[:-1] if line.endswith(b"\r") else line
        if len(line) > limit or b"\n" in body or b"\r" in body or (self._state == 2 and body):
            raise Malformed("bad_chunk")
        if self._state == 0 and body and not _CHUNK_SIZE.fullmatch(body):
            raise Malformed("bad_chunk")
        self._line = line

    def _trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > self.MAX_TRAILER_BYTES or not _FIELD_LINE.fullmatch(line):
            raise Malformed("bad_chunk")
        name, _, value = line.partition(b":")
        if name.lower() not in _NEVER_TRAILERS:
            self.trailers.append((name, value.strip(b" \t")))


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk on the wire. `data` must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[Field] | None = None) -> bytes:
    """The end of a chunked body, with its trailer fields if there are any."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join([b"%b: %b\r\n" % field for field in trailers]) + b"\r\n"
