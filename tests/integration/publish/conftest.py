"""A NATS server for each test, and the settings of a ledger that publishes to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ledger.settings import Settings
from tests.support.nats import NatsServer, running_nats


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def publishing(settings: Settings, nats_server: NatsServer) -> Settings:
    """Return the settings of the test's ledger, with which it publishes."""
    return settings.model_copy(update={"ledger_nats_url": SecretStr(nats_server.url)})
