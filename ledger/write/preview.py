"""Reads in a dry run: read tables as they would be after the commands that it has decided.

A query on a table that they would change runs in a database transaction that is rolled back. There, temporary tables
stand before the real ones: they have the rows of the streams that the dry run is about, with the changes. A view adds
the rows of all other streams. So no table of the ledger is ever written, nor locked.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from ledger.events import Recorded
from ledger.projections import INLINE, TABLES, apply_all
from ledger.projections.dated_entries import DATED_ENTRIES
from ledger.store.connections import STATEMENT_SECONDS, Connection, Lent, Pool
from ledger.store.heads import Head, replace_heads
from ledger.store.sql import quote_name
from ledger.store.statements import Statement, accept_encoded_arrays, run_together
from ledger.store.tables import STREAM_HEADS

T = TypeVar("T")


class PreviewTable(NamedTuple):
    """A table that a dry run may show changed: its key, and the column with the stream whose events make a row."""

    name: str
    key: tuple[str, ...]
    stream: str


PREVIEWS = {
    STREAM_HEADS: PreviewTable(STREAM_HEADS, ("originator_id",), "originator_id"),
    **{table.name: PreviewTable(table.name, table.key, table.stream) for table in TABLES},
}
_OF_ENTRIES = {DATED_ENTRIES.name}  # whose rows never change, and come of entries, which are not all replayed
_STREAMS, _CHANGED = "dry_run_streams", "dry_run_{name}"
_NAMES = re.compile(rf"\b(?:{'|'.join(PREVIEWS)})\b")
_TARGET = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)


class Run(NamedTuple):
    """Events that a real run would write in one statement, with their time and the first of their positions."""

    events: Collection[Recorded]
    first_position: int
    recorded_at: datetime | None


class Past(NamedTuple):
    """The state at a position: the events that make up the streams of a dry run."""

    position: int
    events: list[Recorded]


class Preview(NamedTuple):
    """What a dry run knows: the heads of its streams, and the runs that its commands would write.

    Without a `past`, the present rows of its streams make them up.
    """

    heads: dict[UUID, Head]
    runs: list[Run]
    past: Past | None

    def find_tables(self, query: str) -> set[str]:
        """Return the tables of a query that show something else than the real ones."""
        named = set(_NAMES.findall(query))
        if self.past is not None or not named:
            return named
        types = {type(row.event) for run in self.runs for row in run.events}
        handling = (projection for projection in INLINE if not types.isdisjoint(projection.handles))
        return named & {STREAM_HEADS, *(name for projection in handling for name in projection.table_names)}


class PreviewPool(Pool):
    """A pool whose reads show what a dry run would have changed. Nothing can be written on its connections."""

    def __init__(self, pool: Pool, schema: str, preview: Preview) -> None:
        self._pool = pool
        self._schema = quote_name(schema)
        self._preview = preview

    async def read(self, method: Callable[..., Awaitable[T]], query: str, values: tuple[Any, ...]) -> T:
        """Call this method of a connection on which changed tables show the changes."""
        tables = self._preview.find_tables(query)
        if not tables:
            return await self._pool.read(method, query, values)
        async with self._pool.acquire() as lent:
            try:
                await _show(lent.connection, self._schema, self._preview, [PREVIEWS[name] for name in sorted(tables)])
                return await method(lent.connection, query, *values)
            finally:
                if not lent.connection.is_closed():
                    await lent.connection.execute("ROLLBACK; DISCARD PLANS")

    @asynccontextmanager
    async def acquire(self, *, seconds: float = STATEMENT_SECONDS) -> AsyncIterator[Lent]:
        """Lend a connection in a database transaction that cannot write."""
        async with self._pool.acquire(seconds=seconds) as lent, lent.connection.transaction(readonly=True):
            yield lent


async def _show(connection: Connection, schema: str, preview: Preview, tables: Collection[PreviewTable]) -> None:
    """Begin a database transaction in which these tables show what the commands of a dry run would change."""
    # A statement that was prepared before a table was made would still mean the real one: DISCARD PLANS ends that.
    created = (sql for table in tables for sql in _create(table, schema))
    await connection.execute(
        "; ".join(
            [
                "BEGIN ISOLATION LEVEL REPEATABLE READ",
                f"CREATE TEMPORARY TABLE {_STREAMS} (id uuid PRIMARY KEY)",
                *created,
                "DISCARD PLANS",
            ]
        )
    )
    await connection.execute(f"INSERT INTO {_STREAMS} SELECT unnest($1::uuid[])", list(preview.heads))
    await _fill(connection, schema, preview, tables)
    await connection.execute(
        "; ".join(
            [*(_replace_by_view(table, schema) for table in tables), "DISCARD PLANS", "SET TRANSACTION READ ONLY"]
        )
    )


def _create(table: PreviewTable, schema: str) -> Iterable[str]:
    yield f"CREATE TEMPORARY TABLE {table.name} (LIKE {schema}.{table.name} INCLUDING DEFAULTS)"
    yield f"CREATE UNIQUE INDEX ON pg_temp.{table.name} ({', '.join(table.key)})"


async def _fill(connection: Connection, schema: str, preview: Preview, tables: Collection[PreviewTable]) -> None:
    names, past = {table.name for table in tables}, preview.past
    copied = names if past is None else names & _OF_ENTRIES
    for name in sorted(copied):
        await connection.execute(
            f"""INSERT INTO pg_temp.{name} SELECT * FROM {schema}.{name}
                WHERE {PREVIEWS[name].stream} IN (SELECT id FROM {_STREAMS}) {_until(past)}"""
        )
    if past is not None:
        await _write(connection, apply_all(INLINE, past.events), names - copied, Run((), 0, None))
    for run in preview.runs:
        await _write(connection, _apply(run), names, run)
    existing = {stream: head for stream, head in preview.heads.items() if head.state is not None}
    await _write(connection, replace_heads(existing), names, Run((), 0, None))


def _until(past: Past | None) -> str:
    return "" if past is None else f'AND "position" <= {past.position}'


async def _write(connection: Connection, statements: Iterable[Statement], names: Collection[str], run: Run) -> None:
    """Run the statements on these tables, of which others are not shown."""
    reserved = Statement(
        "SELECT $1::bigint AS first_position, $2::timestamptz AS recorded_at", (run.first_position, run.recorded_at)
    )
    wanted = [statement for statement in statements if _find_target(statement) in names]
    if wanted:
        with accept_encoded_arrays(connection):
            await run_together(connection, reserved, wanted)


def _replace_by_view(table: PreviewTable, schema: str) -> str:
    changed = _CHANGED.format(name=table.name)
    return f"""ALTER TABLE pg_temp.{table.name} RENAME TO {changed};
               CREATE TEMPORARY VIEW {table.name} AS SELECT * FROM pg_temp.{changed} UNION ALL
               SELECT * FROM {schema}.{table.name}
               WHERE ({table.stream} IN (SELECT id FROM pg_temp.{_STREAMS})) IS NOT TRUE"""


def _apply(run: Run) -> list[Statement]:
    return apply_all(INLINE, list(run.events))


def _find_target(statement: Statement) -> str:
    """Return the table that a statement writes."""
    match = _TARGET.match(statement.sql)
    if match is None:
        raise LookupError(f"a statement of no known table: {statement.sql}")
    return match[1]
