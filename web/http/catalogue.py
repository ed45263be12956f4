"""The catalogue of errors: the status, kind, title, description and help of every code.

The service serves each entry at `/errors/{code}`, and `docs/reference/errors.md` is generated from the same table.
"""

from http import HTTPStatus

from web.http.catalogue_of_books import BOOKS
from web.http.catalogue_of_operations import OPERATIONS
from web.http.error_type import ErrorType
from web.http.later_errors import LATER_CHANGES
from web.http.login_errors import LOGIN_ERRORS

PATH = "/errors"

CATALOGUE = {
    "authentication_missing_credentials": ErrorType(
        400,
        "authentication_error",
        "Missing credentials",
        "The login has no user name or no password.",
        "Send both `username` and `password`.",
    ),
    "authentication_revoked_tokens_inactive": ErrorType(
        400,
        "authentication_error",
        "Revocation is switched off",
        "The service runs with `JWT_ENABLE_REVOKED_TOKENS=false`, so this request would have no effect.",
        "Let the token expire, or ask the operator to switch revocation on.",
    ),
    "api_version_error": ErrorType(
        400,
        "validation_error",
        "Unknown API version",
        "The path begins with a version of the API that does not exist.",
        "Use a path that begins with `/v1`.",
    ),
    "malformed_request": ErrorType(
        400,
        "validation_error",
        "Malformed request",
        "The request is not valid HTTP, or its body is not valid JSON.",
        "Correct the request before sending it again; `reason` says where the body is wrong.",
    ),
    "authentication_wrong_credentials": ErrorType(
        401,
        "authentication_error",
        "Wrong credentials",
        "The user name, the password or the token is not accepted; which of them, and why, is not disclosed.",
        "Log in, then send the token as `Authorization: Bearer …`. Refresh and logout take the refresh token, "
        "all other requests the access token.",
    ),
    "invalid_request": ErrorType(
        400,
        "authentication_error",
        "Invalid token request",
        "The request for a token lacks a parameter, has one twice, or is no form (RFC 6749, section 5.2).",
        "Send a form with `grant_type=client_credentials`, and authenticate once: with HTTP Basic or in the form.",
    ),
    "unsupported_grant_type": ErrorType(
        400,
        "authentication_error",
        "Unsupported grant type",
        "The service issues tokens to machine clients for their credentials, and for nothing else.",
        "Send `grant_type=client_credentials`. Users log in at `/v1/auth/login`.",
    ),
    "invalid_scope": ErrorType(
        400,
        "authentication_error",
        "Invalid scope",
        "The client does not have all of the requested scopes.",
        "Ask for fewer scopes, or for none to get all that the client has.",
    ),
    "invalid_client": ErrorType(
        401,
        "authentication_error",
        "Invalid client",
        "The client is unknown or revoked, or its secret is wrong or expired; which of them is not disclosed.",
        "Send the client's id and its newest secret with HTTP Basic, or as `client_id` and `client_secret`.",
    ),
    "authentication_forbidden": ErrorType(
        403,
        "authentication_error",
        "Forbidden",
        "The caller's roles, or the scopes or limits of a machine client, do not allow this request.",
        "Use a token with one of the roles, and a machine's with the scope, that `/docs` lists for the route. The "
        "operator may require a second factor for a role: then log in with `otp`.",
    ),
    **LOGIN_ERRORS,
    "user_not_found": ErrorType(
        404,
        "resource_not_found",
        "User not found",
        "There is no user with this id, or the caller may not see it.",
        "Check the id. Admins can list all users.",
    ),
    "transaction_not_found": ErrorType(
        404,
        "resource_not_found",
        "Transaction not found",
        "There is no transaction with this id, or the caller may not see it.",
        "Check the id. Customers see the transactions of their own accounts only.",
    ),
    "resource_not_found": ErrorType(
        404,
        "resource_not_found",
        "Resource not found",
        "There is no such resource, or the caller may not see it.",
        "Check the path and the id.",
    ),
    "method_not_allowed": ErrorType(
        405,
        "validation_error",
        "Method not allowed",
        "The path exists, but not with this method.",
        "Use one of the methods in the `Allow` header.",
    ),
    "request_timeout": ErrorType(
        408,
        "validation_error",
        "Request timeout",
        "The whole request did not arrive in time.",
        "Send the request again, with the same `Idempotency-Key` if it has one.",
    ),
    "user_already_exists": ErrorType(
        409,
        "conflict",
        "User already exists",
        "The id, the user name or the e-mail address is taken; the id of a deleted user stays taken.",
        "Choose another value for the member that `detail` names.",
    ),
    "account_already_exists": ErrorType(
        409,
        "conflict",
        "Account already exists",
        "The id belongs to another account, open or closed.",
        "Choose another id, or leave `id` out.",
    ),
    "client_already_exists": ErrorType(
        409,
        "conflict",
        "Client already exists",
        "The id was used before; that of a revoked client stays taken.",
        "Choose another id, or leave `id` out.",
    ),
    "transaction_already_exists": ErrorType(
        409,
        "conflict",
        "Transaction already exists",
        "The id belongs to another transaction.",
        "Read that transaction: it may be the result of an earlier attempt. If not, choose another id.",
    ),
    "account_not_empty": ErrorType(
        409,
        "conflict",
        "Account not empty",
        "An account can be closed, and its owner deleted, only at a balance of zero and without pending holds.",
        "Move the balance to another account, and capture or void the holds that debit or credit the account.",
    ),
    "last_admin": ErrorType(
        409,
        "conflict",
        "Last admin",
        "The user is the only active admin, so nobody could administer the ledger afterwards.",
        "Make another user an admin first.",
    ),
    "reference_already_exists": ErrorType(
        409,
        "conflict",
        "Reference already exists",
        "The reference belongs to another transaction.",
        "Find that transaction by its reference: it may be the result of an earlier attempt.",
    ),
    "hold_not_pending": ErrorType(
        409,
        "conflict",
        "Hold not pending",
        "The transaction is not a hold, or the hold has already been captured, voided or expired.",
        "Read the transaction to see its status.",
    ),
    **LATER_CHANGES,
    **OPERATIONS,
    "transaction_already_reversed": ErrorType(
        409,
        "conflict",
        "Transaction already reversed",
        "All that the transaction moved has been moved back.",
        "Read the last reversal, which `detail.reversed_by` names.",
    ),
    "transaction_not_reversible": ErrorType(
        409,
        "conflict",
        "Transaction not reversible",
        "The transaction is itself a reversal, a hold that is pending, or has moved no money.",
        "Make a new transfer instead. Capture or void the rest of a pending hold first.",
    ),
    "idempotency_key_in_use": ErrorType(
        409,
        "conflict",
        "Idempotency key in use",
        "The first request with this idempotency key is still being processed.",
        "Wait, then send the same request with the same key again.",
    ),
    "not_sealed_yet": ErrorType(
        409,
        "conflict",
        "Not sealed yet",
        "The event is not in a sealed block yet, so there is no receipt for it.",
        "Send the request again after the number of seconds in `Retry-After`.",
    ),
    "sealing_inactive": ErrorType(
        409,
        "conflict",
        "Sealing is switched off",
        "The service has no key to seal its log with, so it issues no receipts.",
        "Ask the operator to configure `LEDGER_SEAL_KEY_FILE`.",
    ),
    "seal_mismatch": ErrorType(
        409,
        "conflict",
        "Not what was sealed",
        "The event in the database is not the one that was sealed, so there is no receipt for it.",
        "Tell the operator: `ledger audit verify-seals` names everything that was changed since it was sealed.",
    ),
    "position_not_reached": ErrorType(
        409,
        "conflict",
        "Position not reached",
        "The database that serves reads did not reach `min_position` in time.",
        "Send the request again, or without `min_position`.",
    ),
    "period_closed": ErrorType(
        409,
        "conflict",
        "Period closed",
        "The effective time is in a period that an admin has closed, or the period is closed already.",
        "Use a time after the day in `detail.through`, or ask an admin to reopen the period.",
    ),
    "precondition_failed": ErrorType(
        412,
        "conflict",
        "Precondition failed",
        "The resource has changed since the client read it.",
        "Read the resource again, then repeat the change with its new `ETag`.",
    ),
    "condition_not_met": ErrorType(
        412,
        "conflict",
        "Condition not met",
        "A condition that the request sets for the source account does not hold.",
        "Read the account, then decide again.",
    ),
    "payload_too_large": ErrorType(
        413,
        "validation_error",
        "Body too large",
        "The body, or a line of a stream, has more bytes than the service accepts.",
        "Send a smaller body: split a batch, or send its items as JSON Lines.",
    ),
    "unsupported_media_type": ErrorType(
        415,
        "validation_error",
        "Unsupported media type",
        "The `Content-Type` header does not say that the body is JSON.",
        "Send JSON, with `Content-Type: application/json`.",
    ),
    "validation_error": ErrorType(
        422,
        "validation_error",
        "Invalid request",
        "A member of the body, a parameter or a header field is unknown or missing, or its value is not valid.",
        "Correct the part that `detail` names, as `message` says.",
    ),
    "id_mismatch": ErrorType(
        422,
        "validation_error",
        "Ids differ",
        "The id in the path differs from the id in the body.",
        "Send the same id in both, or leave it out of the body.",
    ),
    "transaction_id_reused": ErrorType(
        422,
        "validation_error",
        "Transaction id reused",
        "The id of this item belongs to a transaction with different content.",
        "Give a new transaction a new id, or repeat the earlier one with exactly the same members.",
    ),
    "idempotency_key_reused": ErrorType(
        422,
        "validation_error",
        "Idempotency key reused",
        "The idempotency key was used for a different request.",
        "Use a new key for each new request, and the same key only to repeat a request unchanged.",
    ),
    "currency_mismatch": ErrorType(
        422,
        "validation_error",
        "Currencies differ",
        "The two accounts, or the account and the request, have different currencies.",
        "Use accounts of the same currency.",
    ),
    "account_closed": ErrorType(
        422,
        "validation_error",
        "Account closed",
        "The account is closed, so it cannot be changed or take part in transactions.",
        "Use an open account.",
    ),
    "account_frozen": ErrorType(
        422,
        "validation_error",
        "Account frozen",
        "An admin has frozen the account: money cannot leave it, or can neither leave nor enter it.",
        "Use another account, or wait until an admin unfreezes this one.",
    ),
    "transfer_insufficient_funds": ErrorType(
        422,
        "validation_error",
        "Insufficient funds",
        "The amount is more than is available in the source account, overdraft limit included.",
        "Move at most `available_cents`, or pay money into the account first.",
    ),
    "transfer_source_account_not_found": ErrorType(
        422,
        "validation_error",
        "Source account not found",
        "There is no account with this id from which the caller may pay.",
        "Check `source_account_id`. Customers pay from their own accounts only.",
    ),
    "transfer_destination_account_not_found": ErrorType(
        422,
        "validation_error",
        "Destination account not found",
        "There is no account with this id.",
        "Check `destination_account_id`.",
    ),
    "transfer_accounts_are_same": ErrorType(
        422,
        "validation_error",
        "Accounts are the same",
        "A transfer needs two different accounts.",
        "Send different ids as source and destination.",
    ),
    **BOOKS,
    "rate_limited": ErrorType(
        429,
        "rate_limit",
        "Too many requests",
        "Too many logins have failed for this user or from this address, or the caller has sent too many requests.",
        "Try again after the number of seconds in `Retry-After`.",
    ),
    "internal_error": ErrorType(
        500,
        "internal_error",
        "Internal error",
        "The service failed unexpectedly.",
        "Report the `trace_id` to the operator. Repeat the request only with the same `Idempotency-Key`.",
    ),
    "database_error": ErrorType(
        503,
        "database_error",
        "Database unavailable",
        "The service cannot reach its database.",
        "Repeat the request after the number of seconds in `Retry-After`, with the same `Idempotency-Key`.",
    ),
    "outcome_unknown": ErrorType(
        503,
        "unavailable",
        "Outcome unknown",
        "The change was sent to the database, which did not confirm it in time: it may have happened, or may still do.",
        "Repeat the request under the same `Idempotency-Key`, or look up what `detail.id` names. Do not repeat it "
        "under another key, or without one.",
    ),
    "overloaded": ErrorType(
        503,
        "unavailable",
        "Service busy",
        "The service has more requests than it can queue, or is shutting down.",
        "Repeat the request after the number of seconds in `Retry-After`, with the same `Idempotency-Key`.",
    ),
    "not_ready": ErrorType(
        503,
        "unavailable",
        "Not ready",
        "This worker should get no requests now; `detail` has the result of each check.",
        "Send requests to another worker, and check this one again later.",
    ),
}

_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}  # by RFC 9110; before 3.13, Python has older names


def page_of(code: str) -> str:
    """Return the path of the page about a code; it is also the `type` of its problems (RFC 9457, section 3.1.1)."""
    return f"{PATH}/{code}"


def phrase(status: int) -> str:
    """Return the reason phrase of a status, as RFC 9110 has it."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase
