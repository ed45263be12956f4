"""Processes of the service are killed and paused."""

import asyncio
import os
import signal
from typing import Any

from ledger.settings import Settings
from tests.faults.conftest import Begin
from tests.support.faults.bounds import ANSWERED_SECONDS, START_SECONDS, is_at_the_other, is_newcomer
from tests.support.faults.extent import seconds, times
from tests.support.faults.signals import children, halt, pause, send
from tests.support.processes import until


async def test_a_killed_worker(begin: Begin, settings: Settings) -> None:
    async with begin("a worker of two is killed", settings, workers=2) as trial:
        for _ in range(times(4)):
            async with trial.during():
                send(signal.SIGKILL, trial.services[0].workers()[:1])

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def test_a_killed_writer(begin: Begin, settings: Settings) -> None:
    """Commands without an outcome go to the next writer, which looks them up first."""
    async with begin("the writer of two workers is killed", settings, workers=2, clients=3) as trial:
        for _ in range(times(10)):
            async with trial.during():
                (writer,) = trial.services[0].writers()
                send(signal.SIGKILL, [writer])
                await until(lambda killed=writer: trial.services[0].writers() not in ([], [killed]))

    assert trial.slowest() <= START_SECONDS
    assert trial.recovery() <= START_SECONDS


async def test_a_killed_service(begin: Begin, settings: Settings) -> None:
    async with begin("all processes of the service are killed, and it is started again", settings, workers=2) as trial:
        for _ in range(times(3)):
            async with trial.during():
                os.killpg(trial.services[0].pid, signal.SIGKILL)
                await trial.services[0].status()
                await trial.restart(settings)

    assert trial.recovery() <= ANSWERED_SECONDS
    assert trial.silence() <= START_SECONDS


async def test_a_paused_worker(begin: Begin, settings: Settings) -> None:
    """Everybody is answered whose connection is not to the paused worker: those who connect during the pause.

    It holds no lock, because its commands are executed by the writer.
    """
    lasts = seconds(10, short=4)
    async with begin(f"a worker of two is paused for {lasts:g} s", settings, workers=2) as trial:
        for number in range(times(6)):
            worker = trial.services[0].workers()[number % 2]
            async with trial.during():
                with halt(worker):
                    await asyncio.sleep(lasts)

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest(is_newcomer) <= ANSWERED_SECONDS + trial.allowance


async def test_a_paused_instance(begin: Begin, settings: Settings, connection: Any) -> None:
    """Lesson 49. Its writer is paused with it, in the middle of whatever that does; the other instance goes on."""
    lasts = seconds(10, short=4)
    async with begin(f"an instance of two is paused for {lasts:g} s", settings, settings, workers=2) as trial:
        for _ in range(times(6)):
            pids = trial.services[0].pid, *children(trial.services[0])
            async with trial.during(), pause(connection, *pids):
                await asyncio.sleep(lasts)

    assert trial.silence(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance


async def test_a_paused_writer(begin: Begin, settings: Settings, connection: Any) -> None:
    """Each process of an instance in turn, its workers and its writer, with another instance beside it."""
    lasts = seconds(10, short=4)
    async with begin(f"each process of an instance in turn, {lasts:g} s", settings, settings, workers=2) as trial:
        for pid in children(trial.services[0]):
            async with trial.during(), pause(connection, pid):
                await asyncio.sleep(lasts)

    assert trial.silence(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance


async def test_two_instances_at_hot_accounts(begin: Begin, settings: Settings) -> None:
    """Neither is starved: each gets at least a third of the acknowledgements."""
    async with begin("none: two instances on one database", settings, settings) as trial, trial.during(0):
        await asyncio.sleep(seconds(20, short=4))

    kinds = [attempt.kind for attempt in trial.load.attempts if attempt.is_acknowledged and attempt.kind.is_hot]
    shares = [[kind.instance for kind in kinds].count(instance) for instance in (0, 1)]
    assert min(shares) >= sum(shares) / 3, shares
    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance
