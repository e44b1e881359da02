"""Who looks at the dashboard: signing in with an admin token, and the session that a browser keeps.

A session lives in Redis, so that it outlives a restart and holds at every proxy of one store; its cookie is a random
number of which Redis has only the digest. It ends by signing out, after half an hour in which nobody did anything (a
page that is only left open does nothing), after twelve hours, and at once when its token leaves rules.yaml. Where
rules.yaml names no token there are no sessions: this machine is served as it is, and the forms' token against foreign
pages belongs to the process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.admin import auth
from proxy.admin.problems import Problem
from proxy.admin.routes import Desk, Person
from proxy.core.admin_model import Admin, Token
from proxy.state.reading import Command

COOKIE: Final = "spendgate_session"
IDLE_S: Final = 30 * 60
LONGEST_S: Final = 12 * 3600
TRIES: Final = 8  # wrong tokens from one address ...
TRIES_WITHIN_S: Final = 5 * 60  # ... in so many seconds


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may look. csrf: what every form must bring back. by_token False: nobody had to sign in."""

    person: Person
    csrf: str
    by_token: bool

    @property
    def name(self) -> str:
        return self.person.name

    @property
    def role(self) -> str:
        return self.person.role.value


class TooManyTries(Exception):
    """This address tried too many tokens; `seconds` until it may try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Sessions:
    """Opens, finds and ends sessions. Mutable state: one random number of this process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._process_csrf = secrets.token_urlsafe(24)

    async def visitor(self, request: web.Request, *, active: bool = True) -> Visitor | None:
        """Who asks; None: sign in first. active False: nobody does anything, a page just stays open.

        Raises Problem 403 where this machine alone is served, StoreUnavailable.
        """
        rules = self._desk.rules()
        admin = rules.admin if rules is not None else None
        if admin is None or not admin.tokens:
            _refuse_foreign(request)
            return Visitor(auth.local_person(request), self._process_csrf, by_token=False)
        _refuse_foreign(request)
        value = request.cookies.get(COOKIE, "")
        if not value:
            return None
        key = self._key(value)
        fields: dict[str, str] = await self._desk.client.ask("HGETALL", key)
        now_ms = self._desk.clock()
        token = _token_of(admin, fields, now_ms)
        if token is None:
            return None
        if active:
            await self._desk.client.ask_all(_prolonged(key, now_ms))
        return Visitor(Person(token.name, token.role), fields["csrf"], by_token=True)

    async def over(self, pages: Sequence[tuple[web.Request, bool]]) -> list[bool]:
        """Whose session has ended, of pages that stay open: (its request, whether staying open is doing something).

        Raises StoreUnavailable.
        """
        rules, client, now_ms = self._desk.rules(), self._desk.client, self._desk.clock()
        if rules is None or not rules.admin.tokens:
            return [False] * len(pages)
        keys = [self._key(request.cookies.get(COOKIE, "")) for request, _ in pages]
        kept: list[dict[str, str]] = await client.ask_all([("HGETALL", key) for key in keys])
        ended = [_token_of(rules.admin, fields, now_ms) is None for fields in kept]
        prolonged = [key for key, (_, active), over in zip(keys, pages, ended, strict=True) if active and not over]
        await client.ask_all([command for key in prolonged for command in _prolonged(key, now_ms)])
        return ended

    async def sign_in(self, given: str, peer: str) -> str | None:
        """The new session's cookie value; None for a token that nobody has. Raises TooManyTries, StoreUnavailable."""
        rules, client = self._desk.rules(), self._desk.client
        tries = self._desk.keys.login(peer)
        made, left_s = await client.ask_all([("GET", tries), ("TTL", tries)])
        if int(made or 0) >= TRIES:
            raise TooManyTries(max(1, int(left_s)))
        token = auth.token_of(rules.admin, given) if rules is not None else None
        if token is None:
            await client.ask_all([("INCR", tries), ("EXPIRE", tries, TRIES_WITHIN_S, "NX")])
            return None
        value = secrets.token_urlsafe(32)
        key = self._key(value)
        now_ms = self._desk.clock()
        fields: tuple[str | int, ...] = ("token", _digest(token.value), "csrf", secrets.token_urlsafe(24))
        fields += ("until_ms", now_ms + LONGEST_S * 1000, "active_ms", now_ms)
        await client.ask_all([("HSET", key, *fields), ("EXPIRE", key, IDLE_S), ("DEL", tries)])
        return value

    async def sign_out(self, request: web.Request) -> None:
        """End the session of this cookie, if there is one."""
        value = request.cookies.get(COOKIE, "")
        if value:
            await self._desk.client.ask("UNLINK", self._key(value))

    def _key(self, value: str) -> str:
        return self._desk.keys.session(_digest(value))


def _refuse_foreign(request: web.Request) -> None:
    """Pages of other sites may link here, and nothing else."""
    headers = request.headers
    if request.method == "GET" and (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == (
        "navigate",
        "document",
    ):
        return
    auth.refuse_foreign_pages(request)


def check_form(visitor: Visitor, given: str) -> None:
    """A form must bring the token that its page was made with. Raises Problem 403."""
    if not hmac.compare_digest(visitor.csrf.encode(), given.encode("utf-8", "surrogateescape")):
        raise Problem(403, "old_page")


def set_cookie(response: web.StreamResponse, value: str, *, secure: bool) -> None:
    """Give the browser its session; only this site's own pages send it back, and no script can read it."""
    response.set_cookie(COOKIE, value, httponly=True, samesite="Strict", secure=secure, path="/", max_age=LONGEST_S)


def _token_of(admin: Admin, fields: dict[str, str], now_ms: int) -> Token | None:
    """The token of a session that holds at this moment."""
    kept = fields.get("token", "")
    token = next((token for token in admin.tokens if hmac.compare_digest(_digest(token.value), kept)), None)
    if token is None or now_ms >= min(int(fields["until_ms"]), int(fields["active_ms"]) + IDLE_S * 1000):
        return None
    return token


def _prolonged(key: str, now_ms: int) -> list[Command]:
    """Half an hour more for a session."""
    return [("HSET", key, "active_ms", now_ms), ("EXPIRE", key, IDLE_S)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
