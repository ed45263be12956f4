"""A URL that names several servers: one that is silent holds up neither the start, nor reads, nor writes."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.connections import CONNECT_SECONDS
from ledger.store.pool import check_server, connect, open_pool, wait_for_server
from ledger.write.connection import WriteConnection
from tests.support.proxy import Proxy

PATIENCE_SECONDS = 1.0


def name_servers(settings: Settings, servers: Sequence[Proxy], attributes: str) -> Settings:
    hosts = ",".join("{}:{}".format(*server.address) for server in servers)
    database = urlsplit(settings.database_dsn()).path
    url = f"postgresql://ledger@{hosts}{database}?target_session_attrs={attributes}&sslmode=disable"
    return settings.model_copy(update={"database_url": SecretStr(url)})


@pytest.fixture
async def silent(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        proxy.black_hole()
        yield proxy


@pytest.fixture
async def answering(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy


@pytest.fixture
def both(settings: Settings, silent: Proxy, answering: Proxy) -> Settings:
    return name_servers(settings, [silent, answering], "read-write")


async def test_the_start(both: Settings) -> None:
    await check_server(both)


async def test_reads(both: Settings) -> None:
    pool = await open_pool(both)
    async with asyncio.timeout(CONNECT_SECONDS):
        assert 1 == await pool.fetchval("SELECT 1")
    await pool.close()


async def test_writes(both: Settings) -> None:
    connection = WriteConnection(lambda: connect(both))
    async with asyncio.timeout(CONNECT_SECONDS):
        assert 1 == await (await connection.get()).fetchval("SELECT 1")
    await connection.close()


async def test_the_start_waits_for_a_server_that_accepts_writes(settings: Settings, answering: Proxy) -> None:
    """Here no server is a standby, as during a failover none is a primary."""
    other = name_servers(settings, [answering, answering], "standby")
    began = time.monotonic()
    with pytest.raises(DatabaseError):
        await wait_for_server(other, PATIENCE_SECONDS)
    assert time.monotonic() - began >= PATIENCE_SECONDS


async def test_a_connection_to_another_server_than_before_is_logged(settings: Settings, answering: Proxy) -> None:
    async with Proxy.to_database(settings) as first:
        servers = name_servers(settings, [first, answering], "read-write")
        (await connect(servers)).terminate()
        first.black_hole()
        with capture_logs() as lines:
            for _ in range(2):
                (await connect(servers)).terminate()
        names = ["{}:{}".format(*server.address) for server in (answering, first)]
    assert [names] == [[line["server"], line["before"]] for line in lines]
