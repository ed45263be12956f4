"""Puts the service together: routes, the layers around every request, and what is opened and closed with it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from ledger.concurrency.dataloader import Coalesced
from ledger.concurrency.tasks import running
from ledger.concurrency.turns import Turns
from ledger.errors import Refused
from ledger.identity.login_throttle import TooManyAttemptsError
from ledger.runtime import Runtime, open_runtime
from ledger.service.health import Standing, standing
from ledger.service.logging import ACCESS
from ledger.settings import Settings
from ledger.write.committer import Committer
from ledger.write.hold_expiry import Expirer
from web.auth import Handler, guarded
from web.handlers.batch import BATCH_LIMIT, MAX_BATCHES
from web.handlers.docs import OPENAPI
from web.handlers.error_pages import EXAMPLES
from web.handlers.monitoring import DRAINING, METRICS, STANDING
from web.http.concurrency import ConcurrencyLimit
from web.http.cors import Inner, add_cors
from web.http.errors import problem, refusals_of, unknown_version
from web.http.negotiation import accept_of
from web.http.pagination import LARGE_LISTS, LargeLists
from web.http.ratelimit import LIMITS, limit_headers
from web.http.replica import refuse_unknown_parameters, wait_for_position
from web.http.request import ACTOR, REQUEST_ID, RUNTIME, make_request_id
from web.http.response import Reply
from web.http.sse import add_feeds
from web.http.submit import TURNS
from web.metrics import Metrics, RouteMetrics
from web.openapi import document, query_parameters, waits
from web.reference import examples
from web.routes import ROUTES, UNVERSIONED, VERSIONS
from web.routes.route import Route

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS)


def create_app(settings: Settings, metrics: Metrics | None = None, tracer: "Tracer | None" = None) -> web.Application:
    """The application; it opens its runtime when it starts. Without `metrics` it counts for itself alone."""
    metrics = metrics or make_metrics()
    counted: dict[web.AbstractRoute, RouteMetrics] = {}
    app = web.Application(
        middlewares=[_observed(counted, metrics.unmatched)],
        client_max_size=settings.ledger_body_limit_bytes,
    )
    app[OPENAPI], app[EXAMPLES] = document(), examples()
    app[METRICS], app[DRAINING] = metrics, asyncio.Event()
    for prefix, routes in (("", UNVERSIONED), *((f"/{version}", ROUTES) for version in VERSIONS)):
        for route in routes:
            path, behind = prefix + _unambiguous(route.path, routes), guarded(route.access, _strict(route))
            for method in route.methods:
                added = app.router.add_route(method, path, behind)
                counted[added] = metrics.make_route_metrics(method, route.path)
    add_cors(app, settings.ledger_cors_origins.split())
    add_feeds(app)
    app[BATCH_LIMIT], app[TURNS], app[LARGE_LISTS] = ConcurrencyLimit(MAX_BATCHES), Turns(), LargeLists()
    app.cleanup_ctx.append(_runtime(settings, tracer))
    if tracer is not None:
        from web.tracing import traced  # noqa: PLC0415 - it needs what not everybody installs

        app.middlewares.insert(0, traced(tracer))
    return app


def _strict(route: Route) -> Handler:
    """Return the route's handler, which gets only requests with the parameters that the route has."""
    handler = wait_for_position(route.handler) if waits(route) else route.handler
    names = query_parameters(route)
    return handler if names is None else refuse_unknown_parameters(names, handler)


def _unambiguous(path: str, routes: Iterable[Route]) -> str:
    """The path, in which an id is none of the words that stand in its place in other paths."""
    parent, _, last = path.rpartition("/")
    others = {other.path.rpartition("/")[::2] for other in routes}
    words = sorted(word for folder, word in others if folder == parent and "{" not in word)
    return f"{parent}/{{id:(?!(?:{'|'.join(words)})$)[^{{}}/]+}}" if last == "{id}" and words else path


def make_metrics(file: int | None = None, slot: int = 0) -> Metrics:
    """Where all that this application does is counted: in memory of its own, or in a slot of shared memory."""
    routes = (*UNVERSIONED, *ROUTES)
    return Metrics([(method, route.path) for route in routes for method in route.methods], file, slot)


def _runtime(settings: Settings, tracer: "Tracer | None") -> Callable[[web.Application], AsyncIterator[None]]:
    async def opened(app: web.Application) -> AsyncIterator[None]:
        metrics = app[METRICS]
        async with open_runtime(settings, watch=metrics.batches.written, committing=_committing(tracer)) as runtime:
            app[RUNTIME] = runtime
            app[STANDING] = Coalesced(lambda _: _standing(runtime))
            expiring = Expirer(runtime.pool, runtime.committer).follow(settings.ledger_expiry_seconds)
            async with running(metrics.keep_sampling(runtime)), running(expiring):
                yield

    return opened


def _committing(tracer: "Tracer | None") -> Callable[..., Committer]:
    if tracer is None:
        return Committer
    from ledger.service.tracing import TracedCommitter  # noqa: PLC0415 - as above

    return partial(TracedCommitter, tracer)


async def _standing(runtime: Runtime) -> dict[None, Standing]:
    return {None: await standing(runtime.pool)}


def _observed(counted: Mapping[web.AbstractRoute, RouteMetrics], unmatched: RouteMetrics) -> Middleware:
    @web.middleware
    async def observed(request: web.Request, handler: Inner) -> web.StreamResponse:
        """The outermost layer: an id for the request, an answer to whatever is raised, headers, a count, a log line."""
        started = time.perf_counter()
        request[REQUEST_ID] = trace_id = make_request_id(request)
        try:
            response = cast("Reply", await handler(request))
        except Exception as error:  # noqa: BLE001 - this is where every error ends
            response = await _explanation(request, error)
        response.request_id = trace_id
        actor = request.get(ACTOR)
        seconds = time.perf_counter() - started
        counted.get(request.match_info.route, unmatched).count(response.status, seconds)
        access_log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status,
            milliseconds=round(seconds * 1000, 2),
            request_id=trace_id,
            user_id=str(actor.user_id) if actor else None,
        )
        return response

    return observed


async def _explanation(request: web.Request, error: Exception) -> Reply:
    """The contract's answer to whatever was raised; what nobody foresaw is logged with its traceback.

    The router raises for OPTIONS on every path that has other methods: that answer is a success.
    """
    headers: dict[str, str] = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ",".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))
        if request.method == hdrs.METH_OPTIONS:
            return Reply(status=204, headers=headers)
    refusals = refusals_of(error)
    unrouted = isinstance(error, web.HTTPNotFound) and error is request.match_info.http_exception
    if unrouted and await _is_unknown_version(request):
        refusals = (unknown_version(request.path.split("/")[1]),)
    if refusals[0].code in {"internal_error", "database_error"}:
        log.error("request failed", request_id=request[REQUEST_ID], exc_info=error)
    request.app[METRICS].count_refusals(refusals)
    if isinstance(error, Refused) and error.replayed:
        headers["Idempotent-Replayed"] = "true"
    quotas = request.get(LIMITS, ())
    if isinstance(error, TooManyAttemptsError):
        headers["Retry-After"] = str(error.retry_after_seconds)
        quotas = error.quotas
    if quotas:
        headers |= limit_headers(quotas)
    return problem(
        refusals,
        instance=request.path,
        trace_id=request[REQUEST_ID],
        accept=accept_of(request),
        headers=headers,
    )


async def _is_unknown_version(request: web.Request) -> bool:
    """Whether the path would be one of ours but for its first part, or at least names a version."""
    _, first, rest = [*request.path.split("/", 2), "", ""][:3]  # of `*` (RFC 9112, section 3.2.4) there is only one
    if first in VERSIONS or not rest:
        return False
    if first.startswith("v") and first[1:].isdigit():
        return True
    known = request.clone(rel_url=f"/{VERSIONS[0]}/{rest}")
    return (await request.app.router.resolve(known)).http_exception is None
