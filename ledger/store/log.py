"""The event store: streams of events in one log, in PostgreSQL. Only this module writes to its tables.

An append succeeds as a whole or fails: a version that exists already is a unique violation. Positions become visible in
order, because a writer holds the append lock from before its first position to the commit. So a reader that has seen
position n never misses a smaller one. Under that lock, the writer checks again the versions that its decision was based
on, so of two writers that read the same versions only one writes. `recorded_at` never decreases with the position.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from asyncpg import Record

from ledger.events import (
    DECODERS,
    HEADLESS,
    TOPICS,
    Recorded,
    State,
    StoredRow,
    decode_event,
    decode_state,
    encode,
    evolve,
)
from ledger.store.connections import Connection, Reader
from ledger.store.locks import BEGIN_LOCKED
from ledger.store.statements import Statement, blobs, columns, documents, integers, run_together, texts, uuids, words

READ_LIMIT = 10_000


class StreamChangedError(Exception):
    """A stream has another version than the one that a decision was based on."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """A stream's last version and what its events add up to. A stream that does not exist is at version 0."""

    version: int
    state: State | None


NO_STREAM = Head(0, None)


class Reservation(NamedTuple):
    """Where and when a transaction's events were recorded: at `first_position` and the positions after it."""

    first_position: int
    recorded_at: datetime


class Before(NamedTuple):
    """Where in the log of commands to go on: before the one that was recorded then, under this id."""

    recorded_at: datetime
    command_id: UUID


class LoggedCommand(NamedTuple):
    """A row of the command log: the actor, the command and its outcome. `result` is JSON; a new row has no time yet."""

    command_id: UUID
    name: str
    actor_id: UUID | None
    session_id: UUID | None
    jti: UUID | None
    request_id: str | None
    request_hash: bytes | None
    outcome: str
    result: bytes
    recorded_at: datetime | None = None


async def read_heads(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    """The heads of those of these streams that there are; short streams keep none and are folded from their events."""
    rows = await reader.fetch(
        "SELECT originator_id, version, topic, state FROM stream_heads WHERE originator_id = ANY($1)",
        stream_ids,
    )
    heads = {row[0]: Head(row[1], decode_state(row[2], row[3])) for row in rows}
    if rest := [stream_id for stream_id in stream_ids if stream_id not in heads]:
        heads |= await _fold_streams(reader, rest)
    return heads


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


def replace_heads(heads: Mapping[UUID, Head], existing: Collection[UUID] = ()) -> list[Statement]:
    """Write the new heads of streams; it takes half as long for those that are named as existing.

    Short streams get none.
    """
    kept = {stream_id: head for stream_id, head in heads.items() if not isinstance(head.state, HEADLESS)}
    old = {stream_id: head for stream_id, head in kept.items() if stream_id in existing}
    new = {stream_id: head for stream_id, head in kept.items() if stream_id not in existing}
    return [Statement(sql, _head_columns(some)) for sql, some in ((_UPDATE_HEADS, old), (_UPSERT_HEADS, new)) if some]


_UPDATE_HEADS = f"""UPDATE stream_heads SET version = new.version, state = new.state
                    FROM {columns("uuid", "bigint", "text", "bytea")} AS new(stream_id, version, topic, state)
                    WHERE originator_id = stream_id"""
_UPSERT_HEADS = f"""INSERT INTO stream_heads (originator_id, version, topic, state)
                    SELECT * FROM {columns("uuid", "bigint", "text", "bytea")}
                    ON CONFLICT (originator_id) DO UPDATE SET version = excluded.version, state = excluded.state"""


def _head_columns(heads: Mapping[UUID, Head]) -> tuple[bytes, ...]:
    return (
        uuids(heads),
        integers(head.version for head in heads.values()),
        words(TOPICS[type(head.state)] for head in heads.values() if head.state is not None),
        blobs(encode(head.state) for head in heads.values()),
    )


def log_commands(commands: Sequence[LoggedCommand]) -> Statement:
    """Insert what became of commands. A command id that is there already is a unique violation."""
    types = ("uuid", "text", "uuid", "uuid", "uuid", "text", "bytea", "text", "jsonb")
    return Statement(
        f"""INSERT INTO command_log (command_id, name, actor_id, session_id, jti, request_id, request_hash,
                                     outcome, result, recorded_at)
            SELECT new.*, recorded_at FROM {columns(*types)} AS new, reserved""",
        (
            uuids(command.command_id for command in commands),
            words(command.name for command in commands),
            uuids(command.actor_id for command in commands),
            uuids(command.session_id for command in commands),
            uuids(command.jti for command in commands),
            texts(command.request_id for command in commands),
            blobs(command.request_hash for command in commands),
            words(command.outcome for command in commands),
            documents(command.result for command in commands),
        ),
    )


async def find_commands(connection: Connection, command_ids: Collection[UUID]) -> dict[UUID, LoggedCommand]:
    """Those of these commands that are in the log already."""
    rows = await connection.fetch(
        """SELECT command_id, name, actor_id, session_id, jti, request_id, request_hash, outcome, result,
                  recorded_at
           FROM command_log WHERE command_id = ANY($1)""",
        command_ids,
    )
    return {row["command_id"]: _logged(row) for row in rows}


async def read_commands(
    reader: Reader,
    actor_id: UUID,
    *,
    since: datetime | None,
    session_id: UUID | None,
    jti: UUID | None,
    before: Before | None,
    limit: int,
) -> list[LoggedCommand]:
    """Up to `limit` commands of a user, newest first; of one session or one token only, if they are given."""
    rows = await reader.fetch(
        """SELECT command_id, name, actor_id, session_id, jti, request_id, request_hash, outcome, result, recorded_at
           FROM command_log
           WHERE actor_id = $1 AND ($2::uuid IS NULL OR session_id = $2) AND ($3::uuid IS NULL OR jti = $3)
             AND ($4::timestamptz IS NULL OR (recorded_at, command_id) < ($4, $5::uuid))
             AND recorded_at >= coalesce($6::timestamptz, '-infinity')
           ORDER BY recorded_at DESC, command_id DESC LIMIT $7""",
        *(actor_id, session_id, jti, *(before or (None, None)), since, limit),
    )
    return [_logged(row) for row in rows]


async def read_stream(
    connection: Connection, stream_id: UUID, *, after_version: int = 0, limit: int = READ_LIMIT
) -> list[Recorded]:
    """Up to `limit` events of one stream, in order, after a version."""
    rows = await connection.fetch(
        f"""{_SELECT} WHERE originator_id = $1 AND originator_version > $2
            ORDER BY originator_version LIMIT $3""",
        stream_id,
        after_version,
        limit,
    )
    return [_recorded(row) for row in rows]


async def read_log(connection: Connection, *, after_position: int = 0, limit: int = READ_LIMIT) -> list[Recorded]:
    """Up to `limit` events of the whole log, in order, after a position. Positions have gaps; no event is skipped."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE notification_id > $1 ORDER BY notification_id LIMIT $2", after_position, limit
    )
    return [_recorded(row) for row in rows]


class Page(NamedTuple):
    """A piece of the log: its `size` events reach up to a position; some of them may have been left out."""

    events: list[Recorded]
    size: int
    reached: int


async def read_page(
    connection: Connection, *, after_position: int, upto_position: int, limit: int, left_out: Collection[str]
) -> Page:
    """The next events of the log, at most `limit`; those of the topics that are left out are only counted."""
    size, reached = await connection.fetchrow(
        """SELECT count(*), coalesce(max(notification_id), $1)
           FROM (SELECT notification_id FROM stored_events WHERE notification_id > $1 AND notification_id <= $2
                 ORDER BY notification_id LIMIT $3) AS page""",
        after_position,
        upto_position,
        limit,
    ) or (0, after_position)
    rows = await connection.fetch(
        f"""{_SELECT} WHERE notification_id > $1 AND notification_id <= $2 AND topic <> ALL($3)
            ORDER BY notification_id""",
        after_position,
        reached,
        left_out,
    )
    events = [
        Recorded(position, stream_id, version, recorded_at, DECODERS[topic](state))
        for position, stream_id, version, recorded_at, topic, state in rows  # a rebuild reads millions
    ]
    return Page(events, size, reached)


async def read_rows(reader: Reader, *, after_position: int, upto_position: int, limit: int) -> list[StoredRow]:
    """Up to `limit` rows of the log, in order, after one position and up to another."""
    rows = await reader.fetch(ROWS_BETWEEN, after_position, upto_position, limit)
    return [StoredRow(*row) for row in rows]


async def read_misplaced(reader: Reader) -> list[int | None]:
    """Positions that no event can have got: rows that no reader of the log would ever see."""
    rows = await reader.fetch(
        "SELECT notification_id FROM stored_events WHERE notification_id < 1 OR notification_id IS NULL LIMIT 100"
    )
    return [row[0] for row in rows]


async def read_stream_rows(reader: Reader, stream_id: UUID, *, version: int | None, limit: int) -> list[StoredRow]:
    """The last `limit` rows of a stream, the newest first; with `version`, only that one."""
    rows = await reader.fetch(
        f"""{_SELECT_ROWS} WHERE originator_id = $1 AND ($2::bigint IS NULL OR originator_version = $2)
            ORDER BY originator_version DESC LIMIT $3""",
        stream_id,
        version,
        limit,
    )
    return [StoredRow(*row) for row in rows]


async def read_rows_beside(reader: Reader, stream_id: UUID, *, reach: int) -> list[StoredRow]:
    """The rows of a stream, and those of others that the same commands wrote at most `reach` positions away, in order.

    A command's events are next to each other in the log.
    """
    rows = await reader.fetch(
        f"""{_SELECT_ROWS} WHERE notification_id IN (
                SELECT beside.notification_id FROM stored_events AS own JOIN stored_events AS beside
                    ON beside.notification_id BETWEEN own.notification_id - $2 AND own.notification_id + $2
                    AND (beside.command_id = own.command_id OR beside.originator_id = own.originator_id)
                WHERE own.originator_id = $1)
            ORDER BY notification_id""",
        stream_id,
        reach,
    )
    return [StoredRow(*row) for row in rows]


async def _fold_streams(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    rows = await reader.fetch(
        f"{_SELECT} WHERE originator_id = ANY($1) ORDER BY originator_id, originator_version", stream_ids
    )
    return fold_heads(_recorded(row) for row in rows)


def fold_heads(events: Iterable[Recorded]) -> dict[UUID, Head]:
    """What events add up to, for each of their streams."""
    heads: dict[UUID, Head] = defaultdict(lambda: NO_STREAM)
    for row in events:
        heads[row.stream_id] = Head(row.version, evolve(heads[row.stream_id].state, row.event))
    return dict(heads)


_SELECT = """SELECT notification_id, originator_id, originator_version, recorded_at, topic, state
             FROM stored_events"""

# A time that Python has no value for is left out: it was never recorded.
_SELECT_ROWS = """SELECT originator_id, originator_version, topic, state, notification_id,
                         CASE WHEN recorded_at BETWEEN '0001-01-02Z' AND '9999-12-30Z'
                              THEN recorded_at END AS recorded_at, command_id
                  FROM stored_events"""
ROWS_BETWEEN = f"{_SELECT_ROWS} WHERE notification_id > $1 AND notification_id <= $2 ORDER BY notification_id LIMIT $3"


def _logged(row: Record) -> LoggedCommand:
    return LoggedCommand(*row)._replace(result=row["result"].encode())


def _recorded(row: Record) -> Recorded:
    return Recorded(row[0], row[1], row[2], row[3], decode_event(row[4], row[5]))
