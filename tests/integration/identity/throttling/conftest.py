"""A throttle with a clock of its own, for its tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ledger.embedded import Services
from ledger.identity import login_throttle
from tests.support.controls import new_id
from tests.support.throttling import Clock


@pytest.fixture
async def redis(servers: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["Redis"]:
    """Return a client of the run's Valkey that waits as long as a busy machine needs."""
    monkeypatch.setattr(login_throttle, "TIMEOUT_SECONDS", 30)
    async with Redis.from_url(servers.redis_url) as client:
        yield client


@pytest.fixture
async def away(tmp_path: Path) -> AsyncIterator["Redis"]:
    """Return a client of a Redis that cannot be reached."""
    async with Redis(unix_socket_path=str(tmp_path / "nobody-listens"), retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"test:{new_id()}:"


@pytest.fixture
def clock() -> Clock:
    return Clock()
