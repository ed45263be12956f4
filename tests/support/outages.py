"""Outages of the servers that the service depends on."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from ledger.settings import Settings
from tests.support.processes import until


@asynccontextmanager
async def without_postgresql(settings: Settings) -> AsyncIterator[None]:
    """Rename the test's database for the duration of the block, so that nothing can connect to it."""
    name = urlsplit(settings.database_dsn()).path.strip("/")
    connection = await asyncpg.connect(settings.database_dsn().replace(f"/{name}?", "/ledger?"))

    async def is_gone() -> bool:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        with contextlib.suppress(asyncpg.ObjectInUseError):
            await connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_gone")
            return True
        return False

    try:
        await until(is_gone)
        yield
    finally:
        await connection.execute(f"ALTER DATABASE {name}_gone RENAME TO {name}")
        await connection.close()


async def terminate_connections(connection: Any) -> None:
    """Terminate the service's connections to the test's database and wait until they are gone.

    PostgreSQL only asks its processes to end, and one may still respond until it does.
    """
    rows = await connection.fetch(
        """SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'ledger' AND pid <> pg_backend_pid()"""
    )
    await until(lambda: are_gone(connection, [row["pid"] for row in rows]))


async def are_gone(connection: Any, pids: list[int]) -> bool:
    """Return whether all of these PostgreSQL processes have ended."""
    return not await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1::int[])", pids)


@contextmanager
def reserved_port(*, listening: bool) -> Iterator[int]:
    """Reserve a local port; unless `listening`, connections to it are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listening:
            taken.listen()
        yield taken.getsockname()[1]
