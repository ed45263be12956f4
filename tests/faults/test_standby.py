"""A synchronous standby: what is acknowledged is on it, so no failover loses it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from ledger.store.migrate import migrate
from tests.faults.conftest import Begin, SettingsOf
from tests.support.faults.bounds import ANSWERED_SECONDS, GIVEN_UP_SECONDS
from tests.support.faults.cluster import Cluster
from tests.support.faults.extent import FULL, seconds
from tests.support.faults.pair import Pair, launch_pair
from tests.support.faults.trial import Trial

ROUNDS = range(10 if FULL else 1)
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
HAS_SCHEMA = "SELECT count(*) FROM pg_tables WHERE tablename = 'ledger_identity'"
ON_THE_WAY_SECONDS = 0.5  # an answer that was confirmed before the link was dead may still arrive


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with launch_pair(tmp_path) as launched:
        yield launched


@pytest.mark.parametrize("number", ROUNDS)
async def test_a_failover(number: int, begin: Begin, settings_of: SettingsOf, pair: Pair) -> None:
    del number
    survivor = settings_of(pair.standby.url)
    name = "the primary is killed, its synchronous standby promoted"
    async with begin(name, settings_of(pair.url), survivor=survivor) as trial, trial.during():
        await pair.fail_over()

    assert trial.recovery() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


@pytest.mark.parametrize("number", ROUNDS)
async def test_a_dead_replication_link(number: int, begin: Begin, settings_of: SettingsOf, pair: Pair) -> None:
    """Lesson 50. Backends are terminated while they wait for the standby, which is promoted once the primary is dead.

    Without the standby's confirmation nothing is acknowledged, so nothing that is acknowledged is lost, and followers
    have seen nothing that is not in the surviving log.
    """
    del number
    lasts = seconds(75, short=9)
    survivor = settings_of(pair.standby.url)
    name = f"the link to the synchronous standby is dead for {lasts:g} s, sessions are terminated, then failover"
    async with begin(name, settings_of(pair.url), survivor=survivor) as trial, trial.during():
        since = trial.now()
        pair.link.black_hole()
        await _terminate_now_and_then(pair.primary, lasts)
        until = trial.now()
        await pair.fail_over()

    early = [moment for moment in trial.load.acknowledgements(since + ON_THE_WAY_SECONDS) if moment < until]
    assert [] == early, "acknowledged without the standby"
    assert trial.recovery() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


async def test_a_lost_read_replica(begin: Begin, settings_of: SettingsOf, pair: Pair) -> None:
    """Reads come from the primary then."""
    await pair.primary.configure(synchronous_standby_names="")
    settings = settings_of(pair.primary.url)
    await migrate(settings)
    await pair.standby.until_value(HAS_SCHEMA)
    reading = settings.model_copy(update={"database_read_url": settings_of(pair.standby.url).database_url})
    async with begin("the read replica is killed", reading) as trial, trial.during():
        await pair.standby.kill()
        statuses = [await _read(trial) for _ in range(20)]
        await pair.standby.start()
        await pair.primary.until_value(STREAMING)

    assert {200} == set(statuses), statuses
    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def _terminate_now_and_then(primary: Cluster, lasts: float) -> None:
    for _ in range(3):
        await asyncio.sleep(lasts / 3)
        await primary.terminate_backends()


async def _read(trial: Trial) -> int:
    headers = {"Authorization": f"Bearer {trial.token}"}
    url = f"{trial.urls[0]}/v1/accounts/{trial.load.accounts.cold[0]}"
    await asyncio.sleep(0.1)
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        return response.status
