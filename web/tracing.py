"""A span for each request. Imported only if tracing is on."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Middleware
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from web.http.cors import Inner


def trace_requests(tracer: Tracer) -> Middleware:
    """Return the middleware that records a span, as part of the client's trace if `traceparent` names one (W3C)."""
    propagator = TraceContextTextMapPropagator()

    @web.middleware
    async def layer(request: web.Request, handler: Inner) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        with tracer.start_as_current_span(
            f"{request.method} {route}".strip(),
            propagator.extract(request.headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": request.method, "http.route": route, "url.path": request.path},
        ) as span:
            response = await handler(request)
            span.set_attribute("http.response.status_code", response.status)
            span.set_attribute("ledger.request_id", getattr(response, "request_id", ""))
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
            return response

    return layer
