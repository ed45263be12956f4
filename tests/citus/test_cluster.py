"""Two ledgers on two nodes of Citus: a restart of one concerns one, and a move loses nothing and stops nobody."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from ledger.settings import Settings
from tests.citus.conftest import Begin
from tests.support.citus import Cluster
from tests.support.faults.bounds import ANSWERED_SECONDS
from tests.support.faults.extent import seconds
from tests.support.faults.trial import Trial
from tests.support.processes import run_ledger

LOAD_SECONDS = seconds(60, short=20)
STANDSTILL_SECONDS = 0.5  # of a ledger that is moved
PAUSE_SECONDS = 0.05


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster.connect() as connected:
        yield connected


@pytest.fixture
async def apart(cluster: Cluster, settings: Settings, elsewhere: Settings) -> tuple[Settings, Settings]:
    """Return two ledgers on different nodes."""
    await cluster.move(elsewhere, await cluster.other_node(settings))
    return settings, elsewhere


@asynccontextmanager
async def mixed(trial: Trial) -> AsyncIterator[list[int]]:
    """Hold, capture and read besides the transfers, and yield the statuses."""
    statuses: list[int] = []
    task = asyncio.create_task(_mix(trial, statuses))
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _mix(trial: Trial, statuses: list[int]) -> None:
    accounts = trial.load.accounts.cold
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {trial.token}"}) as session:
        while True:
            source, destination = random.sample(accounts, 2)
            body = {"source_account_id": source, "destination_account_id": destination, "amount_cents": 3}
            calls = [
                ("POST", "/v1/transactions/hold", body),
                ("GET", f"/v1/accounts/{source}", None),
                ("GET", f"/v1/accounts/{source}/entries?limit=20", None),
                ("GET", f"/v1/accounts/{source}?at_version=2", None),
                ("GET", f"/v1/transactions?account_id={destination}&limit=20", None),
                ("GET", "/v1/ledger/trial-balance", None),
            ]
            for method, path, given in calls:
                async with session.request(method, f"{trial.urls[0]}{path}", json=given) as response:
                    await response.read()
                    statuses.append(response.status)
                await asyncio.sleep(PAUSE_SECONDS)


async def check_seals(settings: Settings, key_file: Path) -> None:
    variables = {**settings.environment(), "LEDGER_SEAL_KEY_FILE": str(key_file)}
    verified = await run_ledger("audit", "verify-seals", variables=variables)
    assert 0 == verified.status, verified.output + verified.error


async def test_a_restart_of_a_node_stops_no_ledger_on_another(
    begin: Begin, cluster: Cluster, apart: tuple[Settings, Settings], key_file: Path
) -> None:
    stopped, going = apart
    async with (
        begin("Citus: the node of the ledger restarts", stopped) as trial,
        begin("Citus: another node restarts", going) as other,
        mixed(trial) as statuses,
        mixed(other) as others,
    ):
        await asyncio.sleep(LOAD_SECONDS / 2)
        async with trial.during():
            await cluster.restart(await cluster.node_of(stopped))
        await asyncio.sleep(LOAD_SECONDS / 2)

    assert trial.recovery() <= ANSWERED_SECONDS + trial.allowance
    assert 200 == statuses[-1]
    assert {200} == set(others)
    assert all(attempt.is_acknowledged for attempt in other.load.attempts)
    assert other.silence() <= STANDSTILL_SECONDS + other.allowance
    for settings in apart:
        await check_seals(settings, key_file)


async def test_a_ledger_is_moved_under_load(begin: Begin, cluster: Cluster, settings: Settings, key_file: Path) -> None:
    async with begin("Citus: the ledger is moved", settings, settings) as trial, mixed(trial) as statuses:
        for _ in range(2):  # there and back
            node = await cluster.other_node(settings)
            async with trial.during():
                await cluster.move(settings, node)
            assert node == await cluster.node_of(settings)
            await asyncio.sleep(LOAD_SECONDS / 4)

    assert {200} == set(statuses)
    assert all(attempt.is_acknowledged for attempt in trial.load.attempts)
    assert trial.silence() <= STANDSTILL_SECONDS + trial.allowance
    await check_seals(settings, key_file)
