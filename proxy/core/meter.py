"""Decides, from the bytes of an answer as they pass by, what the call used. Sans-I/O: it is fed, it is asked.

Any chunking of the same bytes gives the same usage. It holds at most one bounded copy of a JSON body or one event,
keeps nothing of what is not metered, and never raises on what an upstream sends: what it could not read is in
`Usage.detail`. Knows no prices and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from proxy.core import bodies, catalog, decode, deltas, reading, tokens
from proxy.core.bodies import Shape
from proxy.core.endpoint import Billing, classify
from proxy.core.eventstream import FrameReader
from proxy.core.fieldnames import PerName
from proxy.core.model import OnExhausted, Outbound, Rule, Usage
from proxy.core.sse import EVENT_CAP, Splitter, data_of

BODY_CAP = 8 * 1024 * 1024  # decoded bytes of a JSON body that are kept
STREAM_CAP = 64 * 1024 * 1024  # decoded bytes of a compressed stream that are looked at
_MODEL_EVENTS = 8  # the model is named in one of the first events, or not at all
_PENDING_CAP = 64 * 1024  # bytes of events whose text has not been counted yet

# an event that can carry usage; "usage": null, which comes with every chunk, cannot
_TELLS_USAGE = re.compile(
    rb'"usage(?:Metadata|_info)?"\s*:\s*\{|billed_units"|eval_count"|tokenUsage"|invocationMetrics"'
)
_UNFINISHED = re.compile(rb'"finish_reason"\s*:\s*null')

# headers of Bedrock that repeat the usage, for models whose answers carry none
_COUNT_HEADERS = {
    b"x-amzn-bedrock-input-token-count": "inputTokens",
    b"x-amzn-bedrock-output-token-count": "outputTokens",
    b"x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokens",
    b"x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokens",
}


def _looked_at(name: bytes) -> bytes:
    """A header's name in lower case if the meter looks at it, else b""."""
    key = name.lower()
    return key if key in (b"content-type", b"content-encoding") or key in _COUNT_HEADERS else b""


_HEADERS = PerName(_looked_at)


@lru_cache(maxsize=256)
def _shape_of(content_type: bytes) -> Shape:
    return bodies.shape_of(content_type.split(b";", 1)[0].strip().lower())


@lru_cache(maxsize=1024)
def _readers(provider: str, flavors: tuple[str, ...]) -> tuple[catalog.Extractor, ...]:
    known = catalog.extractors(provider) if provider else {}
    return tuple(known[flavor] for flavor in flavors if flavor in known)


_IGNORED, _JSON = Shape.IGNORED, Shape.JSON  # looked up often
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\n")


@dataclass(frozen=True, slots=True)
class Trace:
    """The ends of a running stream. framing: "events" (SSE), "lines" or "frames"; first and latest: JSON texts."""

    endpoint: str
    framing: str
    first: list[bytes]
    latest: list[bytes]


class _Kind:
    """What all exchanges of one rule, method and path have in common. Nobody may change it."""

    __slots__ = (
        "annotated",
        "counts_images",
        "endpoint",
        "extractors",
        "is_ocr",
        "metered",
        "needs_body",
        "price",
        "provider",
        "rule",
        "traced",
        "whole_needed",
    )

    def __init__(self, rule: Rule, method: str, path: str) -> None:
        self.rule = rule
        self.price = price = rule.price
        self.provider = price.catalog or ""
        by_tokens = price.catalog is not None or price.tokens is not None
        self.endpoint = endpoint = classify(self.provider, method, path) if by_tokens else None
        self.metered = endpoint is not None and endpoint.billing is not Billing.FREE
        self.whole_needed = bool(price.per_unit) and any(unit.program.needs_response for unit in price.per_unit)
        self.needs_body = self.whole_needed or self.metered
        self.traced = endpoint is not None and rule.on_exhausted is OnExhausted.TRUNCATE
        image = price.tokens.image if price.tokens is not None else None
        self.counts_images = image is not None and endpoint is not None and endpoint.name == "images"
        self.is_ocr = endpoint is not None and endpoint.name == "ocr"
        readers = endpoint.readers if endpoint is not None else ()
        self.extractors = _readers(self.provider, readers)
        self.annotated = _readers(self.provider, ("ocr_annotated",))  # how an OCR of annotations tells its usage


_KINDS_KEPT = 1024
_kinds: dict[tuple[int, str, str], _Kind] = {}  # by identity of the rule, which each holds: comparing rules costs more


def _kind_of(rule: Rule, outbound: Outbound) -> _Kind:
    key = (id(rule), outbound.method, outbound.path)
    found = _kinds.get(key)
    if found is None or found.rule is not rule:
        if len(_kinds) >= _KINDS_KEPT:
            _kinds.clear()
        found = _kinds[key] = _Kind(rule, outbound.method, outbound.path)
    return found


class Meter:
    """Meters one exchange: head() once, feed() for every chunk of the body, finish() once.

    count_tokens: keep what `tokens_seen` needs. It is counted when asked for, so a stream that ends well pays little.
    """

    # What an exchange begins with. On the class, because setting all of it for every exchange costs more than metering
    # most of them.
    _shape = _IGNORED
    _status: int | None = None
    _decoder: decode.Decoder | None = None
    _splitter: Splitter | None = None
    _frames: FrameReader | None = None
    _size = 0
    _pending_size = 0
    _tokens_seen = 0
    _last = b""  # the last event that told usage
    _newest = b""  # the last events of an event stream, whatever they told
    _names_model = 0  # events that were looked at for the model's name
    _bytes_down = 0
    _streamed = False
    _detail: str | None = None
    _first = b""  # the first and the latest events, from which an early end is made
    _latest = b""
    _chunk = b""  # the last chunk, and the last bytes before it
    _before = b""

    def __init__(self, rule: Rule, outbound: Outbound, count_tokens: bool = True) -> None:
        self._kind = kind = _kind_of(rule, outbound)
        self._outbound = outbound
        self._count_tokens = count_tokens and kind.endpoint is not None
        self._traced = kind.traced
        self._document = reading.Document()
        self._parts: list[bytes] = []
        self._pending: list[bytes] = []

    # --- being fed -----------------------------------------------------------------------------------------------

    def head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer's status and header fields, as they came. Interim (1xx) answers are not passed in."""
        self._status = status
        kind = self._kind
        if not kind.needs_body or status not in kind.price.charge_on:
            return
        media, coding = b"", b""
        counted: dict[str, int] = {}
        for name, text in headers:
            key = _HEADERS[name]
            if not key:
                continue
            if key == b"content-type":
                media = text
            elif key == b"content-encoding":
                coding = coding + b"," + text if coding else text
            elif text.strip().isdigit():
                counted[_COUNT_HEADERS[key]] = int(text)
        if counted:
            self._document.members["headers"] = counted
        self._shape = shape = _shape_of(media)
        if shape is _IGNORED:
            return
        if shape is not _JSON:
            self._prepare()
        if coding and coding.strip().lower() != b"identity":
            allowance = BODY_CAP if shape is _JSON else STREAM_CAP
            self._decoder = decode.decoder(coding.decode("latin-1"), allowance)
            if self._decoder is None:
                self._stop("content_encoding")

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body, as they came over the wire."""
        self._bytes_down += len(chunk)
        if self._shape is _IGNORED:
            return
        decoder = self._decoder
        if decoder is None:
            if self._shape is _JSON:
                self._take_part(chunk)
                return
            if self._traced:
                self._before, self._chunk = (self._before + self._chunk[-4:])[-4:], chunk
            self._take(chunk)
            return
        for piece in decoder.feed(chunk):
            self._take(piece)
            if self._detail is not None:
                return
        if decoder.full:
            self._stop("too_large")
        elif decoder.broken:
            self._stop("not_decodable")

    def _prepare(self) -> None:
        if self._shape is Shape.EVENTS:
            self._splitter = Splitter(b"\n\n")
        elif self._shape is Shape.LINES:
            self._splitter = Splitter(b"\n")
        elif self._shape is Shape.FRAMES:
            self._frames = FrameReader()
        self._streamed = self._shape in (Shape.EVENTS, Shape.LINES, Shape.FRAMES)

    def _take(self, piece: bytes) -> None:
        if self._shape is Shape.UNDECIDED:
            piece = b"".join([*self._parts, piece]).lstrip()
            if not piece:
                return
            self._parts = []
            self._shape = bodies.sniffed(piece[0])
            self._prepare()
        if self._shape is _JSON:
            self._take_part(piece)
        elif self._frames is not None:
            for frame in self._frames.feed(piece):
                data = bodies.unpacked(frame.payload) if frame.event_type == "chunk" else frame.payload
                self._take_event(data)
                if self._traced:
                    self._trace(data)
            if self._frames.broken:
                self._stop("not_decodable")
        elif self._splitter is not None:
            whole = self._splitter.feed(piece)
            if whole:
                self._take_blocks(whole)

    def _take_part(self, piece: bytes) -> None:
        """A piece of a JSON body, which is read when all of it is there."""
        self._size += len(piece)
        if self._size > BODY_CAP:
            self._stop("too_large")
        else:
            self._parts.append(piece)

    def _take_blocks(self, whole: bytes) -> None:
        """Complete events (or lines). Decoded only where they can tell usage; their text is counted when asked for."""
        document = self._document
        if self._names_model < _MODEL_EVENTS or _TELLS_USAGE.search(whole):
            events = self._shape is Shape.EVENTS
            for block in whole.split(b"\n\n" if events else b"\n"):
                if len(block) > EVENT_CAP:
                    self._detail = "too_large"
                    continue
                tells = _TELLS_USAGE.search(block)
                if tells or self._names_model < _MODEL_EVENTS:
                    data = data_of(block) if events else block
                    if data and document.add(data):
                        self._names_model += _MODEL_EVENTS if document.model is not None else 1
                        if tells:
                            self._last = block
        self._newest = whole
        self._keep(whole)
        if self._traced:
            self._trace(whole)

    def _take_event(self, data: bytes) -> None:
        if _TELLS_USAGE.search(data) and self._document.add(data):
            self._last = data
        self._keep(data)

    def _trace(self, block: bytes) -> None:
        self._first = self._first or block
        if b'"ping"' not in block or b"ndex" in block:
            self._latest = block

    def _keep(self, block: bytes) -> None:
        if self._count_tokens:
            self._pending.append(block)
            self._pending_size += len(block)
            if self._pending_size > _PENDING_CAP:
                self._count_pending()

    def _count_pending(self) -> None:
        blocks, self._pending, self._pending_size = self._pending, [], 0
        found: list[str] = []
        for block in blocks:
            if self._shape is Shape.FRAMES:
                found += deltas.texts_of(block)
            elif self._shape is Shape.EVENTS:
                for event in block.split(b"\n\n"):
                    found += deltas.texts_of(data_of(event))
            else:
                for line in block.split(b"\n"):
                    found += deltas.texts_of(line)
        if found:
            self._tokens_seen += tokens.count_deltas(found, self._model())

    def _stop(self, detail: str) -> None:
        if self._pending:
            self._count_pending()
        self._shape = Shape.IGNORED
        self._detail = detail
        self._parts = []
        self._splitter = None
        self._frames = None
        self._decoder = None

    # --- being asked ---------------------------------------------------------------------------------------------

    @property
    def tokens_seen(self) -> int:
        """Output tokens of the stream so far, from the text in its events; 0 for what is not a stream."""
        if self._pending:
            self._count_pending()
        return self._tokens_seen

    @property
    def bytes_down(self) -> int:
        return self._bytes_down

    @property
    def streamed(self) -> bool:
        return self._streamed

    @property
    def said_all(self) -> bool:
        """Whether nothing but a stream's end can be missing: its last word, or the usage of the whole, was here."""
        return self._streamed and (self._final() or self._newest.rstrip().endswith(b"[DONE]"))

    @property
    def status(self) -> int | None:
        return self._status

    @property
    def safe_length(self) -> int | None:
        """How much of the last chunk must be passed on for the stream to stand between two events.

        0: it did so before that chunk. None: no event ends in that chunk, or the stream cannot be ended early (it is
        compressed, of no known kind, or its rule does not truncate): pass the chunk on and ask again at the next one.
        """
        if not self._traced or self._decoder is not None:
            return None
        if self._frames is not None:
            return self._frames.lead
        if self._splitter is None:
            return None
        pattern = _EVENT_END if self._shape is Shape.EVENTS else _LINE_END
        before = self._before
        if not before or before.endswith((b"\n\n", b"\r\n\r\n", b"\r\r") if pattern is _EVENT_END else b"\n"):
            return 0
        found = next((item for item in pattern.finditer(before + self._chunk) if item.end() > len(before)), None)
        return found.end() - len(before) if found is not None else None

    def trace(self) -> Trace | None:
        """What an early end of this stream is made from; None where it cannot be ended in the API's own way."""
        if not self._traced or self._decoder is not None or self._kind.endpoint is None or not self._first:
            return None
        framing = {Shape.EVENTS: "events", Shape.LINES: "lines", Shape.FRAMES: "frames"}.get(self._shape)
        if framing is None:
            return None
        return Trace(self._kind.endpoint.name, framing, self._data(self._first), self._data(self._latest))

    def _data(self, block: bytes) -> list[bytes]:
        if self._shape is Shape.EVENTS:
            return [data for data in map(data_of, block.split(b"\n\n")) if data]
        return [line for line in block.split(b"\n") if line] if self._shape is Shape.LINES else [block]

    @property
    def model(self) -> str | None:
        """The model as the answer (or the path) names it, as soon as it is known."""
        return self._model()

    def so_far(self) -> Usage:
        """The usage of a stream that is still running: what it has told, and `tokens_seen`."""
        return self._usage(complete=False, bytes_up=0, seconds=Decimal(0), sent=True, response=None)

    def finish(self, complete: bool, bytes_up: int = 0, seconds: Decimal = Decimal(0), sent: bool = True) -> Usage:
        """The usage of the exchange. complete: the answer came to its end as announced.

        bytes_up, seconds and sent are the forwarder's knowledge, put into the value as they are.
        """
        response: Any = None
        if self._shape is _JSON:
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._take_body(body, complete)
            if self._kind.whole_needed and complete:
                response = reading.value(body)
        elif self._splitter is not None:
            rest = self._splitter.finish()
            if self._splitter.skipped:
                self._detail = "too_large"
            if rest:
                self._take_blocks(rest)
        return self._usage(complete, bytes_up, seconds, sent, response)

    def _take_body(self, body: bytes, complete: bool) -> None:
        text = body.lstrip()
        if text.startswith(b"["):  # Gemini without alt=sse: the events as one array
            self._streamed = True
            for element in bodies.elements(text):
                self._take_event(bytes(element))
            return
        if text and not self._document.add(text):
            self._detail = "not_json" if complete else "cut"
        if self._kind.counts_images:
            data = bodies.list_in(text, "data")
            if data is not None:
                self._document.members["images"] = len(data)

    def _model(self) -> str | None:
        endpoint, told = self._kind.endpoint, self._document.model
        in_path = endpoint.model if endpoint is not None else None
        if in_path is not None and self._kind.provider == "aws" and (told is None or catalog.find("aws", in_path)):
            return in_path  # the answer of Bedrock names the model without the region that its price depends on
        return told or in_path

    def _usage(self, complete: bool, bytes_up: int, seconds: Decimal, sent: bool, response: Any) -> Usage:
        counts: Mapping[str, int] = {}
        found, cost, detail = False, None, self._detail
        kind, document = self._kind, self._document
        if kind.metered:
            read = reading.read(document.members, self._annotated() if kind.is_ocr else kind.extractors)
            if read is not None:
                counts, cost = read.counts, read.reported_cost
                found = self._final() if not complete else document.final or not document.begun
                if read.assumed and kind.provider:
                    detail = "usage_assumed"
            elif complete:
                characters = self._spoken()
                if characters is not None:
                    counts, found, detail = {"input_characters": characters}, True, "usage_assumed"
            images = document.members.get("images")
            if isinstance(images, int):
                counts, found = {**counts, "images": images}, complete
        tokens_seen = 0 if complete and found else self.tokens_seen
        # Without names as far as it goes: each one costs as much as what it names.
        return Usage(
            self._status,
            self._model(),
            counts,
            cost,
            found,
            complete,
            self._streamed,
            tokens_seen,
            bytes_up,
            self._bytes_down,
            seconds=seconds,
            sent=sent,
            response=response,
            service_tier=document.service_tier,
            detail=detail,
        )

    def _spoken(self) -> int | None:
        """The characters of a text that was spoken, which no answer tells; None for all other calls."""
        endpoint = self._kind.endpoint
        if endpoint is None or endpoint.name != "speech" or (self._status or 0) not in self._kind.price.charge_on:
            return None
        return bodies.spoken_characters(self._outbound.body)

    def _final(self) -> bool:
        """The usage told so far is that of the whole answer, although the answer did not end well."""
        if not self._document.final:
            return False
        if "usageMetadata" in self._document.members:
            return b"finishReason" in self._last
        return not _UNFINISHED.search(self._last)

    def _annotated(self) -> tuple[catalog.Extractor, ...]:
        asked = b"annotation_format" in (self._outbound.body or b"")
        return self._kind.annotated if asked else self._kind.extractors
