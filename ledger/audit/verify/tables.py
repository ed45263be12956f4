"""Project events again into temporary tables, and compare their rows with those of the ledger's read tables.

The projections run as they do when the ledger writes, page by page. They find their tables by name, and on this
connection the temporary tables hide those of the ledger. So memory is bounded, and the check needs as much disk as the
tables. An event that a projection cannot apply is a finding (lesson 12).

Transactions are most of the rows, and need no temporary table: see `ledger.audit.verify.rows`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import get_args

from ledger.audit.verify.findings import Difference, Finding
from ledger.audit.verify.log import RawEvent, decode, report_unfit, split_runs
from ledger.audit.verify.reading import PATIENCE_SECONDS, Scope, Share, read_pages
from ledger.events import TOPICS, Event, Recorded
from ledger.events.clients import ClientTokensRevoked
from ledger.events.tokens import AllTokensRevoked, RevokedTokensForgotten
from ledger.events.users import UserTokensRevoked
from ledger.projections import INLINE, Projection, apply_all
from ledger.projections.accounts import ACCOUNTS
from ledger.projections.captures import CAPTURES
from ledger.projections.dated_entries import DATED_ENTRIES
from ledger.projections.table import Table
from ledger.projections.tokens import CUTOFFS, EVERYBODY
from ledger.projections.transactions import TRANSFERS
from ledger.store import integrity
from ledger.store.connections import Connection
from ledger.store.statements import Statement, run_together

_FAR_REACHING = (UserTokensRevoked, ClientTokensRevoked, AllTokensRevoked, RevokedTokensForgotten)
# Events that change rows of other streams than their own.
FAR_REACHING = [TOPICS[kind] for kind in _FAR_REACHING]
# The order of their events matters across streams.
ORDERED = tuple(one for one in INLINE if not {ACCOUNTS, TRANSFERS, CAPTURES, DATED_ENTRIES}.intersection(one.tables))
_ORDERED_TOPICS = [TOPICS[kind] for kind in get_args(Event) if any(kind in one.handles for one in ORDERED)]
_NOTHING_TO_APPEND = Statement("SELECT 0::bigint AS first_position, NULL::timestamptz AS recorded_at", ())


async def check_ordered_tables(connection: Connection, scope: Scope) -> AsyncIterator[Finding | Difference]:
    """Project the events of users and tokens in the order of the log, and compare."""
    shadows = ShadowTables(connection, scope, ORDERED)
    await shadows.create()
    sql = f"""{integrity.EVENTS} WHERE topic = ANY($1)
              AND ({scope.where_changed("originator_id")} OR topic = ANY($2)) ORDER BY notification_id"""
    async for rows in read_pages(connection, sql, _ORDERED_TOPICS, FAR_REACHING):
        decoded = [decode(RawEvent(*row)) for row in rows]
        for finding in await shadows.project([event for event in decoded if isinstance(event, Recorded)]):
            yield finding
    async for difference in shadows.compare(Share()):
        yield difference
    await shadows.drop()


class ShadowTables:
    """Temporary tables of some projections. They hide the ledger's, which still have the name of their schema."""

    def __init__(self, connection: Connection, scope: Scope, projections: Sequence[Projection]) -> None:
        self._connection, self._scope, self._projections = connection, scope, projections
        self._tables = [table for projection in projections for table in projection.tables]
        self._looks_up = False

    async def create(self) -> None:
        """Create the tables."""
        for table in self._tables:
            like = f"LIKE {self._scope.schema}.{table.name} INCLUDING DEFAULTS"
            await self._connection.execute(f"CREATE TEMPORARY TABLE {table.name} ({like}) ON COMMIT DROP")
            for index in _indexes(table):
                await self._connection.execute(index)

    async def drop(self) -> None:
        """Drop the tables, and the cursors that have read them, so that the ledger's are found by name again."""
        names = ", ".join(f"pg_temp.{table.name}" for table in self._tables)
        await self._connection.execute(f"CLOSE ALL; DROP TABLE {names}")

    async def project(self, events: Sequence[Recorded]) -> list[Finding]:
        """Apply the next events, and return a finding for each event that a projection cannot apply."""
        findings: list[Finding] = []
        if not self._looks_up:
            await self._connection.execute("SET LOCAL enable_seqscan = off")  # plans are made while tables are empty
            self._looks_up = True
        for run in split_runs(events, RevokedTokensForgotten):
            if await self._apply(run) is not None:
                for row in run:
                    error = await self._apply([row])
                    findings += [] if error is None else [report_unfit(row, error)]
        return findings

    async def compare(self, share: Share) -> AsyncIterator[Difference]:
        """Yield each row that differs from the projected row."""
        await self._connection.execute("SET LOCAL enable_seqscan = on")
        for table in self._tables:
            await self._connection.execute(f"ANALYZE pg_temp.{table.name}", timeout=PATIENCE_SECONDS)
            async for rows in read_pages(self._connection, self._unequal_rows(table, share)):
                for row in rows:
                    yield Difference(table.name, *row)

    async def _apply(self, events: Sequence[Recorded]) -> Exception | None:
        """Apply all of the events, or none of them and return the error."""
        try:
            statements = apply_all(self._projections, events)
            if statements:
                async with self._connection.transaction():
                    await run_together(self._connection, _NOTHING_TO_APPEND, statements)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # tampering can cause any error: it becomes a finding
            if self._connection.is_closed():
                raise
            return error
        return None

    def _unequal_rows(self, table: Table, share: Share) -> str:
        names, where = (
            ", ".join(table.key),
            f"{share.where(table.stream)} AND {self._scope.where_changed(table.stream)}",
        )
        if table is CUTOFFS:
            where += f" OR user_id = '{EVERYBODY}'"
        return f"""SELECT concat_ws(' ', {names}) AS key, to_jsonb(expected) AS expected, to_jsonb(found) AS found
                   FROM (SELECT * FROM {self._scope.schema}.{table.name} WHERE {where}) AS found
                   FULL JOIN (SELECT * FROM pg_temp.{table.name} WHERE {where}) AS expected USING ({names})
                   WHERE expected IS DISTINCT FROM found"""


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
    return others if table.changes in {"never", "rarely"} else [key, *others]
