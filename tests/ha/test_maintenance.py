"""Everything is restarted and upgraded, one after the other, while clients go on."""

import asyncio

from tests.ha.conftest import TIMES, Break
from tests.support.faults.trial import Trial
from tests.support.ha.bounds import SWITCHOVER_SECONDS
from tests.support.ha.lab import LEADER, Lab
from tests.support.processes import run_ledger


async def test_switchover(lab: Lab, under_load: Break) -> None:
    async with under_load("switchover") as trial:
        for _ in range(TIMES):
            async with trial.during():
                await lab.switch_over()
            await lab.until_whole()

    assert trial.silence() <= SWITCHOVER_SECONDS + trial.allowance


async def test_a_rolling_restart(lab: Lab, under_load: Break) -> None:
    """PostgreSQL is restarted on each machine, the replicas first, and then each instance of the service."""
    async with under_load("rolling restart of PostgreSQL and the service") as trial:
        for _ in range(TIMES):
            async with trial.during():
                roles = await lab.roles()
                for name in sorted(roles, key=lambda name: roles[name] == LEADER):
                    if roles[name] == LEADER:
                        await lab.switch_over()
                        await lab.until_whole()
                    await lab.control("restart", "ledger", name, "--force")
                    await lab.until_whole()
                await _replace_services(trial, lab)

    assert trial.silence() <= SWITCHOVER_SECONDS + trial.allowance


async def test_a_rolling_upgrade(lab: Lab, under_load: Break) -> None:
    """The programs of each machine stop and start as the packages' scripts do it, and the service is migrated first."""
    async with under_load("rolling upgrade of etcd, Patroni, PostgreSQL and the service") as trial:
        for _ in range(TIMES):
            async with trial.during():
                for server in (*lab.etcd, *lab.databases):
                    await asyncio.to_thread(server.stop)  # the leader hands over when it is stopped
                    server.start()
                    await lab.until_whole()
                ran = await run_ledger("migrate", variables=lab.instances[0].environment())
                assert 0 == ran.status, ran.error
                await _replace_services(trial, lab)

    assert trial.silence() <= SWITCHOVER_SECONDS + trial.allowance


async def _replace_services(trial: Trial, lab: Lab) -> None:
    for number, settings in enumerate(lab.instances):
        assert 0 == await trial.services[number].stop()
        await trial.restart(settings, instance=number)
