"""The pool of connections: a read survives the loss of its connection, and ends by its deadline."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from ledger.concurrency.deadline import DEADLINE, start_deadline
from ledger.settings import Settings
from ledger.store import session as opening
from ledger.store.connections import UNREACHABLE, Pool
from ledger.store.pool import connect, open_pool
from tests.support.processes import DEADLINE_SECONDS, until
from tests.support.proxy import Proxy

CALLERS, ENDINGS = 10, 200
PATIENCE, SLACK = 2.0, 1.0


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy


@pytest.fixture
async def pool(settings: Settings, proxy: Proxy) -> AsyncIterator[Pool]:
    """A pool behind the proxy, with one open connection."""
    pool = await open_pool(proxy.database_settings(settings))
    assert 1 == await pool.fetchval("SELECT 1")
    yield pool
    DEADLINE.set(None)
    await pool.close()


async def take_seconds(pool: Pool, query: str = "SELECT 1") -> tuple[float, Any]:
    """Return how long a read took whose deadline is near, and its value or error."""
    start_deadline(PATIENCE)
    began = time.monotonic()
    try:
        found = await pool.fetchval(query)
    except UNREACHABLE as error:
        found = error
    return time.monotonic() - began, found


async def test_reads_survive_the_end_of_their_connections(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    pool, over = await open_pool(settings), asyncio.Event()
    found = set()

    async def ask_again_and_again() -> None:
        while not over.is_set():
            found.add(await pool.fetchval("SELECT 1"))

    callers = [asyncio.create_task(ask_again_and_again()) for _ in range(CALLERS)]
    for _ in range(ENDINGS):
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        found.add(await pool.fetchval("SELECT 1"))
    over.set()
    await asyncio.gather(*callers)
    await pool.close()

    assert {1} == found


async def test_a_read_that_could_not_connect_takes_the_connection_of_another(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it waits for one to be given back while all are idle, and every later read waits behind it."""
    attempts = 0

    async def connect_later() -> Any:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError
        return await connect(settings)

    monkeypatch.setattr("ledger.store.connections.FIRST_PAUSE_SECONDS", 1.0)
    start_deadline(DEADLINE_SECONDS)
    pool = Pool(connect_later, max_size=1)
    first = asyncio.create_task(pool.fetchval("SELECT 1"))
    await until(lambda: attempts == 1)
    assert 2 == await pool.fetchval("SELECT 2")
    async with asyncio.timeout(DEADLINE_SECONDS / 4):
        assert 1 == await first
    DEADLINE.set(None)
    await pool.close()


async def test_a_read_over_a_dead_network_ends_by_its_deadline(pool: Pool, proxy: Proxy) -> None:
    proxy.black_hole()
    ended = await asyncio.gather(*(take_seconds(pool) for _ in range(20)))
    assert [] == [(seconds, error) for seconds, error in ended if seconds > PATIENCE + SLACK or error == 1]

    proxy.heal()
    seconds, value = await take_seconds(pool)
    assert (1, True) == (value, seconds < SLACK)


async def test_a_read_waits_for_a_server_that_refuses_connections(pool: Pool, proxy: Proxy) -> None:
    proxy.refuse()
    asyncio.get_running_loop().call_later(PATIENCE / 2, proxy.heal)
    seconds, value = await take_seconds(pool)
    assert 1 == value
    assert seconds < PATIENCE

    proxy.refuse()
    seconds, error = await take_seconds(pool)
    assert isinstance(error, UNREACHABLE)
    assert seconds < PATIENCE + SLACK


async def test_a_read_of_a_frozen_connection_gets_another_one_in_time(settings: Settings) -> None:
    """The network has lost an open connection without telling either end."""
    async with Proxy.to_database(settings) as frozen:
        addresses = [frozen.database_settings(settings), settings]

        async def connect_once_through_the_proxy() -> Any:
            return await connect(addresses.pop(0) if len(addresses) > 1 else addresses[0], statement_seconds=None)

        pool = Pool(connect_once_through_the_proxy, max_size=1)
        await pool.fetchval("SELECT 1")
        frozen.freeze()
        seconds, value = await take_seconds(pool)
        assert (1, True) == (value, seconds < PATIENCE)
        await pool.close()


async def test_a_slow_read_is_not_taken_for_a_lost_one(pool: Pool) -> None:
    seconds, value = await take_seconds(pool, "SELECT count(*) FROM pg_sleep(1.5)")
    assert 1 == value
    assert seconds < PATIENCE


async def test_what_nobody_waits_for_does_not_run_on(pool: Pool, connection: Any) -> None:
    seconds, error = await take_seconds(pool, "SELECT pg_sleep(60)")
    assert isinstance(error, UNREACHABLE)
    assert seconds < PATIENCE + SLACK

    async def has_ended() -> bool:
        return not await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
        )

    await until(has_ended)


async def test_a_pool_lends_no_more_connections_than_it_may(settings: Settings) -> None:
    pool = await open_pool(settings.model_copy(update={"postgres_connection_pool": 2}))
    start_deadline(PATIENCE)
    async with pool.acquire(), pool.acquire():
        assert (2, 0) == (pool.get_size(), pool.get_idle_size())
        seconds, error = await take_seconds(pool)
        assert isinstance(error, UNREACHABLE)
        assert PATIENCE - SLACK < seconds < PATIENCE + SLACK
        waiting = asyncio.create_task(take_seconds(pool))
        await asyncio.sleep(0.01)
    assert 1 == (await waiting)[1]
    assert (2, 2) == (pool.get_size(), pool.get_idle_size())
    DEADLINE.set(None)
    await pool.close()


async def test_a_session_keeps_its_settings_when_it_is_reset(settings: Settings) -> None:
    connection = await connect(settings, lock_timeout="7s")
    await connection.reset()
    assert (settings.ledger_schema, "7s", "off") == tuple(
        [await connection.fetchval(f"SHOW {name}") for name in ("search_path", "lock_timeout", "jit")]
    )
    assert await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid()
    await connection.close()


async def test_a_server_without_some_ways_to_notice_a_lost_client_is_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_VIGILANCE", {"client_connection_check_interval": "never"})
    connection = await connect(settings)
    assert settings.ledger_schema == await connection.fetchval("SHOW search_path")
    await connection.close()
