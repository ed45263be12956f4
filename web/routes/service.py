"""Routes about the service itself, with and without a version in their path."""

from dataclasses import replace
from typing import Any

from ledger import errors
from web import responses
from web.auth import ANY_SCOPE, PUBLIC, SCRAPER
from web.handlers import (
    docs,
    error_pages,
    monitoring,
    receipts,
    service,
)
from web.http.errors import NO_SUCH_RESOURCE
from web.routes.route import ANYONE, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/health",
        service.get_health,
        PUBLIC,
        Operation("Check that the service responds", response_model=responses.Health),
    ),
    Route(
        "GET",
        "/livez",
        monitoring.get_liveness,
        PUBLIC,
        Operation("Check that a worker is alive", response_model=responses.Liveness),
    ),
    Route(
        "GET",
        "/readyz",
        monitoring.get_readiness,
        PUBLIC,
        Operation(
            "Check that a worker is ready for requests",
            response_model=responses.Readiness,
            refusals=(errors.not_ready,),
        ),
    ),
    Route(
        "GET",
        "/version",
        service.get_version,
        PUBLIC,
        Operation("Return the name and version of the service", response_model=responses.Release),
    ),
)
UNVERSIONED = (
    Route(
        "GET",
        "/",
        service.get_greeting,
        replace(ANYONE, browsers_to="/console", owned=True),
        Operation("Return a greeting to an authenticated caller", response_model=responses.Greeting),
        scope=ANY_SCOPE,
    ),
    Route(
        "GET",
        "/metrics",
        monitoring.get_metrics,
        SCRAPER,
        Operation(
            "Return the metrics of all workers",
            response_model=str,
            response_description="Metrics in Prometheus' format",
            media_types=("text/plain",),
        ),
        scope="metrics:read",
    ),
    Route(
        "GET",
        "/.well-known/jwks.json",
        service.get_token_keys,
        PUBLIC,
        Operation("Return the public keys that verify tokens", response_model=responses.KeySet),
    ),
    Route(
        "GET",
        "/.well-known/ledger-seal.json",
        receipts.get_seal_keys,
        PUBLIC,
        Operation("Return the public key that verifies seals", response_model=responses.KeySet),
    ),
    Route(
        "GET",
        "/openapi.json",
        docs.get_api_document,
        PUBLIC,
        Operation("Return this document", response_model=dict[str, Any], response_description="An OpenAPI document"),
    ),
    Route(
        "GET",
        "/asyncapi.json",
        docs.get_events_document,
        PUBLIC,
        Operation(
            "Return the description of all events that leave the ledger",
            response_model=dict[str, Any],
            response_description="An AsyncAPI document",
        ),
    ),
    Route(
        "GET",
        "/docs",
        docs.get_docs_page,
        PUBLIC,
        Operation(
            "Show this document", response_model=str, response_description="A web page", media_types=("text/html",)
        ),
    ),
    Route(
        "GET",
        "/docs/{name}",
        docs.get_docs_asset,
        PUBLIC,
        Operation(
            "Return a file of that web page",
            response_model=str,
            response_description="The file",
            parameters=(docs.NAME,),
            refusals=(NO_SUCH_RESOURCE,),
            media_types=tuple(sorted(set(docs.ASSETS.values()))),
        ),
    ),
    Route(
        "GET",
        "/errors",
        error_pages.list_errors,
        PUBLIC,
        Operation("List all errors", response_model=list[error_pages.ErrorType], media_types=error_pages.MEDIA),
    ),
    Route(
        "GET",
        "/errors/{code}",
        error_pages.get_error,
        PUBLIC,
        Operation(
            "Explain an error and what a client can do about it",
            response_model=error_pages.ErrorType,
            parameters=(error_pages.CODE,),
            refusals=(NO_SUCH_RESOURCE,),
            media_types=error_pages.MEDIA,
        ),
    ),
)
