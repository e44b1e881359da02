"""What the admin API answers when it does not do what was asked: RFC 9457 problem details, in the asker's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from proxy.core.text import CATALOGUE, say

MEDIA_TYPE: Final = "application/problem+json"
TITLES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many",
    500: "internal",
    503: "unavailable",
}


class Problem(Exception):
    """Ends a handler with this status. `reason` is for programs; the sentence is the catalogue's `admin.<reason>`."""

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        sentence: str | None = None,
        **values: object,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.values = values
        self.errors = errors
        self.told = sentence  # said already, in the asker's language
        self.headers = dict(headers or {})

    def sentence(self, language: str) -> str:
        """What is wrong, for people, with each value that does not fit."""
        key = f"admin.{self.reason}"
        told = self.told or say(
            key if key in CATALOGUE else f"admin.title.{TITLES.get(self.status, 'internal')}", language, **self.values
        )
        return " ".join([told, *(f"{one['where']}: {one['what']}" for one in self.errors)])

    def document(self, language: str) -> dict[str, Any]:
        key = f"admin.{self.reason}"
        title = f"admin.title.{TITLES.get(self.status, 'internal')}"
        return {
            "type": f"urn:spendgate:problem:{self.reason}",
            "title": say(title, language),
            "status": self.status,
            "detail": self.told or say(key if key in CATALOGUE else title, language, **self.values),
            "reason": self.reason,
            "errors": list(self.errors),
        }

    def response(self, language: str) -> web.Response:
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(self.document(language)),
            content_type=MEDIA_TYPE,
            headers={"Cache-Control": "no-store", **self.headers},
        )


def of_http(error: web.HTTPException) -> Problem:
    """aiohttp's own refusals (no such path, wrong method, body too large) as problems."""
    reason = TITLES.get(error.status, "bad_request" if error.status < 500 else "internal")
    allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
    return Problem(error.status, reason, headers=allowed)
