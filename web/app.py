"""The application: routes, middlewares, and the resources that it opens and closes."""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.typedefs import Middleware

from ledger.concurrency.dataloader import DataLoader
from ledger.concurrency.deadline import start_deadline
from ledger.concurrency.signal import Signal
from ledger.concurrency.tasks import running
from ledger.concurrency.turns import Turns
from ledger.errors import DatabaseError, OverloadedError, Refused
from ledger.identity.login_throttle import TooManyAttemptsError
from ledger.identity.rate_limit import TooManyRequestsError
from ledger.publish.webhooks.sender import open_sender
from ledger.publish.webhooks.service import send_webhooks
from ledger.runtime import Runtime, open_runtime
from ledger.service.health import Health, read_health
from ledger.service.logging import ACCESS
from ledger.service.metrics import WebhookDeliveries
from ledger.service.operations.runner import open_operations
from ledger.service.operations.state import Board
from ledger.service.outage_log import OutageLog
from ledger.service.sampling import keep_sampling, sample_lookups
from ledger.service.tracer import choose_committer, choose_remote_writer
from ledger.settings import Settings
from ledger.store.identity import read_identity
from ledger.write.crossings import watch_balances
from ledger.write.hold_expiry import Expirer
from ledger.write.operations import OperationRecorder
from ledger.write.scheduler import Scheduler
from web.asyncapi import events_document
from web.auth import Handler, guard, limit_requests, require_recent_login
from web.handlers.batch import BATCH_LIMIT, MAX_BATCHES, MAX_BATCHES_EACH
from web.handlers.docs import ASYNCAPI, OPENAPI
from web.handlers.error_pages import EXAMPLES
from web.handlers.ledger_status import STATUS, keep_status
from web.handlers.monitoring import DRAINING, HEALTH, METRICS
from web.handlers.projections import OPERATIONS
from web.handlers.statements import STATEMENTS, Statements
from web.handlers.webhooks import MAX_TESTS, MAX_TESTS_EACH, SENDER, TESTS
from web.http.account_refs import name_as_sent
from web.http.concurrency import ConcurrencyLimit
from web.http.cors import Inner, add_cors
from web.http.dry_run import allow_dry_run, headers_of
from web.http.errors import problem, refusals_of, unknown_version
from web.http.negotiation import accept_of
from web.http.pagination import LARGE_LISTS, LargeLists
from web.http.ratelimit import LIMITS, limit_headers
from web.http.replica import refuse_unknown_parameters, wait_for_position
from web.http.request import ACTOR, REQUEST_ID, RUNTIME, make_request_id, read_client_request_id
from web.http.response import Reply
from web.http.sse import add_feeds
from web.http.submit import TURNS
from web.metrics import Metrics, RouteMetrics
from web.openapi import document, query_parameters, waits
from web.reference import examples
from web.routes import CONSOLE, ROUTES, UNVERSIONED, VERSIONS
from web.routes.route import Route

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

OUTAGES = web.AppKey("OUTAGES", OutageLog)

SERVED_VERSIONS = (HttpVersion11, HttpVersion10)  # not 0.9, whose responses have no status
log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS)


def create_app(
    settings: Settings,
    metrics: Metrics | None = None,
    tracer: "Tracer | None" = None,
    dialing: socket.socket | None = None,
) -> web.Application:
    """Return the application. It opens its runtime at startup; without `metrics` it has its own.

    With `dialing`, it sends its commands to the writer process.
    """
    metrics = metrics or make_metrics()
    counted: dict[web.AbstractRoute, RouteMetrics] = {}
    app = web.Application(
        client_max_size=settings.ledger_body_limit_bytes,
    )
    app[OPENAPI], app[ASYNCAPI], app[EXAMPLES] = document(), events_document(), examples()
    app[METRICS], app[DRAINING] = metrics, asyncio.Event()
    app.middlewares.append(_observe(app, counted, settings.ledger_database_patience_seconds))
    for prefix, routes in (("", UNVERSIONED), ("", CONSOLE), *((f"/{version}", ROUTES) for version in VERSIONS)):
        words = _group_last_words(routes)
        for route in routes:
            path, access = prefix + _exclude_words(route.path, words), replace(route.access, scope=route.scope)
            behind = guard(access, _check_parameters(route))
            for method in route.methods:
                added = app.router.add_route(method, path, behind)
                counted[added] = metrics.make_route_metrics(method, route.path)
    add_cors(app, settings.ledger_cors_origins.split())
    add_feeds(app)
    app[OUTAGES] = OutageLog()
    app[BATCH_LIMIT], app[TURNS], app[LARGE_LISTS] = (
        ConcurrencyLimit(MAX_BATCHES, each=MAX_BATCHES_EACH),
        Turns(),
        LargeLists(),
    )
    app[STATEMENTS] = Statements()
    app[TESTS] = ConcurrencyLimit(MAX_TESTS, each=MAX_TESTS_EACH)
    app.cleanup_ctx.append(_manage_runtime(settings, tracer, dialing))
    if tracer is not None:
        from web.tracing import trace_requests  # noqa: PLC0415 - it needs an optional dependency

        app.middlewares.insert(0, trace_requests(tracer))
    return app


def _check_parameters(route: Route) -> Handler:
    """Return the route's handler behind the limit of its caller's requests and the checks of its query parameters."""
    handler = wait_for_position(route.handler) if waits(route) else route.handler
    if route.is_sensitive:
        handler = require_recent_login(handler)
    if route.takes_dry_run:
        handler = allow_dry_run(handler)
    if route.rate_class is not None:
        handler = limit_requests(route.rate_class, handler)
    names = query_parameters(route)
    return handler if names is None else refuse_unknown_parameters(names, handler)


def _group_last_words(routes: Iterable[Route]) -> Mapping[str, Sequence[str]]:
    """Return the literal last words of the paths, by what is before them."""
    words = defaultdict(set)
    for route in routes:
        parent, _, last = route.path.rpartition("/")
        if "{" not in last:
            words[parent].add(last)
    return {parent: sorted(found) for parent, found in words.items()}


def _exclude_words(path: str, last_words: Mapping[str, Sequence[str]]) -> str:
    """Return the path with a pattern for its id that excludes the literal words of other paths in that place."""
    parent, _, last = path.rpartition("/")
    words = last_words.get(parent, ())
    return f"{parent}/{{id:(?!(?:{'|'.join(words)})$)[^{{}}/]+}}" if last == "{id}" and words else path


def make_metrics(file: int | None = None, slot: int = 0) -> Metrics:
    """Return the application's metrics, in its own memory or in a slot of a shared file."""
    routes = (*UNVERSIONED, *CONSOLE, *ROUTES)
    return Metrics([(method, route.path) for route in routes for method in route.methods], file, slot)


def _manage_runtime(
    settings: Settings, tracer: "Tracer | None", dialing: socket.socket | None
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def opened(app: web.Application) -> AsyncIterator[None]:
        metrics, signal = app[METRICS], Signal()
        async with AsyncExitStack() as stack:
            opening = open_runtime(
                settings,
                watch=metrics.commit_groups.signalling(signal),
                create_committer=choose_committer(tracer),
                dialing=dialing,
                create_remote_writer=choose_remote_writer(tracer),
                waits=True,
            )
            app[RUNTIME] = runtime = await stack.enter_async_context(opening)
            app[SENDER] = await stack.enter_async_context(open_sender(settings.webhook_allow_list()))
            app[HEALTH] = DataLoader(lambda _: _read_health(runtime))
            app[STATUS] = keep_status(runtime)
            board = Board(runtime.redis, await read_identity(runtime.pool))
            app[OPERATIONS] = await stack.enter_async_context(open_operations(settings, runtime.pool, board))
            await stack.enter_async_context(running(keep_sampling(metrics.meter, lambda: _sample(app))))
            if dialing is None:
                expiring = Expirer(runtime.pool, runtime.committer).follow(settings.ledger_expiry_seconds)
                await stack.enter_async_context(running(expiring))
                executing = Scheduler(runtime.pool, runtime.committer, settings.roles_with_second_factor())
                await stack.enter_async_context(running(executing.follow(settings.ledger_schedule_seconds)))
                await stack.enter_async_context(running(watch_balances(settings, runtime.committer)))
                recording = OperationRecorder(runtime.pool, runtime.committer).follow()
                await stack.enter_async_context(running(recording))
                sending = send_webhooks(runtime, signal, WebhookDeliveries(metrics.meter), app[SENDER])
                await stack.enter_async_context(running(sending))
            yield

    return opened


def _sample(app: web.Application) -> None:
    app[METRICS].sample(app[RUNTIME])
    sample_lookups(app[METRICS].meter, app[SENDER].lookups)


async def _read_health(runtime: Runtime) -> dict[None, Health]:
    return {None: await read_health(runtime.pool)}


def _observe(
    app: web.Application, counted: Mapping[web.AbstractRoute, RouteMetrics], patience_seconds: float
) -> Middleware:
    unmatched, draining = app[METRICS].unmatched, app[DRAINING]

    @web.middleware
    async def observed(request: web.Request, handler: Inner) -> web.StreamResponse:
        """Run the outermost layer: deadline, request id, responses to exceptions, metrics and the access log."""
        started = time.perf_counter()
        start_deadline(patience_seconds)
        request[REQUEST_ID] = trace_id = make_request_id()
        client_id = read_client_request_id(request)
        try:
            if request.version not in SERVED_VERSIONS:
                raise web.HTTPBadRequest  # noqa: TRY301 - every error ends here
            response = cast("Reply", await handler(request))
        except Exception as error:  # noqa: BLE001 - this is where every error ends
            response = await _explain(request, error)
        response.request_id = trace_id
        if draining.is_set():
            response.force_close()
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
            **({"client_request_id": client_id} if client_id else {}),
        )
        return response

    return observed


async def _explain(request: web.Request, error: Exception) -> Reply:
    """Return the response to an exception; log an unexpected one with its traceback.

    The router raises for OPTIONS on every path that has other methods; that response is a success.
    """
    headers = dict(headers_of(request))
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ",".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))
        if request.method == hdrs.METH_OPTIONS:
            return Reply(status=204, headers=headers)
    refusals = name_as_sent(request, refusals_of(error))
    unrouted = isinstance(error, web.HTTPNotFound) and error is request.match_info.http_exception
    if unrouted and await _is_unknown_version(request):
        refusals = (unknown_version(request.path.split("/")[1]),)
    if refusals[0].code == "internal_error":
        log.error("request failed", request_id=request[REQUEST_ID], exc_info=error)
    elif refusals[0].code in {"database_error", "outcome_unknown", "overloaded"}:
        request.app[OUTAGES].warn("requests fail", code=refusals[0].code, reason=_describe(error))
    request.app[METRICS].count_refusals(refusals)
    if isinstance(error, Refused) and error.replayed:
        headers["Idempotent-Replayed"] = "true"
    quotas = request.get(LIMITS, ())
    if isinstance(error, TooManyAttemptsError | TooManyRequestsError):
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


def _describe(error: Exception) -> str:
    """Return what repeats in an outage, without ids."""
    return str(error) if isinstance(error, OverloadedError | DatabaseError) else type(error).__name__


async def _is_unknown_version(request: web.Request) -> bool:
    """Return whether the path has an unknown version before a known path, or at least names a version."""
    _, first, rest = [*request.path.split("/", 2), "", ""][:3]  # the target `*` (RFC 9112, section 3.2.4) has one part
    if first in VERSIONS or not rest:
        return False
    if first.startswith("v") and first[1:].isdigit():
        return True
    known = request.clone(rel_url=f"/{VERSIONS[0]}/{rest}")
    return (await request.app.router.resolve(known)).http_exception is None
