"""What a client is told of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).

Both are lists of structured fields (RFC 9651), an item for each limit.
"""

from collections.abc import Mapping, Sequence

from aiohttp import web

from ledger.identity.login_throttle import Quota

LIMITS = web.RequestKey("LIMITS", Sequence[Quota])  # those that apply to a request, as it leaves them


def limit_headers(quotas: Sequence[Quota]) -> Mapping[str, str]:
    """The headers: what is allowed in how many seconds; what is left, and in how many seconds all of it is there."""
    return {
        "RateLimit-Policy": ", ".join(f'"{one.name}";q={one.limit};w={one.window_seconds}' for one in quotas),
        "RateLimit": ", ".join(f'"{one.name}";r={one.left};t={one.resets_in_seconds}' for one in quotas),
    }
