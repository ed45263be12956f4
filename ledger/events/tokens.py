"""What can have happened to tokens: to a session, the family of tokens that starts with one login, and to all of them.

Tokens themselves are never stored, only their ids (`jti`, RFC 7519 section 4.1.7) and when they end. Times are whole
seconds since the epoch, as in the tokens. What kills all tokens of a user is an event of that user.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id

ALL_TOKENS = derived_id("tokens", "all")
CLEANUPS = derived_id("tokens", "cleanups")

Ending = Literal["logout", "revoked"]


class Pair(msgspec.Struct, frozen=True):
    """An access token and the refresh token that goes with it, by their ids."""

    access_jti: UUID
    access_expires_at: int
    refresh_jti: UUID
    refresh_expires_at: int
    issued_at: int


class TokensIssued(msgspec.Struct, frozen=True):
    """A login: the session's first pair. The session ends at `session_expires_at`, however often it is refreshed.

    The two counts are those of the cut-offs until then, of this user's tokens and of all.
    """

    TOPIC: ClassVar[str] = "TokensIssued"

    user_id: UUID
    access_jti: UUID
    access_expires_at: int
    refresh_jti: UUID
    refresh_expires_at: int
    issued_at: int = 0
    session_expires_at: int = 0
    roles: str = ""
    user_cutoffs: int = 0
    all_cutoffs: int = 0


class TokensRotated(msgspec.Struct, frozen=True):
    """A refresh: the next pair. The one before is dead. The counts are those of the cut-offs until then."""

    TOPIC: ClassVar[str] = "TokensRotated"

    user_id: UUID
    access_jti: UUID
    access_expires_at: int
    refresh_jti: UUID
    refresh_expires_at: int
    issued_at: int
    roles: str
    user_cutoffs: int
    all_cutoffs: int


class SessionRevoked(msgspec.Struct, frozen=True):
    """The session ended: its user logged out, or an authorized caller revoked it."""

    TOPIC: ClassVar[str] = "SessionRevoked"

    by: Ending


class RefreshTokenReused(msgspec.Struct, frozen=True):
    """A refresh token came back that had been rotated away. One of two who have it is a thief: the session is over."""

    TOPIC: ClassVar[str] = "RefreshTokenReused"

    jti: UUID


SessionEvent = TokensIssued | TokensRotated | SessionRevoked | RefreshTokenReused


class AllTokensRevoked(msgspec.Struct, frozen=True):
    """A cut-off: every token that was issued until now is dead."""

    TOPIC: ClassVar[str] = "AllTokensRevoked"


class RevokedTokensForgotten(msgspec.Struct, frozen=True):
    """Of tokens that were revoked at `as_of_position` or before and ended before `expired_before`, no trace is kept."""

    TOPIC: ClassVar[str] = "RevokedTokensForgotten"

    expired_before: int
    as_of_position: int


class Session(msgspec.Struct, frozen=True):
    """What the events of one session add up to. `previous_jti` is the refresh token that the last rotation replaced."""

    TOPIC: ClassVar[str] = "Session"

    user_id: UUID
    pair: Pair
    roles: str
    expires_at: int
    user_cutoffs: int
    all_cutoffs: int
    previous_jti: UUID | None = None
    ended: bool = False


class Cutoffs(msgspec.Struct, frozen=True):
    """Return how often all tokens were revoked."""

    TOPIC: ClassVar[str] = "Cutoffs"

    count: int


class Cleanups(msgspec.Struct, frozen=True):
    """How often revoked tokens were forgotten."""

    TOPIC: ClassVar[str] = "Cleanups"

    count: int


def evolve(state: Session | None, event: SessionEvent) -> Session:
    """Fold one event into the state of a session, whose first event is its login."""
    match event:
        case TokensIssued():
            return Session(
                event.user_id,
                _pair(event),
                event.roles,
                event.session_expires_at,
                event.user_cutoffs,
                event.all_cutoffs,
            )
        case TokensRotated():
            session = _begun(state)
            return msgspec.structs.replace(
                session,
                pair=_pair(event),
                roles=event.roles,
                user_cutoffs=event.user_cutoffs,
                all_cutoffs=event.all_cutoffs,
                previous_jti=session.pair.refresh_jti,
            )
        case SessionRevoked() | RefreshTokenReused():
            return msgspec.structs.replace(_begun(state), ended=True)
        case _:
            assert_never(event)


def evolve_cutoffs(state: Cutoffs | None, event: AllTokensRevoked) -> Cutoffs:  # noqa: ARG001 - the shape all folds share
    """Count a cut-off."""
    return Cutoffs((state.count if state else 0) + 1)


def evolve_cleanups(state: Cleanups | None, event: RevokedTokensForgotten) -> Cleanups:  # noqa: ARG001
    """Count a clean-up."""
    return Cleanups((state.count if state else 0) + 1)


def _pair(event: TokensIssued | TokensRotated) -> Pair:
    return Pair(event.access_jti, event.access_expires_at, event.refresh_jti, event.refresh_expires_at, event.issued_at)


def _begun(state: Session | None) -> Session:
    if state is None:
        raise ValueError("the history of a session starts with a login")
    return state
