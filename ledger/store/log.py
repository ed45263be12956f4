"""Appends to the event store: streams of events in one log, in PostgreSQL.

An append succeeds as a whole or fails: a version that exists already is a unique violation. Positions become visible in
order, because a writer holds the append lock from before its first position to the commit. So a reader that has seen
position n never misses a smaller one. Under that lock, the writer checks again the versions that its decision was based
on, so of two writers that read the same versions only one writes. `recorded_at` never decreases with the position.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from ledger.events import TOPICS, Recorded, encode
from ledger.store.connections import Connection
from ledger.store.locks import BEGIN_LOCKED
from ledger.store.statements import Statement, blobs, columns, integers, run_together, uuids, words


class StreamChangedError(Exception):
    """A stream has another version than the one that a decision was based on."""


class Reservation(NamedTuple):
    """Where and when a transaction's events were recorded: at `first_position` and the positions after it."""

    first_position: int
    recorded_at: datetime


async def begin_locked(connection: Connection) -> None:
    """Begin a transaction that has the append lock from the start: what it reads, nobody else can change."""
    await connection.execute(BEGIN_LOCKED)


async def write(
    connection: Connection, read: Mapping[UUID, int], count: int, statements: Sequence[Statement]
) -> Reservation:
    """Append `count` events, and all that goes with them, in one statement, which is a transaction if none has begun.

    `read` are the versions, 0 for none, of streams that were read and are not appended to. If one of them has another
    version by now, or a stream that is appended to has, `StreamChangedError` is raised and nothing has changed.
    """
    reserve = Statement(
        """SELECT first_position, recorded_at
           FROM reserve_positions($1, $2::uuid[], $3::bigint[])""",
        (count, uuids(read), integers(read.values())),
    )
    try:
        return Reservation(*await run_together(connection, reserve, statements))
    except asyncpg.SerializationError as error:
        raise StreamChangedError from error
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name in {"stored_events_pkey", "entries_pkey"}:  # one version; WITH has no order
            raise StreamChangedError from error
        raise


def append_events(appended: Sequence[Recorded], command_ids: Sequence[UUID]) -> Statement:
    """Insert events at the reserved positions, each with the command it came from."""
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
            words(TOPICS[type(row.event)] for row in appended),
            blobs(encode(row.event) for row in appended),
            uuids(command_ids),
        ),
    )
