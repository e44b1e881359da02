"""The admin port's application: health, and every route of the API behind one guard.

A request to the API passes in this order: who asks (auth.py) → may they (the route's role) → does it fit (its models) →
the handler → does the answer fit. Whatever fails on the way leaves as a problem document. Decides nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

import proxy.admin as room
from proxy.admin import auth, health, openapi
from proxy.admin.dashboard.app import Dashboard
from proxy.admin.dashboard.pages import ACTIONS, PAGES
from proxy.admin.problems import Problem, of_http
from proxy.admin.routes import Call, Desk, Route
from proxy.settings import language as language_of
from proxy.started import Readiness
from proxy.state.store import ScriptError, StoreUnavailable

log = structlog.get_logger()

PREFIX: Final = "/api/v1"
BODY_MOST: Final = 256 * 1024
_ERRORS_TOLD: Final = 20

Model = TypeVar("Model", bound=BaseModel)


def all_routes() -> list[Route]:
    """The routes of every proxy/admin/routes_<topic>.py, in the order of the files' names."""
    found: list[Route] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(room.__path__)):
        if module.startswith("routes_"):
            found += importlib.import_module(f"proxy.admin.{module}").ROUTES
    return found


def application(
    desk: Desk, readiness: Callable[[], Readiness], routes: Sequence[Route] | None = None
) -> web.Application:
    """Health and the API; `routes` is all there are unless a test gives its own."""
    served = all_routes() if routes is None else list(routes)
    app = health.application(readiness, middlewares=[_problems(desk)], client_max_size=BODY_MOST)
    for route in served:
        app.router.add_route(route.method, PREFIX + route.path, _handle(desk, route))

    @cache
    def document() -> dict[str, Any]:  # two tenths of a second: only for who asks
        return openapi.document(served, PREFIX, desk.version)

    async def describe(request: web.Request) -> web.StreamResponse:
        auth.identify(request, _admin(desk))
        return web.json_response(document(), headers={"Cache-Control": "no-store"})

    app.router.add_get(f"{PREFIX}/openapi.json", describe)
    Dashboard(desk, served, PAGES, ACTIONS).add_to(app)
    return app


def _admin(desk: Desk) -> Any:
    rules = desk.rules()
    return rules.admin if rules is not None else None


def _language(desk: Desk, request: web.Request) -> str:
    """What the asker reads: Accept-Language's first word, else the rules' language, else the process's."""
    asked = request.headers.get("Accept-Language", "")
    if asked and asked != "*":
        return language_of({}, asked)
    rules = desk.rules()
    return rules.language if rules is not None else desk.settings.language


Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _problems(desk: Desk) -> Callable[[web.Request, Next], Awaitable[web.StreamResponse]]:
    @web.middleware
    async def middleware(request: web.Request, handler: Next) -> web.StreamResponse:
        language = _language(desk, request)
        try:
            return await handler(request)
        except Problem as problem:
            return problem.response(language)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return of_http(error).response(language)
        except StoreUnavailable as error:
            return Problem(503, "store_unavailable", why=str(error).rstrip(".")).response(language)
        except ScriptError as error:
            log.error("admin.script_failed", path=request.path, error=str(error))
            return Problem(500, "internal").response(language)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # a mistake of ours in any handler: told in the log, and to nobody else
            log.exception("admin.failed", path=request.path, error=type(error).__name__)
            return Problem(500, "internal").response(language)

    return middleware


def _handle(desk: Desk, route: Route) -> Next:
    async def handle(request: web.Request) -> web.StreamResponse:
        person = auth.identify(request, _admin(desk))
        if not person.role.may(route.role):
            raise Problem(403, "role_too_low", role=person.role.value, needed=route.role.value)
        call = Call(
            desk=desk,
            person=person,
            language=_language(desk, request),
            request=request,
            place=_fit(route.place, dict(request.match_info), "path"),
            query=_fit(route.asks, _query(request), "query"),
            body=await _body(request, route.takes),
        )
        answer = await route.handler(call)
        if isinstance(answer, web.StreamResponse):
            return answer
        if route.answers is None:
            return web.Response(status=204)
        fitted = answer if isinstance(answer, route.answers) else route.answers.model_validate(answer)
        return web.Response(
            status=route.status,
            text=fitted.model_dump_json(by_alias=True),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    return handle


def _query(request: web.Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name in found:
            raise Problem(422, "invalid", errors=[{"where": f"query.{name}", "what": "given twice"}])
        found[name] = value
    return found


async def _body(request: web.Request, model: type[Model] | None) -> Model | None:
    if model is None:
        return None
    if request.content_type != "application/json":
        raise Problem(415, "unsupported_media_type")
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise _invalid(error, "body") from None


def _fit(model: type[Model] | None, values: dict[str, str], part: str) -> Model | None:
    if model is None:
        if part == "query" and values:
            name = next(iter(values))
            raise Problem(422, "invalid", errors=[{"where": f"query.{name}", "what": "no such parameter"}])
        return None
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise _invalid(error, part) from None


def _invalid(error: ValidationError, part: str) -> Problem:
    errors = [
        {"where": ".".join([part, *(str(piece)[:60] for piece in one["loc"])]), "what": str(one["msg"])[:200]}
        for one in error.errors(include_url=False, include_context=False, include_input=False)[:_ERRORS_TOLD]
    ]
    if errors and error.errors(include_url=False)[0]["type"] == "json_invalid":
        return Problem(400, "bad_json")
    return Problem(422, "invalid", errors=errors)
