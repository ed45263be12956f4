"""`ledger/store/catalog_on_citus.json` is what distribution changes, and verification looks at the shards."""

from typing import Any

import pytest

from ledger.settings import Settings
from ledger.store import catalog
from ledger.store.citus import local_schema
from ledger.store.pool import connect
from tests.support.catalog import migrate_and_read

SHARD = r"""
SELECT format('ALTER TABLE %s %s TRIGGER %I', pg_class.oid::regclass, $2::text, tgname)
FROM pg_class JOIN pg_trigger ON tgrelid = pg_class.oid
WHERE relname ~ '^stored_events_\d+$' AND relnamespace = to_regnamespace($1) AND tgname LIKE 'append_only%'"""
VIEW = "SELECT pg_get_viewdef('accounts'::regclass)"


@pytest.fixture
async def connection(settings: Settings) -> Any:
    """Yield a connection on the ledger's node."""
    opened = await connect(settings)
    yield opened
    await opened.close()


async def find_names(connection: Any) -> list[str]:
    return [difference.name for difference in await catalog.find_differences(connection)]


async def test_the_catalog_is_what_migrations_and_distribution_make(settings: Settings) -> None:
    expected = catalog.load_catalog(on_citus=True)
    assert expected == await migrate_and_read(settings), "run `make catalog` with the URL of a coordinator"


async def test_a_disabled_trigger_of_a_shard_is_found(settings: Settings, connection: Any) -> None:
    await connection.execute(await connection.fetchval(SHARD, settings.ledger_schema, "DISABLE"))
    found = await find_names(connection)
    await connection.execute(await connection.fetchval(SHARD, settings.ledger_schema, "ENABLE"))
    assert ["trigger stored_events.append_only"] == found


async def test_a_replaced_view_on_a_shard_is_found(connection: Any) -> None:
    definition = (await connection.fetchval(VIEW)).rstrip(";")
    await connection.execute(f"CREATE OR REPLACE VIEW accounts AS SELECT * FROM ({definition}) AS all_of_them LIMIT 3")
    found = await find_names(connection)
    await connection.execute(f"CREATE OR REPLACE VIEW accounts AS {definition}")
    assert (["local view accounts"], []) == (found, await find_names(connection))


async def test_a_function_that_hides_one_of_the_ledger_is_found(settings: Settings, connection: Any) -> None:
    name = f"{local_schema(settings.ledger_schema)}.version_at(stream_id uuid, at_position bigint)"
    await connection.execute(f"CREATE FUNCTION {name} RETURNS bigint RETURN 1")
    found = await find_names(connection)
    await connection.execute(f"DROP FUNCTION {name}")
    assert ["local function version_at(stream_id uuid, at_position bigint)"] == found
