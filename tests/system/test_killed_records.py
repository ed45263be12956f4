"""A follower's stop is recorded once although every process is killed between the stop, the record and its removal."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from ledger.store.locks import Lock
from ledger.store.pool import connect
from tests.support.operation_events import recorded, waiting
from tests.support.outages import are_gone
from tests.support.processes import Ledger, run_ledger, until
from tests.support.sealed import Sealed
from tests.support.serving import serving

Connection = Any  # asyncpg's, which is generic for type checkers only
HOLDER = "the holder of a lock"


@asynccontextmanager
async def no_appends(settings: Settings) -> AsyncIterator[None]:
    """Keep others from appending, as a writer does that holds the lock."""
    holder = await connect(settings, application_name=HOLDER)
    await holder.execute(f"SELECT pg_advisory_lock({Lock.APPEND})")
    yield
    await holder.close()


@asynccontextmanager
async def no_removals(settings: Settings) -> AsyncIterator[None]:
    """Let others read the outbox, and not change it."""
    holder = await connect(settings, application_name=HOLDER)
    async with holder.transaction():
        await holder.execute("LOCK TABLE outbox IN SHARE MODE")
        yield
    await holder.close()


async def list_sessions(connection: Connection) -> list[int]:
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> $1", HOLDER
    )
    return [row["pid"] for row in rows]


async def kill(running: Ledger, connection: Connection, others: list[int]) -> None:
    """Kill all processes of a service, and end their sessions, of which `others` are not."""
    for pid in (running.pid, *running.workers(), *running.writers()):
        os.kill(pid, signal.SIGKILL)
    await running.status()
    sessions = [pid for pid in await list_sessions(connection) if pid not in others]
    await connection.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", sessions)
    await until(lambda: are_gone(connection, sessions))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_is_recorded_once_whenever_the_service_is_killed(
    settings: Settings, sealed: Sealed, key_file: Path, tmp_path: Path, workers: int
) -> None:
    connection = sealed.connection
    others = await list_sessions(connection)
    given: dict[str, Any] = {
        "workers": workers,
        "variables": {"LEDGER_SEAL_KEY_FILE": str(key_file), "LEDGER_SEAL_SECONDS": "0.05"},
    }
    with serving(tmp_path / "first", settings, **given) as running:
        await running.url()
        await until(sealed.is_whole)
        async with no_appends(settings):
            await sealed.tamper(
                "CREATE TABLE taken AS SELECT * FROM seals ORDER BY number DESC LIMIT 1",
                "DELETE FROM seals WHERE number = (SELECT number FROM taken)",
            )
            (stopped,) = await until(lambda: waiting(connection))
            await kill(running, connection, others)
        assert [] == await recorded(connection)
    assert ("seals", True) == (stopped.follower, "was sealed, but the last one is block" in stopped.error)

    with serving(tmp_path / "second", settings, **given) as running:
        async with no_removals(settings):
            assert [stopped] == await until(lambda: recorded(connection))
            await kill(running, connection, others)
        assert [stopped] == await waiting(connection)

    with serving(tmp_path / "third", settings, **given) as running:
        await until(lambda: is_empty(connection))
        await until(lambda: running.logged("a follower has stopped"))  # it has tried once more
        await sealed.tamper("INSERT INTO seals SELECT * FROM taken")
        ran = await run_ledger("projections", "resume", "seals", variables=settings.environment())
        assert 0 == ran.status, ran.error
        _, resumed = await until(lambda: both(connection))
        assert (stopped.stop_id, "operator") == (resumed.stop_id, resumed.by)
        await until(sealed.is_whole)
        assert 0 == await running.stop()
    assert [stopped, resumed] == await recorded(connection)
    assert [] == await sealed.findings()


async def is_empty(connection: Connection) -> bool:
    return not await waiting(connection)


async def both(connection: Connection) -> list[Any] | None:
    found = await recorded(connection)
    return found if len(found) == 2 else None


async def test_a_verification_is_recorded_by_the_next_service(
    settings: Settings, sealed: Sealed, tmp_path: Path
) -> None:
    """Without a service, a command line changes nothing in the log: a copy that is verified stays as it is."""
    before = len(await sealed.rows())
    await asyncio.gather(
        *(run_ledger("audit", "verify", *options, variables=settings.environment()) for options in ([], ["--fast"]))
    )
    assert (before, 2) == (len(await sealed.rows()), len(await waiting(sealed.connection)))
    with serving(tmp_path, settings) as running:
        await until(lambda: both(sealed.connection))
        assert 0 == await running.stop()
    assert {"whole", "fast"} == {one.extent for one in await recorded(sealed.connection)}
    assert [] == await waiting(sealed.connection)
