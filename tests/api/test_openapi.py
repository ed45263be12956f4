"""The OpenAPI document matches the service: every route, every error, and examples that work."""

import inspect
import json
import re
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from ledger import errors
from tests.support.conformity import codes_of
from tests.support.controls import Api
from web.handlers import docs
from web.handlers.client_tokens import FORM
from web.http.catalogue import CATALOGUE
from web.openapi import document, operation_id, path_of, refusals_of
from web.routes import ROUTES, UNVERSIONED
from web.routes.route import Route

EVERY = (*UNVERSIONED, *ROUTES)
VERBS = (
    *(
        "cancel",
        "capture",
        "change",
        "close",
        "confirm",
        "create",
        "delete",
        "disable",
        "enable",
        "end",
        "get",
        "issue",
        "list",
        "log",
    ),
    *(
        "offer",
        "open",
        "patch",
        "place",
        "post",
        "purge",
        "rebuild",
        "reconcile",
        "redeliver",
        "refresh",
        "register",
        "remove",
    ),
    *("reopen", "reverse", "revoke", "rotate", "start", "swap", "test", "undo", "update", "void"),
)
ELSEWHERE = {"method_not_allowed", "api_version_error"}  # raised outside of routes


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(document())
    return described


def test_every_route_is_described_and_nothing_else(served: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}

    assert {(route.method, path_of(route)) for route in EVERY} == described


def test_every_operation_has_a_unique_name_that_begins_with_a_verb() -> None:
    names = [operation_id(route) for route in EVERY]

    assert len(EVERY) == len(set(names))
    assert [] == [name for name in names if not re.fullmatch(rf"({'|'.join(VERBS)})([A-Z][a-z]+)+", name)]


def test_the_document_is_openapi_3_1(served: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(served).validate()


def test_every_refusal_is_documented_where_it_can_occur() -> None:
    made = {function for name, function in inspect.getmembers(errors, inspect.isfunction) if not name.startswith("_")}
    described = {refusing for route in EVERY for refusing in refusals_of(route)}

    assert set() == made - described


def test_every_code_is_described() -> None:
    assert set(CATALOGUE) - ELSEWHERE == {code for route in EVERY for code in codes_of(route)}


@pytest.mark.parametrize("route", EVERY, ids=lambda route: f"{route.method} {route.path}")
def test_the_examples_fit_the_models_of_the_service(served: dict[str, Any], route: Route) -> None:
    operation, described = route.operation, served["paths"][path_of(route)][route.method.lower()]

    if operation.request_model is not None:
        media = FORM if operation.is_form else "application/json"
        example = described["requestBody"]["content"][media]["example"]
        operation.request_model.model_validate_json(json.dumps(example))
    given = described["responses"][str(operation.status)].get("content", {}).get("application/json")
    assert (given is not None) == (operation.response_model is not None and "application/json" in operation.media_types)
    if given is not None:
        msgspec.convert(given["example"], operation.response_model)
    for media, model in operation.other_models.items():
        content = described["responses"][str(operation.status)]["content"][media]
        msgspec.convert(content["example"], model)


async def test_the_document_is_public(api: Api, served: dict[str, Any]) -> None:
    answer = await api.nobody.get("/openapi.json")

    assert (200, served) == (answer.status, answer.body)
    assert "application/json" == answer.headers["Content-Type"]


async def test_the_page_loads_its_files_only_from_the_service(api: Api) -> None:
    page = await api.nobody.get("/docs")

    assert (200, "text/html; charset=utf-8") == (page.status, page.headers["Content-Type"])
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "//" not in page.body
    for name, media in docs.ASSETS.items():
        part = await api.nobody.get(f"/docs/{name}")
        assert f"docs/{name}" in page.body
        assert (200, f"{media}; charset=utf-8") == (part.status, part.headers["Content-Type"])
    assert 404 == (await api.nobody.get("/docs/none")).status


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip", "gzip"), ("gzip;q=0, deflate", "deflate"), ("gzip;q=0", None)]
)
async def test_the_files_of_the_page_are_compressed_with_an_accepted_coding(
    api: Api, accepted: str, coding: str | None
) -> None:
    part = await api.nobody.get("/docs/style.css", headers={"Accept-Encoding": accepted})

    assert (200, coding) == (part.status, part.headers.get("Content-Encoding"))
    assert "Accept-Encoding" == part.headers["Vary"]
