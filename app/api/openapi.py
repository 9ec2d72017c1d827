"""The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1), made from the routes and the models.

The routes come from the router, the problems from the error tree, and the meaning of each route from
`app.api.operations`. A test ensures that every route has an entry there.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute, Route

from app import __version__, errors
from app.api.operations import OPERATIONS, SECURITY, Operation
from app.api.schemas import Problem, documents
from app.docstrings import attribute_docstrings
from app.errors import GatewayError

_ROUTER_CODES: Final = ("not_found", "method_not_allowed", "http_error")
"""Codes of problems from the router and the HTTP layer."""


class Description:
    """The document as JSON text. It is made at the first request for it: that takes 70 ms of CPU, and 4 MiB."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes
        self._made: asyncio.Task[bytes] | None = None

    async def json(self) -> bytes:
        """Return the text. A thread makes it, once for all who ask."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(openapi_json, self._routes))
        return await asyncio.shield(self._made)


def openapi_json(routes: Sequence[BaseRoute]) -> bytes:
    """Return the document for `routes` as JSON text."""
    return json.dumps(openapi_document(routes), separators=(",", ":")).encode()


def openapi_document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Return the document for those of `routes` that `OPERATIONS` describes."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for method, path in route_keys(routes):
        if (operation := OPERATIONS.get((method, path))) is not None:
            paths[path][method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SFU gateway",
            "version": __version__,
            "summary": "Load balancer for WebRTC media servers (SFUs).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "bearerFormat": form, "description": meaning}
                for name, (form, meaning) in SECURITY.items()
            },
        },
    }


def route_keys(routes: Sequence[BaseRoute]) -> Iterable[tuple[str, str]]:
    """Return method and path of each route, without HEAD."""
    for route in routes:
        if isinstance(route, Route):
            yield from ((method, route.path) for method in sorted((route.methods or set()) - {"HEAD"}))


def error_codes() -> list[str]:
    """Return the code of every problem that the gateway may answer with."""
    ours = {
        value.code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, GatewayError)
    }
    return sorted(ours | set(_ROUTER_CODES))


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    words = re.findall(r"[a-z]+", path)
    document: dict[str, Any] = {
        "operationId": "-".join([method.lower(), *words]) + ("-index" if path.endswith("/") else ""),
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    if parameters := _parameters(path, operation):
        document["parameters"] = parameters
    if operation.security:
        document["security"] = [{operation.security: []}]
    if operation.takes:
        document["requestBody"] = _request_body(operation.takes)
    return document


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    in_query = [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in operation.query
    ]
    return in_path + in_query


def _request_body(takes: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(takes, str):
        return {
            "required": True,
            "description": takes,
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    return {"required": True, "content": {"application/json": {"schema": _reference(takes)}}}


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): {
            "description": answer.meaning,
            "content": {answer.media_type: {"schema": _reference(answer.body) if answer.body else {}}},
        }
        for status, answer in operation.answers.items()
    }
    by_status: dict[int, list[type[GatewayError]]] = defaultdict(list)
    for error in operation.problems:
        by_status[error.status].append(error)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem(status, kinds)
    responses["default"] = _problem(None, [])
    return responses


def _problem(status: int | None, kinds: Sequence[type[GatewayError]]) -> dict[str, Any]:
    """Describe a problem response: its possible codes, and `Retry-After` where a retry may help."""
    codes = ", ".join(f"`{code}`" for code in sorted({kind.code for kind in kinds}))
    title = HTTPStatus(status).phrase if status else "Any other problem"
    answer: dict[str, Any] = {
        "description": f"{title}: {codes}" if codes else title,
        "content": {"application/problem+json": {"schema": _reference(Problem)}},
    }
    if any(kind.retry_after_seconds is not None for kind in kinds):
        answer["headers"] = {
            "Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}
        }
    return answer


def _schemas() -> dict[str, Any]:
    answered = {a.body for operation in OPERATIONS.values() for a in operation.answers.values() if a.body}
    taken = {o.takes for o in OPERATIONS.values() if isinstance(o.takes, type)}
    models = sorted(answered | taken | {Problem}, key=lambda model: model.__name__)
    _, schema = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = schema["$defs"]
    schemas["Problem"]["properties"]["code"] = {"type": "string", "enum": error_codes()}
    for document in documents():
        described = schemas.get(document.__name__, {}).get("properties", {})
        for name, text in attribute_docstrings(document).items():
            if name in described:
                described[name].setdefault("description", text)
    return schemas


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
