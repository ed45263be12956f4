"""A service whose secrets are all unique, so that each can be found wherever it leaks."""

from collections.abc import AsyncIterator

import pytest

from ledger.settings import Settings
from tests.support.canaries import Secrets, require_password
from tests.support.proxy import Proxy
from tests.support.valkey import Valkey, valkey_server


@pytest.fixture
def given() -> Secrets:
    return Secrets()


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory, given: Secrets) -> AsyncIterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("v")) as started:
        await started.start()
        await require_password(started, given.redis)
        yield started


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy
