"""What verification reads from PostgreSQL: rows as they are stored, in pages of one snapshot, so memory is bounded."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from asyncpg import Record

from ledger.store.connections import Connection
from ledger.store.integrity import streams_after

PAGE = 2000
PATIENCE_SECONDS = 86_400  # one look at the whole log may take its time; a connection's own bound is for requests


class Scope(NamedTuple):
    """What is looked at: all, or what changed after a position, in the schema of that (quoted) name."""

    schema: str
    since: int = 0

    def touched(self, column: str) -> str:
        """The condition that a column names a stream that has an event after `since`, which is parameter 1."""
        return f"($1::bigint = 0 OR {column} IN ({streams_after(self.schema)}))"


async def pages(connection: Connection, sql: str, *values: object) -> AsyncIterator[list[Record]]:
    """The rows of a query, a page at a time, from a cursor on the server."""
    cursor = await connection.cursor(sql, *values, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows
