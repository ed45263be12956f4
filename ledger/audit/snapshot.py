"""One moment of the whole ledger, for questions that take long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.projections import INLINE
from ledger.store.connections import Connection


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """All that is read inside was so at one moment, however long it takes; nothing that is made inside stays.

    A rebuild swaps tables, and rows that it wrote after the moment would be missing in those that are found by name
    later. So the tables are locked before the moment is chosen (PostgreSQL manual, 13.3.1: ACCESS SHARE holds up the
    swap and nobody else, and LOCK TABLE takes no snapshot).
    """
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        tables = ", ".join(table for projection in INLINE for table in projection.tables)
        await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield
    finally:
        await transaction.rollback()
