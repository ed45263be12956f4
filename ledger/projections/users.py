"""Users, as `/users` shows them, and what a login and every request ask about one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.users import (
    AccountAssigned,
    PasswordChanged,
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
from ledger.store.connections import Reader
from ledger.store.pool import Resource, conditions
from ledger.store.reader import Bounds
from ledger.store.sql import HEAD_VERSIONS
from ledger.store.statements import Statement, booleans, columns, integers, texts, times, uuids

HANDLED = frozenset(get_args(UserEvent)) - {AccountAssigned}


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """New rows for users who were created, changes to those who are there, none for those who are gone.

    A command appends all of its user's creation or deletion at once, and a rebuild applies events in long runs: what
    happens to a user within one run is folded here first, so that each row is written once.
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
        *([Statement(_INSERT, _columns(created))] if created else []),
        *([Statement(_UPDATE, _columns(changed))] if changed else []),
        *([Statement("DELETE FROM users WHERE id = ANY($1::uuid[])", (uuids(deleted),))] if deleted else []),
    ]


@dataclass(slots=True)
class _Row:
    """The columns that a run of events sets; None is what it does not touch."""

    id: UUID
    username: str | None = None
    email: str | None = None
    active: bool | None = None
    roles: str | None = None
    position: int | None = None
    created_at: Any = None
    updated_at: Any = None
    deleted: bool = False

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
            case PasswordChanged() | UserTokensRevoked() | AccountAssigned():
                pass
            case _:
                assert_never(event)


def _columns(rows: Sequence[_Row]) -> tuple[bytes, ...]:
    return (
        uuids(row.id for row in rows),
        texts(row.username for row in rows),
        texts(row.email for row in rows),
        booleans(row.active for row in rows),
        texts(row.roles for row in rows),
        uuids(None if row.username is None else username_stream(row.username) for row in rows),
        integers(row.position for row in rows),
        times([row.created_at for row in rows]),
        times([row.updated_at for row in rows]),
    )


_NEW = f"""{columns("uuid", "text", "text", "boolean", "text", "uuid", "bigint", "timestamptz", "timestamptz")}
           AS new(id, username, email, active, roles, name_id, number, created_at, at), reserved"""
_INSERT = f"""INSERT INTO users (id, username, email, active, roles, name_id, position, created_at, updated_at)
              SELECT id, username, email, active, roles, name_id, first_position + number,
                     coalesce(created_at, recorded_at), coalesce(at, recorded_at)
              FROM {_NEW}"""
_UPDATE = f"""UPDATE users SET username = coalesce(new.username, users.username),
                     email = coalesce(new.email, users.email), active = coalesce(new.active, users.active),
                     roles = coalesce(new.roles, users.roles), name_id = coalesce(new.name_id, users.name_id),
                     updated_at = coalesce(new.at, recorded_at)
              FROM {_NEW} WHERE users.id = new.id"""


async def find(reader: Reader, user_id: UUID) -> Resource | None:
    """One user. The version is that of the head: no column repeats it."""
    row = await reader.fetchrow(
        f"""SELECT users.*, version FROM users JOIN ({HEAD_VERSIONS}) AS heads ON stream_id = users.id
            WHERE users.id = $1""",
        user_id,
    )
    return Resource(_body(row), str(row["version"])) if row else None


class Wanted(NamedTuple):
    """Which users are wanted: those for which all of it holds. None is no matter."""

    username: str | None = None
    active: bool | None = None


async def page(reader: Reader, wanted: Wanted, bounds: Bounds, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Up to `limit` users created between two positions, newest first, each with its position."""
    name_id = None if wanted.username is None else username_stream(wanted.username)
    chosen, values = conditions((("name_id = {}", name_id),), first=4)
    active = {None: "", True: "AND active", False: "AND NOT active"}[wanted.active]
    rows = await reader.fetch(
        f"""SELECT * FROM users WHERE position > $1 AND position < $2 {chosen} {active}
            ORDER BY position DESC LIMIT $3""",
        *(*bounds, limit, *values),
    )
    return [(row["position"], _body(row)) for row in rows]


async def any_exists(reader: Reader) -> bool:
    """Whether there is a user at all."""
    return bool(await reader.fetchval("SELECT EXISTS (SELECT FROM users)"))


async def standing(reader: Reader, user_ids: Collection[UUID]) -> dict[UUID, frozenset[str]]:
    """The roles of those of these users who are there and active."""
    rows = await reader.fetch("SELECT id, roles FROM users WHERE id = ANY($1) AND active", user_ids)
    return {row[0]: frozenset(row[1].split(",")) for row in rows}


def _body(row: Record) -> dict[str, Any]:
    members = ("id", "username", "email", "active", "roles", "created_at", "updated_at")
    return {member: row[member] for member in members}
