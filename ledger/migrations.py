"""Brings the database's schema to the version that this code works with."""

import asyncio
from pathlib import Path

import asyncpg

from ledger.database import connect
from ledger.settings import Settings

ROOT = Path(__file__).parent.parent


async def migrate(settings: Settings) -> bool:
    """Apply the migrations that are missing; whether there were any. Several starts at once queue up."""
    if await _version(settings) == _head():
        return False
    await asyncio.to_thread(_upgrade, settings)
    return True


def _upgrade(settings: Settings) -> None:
    # Imported here: it costs more than all else that a start does, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(toml_file=str(ROOT / "pyproject.toml"), attributes={"settings": settings})
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


def _head() -> str:
    return max(path.name for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py")).split("_")[0]
