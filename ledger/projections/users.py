"""Users, as `/users` shows them, and the roles that logins and requests look up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.users import (
    AccountAssigned,
    PasswordChanged,
    PasswordRehashed,
    UserActivated,
    UserCreated,
    UserDeactivated,
    UserDeleted,
    UserEvent,
    UserRolesChanged,
    UserTokensRevoked,
    UserUpdated,
    username_stream,
)
from ledger.projections.resource import Resource
from ledger.projections.table import CHANGE, POSITION, TIME, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.reader import Bounds
from ledger.store.sql import HEAD_VERSIONS, where_clause
from ledger.store.statements import Statement, uuids

HANDLED = frozenset(get_args(UserEvent)) - {AccountAssigned, PasswordRehashed}

USERS = Table(
    name="users",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("username", "text"),
        Column("email", "text"),
        Column("active", "boolean"),
        Column("roles", "text"),
        Column("name_id", "uuid"),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
        Column("updated_at", "timestamptz", TIME, CHANGE),
    ),
    indexes=(
        Index("users_name_id_idx", "(name_id)", unique=True),
        Index("users_position_idx", '("position")', unique=True),
        Index("users_inactive_idx", '("position")', where="(NOT active)"),
    ),
    changes="update",
)
_MEMBERS = ("id", "username", "email", "active", "roles", "created_at", "updated_at")
_CHANGING = tuple(name for name in USERS.names if name not in {"position", "created_at"})


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts, updates and deletes of users, each row at most once.

    A rebuild applies long runs of events, so the events of one user within a run are folded first.
    """
    rows: dict[UUID, _Row] = {}
    for recorded in events:
        if type(recorded.event) in HANDLED:
            row = rows.setdefault(recorded.stream_id, _Row(recorded.stream_id))
            row.change(recorded, cast("UserEvent", recorded.event))
    created = [row for row in rows.values() if row.position is not None and not row.deleted]
    changed = [row for row in rows.values() if row.position is None and not row.deleted]
    deleted = [row.id for row in rows.values() if row.position is None and row.deleted]
    return [
        *([insert(USERS, encode_columns(USERS, USERS.names, created))] if created else []),
        *([update(USERS, encode_columns(USERS, _CHANGING, changed))] if changed else []),
        *([Statement("DELETE FROM users WHERE id = ANY($1::uuid[])", (uuids(deleted),))] if deleted else []),
    ]


@dataclass(slots=True)
class _Row:
    """The values that a run of events gives the columns of one user; None leaves a column unchanged."""

    id: UUID
    username: str | None = None
    email: str | None = None
    active: bool | None = None
    roles: str | None = None
    position: int | None = None
    created_at: Any = None
    updated_at: Any = None
    deleted: bool = False

    @property
    def name_id(self) -> UUID | None:
        """Return the stream of the user name."""
        return None if self.username is None else username_stream(self.username)

    def change(self, recorded: Recorded, event: UserEvent) -> None:
        self.updated_at = recorded.recorded_at
        match event:
            case UserCreated():
                self.position, self.created_at, self.active = recorded.position, recorded.recorded_at, event.active
                self.username, self.email, self.roles = event.username, event.email, ",".join(event.roles)
            case UserUpdated():
                self.username, self.email = event.username, event.email
            case UserRolesChanged():
                self.roles = ",".join(event.roles)
            case UserActivated():
                self.active = True
            case UserDeactivated():
                self.active = False
            case UserDeleted():
                self.deleted = True
            case PasswordChanged() | PasswordRehashed() | UserTokensRevoked() | AccountAssigned():
                pass
            case _:
                assert_never(event)


def fold_body(run: Sequence[Recorded]) -> dict[str, Any] | None:
    """Return a user as clients see it after a run of events from the first one on; None once it is deleted."""
    row = _Row(run[0].stream_id)
    for recorded in run:
        row.change(recorded, cast("UserEvent", recorded.event))
    return None if row.deleted else {member: getattr(row, member) for member in _MEMBERS}


async def find_other_admins(reader: Reader, user_id: UUID) -> tuple[UUID, ...]:
    """Return an active admin who is not this user, or nothing if there is no other."""
    found: UUID | None = await reader.fetchval(
        """SELECT id FROM users
           WHERE active AND 'admin' = ANY(string_to_array(roles, ',')) AND id <> $1
           ORDER BY "position" LIMIT 1""",
        user_id,
    )
    return () if found is None else (found,)


async def find(reader: Reader, user_id: UUID) -> Resource | None:
    """Return one user, or None, with the version from the head of its stream."""
    row = await reader.fetchrow(
        f"""SELECT users.*, version FROM users JOIN ({HEAD_VERSIONS}) AS heads ON stream_id = users.id
            WHERE users.id = $1""",
        user_id,
    )
    return Resource(_body(row), str(row["version"])) if row else None


class Filters(NamedTuple):
    """The filters of a list of users, which all apply. None filters nothing."""

    username: str | None = None
    active: bool | None = None


async def page(reader: Reader, filters: Filters, bounds: Bounds, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` users created between two positions, newest first, each with its position."""
    name_id = None if filters.username is None else username_stream(filters.username)
    where, values = where_clause((("name_id = {}", name_id),), first=4)
    active = {None: "", True: "AND active", False: "AND NOT active"}[filters.active]
    rows = await reader.fetch(
        f"""SELECT * FROM users WHERE position > $1 AND position < $2 {where} {active}
            ORDER BY position DESC LIMIT $3""",
        *(*bounds, limit, *values),
    )
    return [(row["position"], _body(row)) for row in rows]


async def any_exists(reader: Reader) -> bool:
    """Return whether any user exists."""
    return bool(await reader.fetchval("SELECT EXISTS (SELECT FROM users)"))


async def active_roles(reader: Reader, user_ids: Collection[UUID]) -> dict[UUID, frozenset[str]]:
    """Return the roles of each active user among these."""
    rows = await reader.fetch("SELECT id, roles FROM users WHERE id = ANY($1) AND active", user_ids)
    return {row[0]: frozenset(row[1].split(",")) for row in rows}


def _body(row: Record) -> dict[str, Any]:
    return {member: row[member] for member in _MEMBERS}
