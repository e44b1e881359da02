"""Ask the API from inside: pages know nothing that the API does not tell, and may do nothing that it does not allow.

A page names an operation by its method and path; the route's own models, role and handler do the rest. So there is one
place that reads, one that acts, and one that says who may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from proxy.admin.problems import Problem
from proxy.admin.routes import Call, Desk, Person, Route


@dataclass(frozen=True, slots=True)
class Asker:
    """One visitor's way to the API."""

    desk: Desk
    person: Person
    language: str
    request: web.Request
    routes: Mapping[tuple[str, str], Route]

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, place: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The answer as plain values. Raises Problem, StoreUnavailable."""
        return await self._ask("GET", path, place or {}, query or {}, None)

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        place: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> dict[str, Any]:
        """Do something; its answer as plain values. Members that are "" are left out. Raises as `get`."""
        given = {name: value for name, value in (body or {}).items() if value != ""}
        return await self._ask(method, path, place or {}, {}, given)

    def may(self, method: str, path: str) -> bool:
        """Whether this visitor's role allows an operation."""
        route = self.routes.get((method, path))
        return route is not None and self.person.role.may(route.role)

    async def _ask(
        self,
        method: str,
        path: str,
        place: Mapping[str, str],
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        route = self.routes[(method, path)]
        if not self.person.role.may(route.role):
            raise Problem(403, "role_too_low", role=self.person.role.value, needed=route.role.value)
        call = Call(
            desk=self.desk,
            person=self.person,
            language=self.language,
            request=self.request,
            place=_fit(route.place, place),
            query=_fit(route.asks, query),
            body=_fit(route.takes, body or {}),
        )
        answer = await route.handler(call)
        if route.answers is None:
            return {}
        fitted = answer if isinstance(answer, route.answers) else route.answers.model_validate(answer)
        return fitted.model_dump(mode="json", by_alias=True)


def _fit(model: type[BaseModel] | None, values: Mapping[str, Any]) -> BaseModel | None:
    if model is None:
        return None
    try:
        return model.model_validate(values, strict=False)
    except ValidationError as error:
        raise Problem(422, "invalid", errors=_told(error.errors(include_url=False, include_input=False))) from None


def _told(errors: Sequence[Any]) -> list[dict[str, str]]:
    return [{"where": ".".join(map(str, one["loc"])), "what": str(one["msg"])} for one in errors]
