"""`ledger/store/catalog.json` is what the migrations make, on each version of PostgreSQL and in any schema."""

import pytest

from ledger.settings import Settings
from ledger.store import catalog
from ledger.store.pool import connect
from tests.support.catalog import migrate_and_read
from tests.support.majors import INSTALLED, postgres_server

STALE = "the migrations have changed the schema: run `make catalog`"


async def test_the_catalog_is_what_the_migrations_make(settings: Settings) -> None:
    assert catalog.load_catalog() == await migrate_and_read(settings), STALE


@pytest.mark.parametrize("schema", ["other", "user"])  # the second is a word of SQL
async def test_the_catalog_is_the_same_in_each_schema(settings: Settings, schema: str) -> None:
    assert catalog.load_catalog() == await migrate_and_read(settings.model_copy(update={"ledger_schema": schema}))


async def test_the_catalog_is_the_same_on_each_installed_version(settings: Settings) -> None:
    for postgres in INSTALLED:
        with postgres_server(postgres) as url:
            found = await migrate_and_read(Settings(database_url=url, jwt_secret=settings.jwt_secret))
            assert catalog.load_catalog() == found, postgres


async def test_what_an_operator_adds_is_no_difference_unless_it_can_change_rows(settings: Settings) -> None:
    connection = await connect(settings)
    await connection.execute(
        """CREATE VIEW report AS SELECT count(*) FROM accounts;
           CREATE TABLE notes (id bigint PRIMARY KEY, text text DEFAULT now()::text);
           CREATE INDEX notes_of_ours ON transfers (recorded_at)"""
    )
    assert [] == await catalog.find_differences(connection)
    await connection.close()
