"""Find out whether a pooler between this program and PostgreSQL gives each client a session of its own.

The ledger keeps advisory locks, notifications and prepared statements in its sessions. Behind a pooler that changes the
backend between transactions, a client would lose these, and execute the prepared statements of other clients.
"""

import asyncio

import asyncpg

from ledger.store.connections import Connection
from ledger.store.hosts import connect_to

SECONDS = 10.0
ROUNDS = 4
MIXED_UP = (  # errors of a client whose statements reach different backends, or that may not begin a transaction
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.ProtocolViolationError,
)
NO_TRANSACTIONS = "statement pooling mode"  # PgBouncer says so, and disconnects the client
_BACKEND = "SELECT pg_backend_pid() || '@' || pg_postmaster_start_time()"


async def keeps_sessions(dsn: str) -> bool:
    """Return whether two clients that take turns keep a backend each. Raises what asyncpg raises."""
    async with asyncio.timeout(SECONDS):
        one = await connect_to(dsn, timeout=SECONDS, statement_cache_size=0)
        try:
            other = await connect_to(dsn, timeout=SECONDS, statement_cache_size=0)
            try:
                return await _keep_backends(one, other)
            except MIXED_UP:
                return False
            except asyncpg.ConnectionDoesNotExistError as error:
                if NO_TRANSACTIONS in str(error):
                    return False
                raise
            finally:
                other.terminate()
        finally:
            one.terminate()


async def _keep_backends(one: Connection, other: Connection) -> bool:
    expected = await _read_backend(one)
    for _ in range(ROUNDS):
        async with other.transaction():  # it keeps its backend busy until the end
            if await other.fetchval(_BACKEND) == expected or await _read_backend(one) != expected:
                return False
        if await _read_backend(one) != expected:
            return False
    return True


async def _read_backend(connection: Connection) -> str:
    async with connection.transaction():
        backend: str = await connection.fetchval(_BACKEND)
        return backend
