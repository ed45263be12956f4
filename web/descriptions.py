"""The texts of the document that no route has: the introduction, the tags and the headers."""

from typing import Any

from web.http.errors import BASIC

DESCRIPTION = """\
A double-entry ledger over HTTP. Money moves between accounts; balances always sum to zero.

- `/v2` is the same API as `/v1`; any other version is 400 `api_version_error`.
- Amounts are integers in minor units, within ±(2^53 - 1). Times are RFC 3339, in UTC, with microseconds.
- Every response has `X-Request-Id`, which the service generates. The log also has the client's own, if that is a \
plain word. Errors are RFC 9457 problem details with stable codes.
- An unknown path is 404 `resource_not_found`; another method of a known path is 405 `method_not_allowed` \
with `Allow`. HEAD works wherever GET does, and OPTIONS answers `Allow` on every path.
- Lists have up to 10,000 items, or up to `limit` (1 to 1,000), and `Link: rel="next"` while there are more. They are \
compressed if `Accept-Encoding` allows it.
- A change with `dry_run=true` is decided and answered, and not made. With `at_position` or `at_time`, it is decided \
on the state of then.
- Events leave the ledger as CloudEvents, which `/asyncapi.json` describes.
- Machines use the client credentials of OAuth 2.0 (`POST /v1/auth/token`), with the scopes below.
"""
TAGS = {  # in this order
    "auth": "Sessions and their tokens",
    "clients": "Machine clients, their secrets and limits",
    "users": "Users and roles",
    "accounts": "Accounts, statements and receipts",
    "assets": "Currencies and registered assets",
    "transactions": "Transfers, journal entries, holds and reversals",
    "events": "The event log",
    "ledger": "The books as a whole",
    "periods": "Closed periods",
    "webhooks": "Events, sent to an address of yours",
    "audit": "Commands and who sent them",
    "projections": "Read tables, followers, and rebuilds",
    "service": "The service itself",
}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": (
        "Identifies the request in the service's log",
        {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    ),
    "ETag": ("The version of the resource", {"type": "string", "pattern": r'^"[0-9]+(\.[0-9a-f]+)?"$'}),
    "Dry-Run": ("The request was a dry run: nothing has changed", {"type": "string", "enum": ["true"]}),
    "Idempotent-Replayed": (
        "The response is that of an earlier request",
        {"type": "string", "enum": ["true"]},
    ),
    "Ledger-Position": (
        "The position in the log of the last event of the request; in a dry run, that of the state it is based on",
        {"type": "string", "pattern": "^[0-9]+$"},
    ),
    "Location": ("The path of the new resource, or of another page", {"type": "string", "format": "uri-reference"}),
    "Link": ('The next page, `rel="next"`, while there is one (RFC 8288)', {"type": "string"}),
    "RateLimit": ("What is left of each limit, and when it resets", {"type": "string"}),
    "RateLimit-Policy": ("The limits that apply (draft-ietf-httpapi-ratelimit-headers-10)", {"type": "string"}),
    "Retry-After": ("Seconds to wait", {"type": "string", "pattern": "^[0-9]+$"}),
    "Vary": ("The request headers that the response depends on", {"type": "string"}),
    "WWW-Authenticate": ("How to authenticate", {"type": "string", "enum": ["Bearer", BASIC]}),
}
