"""The event store: streams of events in one log, in PostgreSQL. The only place with SQL on its tables.

Nothing is ever appended in silence or in part: a version that is taken is a unique violation. Positions become
visible in order, because whoever appends holds the append lock from before the first position to the commit, so a
reader that has seen position n will never miss a smaller one. `recorded_at` never decreases with the position.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from ledger.database import Reader
from ledger.events import TOPICS, Recorded, State, decode_event, decode_state, encode, evolve
from ledger.statements import Statement, blobs, columns, integers, texts, times, uuids, words

READ_LIMIT = 10_000


class Head(NamedTuple):
    """A stream's last version and what its events add up to. A stream that does not exist is at version 0."""

    version: int
    state: State | None


NO_STREAM = Head(0, None)


class Reservation(NamedTuple):
    """Positions `first_position` and up, and the time at which all of the transaction is recorded."""

    first_position: int
    recorded_at: datetime


class LoggedCommand(NamedTuple):
    """A row of the command log: who wanted what, and what came of it. `result` is JSON."""

    command_id: UUID
    name: str
    actor_id: UUID | None
    session_id: UUID | None
    jti: UUID | None
    request_id: str | None
    request_hash: bytes | None
    outcome: str
    result: str
    recorded_at: datetime


async def lock_heads(connection: "Connection[Any]", stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    """The heads of these streams, locked until the transaction ends. In order of their ids, so nobody deadlocks.

    A stream that is not there cannot be locked; two who create it at once are told apart by its version 1.
    """
    rows = await connection.fetch(
        """SELECT originator_id, version, topic, state FROM stream_heads
           WHERE originator_id = ANY($1) ORDER BY originator_id FOR UPDATE""",
        stream_ids,
    )
    return {row[0]: Head(row[1], decode_state(row[2], row[3])) for row in rows}


async def read_heads(reader: Reader, stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    """The heads of these streams as they are now, without a lock."""
    rows = await reader.fetch(
        "SELECT originator_id, version, topic, state FROM stream_heads WHERE originator_id = ANY($1)",
        stream_ids,
    )
    return {row[0]: Head(row[1], decode_state(row[2], row[3])) for row in rows}


async def reserve(connection: "Connection[Any]", count: int) -> Reservation:
    """Take the append lock, which is held to the end of the transaction, and `count` positions in a row."""
    row = await connection.fetchrow("SELECT first_position, recorded_at FROM reserve_positions($1)", count)
    assert row is not None  # noqa: S101 - the function always returns one row
    return Reservation(row[0], row[1])


def append_events(recorded: Sequence[Recorded], command_ids: Sequence[UUID]) -> Statement:
    """Insert events whose positions were reserved in this transaction; each with the command it came from."""
    return Statement(
        f"""INSERT INTO stored_events (notification_id, originator_id, originator_version, recorded_at, topic,
                                       state, command_id)
            SELECT * FROM {columns("bigint", "uuid", "bigint", "timestamptz", "text", "bytea", "uuid")}""",
        (
            integers(row.position for row in recorded),
            uuids(row.stream_id for row in recorded),
            integers(row.version for row in recorded),
            times([row.recorded_at for row in recorded]),
            words(TOPICS[type(row.event)] for row in recorded),
            blobs(encode(row.event) for row in recorded),
            uuids(command_ids),
        ),
    )


def replace_heads(heads: Mapping[UUID, Head]) -> Statement:
    """Write the new heads of locked streams, and of new ones."""
    return Statement(
        f"""INSERT INTO stream_heads (originator_id, version, topic, state)
            SELECT * FROM {columns("uuid", "bigint", "text", "bytea")}
            ON CONFLICT (originator_id) DO UPDATE SET version = excluded.version, state = excluded.state""",
        (
            uuids(heads),
            integers(head.version for head in heads.values()),
            words(TOPICS[type(head.state)] for head in heads.values() if head.state is not None),
            blobs(encode(head.state) for head in heads.values()),
        ),
    )


def log_commands(commands: Sequence[LoggedCommand]) -> Statement:
    """Insert what became of commands. A command id that is there already is a unique violation."""
    types = ("uuid", "text", "uuid", "uuid", "uuid", "text", "bytea", "text", "jsonb", "timestamptz")
    return Statement(
        f"""INSERT INTO command_log (command_id, name, actor_id, session_id, jti, request_id, request_hash,
                                     outcome, result, recorded_at)
            SELECT * FROM {columns(*types)}""",
        (
            uuids(command.command_id for command in commands),
            words(command.name for command in commands),
            uuids(command.actor_id for command in commands),
            uuids(command.session_id for command in commands),
            uuids(command.jti for command in commands),
            texts(command.request_id for command in commands),
            blobs(command.request_hash for command in commands),
            words(command.outcome for command in commands),
            texts(command.result for command in commands),
            times([command.recorded_at for command in commands]),
        ),
    )


async def find_commands(connection: "Connection[Any]", command_ids: Collection[UUID]) -> dict[UUID, LoggedCommand]:
    """Those of these commands that are in the log already."""
    rows = await connection.fetch(
        """SELECT command_id, name, actor_id, session_id, jti, request_id, request_hash, outcome, result,
                  recorded_at
           FROM command_log WHERE command_id = ANY($1)""",
        command_ids,
    )
    return {row["command_id"]: LoggedCommand(*row) for row in rows}


async def read_stream(
    connection: "Connection[Any]", stream_id: UUID, *, after_version: int = 0, limit: int = READ_LIMIT
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


async def read_log(
    connection: "Connection[Any]", *, after_position: int = 0, limit: int = READ_LIMIT
) -> list[Recorded]:
    """Up to `limit` events of the whole log, in order, after a position. Positions have gaps; no event is skipped."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE notification_id > $1 ORDER BY notification_id LIMIT $2", after_position, limit
    )
    return [_recorded(row) for row in rows]


async def fold_streams(connection: "Connection[Any]", stream_ids: Collection[UUID]) -> dict[UUID, Head]:
    """The heads of these streams, folded from their events: for short streams, which keep no head."""
    rows = await connection.fetch(
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


def _recorded(row: Record) -> Recorded:
    return Recorded(row[0], row[1], row[2], row[3], decode_event(row[4], row[5]))
