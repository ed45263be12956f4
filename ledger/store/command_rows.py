"""Reads rows of the command log as stored: the rows that seals commit to, and their digests.

A digest is the SHA-256 hash of a zero byte and the row: `LABEL`, then each column of `CommandRow` in order. A column is
its length in 4 bytes and its value; a null has the length -1. Values are UTF-8, the 16 bytes of a UUID, or microseconds
since 1970 in 8 bytes. Integers are big-endian.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Reader

LABEL = "ledger command 1\n"


class CommandRow(NamedTuple):
    """A row of the command log: all columns, JSON as text. A time outside Python's range is read as None."""

    command_id: UUID
    name: str
    actor_id: UUID | None
    session_id: UUID | None
    jti: UUID | None
    request_id: str | None
    request_hash: bytes | None
    outcome: str
    result: str | None
    answer: str | None
    recorded_at: datetime | None


def _pack(value: str) -> str:
    """Return SQL for a value with its length before it."""
    return f"coalesce(int4send(octet_length({value})) || {value}, '\\xffffffff')"


# A time outside Python's range can only come from tampering.
_RECORDED_AT = "CASE WHEN recorded_at BETWEEN '0001-01-02Z' AND '9999-12-30Z' THEN recorded_at END"
_UUIDS, _TEXTS = {"command_id", "actor_id", "session_id", "jti"}, {"result", "answer"}
_BYTES = {
    **{name: f"convert_to({name}::text, 'UTF8')" for name in CommandRow._fields},
    **{name: f"uuid_send({name})" for name in _UUIDS},
    "request_hash": "request_hash",
    "recorded_at": f"int8send((extract(epoch FROM {_RECORDED_AT}) * 1000000)::bigint)",
}
_DIGEST = f"""sha256('\\x00'::bytea || convert_to('{LABEL}', 'UTF8') || {
    " || ".join(_pack(_BYTES[name]) for name in CommandRow._fields)
})"""
_SELECT_ROWS = f"""SELECT {
    ", ".join(
        f"{_RECORDED_AT} AS recorded_at" if name == "recorded_at" else f"{name}::text" if name in _TEXTS else name
        for name in CommandRow._fields
    )
} FROM command_log"""

# The commands whose answers are stored, which have an index. All others have events, whose leaves cover them.
ANSWERED = "(outcome = 'refused' OR answer IS NOT NULL OR result IS NOT NULL)"
_BETWEEN = f"{ANSWERED} AND recorded_at >= $1 AND recorded_at < $2"


def digests_of(commands: str) -> str:
    """Return the query for the ids and the digests of commands; `commands` is a query for their ids."""
    return f"SELECT command_id, {_DIGEST} AS digest FROM command_log WHERE command_id IN ({commands})"


async def read_command_rows(reader: Reader, command_ids: Collection[UUID]) -> dict[UUID, CommandRow]:
    """Return the rows of these commands by id; a missing one has none."""
    rows = await reader.fetch(f"{_SELECT_ROWS} WHERE command_id = ANY($1)", command_ids)
    return {row[0]: CommandRow(*row) for row in rows}


async def read_answered(reader: Reader, since: datetime, before: datetime) -> list[CommandRow]:
    """Return the commands with stored answers that were recorded in a period, its end excluded, in order of time."""
    rows = await reader.fetch(f"{_SELECT_ROWS} WHERE {_BETWEEN} ORDER BY recorded_at, command_id", since, before)
    return [CommandRow(*row) for row in rows]


async def read_answered_digests(reader: Reader, since: datetime, before: datetime) -> list[bytes]:
    """Return the digests of the same commands, in the same order."""
    rows = await reader.fetch(
        f"SELECT {_DIGEST} FROM command_log WHERE {_BETWEEN} ORDER BY recorded_at, command_id", since, before
    )
    return [row[0] for row in rows]


async def find_answered_time(reader: Reader, since: datetime, before: datetime, *, skip: int) -> datetime | None:
    """Return when the command after the first `skip` ones between two times was recorded; None if there are no more."""
    time: datetime | None = await reader.fetchval(
        f"""SELECT recorded_at FROM command_log WHERE {ANSWERED} AND recorded_at > $1 AND recorded_at < $2
            ORDER BY recorded_at, command_id OFFSET $3 LIMIT 1""",
        since,
        before,
        skip,
    )
    return time


async def read_time_at(reader: Reader, position: int) -> datetime | None:
    """Return when the last event up to a position was recorded; None without one."""
    time: datetime | None = await reader.fetchval(
        """SELECT recorded_at FROM stored_events WHERE notification_id <= $1
           ORDER BY notification_id DESC LIMIT 1""",
        position,
    )
    return time
