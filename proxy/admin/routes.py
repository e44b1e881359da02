"""What a route of the admin API is, and what its handler is given.

Each `routes_<topic>.py` has `ROUTES: list[Route]`; api.py serves them and openapi.py describes them. Requests and
answers are pydantic models: what does not fit is refused before the handler, and what leaves is what was promised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from proxy.admin.problems import Problem
from proxy.core.admin_model import Role
from proxy.core.model import RuleSet
from proxy.rules_mistakes import Mistake
from proxy.settings import Settings
from proxy.state.client import Client
from proxy.state.keys import Keys
from proxy.state.past import Past
from proxy.state.store import Store

Asked = TypeVar("Asked", bound=BaseModel)


class Asks(BaseModel):
    """Base of what comes in: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of what goes out."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


@dataclass(frozen=True, slots=True)
class Desk:
    """What all handlers share; made by controller.py. `rules()` is None while no rules could be loaded yet."""

    settings: Settings
    keys: Keys
    client: Client
    past: Past
    store: Store
    rules: Callable[[], RuleSet | None]
    mistakes: Callable[[], Sequence[Mistake]]
    loaded_at: Callable[[], datetime | None]
    fence: Callable[[], int | None]  # None: another process leads
    clock: Callable[[], int]  # Unix ms, Redis's
    version: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. name: of the token; "local" where there are no tokens."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its handler sees it. body, query and place are of the models that the route names."""

    desk: Desk
    person: Person
    language: str
    request: web.Request
    body: Any = None
    query: Any = None
    place: Any = None

    @property
    def rules(self) -> RuleSet:
        """The current rules. Raises Problem 503 while there are none."""
        rules = self.desk.rules()
        if rules is None:
            raise Problem(503, "no_rules")
        return rules

    @property
    def client(self) -> Client:
        return self.desk.client

    def now_ms(self) -> int:
        return self.desk.clock()


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. path: below /api/v1, with {names} that `place` has. role: the least that may use it.

    answers: model of a JSON answer; None with `stream` = the media type of an answer that the handler sends itself.
    problems: statuses that the handler raises, beyond those that every route may answer.
    """

    method: str
    path: str
    role: Role
    summary: str
    handler: Handler
    answers: type[BaseModel] | None = None
    takes: type[BaseModel] | None = None
    asks: type[BaseModel] | None = None
    place: type[BaseModel] | None = None
    status: int = 200
    stream: str | None = None
    problems: tuple[int, ...] = ()
    tag: str = field(default="")

    @property
    def operation_id(self) -> str:
        words = self.path.strip("/").replace("{", "").replace("}", "").replace("/", "_").replace("-", "_")
        return f"{self.method.lower()}_{words}"
