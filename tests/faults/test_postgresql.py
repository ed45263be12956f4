"""PostgreSQL loses sessions, crashes, stops, is paused, and has no room left."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from ledger.store.pool import connect
from tests.faults.conftest import Begin, SettingsOf
from tests.support.faults.bounds import (
    ANSWERED_SECONDS,
    BACK_SECONDS,
    GIVEN_UP_SECONDS,
    RECOVERY_SECONDS,
    START_SECONDS,
    is_cold,
)
from tests.support.faults.cluster import Cluster
from tests.support.faults.disk import Disk, make_small_disk
from tests.support.faults.extent import seconds, times, variants
from tests.support.faults.signals import send
from tests.support.faults.trial import readiness_status
from tests.support.outages import terminate_connections

ONE_BACKEND = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ledger' LIMIT 1"
LOCK = "SELECT FROM stream_heads WHERE originator_id = $1 FOR UPDATE"
NO_ROOM = ("No space left on device", "File too large")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster.launch(tmp_path / "postgresql") as created:
        yield created


async def test_terminated_backends(begin: Begin, settings: Settings, connection: Any) -> None:
    async with begin("all sessions are terminated", settings) as trial:
        for _ in range(times(5)):
            async with trial.during():
                await terminate_connections(connection)

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def test_a_killed_backend(begin: Begin, settings_of: SettingsOf, cluster: Cluster) -> None:
    """PostgreSQL ends all sessions, and recovers from its log."""
    async with begin("a backend is killed", settings_of(cluster.url)) as trial:
        for _ in range(times(4)):
            async with trial.during():
                os.kill(await cluster.value(ONE_BACKEND), signal.SIGKILL)

    assert trial.silence() <= RECOVERY_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


@pytest.mark.parametrize(("number", "name"), variants((signal.SIGQUIT, "immediate"), (signal.SIGINT, "fast")))
async def test_a_restart(
    number: signal.Signals, name: str, begin: Begin, settings_of: SettingsOf, cluster: Cluster
) -> None:
    async with begin(f"PostgreSQL restarts, {name}", settings_of(cluster.url)) as trial:
        for _ in range(times(3)):
            async with trial.during():
                await cluster.stop(number)
                await cluster.start()

    assert trial.recovery() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


async def test_a_killed_postmaster(begin: Begin, settings_of: SettingsOf, cluster: Cluster) -> None:
    away = seconds(9, short=7)
    async with begin(f"PostgreSQL is killed and away for {away:g} s", settings_of(cluster.url)) as trial:
        for _ in range(times(2)):
            async with trial.during():
                await cluster.kill_postmaster()
                await asyncio.sleep(away)
                await cluster.start()

    assert trial.recovery() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


async def test_a_paused_postgresql(begin: Begin, settings_of: SettingsOf, cluster: Cluster) -> None:
    lasts = seconds(10, short=8)
    async with begin(f"PostgreSQL is paused for {lasts:g} s", settings_of(cluster.url)) as trial:
        for _ in range(times(2)):
            async with trial.during():
                cluster.pause()
                await asyncio.sleep(lasts)
                cluster.resume()

    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance
    assert trial.recovery() <= BACK_SECONDS + trial.allowance


async def test_workers_that_are_killed_while_postgresql_is_away(
    begin: Begin, settings_of: SettingsOf, cluster: Cluster
) -> None:
    away = seconds(60, short=20)
    name = f"PostgreSQL is away for {away:g} s and all workers are killed"
    async with begin(name, settings_of(cluster.url), workers=2) as trial, trial.during():
        await cluster.stop()
        send(signal.SIGKILL, trial.services[0].workers())
        await asyncio.sleep(away)
        await cluster.start()
        assert trial.services[0].process.poll() is None, "the service has ended"

    assert trial.recovery() <= START_SECONDS


async def test_a_foreign_row_lock(begin: Begin, settings: Settings, connection: Any) -> None:
    """A session of somebody else locks the head of a hot account: the other accounts go on."""
    lasts = seconds(10, short=8)
    async with begin(f"a foreign session locks a hot account for {lasts:g} s", settings, workers=2) as trial:
        for _ in range(times(3)):
            async with trial.during(), connection.transaction():
                await connection.fetch(LOCK, trial.load.accounts.hot[0])
                await asyncio.sleep(lasts)

    assert trial.silence(is_cold) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest(is_cold) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


async def test_an_idle_session_that_holds_the_append_lock(begin: Begin, settings: Settings) -> None:
    """It is somebody else's too, and the service cannot end it: each request is answered after the patience."""
    lasts = seconds(10, short=8)
    holder = await connect(settings, application_name="test")
    try:
        async with begin(f"a foreign session locks the log for {lasts:g} s", settings, workers=2) as trial:
            for _ in range(times(2)):
                async with trial.during(), holder.transaction():
                    await holder.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
                    await asyncio.sleep(lasts)
    finally:
        await holder.close()

    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance
    assert trial.recovery() <= BACK_SECONDS + trial.allowance


async def test_a_full_disk(begin: Begin, settings_of: SettingsOf, tmp_path: Path) -> None:
    """Lesson 53. Each command fails once, the service is not ready, and it is back once there is room."""
    lasts, statuses = seconds(15, short=6), []
    async with make_small_disk(tmp_path / "disk") as disk:
        async with begin(f"the disk of the tables is full for {lasts:g} s", settings_of(disk.cluster.url)) as trial:
            await disk.prepare()
            for _ in range(times(2)):
                async with trial.during():
                    statuses.append(await _fill(disk, lasts, trial.urls[0]))
        failed = sum(disk.cluster.log.count(reason) for reason in NO_ROOM)

    answers = [attempt for attempt in trial.load.attempts if attempt.status == 503]
    assert {503} == set(statuses), "of /v1/readyz"
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance
    assert trial.recovery() <= BACK_SECONDS + trial.allowance
    assert 0 < failed <= 1.2 * len(answers) + 10, (failed, len(answers))


async def _fill(disk: Disk, lasts: float, url: str) -> int:
    """Leave no room for this long, and return the status of readiness at the end."""
    await disk.fill()
    try:
        await asyncio.sleep(lasts)
        return await readiness_status(url)
    finally:
        disk.free()
