"""Appends to the event store: streams of events in one log, in PostgreSQL.

An append is atomic, and a version that already exists is a unique violation. Positions become visible in order, because
a writer holds the append lock from before its first position until its commit. So a reader that has seen position n has
seen every smaller one. Under that lock, the writer checks again the versions that its decisions were based on: of two
writers that read the same versions, only one writes. `recorded_at` never decreases with the position.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from ledger.events import TOPICS, Recorded, encode_event
from ledger.store.citus import name_without_shard
from ledger.store.connections import Connection
from ledger.store.locks import BEGIN_LOCKED
from ledger.store.statements import Statement, blobs, columns, integers, run_together, uuids, words


class StreamChangedError(Exception):
    """A stream no longer has the version that a decision was based on."""


class CommandKnownError(Exception):
    """A command with an id of the group is in the command log already."""


class Reservation(NamedTuple):
    """The time at which a database transaction's events were recorded, and the first of their consecutive positions."""

    first_position: int
    recorded_at: datetime


async def begin_locked(connection: Connection) -> None:
    """Begin a database transaction that holds the append lock, so no other writer can change what it reads.

    PostgreSQL ends the session if its client stays silent for a second: a writer that was paused or cut off does not
    stop the others for longer.
    """
    await connection.execute(BEGIN_LOCKED)


async def write(
    connection: Connection,
    read: Mapping[UUID, int],
    count: int,
    statements: Sequence[Statement],
) -> Reservation:
    """Append `count` events in one statement together with everything that `statements` write.

    The statement is a database transaction of its own unless one has begun. `read` has the versions, 0 for none, of
    streams that were read but are not appended to. If any stream has another version by now, raises
    `StreamChangedError` and writes nothing.
    """
    reserve = Statement(
        "SELECT first_position, recorded_at FROM reserve_positions($1, $2::uuid[], $3::bigint[])",
        (count, uuids(read), integers(read.values())),
    )
    try:
        return Reservation(*await run_together(connection, reserve, statements))
    except asyncpg.SerializationError as error:
        raise StreamChangedError from error
    except asyncpg.UniqueViolationError as error:
        # Either means that a version is taken: the parts of WITH run in no order.
        constraint = name_without_shard(error.constraint_name)
        if constraint in {"stored_events_pkey", "entries_pkey"}:
            raise StreamChangedError from error
        if constraint == "command_log_pkey":
            raise CommandKnownError from error
        raise


async def wait_until_durable(connection: Connection) -> None:
    """Wait until everything that this connection can see is as durable as PostgreSQL is configured to make it.

    A transaction can be visible before a synchronous standby has it, because its backend was terminated or cancelled
    while it waited. The commit of a later one waits for all that comes before it in the write-ahead log.
    """
    await connection.execute(
        """SELECT pg_logical_emit_message(true, 'ledger', '')
           WHERE current_setting('synchronous_standby_names') <> ''"""
    )


async def beat(connection: Connection) -> None:
    """Commit something small, to learn whether a write would succeed. Raises what a write would raise."""
    await connection.execute("UPDATE writer_heartbeat SET beat_at = clock_timestamp()")


async def probe_space(connection: Connection) -> None:
    """Write a table that is dropped at once. Raises `asyncpg.DiskFullError` while there is no space for new rows."""
    async with connection.transaction():
        await connection.execute(
            """CREATE TEMPORARY TABLE space_probe ON COMMIT DROP AS
               SELECT repeat(md5(number::text), 200) AS filler FROM generate_series(1, 200) AS number"""
        )


async def is_idle(connection: Connection, process_id: int) -> bool:
    """Return whether the session with this server process waits for its client, or is gone."""
    state = await connection.fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", process_id)
    return state is None or state.startswith("idle")


def append_events(appended: Sequence[Recorded], command_ids: Sequence[UUID]) -> Statement:
    """Insert events at the reserved positions, each with the id of its command."""
    return Statement(
        f"""INSERT INTO stored_events (notification_id, originator_id, originator_version, topic, state, command_id,
                                       recorded_at)
            SELECT first_position + number, stream_id, version, topic, state, command_id, recorded_at
            FROM {columns("bigint", "uuid", "bigint", "text", "bytea", "uuid")}
                 AS new(number, stream_id, version, topic, state, command_id), reserved""",
        (
            integers([row.position for row in appended]),
            uuids([row.stream_id for row in appended]),
            integers([row.version for row in appended]),
            words([TOPICS[type(row.event)] for row in appended]),
            blobs([encode_event(row.event) for row in appended]),
            uuids(command_ids),
        ),
    )
