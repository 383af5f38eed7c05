"""The OpenAPI document, made from the table of routes; nothing in it is written twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from dutchdoor.server.doors import Route, Who

__all__ = ["document"]

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "dutchdoor"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "dutchdoor": {
                    "type": "object",
                    "properties": {
                        "rule": {"type": "string"},
                        "hint": {"type": "string"},
                        "missing": {"type": "array", "items": {"type": "string"}},
                        "inference": {"type": "string"},
                    },
                },
            },
        }
    },
}
_CALLERS = {
    Who.ANYBODY: "Anybody may call this.",
    Who.PERSON: "Whoever holds an API key may call this.",
    Who.GRANTED: "Needs a grant that covers it, under a release decision in force.",
}


def document(version: str, routes: Sequence[Route]) -> dict[str, Any]:
    """The document of `routes`, JSON values. version: of dutchdoor."""
    bodies = [route.body for route in routes if route.body is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dutchdoor",
            "version": version,
            "description": "OpenAI-compatible inference under signed release decisions.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")
    if route.path != "/" and route.path.endswith("/"):
        name += "_slash"
    media: dict[str, Any] = {route.gives: {"schema": _schema(route.gives)}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": route.summary,
        "description": _CALLERS[route.who],
        "security": [] if route.who is Who.ANYBODY else [{"key": []}],
        "x-dutchdoor-caller": str(route.who),
        "responses": {
            "200": {"description": "What was asked for.", "content": media},
            "default": {
                "description": "Why not.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    names = re.findall(r"\{(\w+)\}", route.path)
    if names:
        operation["parameters"] = [
            {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names
        ]
    if route.body is not None:
        reference = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference}},
        }
    return operation


def _schema(media: str) -> dict[str, Any]:
    return {"type": "object"} if media == "application/json" else {"type": "string"}
