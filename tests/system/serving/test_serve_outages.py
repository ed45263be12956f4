"""The service while a server that it uses is away: it starts, waits, answers in time and stops in time."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD
from tests.support.outages import reserved_port
from tests.support.processes import Ledger, until
from tests.support.proxy import Proxy
from tests.support.serving import call, log_in, startup_error
from tests.support.valkey import valkey_server

PATIENCE = 2.0

Run = Callable[..., Ledger]


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    async with Proxy.to_database(settings) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: Proxy, settings: Settings, shared: dict[str, str]) -> dict[str, str]:
    """Variables of a service whose database is behind the proxy."""
    return {**shared, "DATABASE_URL": proxy.database_url(settings), "LEDGER_DATABASE_PATIENCE_SECONDS": str(PATIENCE)}


async def is_redis(url: str, state: str) -> bool:
    status, body = await call("GET", f"{url}/v1/readyz")
    return status == 200 and body["checks"]["redis"] == state


async def test_it_starts_without_redis_and_is_whole_once_that_is_there(
    run: Run, shared: dict[str, str], tmp_path: Path
) -> None:
    """Lesson 55."""
    with valkey_server(tmp_path) as valkey:
        running = run("serve", **{**shared, "REDIS_URL": valkey.url.partition("&")[0]})
        url = await running.url()
        assert await is_redis(url, "degraded")
        await log_in(url, "admin", ADMIN_PASSWORD)
        await valkey.start()
        await until(lambda: is_redis(url, "ok"))
        valkey.kill()
        await until(lambda: is_redis(url, "degraded"))


async def test_it_waits_for_postgresql_with_one_line(run: Run, behind: dict[str, str], proxy: Proxy) -> None:
    proxy.refuse()
    running = run("serve", **behind)
    await until(lambda: running.logged("waiting for PostgreSQL"))
    await asyncio.sleep(1)
    proxy.heal()
    await log_in(await running.url(), "admin", ADMIN_PASSWORD)
    assert 1 == len(running.logged("waiting for PostgreSQL"))


async def test_it_does_not_wait_for_ever(run: Run, shared: dict[str, str]) -> None:
    with reserved_port(listening=False) as port:
        url = f"postgresql://me:hunter2@127.0.0.1:{port}/ledger"
        running = run("serve", **{**shared, "DATABASE_URL": url, "LEDGER_START_PATIENCE_SECONDS": "1"})
        assert 1 == await running.status()
    assert running.lines[-1].startswith("ledger: PostgreSQL cannot be reached: ")
    assert "hunter2" not in running.log.read_text()


async def test_a_command_does_not_wait(run: Run, shared: dict[str, str]) -> None:
    with reserved_port(listening=False) as port:
        line = await startup_error(
            run("audit", "events", **{**shared, "DATABASE_URL": f"postgresql://me@127.0.0.1:{port}/l"})
        )
    assert line.startswith("ledger: PostgreSQL cannot be reached: ")


async def test_workers_that_start_while_postgresql_is_away_wait_for_it(
    run: Run, behind: dict[str, str], proxy: Proxy
) -> None:
    running = run("serve", "--workers", "2", **behind)
    url = await running.url()
    token = await log_in(url, "admin", ADMIN_PASSWORD)
    proxy.refuse()
    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(running.logged("waiting for PostgreSQL")) == 2)
    await asyncio.sleep(3)
    assert len(running.logged("worker died")) == 2
    proxy.heal()
    status, _ = await call("GET", f"{url}/v1/users", token=token)
    assert 200 == status
    assert 0 == await running.stop()


async def test_it_stops_while_its_workers_wait(run: Run, behind: dict[str, str], proxy: Proxy) -> None:
    running = run("serve", **behind)
    await running.url()
    proxy.refuse()
    (pid,) = running.workers()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: running.logged("waiting for PostgreSQL"))
    began = time.monotonic()
    assert 0 == await running.stop()
    assert time.monotonic() - began < 10


async def test_the_port_refuses_connections_until_a_worker_serves(
    run: Run, behind: dict[str, str], proxy: Proxy
) -> None:
    with reserved_port(listening=False) as port:
        pass
    proxy.refuse()
    running = run("serve", **{**behind, "SERVICE_PORT": str(port)})
    await until(lambda: running.logged("waiting for PostgreSQL"))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    proxy.heal()
    url = await running.url()
    assert url.endswith(f":{port}")
    assert 200 == (await call("GET", f"{url}/v1/livez"))[0]


async def test_it_stops_in_time_while_the_network_is_dead(run: Run, behind: dict[str, str], proxy: Proxy) -> None:
    running = run("serve", **behind)
    url = await running.url()
    token = await log_in(url, "admin", ADMIN_PASSWORD)
    proxy.black_hole()
    status, body = await call("GET", f"{url}/v1/users", token=token)
    assert (503, "database_error") == (status, body["errors"][0]["code"])
    began = time.monotonic()
    assert 0 == await running.stop()
    assert time.monotonic() - began < 10
    failed = [record for record in running.records if record["event"] == "reads fail"]
    assert 1 == len(failed)
    assert not re.search("Traceback", running.log.read_text())
