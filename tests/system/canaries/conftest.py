"""Secrets that nobody else has, and the places where they may not appear."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.settings import Settings
from tests.support.canaries import Given, Proxy, lock
from tests.support.valkey import Valkey, a_valkey


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory, given: Given) -> AsyncIterator[Valkey]:
    with a_valkey(tmp_path_factory.mktemp("v")) as started:
        await started.start()
        await lock(started, given.redis)
        yield started


@pytest.fixture
async def proxy(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    (folder,) = parse_qs(urlsplit(settings.database_dsn()).query)["host"]
    proxy = Proxy(f"{folder}/.s.PGSQL.5432", tmp_path_factory.mktemp("p"))
    await proxy.open()
    yield proxy
    await proxy.close()
