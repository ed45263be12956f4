"""Runs the migrations over asyncpg, each in a transaction of its own, in the schema that `ledger.store.migrate` was given.

Migrations of several starts take turns. A start that waits asks again and again: a statement that waits for a lock has
a snapshot, and `CREATE INDEX CONCURRENTLY` would wait for it.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from ledger.settings import Settings
from ledger.store.distribution import distribute, undistribute
from ledger.store.pool import connect_to_url

LOCK = 7_253_119_260_111_901  # of this project
PAUSE_SECONDS = 0.1


def _migrate(connection: Connection, schema: str) -> None:
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    connection.execute(text(f'SET search_path TO "{schema}"'))
    connection.commit()
    context.configure(connection=connection, version_table_schema=schema, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def _take_turn(connection: AsyncConnection) -> None:
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        await connection.commit()
        await asyncio.sleep(PAUSE_SECONDS)
    await connection.commit()


async def _run() -> None:
    settings = context.config.attributes.get("settings") or Settings.load()
    engine = create_async_engine(
        "postgresql+asyncpg://",
        # An index takes long, and a queue of starts longer.
        async_creator=lambda: connect_to_url(settings, statement_seconds=None),
        poolclass=NullPool,
    )
    async with engine.connect() as connection:
        await _take_turn(connection)
        await undistribute(settings)
        await connection.run_sync(_migrate, settings.ledger_schema)
        await connection.commit()  # with nothing to migrate, reading the version has left a transaction open
        await distribute(settings)
    await engine.dispose()


asyncio.run(_run())
