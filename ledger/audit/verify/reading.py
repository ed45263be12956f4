"""What verification reads from PostgreSQL: rows as they are stored, in pages of one snapshot, so memory is bounded."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from asyncpg import Connection, Record

PAGE = 2000
PATIENCE_SECONDS = 86_400  # one look at the whole log may take its time; a connection's own bound is for requests


class Scope(NamedTuple):
    """What is looked at: all, or what changed after a position, in the schema of that (quoted) name."""

    schema: str
    since: int = 0

    def touched(self, column: str) -> str:
        """The condition that a column names a stream that has an event after `since`, which is parameter 1."""
        streams = f"SELECT originator_id FROM {self.schema}.stored_events WHERE notification_id > $1"
        return f"($1::bigint = 0 OR {column} IN ({streams}))"


async def pages(connection: "Connection[Any]", sql: str, *values: object) -> AsyncIterator[list[Record]]:
    """The rows of a query, a page at a time, from a cursor on the server."""
    cursor = await connection.cursor(sql, *values, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows


async def start_of_transaction(connection: "Connection[Any]", position: int) -> int:
    """The last position before the transaction that goes on after this one: its events have one time."""
    next_time = await connection.fetchval(
        "SELECT recorded_at FROM stored_events WHERE notification_id > $1 ORDER BY notification_id LIMIT 1", position
    )
    if next_time is None:
        return position
    before: int | None = await connection.fetchval(
        """SELECT notification_id FROM stored_events WHERE notification_id <= $1 AND recorded_at < $2
           ORDER BY notification_id DESC LIMIT 1""",
        position,
        next_time,
    )
    return before or 0
