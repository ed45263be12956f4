"""Secrets that nobody else has, and the places where they may not appear."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.settings import Settings
from tests.support.canaries import Proxy, Secrets, require_password
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
async def proxy(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    (folder,) = parse_qs(urlsplit(settings.database_dsn()).query)["host"]
    proxy = Proxy(f"{folder}/.s.PGSQL.5432", tmp_path_factory.mktemp("p"))
    await proxy.open()
    yield proxy
    await proxy.close()
