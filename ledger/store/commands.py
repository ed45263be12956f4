"""The command log: a row for each command, with its actor and its outcome."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.store.connections import Connection, Reader
from ledger.store.statements import Statement, blobs, columns, documents, texts, uuids, words


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


class Before(NamedTuple):
    """Where in the log of commands to go on: before the one that was recorded then, under this id."""

    recorded_at: datetime
    command_id: UUID


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


def _logged(row: Record) -> LoggedCommand:
    return LoggedCommand(*row)._replace(result=row["result"].encode())
