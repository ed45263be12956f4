"""The API as a document (OpenAPI 3.1), generated from the route table and the models of requests and responses.

Pure: the same tables make the same document.
"""

import inspect
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from pydantic import BaseModel

from ledger import __version__, errors
from ledger.errors import Refusal
from ledger.identity.tokens import TokenType
from web.auth import ANY_SCOPE, LOGIN_TOO_OLD
from web.components import REF, Components
from web.descriptions import DESCRIPTION, HEADERS, TAGS
from web.handlers import batch_stream
from web.handlers.client_tokens import FORM
from web.http import dry_run
from web.http.account_refs import PATH_ACCOUNT
from web.http.catalogue import CATALOGUE, phrase
from web.http.errors import (
    DATABASE_DOWN,
    INTERNAL,
    MALFORMED,
    MEDIA,
    NOT_JSON,
    OVERLOADED,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    TOO_SLOW,
    outcome_unknown,
    problem_body,
)
from web.http.idempotency import IDEMPOTENCY_KEY
from web.http.pagination import LIMIT
from web.http.params import PATH_ID, Parameter
from web.http.replica import MIN_POSITION
from web.http.scopes import SCOPES
from web.http.wording import members_of
from web.requests import ConditionalTransfer
from web.responses import Problem
from web.routes import ROUTES, UNVERSIONED, VERSIONS
from web.routes.route import ANYONE, CREATED, Refusing, Route

MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
_EXAMPLE_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_EXAMPLES: dict[Any, Any] = {
    UUID: _EXAMPLE_ID,
    int: 1,
    date: date(2026, 3, 31),
    "code": "HOURS",
    "member": "username",
    "pointer": "/amount_cents",
    "message": "must be a whole number",
    "unknown": "/amount",
    "members": members_of(ConditionalTransfer),
    "parameter": "limit",
    "name": "limt",
    "parameters": ("cursor", "limit"),
    "place": "query",
    "checks": {"postgresql": "unreachable"},
    "status": "voided",
    "reason": "a reversal is final",
}
_NOON = "2026-05-01T12:00:00.000000Z"

_ENTITY_TAGS = {"type": "string", "examples": ['"3"']}
_IF_MATCH = Parameter(
    "If-Match",
    "The `ETag` that the resource, or the account to be debited, must have",
    str,
    schema=_ENTITY_TAGS,
    place="header",
)
_IF_NONE_MATCH = Parameter(
    "If-None-Match", "The `ETag` that the client already has", str, schema=_ENTITY_TAGS, place="header"
)
_PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_TO_BROWSERS = {
    "description": "Redirects a browser without a token to the documentation",
    "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "Location", "Vary")},
}
_NOT_MODIFIED = {
    "description": "Not modified: the client has the current version",
    "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "ETag")},
}


@cache
def document() -> bytes:
    """Return the encoded document of this service."""
    return msgspec.json.encode(describe((*UNVERSIONED, *ROUTES)))


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document of these routes."""
    components = _components(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(route, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ledger",
            "version": __version__,
            "description": DESCRIPTION,
            "contact": {"name": "The Ledger project"},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in HEADERS.items()},
            "examples": _problem_examples(routes),
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "refreshToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "machine": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": f"/{VERSIONS[0]}/auth/token", "scopes": SCOPES}},
                },
            },
        },
    }


def _components(routes: Sequence[Route]) -> Components:
    requests: dict[type[BaseModel], str] = {
        route.operation.request_model: _request_name(route) for route in routes if route.operation.request_model
    }
    operations = [route.operation for route in routes]
    models = [model for each in operations for model in (each.response_model, *each.other_models.values())]
    responses = {repr(model): model for model in models if model is not None}
    return Components(requests, [*responses.values(), Problem])


def _request_name(route: Route) -> str:
    name = operation_id(route)
    return f"{name[0].upper()}{name[1:]}Request"


def path_of(route: Route) -> str:
    """Return the path of a route in the first version."""
    return route.path if route in UNVERSIONED else f"/{VERSIONS[0]}{route.path}"


def operation_id(route: Route) -> str:
    """Return the operation id, which names the method of generated clients: the handler's name in camel case."""
    first, *others = route.handler.__name__.split("_")
    return first + "".join(word.capitalize() for word in others)


def example_path(route: Route) -> str:
    """Return the path of a request that takes this route."""
    return path_of(route).replace("{id}", str(_EXAMPLE_ID))


def refusals_of(route: Route) -> Iterator[Refusing]:
    """Yield all errors of a route: its own, and those that follow from its method, access and body."""
    operation = route.operation
    yield MALFORMED
    if route.access.roles is not None:
        yield from _refusals_of_access(route)
    if _takes_key(route):
        yield from (errors.idempotency_key_reused, errors.idempotency_key_in_use)
    if waits(route):
        yield errors.position_not_reached
    if operation.is_conditional:
        yield errors.precondition_failed
    if operation.request_model is not None:
        yield from (TOO_SLOW, TOO_LARGE)
        yield from () if operation.is_form else (NOT_JSON, errors.invalid, errors.unknown_member)
    if parameters_of(route):
        yield errors.invalid_parameter
    if query_parameters(route) is not None:
        yield errors.unknown_parameter
    yield from operation.refusals
    yield INTERNAL


def _refusals_of_access(route: Route) -> Iterator[Refusing]:
    yield from (errors.authorization_missing, errors.authorization_without_token, errors.wrong_credentials)
    yield from (DATABASE_DOWN, OVERLOADED)
    if not {"GET", "HEAD"} & set(route.methods):
        yield outcome_unknown
    if _may_forbid(route):
        yield errors.forbidden
    if route.is_sensitive:
        yield LOGIN_TOO_OLD
    if route.rate_class is not None:
        yield TOO_MANY_REQUESTS


def _may_forbid(route: Route) -> bool:
    """Return whether a route refuses some callers with a valid token: those without the roles, or machine clients."""
    is_for_anyone = route.access.token is TokenType.REFRESH or route.scope == ANY_SCOPE
    return route.access.roles != ANYONE.roles or not is_for_anyone


def _operation(route: Route, components: Components) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": operation.summary,
        "description": f"{_callers(route)} {operation.note}".rstrip(),
        "tags": [_tag(route)],
        "security": _security(route),
        "parameters": [_parameter(parameter, components) for parameter in parameters_of(route)],
        "responses": {
            str(operation.status): _success(route, components),
            **({"303": _TO_BROWSERS} if route.access.browsers_to else {}),
            **({"304": _NOT_MODIFIED} if _is_cacheable(route) else {}),
            **_problems(route),
        },
    }
    if operation.request_model is not None:
        schema = components.request(operation.request_model)
        json = {"schema": schema, "example": components.example(schema)}
        media = ("application/json", MERGE_PATCH) if route.method == "PATCH" else ("application/json",)
        media = (FORM,) if operation.is_form else media
        text = {media: {"schema": {"type": "string"}} for media in batch_stream.MEDIA if operation.accepts_json_lines}
        described["requestBody"] = {
            "required": not operation.body_is_optional,
            "content": {**dict.fromkeys(media, json), **text},
        }
    return described


def parameters_of(route: Route) -> list[Parameter[Any]]:
    """Return the parameters of a route: its own, and those that follow from its path, method and access."""
    operation = route.operation
    own = [*operation.parameters]
    if "{id}" in route.path:
        own.insert(0, PATH_ACCOUNT if route.path.startswith("/accounts/") else PATH_ID)
    if _takes_key(route):
        own.append(IDEMPOTENCY_KEY)
    if operation.is_conditional:
        own.append(_IF_MATCH)
    if _is_cacheable(route):
        own.append(_IF_NONE_MATCH)
    if waits(route):
        own.append(MIN_POSITION)
    if route.takes_dry_run:
        own += dry_run.PARAMETERS
    return own


def query_parameters(route: Route) -> frozenset[str] | None:
    """Return the names of a route's query parameters; None for pages and files, whose links may have others."""
    operation = route.operation
    if "application/json" not in operation.media_types or "text/html" in operation.media_types:
        return None
    return frozenset(parameter.name for parameter in parameters_of(route) if parameter.place == "query")


def _is_cacheable(route: Route) -> bool:
    return route.method == "GET" and route.operation.is_tagged


def waits(route: Route) -> bool:
    """Return whether a client may ask the route to wait for a position."""
    return route.method == "GET" and route.access.roles is not None and route in ROUTES


def _takes_key(route: Route) -> bool:
    return route.method == "POST" and route.access.roles is not None and not route.operation.starts_process


def _parameter(parameter: Parameter[Any], components: Components) -> dict[str, Any]:
    required = parameter.place == "path"
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": required,
        "description": parameter.description,
        "schema": components.tidy(parameter.schema),
    }


def _callers(route: Route) -> str:
    if route.access.roles is None:
        return "Public."
    if route.access.token is TokenType.REFRESH:
        return "Needs the refresh token."
    others = "; or the secret for Prometheus" if route.access.by_secret else ""
    return f"Roles: {', '.join(sorted(route.access.roles))}{others}. {_machines(route)}"


def _machines(route: Route) -> str:
    if route.scope is None:
        return "Not for machine clients."
    return "Machine clients with any scope." if route.scope == ANY_SCOPE else f"Machine clients: `{route.scope}`."


def _tag(route: Route) -> str:
    first = route.path.split("/")[1]
    return first if route not in UNVERSIONED and first in TAGS else "service"


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access.roles is None:
        return []
    if route.scope is None:
        return [{"refreshToken" if route.access.token is TokenType.REFRESH else "accessToken": []}]
    return [{"accessToken": []}, {"machine": [] if route.scope == ANY_SCOPE else [route.scope]}]


def _success(route: Route, components: Components) -> dict[str, Any]:
    operation = route.operation
    names = ["X-Request-Id", *operation.response_headers, *route.limit_headers]
    if LIMIT in operation.parameters:
        names.append("Link")
    if route.method != "GET" and not operation.starts_process:
        names.append("Ledger-Position")
    if _takes_key(route):
        names.append("Idempotent-Replayed")
    if route.takes_dry_run:
        names.append(dry_run.HEADER)
    response: dict[str, Any] = {
        "description": operation.response_description or components.describe(operation.response_model),
        "headers": _headers(*names),
    }
    if operation.response_model is not None:
        models = {"application/json": operation.response_model, **operation.other_models}
        response["content"] = {media: _body(models.get(media), components) for media in operation.media_types}
    return response


def _body(model: Any, components: Components) -> dict[str, Any]:
    """Return the description of a body in JSON, or of another one without a model."""
    if model is None:
        return {"schema": {"type": "string"}}
    schema = components.answer(model)
    return {"schema": schema, "example": components.example(schema)}


def _problems(route: Route) -> dict[str, Any]:
    operation = route.operation
    by_status: dict[int, list[str]] = {}
    for refusing in refusals_of(route):
        by_status.setdefault(CATALOGUE[example_refusal(refusing).code].status, []).append(_name(refusing))
    headers = (*(name for name in operation.response_headers if name not in CREATED), *route.limit_headers)
    headers += (dry_run.HEADER,) if route.takes_dry_run else ()
    return {str(status): _problem(status, names, headers) for status, names in sorted(by_status.items())}


def _problem(status: int, names: list[str], headers: tuple[str, ...]) -> dict[str, Any]:
    schema = {"$ref": REF.format(Problem.__name__)}
    examples = {name: {"$ref": f"#/components/examples/{name}"} for name in names}
    problem, plain = MEDIA
    return {
        "description": phrase(status),
        "headers": _headers("X-Request-Id", *_PROBLEM_HEADERS.get(status, ()), *headers),
        "content": {problem: {"schema": schema, "examples": examples}, plain: {"schema": schema}},
    }


def _headers(*names: str) -> dict[str, dict[str, str]]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_examples(routes: Sequence[Route]) -> dict[str, Any]:
    used = {_name(refusing): refusing for route in routes for refusing in refusals_of(route)}
    made = {name: example_refusal(refusing) for name, refusing in sorted(used.items())}
    return {name: {"value": example_problem(refusal, "/v1/transactions/transfer")} for name, refusal in made.items()}


def example_problem(refusal: Refusal, instance: str) -> dict[str, Any]:
    """Return the problem that reports this refusal of a request for this path."""
    return problem_body(
        [refusal],
        instance=instance,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        timestamp=_NOON,
    )


def example_refusal(refusing: Refusing) -> Refusal:
    """Return an example of a refusal; the arguments of a function are examples too."""
    if isinstance(refusing, Refusal):
        return refusing
    arguments = [
        _EXAMPLES.get(name) or _EXAMPLES[parameter.annotation]
        for name, parameter in inspect.signature(refusing).parameters.items()
    ]
    return refusing(*arguments)


def _name(refusing: Refusing) -> str:
    return refusing.code if isinstance(refusing, Refusal) else refusing.__name__
