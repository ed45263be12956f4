"""Brings the database's schema to the version that this code works with."""

import asyncio
from functools import cache
from pathlib import Path

import asyncpg

from ledger.settings import Settings
from ledger.store.pool import connect

_PACKAGE = Path(__file__).parent.parent
FOLDER = next(  # in a wheel inside the package, in a checkout beside it
    folder for folder in (_PACKAGE / "schema", _PACKAGE.parent / "migrations") if folder.is_dir()
)


@cache
def head() -> str:
    """The version that this code works with."""
    return max(path.name for path in (FOLDER / "versions").glob("[0-9]*.py")).split("_")[0]


async def migrate(settings: Settings) -> bool:
    """Apply the migrations that are missing; whether there were any. Several starts at once queue up."""
    if await _version(settings) == head():
        return False
    await asyncio.to_thread(_upgrade, settings)
    return True


def _upgrade(settings: Settings) -> None:
    # Imported here: it costs more than all else that a start does, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"settings": settings})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")


async def _version(settings: Settings) -> str | None:
    connection = await connect(settings)
    try:
        version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return version
