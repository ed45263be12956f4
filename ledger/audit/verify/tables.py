"""Check the read tables: project the log again into temporary tables, and compare the rows.

The projections run as they do when the ledger writes, page by page. They find their tables by name, and on this
connection the temporary tables hide those of the ledger. So memory is bounded, and the check needs as much disk as the
read tables. An event that a projection cannot apply is a finding (lesson 12).
"""

from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from ledger.audit.verify.findings import Finding, compare_columns, report_missing, report_unexpected
from ledger.audit.verify.log import split_runs
from ledger.audit.verify.reading import Scope, read_pages
from ledger.events import TOPICS, Recorded
from ledger.events.tokens import AllTokensRevoked, RevokedTokensForgotten
from ledger.events.users import UserTokensRevoked
from ledger.projections import INLINE, TABLES, apply_all
from ledger.projections.entries import ENTRIES
from ledger.projections.table import Table
from ledger.projections.tokens import CUTOFFS, EVERYBODY
from ledger.store.connections import Connection
from ledger.store.statements import Statement, run_together
from ledger.store.tables import STORED_EVENTS

# Events that change rows of other streams than their own.
FAR_REACHING = [TOPICS[kind] for kind in (UserTokensRevoked, AllTokensRevoked, RevokedTokensForgotten)]
_NOTHING_TO_APPEND = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())


async def create_tables(connection: Connection, scope: Scope) -> None:
    """Create the temporary tables. They hide the tables of the ledger, which can still be named with `scope.schema`."""
    for table in TABLES:
        like = f"LIKE {scope.schema}.{table.name} INCLUDING DEFAULTS"
        await connection.execute(f"CREATE TEMPORARY TABLE {table.name} ({like}) ON COMMIT DROP")
        for index in _indexes(table):
            await connection.execute(index)
    await connection.execute("SET LOCAL enable_seqscan = off")  # plans are made while the tables are empty


async def project(connection: Connection, events: Sequence[Recorded]) -> list[Finding]:
    """Apply the next events of the log, and return a finding for each event that a projection cannot apply."""
    findings: list[Finding] = []
    for run in split_runs(events, RevokedTokensForgotten):
        if await _apply(connection, run) is not None:
            for row in run:
                error = await _apply(connection, [row])
                findings += [] if error is None else [_report_event(row, error)]
    return findings


async def compare(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Yield the findings for each row that differs from the projected row."""
    await connection.execute("SET LOCAL enable_seqscan = on")
    for table in TABLES:
        await connection.execute(f"ANALYZE pg_temp.{table.name}")
        async for rows in read_pages(connection, _unequal_rows(table, scope), scope.since):
            for row in rows:
                for finding in _judge_row(table.name, row["key"], row["expected"], row["found"]):
                    yield finding


async def _apply(connection: Connection, events: Sequence[Recorded]) -> Exception | None:
    """Apply all of the events, or none of them and return the error."""
    try:
        statements = apply_all(INLINE, events)
        if statements:
            async with connection.transaction():
                await run_together(connection, _NOTHING_TO_APPEND, statements)
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:  # tampering can cause any error: it becomes a finding
        if connection.is_closed():
            raise
        return error
    return None


def _report_event(row: Recorded, error: Exception) -> Finding:
    return Finding(
        "the projections can apply every event",
        TOPICS[type(row.event)],
        f"{type(error).__name__}: {error}",
        stream_id=row.stream_id,
        version=row.version,
        position=row.position,
        table=STORED_EVENTS,
    )


def _indexes(table: Table) -> list[str]:
    """Return the indexes by which the projection finds rows.

    Only an upsert gets a unique one: duplicate rows from a damaged log must not stop the check.
    """
    unique = "UNIQUE" if table.changes == "upsert" else ""
    key = f"CREATE {unique} INDEX ON pg_temp.{table.name} ({', '.join(table.key)})"
    others = [
        f"CREATE INDEX ON pg_temp.{table.name} {index.on} {f'WHERE {index.where}' if index.where else ''}"
        for index in table.indexes
        if index.writes
    ]
    return others if table.changes == "rarely" else [key, *others]


def _unequal_rows(table: Table, scope: Scope) -> str:
    names, where = ", ".join(table.key), scope.where_changed(table.stream)
    if table is ENTRIES:
        where += " AND position > $1"
    if table is CUTOFFS:
        where += f" OR user_id = '{EVERYBODY}'"
    return f"""SELECT concat_ws(' ', {names}) AS key, to_jsonb(expected) AS expected, to_jsonb(found) AS found
               FROM (SELECT * FROM {scope.schema}.{table.name} WHERE {where}) AS found
               FULL JOIN (SELECT * FROM pg_temp.{table.name} WHERE {where}) AS expected USING ({names})
               WHERE to_jsonb(expected) IS DISTINCT FROM to_jsonb(found)"""


def _judge_row(table: str, key: str, expected: str | None, found: str | None) -> Iterator[Finding]:
    if found is None:
        yield report_missing(table, key)
    elif expected is None:
        yield report_unexpected(table, key)
    else:
        yield from compare_columns(table, key, msgspec.json.decode(expected), msgspec.json.decode(found))
