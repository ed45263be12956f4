"""The API as a document (OpenAPI 3.1), made of the route table, the schemas that parse requests, and `web.operations`.

Pure: the same tables make the same document.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from ledger import __version__, errors
from ledger.errors import Refusal
from ledger.jwt import TokenType
from web.answers import Problem
from web.catalogue import CATALOGUE, phrase
from web.errors import (
    DATABASE_DOWN,
    INTERNAL,
    MALFORMED,
    NOT_JSON,
    OVERLOADED,
    TOO_LARGE,
    TOO_SLOW,
    problem_body,
)
from web.errors import MEDIA as PROBLEM_MEDIA
from web.handlers import lines
from web.operations import CREATED, ID, LIMIT, MIN_POSITION, OPERATIONS, Operation, Parameter, Refusing
from web.routes import ANYONE, ROUTES, UNVERSIONED, VERSIONS, Route
from web.schemas import ConditionalTransfer
from web.wording import members_of

MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
_REF = "#/components/schemas/{}"
_EXAMPLE_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_EXAMPLES: dict[Any, Any] = {
    UUID: _EXAMPLE_ID,
    int: 1,
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
_HASH = "A" * 43 + "="
_PLAIN = {"uuid": str(_EXAMPLE_ID), "date-time": _NOON, "base64": _HASH, "boolean": True, "integer": 1, "string": "…"}

DESCRIPTION = """\
A double-entry ledger over HTTP. Money moves between accounts; all balances together are always zero.

- `/v2` is the same API as `/v1`; any other version is 400 `api_version_error`.
- Amounts are integers in minor units, within ±(2^53 - 1). Times are RFC 3339, in UTC, with microseconds.
- Every answer has `X-Request-Id`, the client's own if it sent a plain word. Whatever is not a success is a problem \
(RFC 9457) with the reasons as stable codes.
- A path that is not here is 404 `resource_not_found`; a method that a path does not have is 405 `method_not_allowed` \
with `Allow`. HEAD works wherever GET does, and OPTIONS answers `Allow` on every path.
- Lists have up to 10,000 items, or up to `limit` (1 to 1,000), and `Link: rel="next"` while there are more. They are \
compressed for clients whose `Accept-Encoding` says so.
"""
_KEY = Parameter(
    "Idempotency-Key",
    "The same request under the same key is carried out once, and answered the same",
    {"type": "string", "pattern": "^[!-~]{1,255}$", "examples": ["rent-may"]},
    place="header",
)
_ENTITY_TAGS = {"type": "string", "examples": ['"3"']}
_IF_MATCH = Parameter("If-Match", "The `ETag` at which it is to be changed, or debited", _ENTITY_TAGS, place="header")
_IF_NONE_MATCH = Parameter("If-None-Match", "The `ETag` that the client has", _ENTITY_TAGS, place="header")
_PATH_ID = Parameter("id", "Which one", ID, place="path")
_TAGS = {  # in this order
    "auth": "Sessions and their tokens",
    "users": "Who may call, and as what",
    "accounts": "Accounts, their statements and receipts",
    "transactions": "Money on the move",
    "events": "The log",
    "ledger": "The books as a whole",
    "audit": "Who did what",
    "service": "The service itself",
}
_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": ("Names the request in the service's log", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}),
    "ETag": ("The version of the resource", {"type": "string", "pattern": r'^"[0-9]+(\.[0-9a-f]+)?"$'}),
    "Idempotent-Replayed": ("The request had been carried out before", {"const": "true"}),
    "Ledger-Position": ("Up to where in the log the effect is", {"type": "string", "pattern": "^[0-9]+$"}),
    "Location": ("The path of the new resource", {"type": "string", "format": "uri-reference"}),
    "Link": ('The next page, `rel="next"`, while there is one (RFC 8288)', {"type": "string"}),
    "Location": ("Where to look", {"type": "string", "format": "uri-reference"}),
    "RateLimit": ("What is left of each limit, and when it resets", {"type": "string"}),
    "RateLimit-Policy": ("The limits that apply (draft-ietf-httpapi-ratelimit-headers-10)", {"type": "string"}),
    "Retry-After": ("Seconds to wait", {"type": "string", "pattern": "^[0-9]+$"}),
    "Vary": ("The request headers that the answer depends on", {"type": "string"}),
    "WWW-Authenticate": ("How to authenticate", {"const": "Bearer"}),
}
_PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_TO_BROWSERS = {
    "description": "To a browser that has no token: where the documentation is",
    "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "Location", "Vary")},
}
_NOT_MODIFIED = {
    "description": "The client has it already",
    "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "ETag")},
}


class _Schemas:
    """The schemas of all bodies. What is taken and what is given are two things, also where they share a name."""

    def __init__(self, operations: Any) -> None:
        operations = list(operations)
        taken = sorted({op.takes for op in operations if op.takes}, key=lambda model: model.__name__)
        given = [op.gives for op in operations if op.gives is not None]
        _, definitions = models_json_schema(
            [(model, "validation") for model in taken],
            ref_template=_REF.format("{model}Request"),
            schema_generator=_WithoutTitles,
        )
        requests = {f"{name}Request": schema for name, schema in definitions.get("$defs", {}).items()}
        schemas, answers = msgspec.json.schema_components([*given, Problem], ref_template=_REF.format("{name}"))
        self._of = dict(zip(map(repr, given), schemas, strict=False))
        self.components = dict(sorted({**requests, **answers}.items()))

    def given(self, body: Any) -> dict[str, Any]:
        """The schema of an answer's body."""
        return self._of[repr(body)]

    def example(self, schema: Mapping[str, Any]) -> Any:
        """An example of a schema, put together from those of its parts."""
        match schema:
            case {"examples": [first, *_]} | {"const": first} | {"enum": [first, *_]}:
                return first
            case {"$ref": str(reference)}:
                return self.example(self.components[reference.rpartition("/")[2]])
            case {"anyOf": [first, *_]}:
                return self.example(first)
            case {"type": "object"}:
                return {name: self.example(schema["properties"][name]) for name in schema.get("required", ())}
            case {"type": "array"}:
                return [self.example(schema["items"])]
            case _:
                return _PLAIN[schema.get("format") or schema.get("contentEncoding") or schema["type"]]


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


@cache
def document() -> bytes:
    """The document of this service, encoded."""
    return msgspec.json.encode(described({route: OPERATIONS[route.handler] for route in (*UNVERSIONED, *ROUTES)}))


def described(operations: Mapping[Route, Operation]) -> dict[str, Any]:
    """The document of these routes."""
    schemas = _Schemas(operations.values())
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in operations.items():
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(route, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ledger", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in _HEADERS.items()},
            "examples": _problem_examples(operations),
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "refreshToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def path_of(route: Route) -> str:
    """The path of a route, in the first version."""
    return route.path if route in UNVERSIONED else f"/{VERSIONS[0]}{route.path}"


def operation_id(route: Route) -> str:
    """Return what generated clients call a route: its handler's name, in camel case."""
    first, *others = route.handler.__name__.split("_")
    return first + "".join(word.capitalize() for word in others)


def example_path(route: Route) -> str:
    """Return the path of a request that takes this route."""
    return path_of(route).replace("{id}", str(_EXAMPLE_ID))


def refusals_of(route: Route, operation: Operation) -> Iterator[Refusing]:
    """All that a route may refuse, or fail with: what is its own, and what follows from what it is."""
    yield MALFORMED
    if route.access.roles is not None:
        yield from (errors.authorization_missing, errors.authorization_without_token, errors.wrong_credentials)
        yield from (DATABASE_DOWN, OVERLOADED)
    if route.access.roles is not None and route.access.roles != ANYONE.roles:
        yield errors.forbidden
    if _takes_key(route):
        yield from (errors.idempotency_key_reused, errors.idempotency_key_in_use)
    if waits(route):
        yield errors.position_not_reached
    if operation.is_conditional:
        yield errors.precondition_failed
    if operation.takes is not None:
        yield from (TOO_SLOW, TOO_LARGE, NOT_JSON)
        yield from (errors.invalid, errors.unknown_member)
    if parameters_of(route, operation):
        yield errors.invalid_parameter
    if query_parameters(route, operation) is not None:
        yield errors.unknown_parameter
    yield from operation.refuses
    yield INTERNAL


def _operation(route: Route, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": operation.summary,
        "description": _callers(route),
        "tags": [_tag(route)],
        "security": _security(route),
        "parameters": [_parameter(parameter) for parameter in parameters_of(route, operation)],
        "responses": {
            str(operation.status): _success(route, operation, schemas),
            **({"303": _TO_BROWSERS} if route.access.browsers_to else {}),
            **({"304": _NOT_MODIFIED} if _is_cacheable(route, operation) else {}),
            **_problems(route, operation),
        },
    }
    if operation.takes is not None:
        schema = {"$ref": _REF.format(f"{operation.takes.__name__}Request")}
        json = {"schema": schema, "example": schemas.example(schema)}
        media = ("application/json", MERGE_PATCH) if route.method == "PATCH" else ("application/json",)
        text = {media: {"schema": {"type": "string"}} for media in lines.MEDIA if operation.lines}
        described["requestBody"] = {
            "required": not operation.body_is_optional,
            "content": {**dict.fromkeys(media, json), **text},
        }
    return described


def parameters_of(route: Route, operation: Operation) -> list[Parameter]:
    """The parameters of a route: its own, the id in its path, and a key for what can be repeated safely."""
    own = [*operation.parameters]
    if "{id}" in route.path:
        own.insert(0, _PATH_ID)
    if _takes_key(route):
        own.append(_KEY)
    if operation.is_conditional:
        own.append(_IF_MATCH)
    if _is_cacheable(route, operation):
        own.append(_IF_NONE_MATCH)
    if waits(route):
        own.append(MIN_POSITION)
    return own


def query_parameters(route: Route, operation: Operation) -> frozenset[str] | None:
    """Return the query parameters that a route has; None for pages and files, where links may carry others."""
    if "application/json" not in operation.media or "text/html" in operation.media:
        return None
    return frozenset(parameter.name for parameter in parameters_of(route, operation) if parameter.place == "query")


def _is_cacheable(route: Route, operation: Operation) -> bool:
    return route.method == "GET" and operation.is_tagged


def waits(route: Route) -> bool:
    """Whether a client may ask it to wait for a position."""
    return route.method == "GET" and route.access.roles is not None and route in ROUTES


def _takes_key(route: Route) -> bool:
    return route.method == "POST" and route.access.roles is not None


def _parameter(parameter: Parameter) -> dict[str, Any]:
    required = parameter.place == "path"
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _callers(route: Route) -> str:
    if route.access.roles is None:
        return "For everyone."
    if route.access.token is TokenType.REFRESH:
        return "With the refresh token."
    others = ", and whoever has the secret for Prometheus" if route.access.by_secret else ""
    return f"For {', '.join(sorted(route.access.roles))}{others}."


def _tag(route: Route) -> str:
    first = route.path.split("/")[1]
    return first if route not in UNVERSIONED and first in _TAGS else "service"


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access.roles is None:
        return []
    return [{"refreshToken" if route.access.token is TokenType.REFRESH else "accessToken": []}]


def _success(route: Route, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    names = ["X-Request-Id", *operation.headers]
    if LIMIT in operation.parameters:
        names.append("Link")
    if route.method != "GET":
        names.append("Ledger-Position")
    if _takes_key(route):
        names.append("Idempotent-Replayed")
    response: dict[str, Any] = {"description": operation.summary, "headers": _headers(*names)}
    if operation.gives is not None:
        schema = schemas.given(operation.gives)
        json = {"schema": schema, "example": schemas.example(schema)}
        text = {"schema": {"type": "string"}}
        response["content"] = {media: json if media == "application/json" else text for media in operation.media}
    return response


def _problems(route: Route, operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for refusing in refusals_of(route, operation):
        by_status.setdefault(CATALOGUE[example_refusal(refusing).code].status, []).append(_name(refusing))
    headers = tuple(name for name in operation.headers if name not in CREATED)
    return {str(status): _problem(status, names, headers) for status, names in sorted(by_status.items())}


def _problem(status: int, names: list[str], headers: tuple[str, ...]) -> dict[str, Any]:
    schema = {"$ref": _REF.format("Problem")}
    examples = {name: {"$ref": f"#/components/examples/{name}"} for name in names}
    problem, plain = PROBLEM_MEDIA
    return {
        "description": phrase(status),
        "headers": _headers("X-Request-Id", *_PROBLEM_HEADERS.get(status, ()), *headers),
        "content": {problem: {"schema": schema, "examples": examples}, plain: {"schema": schema}},
    }


def _headers(*names: str) -> dict[str, dict[str, str]]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_examples(operations: Mapping[Route, Operation]) -> dict[str, Any]:
    used = {_name(refusing): refusing for pair in operations.items() for refusing in refusals_of(*pair)}
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
    """A refusal as it may be: one that depends on something, of an example of that."""
    if isinstance(refusing, Refusal):
        return refusing
    arguments = [
        _EXAMPLES.get(name) or _EXAMPLES[parameter.annotation]
        for name, parameter in inspect.signature(refusing).parameters.items()
    ]
    return refusing(*arguments)


def _name(refusing: Refusing) -> str:
    return refusing.code if isinstance(refusing, Refusal) else refusing.__name__
