"""The OpenAPI 3.1 description of the JSON routes, made from the table that serves them. It describes nothing else."""

import re
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from backup_core import __version__
from backup_core.triggers import principal, problems, shapes
from backup_core.triggers.http import JSON
from backup_core.triggers.routes import ROUTES, Route

_PLACE = "#/components/schemas/{name}"

_IN_PATH = {
    "tenant": "The id of a tenant.",
    "account": "The id of an account, or its user principal name.",
    "run": "The id of a run.",
    "snapshot": "`latest`, the id of a snapshot or the beginning of one.",
}
_HEADERS = {
    "ETag": "The version, for If-Match.",
    "Location": "Where the run is shown.",
}


@cache
def document() -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "drivekeep",
            "version": __version__,
            "description": "Who is protected, what has run, and what the backups hold.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": principal.KEY_HEADER}},
        },
    }


def _operation(route: Route[Any, Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route),
        "security": [{"key": []}] if route.who == "operator" else [],
    }
    if route.writes:
        needed = route.body is not shapes.NoBody
        operation["requestBody"] = {"required": needed, "content": {JSON: {"schema": _reference(route.body)}}}
    return operation


def _path_parameters(route: Route[Any, Any, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _IN_PATH[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]


def _query_parameters(route: Route[Any, Any, Any]) -> list[dict[str, Any]]:
    """A parameter that may be left out is never null: what is sent is a text."""
    schema = _components()[route.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema["required"], "schema": _without_null(each)}
        for name, each in schema["properties"].items()
    ]


def _header_parameters(route: Route[Any, Any, Any]) -> list[dict[str, Any]]:
    if 412 not in route.refusals:
        return []
    return [{"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}}]


def _responses(route: Route[Any, Any, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {
        "description": HTTPStatus(route.status).phrase,
        "content": {JSON: {"schema": _reference(route.answer)}},
    }
    if route.headers:
        good["headers"] = {
            name: {"description": _HEADERS[name], "required": True, "schema": {"type": "string"}}
            for name in route.headers
        }
    refused = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {problems.TYPE: {"schema": _reference(shapes.Refused)}},
        }
        for status in route.statuses
    }
    return {str(route.status): good, **refused}


def _reference(shape: Any) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.schema_components([shape], ref_template=_PLACE)[0][0]
    return schema


@cache
def _components() -> dict[str, Any]:
    every = [shape for route in ROUTES for shape in (route.query, route.body, route.answer)]
    return msgspec.json.schema_components([*every, shapes.Refused], ref_template=_PLACE)[1]


def _schemas() -> dict[str, Any]:
    """Without the queries, which are described as parameters."""
    queries = {route.query.__name__ for route in ROUTES}
    return {name: schema for name, schema in _components().items() if name not in queries}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name != "default" or value is not None}
    choices = [each for each in kept.pop("anyOf", []) if each != {"type": "null"}]
    return {**kept, **choices[0]} if choices else kept
