"""Migrates the database's schema to the version that this code needs."""

import asyncio
from functools import cache
from pathlib import Path

import asyncpg

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.distribution import is_distributed
from ledger.store.pool import connect
from ledger.store.roles import grant_to_serving_role

NOT_THE_OWNER = (
    "the schema is not up to date, and the role of the database URL may not change it: "
    "run `ledger migrate` with LEDGER_OWNER_DATABASE_URL"
)
_PACKAGE = Path(__file__).parent.parent
FOLDER = next(  # in a wheel inside the package, in a checkout beside it
    folder for folder in (_PACKAGE / "schema", _PACKAGE.parent / "migrations") if folder.is_dir()
)


@cache
def latest_migration() -> str:
    """Return the schema version that this code needs."""
    return max(path.name for path in (FOLDER / "versions").glob("[0-9]*.py")).split("_")[0]


async def migrate(settings: Settings) -> bool:
    """Apply missing migrations and return whether there were any. Processes that start together take turns.

    The owner of the schema applies them, and grants the serving role what it needs. Raises `DatabaseError`.
    """
    owner = settings.as_owner()
    changes = await _read_version(owner) != latest_migration() or not await is_distributed(owner)
    if changes:
        await asyncio.to_thread(_upgrade, owner)
    if settings.ledger_owner_database_url is not None:
        await grant_to_serving_role(settings)
    return changes


def _upgrade(settings: Settings) -> None:
    # Imported here because it costs more than the rest of a start, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    config = Config(attributes={"settings": settings})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == asyncpg.InsufficientPrivilegeError.sqlstate:
            raise DatabaseError(NOT_THE_OWNER) from error
        raise


async def _read_version(settings: Settings) -> str | None:
    connection = await connect(settings)
    try:
        version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return version
