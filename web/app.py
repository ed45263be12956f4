"""Puts the service together: routes, the layers around every request, and what is opened and closed with it."""

import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import structlog
from aiohttp import web

from ledger.errors import Refused
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.throttle import TooManyAttemptsError
from web.auth import guarded
from web.context import ACTOR, REQUEST_ID, RUNTIME, request_id
from web.cors import Inner, add_cors
from web.errors import problem, refusals_of, unknown_version
from web.feed import add_feeds
from web.handlers.docs import OPENAPI
from web.openapi import document
from web.reply import Reply
from web.routes import ROUTES, UNVERSIONED, VERSIONS

log = structlog.get_logger()


def create_app(settings: Settings) -> web.Application:
    """The application; it opens its runtime when it starts."""
    app = web.Application(
        middlewares=[observed],
        client_max_size=settings.ledger_body_limit_bytes,
    )
    for route in UNVERSIONED:
        app.router.add_route(route.method, route.path, guarded(route.access, route.handler))
    for version in VERSIONS:
        for route in ROUTES:
            app.router.add_route(route.method, f"/{version}{route.path}", guarded(route.access, route.handler))
    app[OPENAPI] = document()
    add_cors(app, settings.ledger_cors_origins.split())
    add_feeds(app)
    app.cleanup_ctx.append(_runtime(settings))
    return app


def _runtime(settings: Settings) -> Callable[[web.Application], AsyncIterator[None]]:
    async def opened(app: web.Application) -> AsyncIterator[None]:
        async with open_runtime(settings) as runtime:
            app[RUNTIME] = runtime
            yield

    return opened


@web.middleware
async def observed(request: web.Request, handler: Inner) -> Reply:
    """The outermost layer: an id for the request, an answer to whatever is raised, headers, and one line in the log."""
    started = time.perf_counter()
    request[REQUEST_ID] = trace_id = request_id(request)
    try:
        response = cast("Reply", await handler(request))
    except Exception as error:  # noqa: BLE001 - this is where every error ends
        response = await _explanation(request, error)
    response.request_id = trace_id
    actor = request.get(ACTOR)
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status,
        milliseconds=round((time.perf_counter() - started) * 1000, 2),
        request_id=trace_id,
        user_id=str(actor.user_id) if actor else None,
    )
    return response


async def _explanation(request: web.Request, error: Exception) -> Reply:
    """The contract's answer to whatever was raised; what nobody foresaw is logged with its traceback."""
    refusals = refusals_of(error)
    if isinstance(error, web.HTTPNotFound) and await _is_unknown_version(request):
        refusals = (unknown_version(request.path.split("/")[1]),)
    if refusals[0].code in {"internal_error", "database_error"}:
        log.error("request failed", request_id=request[REQUEST_ID], exc_info=error)
    headers = {"Allow": error.headers["Allow"]} if isinstance(error, web.HTTPMethodNotAllowed) else {}
    if isinstance(error, Refused) and error.replayed:
        headers["Idempotent-Replayed"] = "true"
    if isinstance(error, TooManyAttemptsError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return problem(refusals, instance=request.path, trace_id=request[REQUEST_ID], headers=headers)


async def _is_unknown_version(request: web.Request) -> bool:
    """Whether the path would be one of ours but for its first part, or at least names a version."""
    _, first, rest = [*request.path.split("/", 2), "", ""][:3]  # of `*` (RFC 9112, section 3.2.4) there is only one
    if first in VERSIONS or not rest:
        return False
    if first.startswith("v") and first[1:].isdigit():
        return True
    known = request.clone(rel_url=f"/{VERSIONS[0]}/{rest}")
    return (await request.app.router.resolve(known)).http_exception is None
