"""Machine clients, as `/clients` shows them, without secrets, and the accounts that they are limited to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never, cast, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.commands.clients import describe_secrets
from ledger.events import Recorded, encode
from ledger.events.clients import (
    ClientEvent,
    ClientRegistered,
    ClientRevoked,
    ClientSecret,
    ClientSecretRotated,
    ClientTokensRevoked,
    ClientUpdated,
    Grants,
)
from ledger.projections.resource import Resource
from ledger.projections.table import CHANGE, POSITION, TIME, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.sql import HEAD_VERSIONS
from ledger.store.statements import Statement, uuids

HANDLED = frozenset(get_args(ClientEvent))
_WITH_NAME = "CASE WHEN new.name IS NULL THEN {table}.{name} ELSE {new} END"  # null is a value here

CLIENTS = Table(
    name="clients",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("name", "text"),
        Column("roles", "text"),
        Column("scope", "text"),
        Column("account_ids", "text", change=_WITH_NAME, optional=True),
        Column("user_ids", "text", change=_WITH_NAME, optional=True),
        Column("secrets", "jsonb"),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
        Column("updated_at", "timestamptz", TIME, CHANGE),
    ),
    indexes=(Index("clients_position_idx", '("position")', unique=True),),
    changes="update",
)
_CHANGING = tuple(name for name in CLIENTS.names if name not in {"position", "created_at"})


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts, updates and deletes of clients, each row at most once."""
    rows: dict[UUID, _Row] = {}
    for recorded in events:
        if type(recorded.event) in HANDLED:
            row = rows.setdefault(recorded.stream_id, _Row(recorded.stream_id))
            row.change(recorded, cast("ClientEvent", recorded.event))
    registered = [row for row in rows.values() if row.position is not None and not row.revoked]
    changed = [row for row in rows.values() if row.position is None and not row.revoked]
    revoked = [row.id for row in rows.values() if row.position is None and row.revoked]
    return [
        *([insert(CLIENTS, encode_columns(CLIENTS, CLIENTS.names, registered))] if registered else []),
        *([update(CLIENTS, encode_columns(CLIENTS, _CHANGING, changed))] if changed else []),
        *([Statement("DELETE FROM clients WHERE id = ANY($1::uuid[])", (uuids(revoked),))] if revoked else []),
    ]


@dataclass(slots=True)
class _Row:
    """The values that a run of events gives the columns of one client.

    None leaves a column unchanged, but the limits follow the name: without a name they do not change, with one, None
    is no limit.
    """

    id: UUID
    name: str | None = None
    roles: str | None = None
    scope: str | None = None
    account_ids: str | None = None
    user_ids: str | None = None
    secrets: bytes | None = None
    position: int | None = None
    created_at: Any = None
    updated_at: Any = None
    revoked: bool = False

    def change(self, recorded: Recorded, event: ClientEvent) -> None:
        self.updated_at = recorded.recorded_at
        match event:
            case ClientRegistered():
                self.position, self.created_at = recorded.position, recorded.recorded_at
                self._grant(event.name, event.grants)
                self.secrets = _encode_secrets(event.secrets)
            case ClientUpdated():
                self._grant(event.name, event.grants)
            case ClientSecretRotated():
                self.secrets = _encode_secrets(event.secrets)
            case ClientRevoked():
                self.revoked = True
            case ClientTokensRevoked():
                pass
            case _:
                assert_never(event)

    def _grant(self, name: str, grants: Grants) -> None:
        for column, value in row_of(name, grants).items():
            setattr(self, column, value)


def row_of(name: str, grants: Grants) -> Mapping[str, str | None]:
    """Return the columns of a client's name and grants."""
    return {
        "name": name,
        "roles": ",".join(grants.roles),
        "scope": " ".join(grants.scopes),
        "account_ids": _join_ids(grants.account_ids),
        "user_ids": _join_ids(grants.user_ids),
    }


def _join_ids(ids: Sequence[UUID] | None) -> str | None:
    return None if ids is None else ",".join(map(str, ids))


def _split_ids(text: str | None) -> tuple[UUID, ...] | None:
    return None if text is None else tuple(UUID(one) for one in text.split(",") if one)


def _encode_secrets(secrets: Sequence[ClientSecret]) -> bytes:
    return encode(describe_secrets(secrets))


class Standing(NamedTuple):
    """What a client may do now: its roles and scopes, and the users and accounts that it is limited to, if any."""

    roles: frozenset[str]
    scopes: frozenset[str]
    limits: tuple[UUID, ...] | None


async def read_standings(reader: Reader, client_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Return what each of these clients may do; a missing or revoked client is left out."""
    rows = await reader.fetch(
        "SELECT id, roles, scope, account_ids, user_ids FROM clients WHERE id = ANY($1)", client_ids
    )
    return {row["id"]: _standing(row) for row in rows}


async def find(reader: Reader, client_id: UUID) -> Resource | None:
    """Return one client, or None, with the version from the head of its stream."""
    row = await reader.fetchrow(
        f"""SELECT clients.*, version FROM clients JOIN ({HEAD_VERSIONS}) AS heads ON stream_id = clients.id
            WHERE clients.id = $1""",
        client_id,
    )
    return Resource(_body(row), str(row["version"])) if row else None


async def page(reader: Reader, *, before: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` clients registered before a position, newest first, each with its position."""
    rows = await reader.fetch(
        "SELECT * FROM clients WHERE position < $1 ORDER BY position DESC LIMIT $2", before, limit
    )
    return [(row["position"], _body(row)) for row in rows]


def _standing(row: Record) -> Standing:
    limits = [_split_ids(row[member]) for member in ("account_ids", "user_ids")]
    ids = None if limits == [None, None] else tuple(one for some in limits for one in some or ())
    return Standing(frozenset(row["roles"].split(",")), frozenset(row["scope"].split()), ids)


def _body(row: Record) -> dict[str, Any]:
    members = {member: row[member] for member in ("id", "name", "roles", "scope")}
    limits = {member: _split_ids(row[member]) for member in ("account_ids", "user_ids")}
    times = {member: row[member] for member in ("created_at", "updated_at")}
    return {**members, **limits, "secrets": msgspec.json.decode(row["secrets"]), **times}
