"""What can have happened to a user and to the names that users claim, and what it adds up to.

A user name or e-mail address is a stream of its own, found by its folded form. The first user that appends to it has
the name, so concurrent requests cannot give it to two users. A name that looks like another takes that stream as well.
Credentials are not here: the log knows only which credential is in force, never its hash.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id
from ledger.values.names import compute_skeleton, fold

Role = Literal["admin", "auditor", "customer", "guest"]
ROLES: tuple[Role, ...] = ("admin", "auditor", "customer", "guest")


class UserCreated(msgspec.Struct, frozen=True):
    """A user exists from now on, and logs in with the credential of that id."""

    TOPIC: ClassVar[str] = "UserCreated"

    username: str
    email: str
    active: bool
    roles: tuple[Role, ...]
    credential_id: UUID


class UserUpdated(msgspec.Struct, frozen=True):
    """The user goes by another name or address."""

    TOPIC: ClassVar[str] = "UserUpdated"

    username: str
    email: str


class UserRolesChanged(msgspec.Struct, frozen=True):
    """The user may do other things than before, from the next request on."""

    TOPIC: ClassVar[str] = "UserRolesChanged"

    roles: tuple[Role, ...]


class UserActivated(msgspec.Struct, frozen=True):
    """The user may log in again."""

    TOPIC: ClassVar[str] = "UserActivated"


class UserDeactivated(msgspec.Struct, frozen=True):
    """The user is refused everything, from the next request on."""

    TOPIC: ClassVar[str] = "UserDeactivated"


class PasswordChanged(msgspec.Struct, frozen=True):
    """The user logs in with another credential."""

    TOPIC: ClassVar[str] = "PasswordChanged"

    credential_id: UUID


class UserTokensRevoked(msgspec.Struct, frozen=True):
    """A cut-off: every token that was issued to the user until now is dead."""

    TOPIC: ClassVar[str] = "UserTokensRevoked"


class AccountAssigned(msgspec.Struct, frozen=True):
    """An account became the user's."""

    TOPIC: ClassVar[str] = "AccountAssigned"

    account_id: UUID


class UserDeleted(msgspec.Struct, frozen=True):
    """The user was deleted; the id is never used again."""

    TOPIC: ClassVar[str] = "UserDeleted"


UserEvent = (
    UserCreated
    | UserUpdated
    | UserRolesChanged
    | UserActivated
    | UserDeactivated
    | PasswordChanged
    | UserTokensRevoked
    | AccountAssigned
    | UserDeleted
)


class NameClaimed(msgspec.Struct, frozen=True):
    """The name belongs to this user."""

    TOPIC: ClassVar[str] = "NameClaimed"

    user_id: UUID


class NameReleased(msgspec.Struct, frozen=True):
    """The name is free again."""

    TOPIC: ClassVar[str] = "NameReleased"

    user_id: UUID


NameEvent = NameClaimed | NameReleased


class User(msgspec.Struct, frozen=True):
    """What the events of one user add up to.

    `assignments` counts the accounts that ever became the user's: who knew this number knew all of them.
    `token_cutoffs` counts how often the user's tokens were revoked.
    """

    TOPIC: ClassVar[str] = "User"

    username: str
    email: str
    active: bool
    roles: tuple[Role, ...]
    credential_id: UUID
    assignments: int = 0
    deleted: bool = False
    token_cutoffs: int = 0


class Name(msgspec.Struct, frozen=True):
    """The user who holds a user name or e-mail address, or None."""

    TOPIC: ClassVar[str] = "Name"

    holder_id: UUID | None


def username_stream(username: str) -> UUID:
    """Return the stream of a user name, the same for all spellings that fold together."""
    return derived_id("username", fold(username))


def username_streams(username: str) -> tuple[UUID, ...]:
    """Return the streams that a user name takes: its own, and that of the name it looks like, if that is another."""
    return _streams("username", username)


def email_streams(email: str) -> tuple[UUID, ...]:
    """Return the streams that an address takes: its own, and that of the address it looks like, if that is another."""
    return _streams("email", email)


def _streams(kind: str, name: str) -> tuple[UUID, ...]:
    form = fold(name)
    return tuple(derived_id(kind, one) for one in dict.fromkeys((form, compute_skeleton(form))))


def evolve(state: User | None, event: UserEvent) -> User:  # noqa: PLR0911 - one arm an event
    """Fold one event into the state; the first event of a stream is the user's creation."""
    match event:
        case UserCreated():
            return User(event.username, event.email, event.active, event.roles, event.credential_id)
        case UserUpdated():
            return _changed(state, username=event.username, email=event.email)
        case UserRolesChanged():
            return _changed(state, roles=event.roles)
        case UserActivated():
            return _changed(state, active=True)
        case UserDeactivated():
            return _changed(state, active=False)
        case PasswordChanged():
            return _changed(state, credential_id=event.credential_id)
        case UserTokensRevoked():
            return _changed(state, token_cutoffs=(state.token_cutoffs if state else 0) + 1)
        case AccountAssigned():
            return _changed(state, assignments=(state.assignments if state else 0) + 1)
        case UserDeleted():
            return _changed(state, deleted=True)
        case _:
            assert_never(event)


def _changed(state: User | None, **changes: object) -> User:
    if state is None:
        raise ValueError("the history of a user starts with its creation")
    return msgspec.structs.replace(state, **changes)


def evolve_name(state: Name | None, event: NameEvent) -> Name:  # noqa: ARG001 - the shape all folds share
    """Fold one event into the state of a name."""
    match event:
        case NameClaimed():
            return Name(event.user_id)
        case NameReleased():
            return Name(None)
        case _:
            assert_never(event)
