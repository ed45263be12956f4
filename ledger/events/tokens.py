"""What can have happened to a session, the family of tokens that starts with one login.

Tokens themselves are never stored, only their ids (`jti`, RFC 7519 section 4.1.7) and when they end (seconds since
the epoch, as in the token).
"""

from uuid import UUID

import msgspec


class TokensIssued(msgspec.Struct, frozen=True):
    """A login: the session's first pair of tokens."""

    user_id: UUID
    access_jti: UUID
    access_expires_at: int
    refresh_jti: UUID
    refresh_expires_at: int


SessionEvent = TokensIssued


class Session(msgspec.Struct, frozen=True):
    """What the events of one session add up to: whose it is, and its pair in force."""

    user_id: UUID
    access_jti: UUID
    refresh_jti: UUID


def evolve(state: Session | None, event: SessionEvent) -> Session:  # noqa: ARG001 - the shape all folds share
    """Fold one event into the state."""
    return Session(event.user_id, event.access_jti, event.refresh_jti)
