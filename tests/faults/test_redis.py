"""Redis or Valkey is away at the start, is killed, paused, emptied: clients notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from ledger.settings import Settings
from tests.faults.conftest import Begin
from tests.support.faults.bounds import ANSWERED_SECONDS
from tests.support.faults.extent import seconds, times
from tests.support.faults.trial import readiness, readiness_status
from tests.support.processes import until
from tests.support.valkey import Valkey, valkey_server

WHOLE_SECONDS = 10  # from Redis' start until the service says that it uses it


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    folder = tmp_path / "valkey"
    folder.mkdir()
    with valkey_server(folder) as created:
        yield created


def with_redis(settings: Settings, valkey: Valkey) -> Settings:
    """Return the settings of a service that waits for Redis no longer than in production."""
    return settings.model_copy(update={"redis_url": SecretStr(f"unix://{quote(str(valkey.socket))}?db=0")})


async def test_no_redis_at_the_start(begin: Begin, settings: Settings, valkey: Valkey) -> None:
    async with begin("Redis is away at the start", with_redis(settings, valkey), workers=2) as trial:
        status, checks = await readiness_status(trial.urls[0]), await readiness(trial.urls[0])
        async with trial.during():
            await valkey.start()
            async with asyncio.timeout(WHOLE_SECONDS):
                await until(lambda: _says_ok(trial.urls[0]))

    assert (200, "degraded") == (status, checks["redis"])
    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance


async def test_a_killed_redis(begin: Begin, settings: Settings, valkey: Valkey) -> None:
    await valkey.start()
    async with begin("Redis is killed, and comes back empty", with_redis(settings, valkey)) as trial:
        for _ in range(times(3)):
            async with trial.during():
                valkey.kill()
                valkey.empty()
                await asyncio.sleep(seconds(5, short=2))
                await valkey.start()

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= ANSWERED_SECONDS + trial.allowance


async def test_a_flushed_and_a_paused_redis(begin: Begin, settings: Settings, valkey: Valkey) -> None:
    await valkey.start()
    async with begin("Redis is flushed, and then paused", with_redis(settings, valkey)) as trial:
        for _ in range(times(3)):
            async with trial.during():
                async with valkey.client() as client:
                    await client.flushall()
                valkey.pause()
                await asyncio.sleep(seconds(5, short=3))
                valkey.resume()

    assert trial.silence() <= ANSWERED_SECONDS + trial.allowance
    assert trial.slowest() <= ANSWERED_SECONDS + trial.allowance


async def _says_ok(url: str) -> bool:
    return (await readiness(url))["redis"] == "ok"
