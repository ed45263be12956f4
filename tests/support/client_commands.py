"""Commands of machine clients, drawn for the tests of decisions."""

from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.clients import (
    GrantName,
    IssueClientToken,
    RegisterClient,
    RevokeClient,
    RotateClientSecret,
    UpdateClient,
)
from ledger.commands.command import Command
from ledger.events.clients import Client, ClientSecret, Grants
from ledger.events.users import Role
from tests.support.ledgers import ALICE, PURSE, Ledger, named_id

CLIENTS = [named_id("payments"), named_id("reports")]
SCOPES = ("accounts:read", "transactions:write")
MEMBERS: tuple[GrantName, ...] = ("roles", "scopes", "account_ids", "user_ids")
LIMITS = (None, (), (PURSE,), (ALICE,))

client_ids = st.sampled_from(CLIENTS)
limits = st.sampled_from(LIMITS)
scopes = st.sampled_from([SCOPES, SCOPES[:1]])
client_roles: st.SearchStrategy[tuple[Role, ...]] = st.sampled_from(
    [("customer",), ("auditor",), ("admin", "customer")]
)
grants = st.builds(Grants, client_roles, scopes, limits, limits)


def secret_of(ledger: Ledger) -> ClientSecret:
    return ClientSecret(ledger.fresh_id(), f"{len(ledger.results):064}")


def register(ledger: Ledger, client_id: UUID, granted: Grants) -> Command:
    return RegisterClient(client_id=client_id, client_name="a machine", grants=granted, secret=secret_of(ledger))


def update(_: Ledger, client_id: UUID, given: set[GrantName], granted: Grants) -> Command:
    members: dict[str, Any] = {name: getattr(granted, name) for name in MEMBERS}
    return UpdateClient(client_id=client_id, client_name=None, given=frozenset(given), **members)


def rotate(ledger: Ledger, client_id: UUID, now: int, overlap: int) -> Command:
    ends_at = now + overlap if overlap else None
    return RotateClientSecret(client_id=client_id, secret=secret_of(ledger), now=now, overlap_ends_at=ends_at)


def revoke(_: Ledger, client_id: UUID) -> Command:
    return RevokeClient(client_id=client_id)


def issue(ledger: Ledger, client_id: UUID, number: int, requested: tuple[str, ...], now: int) -> Command:
    state = ledger.states().get(client_id)
    known = state.secrets if isinstance(state, Client) else ()
    return IssueClientToken(
        session_id=ledger.fresh_id(),
        client_id=client_id,
        secret_id=known[number % len(known)].id if known else ALICE,
        scopes=requested,
        jti=ledger.fresh_id(),
        issued_at=now,
        expires_at=now + 10,
    )
