"""The headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).

Both are lists of structured fields (RFC 9651), with an item for each limit.
"""

from collections.abc import Mapping, Sequence

from aiohttp import web

from ledger.identity.login_throttle import Quota

LIMIT_HEADERS = ("RateLimit-Policy", "RateLimit")
LIMITS = web.RequestKey("LIMITS", Sequence[Quota])  # the limits that apply to a request, after it was counted


def limit_headers(quotas: Sequence[Quota]) -> Mapping[str, str]:
    """Return both headers: each limit and its window, and what is left until the reset."""
    return {
        "RateLimit-Policy": ", ".join(f'"{one.name}";q={one.limit};w={one.window_seconds}' for one in quotas),
        "RateLimit": ", ".join(f'"{one.name}";r={one.left};t={one.resets_in_seconds}' for one in quotas),
    }
