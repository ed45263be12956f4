"""The caller of a command, a user or a machine client, as its access token describes it."""

from uuid import UUID

import msgspec

from ledger.commands.command import States
from ledger.commands.second_factors import LEAST_ROLE
from ledger.events.clients import Client
from ledger.events.tokens import ALL_TOKENS, Cutoffs, Session
from ledger.events.users import User


class Caller(msgspec.Struct, frozen=True, cache_hash=True):
    """A user or a client with roles in a session, according to the access token `jti`.

    With `enforced`, the token must not have been revoked. Otherwise, its session must be one of this ledger, ended or
    not: another ledger can have the same key, and users with the same ids.
    """

    user_id: UUID
    roles: frozenset[str]
    session_id: UUID
    jti: UUID
    enforced: bool = True

    def streams(self) -> tuple[UUID, ...]:
        """Return the streams from which `is_valid` is decided."""
        return (self.user_id, self.session_id, *((ALL_TOKENS,) if self.enforced else ()))

    def is_valid(self, states: States) -> bool:
        """Return whether the user or client is active and has these roles, and the token is in force."""
        user = states[self.user_id]
        if isinstance(user, User):
            is_active, roles = user.active and not user.deleted, user.roles
        elif isinstance(user, Client):
            is_active, roles = not user.revoked, user.grants.roles
        else:
            return False
        if not is_active or not self.roles <= {*roles, LEAST_ROLE}:
            return False
        session = states[self.session_id]
        if not isinstance(session, Session) or session.user_id != self.user_id:
            return False
        return not self.enforced or self._is_in_force(session, user, states)

    def _is_in_force(self, session: Session, user: User | Client, states: States) -> bool:
        if session.ended:
            return False
        cutoffs = states[ALL_TOKENS]
        count = cutoffs.count if isinstance(cutoffs, Cutoffs) else 0
        return (session.pair.access_jti, session.user_cutoffs, session.all_cutoffs) == (
            self.jti,
            user.token_cutoffs,
            count,
        )
