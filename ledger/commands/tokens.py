"""Logging in: a session starts with its first pair of tokens."""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.decider import Decision, States, state_of
from ledger.errors import Refused
from ledger.events.tokens import TokensIssued
from ledger.events.users import User


class StartSession(msgspec.Struct, frozen=True):
    """Start a session for a user who has shown the secret of the credential `credential_id`."""

    name: ClassVar[str] = "StartSession"

    session_id: UUID
    tokens: TokensIssued
    credential_id: UUID

    def streams(self) -> Iterable[UUID]:
        """The user."""
        return (self.tokens.user_id,)

    def creates(self) -> Iterable[UUID]:
        """The session."""
        return (self.session_id,)

    def decide(self, states: States) -> Decision:
        """The first pair of tokens, if the credential is still the one in force and the user may log in."""
        user = state_of(states, self.tokens.user_id, User)
        if user is None or user.deleted or not user.active or user.credential_id != self.credential_id:
            raise Refused(errors.wrong_credentials())
        return Decision([(self.session_id, self.tokens)], {"roles": ",".join(user.roles)})
