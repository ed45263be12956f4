"""What the service can lose while it runs."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from ledger.settings import Settings
from tests.processes import until


@asynccontextmanager
async def without_postgresql(settings: Settings) -> AsyncIterator[None]:
    """For those who look for it, the test's database is not there."""
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
