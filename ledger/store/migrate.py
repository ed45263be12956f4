"""Migrates the database's schema to the version that this code needs."""

import asyncio
from functools import cache
from pathlib import Path

import asyncpg

from ledger.settings import Settings
from ledger.store.distribution import is_distributed
from ledger.store.pool import connect

_PACKAGE = Path(__file__).parent.parent
FOLDER = next(  # in a wheel inside the package, in a checkout beside it
    folder for folder in (_PACKAGE / "schema", _PACKAGE.parent / "migrations") if folder.is_dir()
)


@cache
def latest_migration() -> str:
    """Return the schema version that this code needs."""
    return max(path.name for path in (FOLDER / "versions").glob("[0-9]*.py")).split("_")[0]


async def migrate(settings: Settings) -> bool:
    """Apply missing migrations and return whether there were any. Processes that start together take turns."""
    if await _read_version(settings) == latest_migration() and await is_distributed(settings):
        return False
    await asyncio.to_thread(_upgrade, settings)
    return True


def _upgrade(settings: Settings) -> None:
    # Imported here because it costs more than the rest of a start, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"settings": settings})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")


async def _read_version(settings: Settings) -> str | None:
    connection = await connect(settings)
    try:
        version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return version
