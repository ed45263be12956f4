"""The events of users and of the names that they reserve, and the states they fold into.

A user name or e-mail address has a stream of its own, found by its folded form. The first user that appends to it owns
the name, so concurrent requests cannot give it to two users. A name also reserves the stream of the form it looks like.
The log has only the id of the credential in force and a digest of its hash, never the hash. The digest reveals nothing
about the password, because the hash has a random salt. Events of earlier versions have no digest.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id
from ledger.values.names import compute_skeleton, fold

Role = Literal["admin", "auditor", "customer", "guest"]
ROLES: tuple[Role, ...] = ("admin", "auditor", "customer", "guest")


class UserCreated(msgspec.Struct, frozen=True):
    """A user was created, and logs in with the credential of this id."""

    TOPIC: ClassVar[str] = "UserCreated"

    username: str
    email: str
    active: bool
    roles: tuple[Role, ...]
    credential_id: UUID
    credential_digest: str | None = None


class UserUpdated(msgspec.Struct, frozen=True):
    """The user has another user name or e-mail address."""

    TOPIC: ClassVar[str] = "UserUpdated"

    username: str
    email: str


class UserRolesChanged(msgspec.Struct, frozen=True):
    """The user has other roles, from the next request on."""

    TOPIC: ClassVar[str] = "UserRolesChanged"

    roles: tuple[Role, ...]


class UserActivated(msgspec.Struct, frozen=True):
    """The user may log in again."""

    TOPIC: ClassVar[str] = "UserActivated"


class UserDeactivated(msgspec.Struct, frozen=True):
    """The user was deactivated: every request is refused, from the next one on."""

    TOPIC: ClassVar[str] = "UserDeactivated"


class PasswordChanged(msgspec.Struct, frozen=True):
    """The user now logs in with another credential."""

    TOPIC: ClassVar[str] = "PasswordChanged"

    credential_id: UUID
    credential_digest: str | None = None


class PasswordRehashed(msgspec.Struct, frozen=True):
    """The unchanged password, of the same credential, was hashed again with other parameters."""

    TOPIC: ClassVar[str] = "PasswordRehashed"

    credential_id: UUID
    credential_digest: str


class UserTokensRevoked(msgspec.Struct, frozen=True):
    """A cut-off: every token issued to the user until now is dead."""

    TOPIC: ClassVar[str] = "UserTokensRevoked"


class AccountAssigned(msgspec.Struct, frozen=True):
    """The user became the owner of an account."""

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
    | PasswordRehashed
    | UserTokensRevoked
    | AccountAssigned
    | UserDeleted
)


class NameClaimed(msgspec.Struct, frozen=True):
    """The user reserved the name."""

    TOPIC: ClassVar[str] = "NameClaimed"

    user_id: UUID


class NameReleased(msgspec.Struct, frozen=True):
    """The name is free again."""

    TOPIC: ClassVar[str] = "NameReleased"

    user_id: UUID


CREDENTIAL_EVENTS = (UserCreated, PasswordChanged, PasswordRehashed)
NameEvent = NameClaimed | NameReleased


class User(msgspec.Struct, frozen=True):
    """The state of one user.

    `assignments` counts the accounts ever assigned to the user: while it is unchanged, a list of the user's accounts
    that was read earlier is still complete. `token_cutoffs` counts how often the user's tokens were revoked.
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

    @property
    def is_active_admin(self) -> bool:
        """Return whether the user may administer the ledger."""
        return "admin" in self.roles and self.active and not self.deleted


class Name(msgspec.Struct, frozen=True):
    """The user who owns a user name or e-mail address, or None if it is free."""

    TOPIC: ClassVar[str] = "Name"

    holder_id: UUID | None


def username_stream(username: str) -> UUID:
    """Return the stream of a user name, which all spellings with the same folded form share."""
    return derived_id("username", fold(username))


def username_streams(username: str) -> tuple[UUID, ...]:
    """Return the streams that a user name reserves: its own, and that of the form it looks like, if it differs."""
    return _reserved_streams("username", username)


def email_streams(email: str) -> tuple[UUID, ...]:
    """Return the streams that an address reserves: its own, and that of the form it looks like, if it differs."""
    return _reserved_streams("email", email)


def _reserved_streams(kind: str, name: str) -> tuple[UUID, ...]:
    form = fold(name)
    return tuple(derived_id(kind, text) for text in dict.fromkeys((form, compute_skeleton(form))))


def evolve(state: User | None, event: UserEvent) -> User:  # noqa: PLR0911 - one arm per event
    """Fold one event into the state; the first event of a stream is the user's creation."""
    match event:
        case UserCreated():
            return User(event.username, event.email, event.active, event.roles, event.credential_id)
        case UserUpdated():
            return _replace(state, username=event.username, email=event.email)
        case UserRolesChanged():
            return _replace(state, roles=event.roles)
        case UserActivated():
            return _replace(state, active=True)
        case UserDeactivated():
            return _replace(state, active=False)
        case PasswordChanged() | PasswordRehashed():
            return _replace(state, credential_id=event.credential_id)
        case UserTokensRevoked():
            return _replace(state, token_cutoffs=(state.token_cutoffs if state else 0) + 1)
        case AccountAssigned():
            return _replace(state, assignments=(state.assignments if state else 0) + 1)
        case UserDeleted():
            return _replace(state, deleted=True)
        case _:
            assert_never(event)


def _replace(state: User | None, **changes: object) -> User:
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
