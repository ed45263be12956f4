"""The leader fails, in each of the ways in which a machine does, and another server takes over."""

import asyncio
import signal

from tests.ha.conftest import TIMES, Break
from tests.support.ha.bounds import FAILOVER_SECONDS
from tests.support.ha.lab import LEADER, Lab

AFTERWARDS_SECONDS = 3  # in which the old leader does not yet know that it is none


async def test_postgresql_of_the_leader_is_killed(lab: Lab, under_load: Break) -> None:
    async with under_load("PostgreSQL of the leader is killed") as trial:
        for _ in range(TIMES):
            leader = await lab.find(LEADER)
            async with trial.during():
                leader.machine.send(signal.SIGKILL, "postgres:", "bin/postgres")
                await lab.until_replaced(leader)
            await lab.until_whole()

    assert trial.silence() <= FAILOVER_SECONDS + trial.allowance


async def test_the_machine_of_the_leader_is_killed(lab: Lab, under_load: Break) -> None:
    async with under_load("the machine of the leader is killed") as trial:
        for _ in range(TIMES):
            leader = await lab.find(LEADER)
            async with trial.during():
                leader.kill()
                await lab.until_replaced(leader)
            leader.start()
            await lab.until_whole()

    assert trial.silence() <= FAILOVER_SECONDS + trial.allowance


async def test_the_machine_of_the_leader_is_paused(lab: Lab, under_load: Break) -> None:
    """After the pause the old leader goes on for a moment as if nothing had been."""
    async with under_load("the machine of the leader is paused") as trial:
        for _ in range(TIMES):
            leader = await lab.find(LEADER)
            async with trial.during():
                leader.pause()
                await lab.until_replaced(leader)
                await asyncio.sleep(AFTERWARDS_SECONDS)
                leader.resume()
            await lab.until_whole()

    assert trial.silence() <= FAILOVER_SECONDS + trial.allowance


async def test_the_leader_is_cut_off(lab: Lab, under_load: Break) -> None:
    """It has written what no other server has got, so it is rewound when it comes back."""
    async with under_load("the leader is cut off, and rewound when it is back") as trial:
        for _ in range(TIMES):
            leader = await lab.find(LEADER)
            async with trial.during():
                leader.machine.cut_off()
                await lab.until_replaced(leader)
                await asyncio.sleep(AFTERWARDS_SECONDS)
                rewound = leader.count_rewinds()
                leader.machine.reconnect()
            await lab.until_whole()
            assert leader.count_rewinds() > rewound

    assert trial.silence() <= FAILOVER_SECONDS + trial.allowance
