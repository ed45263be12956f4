"""The network between the service and PostgreSQL breaks, in each of the ways in which a network does."""

import asyncio

import pytest

from ledger.settings import Settings
from tests.faults.conftest import Begin
from tests.support.faults.bounds import ANSWERED_SECONDS, BACK_SECONDS, GIVEN_UP_SECONDS, is_at_the_other
from tests.support.faults.extent import seconds, times, variants
from tests.support.faults.trial import readiness_status
from tests.support.processes import until
from tests.support.proxy import Direction, Proxy


@pytest.mark.parametrize("direction", variants(*Direction))
async def test_cut_connections(direction: Direction, begin: Begin, settings: Settings) -> None:
    async with (
        Proxy.to_database(settings) as proxy,
        begin(f"connections are cut in the middle, {direction.value}", proxy.database_settings(settings)) as trial,
    ):
        for number in range(times(8)):
            async with trial.during():
                proxy.cut_at(direction, 3 + number)
                await until(lambda number=number: proxy.cuts > number)

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


@pytest.mark.parametrize("direction", variants(*Direction))
async def test_half_closed_connections(direction: Direction, begin: Begin, settings: Settings) -> None:
    async with (
        Proxy.to_database(settings) as proxy,
        begin(f"connections are half closed, {direction.value}", proxy.database_settings(settings)) as trial,
    ):
        for _ in range(times(4)):
            async with trial.during():
                proxy.half_close(direction)

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def test_a_slow_network(begin: Begin, settings: Settings) -> None:
    """100 ms each way: a commit takes at most a few round trips, even after a conflict."""
    lasts = seconds(20, short=5)
    name = f"100 ms each way to PostgreSQL for {lasts:g} s, two instances"
    async with (
        Proxy.to_database(settings) as proxy,
        begin(name, *[proxy.database_settings(settings)] * 2) as trial,
        trial.during(),
    ):
        proxy.delay(0.1)
        await asyncio.sleep(lasts)
        proxy.heal()

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def test_frozen_connections(begin: Begin, settings: Settings) -> None:
    """The open connections of one instance pass nothing more, and neither side is notified; new ones work."""
    lasts = seconds(30, short=8)
    async with Proxy.to_database(settings) as proxy:
        frozen, name = proxy.database_settings(settings), f"connections freeze without a reset, {lasts:g} s"
        async with begin(name, frozen, settings, workers=2) as trial:
            for _ in range(times(3)):
                async with trial.during():
                    proxy.strand()
                    await asyncio.sleep(lasts)
                    proxy.heal()

    assert trial.silence(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance


async def test_a_black_hole(begin: Begin, settings: Settings) -> None:
    """Nothing passes, on old connections or new ones: each request is answered after the patience, keyed or not."""
    lasts, statuses = seconds(20, short=9), []
    async with (
        Proxy.to_database(settings) as proxy,
        begin(f"black hole for {lasts:g} s", proxy.database_settings(settings)) as trial,
    ):
        for _ in range(times(3)):
            async with trial.during():
                proxy.black_hole()
                await asyncio.sleep(lasts)
                statuses.append(await readiness_status(trial.urls[0]))
                proxy.heal()

    assert {503} == set(statuses), "of /v1/readyz"
    assert trial.slowest() <= GIVEN_UP_SECONDS + trial.allowance
    assert trial.recovery() <= BACK_SECONDS + trial.allowance
    assert {503} == {attempt.status for attempt in trial.in_faults() if attempt.seconds > 1 and attempt.status != 200}
