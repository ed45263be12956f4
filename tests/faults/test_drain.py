"""Instances stop and start under load: no client with a kept-alive connection sees it reset."""

import pytest

from ledger.settings import Settings
from tests.faults.conftest import Begin
from tests.support.faults.bounds import ANSWERED_SECONDS, is_at_the_other, is_kept_alive
from tests.support.faults.extent import times, variants

CLIENTS = 6  # of each kind: 24 with kept-alive connections, and as many that connect for each request


@pytest.mark.parametrize("drain_seconds", variants("0", "1"))
async def test_sigterm_under_kept_alive_clients(drain_seconds: str, begin: Begin, settings: Settings) -> None:
    name = f"SIGTERM under 24 kept-alive clients, drain {drain_seconds} s, and a start"
    variables = {"LEDGER_DRAIN_SECONDS": drain_seconds}
    async with begin(name, settings, workers=2, clients=CLIENTS, variables=variables) as trial:
        for _ in range(times(20)):
            async with trial.during():
                assert 0 == await trial.services[0].stop()
                await trial.restart(settings)

    resets = [a for a in trial.load.attempts if a.outcome in {"reset", "timeout"} and is_kept_alive(a.kind)]
    assert [] == resets


async def test_a_rolling_restart(begin: Begin, settings: Settings) -> None:
    """While one instance stops and starts, the clients of the other are answered."""
    async with begin("one of two instances stops and starts", settings, settings) as trial:
        for _ in range(times(4)):
            async with trial.during():
                assert 0 == await trial.services[0].stop()
                await trial.restart(settings)

    assert trial.silence(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest(is_at_the_other) <= ANSWERED_SECONDS + trial.allowance
