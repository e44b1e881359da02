"""The dashboard's pages on the admin port: who sees them, in which language, and what a form does.

A page's own module turns the API's answers into the values of its template; this one knows browsers. Every answer
carries a strict content security policy: nothing but our own files, no inline script or style, no frame around us.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import jinja2
import structlog
from aiohttp import web

from proxy.admin import auth
from proxy.admin.dashboard import live as news
from proxy.admin.dashboard.asking import Asker
from proxy.admin.dashboard.look import THEMES, Look, language_of
from proxy.admin.dashboard.session import COOKIE, Sessions, TooManyTries, Visitor, check_form, set_cookie
from proxy.admin.problems import Problem
from proxy.admin.routes import Desk, Route
from proxy.core.text import LANGUAGES
from proxy.core.windows import iso, local_day, local_month, window_at
from proxy.state.reading import Command

log = structlog.get_logger()

_YEAR_S: Final = 365 * 24 * 3600
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
_FORM_MOST: Final = 64 * 1024
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request for a page: who looks, how, and the way to the API."""

    visitor: Visitor
    look: Look
    ask: Asker
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """One page. template: of the whole; live: of the part that moves by itself, "" where nothing does."""

    name: str
    path: str
    template: str
    make: Callable[[Seen], Awaitable[dict[str, Any]]]
    live: str = ""
    tab: bool = True


@dataclass(frozen=True, slots=True)
class Action:
    """What a form does: `run` acts and returns the sentence that tells it; then the browser goes back to its page."""

    path: str
    run: Callable[[Seen, Mapping[str, str]], Awaitable[str]]


class Dashboard:
    """All pages, behind one guard. Mutable state: the open pages (live.py) and notices waiting for their next page."""

    def __init__(self, desk: Desk, routes: Sequence[Route], pages: Sequence[Page], actions: Sequence[Action]) -> None:
        self._desk = desk
        self._routes = {(route.method, route.path): route for route in routes}
        self._pages = {page.name: page for page in pages}
        self._actions = tuple(actions)
        self._sessions = Sessions(desk)
        self._live = news.Live(self._fingerprint, self._over)
        self._files = _static_files()
        self._env = jinja2.Environment(
            loader=jinja2.PackageLoader("proxy.admin", "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._env.globals["static"] = lambda name: f"/static/{self._files[name][1]}/{name}"

    def add_to(self, app: web.Application) -> None:
        """Put every page, form and file on the application, and keep the news running as long as it does."""
        for page in self._pages.values():
            app.router.add_get(page.path, self._show(page))
        for action in self._actions:
            app.router.add_post(action.path, self._act(action))
        app.router.add_get("/login", self._login_page)
        app.router.add_post("/login", self._login)
        app.router.add_post("/logout", self._logout)
        app.router.add_get("/live", self._stream)
        app.router.add_get("/static/{version}/{name}", self._file)
        app[news.LIVE] = self._live
        app.cleanup_ctx.append(self._keep_news)

    async def _keep_news(self, _app: web.Application) -> Any:
        task = asyncio.create_task(self._live.run(), name="dashboard-news")
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    # --- pages -------------------------------------------------------------------------------------------------------

    def _show(self, page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def show(request: web.Request) -> web.StreamResponse:
            visitor = await self._visitor(request)
            if visitor is None:
                return _away(f"/login?{urlencode({'next': request.path_qs})}")
            if self._desk.rules() is None:
                return self._broken_rules(request, visitor)
            seen = self._seen(request, visitor)
            notice = _notice(request)
            values = await page.make(seen)
            html = self._render(page.template, request, seen.look, visitor, page=page.name, notice=notice, **values)
            return self._answer(request, html)

        return show

    def _act(self, action: Action) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def act(request: web.Request) -> web.StreamResponse:
            visitor = await self._visitor(request)
            if visitor is None:
                return _away("/login")
            form = await _form(request)
            seen = self._seen(request, visitor)
            back = _local_path(form.get("back", "/"))
            try:
                check_form(visitor, form.get("csrf", ""))
                told = await action.run(seen, form)
                kind = "done"
            except Problem as problem:
                told, kind = problem.sentence(seen.look.language), "error"
            response = _away(back)
            # The sentence travels in a short-lived cookie of this site: nothing to keep, nothing in the address.
            response.set_cookie(
                "spendgate_notice", _packed(kind, told), max_age=30, httponly=True, samesite="Strict", path="/"
            )
            return response

        return act

    # --- signing in --------------------------------------------------------------------------------------------------

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        return self._login_form(request)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        look = self._look(request)
        try:
            value = await self._sessions.sign_in(form.get("token", "").strip(), str(peer[0]) if peer else "-")
        except TooManyTries as many:
            log.warning("dashboard.login_limited")
            return self._login_form(request, look.t("dash.login_later", span=look.span(many.seconds)), 429)
        if value is None:
            log.warning("dashboard.login_refused")
            return self._login_form(request, look.t("dash.login_wrong"), 403)
        response = _away(_local_path(form.get("next", "/")))
        set_cookie(response, value, secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https")
        return response

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._visitor(request)
        if visitor is not None:
            check_form(visitor, (await _form(request)).get("csrf", ""))
            await self._sessions.sign_out(request)
        response = _away("/login")
        response.del_cookie(COOKIE, path="/")
        return response

    def _login_form(self, request: web.Request, told: str = "", status: int = 200) -> web.Response:
        look = self._look(request)
        notice = {"kind": "error", "text": told} if told else None
        values = {"title": look.t("dash.login"), "next": _local_path(request.query.get("next", "/")), "notice": notice}
        return self._answer(request, self._render("login.html", request, look, None, page="login", **values), status)

    # --- news --------------------------------------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._visitor(request)
        page = self._pages.get(request.query.get("page", ""))
        if visitor is None or page is None or not page.live:
            raise Problem(404, "not_found")
        seen = self._seen(request, visitor)
        query = tuple(f"{name}={value}" for name, value in sorted(seen.query.items()))
        # All of one role see the same: the token of a session's forms is not in it, app.js puts that in.
        anybody = replace(visitor, csrf="")

        async def draw() -> news.Parts:
            fresh = self._seen(request, anybody)
            values = await page.make(fresh)
            common = self._common(request, fresh.look, anybody, page.name)
            return {"": self._env.get_template(page.live).render(common | values)}

        watcher = news.Watcher(request, web.StreamResponse(), news.BEAT, visitor)
        await watcher.begin({**SECURITY, **news.STREAM}, news.BEAT)
        with self._live.watching((page.name, seen.look.language, visitor.role, *query), draw, watcher):
            await watcher.gone.wait()
        return watcher.response

    async def _over(self, watchers: Sequence[news.Watcher]) -> list[news.Watcher]:
        """Whose session, or whose token, holds no more."""
        # Who may only look may leave a page on a wall; whoever can act is asked to sign in again.
        pages = {one: one.visitor.role == "viewer" for one in watchers if one.visitor is not None}
        ended = await self._sessions.over([(one.request, active) for one, active in pages.items()])
        found = [one for one, over in zip(pages, ended, strict=True) if over]
        rules = self._desk.rules()
        for one in watchers:
            if one.visitor is None:
                try:
                    auth.identify(one.request, rules.admin if rules is not None else None)
                except Problem:
                    found.append(one)
        return found

    async def _fingerprint(self) -> str:
        """Changes with every call that is admitted or ends, every switch, alert and service that moves."""
        rules = self._desk.rules()
        if rules is None:
            return ""
        now_ms, keys, client = self._desk.clock(), self._desk.keys, self._desk.client
        levels = [keys.budget(b.name, window_at(b.period, b.timezone, now_ms).label) for b in rules.budgets]
        asked: list[Command] = [("HMGET", level, "spent", "reserved", "increase") for level in levels]
        asked += [("HLEN", keys.day(local_day(now_ms, rules.timezone))), ("ZCARD", keys.leases)]
        asked += [("HGETALL", keys.switches), ("XLEN", keys.ledger(local_month(now_ms, rules.timezone)))]
        asked += [("HGETALL", keys.services), ("XREVRANGE", keys.alerts, "+", "-", "COUNT", 1)]
        asked += [("HGETALL", keys.alerts_open), ("HGETALL", keys.incidents_open)]
        return f"{rules.digest} {await client.ask_all(asked)}"

    # --- files -------------------------------------------------------------------------------------------------------

    async def _file(self, request: web.Request) -> web.StreamResponse:
        found = self._files.get(request.match_info["name"])
        if found is None or found[1] != request.match_info["version"]:
            raise Problem(404, "not_found")
        response = web.Response(body=found[0], content_type=found[2], charset="utf-8")
        response.headers.update(SECURITY)
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable"
        response.enable_compression()
        return response

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _visitor(self, request: web.Request) -> Visitor | None:
        return await self._sessions.visitor(request)

    def _seen(self, request: web.Request, visitor: Visitor) -> Seen:
        look = self._look(request)
        query = {name: value for name, value in request.query.items() if name not in ("lang", "page")}
        query.update({name: value for name, value in request.match_info.items() if name == "id"})
        ask = Asker(self._desk, visitor.person, look.language, request, self._routes)
        return Seen(visitor, look, ask, query)

    def _look(self, request: web.Request) -> Look:
        rules = self._desk.rules()
        cookies = request.cookies
        language = language_of(
            request.query.get("lang"), cookies.get("spendgate_language"), request.headers.get("Accept-Language", "")
        )
        theme = cookies.get("spendgate_theme", "auto")
        return Look(
            language,
            rules.timezone if rules is not None else "UTC",
            rules.currency if rules is not None else "KRW",
            self._desk.clock(),
            theme if theme in THEMES else "auto",
        )

    def _common(self, request: web.Request, look: Look, visitor: Visitor | None, page: str) -> dict[str, Any]:
        rules = self._desk.rules()
        known = self._pages.get(page)

        def here(language: str) -> str:
            others = {name: value for name, value in request.query.items() if name != "lang"}
            return f"{request.path}?{urlencode({**others, 'lang': language})}"

        return {
            "t": look.t,
            "look": look,
            "language": look.language,
            "theme": look.theme,
            "who": visitor,
            "page": page,
            "path": request.path_qs if request.path != "/live" else (known.path if known else "/"),
            "now_text": look.clock(look.now_ms),
            "printed_text": iso(look.now_ms, look.timezone)[:16].replace("T", " "),
            "timezone": look.timezone,
            "version": self._desk.version,
            "secured": rules is not None and bool(rules.admin.tokens),
            "here": here,
            "live": known is not None and bool(known.live),
            "live_query": "".join(
                f"&{urlencode({n: v})}" for n, v in request.query.items() if n not in ("lang", "page")
            ),
            "tabs": [
                {"name": one.name, "href": one.path, "label": look.t(f"dash.tab.{one.name}"), "badge": 0}
                for one in self._pages.values()
                if one.tab
            ],
        }

    def _render(
        self, template: str, request: web.Request, look: Look, visitor: Visitor | None, page: str, **values: Any
    ) -> str:
        return self._env.get_template(template).render(self._common(request, look, visitor, page) | values)

    def _broken_rules(self, request: web.Request, visitor: Visitor) -> web.Response:
        look = self._look(request)
        mistakes = [mistake.render(look.language) for mistake in self._desk.mistakes()]
        values = {"title": look.t("dash.no_rules"), "mistakes": mistakes, "notice": None}
        html = self._render("broken.html", request, look, visitor, page="broken", **values)
        return self._answer(request, html, 503)

    def _answer(self, request: web.Request, html: str, status: int = 200) -> web.Response:
        response = web.Response(text=html, status=status, content_type="text/html", charset="utf-8", headers=SECURITY)
        response.enable_compression()
        asked = request.query.get("lang")
        if asked in LANGUAGES:
            response.set_cookie("spendgate_language", asked, max_age=_YEAR_S, samesite="Strict", path="/")
        if "spendgate_notice" in request.cookies:
            response.del_cookie("spendgate_notice", path="/")
        return response


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Our own and the vendored files: content, a short digest for the address, media type."""
    found = {}
    for file in (resources.files("proxy.admin") / "static").iterdir():
        if file.is_file():
            content = file.read_bytes()
            kind = _TYPES[file.name.rpartition(".")[2]]
            found[file.name] = content, hashlib.sha256(content).hexdigest()[:10], kind
    return found


def _away(path: str) -> web.Response:
    return web.Response(status=303, headers={**SECURITY, "Location": path})


def _local_path(given: str) -> str:
    """A path of this site, for going back to; "/" for everything else (an address elsewhere, "//host", ...)."""
    try:
        parts = urlsplit(given)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or not given.startswith("/") or given.startswith(("//", "/\\")) or "\n" in given:
        return "/"
    return given


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded" or (request.content_length or 0) > _FORM_MOST:
        raise Problem(415, "unsupported_media_type")
    return {name: str(value) for name, value in (await request.post()).items()}


def _packed(kind: str, told: str) -> str:
    return f"{kind}.{told[:800].encode().hex()}"


def _notice(request: web.Request) -> dict[str, str] | None:
    kind, _, hexed = request.cookies.get("spendgate_notice", "").partition(".")
    if kind not in ("done", "error"):
        return None
    try:
        return {"kind": kind, "text": bytes.fromhex(hexed).decode()}
    except ValueError:
        return None
