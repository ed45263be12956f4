"""The events of sessions and of all tokens, and the states they fold into. A session is the tokens that follow a login.

Tokens themselves are never stored, only their ids (`jti`, RFC 7519 section 4.1.7) and expiry times. Times are whole
seconds since the epoch, as in the tokens. Revoking all tokens of a user is an event of that user.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id

ALL_TOKENS = derived_id("tokens", "all")
CLEANUPS = derived_id("tokens", "cleanups")

Ending = Literal["logout", "revoked"]


class Pair(msgspec.Struct, frozen=True):
    """The ids and expiry times of an access token and of its refresh token."""

    access_jti: UUID
    access_expires_at: int
    refresh_jti: UUID
    refresh_expires_at: int
    issued_at: int


class TokensIssued(msgspec.Struct, frozen=True):
    """A user logged in and got the session's first pair.

    The session ends at `session_expires_at`, however often it is refreshed. `user_cutoffs` and `all_cutoffs` count the
    earlier cut-offs of this user's tokens and of all tokens. `credential_id` is the password's; earlier versions did
    not store it. `second_factor` says whether the user has presented a code of one.
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
    credential_id: UUID | None = None
    second_factor: bool = False


class ClientTokenIssued(msgspec.Struct, frozen=True):
    """A machine client authenticated with a secret, and got an access token: the only one of a session of its own.

    `client_cutoffs` and `all_cutoffs` count the earlier cut-offs of this client's tokens and of all tokens.
    """

    TOPIC: ClassVar[str] = "ClientTokenIssued"

    client_id: UUID
    secret_id: UUID
    jti: UUID
    issued_at: int
    expires_at: int
    roles: str
    scope: str
    client_cutoffs: int
    all_cutoffs: int


class TokensRotated(msgspec.Struct, frozen=True):
    """The session was refreshed: it has a new pair, and the previous one is dead. Cut-offs are counted as at login.

    `retry_hash` is a keyed hash of the session, the presented token and the request's `Idempotency-Key`; it is None
    without a key. It recognizes a retry. `credential_id` is set if the user has changed the password in this session.
    """

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
    retry_hash: str | None = None
    credential_id: UUID | None = None


class PairReissued(msgspec.Struct, frozen=True):
    """A client retried the last refresh, with the same token `jti` and key, and got the same pair again."""

    TOPIC: ClassVar[str] = "PairReissued"

    jti: UUID


class SessionRevoked(msgspec.Struct, frozen=True):
    """The session ended: its user logged out, or an authorized caller revoked it."""

    TOPIC: ClassVar[str] = "SessionRevoked"

    by: Ending


class RefreshTokenReused(msgspec.Struct, frozen=True):
    """A refresh token was presented after its rotation. One of its two holders is a thief, so the session ended."""

    TOPIC: ClassVar[str] = "RefreshTokenReused"

    jti: UUID


SessionEvent = TokensIssued | ClientTokenIssued | TokensRotated | PairReissued | SessionRevoked | RefreshTokenReused


class AllTokensRevoked(msgspec.Struct, frozen=True):
    """A cut-off: every token issued until now is dead."""

    TOPIC: ClassVar[str] = "AllTokensRevoked"


class RevokedTokensForgotten(msgspec.Struct, frozen=True):
    """Tokens that were revoked at `as_of_position` or before and expired before `expired_before` were purged."""

    TOPIC: ClassVar[str] = "RevokedTokensForgotten"

    expired_before: int
    as_of_position: int


class Session(msgspec.Struct, frozen=True):
    """The state of one session. `previous_jti` and `retry_hash` are of the request that last rotated its tokens.

    In the session of a machine client, `user_id` is the client. It has no refresh token: both ends of the pair are the
    access token.
    """

    TOPIC: ClassVar[str] = "Session"

    user_id: UUID
    pair: Pair
    roles: str
    expires_at: int
    user_cutoffs: int
    all_cutoffs: int
    previous_jti: UUID | None = None
    ended: bool = False
    retry_hash: str | None = None
    credential_id: UUID | None = None
    second_factor: bool = False


class Cutoffs(msgspec.Struct, frozen=True):
    """The number of times that all tokens were revoked."""

    TOPIC: ClassVar[str] = "Cutoffs"

    count: int


class Cleanups(msgspec.Struct, frozen=True):
    """The number of times that revoked tokens were purged."""

    TOPIC: ClassVar[str] = "Cleanups"

    count: int


def evolve(state: Session | None, event: SessionEvent) -> Session:
    """Fold one event into the state; the first event of a session is its login."""
    match event:
        case TokensIssued():
            return Session(
                event.user_id,
                _build_pair(event),
                event.roles,
                event.session_expires_at,
                event.user_cutoffs,
                event.all_cutoffs,
                credential_id=event.credential_id,
                second_factor=event.second_factor,
            )
        case ClientTokenIssued():
            return Session(
                event.client_id,
                Pair(event.jti, event.expires_at, event.jti, event.expires_at, event.issued_at),
                event.roles,
                event.expires_at,
                event.client_cutoffs,
                event.all_cutoffs,
            )
        case TokensRotated():
            session = _require_login(state)
            return msgspec.structs.replace(
                session,
                pair=_build_pair(event),
                roles=event.roles,
                user_cutoffs=event.user_cutoffs,
                all_cutoffs=event.all_cutoffs,
                previous_jti=session.pair.refresh_jti,
                retry_hash=event.retry_hash,
                credential_id=event.credential_id or session.credential_id,
            )
        case PairReissued():
            return _require_login(state)
        case SessionRevoked() | RefreshTokenReused():
            return msgspec.structs.replace(_require_login(state), ended=True)
        case _:
            assert_never(event)


def evolve_cutoffs(state: Cutoffs | None, event: AllTokensRevoked) -> Cutoffs:  # noqa: ARG001 - the shape all folds share
    """Count a cut-off."""
    return Cutoffs((state.count if state else 0) + 1)


def evolve_cleanups(state: Cleanups | None, event: RevokedTokensForgotten) -> Cleanups:  # noqa: ARG001
    """Count a clean-up."""
    return Cleanups((state.count if state else 0) + 1)


def _build_pair(event: TokensIssued | TokensRotated) -> Pair:
    return Pair(event.access_jti, event.access_expires_at, event.refresh_jti, event.refresh_expires_at, event.issued_at)


def _require_login(state: Session | None) -> Session:
    if state is None:
        raise ValueError("the history of a session starts with a login")
    return state
