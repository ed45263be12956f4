"""A machine fails that is not the leader: a replica, a member of etcd, or all of etcd."""

import asyncio

from tests.ha.conftest import TIMES, Break
from tests.support.faults.bounds import ANSWERED_SECONDS
from tests.support.ha.bounds import REPLICA_SECONDS, TTL_SECONDS
from tests.support.ha.lab import SYNCHRONOUS, Lab


async def test_a_replica_is_killed(lab: Lab, under_load: Break) -> None:
    async with under_load("the machine of a replica is killed") as trial:
        for _ in range(TIMES):
            replica = await lab.find(SYNCHRONOUS)
            async with trial.during():
                replica.kill()
                await asyncio.sleep(REPLICA_SECONDS)
            replica.start()
            await lab.until_whole()

    assert trial.silence() <= REPLICA_SECONDS + trial.allowance


async def test_a_replica_is_cut_off(lab: Lab, under_load: Break) -> None:
    """The leader has to find out by itself that the replica confirms nothing any more."""
    async with under_load("a replica is cut off") as trial:
        for _ in range(TIMES):
            replica = await lab.find(SYNCHRONOUS)
            async with trial.during():
                replica.machine.cut_off()
                await asyncio.sleep(REPLICA_SECONDS)
                replica.machine.reconnect()
            await lab.until_whole()

    assert trial.silence() <= REPLICA_SECONDS + trial.allowance


async def test_a_member_of_etcd_is_killed(lab: Lab, under_load: Break) -> None:
    """Each of them in turn, so the one that leads the others too."""
    async with under_load("each member of etcd is killed in turn") as trial:
        for _ in range(TIMES):
            for member in lab.etcd:
                async with trial.during():
                    member.kill()
                    await asyncio.sleep(ANSWERED_SECONDS)
                member.start()
                await lab.until_whole()

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def test_etcd_is_lost(lab: Lab, under_load: Break) -> None:
    """The leader goes on, because all servers can still be asked (`failsafe_mode`)."""
    lasts = 1.5 * TTL_SECONDS
    async with under_load(f"all of etcd is killed, and away for {lasts:g} s") as trial:
        for _ in range(TIMES):
            async with trial.during():
                for member in lab.etcd:
                    member.kill()
                await asyncio.sleep(lasts)
                for member in lab.etcd:
                    member.start()
            await lab.until_whole()

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance
