"""Start, refresh and end sessions, and cut off all tokens of a user or of all users.

Which tokens are dead is decided from the streams alone, in the order of the log, without a clock or a cache.
"""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.accounts import require_user
from ledger.commands.command import Command, Credential, Decision, States, StreamEvent, state_of
from ledger.commands.second_factors import Code, check_login_code, limit_roles
from ledger.errors import Refused, StaleCommandError
from ledger.events.second_factors import second_factor_stream
from ledger.events.tokens import (
    ALL_TOKENS,
    CLEANUPS,
    AllTokensRevoked,
    Cleanups,
    Cutoffs,
    Ending,
    Pair,
    PairReissued,
    RefreshTokenReused,
    RevokedTokensForgotten,
    Session,
    SessionRevoked,
    TokensIssued,
    TokensRotated,
)
from ledger.events.users import PasswordChanged, Role, User, UserTokensRevoked


class StartSession(Command, frozen=True, kw_only=True):
    """Start a session for a user who has presented the secret of the credential `credential_id`.

    A user with a second factor needs a `code` of it. Without one, the session lacks the roles that are
    `factored`: those that need a second factor.
    """

    name: ClassVar[str] = "StartSession"
    always_appends: ClassVar[bool] = True

    session_id: UUID
    user_id: UUID
    credential_id: UUID
    pair: Pair
    session_expires_at: int
    code: Code | None = None
    factored: tuple[Role, ...] = ()

    def streams(self) -> Iterable[UUID]:
        """Return the user, the user's second factor, and the stream of cut-offs."""
        return (self.user_id, second_factor_stream(self.user_id), ALL_TOKENS)

    def creates(self) -> Iterable[UUID]:
        """Return the session."""
        return (self.session_id,)

    def decide(self, states: States) -> Decision:
        """Return the first pair of tokens, if the credential is still the one in force and the user may log in."""
        user = state_of(states, self.user_id, User)
        if user is None or user.deleted or not user.active or user.credential_id != self.credential_id:
            raise Refused(errors.wrong_credentials())
        used = check_login_code(states, self.user_id, self.code)
        roles = limit_roles(user, self.factored, has_second_factor=bool(used))
        issued = TokensIssued(
            self.user_id,
            self.pair.access_jti,
            self.pair.access_expires_at,
            self.pair.refresh_jti,
            self.pair.refresh_expires_at,
            self.pair.issued_at,
            self.session_expires_at,
            roles,
            user.token_cutoffs,
            count_cutoffs(states),
            self.credential_id,
            bool(used),
        )
        result = token_result(self.session_id, self.user_id, self.pair, roles)
        return Decision([*used, (self.session_id, issued)], result)


class RefreshTokens(Command, frozen=True, kw_only=True):
    """Exchange the refresh token `refresh_jti` for the next pair of tokens, which does not outlive the session.

    A token that was rotated away ends the session, except for the retry of a client that never got the response. It
    presents the token of the last rotation, with the same `retry_hash`, within `grace_seconds`. Without `enforced`,
    revoked tokens are accepted until the user has another password.
    """

    name: ClassVar[str] = "RefreshTokens"
    always_appends: ClassVar[bool] = False  # logs of earlier versions have retries without an event

    session_id: UUID
    user_id: UUID
    refresh_jti: UUID
    pair: Pair
    grace_seconds: int
    enforced: bool = True
    retry_hash: str | None = None
    factored: tuple[Role, ...] = ()

    def streams(self) -> Iterable[UUID]:
        """Return the session, its user, and the stream of cut-offs."""
        return (self.session_id, self.user_id, ALL_TOKENS)

    def decide(self, states: States) -> Decision:
        """Return the next pair, the same pair again for a retry, or the end of the session."""
        session, user = find_session(states, self.session_id, self.user_id)
        if self.enforced:
            if not is_in_force(session, user, count_cutoffs(states)):
                raise Refused(errors.wrong_credentials())
            if self.refresh_jti != session.pair.refresh_jti:
                return self._refuse_reuse(session)
        elif not is_of_current_password(session, user):
            raise Refused(errors.wrong_credentials())
        if self.pair.issued_at >= session.expires_at:
            raise Refused(errors.wrong_credentials())
        pair = limit_to_session(self.pair, session)
        roles = limit_roles(user, self.factored, has_second_factor=session.second_factor)
        cutoffs = user.token_cutoffs, count_cutoffs(states)
        rotated = rotate(self.user_id, pair, roles, cutoffs, retry_hash=self.retry_hash)
        return Decision([(self.session_id, rotated)], token_result(self.session_id, self.user_id, pair, roles))

    def _refuse_reuse(self, session: Session) -> Decision:
        if self._is_retry(session):
            result = token_result(self.session_id, self.user_id, session.pair, session.roles)
            return Decision([(self.session_id, PairReissued(self.refresh_jti))], {**result, "reissued": True})
        reused: list[tuple[UUID, RefreshTokenReused]] = [(self.session_id, RefreshTokenReused(self.refresh_jti))]
        return Decision([*reused], {}, refusals=(errors.wrong_credentials(),))

    def _is_retry(self, session: Session) -> bool:
        """Return whether this is the request of the last rotation again, within the grace period."""
        age = max(self.pair.issued_at - session.pair.issued_at, 0)
        is_same_request = self.retry_hash is not None and self.retry_hash == session.retry_hash
        return is_same_request and self.refresh_jti == session.previous_jti and age < self.grace_seconds


class ChangePassword(Command, frozen=True, kw_only=True):
    """Give a user another password. The user has presented that of the credential `known_credential_id`.

    All other sessions of the user end, and this one gets another pair.
    """

    name: ClassVar[str] = "ChangePassword"
    always_appends: ClassVar[bool] = True

    session_id: UUID
    user_id: UUID
    known_credential_id: UUID
    credential: Credential
    pair: Pair
    enforced: bool = True
    factored: tuple[Role, ...] = ()

    def streams(self) -> Iterable[UUID]:
        """Return the session, its user, and the stream of cut-offs."""
        return (self.session_id, self.user_id, ALL_TOKENS)

    def decide(self, states: States) -> Decision:
        """Return the new password, a cut-off, and a pair of tokens after it."""
        session, user = find_session(states, self.session_id, self.user_id)
        if user.credential_id != self.known_credential_id:
            raise StaleCommandError
        cutoffs = count_cutoffs(states)
        if self.enforced and not is_in_force(session, user, cutoffs):
            raise Refused(errors.wrong_credentials())
        pair = limit_to_session(self.pair, session)
        roles = limit_roles(user, self.factored, has_second_factor=session.second_factor)
        credential_id = self.credential.id
        rotated = rotate(self.user_id, pair, roles, (user.token_cutoffs + 1, cutoffs), credential_id=credential_id)
        events: list[StreamEvent] = [
            (self.user_id, PasswordChanged(self.credential.id, self.credential.digest)),
            (self.user_id, UserTokensRevoked()),
            (self.session_id, rotated),
        ]
        return Decision(events, token_result(self.session_id, self.user_id, pair, roles), self.credential)


def find_session(states: States, session_id: UUID, user_id: UUID) -> tuple[Session, User]:
    """Return a session of an active user, and the user. Raises `Refused`."""
    session, user = state_of(states, session_id, Session), state_of(states, user_id, User)
    if session is None or session.user_id != user_id or user is None or user.deleted or not user.active:
        raise Refused(errors.wrong_credentials())
    return session, user


def rotate(
    user_id: UUID,
    pair: Pair,
    roles: str,
    cutoffs: tuple[int, int],
    *,
    retry_hash: str | None = None,
    credential_id: UUID | None = None,
) -> TokensRotated:
    """Return the event that gives a session its next pair. `cutoffs` are those of the user and of all users."""
    return TokensRotated(
        user_id,
        pair.access_jti,
        pair.access_expires_at,
        pair.refresh_jti,
        pair.refresh_expires_at,
        pair.issued_at,
        roles,
        *cutoffs,
        retry_hash,
        credential_id,
    )


class LogOut(Command, frozen=True):
    """End the session of a refresh token. Only the token in force can do that; any other is refused."""

    name: ClassVar[str] = "LogOut"
    always_appends: ClassVar[bool] = False

    session_id: UUID
    user_id: UUID
    refresh_jti: UUID

    def streams(self) -> Iterable[UUID]:
        """Return the session, its user, and the stream of cut-offs."""
        return (self.session_id, self.user_id, ALL_TOKENS)

    def decide(self, states: States) -> Decision:
        """Return the end of the session."""
        session = state_of(states, self.session_id, Session)
        user = state_of(states, self.user_id, User)
        if session is None or session.user_id != self.user_id or not is_in_force(session, user, count_cutoffs(states)):
            raise Refused(errors.wrong_credentials())
        if self.refresh_jti != session.pair.refresh_jti:
            raise Refused(errors.wrong_credentials())
        return Decision([(self.session_id, SessionRevoked("logout"))], {"id": str(self.session_id)})


class EndSession(Command, frozen=True):
    """End one session by its id. With `only_user_id`, refuse sessions of other users."""

    name: ClassVar[str] = "EndSession"
    always_appends: ClassVar[bool] = False

    session_id: UUID
    only_user_id: UUID | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the session."""
        return (self.session_id,)

    def decide(self, states: States) -> Decision:
        """Return the end of the session, or no event if it has ended already."""
        session = state_of(states, self.session_id, Session)
        if session is None or self.only_user_id not in (None, session.user_id):
            raise Refused(errors.session_not_found(self.session_id))
        by: Ending = "revoked"
        return Decision([] if session.ended else [(self.session_id, SessionRevoked(by))], {"id": str(self.session_id)})


class RevokeUserTokens(Command, frozen=True):
    """Cut off every token issued to a user until now."""

    name: ClassVar[str] = "RevokeUserTokens"
    always_appends: ClassVar[bool] = True

    user_id: UUID

    def streams(self) -> Iterable[UUID]:
        """Return the user."""
        return (self.user_id,)

    def decide(self, states: States) -> Decision:
        """Return the cut-off."""
        require_user(states, self.user_id)
        return Decision([(self.user_id, UserTokensRevoked())], {"id": str(self.user_id)})


class RevokeAllTokens(Command, frozen=True):
    """Cut off every token issued until now."""

    name: ClassVar[str] = "RevokeAllTokens"
    always_appends: ClassVar[bool] = True

    def streams(self) -> Iterable[UUID]:
        """Return the stream of cut-offs."""
        return (ALL_TOKENS,)

    def decide(self, states: States) -> Decision:  # noqa: ARG002 - no rule forbids it
        """Return the cut-off."""
        return Decision([(ALL_TOKENS, AllTokensRevoked())], {})


class ForgetTokens(Command, frozen=True, kw_only=True):
    """Purge the `count` tokens that were revoked at `as_of_position` or before and expired before `expired_before`.

    They were counted after `cleanups` clean-ups. Raises `StaleCommandError` if there has been another one since.
    """

    name: ClassVar[str] = "ForgetTokens"
    always_appends: ClassVar[bool] = False

    expired_before: int
    as_of_position: int
    count: int
    cleanups: int

    def streams(self) -> Iterable[UUID]:
        """Return the stream of clean-ups."""
        return (CLEANUPS,)

    def decide(self, states: States) -> Decision:
        """Return the clean-up, or no event if there is nothing to purge."""
        state = state_of(states, CLEANUPS, Cleanups)
        if (state.count if state else 0) != self.cleanups:
            raise StaleCommandError
        events = [(CLEANUPS, RevokedTokensForgotten(self.expired_before, self.as_of_position))] if self.count else []
        return Decision([*events], {"deleted_tokens": self.count})


def count_cutoffs(states: States) -> int:
    """Return how often all tokens were revoked."""
    state = state_of(states, ALL_TOKENS, Cutoffs)
    return state.count if state else 0


def is_in_force(session: Session, user: User | None, cutoffs: int) -> bool:
    """Return whether a session's tokens are in force: the session has not ended, and no cut-off came after it."""
    return (
        user is not None
        and not session.ended
        and (session.user_cutoffs, session.all_cutoffs) == (user.token_cutoffs, cutoffs)
    )


def is_of_current_password(session: Session, user: User) -> bool:
    """Return whether the user still has the password of the login.

    A session of an earlier version does not name it: there, a cut-off since the last refresh may be a new password.
    """
    if session.credential_id is None:
        return session.user_cutoffs == user.token_cutoffs
    return session.credential_id == user.credential_id


def limit_to_session(pair: Pair, session: Session) -> Pair:
    """Return the pair, which expires with its session at the latest."""
    return msgspec.structs.replace(
        pair,
        access_expires_at=min(pair.access_expires_at, session.expires_at),
        refresh_expires_at=min(pair.refresh_expires_at, session.expires_at),
    )


def token_result(session_id: UUID, user_id: UUID, pair: Pair, roles: str) -> dict[str, object]:
    """Return the values that are signed as a pair of tokens. They are not secret: without the key they are useless."""
    return {
        "session_id": str(session_id),
        "user_id": str(user_id),
        "roles": roles,
        "access_jti": str(pair.access_jti),
        "access_expires_at": pair.access_expires_at,
        "refresh_jti": str(pair.refresh_jti),
        "refresh_expires_at": pair.refresh_expires_at,
        "issued_at": pair.issued_at,
    }
