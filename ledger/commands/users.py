"""Creating, changing and deleting users. A name is free when its stream says so, so two requests cannot both get it."""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.accounts import close, existing_user
from ledger.commands.conditions import Conditional, check_version
from ledger.commands.decider import Credential, Decision, States, StreamEvent, state_of
from ledger.errors import Refusal, Refused, StaleCommandError
from ledger.events import Event
from ledger.events.accounts import Account
from ledger.events.users import (
    Name,
    NameClaimed,
    NameReleased,
    PasswordChanged,
    Role,
    User,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserTokensRevoked,
    UserUpdated,
    email_stream,
    username_stream,
)


class CreateUser(msgspec.Struct, frozen=True):
    """Create a user under two names that nobody has."""

    name: ClassVar[str] = "CreateUser"

    user_id: UUID
    username: str
    email: str
    active: bool
    roles: tuple[Role, ...]
    credential: Credential

    def streams(self) -> Iterable[UUID]:
        """The user, who must be new, and both names."""
        return (self.user_id, username_stream(self.username), email_stream(self.email))

    def creates(self) -> Iterable[UUID]:
        """Nothing under a fresh id."""
        return ()

    def decide(self, states: States) -> Decision:
        """The creation, and the claim of both names; or all that is taken, at once."""
        refusals = [] if states[self.user_id] is None else [errors.user_already_exists("id")]
        refusals += names_taken(states, self.user_id, self.username, self.email)
        if refusals:
            raise Refused(*refusals)
        created = UserCreated(self.username, self.email, self.active, self.roles, self.credential.id)
        events: list[StreamEvent] = [(self.user_id, created)]
        events += [
            (stream, NameClaimed(self.user_id)) for stream in (username_stream(self.username), email_stream(self.email))
        ]
        result = {
            "id": str(self.user_id),
            "username": self.username,
            "email": self.email,
            "active": self.active,
            "roles": ",".join(self.roles),
        }
        return Decision(events, result, self.credential)


class UpdateUser(Conditional, frozen=True):
    """Make a user what is said here; None leaves as it is.

    `known_username` and `known_email` are the names when the command was made. Raises `StaleCommandError` if they have
    changed since and the command renames.
    """

    name: ClassVar[str] = "UpdateUser"

    user_id: UUID
    known_username: str
    known_email: str
    username: str | None = None
    email: str | None = None
    active: bool | None = None
    roles: tuple[Role, ...] | None = None
    credential: Credential | None = None

    def streams(self) -> Iterable[UUID]:
        """The user, and the names before and after."""
        return (self.user_id, *(self._name_streams() if self._renames else ()))

    def creates(self) -> Iterable[UUID]:
        """Nothing under a fresh id."""
        return ()

    def decide(self, states: States) -> Decision:
        """One event for each thing that changes; none if nothing does."""
        user = existing_user(states, self.user_id)
        if self._renames and (user.username, user.email) != (self.known_username, self.known_email):
            raise StaleCommandError
        check_version(states, self.user_id, self.expected)
        events: list[StreamEvent] = [(self.user_id, event) for event in self._changes(user)]
        if self._renames:
            if refusals := names_taken(states, self.user_id, *self._names):
                raise Refused(*refusals)
            for before, after in self._renamed():
                events += [(before, NameReleased(self.user_id)), (after, NameClaimed(self.user_id))]
        return Decision(events, {"id": str(self.user_id)}, self.credential)

    @property
    def _renames(self) -> bool:
        return self.username is not None or self.email is not None

    @property
    def _names(self) -> tuple[str, str]:
        """The user name and the address that the user has afterwards."""
        return (self.username or self.known_username, self.email or self.known_email)

    def _changes(self, user: User) -> Iterable[Event]:
        if self._renames and (user.username, user.email) != self._names:
            yield UserUpdated(*self._names)
        if self.roles is not None and user.roles != self.roles:
            yield UserRolesChanged(self.roles)
        if self.active is not None and self.active != user.active:
            yield UserActivated() if self.active else UserDeactivated()
        if self.credential is not None:
            yield PasswordChanged(self.credential.id)
        if self._takes_something_away(user):
            yield UserTokensRevoked()

    def _takes_something_away(self, user: User) -> bool:
        """Whether tokens from before say too much: the user was demoted, shut out, or has another password."""
        demoted = self.roles is not None and not set(user.roles) <= set(self.roles)
        return demoted or (user.active and self.active is False) or self.credential is not None

    def _renamed(self) -> list[tuple[UUID, UUID]]:
        username, email = self._names
        pairs = [
            (username_stream(self.known_username), username_stream(username)),
            (email_stream(self.known_email), email_stream(email)),
        ]
        return [(before, after) for before, after in pairs if before != after]

    def _name_streams(self) -> Iterable[UUID]:
        username, email = self._names
        yield from (username_stream(username), email_stream(email))
        yield from (username_stream(self.known_username), email_stream(self.known_email))


class DeleteUser(Conditional, frozen=True):
    """Delete a user and close the accounts, all of which must be at zero.

    `account_ids` are the user's open accounts as they were when `assignments` was read; `known_username` and
    `known_email` are the names then. Raises `StaleCommandError` if any of it is not so any more.
    """

    name: ClassVar[str] = "DeleteUser"

    user_id: UUID
    known_username: str
    known_email: str
    account_ids: tuple[UUID, ...]
    assignments: int

    def streams(self) -> Iterable[UUID]:
        """The user, both names and all accounts."""
        names = (username_stream(self.known_username), email_stream(self.known_email))
        return (self.user_id, *names, *self.account_ids)

    def creates(self) -> Iterable[UUID]:
        """Nothing under a fresh id."""
        return ()

    def decide(self, states: States) -> Decision:
        """The closing of the accounts, the release of the names, and the deletion."""
        user = existing_user(states, self.user_id)
        if (user.username, user.email, user.assignments) != (
            self.known_username,
            self.known_email,
            self.assignments,
        ):
            raise StaleCommandError
        check_version(states, self.user_id, self.expected)
        events = [close(account_id, account) for account_id, account in self._open_accounts(states)]
        events += [
            (stream, NameReleased(self.user_id))
            for stream in (username_stream(user.username), email_stream(user.email))
        ]
        events += [(self.user_id, UserTokensRevoked()), (self.user_id, UserDeleted())]
        return Decision(events, {"id": str(self.user_id)})

    def _open_accounts(self, states: States) -> Iterable[tuple[UUID, Account]]:
        for account_id in self.account_ids:
            account = state_of(states, account_id, Account)
            if account is not None and account.owner_id == self.user_id and not account.closed:
                yield account_id, account


def names_taken(states: States, user_id: UUID, username: str, email: str) -> list[Refusal]:
    """A refusal for each name that another user has."""
    streams = {"username": username_stream(username), "email": email_stream(email)}
    holders = {member: state_of(states, stream, Name) for member, stream in streams.items()}
    return [
        errors.user_already_exists(member)
        for member, name in holders.items()
        if name is not None and name.holder_id not in (None, user_id)
    ]
