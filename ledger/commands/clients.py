"""Register, change and revoke machine clients, rotate their secrets, and issue their access tokens (RFC 6749).

A change of what a client may do, and its revocation, cut off the tokens that it has.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Command, Decision, States, StreamEvent, state_of
from ledger.commands.expected_version import Conditional, check_version
from ledger.commands.tokens import count_cutoffs
from ledger.errors import Refusal, Refused
from ledger.events.clients import (
    Client,
    ClientRegistered,
    ClientRevoked,
    ClientSecret,
    ClientSecretRotated,
    ClientTokensRevoked,
    ClientUpdated,
    Grants,
)
from ledger.events.tokens import ALL_TOKENS, ClientTokenIssued
from ledger.events.users import Role
from ledger.values.timestamps import rfc3339

UNLIMITED_ROLES = frozenset({"admin", "auditor"})
GrantName = Literal["roles", "scopes", "account_ids", "user_ids"]


INVALID_CLIENT = Refusal("invalid_client", "client authentication failed")  # RFC 6749, section 5.2, as the next one
INVALID_SCOPE = Refusal("invalid_scope", "the client does not have all of the requested scopes")


def client_already_exists(client_id: UUID) -> Refusal:
    """Refuse an id that was used before."""
    return Refusal("client_already_exists", f"client already exists: {client_id}", detail={"pointer": "/id"})


def client_not_found(client_id: UUID) -> Refusal:
    """Refuse a client that does not exist, or was revoked."""
    return Refusal("resource_not_found", f"client not found: {client_id}", detail={"client_id": str(client_id)})


class RegisterClient(Command, frozen=True, kw_only=True):
    """Register a client, with the digest of its first secret."""

    name: ClassVar[str] = "RegisterClient"
    always_appends: ClassVar[bool] = True

    client_id: UUID
    client_name: str
    grants: Grants
    secret: ClientSecret

    @property
    def resource_id(self) -> UUID:
        """Return the id of the client."""
        return self.client_id

    def streams(self) -> Iterable[UUID]:
        """Return the client, which must be new."""
        return (self.client_id,)

    def decide(self, states: States) -> Decision:
        """Return the registration."""
        if states[self.client_id] is not None:
            raise Refused(client_already_exists(self.client_id))
        check_grants(self.grants)
        registered = ClientRegistered(self.client_name, self.grants, (self.secret,))
        result = describe_client(self.client_id, self.client_name, self.grants, (self.secret,))
        return Decision([(self.client_id, registered)], result)


class UpdateClient(Conditional, frozen=True, kw_only=True):
    """Change the name and the `given` members of a client's grants; all others stay as they are."""

    name: ClassVar[str] = "UpdateClient"
    always_appends: ClassVar[bool] = False

    client_id: UUID
    client_name: str | None = None
    given: frozenset[GrantName] = frozenset()
    roles: tuple[Role, ...] = ()
    scopes: tuple[str, ...] = ()
    account_ids: tuple[UUID, ...] | None = None
    user_ids: tuple[UUID, ...] | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the client."""
        return (self.client_id,)

    def decide(self, states: States) -> Decision:
        """Return the change, and a cut-off if the client may do other things afterwards."""
        client = require_client(states, self.client_id)
        check_version(states, self.client_id, self.expected)
        grants = msgspec.structs.replace(client.grants, **{name: getattr(self, name) for name in self.given})
        check_grants(grants)
        updated = ClientUpdated(self.client_name or client.name, grants)
        events: list[StreamEvent] = []
        if (updated.name, updated.grants) != (client.name, client.grants):
            events.append((self.client_id, updated))
        if grants != client.grants:
            events.append((self.client_id, ClientTokensRevoked()))
        return Decision(events, {"id": str(self.client_id)})


class RotateClientSecret(Command, frozen=True, kw_only=True):
    """Give a client a new secret. The one before it stays valid until `overlap_ends_at`, and any older one ends.

    Without an overlap, the tokens that were issued until now end too: the secret may be in the wrong hands.
    """

    name: ClassVar[str] = "RotateClientSecret"
    always_appends: ClassVar[bool] = True

    client_id: UUID
    secret: ClientSecret
    now: int
    overlap_ends_at: int | None

    def streams(self) -> Iterable[UUID]:
        """Return the client."""
        return (self.client_id,)

    def decide(self, states: States) -> Decision:
        """Return the rotation."""
        client = require_client(states, self.client_id)
        secrets: tuple[ClientSecret, ...] = (self.secret,)
        events: list[StreamEvent] = []
        if self.overlap_ends_at is None:
            events.append((self.client_id, ClientTokensRevoked()))
        else:
            before = client.secrets[0]
            ends_at = min(before.expires_at or self.overlap_ends_at, self.overlap_ends_at)
            secrets = (self.secret, ClientSecret(before.id, before.digest, ends_at))
        events.insert(0, (self.client_id, ClientSecretRotated(secrets)))
        return Decision(events, describe_client(self.client_id, client.name, client.grants, secrets))


class RevokeClient(Conditional, frozen=True, kw_only=True):
    """Revoke a client, its secrets and its tokens, for good."""

    name: ClassVar[str] = "RevokeClient"
    always_appends: ClassVar[bool] = True

    client_id: UUID

    def streams(self) -> Iterable[UUID]:
        """Return the client."""
        return (self.client_id,)

    def decide(self, states: States) -> Decision:
        """Return the revocation."""
        require_client(states, self.client_id)
        check_version(states, self.client_id, self.expected)
        events: list[StreamEvent] = [(self.client_id, ClientTokensRevoked()), (self.client_id, ClientRevoked())]
        return Decision(events, {"id": str(self.client_id)})


class IssueClientToken(Command, frozen=True, kw_only=True):
    """Issue an access token to a client that has presented the secret `secret_id`; no scopes stand for all it has."""

    name: ClassVar[str] = "IssueClientToken"
    always_appends: ClassVar[bool] = True

    session_id: UUID
    client_id: UUID
    secret_id: UUID
    scopes: tuple[str, ...]
    jti: UUID
    issued_at: int
    expires_at: int

    def streams(self) -> Iterable[UUID]:
        """Return the client, and the stream of cut-offs."""
        return (self.client_id, ALL_TOKENS)

    def creates(self) -> Iterable[UUID]:
        """Return the session of the token."""
        return (self.session_id,)

    def decide(self, states: States) -> Decision:
        """Return the token, if the secret is still valid and the client has the scopes."""
        client = state_of(states, self.client_id, Client)
        secrets = () if client is None else client.secrets
        if client is None or not any(one.id == self.secret_id and one.is_valid(self.issued_at) for one in secrets):
            raise Refused(INVALID_CLIENT)
        if not set(self.scopes) <= set(client.grants.scopes):
            raise Refused(INVALID_SCOPE)
        granted = tuple(scope for scope in client.grants.scopes if scope in (self.scopes or client.grants.scopes))
        issued = ClientTokenIssued(
            client_id=self.client_id,
            secret_id=self.secret_id,
            jti=self.jti,
            issued_at=self.issued_at,
            expires_at=self.expires_at,
            roles=",".join(client.grants.roles),
            scope=" ".join(granted),
            client_cutoffs=client.token_cutoffs,
            all_cutoffs=count_cutoffs(states),
        )
        result = {
            "session_id": str(self.session_id),
            "client_id": str(self.client_id),
            "jti": str(self.jti),
            "roles": issued.roles,
            "scope": issued.scope,
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
        }
        return Decision([(self.session_id, issued)], result)


def check_grants(grants: Grants) -> None:
    """Raise `Refused` if a client without limits has a role that means nothing without accounts of its own."""
    if grants.limits is None and UNLIMITED_ROLES.isdisjoint(grants.roles):
        message = "must be given, or user_ids, for a client that is neither admin nor auditor: it owns no accounts"
        raise Refused(errors.invalid("/account_ids", message))


def require_client(states: States, client_id: UUID) -> Client:
    """Return a client. Raises `Refused` if it is missing or revoked."""
    client = state_of(states, client_id, Client)
    if client is None or client.revoked:
        raise Refused(client_not_found(client_id))
    return client


def describe_client(client_id: UUID, name: str, grants: Grants, secrets: Iterable[ClientSecret]) -> dict[str, object]:
    """Return a client as admins see it, without any secret or digest."""
    limits = {"account_ids": grants.account_ids, "user_ids": grants.user_ids}
    return {
        "id": str(client_id),
        "name": name,
        "roles": ",".join(grants.roles),
        "scope": " ".join(grants.scopes),
        **{member: None if ids is None else [str(one) for one in ids] for member, ids in limits.items()},
        "secrets": describe_secrets(secrets),
    }


def describe_secrets(secrets: Iterable[ClientSecret]) -> list[dict[str, str | None]]:
    """Return the ids of secrets, and when each expires."""
    return [
        {"id": str(one.id), "expires_at": None if one.expires_at is None else _format_second(one.expires_at)}
        for one in secrets
    ]


def _format_second(second: int) -> str:
    return rfc3339(datetime.fromtimestamp(second, UTC))
