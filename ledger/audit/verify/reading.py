"""Read rows as they are stored, in pages of one snapshot, so that memory is bounded."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from asyncpg import Record

from ledger.store.connections import Connection
from ledger.store.integrity import streams_after

PAGE = 2000
PATIENCE_SECONDS = 86_400  # to read the whole log; the connection's own timeout is meant for requests


class Scope(NamedTuple):
    """What to check: everything, or only changes after the position `since`. `schema` is quoted."""

    schema: str
    since: int = 0

    def where_changed(self, column: str) -> str:
        """Return the where clause for streams, named by `column`, with an event after `since`, which is parameter 1."""
        return f"($1::bigint = 0 OR {column} IN ({streams_after(self.schema)}))"


async def read_pages(connection: Connection, sql: str, *values: object) -> AsyncIterator[list[Record]]:
    """Yield the rows of a query a page at a time, through a server-side cursor."""
    cursor = await connection.cursor(sql, *values, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows
