"""The command log: a row for each command, with its actor and its outcome."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.store.connections import Reader
from ledger.store.statements import Statement, blobs, columns, texts, uuids, words


class LoggedCommand(NamedTuple):
    """A row of the command log. `recorded_at` is None until the row is written.

    `result` is JSON, or None if it follows from the command's events.
    """

    command_id: UUID
    name: str
    actor_id: UUID | None
    session_id: UUID | None
    jti: UUID | None
    request_id: str | None
    request_hash: bytes | None
    outcome: str
    result: bytes | None
    recorded_at: datetime | None = None


# Rows of earlier versions have their result as `jsonb`, which does not keep the order of members.
_SELECT_LOGGED = """SELECT command_id, name, actor_id, session_id, jti, request_id, request_hash, outcome,
                           coalesce(answer::text, result::text) AS result, recorded_at
                    FROM command_log"""


class Before(NamedTuple):
    """A place in the command log to continue from, towards older commands."""

    recorded_at: datetime
    command_id: UUID


def log_commands(commands: Sequence[LoggedCommand]) -> Statement:
    """Insert commands with their outcomes. A command id that already exists is a unique violation."""
    types = ("uuid", "text", "uuid", "uuid", "uuid", "text", "bytea", "text", "text")
    return Statement(
        f"""INSERT INTO command_log (command_id, name, actor_id, session_id, jti, request_id, request_hash,
                                     outcome, answer, recorded_at)
            SELECT command_id, name, actor_id, session_id, jti, request_id, request_hash, outcome, answer::json,
                   recorded_at
            FROM {columns(*types)} AS new(command_id, name, actor_id, session_id, jti, request_id, request_hash,
                                          outcome, answer), reserved""",
        (
            uuids([command.command_id for command in commands]),
            words([command.name for command in commands]),
            uuids([command.actor_id for command in commands]),
            uuids([command.session_id for command in commands]),
            uuids([command.jti for command in commands]),
            texts([command.request_id for command in commands]),
            blobs([command.request_hash for command in commands]),
            words([command.outcome for command in commands]),
            texts([None if command.result is None else command.result.decode() for command in commands]),
        ),
    )


async def find_commands(connection: Reader, command_ids: Collection[UUID]) -> dict[UUID, LoggedCommand]:
    """Return the commands that are already in the log, by id."""
    rows = await connection.fetch(
        f"{_SELECT_LOGGED} WHERE command_id = ANY($1)",
        command_ids,
    )
    return {row["command_id"]: _to_logged(row) for row in rows}


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
    """Return up to `limit` commands of a user, newest first, optionally of one session or token only."""
    rows = await reader.fetch(
        f"""{_SELECT_LOGGED}
           WHERE actor_id = $1 AND ($2::uuid IS NULL OR session_id = $2) AND ($3::uuid IS NULL OR jti = $3)
             AND ($4::timestamptz IS NULL OR (recorded_at, command_id) < ($4, $5::uuid))
             AND recorded_at >= coalesce($6::timestamptz, '-infinity')
           ORDER BY recorded_at DESC, command_id DESC LIMIT $7""",
        *(actor_id, session_id, jti, *(before or (None, None)), since, limit),
    )
    return [_to_logged(row) for row in rows]


def _to_logged(row: Record) -> LoggedCommand:
    return LoggedCommand(*row)._replace(result=None if row["result"] is None else row["result"].encode())
