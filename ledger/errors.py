"""Refusals and faults.

A *refusal* is a state of the world that forbids a command: it has a stable code that clients rely on, and changes
nothing. A *fault* is a failure of the service; its class ends in `Error`. `web.http.catalogue` alone decides the HTTP
status of both.
"""

import difflib
import re
from collections.abc import Collection
from typing import Literal
from uuid import UUID

import msgspec

Place = Literal["query", "path", "header"]

MAX_NAME_LENGTH = 64  # of a name from a request that a message repeats
_is_word = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_NAME_LENGTH}}}", re.ASCII).fullmatch


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason for a refusal. `code` is stable; `detail` names the offending part of the request.

    `description` is set only if it says more than the description that all refusals with this code share.
    """

    code: str
    message: str
    reason: str | None = None
    detail: dict[str, str] | None = None
    description: str | None = None

    def within(self, place: str) -> "Refusal":
        """Return the refusal for one part of the request: `place` is its JSON pointer (RFC 6901)."""
        detail = self.detail or {}
        return msgspec.structs.replace(self, detail={**detail, "pointer": place + detail.get("pointer", "")})

    def about(self, account_id: UUID) -> "Refusal":
        """Return the refusal with the id of the account that it is about, unless it names that already."""
        detail = self.detail or {}
        named = detail if str(account_id) in detail.values() else {**detail, "account_id": str(account_id)}
        return msgspec.structs.replace(self, detail=named)


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A command was refused, for one or more reasons, and nothing has changed."""

    def __init__(self, *refusals: Refusal, replayed: bool = False) -> None:
        super().__init__(", ".join(refusal.code for refusal in refusals))
        self.refusals = refusals
        self.replayed = replayed


class LedgerError(Exception):
    """A fault. The command may be tried again. The text is for operators, never for clients."""


class StaleCommandError(LedgerError):
    """The command was made from data that has changed since: read the data and make the command again."""


class StaleCallerError(LedgerError):
    """The user, roles or session of the caller are no longer those of the token: look them up again."""


class DatabaseError(LedgerError):
    """PostgreSQL did not answer, or not as expected."""


class OutcomeUnknownError(LedgerError):
    """A command was sent to PostgreSQL, and no answer came in time: it may have been executed, or may still be."""

    def __init__(self, resource_id: UUID | None) -> None:
        super().__init__(f"unknown outcome of {resource_id}")
        self.resource_id = resource_id


class OverloadedError(LedgerError):
    """A queue is full, or the service is shutting down."""


class RedisUnusableError(Exception):
    """Redis does not answer, or is too old. The text is one sentence for the operator."""


class RedisAwayError(RedisUnusableError):
    """Redis does not answer."""


class RevocationCacheError(Exception):
    """Redis did not answer in time, or gave an impossible answer. The text is one sentence for the operator."""


def invalid(pointer: str, message: str) -> Refusal:
    """Return the refusal of a member of the body; `pointer` is its JSON pointer (RFC 6901)."""
    return Refusal("validation_error", message, detail={"pointer": pointer})


def unknown_member(unknown: str, members: Collection[str]) -> Refusal:
    """Return the refusal of the member at this pointer; `members` are those that the object may have."""
    name = unknown.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    return invalid(unknown, _unknown("member", name, members))


def invalid_parameter(parameter: str, message: str, place: Place = "query") -> Refusal:
    """Return the refusal of a parameter of the query or the path, or of a header field."""
    return Refusal("validation_error", message, detail={"parameter": parameter, "in": place})


def unknown_parameter(name: str, parameters: Collection[str]) -> Refusal:
    """Return the refusal of a query parameter that the route does not have; `parameters` are those that it has."""
    return invalid_parameter(name, _unknown("parameter", name, parameters))


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    """Return a message with the unknown name if it is a plain word, the nearest known name, and all known names."""
    subject = f"unknown {kind} {name}" if _is_word(name) else f"unknown {kind}"
    names = ", ".join(known) or "none"
    nearest = difflib.get_close_matches(name[:MAX_NAME_LENGTH], known, n=1)
    return f"{subject}; did you mean {nearest[0]}? Known: {names}" if nearest else f"{subject}; known: {names}"


def not_ready(checks: dict[str, str]) -> Refusal:
    """Report that a worker should get no requests now; `checks` has the result of each check."""
    return Refusal("not_ready", "the service is not ready", detail=checks)


def wrong_credentials() -> Refusal:
    """Refuse an authentication, with the same error for every reason."""
    return Refusal("authentication_wrong_credentials", "wrong credentials")


def authorization_missing() -> Refusal:
    """Refuse a request without credentials, like wrong ones, with a description that says so."""
    return msgspec.structs.replace(wrong_credentials(), description="The request has no `Authorization` header.")


def authorization_without_token() -> Refusal:
    """Refuse a request without a single bearer token, like wrong credentials, with a description that says so."""
    description = "The request has no single `Authorization` header with a bearer token."
    return msgspec.structs.replace(wrong_credentials(), description=description)


def missing_credentials() -> Refusal:
    """Refuse a login without a user name or a password."""
    return Refusal("authentication_missing_credentials", "missing credentials")


def actor_not_found(actor_id: UUID) -> Refusal:
    """Refuse an actor's id that belongs to no user, session or token."""
    return Refusal("resource_not_found", f"actor not found: {actor_id}", detail={"actor_id": str(actor_id)})


def revocation_is_off() -> Refusal:
    """Refuse an operation that needs `JWT_ENABLE_REVOKED_TOKENS`."""
    return Refusal("authentication_revoked_tokens_inactive", "use of revoked tokens is inactive")


def session_not_found(session_id: UUID) -> Refusal:
    """Refuse the id of a session that does not exist or that the caller may not see."""
    return Refusal("resource_not_found", f"session not found: {session_id}", detail={"session_id": str(session_id)})


def forbidden() -> Refusal:
    """Refuse an operation that the authenticated caller's roles do not allow."""
    return Refusal("authentication_forbidden", "forbidden")


def user_not_found(user_id: UUID) -> Refusal:
    """Refuse the id of a user who does not exist or was deleted."""
    return Refusal(
        "user_not_found",
        f"user not found: {user_id}",
        reason="must be an existing user",
        detail={"user_id": str(user_id)},
    )


def transaction_not_found(transaction_id: UUID) -> Refusal:
    """Refuse the id of a transaction that does not exist or that the caller may not see."""
    detail = {"transaction_id": str(transaction_id)}
    return Refusal("transaction_not_found", f"transaction not found: {transaction_id}", detail=detail)


def not_sealed_yet(retry_after_seconds: int) -> Refusal:
    """Refuse a receipt for an event that no sealed block covers yet: the client may retry soon."""
    return Refusal(
        "not_sealed_yet",
        "the event is not sealed yet",
        reason="the log is sealed in blocks, some time after the response",
        detail={"retry_after_seconds": str(retry_after_seconds)},
    )


def precondition_failed(version: int) -> Refusal:
    """Refuse a change of a resource that is not at a version the client expects."""
    return Refusal(
        "precondition_failed",
        "the resource has changed",
        reason="its version must be the expected one",
        detail={"version": str(version)},
    )


def condition_not_met(pointer: str) -> Refusal:
    """Refuse a request whose condition is not met."""
    return Refusal("condition_not_met", "a condition of the request is not met", detail={"pointer": pointer})


def position_not_reached(reached: int) -> Refusal:
    """Refuse a read of a position that the replica did not reach in time."""
    return Refusal(
        "position_not_reached",
        "the position has not been reached",
        reason="a read may lag behind the last write",
        detail={"position": str(reached)},
    )


def sealing_is_off() -> Refusal:
    """Refuse a receipt for an event that is not sealed, because no key is configured."""
    return Refusal("sealing_inactive", "the log is not sealed", reason="no key to seal it with is configured")


def account_not_found(account_id: UUID) -> Refusal:
    """Refuse the id of an account that does not exist or that the caller may not see."""
    return Refusal("resource_not_found", f"account not found: {account_id}", detail={"account_id": str(account_id)})


def user_already_exists(member: str) -> Refusal:
    """Refuse an id, user name or e-mail address (`member`) of another user, or the id of a deleted one."""
    return Refusal(
        "user_already_exists",
        f"a user with this {member} already exists",
        reason=f"{member} must be unique",
        detail={"pointer": f"/{member}"},
    )


def account_already_exists(account_id: UUID) -> Refusal:
    """Refuse the id of an account, open or closed."""
    detail = {"account_id": str(account_id)}
    return Refusal("account_already_exists", f"account already exists: {account_id}", detail=detail)


def transaction_already_exists(transaction_id: UUID) -> Refusal:
    """Refuse the id of another transaction."""
    return Refusal(
        "transaction_already_exists",
        f"transaction already exists: {transaction_id}",
        detail={"transaction_id": str(transaction_id)},
    )


def transaction_id_reused(transaction_id: UUID) -> Refusal:
    """Refuse an item whose id belongs to a different transfer."""
    return Refusal(
        "transaction_id_reused",
        f"the id was used for another transaction: {transaction_id}",
        reason="an id belongs to one transaction",
        detail={"transaction_id": str(transaction_id)},
    )


def account_not_empty(account_id: UUID) -> Refusal:
    """Refuse to close an account, or to delete its owner, at a balance other than zero or with a pending hold."""
    return Refusal(
        "account_not_empty",
        f"account is not empty: {account_id}",
        reason="account balance must be zero, and no pending hold may debit or credit the account",
        detail={"account_id": str(account_id)},
    )


def last_admin(user_id: UUID) -> Refusal:
    """Refuse to demote, deactivate or delete the last active admin."""
    return Refusal("last_admin", f"user is the last active admin: {user_id}", detail={"user_id": str(user_id)})


def account_frozen(account_id: UUID) -> Refusal:
    """Refuse to move money of an account that an admin has frozen, for debits or for all postings."""
    return Refusal(
        "account_frozen",
        f"account is frozen: {account_id}",
        reason="account must not be frozen",
        detail={"account_id": str(account_id)},
    )


def reference_already_exists() -> Refusal:
    """Refuse the reference of another transaction."""
    return Refusal(
        "reference_already_exists",
        "a transaction with this reference already exists",
        reason="a reference must be unique",
        detail={"pointer": "/reference"},
    )


def hold_not_pending(transaction_id: UUID, status: str) -> Refusal:
    """Refuse to capture or void a transaction that is not a hold, or a hold that has ended."""
    return Refusal(
        "hold_not_pending",
        f"transaction is not a pending hold: {transaction_id}",
        reason="only a pending hold can be captured or voided",
        detail={"transaction_id": str(transaction_id), "status": status},
    )


def transaction_already_reversed(transaction_id: UUID, reversal_id: UUID) -> Refusal:
    """Refuse to reverse a transaction of which everything is reversed."""
    return Refusal(
        "transaction_already_reversed",
        f"transaction is already reversed: {transaction_id}",
        detail={"transaction_id": str(transaction_id), "reversed_by": str(reversal_id)},
    )


def transaction_not_reversible(transaction_id: UUID, reason: str) -> Refusal:
    """Refuse to reverse a reversal, or a hold that is pending or was not captured."""
    return Refusal(
        "transaction_not_reversible",
        f"transaction cannot be reversed: {transaction_id}",
        reason=reason,
        detail={"transaction_id": str(transaction_id)},
    )


def account_closed(account_id: UUID) -> Refusal:
    """Refuse to use a closed account, whose history stays readable."""
    return Refusal(
        "account_closed",
        f"account is closed: {account_id}",
        reason="account must be open",
        detail={"account_id": str(account_id)},
    )


def currency_mismatch() -> Refusal:
    """Refuse to move money between accounts of different currencies."""
    return Refusal("currency_mismatch", "the currencies differ", reason="both sides must have the same currency")


def insufficient_funds() -> Refusal:
    """Refuse to debit more than the available funds."""
    return Refusal(
        "transfer_insufficient_funds",
        "source account does not have sufficient funds for the transfer",
        reason="source account balance must be sufficient to cover the transfer amount",
    )


def source_account_not_found(account_id: UUID) -> Refusal:
    """Refuse a source account that does not exist or that the caller may not debit."""
    return Refusal(
        "transfer_source_account_not_found",
        f"source account not found: {account_id}",
        reason="must be an existing account",
        detail={"source_account_id": str(account_id)},
    )


def destination_account_not_found(account_id: UUID) -> Refusal:
    """Refuse a destination account that does not exist."""
    return Refusal(
        "transfer_destination_account_not_found",
        f"destination account not found: {account_id}",
        reason="must be an existing account",
        detail={"destination_account_id": str(account_id)},
    )


def accounts_are_same() -> Refusal:
    """Refuse a transfer from an account to itself."""
    return Refusal(
        "transfer_accounts_are_same",
        "source and destination accounts are the same",
        reason="source and destination accounts must be different",
    )


def id_mismatch() -> Refusal:
    """Refuse a body whose id differs from the id in the path."""
    return Refusal("id_mismatch", "the id in the path differs from the id in the body", detail={"pointer": "/id"})


def idempotency_key_reused() -> Refusal:
    """Refuse an idempotency key that was used for another request."""
    return Refusal(
        "idempotency_key_reused",
        "the idempotency key was used for another request",
        reason="a key belongs to one request",
    )


def idempotency_key_in_use() -> Refusal:
    """Refuse a repetition while the first request with its key is still running."""
    return Refusal("idempotency_key_in_use", "a request with this idempotency key is still running")
