"""A service whose secrets are all unique, so that each can be found wherever it leaks."""

from collections.abc import AsyncIterator

import pytest

from ledger.settings import Settings
from tests.support.canaries import Given, lock
from tests.support.proxy import Proxy
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
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy
