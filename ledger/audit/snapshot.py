"""A snapshot of the whole ledger, for queries that take long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.projections import TABLES
from ledger.store.connections import Connection


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """Read one point in time inside the context, and roll back all changes at the end.

    A rebuild swaps tables. A lookup by name after the swap would find a table whose rows are all newer than the
    snapshot, and so see no rows. Therefore the tables are locked before the snapshot is taken. ACCESS SHARE conflicts
    only with the swap, and LOCK TABLE takes no snapshot (PostgreSQL manual, 13.3.1).
    """
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        tables = ", ".join(table.name for table in TABLES)
        await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield
    finally:
        await transaction.rollback()
