"""Every answer that is not a success, as `application/problem+json` (RFC 9457), and the one table of their statuses.

Nothing that PostgreSQL, Redis or a traceback said ever gets into one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from ledger import errors
from ledger.database import REPLICA_BUSY, UNREACHABLE
from ledger.errors import DatabaseError, OverloadedError, Refusal, Refused, StaleClaimError
from ledger.throttle import TooManyAttemptsError
from web.reply import Reply

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"


class Status(NamedTuple):
    """The HTTP status of a code, and the kind its entry has."""

    status: int
    kind: str


STATUSES = {
    "authentication_missing_credentials": Status(400, "authentication_error"),
    "authentication_revoked_tokens_inactive": Status(400, "authentication_error"),
    "authentication_wrong_credentials": Status(401, "authentication_error"),
    "authentication_forbidden": Status(403, "authentication_error"),
    "api_version_error": Status(400, "validation_error"),
    "malformed_request": Status(400, "validation_error"),
    "user_not_found": Status(404, "resource_not_found"),
    "transaction_not_found": Status(404, "resource_not_found"),
    "resource_not_found": Status(404, "resource_not_found"),
    "method_not_allowed": Status(405, "validation_error"),
    "request_timeout": Status(408, "validation_error"),
    "payload_too_large": Status(413, "validation_error"),
    "unsupported_media_type": Status(415, "validation_error"),
    "user_already_exists": Status(409, "conflict"),
    "account_already_exists": Status(409, "conflict"),
    "transaction_already_exists": Status(409, "conflict"),
    "account_not_empty": Status(409, "conflict"),
    "reference_already_exists": Status(409, "conflict"),
    "hold_not_pending": Status(409, "conflict"),
    "transaction_already_reversed": Status(409, "conflict"),
    "transaction_not_reversible": Status(409, "conflict"),
    "idempotency_key_in_use": Status(409, "conflict"),
    "not_sealed_yet": Status(409, "conflict"),
    "sealing_inactive": Status(409, "conflict"),
    "position_not_reached": Status(409, "conflict"),
    "precondition_failed": Status(412, "conflict"),
    "condition_not_met": Status(412, "conflict"),
    "validation_error": Status(422, "validation_error"),
    "id_mismatch": Status(422, "validation_error"),
    "transaction_id_reused": Status(422, "validation_error"),
    "idempotency_key_reused": Status(422, "validation_error"),
    "currency_mismatch": Status(422, "validation_error"),
    "account_closed": Status(422, "validation_error"),
    "account_frozen": Status(422, "validation_error"),
    "transfer_insufficient_funds": Status(422, "validation_error"),
    "transfer_source_account_not_found": Status(422, "validation_error"),
    "transfer_destination_account_not_found": Status(422, "validation_error"),
    "transfer_accounts_are_same": Status(422, "validation_error"),
    "rate_limited": Status(429, "rate_limit"),
    "internal_error": Status(500, "internal_error"),
    "database_error": Status(503, "database_error"),
    "overloaded": Status(503, "unavailable"),
    "not_ready": Status(503, "unavailable"),
}

MALFORMED = Refusal("malformed_request", "the request is malformed")
NO_SUCH_RESOURCE = Refusal("resource_not_found", "no such resource")
TOO_SLOW = Refusal("request_timeout", "the request took too long to arrive")
TOO_LARGE = Refusal("payload_too_large", "the body is too large")
NOT_JSON = Refusal("unsupported_media_type", "the body must be application/json")
RATE_LIMITED = Refusal("rate_limited", "too many failed logins; try again later")
OVERLOADED = Refusal("overloaded", "the service is busy; try again")
DATABASE_DOWN = Refusal("database_error", "the database is unavailable; try again")
INTERNAL = Refusal("internal_error", "internal error")

_FRAMEWORK = {
    404: NO_SUCH_RESOURCE,
    405: Refusal("method_not_allowed", "method not allowed"),
    408: TOO_SLOW,
    413: TOO_LARGE,
    415: NOT_JSON,
}


def malformed(reason: str) -> Refusal:
    """Return the refusal of a body that is not JSON; `reason` says where or why, and repeats no value."""
    return msgspec.structs.replace(MALFORMED, reason=reason)


def unknown_version(version: str) -> Refusal:
    """A path of an API version that does not exist."""
    return Refusal("api_version_error", f"unknown version: {version}")


def refusals_of(error: BaseException) -> Sequence[Refusal]:  # noqa: PLR0911 - one arm an error
    """What a client is told of an error; of one that nobody foresaw, only that there was one."""
    match error:
        case Refused():
            return error.refusals
        case web.HTTPException():
            return (_FRAMEWORK.get(error.status, MALFORMED),)
        case TooManyAttemptsError():
            return (RATE_LIMITED,)
        case StaleClaimError():
            return (errors.wrong_credentials(),)
        case OverloadedError():
            return (OVERLOADED,)
        case DatabaseError():
            return (DATABASE_DOWN,)
        case _ if isinstance(error, (*UNREACHABLE, *REPLICA_BUSY)):
            return (DATABASE_DOWN,)
        case _:
            return (INTERNAL,)


def problem(
    refusals: Sequence[Refusal], *, instance: str, trace_id: str, headers: Mapping[str, str] | None = None
) -> Reply:
    """The answer that reports these refusals; the first one gives the status."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    body = problem_body(refusals, instance=instance, trace_id=trace_id, timestamp=now)
    return Reply(
        status=body["status"],
        body=msgspec.json.encode(body),
        content_type=CONTENT_TYPE,
        headers={**(headers or {}), **_headers(body["status"], refusals[0])},
    )


def problem_body(refusals: Sequence[Refusal], *, instance: str, trace_id: str, timestamp: str) -> dict[str, Any]:
    """The body of that answer."""
    status = STATUSES[refusals[0].code].status
    return {
        "type": f"urn:ledger:error:{refusals[0].code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": refusals[0].message,
        "instance": instance,
        "errors": [entry(refusal, instance, trace_id, timestamp) for refusal in refusals],
    }


def entry(refusal: Refusal, instance: str, trace_id: str, timestamp: str) -> dict[str, Any]:
    """One reason, as a member of `errors`."""
    members = {
        "code": refusal.code,
        "kind": STATUSES[refusal.code].kind,
        "message": refusal.message,
        "detail": refusal.detail,
        "reason": refusal.reason,
        "instance": instance,
        "trace_id": trace_id,
        "timestamp": timestamp,
    }
    return {member: value for member, value in members.items() if value is not None}


def _headers(status: int, refusal: Refusal) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": "Bearer"}
        case 503:
            return {"Retry-After": RETRY_AFTER_SECONDS}
        case 409 if refusal.code == "not_sealed_yet" and refusal.detail is not None:
            return {"Retry-After": refusal.detail["retry_after_seconds"]}
        case _:
            return {}
