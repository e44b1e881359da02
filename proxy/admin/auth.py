"""Who may talk to the admin port.

With tokens in rules.yaml every request brings one (`Authorization: Bearer ...`). Without tokens only this machine is
served, as admin, and only under a loopback name: a page in a browser can make its own domain point here (DNS
rebinding), but cannot change the Host header that the browser then sends. Requests that a foreign page makes are
refused in either case: by Origin and Sec-Fetch-Site, and because a body must be application/json, for which a browser
asks first and gets no.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from aiohttp import web

from proxy.admin.problems import Problem
from proxy.admin.routes import Person
from proxy.core.admin_model import Admin, Role, Token, is_loopback

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def identify(request: web.Request, admin: Admin | None) -> Person:
    """Who asks. Raises Problem 401 or 403. admin: None while no rules could be loaded."""
    refuse_foreign_pages(request)
    if admin is not None and admin.tokens:
        return _by_token(request, admin)
    return local_person(request)


def local_person(request: web.Request) -> Person:
    """Whoever sits at this machine, where there are no tokens. Raises Problem 403 for everybody else."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(peer, tuple) or not is_loopback(str(peer[0])):
        raise Problem(403, "loopback_only")
    if not is_loopback(_name(request.headers.get("Host", ""))):
        raise Problem(403, "foreign_host")
    return Person("local", Role.ADMIN)


def _by_token(request: web.Request, admin: Admin) -> Person:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    found = token_of(admin, given.strip() if scheme.lower() == "bearer" else "")
    if found is None:
        reason = "bad_token" if given else "no_token"
        raise Problem(401, reason, headers={"WWW-Authenticate": 'Bearer realm="spendgate"'})
    return Person(found.name, found.role)


def token_of(admin: Admin, given: str) -> Token | None:
    """The token with this secret."""
    digest = _digest(given)
    found: Token | None = None
    # Every token is compared, in constant time: how long it takes tells nothing about how near a guess was.
    for token in admin.tokens:
        if hmac.compare_digest(_digest(token.value), digest):
            found = token
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def refuse_foreign_pages(request: web.Request) -> None:
    """A page of another site may neither act here nor read."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Problem(403, "foreign_page")
    origin = request.headers.get("Origin")
    if origin is not None and request.method not in _READING and urlsplit_netloc(origin) != request.headers.get("Host"):
        raise Problem(403, "foreign_page")


def urlsplit_netloc(origin: str) -> str | None:
    """ "http://127.0.0.1:8081" -> "127.0.0.1:8081"; None for "null" and everything odd."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _name(host_header: str) -> str:
    """The Host header's name without its port; "" for what is no plain host."""
    if "@" in host_header or "/" in host_header:
        return ""
    try:
        return urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return ""
