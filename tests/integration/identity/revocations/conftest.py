"""A revocation cache with clients, for its tests."""

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import pytest

from ledger.identity.revocation_cache import RevocationCache
from ledger.identity.valkey import open_client
from ledger.settings import Settings
from ledger.store.identity import read_identity
from ledger.store.pool import open_pool
from tests.support.revocations import LEEWAY_SECONDS, Bench, Connection, CountingPool, Scene, Serve
from tests.support.valkey import Valkey, valkey_server


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    """Run a Valkey for this test alone."""
    with valkey_server(tmp_path_factory.mktemp("v")) as valkey:
        await valkey.start()
        yield valkey


@pytest.fixture
async def scene(serve: Serve, settings: Settings, valkey: Valkey) -> AsyncIterator[Scene]:
    async with valkey.client() as client:
        yield Scene(valkey, await serve(valkey.settings(settings)), client)


@pytest.fixture
async def bench(settings: Settings, patient: None, valkey: Valkey, connection: Connection) -> AsyncIterator[Bench]:
    del patient
    pool, client = await open_pool(settings), open_client(valkey.settings(settings))
    watched = CountingPool(pool)
    own = await read_identity(pool)

    def another(ledger_id: UUID = own.ledger_id, leeway_seconds: int = LEEWAY_SECONDS) -> RevocationCache:
        return RevocationCache(
            client, cast("Any", watched), own._replace(ledger_id=ledger_id), leeway_seconds=leeway_seconds
        )

    async with valkey.client() as eyes:
        yield Bench(watched, eyes, connection, another(), another)
    await client.aclose()
    await pool.close()
