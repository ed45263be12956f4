"""Every advisory lock of the ledger, and the table locks that keep writers away from the log.

An advisory lock is named by the oid of a table, so ledgers in other schemas of the database have locks of their own.
"""

import asyncio
from enum import StrEnum

from ledger.store.connections import Connection, Reader
from ledger.store.tables import log_table

POLL_SECONDS = 0.02


class Lock(StrEnum):
    """The key of each advisory lock, as SQL."""

    APPEND = "'stored_events'::regclass::oid::bigint"  # held from the first position to the commit
    EXPIRY = "'stored_events'::regclass::oid::int, 2"  # of the process that expires holds
    SEAL = "'seals'::regclass::oid::bigint"  # of the process that seals a block
    FOLLOWER = "'followers'::regclass::oid::int, $1"  # of a follower's leader, by the follower's number


BEGIN_LOCKED = f"""BEGIN; LOCK TABLE stored_events IN ROW EXCLUSIVE MODE;
                   SELECT pg_advisory_xact_lock({Lock.APPEND})"""


async def try_lock_expiry(connection: Reader) -> bool:
    """Take the right to expire holds until the end of the transaction; False if another process has it."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({Lock.EXPIRY})"))


async def lock_sealing(connection: Connection, *, wait: bool) -> bool:
    """Take the right to seal until the end of the transaction. Without `wait`, False if another process has it."""
    if wait:
        await connection.execute(f"SELECT pg_advisory_xact_lock({Lock.SEAL})")
        return True
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({Lock.SEAL})"))


async def try_lead(connection: Connection, number: int) -> bool:
    """Become the leader of the follower of this number while the connection lasts; False if another process is."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_lock({Lock.FOLLOWER})", number))


def has_leader(number: str) -> str:
    """Return the SQL condition that some process leads the follower of a number, which is a column."""
    return f"""EXISTS (SELECT FROM pg_locks
                       WHERE locktype = 'advisory' AND granted AND classid = 'followers'::regclass AND objsubid = 2
                         AND objid::bigint = {number}
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


async def lock_rebuilds(connection: Connection, schema: str, *, wait_seconds: float) -> None:
    """Take the right to rebuild while the connection lasts. Raises `asyncpg.LockNotAvailableError`."""
    await connection.execute(
        f"""SET lock_timeout = '{wait_seconds}s';
            SELECT pg_advisory_lock('"{schema}".rebuilds'::regclass::oid::bigint);
            RESET lock_timeout"""
    )


async def stop_appends(connection: Connection, schema: str) -> None:
    """Take the table lock that every append takes first, and the append lock, which is free by then."""
    table = log_table(schema)
    await connection.execute(
        f"""LOCK TABLE {table} IN EXCLUSIVE MODE;
            SELECT pg_advisory_xact_lock('{table}'::regclass::oid::bigint)"""
    )


async def settled_position(reader: Reader, *, after_position: int, patience_seconds: float) -> int | None:
    """Return a position below which nothing can be committed any more; None if no event follows `after_position`.

    Positions come in order (decision 2), unless somebody has switched the trigger off. So no writer is trusted to have
    taken the append lock: every transaction that could write when the end of the log was read is waited for, and later
    ones draw later positions. Raises `TimeoutError`.
    """
    row = await reader.fetchrow(f"SELECT (SELECT max(notification_id) FROM stored_events), ARRAY({_WRITERS})")
    assert row is not None  # noqa: S101 - it has no FROM
    if row[0] is None or row[0] <= after_position:
        return None
    position: int = row[0]
    writers = row[1]
    async with asyncio.timeout(patience_seconds):
        sql = f"SELECT EXISTS ({_WRITERS} AND virtualtransaction = ANY($1))"
        while await reader.fetchval(sql, writers):  # noqa: ASYNC110 - no event in this process tells when they end
            await asyncio.sleep(POLL_SECONDS)
    return position


# A writer has this lock on the table before it draws a position, and keeps it to the end of the transaction
# (PostgreSQL manual, 13.3.1).
_WRITERS = """SELECT virtualtransaction FROM pg_locks
              WHERE locktype = 'relation' AND relation = 'stored_events'::regclass AND mode = 'RowExclusiveLock'
                AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
