"""Runs the migrations over asyncpg, one at a time, in the schema that `ledger.store.migrate` was given."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ledger.settings import Settings
from ledger.store.pool import connect

LOCK = 7_253_119_260_111_901  # of this project; migrations of two starts at once queue up behind it


def _migrate(connection: Connection, schema: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    connection.execute(text(f'SET LOCAL search_path TO "{schema}"'))
    context.configure(connection=connection, version_table_schema=schema, transaction_per_migration=False)
    context.run_migrations()


async def _run() -> None:
    settings = context.config.attributes.get("settings") or Settings.load()
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(
            settings, statement_seconds=None
        ),  # an index takes long, a queue of starts longer
        poolclass=NullPool,
    )
    async with engine.begin() as connection:
        await connection.run_sync(_migrate, settings.ledger_schema)
    await engine.dispose()


asyncio.run(_run())
