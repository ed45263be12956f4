"""Errors as `application/problem+json` (RFC 9457), with the statuses of `web.http.catalogue`.

A problem never contains text of PostgreSQL, of Redis or of a traceback.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from aiohttp import web

from ledger import errors
from ledger.errors import DatabaseError, OutcomeUnknownError, OverloadedError, Refusal, Refused, StaleCallerError
from ledger.identity.login_throttle import TooManyAttemptsError
from ledger.identity.rate_limit import TooManyRequestsError
from ledger.store.connections import UNREACHABLE
from ledger.store.pool import REPLICA_BUSY
from web.http.catalogue import CATALOGUE, page_of, phrase
from web.http.negotiation import is_accepted
from web.http.response import Reply

CONTENT_TYPE = "application/problem+json"
JSON = "application/json"
MEDIA = (CONTENT_TYPE, JSON)
RETRY_AFTER_SECONDS = "1"
BASIC = 'Basic realm="ledger", charset="UTF-8"'  # RFC 7617


MALFORMED = Refusal("malformed_request", "the request is malformed")
NO_BODY = Refusal("malformed_request", "a JSON body is required")
NO_SUCH_RESOURCE = Refusal("resource_not_found", "no such resource")
METHOD_NOT_ALLOWED = Refusal("method_not_allowed", "method not allowed")
TOO_SLOW = Refusal("request_timeout", "the request took too long to arrive")
TOO_LARGE = Refusal("payload_too_large", "the body is too large")
NOT_JSON = Refusal("unsupported_media_type", "the body must be application/json")
RATE_LIMITED = Refusal("rate_limited", "too many failed logins; try again later")
TOO_MANY_REQUESTS = Refusal("rate_limited", "too many requests; try again later")
OVERLOADED = Refusal("overloaded", "the service is busy; try again")
DATABASE_DOWN = Refusal("database_error", "the database is unavailable; try again")
OUTCOME_UNKNOWN = Refusal(
    "outcome_unknown", "the outcome is unknown", reason="the database did not confirm the change in time"
)
INTERNAL = Refusal("internal_error", "internal error")
UNSUPPORTED_GRANT_TYPE = Refusal("unsupported_grant_type", "the grant type must be client_credentials")
OF_OAUTH = frozenset({"invalid_request", "invalid_client", "invalid_scope", "unsupported_grant_type"})

_FRAMEWORK = {
    404: NO_SUCH_RESOURCE,
    405: METHOD_NOT_ALLOWED,
    408: TOO_SLOW,
    413: TOO_LARGE,
    415: NOT_JSON,
}


def malformed(reason: str) -> Refusal:
    """Return the refusal of a body that is not JSON; `reason` says where or why, and repeats no value."""
    return msgspec.structs.replace(MALFORMED, reason=reason)


def outcome_unknown(resource_id: UUID) -> Refusal:
    """Report that a command may have been executed, or may still be; `resource_id` is what it creates or changes."""
    return msgspec.structs.replace(OUTCOME_UNKNOWN, detail={"id": str(resource_id)})


def invalid_token_request(reason: str) -> Refusal:
    """Return the refusal of a request for a token that has not the form of RFC 6749; `reason` repeats no value."""
    return Refusal("invalid_request", "the request for a token is not valid", reason=reason)


def unknown_version(version: str) -> Refusal:
    """Return the refusal of a path with an unknown API version."""
    return Refusal("api_version_error", f"unknown version: {version}")


def refusals_of(error: BaseException) -> Sequence[Refusal]:  # noqa: PLR0911 - one arm per error
    """Return the refusals that report an error to the client; an unexpected one is only an internal error."""
    match error:
        case Refused():
            return error.refusals
        case web.HTTPException():
            return (_FRAMEWORK.get(error.status, MALFORMED),)
        case TooManyAttemptsError():
            return (RATE_LIMITED,)
        case TooManyRequestsError():
            return (TOO_MANY_REQUESTS,)
        case StaleCallerError():
            return (errors.wrong_credentials(),)
        case OutcomeUnknownError():
            known = error.resource_id
            return (OUTCOME_UNKNOWN if known is None else outcome_unknown(known),)
        case OverloadedError():
            return (OVERLOADED,)
        case DatabaseError():
            return (DATABASE_DOWN,)
        case _ if isinstance(error, (*UNREACHABLE, *REPLICA_BUSY)):
            return (DATABASE_DOWN,)
        case _:
            return (INTERNAL,)


def problem(
    refusals: Sequence[Refusal],
    *,
    instance: str,
    trace_id: str,
    accept: str,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return the response that reports these refusals; the first one gives the status.

    Clients that accept JSON but not problem details get the same body as JSON, and so do all clients of OAuth 2.0.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    body = problem_body(refusals, instance=instance, trace_id=trace_id, timestamp=now)
    is_plain = is_accepted(accept, JSON) and not is_accepted(accept, CONTENT_TYPE)
    is_plain |= refusals[0].code in OF_OAUTH
    return Reply(
        status=body["status"],
        reason=phrase(body["status"]),
        body=msgspec.json.encode(body),
        content_type=JSON if is_plain else CONTENT_TYPE,
        headers={**(headers or {}), **_headers(body["status"], refusals[0])},
    )


def problem_body(refusals: Sequence[Refusal], *, instance: str, trace_id: str, timestamp: str) -> dict[str, Any]:
    """Return the body of a response that reports these refusals."""
    first = refusals[0]
    known = CATALOGUE[first.code]
    return {
        "type": page_of(first.code),
        "title": known.title,
        "status": known.status,
        "detail": first.message,
        "instance": instance,
        "errors": [entry(refusal, instance, trace_id, timestamp) for refusal in refusals],
        **({"error": first.code, "error_description": first.message} if first.code in OF_OAUTH else {}),
    }


def entry(refusal: Refusal, instance: str, trace_id: str, timestamp: str) -> dict[str, Any]:
    """Return one reason, as a member of `errors`."""
    known = CATALOGUE[refusal.code]
    members = {
        "code": refusal.code,
        "kind": known.kind,
        "message": refusal.message,
        "description": refusal.description or known.description,
        "detail": refusal.detail,
        "reason": refusal.reason,
        "help": known.help,
        "doc_url": page_of(refusal.code),
        "instance": instance,
        "trace_id": trace_id,
        "timestamp": timestamp,
    }
    return {member: value for member, value in members.items() if value is not None}


def _headers(status: int, refusal: Refusal) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": BASIC if refusal.code in OF_OAUTH else "Bearer"}
        case 503:
            return {"Retry-After": RETRY_AFTER_SECONDS}
        case 409 if refusal.code == "not_sealed_yet" and refusal.detail is not None:
            return {"Retry-After": refusal.detail["retry_after_seconds"]}
        case _:
            return {}
