"""Refusals of credentials, users and sessions."""

from uuid import UUID

import msgspec

from ledger.errors.refusal import Refusal


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


def revocation_is_off() -> Refusal:
    """Refuse an operation that needs `JWT_ENABLE_REVOKED_TOKENS`."""
    return Refusal("authentication_revoked_tokens_inactive", "use of revoked tokens is inactive")


def forbidden() -> Refusal:
    """Refuse an operation that the authenticated caller's roles do not allow."""
    return Refusal("authentication_forbidden", "forbidden")


def actor_not_found(actor_id: UUID) -> Refusal:
    """Refuse an actor's id that belongs to no user, session or token."""
    return Refusal("resource_not_found", f"actor not found: {actor_id}", detail={"actor_id": str(actor_id)})


def command_not_found(command_id: UUID) -> Refusal:
    """Refuse the id of a command that is not in the command log."""
    return Refusal("resource_not_found", f"command not found: {command_id}", detail={"command_id": str(command_id)})


def session_not_found(session_id: UUID) -> Refusal:
    """Refuse the id of a session that does not exist or that the caller may not see."""
    return Refusal("resource_not_found", f"session not found: {session_id}", detail={"session_id": str(session_id)})


def user_not_found(user_id: UUID) -> Refusal:
    """Refuse the id of a user who does not exist or was deleted."""
    return Refusal(
        "user_not_found",
        f"user not found: {user_id}",
        reason="must be an existing user",
        detail={"user_id": str(user_id)},
    )


def user_already_exists(member: str) -> Refusal:
    """Refuse an id, user name or e-mail address (`member`) of another user, or the id of a deleted one."""
    return Refusal(
        "user_already_exists",
        f"a user with this {member} already exists",
        reason=f"{member} must be unique",
        detail={"pointer": f"/{member}"},
    )


def last_admin(user_id: UUID) -> Refusal:
    """Refuse to demote, deactivate or delete the last active admin."""
    return Refusal("last_admin", f"user is the last active admin: {user_id}", detail={"user_id": str(user_id)})
