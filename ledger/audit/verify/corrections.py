"""The read tables as they should be: views of the ledger's tables, with the rows that differ replaced.

The books are checked as the log has them. Where the read tables match the log, that is the tables themselves.
"""

from collections.abc import Iterable

from ledger.audit.verify.findings import Difference, Finding
from ledger.audit.verify.log import DECODES
from ledger.audit.verify.reading import PATIENCE_SECONDS, Scope
from ledger.projections import TABLES
from ledger.projections.table import Table
from ledger.projections.tokens import CUTOFFS, EVERYBODY
from ledger.store.connections import Connection


class Corrections:
    """Collects differing rows in temporary tables, and shows the corrected tables under the names of the ledger's."""

    def __init__(self, connection: Connection, scope: Scope) -> None:
        self._connection, self._scope = connection, scope
        self.needed = False
        self._leaves_out = False

    async def leave_out(self, finding: Finding) -> None:
        """Leave an event that cannot be decoded out of the entries: the view would fail on it."""
        if finding.rule != DECODES or finding.position is None:
            return
        if not self._leaves_out:
            self._leaves_out = True
            await self._connection.execute("CREATE TEMPORARY TABLE unreadable (position bigint) ON COMMIT DROP")
        await self._connection.execute("INSERT INTO pg_temp.unreadable VALUES ($1)", finding.position)

    async def add(self, differences: Iterable[Difference]) -> None:
        """Note differing rows."""
        for table, _, expected, found in differences:
            if not self.needed:
                await self.create()
            for kind, row in (("expected", expected), ("found", found)):
                if row is not None:
                    await self._connection.execute(
                        f"INSERT INTO pg_temp.{kind}_{table} SELECT * FROM jsonb_populate_record(NULL::{table}, $1)",
                        row,
                    )

    async def show(self) -> None:
        """Let queries find the corrected tables; of a check of changes, only rows of changed streams."""
        if self.needed:
            for table in TABLES:
                await self._connection.execute(self._view(table), timeout=PATIENCE_SECONDS)
        if self.needed or self._leaves_out:
            await self._connection.execute(self._view_of_entries())

    async def create(self) -> None:
        """Create the temporary tables."""
        self.needed = True
        for table in TABLES:
            for kind in ("expected", "found"):
                name = f"{kind}_{table.name}"
                await self._connection.execute(
                    f"""CREATE TEMPORARY TABLE {name} (LIKE {self._scope.schema}.{table.name}) ON COMMIT DROP;
                        CREATE INDEX ON pg_temp.{name} ({", ".join(table.key)})"""
                )

    def _view_of_entries(self) -> str:
        readable = "AND position NOT IN (SELECT position FROM pg_temp.unreadable)" if self._leaves_out else ""
        return f"""CREATE TEMPORARY VIEW entries AS SELECT * FROM {self._scope.schema}.entries
                   WHERE {self._scope.where_changed("account_id")} {readable}"""

    def _view(self, table: Table) -> str:
        where = self._scope.where_changed(table.stream)
        if table is CUTOFFS:
            where += f" OR user_id = '{EVERYBODY}'"
        is_same = " AND ".join(f"found.{name} = live.{name}" for name in table.key)
        return f"""CREATE TEMPORARY VIEW {table.name} AS
                   SELECT * FROM {self._scope.schema}.{table.name} AS live
                   WHERE ({where}) AND NOT EXISTS (SELECT FROM pg_temp.found_{table.name} AS found WHERE {is_same})
                   UNION ALL SELECT * FROM pg_temp.expected_{table.name}"""
