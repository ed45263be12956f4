"""Create, change and delete users. A name is free if its stream says so, so two requests cannot both reserve it."""

from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple
from uuid import UUID

from ledger import errors
from ledger.commands.accounts import close, require_user
from ledger.commands.command import Command, Credential, Decision, States, StreamEvent, state_of
from ledger.commands.expected_version import Conditional, check_version
from ledger.commands.second_factors import remove_factor
from ledger.errors import Refusal, Refused, StaleCommandError
from ledger.events import Event
from ledger.events.accounts import Account
from ledger.events.second_factors import SecondFactor, second_factor_stream
from ledger.events.users import (
    Name,
    NameClaimed,
    NameReleased,
    PasswordChanged,
    PasswordRehashed,
    Role,
    User,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserRolesChanged,
    UserTokensRevoked,
    UserUpdated,
    email_streams,
    username_streams,
)
from ledger.values.names import check_email, check_username


class CreateUser(Command, frozen=True, kw_only=True):
    """Create a user whose user name and e-mail address neither are, nor look like, those of another user."""

    name: ClassVar[str] = "CreateUser"
    always_appends: ClassVar[bool] = True

    user_id: UUID
    username: str
    email: str
    active: bool
    roles: tuple[Role, ...]
    credential: Credential

    @property
    def resource_id(self) -> UUID:
        """Return the id of the user."""
        return self.user_id

    def streams(self) -> Iterable[UUID]:
        """Return the user, who must be new, and both names."""
        return (self.user_id, *username_streams(self.username), *email_streams(self.email))

    def decide(self, states: States) -> Decision:
        """Return the creation, and the reservation of both names. Raises `Refused` with everything that is taken."""
        username, email = check_names(self.username, self.email)
        changes = (
            NameChange("username", (), username_streams(self.username)),
            NameChange("email", (), email_streams(self.email)),
        )
        refusals = [] if states[self.user_id] is None else [errors.user_already_exists("id")]
        refusals += find_taken_names(states, self.user_id, changes)
        if refusals:
            raise Refused(*refusals)
        created = UserCreated(username, email, self.active, self.roles, self.credential.id, self.credential.digest)
        events: list[StreamEvent] = [(self.user_id, created)]
        for change in changes:
            events += change.events(states, self.user_id)
        result = {
            "id": str(self.user_id),
            "username": username,
            "email": email,
            "active": self.active,
            "roles": ",".join(self.roles),
        }
        return Decision(events, result, self.credential)


class UpdateUser(Conditional, frozen=True, kw_only=True):
    """Change members of a user; None leaves a member unchanged.

    `known_username` and `known_email` are the names that the caller has read. Raises `StaleCommandError` if the command
    renames the user and these names have changed since, or if `other_admins` is outdated (`check_admin_remains`).
    """

    name: ClassVar[str] = "UpdateUser"
    always_appends: ClassVar[bool] = False

    user_id: UUID
    known_username: str
    known_email: str
    username: str | None = None
    email: str | None = None
    active: bool | None = None
    roles: tuple[Role, ...] | None = None
    credential: Credential | None = None
    other_admins: tuple[UUID, ...] | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the user, the names before and after, and the other admins."""
        return (self.user_id, *(self._name_streams() if self._renames else ()), *(self.other_admins or ()))

    def decide(self, states: States) -> Decision:
        """Return one event for each change."""
        user = require_user(states, self.user_id)
        if self._renames and (user.username, user.email) != (self.known_username, self.known_email):
            raise StaleCommandError
        check_version(states, self.user_id, self.expected)
        if self.ends_admin:
            check_admin_remains(states, self.user_id, user, self.other_admins)
        names = check_names(*self._names, known=(self.known_username, self.known_email))
        events: list[StreamEvent] = [(self.user_id, event) for event in self._changes(user, names)]
        if self._renames:
            if refusals := find_taken_names(states, self.user_id, self._name_changes):
                raise Refused(*refusals)
            for change in self._name_changes:
                events += change.events(states, self.user_id)
        return Decision(events, {"id": str(self.user_id)}, self.credential)

    @property
    def ends_admin(self) -> bool:
        """Return whether an active admin would no longer be one afterwards."""
        return self.active is False or (self.roles is not None and "admin" not in self.roles)

    @property
    def _renames(self) -> bool:
        return self.username is not None or self.email is not None

    @property
    def _names(self) -> tuple[str, str]:
        """Return the user name and the e-mail address that the user has afterwards."""
        return (self.username or self.known_username, self.email or self.known_email)

    def _changes(self, user: User, names: tuple[str, str]) -> Iterable[Event]:
        if self._renames and (user.username, user.email) != names:
            yield UserUpdated(*names)
        if self.roles is not None and user.roles != self.roles:
            yield UserRolesChanged(self.roles)
        if self.active is not None and self.active != user.active:
            yield UserActivated() if self.active else UserDeactivated()
        if self.credential is not None:
            yield PasswordChanged(self.credential.id, self.credential.digest)
        if self._revokes_tokens(user):
            yield UserTokensRevoked()

    def _revokes_tokens(self, user: User) -> bool:
        """Return whether older tokens must die: the user is demoted or deactivated, or has another password."""
        demoted = self.roles is not None and not set(user.roles) <= set(self.roles)
        return demoted or (user.active and self.active is False) or self.credential is not None

    @property
    def _name_changes(self) -> "tuple[NameChange, NameChange]":
        username, email = self._names
        return (
            NameChange("username", username_streams(self.known_username), username_streams(username)),
            NameChange("email", email_streams(self.known_email), email_streams(email)),
        )

    def _name_streams(self) -> Iterable[UUID]:
        for change in self._name_changes:
            yield from (*change.after, *change.before)


class DeleteUser(Conditional, frozen=True, kw_only=True):
    """Delete a user and close the user's accounts, all of which must be at zero.

    `account_ids` are the open accounts, `known_username` and `known_email` the names, at the time `assignments` was
    read. Raises `StaleCommandError` if the names or `assignments` have changed since, or if `other_admins` is outdated
    (`check_admin_remains`). `expecting` are the accounts that expect money, as in `CloseAccount`.
    """

    name: ClassVar[str] = "DeleteUser"
    always_appends: ClassVar[bool] = True

    user_id: UUID
    known_username: str
    known_email: str
    account_ids: tuple[UUID, ...]
    assignments: int
    expecting: tuple[UUID, ...] = ()
    other_admins: tuple[UUID, ...] | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the user, the second factor, both names, all accounts, and the other admins."""
        factor = second_factor_stream(self.user_id)
        return (self.user_id, factor, *self._names, *self.account_ids, *(self.other_admins or ()))

    def decide(self, states: States) -> Decision:
        """Return the closing of the accounts, the release of the names, the second factor's removal, the deletion."""
        user = require_user(states, self.user_id)
        if (user.username, user.email, user.assignments) != (
            self.known_username,
            self.known_email,
            self.assignments,
        ):
            raise StaleCommandError
        check_version(states, self.user_id, self.expected)
        check_admin_remains(states, self.user_id, user, self.other_admins)
        events = [
            close(account_id, account, expects_money=account_id in self.expecting)
            for account_id, account in self._open_accounts(states)
        ]
        events += [
            (stream, NameReleased(self.user_id)) for stream in self._names if _holder(states, stream) == self.user_id
        ]
        removed, secret = remove_factor(state_of(states, second_factor_stream(self.user_id), SecondFactor))
        events += [*removed, (self.user_id, UserTokensRevoked()), (self.user_id, UserDeleted())]
        return Decision(events, {"id": str(self.user_id)}, secret)

    @property
    def _names(self) -> tuple[UUID, ...]:
        return (*username_streams(self.known_username), *email_streams(self.known_email))

    def _open_accounts(self, states: States) -> Iterable[tuple[UUID, Account]]:
        for account_id in self.account_ids:
            account = state_of(states, account_id, Account)
            if account is not None and account.owner_id == self.user_id and not account.closed:
                yield account_id, account


class RehashPassword(Command, frozen=True):
    """Store another hash of the user's unchanged password, under the id that the credential has. No session ends."""

    name: ClassVar[str] = "RehashPassword"
    always_appends: ClassVar[bool] = False

    user_id: UUID
    credential: Credential

    def streams(self) -> Iterable[UUID]:
        """Return the user."""
        return (self.user_id,)

    def decide(self, states: States) -> Decision:
        """Return the digest of the hash, or no event if the user has another password since."""
        user, result = state_of(states, self.user_id, User), {"id": str(self.user_id)}
        if user is None or user.deleted or user.credential_id != self.credential.id:
            return Decision([], result)
        rehashed = PasswordRehashed(self.credential.id, self.credential.digest)
        return Decision([(self.user_id, rehashed)], result, self.credential)


class NameChange(NamedTuple):
    """The streams that a name reserves before and after a change: its own, then that of the form it looks like."""

    member: str
    before: tuple[UUID, ...]
    after: tuple[UUID, ...]

    @property
    def is_another_name(self) -> bool:
        """Return whether the name itself changes, and not only its spelling."""
        return self.before[:1] != self.after[:1]

    def events(self, states: States, user_id: UUID) -> list[StreamEvent]:
        """Return the releases and reservations of a change.

        A name that was stored before look-alikes were reserved now reserves its look-alike form, if that is free.
        """
        old = [stream for stream in self.before if stream not in self.after and _holder(states, stream) == user_id]
        new = [stream for stream in self.after if _holder(states, stream) is None]
        return [
            *((stream, NameReleased(user_id)) for stream in old),
            *((stream, NameClaimed(user_id)) for stream in new),
        ]


def check_admin_remains(states: States, user_id: UUID, user: User, other_admins: tuple[UUID, ...] | None) -> None:
    """Raise `Refused` if the user is the last active admin, whom a change would end.

    `other_admins` has another active admin, is empty if there is no other, and None if the user was no admin when the
    command was made. The decision reads that admin's stream, so two admins cannot demote each other at once. Raises
    `StaleCommandError` if one of the two users has changed since.
    """
    if not user.is_active_admin:
        return
    if other_admins == ():
        raise Refused(errors.last_admin(user_id))
    others = [state_of(states, other, User) for other in other_admins or ()]
    if not any(other is not None and other.is_active_admin for other in others):
        raise StaleCommandError


def check_names(username: str, email: str, *, known: tuple[str, str] | None = None) -> tuple[str, str]:
    """Return a user name and an e-mail address as they are stored; those in `known` are not checked again.

    Raises `Refused`.
    """
    known_username, known_email = known or (None, None)
    refusals: list[Refusal] = []
    names = (
        _check_name("username", username, known_username, check_username, refusals),
        _check_name("email", email, known_email, check_email, refusals),
    )
    if refusals:
        raise Refused(*refusals)
    return names


def _check_name(member: str, name: str, known: str | None, check: Callable[[str], str], refusals: list[Refusal]) -> str:
    if name == known:
        return name
    try:
        return check(name)
    except ValueError as error:
        refusals.append(errors.invalid(f"/{member}", str(error)))
        return name


def find_taken_names(states: States, user_id: UUID, changes: Iterable[NameChange]) -> list[Refusal]:
    """Return a refusal for each new name that another user has, or that looks like such a name."""
    return [
        errors.user_already_exists(change.member)
        for change in changes
        if change.is_another_name and any(_holder(states, stream) not in {None, user_id} for stream in change.after)
    ]


def _holder(states: States, stream: UUID) -> UUID | None:
    name = state_of(states, stream, Name)
    return None if name is None else name.holder_id
