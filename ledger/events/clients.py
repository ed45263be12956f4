"""The events of machine clients, and the state they fold into.

A client authenticates with a secret of 256 random bits. An event has the SHA-256 digest of it, which is useless without
the secret, so the log says which secrets were ever valid, and a swapped digest is tampering with the log. A change of
what a client may do cuts off its tokens: the roles, scopes and limits of a token never change.
"""

from typing import ClassVar, assert_never
from uuid import UUID

import msgspec

from ledger.events.users import Role

MAX_LIMITS = 100  # users, and also accounts, that one client is limited to


class ClientSecret(msgspec.Struct, frozen=True):
    """A secret of a client, of which only a digest is stored. It is valid before `expires_at`, if that is set.

    A digest has lower-case hexadecimal digits. Times are whole seconds since the epoch, as in tokens.
    """

    id: UUID
    digest: str
    expires_at: int | None = None

    def is_valid(self, now: int) -> bool:
        """Return whether the secret has not expired."""
        return self.expires_at is None or now < self.expires_at


class Grants(msgspec.Struct, frozen=True):
    """What a client may do: its roles, the scopes that its tokens may have, and the accounts it is limited to.

    The accounts are those of `account_ids` and those that the users of `user_ids` own now. If both are None, the roles
    alone decide.
    """

    roles: tuple[Role, ...]
    scopes: tuple[str, ...]
    account_ids: tuple[UUID, ...] | None = None
    user_ids: tuple[UUID, ...] | None = None

    @property
    def limits(self) -> tuple[UUID, ...] | None:
        """Return the ids of the users and accounts that the client is limited to; None without a limit."""
        if self.account_ids is None and self.user_ids is None:
            return None
        return (*(self.account_ids or ()), *(self.user_ids or ()))

    @property
    def payers(self) -> tuple[UUID, ...] | None:
        """Return the users and accounts whose money the client may spend; None for all."""
        return () if self.limits is None and "admin" not in self.roles else self.limits

    def may_debit(self, account_id: UUID, owner_id: UUID | None) -> bool:
        """Return whether an account is within the limits. Without limits, only an admin may debit any."""
        payers = self.payers
        return payers is None or account_id in payers or owner_id in payers


class ClientRegistered(msgspec.Struct, frozen=True):
    """An admin registered a client, with its first secret."""

    TOPIC: ClassVar[str] = "ClientRegistered"

    name: str
    grants: Grants
    secrets: tuple[ClientSecret, ...]


class ClientUpdated(msgspec.Struct, frozen=True):
    """The client has another name, or may do other things."""

    TOPIC: ClassVar[str] = "ClientUpdated"

    name: str
    grants: Grants


class ClientSecretRotated(msgspec.Struct, frozen=True):
    """The client has a new secret. `secrets` are all that are valid from now on, the newest first."""

    TOPIC: ClassVar[str] = "ClientSecretRotated"

    secrets: tuple[ClientSecret, ...]


class ClientTokensRevoked(msgspec.Struct, frozen=True):
    """A cut-off: every token issued to the client until now is dead."""

    TOPIC: ClassVar[str] = "ClientTokensRevoked"


class ClientRevoked(msgspec.Struct, frozen=True):
    """The client was revoked for good; the id is never used again."""

    TOPIC: ClassVar[str] = "ClientRevoked"


ClientEvent = ClientRegistered | ClientUpdated | ClientSecretRotated | ClientTokensRevoked | ClientRevoked


class Client(msgspec.Struct, frozen=True):
    """The state of one client. `token_cutoffs` counts how often its tokens were revoked."""

    TOPIC: ClassVar[str] = "Client"

    name: str
    grants: Grants
    secrets: tuple[ClientSecret, ...]
    token_cutoffs: int = 0
    revoked: bool = False


def evolve(state: Client | None, event: ClientEvent) -> Client:
    """Fold one event into the state; the first event of a stream is the client's registration."""
    match event:
        case ClientRegistered():
            return Client(event.name, event.grants, event.secrets)
        case ClientUpdated():
            return _replace(state, name=event.name, grants=event.grants)
        case ClientSecretRotated():
            return _replace(state, secrets=event.secrets)
        case ClientTokensRevoked():
            return _replace(state, token_cutoffs=(state.token_cutoffs if state else 0) + 1)
        case ClientRevoked():
            return _replace(state, revoked=True, secrets=())
        case _:
            assert_never(event)


def _replace(state: Client | None, **changes: object) -> Client:
    if state is None:
        raise ValueError("the history of a client starts with its registration")
    return msgspec.structs.replace(state, **changes)
