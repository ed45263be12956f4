"""Read rows as they are stored, in pages of one snapshot, so that memory is bounded."""

from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.store.connections import Connection
from ledger.store.integrity import CHANGED_STREAMS

PAGE = 5000
LONG = 10_000  # events of a stream that are not held back until its end
PATIENCE_SECONDS = 86_400  # to read the whole log; the connection's own timeout is meant for requests


class Scope(NamedTuple):
    """What to check: everything, or only changes after the position `since`. `schema` is quoted."""

    schema: str
    since: int = 0

    def where_changed(self, column: str) -> str:
        """Return the where clause for streams, named by `column`, with an event after `since`."""
        return f"{column} IN (SELECT stream_id FROM {CHANGED_STREAMS})" if self.since else "true"


class Share(NamedTuple):
    """The streams from `first` to before `end`, in the order of their ids; without an end, all the others."""

    first: UUID = UUID(int=0)
    end: UUID | None = None

    def where(self, column: str) -> str:
        """Return the where clause for streams of this share."""
        end = "" if self.end is None else f" AND {column} < '{self.end}'"
        return f"{column} >= '{self.first}'{end}"


async def read_pages(connection: Connection, sql: str, *values: object) -> AsyncIterator[list[Record]]:
    """Yield the rows of a query a page at a time, through a server-side cursor."""
    cursor = await connection.cursor(sql, *values, timeout=PATIENCE_SECONDS)
    while rows := await cursor.fetch(PAGE, timeout=PATIENCE_SECONDS):
        yield rows


async def read_streams(connection: Connection, sql: str, column: int) -> AsyncIterator[list[Record]]:
    """Yield the rows of a query in pages of whole streams, whose ids are in a column; a long stream comes in pieces."""
    held: list[Record] = []
    async for rows in read_pages(connection, sql):
        held += rows
        last = held[-1][column]
        whole = len(held)
        while whole and held[whole - 1][column] == last:
            whole -= 1
        if len(held) - whole >= LONG:
            whole = len(held)
        if whole:
            yield held[:whole]
            held = held[whole:]
    if held:
        yield held
