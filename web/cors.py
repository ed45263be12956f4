"""Cross-origin requests (Fetch standard, section 3.2) from the origins that the settings name; none by default.

Tokens travel in a header that no browser adds by itself, so credentials are never allowed.
"""

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from web.auth import Handler

ALLOWED_METHODS = "GET, POST, PUT, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
EXPOSED_HEADERS = "Link, X-Request-Id, Idempotent-Replayed, Retry-After"
MAX_AGE_SECONDS = "600"


def cors(origins: Sequence[str]) -> Middleware:
    """The layer that answers preflight requests and lets these origins read answers."""
    allowed = frozenset(origins)

    @web.middleware
    async def share(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or origin not in allowed:
            return await handler(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
            response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = MAX_AGE_SECONDS
        else:
            response = await handler(request)
            response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
        return response

    return share
