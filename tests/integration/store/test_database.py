"""Connections: whatever becomes of one, its user hears that the database is away, and nothing else."""

import asyncio

import asyncpg

from ledger.settings import Settings
from ledger.store.pool import UNREACHABLE, open_pool

CALLERS, ENDINGS = 10, 200


async def test_a_connection_that_ends_while_it_is_used_is_a_database_that_is_away(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Also one of which the client has not heard yet that it is gone when it is handed out again."""
    met: list[Exception] = []
    pool, over = await open_pool(settings), asyncio.Event()

    async def ask() -> None:
        try:
            await pool.fetchval("SELECT 1")
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            met.append(error)

    async def ask_again_and_again() -> None:
        while not over.is_set():
            await ask()

    callers = [asyncio.create_task(ask_again_and_again()) for _ in range(CALLERS)]
    name = await connection.fetchval("SELECT current_database()")
    for _ in range(ENDINGS):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            name,
        )
        await ask()
    over.set()
    await asyncio.gather(*callers)
    pool.terminate()

    assert met
    assert [] == [error for error in met if not isinstance(error, UNREACHABLE)]
    assert issubclass(asyncpg.InternalClientError, UNREACHABLE)  # which is met nearly always, but not each time
