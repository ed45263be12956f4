"""The outbox: events of operations that wait until a service appends them to the log.

A process that may not append, such as a sealer or a rebuild, adds its event in the database transaction that does what
the event tells. So neither happens without the other, and recording never holds up the work. An entry leaves the outbox
after its event is in the log; its id decides the id of the command, so no event is appended twice.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog

from ledger.errors import LedgerError
from ledger.events import TOPICS, encode_event
from ledger.events.operations import MAX_ERROR_LENGTH, OperationEvent
from ledger.settings import Settings
from ledger.store.connections import UNREACHABLE, Connection, Reader
from ledger.store.pool import connect
from ledger.store.tables import OUTBOX

PATIENCE_SECONDS = 10.0  # for PostgreSQL to come back
PAUSE_SECONDS = 0.5
NOT_ALLOWED = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError, asyncpg.UndefinedTableError)

log = structlog.get_logger(__name__)


class Cause(NamedTuple):
    """The operation that an event is about, and who started it, or the name of the command that did."""

    operation_id: UUID
    actor_id: UUID | None = None
    request_id: str | None = None


class Entry(NamedTuple):
    """An event to be recorded, with who started the operation, or the name of the command that did."""

    id: UUID
    event: OperationEvent
    actor_id: UUID | None = None
    request_id: str | None = None


class StoredEntry(NamedTuple):
    """An entry of the outbox as it is stored."""

    id: UUID
    topic: str
    state: bytes
    actor_id: UUID | None
    request_id: str | None
    created_at: datetime


class Backlog(NamedTuple):
    """The number of entries in the outbox, and the age of the oldest one."""

    waiting: int
    oldest_seconds: float


async def add(connection: Connection, entries: Sequence[Entry], schema: str | None = None) -> None:
    """Add entries, unless they are there already; the schema is that of the ledger if it is not in the search path.

    Each is later than the one before it, and than all that the caller can see, even if the clock was set back.
    """
    table = OUTBOX if schema is None else f'"{schema}".{OUTBOX}'
    await connection.execute(
        f"""INSERT INTO {table} (id, topic, state, actor_id, request_id, created_at)
            SELECT id, topic, state, actor_id, request_id, first_at + number * interval '1 microsecond'
            FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::text[])
                 WITH ORDINALITY AS new (id, topic, state, actor_id, request_id, number),
                 (SELECT greatest(clock_timestamp(), max(created_at)) AS first_at FROM {table}) AS latest
            ON CONFLICT (id) DO NOTHING""",
        [entry.id for entry in entries],
        [TOPICS[type(entry.event)] for entry in entries],
        [encode_event(entry.event) for entry in entries],
        [entry.actor_id for entry in entries],
        [entry.request_id for entry in entries],
    )


async def try_to_add(settings: Settings, entries: Sequence[Entry]) -> str | None:
    """Add entries on a connection of their own, and return why that is impossible, or None.

    A server that is away is waited for, within a bound; a role that may not write hears so at once.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + PATIENCE_SECONDS
    while True:
        try:
            connection = await connect(settings)
            try:
                await add(connection, entries)
            finally:
                connection.terminate()
        except NOT_ALLOWED as error:
            return _describe(error)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            if clock() > until:
                log.error("an operation cannot be recorded", error=_describe(error))  # noqa: TRY400
                return _describe(error)
        else:
            return None
        await asyncio.sleep(PAUSE_SECONDS)


async def read_entries(reader: Reader, after: StoredEntry | None, limit: int) -> list[StoredEntry]:
    """Return up to `limit` entries after another one, oldest first."""
    place = (None, None) if after is None else (after.created_at, after.id)
    rows = await reader.fetch(
        f"""SELECT id, topic, state, actor_id, request_id, created_at FROM {OUTBOX}
            WHERE $1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid)
            ORDER BY created_at, id LIMIT $3""",
        *place,
        limit,
    )
    return [StoredEntry(*row) for row in rows]


async def remove(connection: Connection, entry_id: UUID) -> None:
    """Remove an entry whose event is in the log."""
    await connection.execute(f"DELETE FROM {OUTBOX} WHERE id = $1", entry_id)


async def read_backlog(reader: Reader) -> Backlog:
    """Return how much waits, and for how long."""
    row = await reader.fetchrow(
        f"""SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
            FROM {OUTBOX}"""
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Backlog(*row)


def describe_failure(error: BaseException) -> str:
    """Return why an operation has failed, in words that may stay in the log for ever.

    A text of PostgreSQL can have values of rows, so only the name of its error is taken.
    """
    if isinstance(error, LedgerError) and error.__cause__ is None:
        return _describe(error)[:MAX_ERROR_LENGTH]
    return type(error.__cause__ or error).__name__


def _describe(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
