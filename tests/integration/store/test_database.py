"""However a connection ends, its user gets the one error for a database that is away."""

import asyncio

import asyncpg

from ledger.settings import Settings
from ledger.store.pool import UNREACHABLE, open_pool

CALLERS, ENDINGS = 10, 200


async def test_a_connection_that_ends_during_use_means_the_database_is_away(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """This holds for a pooled connection whose end the client has not noticed yet."""
    met: list[Exception] = []
    pool, over = await open_pool(settings), asyncio.Event()

    async def query() -> None:
        try:
            await pool.fetchval("SELECT 1")
        except Exception as error:  # noqa: BLE001 - the test is about which it is
            met.append(error)

    async def query_repeatedly() -> None:
        while not over.is_set():
            await query()

    callers = [asyncio.create_task(query_repeatedly()) for _ in range(CALLERS)]
    name = await connection.fetchval("SELECT current_database()")
    for _ in range(ENDINGS):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            name,
        )
        await query()
    over.set()
    await asyncio.gather(*callers)
    pool.terminate()

    assert met
    assert [] == [error for error in met if not isinstance(error, UNREACHABLE)]
    assert issubclass(asyncpg.InternalClientError, UNREACHABLE)  # nearly every attempt raises it, but not all
