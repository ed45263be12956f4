"""Cross-origin requests (Fetch standard, section 3.2) from the origins in the settings, or from any (`*`).

Browsers do not send tokens by themselves, so credentials are never allowed.
"""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from web.http.response import Reply

Inner = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANY = "*"
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"
    ),
    "Access-Control-Max-Age": "600",
}
EXPOSED_HEADERS = (
    "Dry-Run, ETag, Idempotent-Replayed, Ledger-Position, Link, Location, RateLimit, RateLimit-Policy, Retry-After, "
    "X-Request-Id"
)


def add_cors(app: web.Application, origins: Sequence[str]) -> None:
    """Let pages of these origins, or of any (`*`), call the API and read its responses; answer preflight requests."""
    allowed = frozenset(origins)
    anybody = ANY in allowed

    async def share(request: web.Request, response: web.StreamResponse) -> None:
        origin = ANY if anybody else request.headers.get("Origin")
        if origin in allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        if not anybody:
            response.headers.add("Vary", "Origin")

    @web.middleware
    async def preflight(request: web.Request, handler: Inner) -> web.StreamResponse:
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        origin = request.headers.get("Origin")
        if asks and origin is not None and (anybody or origin in allowed):
            return Reply(status=204, headers=PREFLIGHT_HEADERS)
        return await handler(request)

    if allowed:
        app.on_response_prepare.append(share)
        app.middlewares.append(preflight)
