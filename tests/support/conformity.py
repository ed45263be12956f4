"""Check every response that a test gets against the document: its status, error codes and body."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from web.http.catalogue import CATALOGUE, page_of
from web.openapi import example_refusal, refusals_of
from web.responses import Problem
from web.routes import ROUTES, UNVERSIONED, VERSIONS
from web.routes.route import Operation, Route

SAYS_MORE = {"authentication_wrong_credentials"}  # its description depends on the request
ELSEWHERE = {"resource_not_found", "method_not_allowed", "api_version_error", "malformed_request"}


def _pattern(route: Route) -> re.Pattern[str]:
    version = "" if route in UNVERSIONED else f"/({'|'.join(VERSIONS)})"
    return re.compile(version + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route.path)))


_PATTERNS = [(_pattern(route), route) for route in (*UNVERSIONED, *ROUTES)]


def check(method: str, path: str, status: int, headers: Mapping[str, str], body: Any) -> None:
    """Fail unless the document describes this response. Of the console, which it leaves out, only check errors."""
    if path.startswith("/console"):
        if status >= 400:
            _check_catalogued(status, msgspec.convert(body, Problem))
        return
    route = route_of("GET" if method == "HEAD" else method, path)
    if method == "HEAD" or (method, status) == ("OPTIONS", 204):
        assert not body
        assert route is None or status != 200 or route.operation.is_tagged == ("ETag" in headers)
    elif status >= 400:
        problem = msgspec.convert(body, Problem)
        codes = ELSEWHERE if route is None else codes_of(route)
        undocumented = {reason.code for reason in problem.errors} - codes
        assert not undocumented, f"{method} {path} returned {undocumented}: list it in web/routes/"
        _check_catalogued(status, problem)
    elif status == 304:
        assert route is not None
        assert route.operation.is_tagged
        assert body == ""
        assert "ETag" in headers
    elif status == 303:
        assert route is not None
        assert route.access.browsers_to == headers["Location"]
        assert body == ""
    elif route is not None:
        _check_success(route.operation, status, headers, body)


def _check_catalogued(status: int, problem: Problem) -> None:
    first = CATALOGUE[problem.errors[0].code]
    assert (status, first.title, page_of(problem.errors[0].code)) == (problem.status, problem.title, problem.type)
    for reason in problem.errors:
        known = CATALOGUE[reason.code]
        assert (known.kind, known.help, page_of(reason.code)) == (reason.kind, reason.help, reason.doc_url)
        assert reason.description == known.description or reason.code in SAYS_MORE


def route_of(method: str, path: str) -> Route | None:
    """Return the route that a request matches, or None."""
    fitting = [route for pattern, route in _PATTERNS if pattern.fullmatch(path)]
    literal = [route for route in fitting if not route.path.endswith("{id}")]  # a literal path wins over an id
    return next((route for route in literal or fitting if route.method == method), None)


def codes_of(route: Route) -> set[str]:
    """Return the codes of all errors that the document lists for a route."""
    return {example_refusal(refusing).code for refusing in refusals_of(route)}


def _check_success(operation: Operation, status: int, headers: Mapping[str, str], body: Any) -> None:
    assert operation.status == status
    assert operation.is_tagged == ("ETag" in headers)
    if operation.response_model is None:
        assert body == ""
        return
    media = headers["Content-Type"].partition(";")[0]
    assert media in operation.media_types
    models = {"application/json": operation.response_model, **operation.other_models}
    if media in models:
        assert _members(body) == _members(msgspec.to_builtins(msgspec.convert(body, models[media])))


def _members(body: Any) -> Any:
    """Return the names of all members, at any depth. `convert` alone would accept a body without a struct's tag."""
    match body:
        case dict():
            return {name: _members(member) for name, member in body.items()}
        case list():
            return [_members(item) for item in body]
        case _:
            return None
