"""Two ledgers on two nodes of Citus: a restart of one concerns one, and a move loses nothing and stops nobody."""

import asyncio
from pathlib import Path

import pytest

from ledger.settings import Settings
from tests.citus.conftest import Begin
from tests.support.citus import Cluster
from tests.support.citus_load import mixed_load
from tests.support.faults.extent import seconds, times
from tests.support.faults.trial import Record
from tests.support.processes import run_ledger
from tests.support.sealed import write_key_file

LOAD_SECONDS = seconds(60, short=20)
MOVES = times(10)
STANDSTILL_SECONDS = 0.5  # of a ledger that is moved
CRASH_SECONDS = 10  # in which a node ends all sessions and replays its log, on a busy machine


@pytest.fixture
def one(settings: Settings, tmp_path: Path) -> Settings:
    """Return the settings of a ledger with a key of its own."""
    return with_key(settings, tmp_path)


@pytest.fixture
async def other(cluster: Cluster, one: Settings, elsewhere: Settings, tmp_path: Path) -> Settings:
    """Return the settings of a ledger on another node."""
    await cluster.move(elsewhere, await cluster.other_node(one))
    return with_key(elsewhere, tmp_path)


def with_key(settings: Settings, folder: Path) -> Settings:
    """Let a ledger be sealed: the last head is kept beside the key."""
    folder /= settings.ledger_schema
    folder.mkdir()
    return settings.model_copy(update={"ledger_seal_key_file": write_key_file(folder / "seal-key.pem")})


async def check_seals(settings: Settings) -> None:
    verified = await run_ledger("audit", "verify-seals", variables=settings.environment())
    assert 0 == verified.status, verified.output + verified.error


async def test_a_restart_of_a_node_stops_no_ledger_on_another(
    begin: Begin, cluster: Cluster, one: Settings, other: Settings
) -> None:
    async with (
        begin("Citus: the node of the ledger restarts", one) as stopped,
        begin("Citus: another node restarts", other) as going,
        mixed_load(stopped) as mixed,
        mixed_load(going) as undisturbed,
    ):
        await asyncio.sleep(LOAD_SECONDS / 2)
        async with stopped.during():
            await cluster.restart(await cluster.node_of(one))
        await asyncio.sleep(LOAD_SECONDS / 2)

    assert stopped.recovery() <= CRASH_SECONDS + stopped.allowance
    assert mixed.is_well
    assert [] == undisturbed.others
    assert all(attempt.is_acknowledged for attempt in going.load.attempts)
    assert going.silence() <= STANDSTILL_SECONDS + going.allowance
    for settings in (one, other):
        await check_seals(settings)


async def test_a_ledger_is_moved_under_load(begin: Begin, cluster: Cluster, one: Settings, measured: Record) -> None:
    silences: list[float] = []
    async with begin("Citus: the ledger is moved", one, one) as trial, mixed_load(trial) as mixed:
        for _ in range(2 * MOVES):  # there and back
            node, began = await cluster.other_node(one), trial.now()
            async with trial.during():
                await cluster.move(one, node)
            assert node == await cluster.node_of(one)
            silences.append(round(trial.silence(since=began, until=trial.now()), 2))
    measured("silences of moves (s)", silences)

    assert [] == mixed.others
    assert all(attempt.is_acknowledged for attempt in trial.load.attempts)
    assert max(silences) <= STANDSTILL_SECONDS + trial.allowance, silences
    await check_seals(one)
