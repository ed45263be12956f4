"""Every advisory lock of the ledger, and the table locks that keep writers off the log.

An advisory lock's key is the oid of a table, so ledgers in other schemas of the database have their own locks.
"""

import asyncio
from enum import StrEnum

from ledger.store.connections import Connection, Reader
from ledger.store.tables import log_table

POLL_SECONDS = 0.02


class Lock(StrEnum):
    """The key of each advisory lock, as SQL."""

    APPEND = "'stored_events'::regclass::oid::bigint"  # held from a writer's first position to its commit
    EXPIRY = "'stored_events'::regclass::oid::int, 2"  # held by the process that expires holds
    IMPORT = "'stored_events'::regclass::oid::int, 3"  # held by the process that imports the reference
    GRANT = "'stored_events'::regclass::oid::int, 4"  # held by the start that grants privileges
    SCHEDULE = "'stored_events'::regclass::oid::int, 5"  # held by the process that executes scheduled transactions
    SEAL = "'seals'::regclass::oid::bigint"  # held by the process that seals a block
    FOLLOWER = "'followers'::regclass::oid::int, $1"  # held by a follower's leader; $1 is the follower's number


# The lock comes after the table's own, as in every program that begins with LOCK TABLE, or the two would deadlock.
BEGIN_LOCKED = f"""BEGIN; SET LOCAL idle_in_transaction_session_timeout = '1s';
                   LOCK TABLE stored_events IN ROW EXCLUSIVE MODE;
                   SELECT pg_advisory_xact_lock({Lock.APPEND})"""


async def try_lock_expiry(connection: Connection) -> bool:
    """Take the expiry lock until the database transaction ends. Return False if another process holds it."""
    # PostgreSQL ends the session of a process that was paused or cut off, so that another process can expire holds.
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({Lock.EXPIRY})"))


async def try_lock_schedule(connection: Connection) -> bool:
    """Take the lock of scheduled transactions until the database transaction ends. Return False if it is held."""
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({Lock.SCHEDULE})"))


async def try_lock_import(connection: Connection) -> bool:
    """Take the import lock while the connection is open. Return False if another process imports."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_lock({Lock.IMPORT})"))


async def lock_sealing(connection: Connection, *, wait: bool) -> bool:
    """Take the sealing lock until the database transaction ends. Without `wait`, return False if it is held."""
    if wait:
        await connection.execute(f"SELECT pg_advisory_xact_lock({Lock.SEAL})")
        return True
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({Lock.SEAL})"))


async def try_lead(connection: Connection, number: int) -> bool:
    """Become a follower's leader while the connection is open. Return False if another process leads it."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_lock({Lock.FOLLOWER})", number))


def has_leader(number: str) -> str:
    """Return the SQL condition that a follower has a leader; `number` is the column with the follower's number."""
    return f"""EXISTS (SELECT FROM pg_locks
                       WHERE locktype = 'advisory' AND granted AND classid = 'followers'::regclass AND objsubid = 2
                         AND objid::bigint = {number}
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


async def lock_rebuilds(connection: Connection, schema: str, *, wait_seconds: float) -> None:
    """Take the rebuild lock while the connection is open. Raises `asyncpg.LockNotAvailableError` after the wait."""
    await connection.execute(
        f"""SET lock_timeout = '{wait_seconds}s';
            SELECT pg_advisory_lock('"{schema}".rebuilds'::regclass::oid::bigint);
            RESET lock_timeout"""
    )


async def is_rebuilding(reader: Reader) -> bool:
    """Return whether a process holds the rebuild lock."""
    return bool(
        await reader.fetchval(
            """SELECT EXISTS (SELECT FROM pg_locks
                              WHERE locktype = 'advisory' AND granted AND classid = 0 AND objsubid = 1
                                AND objid = 'rebuilds'::regclass
                                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
        )
    )


async def stop_appends(connection: Connection, schema: str) -> None:
    """Block appends until the database transaction ends: take the table lock they take first, then the append lock."""
    table = log_table(schema)
    await connection.execute(
        f"""LOCK TABLE {table} IN EXCLUSIVE MODE;
            SELECT pg_advisory_xact_lock('{table}'::regclass::oid::bigint)"""
    )


async def settled_position(reader: Reader, *, after_position: int, patience_seconds: float) -> int | None:
    """Return a position at or below which no more events can be committed; None if no event follows `after_position`.

    Positions appear in order (decision 2) unless an operator disables the trigger. So this does not rely on the append
    lock: it waits for every transaction that could write when the log end was read. Later transactions draw later
    positions. Raises `TimeoutError`.
    """
    row = await reader.fetchrow(f"SELECT (SELECT max(notification_id) FROM stored_events), ARRAY({_WRITERS})")
    assert row is not None  # noqa: S101 - it has no FROM
    if row[0] is None or row[0] <= after_position:
        return None
    position: int = row[0]
    writers = row[1]
    async with asyncio.timeout(patience_seconds):
        sql = f"SELECT EXISTS ({_WRITERS} AND virtualtransaction = ANY($1))"
        while await reader.fetchval(sql, writers):  # noqa: ASYNC110 - other processes end them
            await asyncio.sleep(POLL_SECONDS)
    return position


# A writer takes this table lock before it draws a position, and holds it until its transaction ends (PostgreSQL manual,
# 13.3.1).
_WRITERS = """SELECT virtualtransaction FROM pg_locks
              WHERE locktype = 'relation' AND relation = 'stored_events'::regclass AND mode = 'RowExclusiveLock'
                AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
