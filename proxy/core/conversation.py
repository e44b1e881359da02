"""Decides what a WebSocket conversation has used, from the messages that the API sends: the sum of its usage events.

OpenAI's Realtime tells the usage of each answer in its `response.done`, Gemini's Live in `usageMetadata`; others tell
nothing, and are priced by message, minute or size. Sans-I/O: it is shown texts, it is asked. Knows no prices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from proxy.core import catalog, reading
from proxy.core.endpoint import REALTIME
from proxy.core.model import Outbound, Rule, Usage

_TELLS_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{')
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\\x00-\x1f]{1,200})"')
_KIND = re.compile(rb'"type"\s*:\s*"([A-Za-z0-9_.]{1,80})"')
# An answer of the model that is under way: what it has produced is billed even if its end is never told.
_BEGUN, _DONE = b"response.created", b"response.done"
# Usage of another model than the one that answers (the transcription of what was said).
_OTHERS = b"conversation.item.input_audio_transcription."
_GEMINI = {"responseTokenCount": "candidatesTokenCount", "responseTokensDetails": "candidatesTokensDetails"}


class Conversation:
    """The meter of one conversation. `heard` for each message of the API, `said` for the client's first few.

    largest: counts of the largest single usage event so far: what the next one may well need.
    """

    def __init__(self, rule: Rule, outbound: Outbound) -> None:
        price = rule.price
        self.by_tokens = price.tokens is not None or price.catalog is not None
        self.largest: Mapping[str, int] = {}
        self._provider = price.catalog or ""
        self._model = outbound.query_value("model") or outbound.query_value("deployment")
        self._counts: dict[str, int] = {}
        self._running = 0  # answers under way
        self._detail: str | None = None

    def said(self, text: bytes) -> None:
        """A message of the client: some APIs are told the model there (Gemini's `setup`)."""
        if self._model is None and (found := _MODEL.search(text)):
            self._model = found[1].decode("utf-8", "replace")

    def heard(self, text: bytes) -> bool:
        """A message of the API. True: it told a usage."""
        found = _KIND.search(text[:4096])
        kind = found[1] if found else b""
        if kind == _BEGUN:
            self._running += 1
        elif kind == _DONE:
            self._running = max(0, self._running - 1)
        if kind.startswith(b"session.") and self._model is None:
            self.said(text)
        if not _TELLS_USAGE.search(text):
            return False
        if kind.startswith(_OTHERS):
            self._detail = "other_usage"
            return False
        counts = self._read(text)
        if not counts:
            return False
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if sum(counts.values()) >= sum(self.largest.values()):
            self.largest = counts
        return True

    def missed(self) -> None:
        """A message could not be looked at, and may have told a usage."""
        self._detail = self._detail or "message_unread"

    def _read(self, text: bytes) -> Mapping[str, int] | None:
        document = reading.Document()
        if not document.add(text):
            return None
        usage = document.members.get("usageMetadata")
        if isinstance(usage, dict):
            for name, usual in _GEMINI.items():
                if name in usage:
                    usage.setdefault(usual, usage[name])
        if document.model is not None:
            self._model = document.model
        known = catalog.extractors(self._provider) if self._provider else {}
        read = reading.read(document.members, [known[name] for name in REALTIME.readers if name in known])
        if read is None:
            return None
        if read.assumed and self._provider:
            self._detail = self._detail or "usage_assumed"
        return read.counts

    def usage(
        self,
        *,
        messages: tuple[int, int],
        sizes: tuple[int, int],
        seconds: Decimal,
        assumed: Mapping[str, int],
        ended: bool,
        ahead: int = 0,
    ) -> Usage:
        """What was used so far. messages, sizes: (up, down). assumed: what one answer may need where none told it yet.

        ended: the conversation is over; an answer that was still under way is charged like the largest one. ahead: how
        many more messages may come each way before anybody is asked again; an answer then counts once more.
        """
        counts = dict(self._counts)
        detail = self._detail
        cut = ended and self._running > 0 and self.by_tokens
        if cut or (ahead and counts):
            for name, count in (self.largest or assumed).items():
                counts[name] = counts.get(name, 0) + count
        if cut:
            detail = detail or "answer_cut"
        told: dict[str, Any] = {"counts": counts} if self.by_tokens else {}
        return Usage(
            status=101,
            model=self._model,
            found=True,
            messages_up=messages[0] + ahead,
            messages_down=messages[1] + ahead,
            bytes_up=sizes[0],
            bytes_down=sizes[1],
            seconds=seconds,
            sent=True,
            detail=detail,
            **told,
        )
