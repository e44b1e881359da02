"""The API's description as an OpenAPI 3.1 document, made from the routes and their models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from proxy.admin.problems import MEDIA_TYPE
from proxy.admin.routes import Answer, Route

_REFERENCE: Final = "#/components/schemas/{model}"


class ProblemError(Answer):
    """One value that does not fit."""

    where: str = Field(description="Part of the request: body.reason, query.limit.")
    what: str


class ProblemDocument(Answer):
    """Why the API did not do what was asked (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="A sentence for people, in the language asked for.")
    reason: str = Field(description="A word for programs.")
    errors: list[ProblemError] = Field(default_factory=list)


def document(routes: Sequence[Route], prefix: str, version: str) -> dict[str, Any]:
    wanted: list[tuple[type[BaseModel], Any]] = [(ProblemDocument, "serialization")]
    for route in routes:
        wanted += [(model, "validation") for model in (route.takes,) if model is not None]
        wanted += [(model, "serialization") for model in (route.answers,) if model is not None]
    unique = list(dict.fromkeys(wanted))
    names, schemas = models_json_schema(unique, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "spendgate admin API",
            "version": version,
            "description": "Where the money stands, and the hand on the tap. Money is a decimal string in the "
            "currency's major unit; instants are ISO 8601 with an offset.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token named under `admin` in rules.yaml. Without any, loopback is admin.",
                }
            },
        },
        "security": [{"token": []}, {}],
        "tags": [{"name": tag} for tag in sorted({_tag(route) for route in routes})],
    }


def _tag(route: Route) -> str:
    return route.tag or route.path.strip("/").partition("/")[0]


def _operation(route: Route, names: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [_tag(route)],
        "x-role": route.role.value,
        "responses": _responses(route, names),
    }
    parameters = [*_parameters(route.place, "path"), *_parameters(route.asks, "query")]
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        schema = names[route.takes, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _responses(route: Route, names: Any) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if route.answers is not None:
        schema = names[route.answers, "serialization"]
        responses[str(route.status)] = {
            "description": route.summary,
            "content": {"application/json": {"schema": schema}},
        }
    elif route.stream is not None:
        responses["200"] = {"description": route.summary, "content": {route.stream: {"schema": {"type": "string"}}}}
    else:
        responses["204"] = {"description": route.summary}
    statuses = {401, 403, 503, *route.problems}
    if route.takes is not None:
        statuses |= {400, 413, 415, 422}
    if route.asks is not None or route.place is not None:
        statuses |= {422}
    problem = {"schema": names[ProblemDocument, "serialization"]}
    for status in sorted(statuses):
        responses[str(status)] = {"description": "Problem", "content": {MEDIA_TYPE: problem}}
    return responses


def _parameters(model: type[BaseModel] | None, where: str) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    found = []
    for name, described in schema["properties"].items():
        inner = _inline(described, schema.get("$defs", {}))
        inner.pop("title", None)
        parameter = {"name": name, "in": where, "required": where == "path" or name in required, "schema": inner}
        if "description" in inner:
            parameter["description"] = inner.pop("description")
        found.append(parameter)
    return found


def _inline(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without references: enums stand in the parameter itself. None = left out, so no null."""
    reference = schema.get("$ref")
    if reference is not None:
        name = re.sub(r"^#/\$defs/", "", reference)
        schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return _inline({**choices[0], **rest}, definitions)
    return dict(schema)
